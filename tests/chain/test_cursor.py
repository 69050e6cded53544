from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio
import trio.testing

from chain import onboarding, rpc_values
from chain.client import Call, ChainClient, hexed, open_client
from chain.cursor import Follower, FollowPolicy, Mark, Position, Update, position_before
from chain.errors import BadResponseError, ChainFault, ReorgTooDeepError
from chain.events import EscrowDeposited, decode_events, watched
from chain.interfaces import MINT
from chain.rpc_values import Block, Log
from devnet.accounts import REQUESTER, account
from devnet.contract import transact
from devnet.operators import fund_requester, mine
from protocol.types import Address
from tests.chain.endpoint import Answer, endpoint, result
from tests.chain.network import Network

if TYPE_CHECKING:
    from collections.abc import Sequence

POLICY = FollowPolicy(confirmations=1, block_time_s=0.02)


async def follow(
    network: Network, policy: FollowPolicy = POLICY, position: Position | None = None
) -> Follower:
    start = position or await position_before(network.client, network.deployment.first_block)
    return Follower(network.client, watched(network.contracts), start, policy)


async def deposit(network: Network, amount: int) -> None:
    await fund_requester(network.client, network.deployment, account(REQUESTER), amount)


async def drain(follower: Follower, *, until: int) -> list[Update]:
    updates = []
    with trio.fail_after(10):
        while not updates or updates[-1].position.tip.number < until:
            updates.append(await follower.next_update())
    return updates


def deposits(updates: list[Update]) -> list[int]:
    logs = [entry for update in updates for entry in update.logs]
    return [event.amount for event in decode_events(logs) if isinstance(event, EscrowDeposited)]


async def test_yields_every_event_once_in_short_ranges(network: Network) -> None:
    for amount in (1, 2, 3):
        await deposit(network, amount)
    head = await network.client.block_number()
    follower = await follow(network, replace(POLICY, max_range=2))
    updates = await drain(follower, until=head)
    assert deposits(updates) == [1, 2, 3]
    tips = [update.position.tip.number for update in updates]
    assert tips == sorted(set(tips))
    assert updates[-1].head.number == head
    assert updates[-1].head.timestamp_s > 1_600_000_000


async def test_waits_for_a_new_block(network: Network) -> None:
    follower = await follow(network)
    await drain(follower, until=await network.client.block_number())
    with trio.move_on_after(0.2) as scope:
        await follower.next_update()
    assert scope.cancelled_caught
    await deposit(network, 7)
    assert deposits(await drain(follower, until=await network.client.block_number())) == [7]


async def test_goes_on_from_a_stored_position(network: Network) -> None:
    await deposit(network, 1)
    updates = await drain(await follow(network), until=await network.client.block_number())
    stored = msgspec.json.encode(updates[-1].position)
    await deposit(network, 2)
    position = msgspec.json.decode(stored, type=Position)
    resumed = await follow(network, position=position)
    assert deposits(await drain(resumed, until=await network.client.block_number())) == [2]


async def test_reads_no_block_above_the_finality_depth(network: Network) -> None:
    follower = await follow(network, replace(POLICY, confirmations=4))
    head = await network.client.block_number()
    await drain(follower, until=head - 3)
    await deposit(network, 5)
    deep = await network.client.block_number()
    await mine(network.client, 2)
    updates = [await follower.next_update()]
    assert updates[0].head.number == deep + 2
    assert deposits(updates) == []
    await mine(network.client, 1)
    assert deposits(await drain(follower, until=deep)) == [5]


async def test_a_reorganisation_rewinds_and_reads_the_new_branch(network: Network) -> None:
    await deposit(network, 1)
    fork = await network.client.block_number()
    sender = account(REQUESTER).address
    step = onboarding.approve(network.contracts.fee_token, network.contracts.proof_market, 10**18)
    await transact(network.client, sender, step.to, step.data)
    follower = await follow(network)
    await drain(follower, until=fork + 1)
    for amount in (20, 30):
        await mint_and_deposit(network, amount)
    head = await network.client.block_number()
    assert deposits(await drain(follower, until=head)) == [20, 30]

    depth = head - (fork + 1)
    await network.client.call("anvil_reorg", depth, [], retry=False)
    await mint_and_deposit(network, 44)

    updates = await drain(follower, until=await network.client.block_number())
    rewinds = [update.rewound_to for update in updates if update.rewound_to is not None]
    assert rewinds == [fork + 1]
    assert 44 in deposits(updates)
    again = await drain(await follow(network), until=await network.client.block_number())
    assert deposits(again) == [1, *deposits(updates)], "as one who comes later reads it"


async def mint_and_deposit(network: Network, amount: int) -> None:
    sender = account(REQUESTER).address
    await transact(network.client, sender, network.contracts.fee_token, MINT.call(sender, amount))
    step = onboarding.deposit_escrow(network.contracts, amount)
    await transact(network.client, sender, step.to, step.data)


@pytest.mark.parametrize("name", ["confirmations", "max_range", "remembered"])
def test_a_policy_that_would_never_move_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        replace(POLICY, **{name: 0})


