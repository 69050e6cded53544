from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
import trio
from web3 import HTTPProvider, Web3

from chain import onboarding
from chain.contracts import EpochRecord, Peer, TableRow
from chain.cursor import Follower, FollowPolicy, position_before
from chain.epochs import due_step
from chain.errors import BadTableError
from chain.events import EpochOpened, OperatorRegistered, TableFrozen, decode_events, watched
from chain.signer import Sender
from chain.tables import base58, read_table
from chain.transaction import Account
from devnet.accounts import KEEPER, account
from devnet.anvil import CHAIN_ID
from devnet.artifacts import BUILT
from devnet.operators import mine, perform, register_operators
from node.crypto import BlsKey, eip2537_g1
from node.net.identity import peer_id_bytes, peer_id_of_seed
from protocol.hashing import keccak
from protocol.types import Address, Hash
from tests.chain.network import PLAN, Network, operator, run_network
from tests.chain.test_signer import QUICK

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def keeper(network: Network) -> Sender:
    return Sender(network.client, account(KEEPER), CHAIN_ID, QUICK)


async def test_rows_are_what_the_operators_registered(staffed: Network) -> None:
    table = await read_table(staffed.registry, 1)
    assert table is not None
    assert table.epoch == 1
    for position, row in enumerate(table.operators):
        expected = operator(position)
        assert row.operator == expected.account.address
        assert row.session == expected.session
        assert row.bls_key == expected.bls_key.public_key
        assert row.sealing_key == expected.sealing_key
        assert row.peer_id == base58(expected.peer_id)
        assert row.multiaddrs == (expected.multiaddrs,)
        # 100 tokens, all of them allocated, in 1e9 of a share.
        assert row.weight == 100 * 10**9
    assert await staffed.registry.current_epoch() == 1


async def test_the_table_is_what_web3_reads(staffed: Network) -> None:
    """An independent client and codec over the same chain."""

    def ask() -> tuple[Any, Any]:
        web3 = Web3(HTTPProvider(staffed.anvil.url))
        abi = json.loads((BUILT / "ProverRegistry.sol" / "ProverRegistry.json").read_text())["abi"]
        contract = web3.eth.contract(
            Web3.to_checksum_address(staffed.contracts.prover_registry), abi=abi
        )
        return contract.functions.tableOf(1).call(), contract.functions.epochOf(1).call()

    rows, record = await trio.to_thread.run_sync(ask)
    assert await staffed.registry.epoch_of(1) == EpochRecord(*record)
    ours = await staffed.registry.table_of(1)
    theirs = [
        TableRow(
            Address(bytes.fromhex(row[0][2:])),
            Address(bytes.fromhex(row[1][2:])),
            row[2],
            b"".join(row[3]),
            row[4],
            Hash(row[5]),
        )
        for row in rows
    ]
    assert list(ours) == theirs


async def test_an_epoch_that_is_not_open_has_no_table(network: Network) -> None:
    assert await read_table(network.registry, 1) is None
    await register_operators(network.client, network.deployment, [operator(0)])
    await perform(network.client, keeper(network), onboarding.freeze_table(network.contracts))
    assert await read_table(network.registry, 1) is None


async def test_who_has_left_keeps_its_vote_and_loses_its_address(staffed: Network) -> None:
    leaver = operator(2).account
    sender = Sender(staffed.client, leaver, CHAIN_ID, QUICK)
    await perform(staffed.client, sender, onboarding.leave(staffed.contracts, leaver.address))
    table = await read_table(staffed.registry, 1)
    assert table is not None
    row = table.operators[2]
    assert (row.operator, row.weight) == (leaver.address, 100 * 10**9)
    assert (row.peer_id, row.multiaddrs) == ("", ())


async def test_the_events_of_the_set_up_are_typed(staffed: Network) -> None:
    start = await position_before(staffed.client, staffed.deployment.first_block)
    follower = Follower(staffed.client, watched(staffed.contracts), start, FollowPolicy(1))
    events = decode_events((await follower.next_update()).logs)
    registered = [event for event in events if isinstance(event, OperatorRegistered)]
    assert [event.session for event in registered] == [operator(i).session for i in range(4)]
    assert [event.peer_id for event in registered] == [operator(i).peer_id for i in range(4)]
    frozen, opened = events[-2:]
    assert isinstance(frozen, TableFrozen)
    assert (frozen.epoch, frozen.size, frozen.total_weight) == (1, 4, 400 * 10**9)
    assert isinstance(opened, EpochOpened)
    record = await staffed.registry.epoch_of(1)
    assert record is not None
    assert opened.seed == record.seed


SHORT = replace(PLAN, epoch_blocks=10)


async def test_epochs_turn_when_they_are_due(tmp_path: Path) -> None:
    async with run_network(tmp_path / "anvil.log", plan=SHORT) as network:
        await check_epochs(network)


async def check_epochs(network: Network) -> None:
    async def due() -> str | None:
        head = await network.client.block_number()
        step = await due_step(network.registry, network.contracts, head)
        return None if step is None else step.label

    async def turn() -> None:
        head = await network.client.block_number()
        step = await due_step(network.registry, network.contracts, head)
        assert step is not None
        await perform(network.client, keeper(network), step)

    await register_operators(network.client, network.deployment, [operator(0)])
    assert await due() == "freezeTable"
    await turn()
    for _ in range(SHORT.table_seed_delay):
        assert await due() is None
        await mine(network.client, 1)
    assert await due() == "openEpoch"
    await turn()
    assert await network.registry.current_epoch() == 1
    await mine(network.client, SHORT.epoch_blocks - 2)
    assert await due() is None
    await mine(network.client, 1)
    assert await due() == "freezeTable"
    await turn()
    # The hash of a block can be read for 256 blocks.
    await mine(network.client, SHORT.table_seed_delay + 255)
    assert await due() == "openEpoch"
    await mine(network.client, 1)
    assert await due() == "freezeTable", "its seed is out of reach"
    await turn()


async def test_peer_ids_are_written_as_libp2p_writes_them() -> None:
    for number in range(1, 20):
        text = peer_id_of_seed(bytes([number]) * 32)
        assert base58(peer_id_bytes(text)) == text
    assert base58(b"\0\0\1") == "112"
    assert base58(b"") == ""


@dataclass
class Claims:
    """A registry that says what a test wants: the real one can not be made to lie."""

    record: EpochRecord
    rows: tuple[TableRow, ...]
    peers: tuple[Peer, ...] = field(default=())

    async def epoch_of(self, epoch: int) -> EpochRecord:
        await trio.lowlevel.checkpoint()
        return self.record

    async def table_of(self, epoch: int) -> tuple[TableRow, ...]:
        await trio.lowlevel.checkpoint()
        return self.rows

    async def peers_of(self, operators: Sequence[bytes]) -> tuple[Peer, ...]:
        await trio.lowlevel.checkpoint()
        return self.peers or tuple(Peer(b"", "") for _ in operators)


def row(number: int) -> TableRow:
    key = eip2537_g1(BlsKey(number.to_bytes(32, "big")).public_key)
    return TableRow(
        operator=Account(number.to_bytes(32, "big")).address,
        session=Account((100 + number).to_bytes(32, "big")).address,
        weight=10,
        bls_key=key[16:64] + key[80:],
        sealing_key=bytes([number]) * 32,
        peer_id_hash=Hash(bytes(32)),
    )


RECORD = EpochRecord(5, 9, Hash(b"\x01" * 32), 20, 2)


async def test_an_honest_claim_passes() -> None:
    table = await read_table(Claims(RECORD, (row(1), row(2))), 1)  # type: ignore[arg-type]
    assert table is not None
    assert len(table.operators) == 2


async def test_a_peer_id_of_later_keys_is_not_taken_for_the_tables() -> None:
    here, there = b"\x00\x01a", b"\x00\x01b"
    rows = (
        replace(row(1), peer_id_hash=Hash(keccak(here))),
        replace(row(2), peer_id_hash=Hash(keccak(here))),
    )
    peers = (
        Peer(here, "/ip4/1.2.3.4/tcp/1, ,/ip4/1.2.3.4/tcp/2,"),
        Peer(there, "/ip4/5.6.7.8/tcp/1"),
    )
    table = await read_table(Claims(RECORD, rows, peers), 1)  # type: ignore[arg-type]
    assert table is not None
    kept, moved = table.operators
    assert (kept.peer_id, kept.multiaddrs) == (
        base58(here),
        ("/ip4/1.2.3.4/tcp/1", "/ip4/1.2.3.4/tcp/2"),
    )
    assert (moved.peer_id, moved.multiaddrs) == ("", ())


@pytest.mark.parametrize(
    "rows",
    [
        (),
        (row(1),),
        (row(1), row(1)),
        (row(1), row(2), row(3)),
        (row(1), replace(row(2), weight=11)),
        (replace(row(1), weight=20), replace(row(2), weight=0)),
        (row(1), replace(row(2), session=row(1).session)),
        (row(1), replace(row(2), bls_key=row(1).bls_key)),
        (row(1), replace(row(2), bls_key=bytes(96))),
        (row(1), replace(row(2), bls_key=b"\xff" * 96)),
    ],
)
async def test_a_table_that_contradicts_itself_is_refused(rows: tuple[TableRow, ...]) -> None:
    with pytest.raises(BadTableError):
        await read_table(Claims(RECORD, rows), 1)  # type: ignore[arg-type]