async def test_a_rewritten_chain_is_told_as_such(network: Network) -> None:
    await mine(network.client, 3)
    follower = await follow(network, replace(POLICY, remembered=2))
    head = await network.client.block_number()
    await drain(follower, until=head)
    await mine(network.client, 1)
    await follower.next_update()
    await network.client.call("anvil_reorg", 3, [], retry=False)
    with pytest.raises(ReorgTooDeepError) as caught:
        await follower.next_update()
    assert caught.value.fault is ChainFault.REORG_TOO_DEEP


async def test_a_position_of_another_chain_is_refused(network: Network) -> None:
    foreign = Position((Mark(3, b"\x01" * 32),))
    with pytest.raises(ReorgTooDeepError):
        await (await follow(network, position=foreign)).next_update()


def header(number: int) -> dict[str, Any]:
    return {
        "number": hex(number),
        "hash": hexed(number.to_bytes(32, "big")),
        "parentHash": hexed((number - 1).to_bytes(32, "big")),
        "timestamp": "0x64",
        "baseFeePerGas": "0x7",
    }


def entry(block: int, index: int, **changes: object) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "address": "0x" + "aa" * 20,
        "topics": [],
        "data": "0x",
        "blockNumber": hex(block),
        "blockHash": header(block)["hash"],
        "transactionHash": "0x" + "01" * 32,
        "logIndex": hex(index),
    }
    return fields | changes


async def first_update(client: ChainClient) -> Update:
    position = Position((Mark(5, (5).to_bytes(32, "big")),))
    follower = Follower(client, [Address(b"\xaa" * 20)], position, POLICY)
    with trio.fail_after(5):
        return await follower.next_update()


def serving(logs: list[dict[str, Any]]) -> Any:
    def answer(request: Any) -> Answer:
        if isinstance(request, list):
            return [answer(part) for part in request]
        if request["method"] == "eth_getLogs":
            return result(request, logs)
        tag = request["params"][0]
        return result(request, header(9 if tag == "latest" else int(tag, 16)))

    return answer


async def test_honest_logs_pass() -> None:
    logs = [entry(6, 0), entry(6, 3), entry(9, 0)]
    async with endpoint(serving(logs)) as served, open_client(served.url) as client:
        update = await first_update(client)
    assert [(log.block_number, log.index) for log in update.logs] == [(6, 0), (6, 3), (9, 0)]
    assert isinstance(update.logs[0], Log)


@pytest.mark.parametrize(
    "logs",
    [
        [entry(5, 0)],
        [entry(10, 0)],
        [entry(7, 0), entry(6, 0)],
        [entry(7, 0), entry(7, 0)],
        [entry(7, 0, address="0x" + "bb" * 20)],
        [entry(9, 0, blockHash="0x" + "01" * 32)],
        [entry(7, 0, removed=True)],
    ],
    ids=["read before", "not asked for", "unordered", "twice", "foreign", "other block", "removed"],
)
async def test_logs_that_can_not_be_are_refused(logs: list[dict[str, Any]]) -> None:
    async with endpoint(serving(logs)) as served, open_client(served.url) as client:
        with pytest.raises(BadResponseError):
            await first_update(client)


class BeatingChain(ChainClient):
    """A block every second of trio's clock; counts how often its head was looked at."""

    def __init__(self) -> None:
        self.looks = 0

    def number(self) -> int:
        return 6 + int(trio.current_time() - START)

    async def head(self) -> Block:
        self.looks += 1
        return rpc_values.block(header(self.number()))

    async def batch(self, calls: Sequence[Call]) -> list[Any]:
        return [
            [] if call.method == "eth_getLogs" else header(int(str(call.params[0]), 16))
            for call in calls
        ]


START = 1_000.3


async def test_a_block_is_seen_soon_with_few_looks(autojump_clock: trio.testing.MockClock) -> None:
    autojump_clock.jump(START + 0.47 - trio.current_time())
    chain = BeatingChain()
    position = Position((Mark(5, (5).to_bytes(32, "big")),))
    policy = FollowPolicy(confirmations=1, block_time_s=1.0)
    follower = Follower(chain, [Address(b"\xaa" * 20)], position, policy)
    for _ in range(3):  # finds the beat
        await follower.next_update()
    before = chain.looks
    for _ in range(20):
        update = await follower.next_update()
        assert update.head.number == chain.number()
        assert (trio.current_time() - START) % 1.0 <= 0.06, "later than a twentieth of a block"
    assert chain.looks - before <= 30, "more than one and a half for a block"


async def test_a_chain_that_stands_still_is_looked_at_rarely(
    autojump_clock: trio.testing.MockClock,
) -> None:
    chain = BeatingChain()
    chain.number = lambda: 6  # type: ignore[method-assign]
    position = Position((Mark(5, (5).to_bytes(32, "big")),))
    policy = FollowPolicy(confirmations=1, block_time_s=1.0)
    follower = Follower(chain, [Address(b"\xaa" * 20)], position, policy)
    await follower.next_update()
    with trio.move_on_after(62):
        await follower.next_update()
    assert chain.looks <= 2 * 60 + 40
