"""What nodes left on disk and on chain, looked at for anything said or paid twice."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import apsw

from chain.interfaces import SETTLE
from protocol.codec import decode, decode_decided, decode_input
from protocol.eip712 import Domain, signed_digest
from protocol.inputs import Received
from protocol.messages import (
    Accept,
    Bodies,
    Envelope,
    Kind,
    SealedBid,
    SegmentResult,
    Unavailable,
)
from protocol.replica_state import decode_replica
from protocol.rounds.turn import slot_of
from protocol.sealing import is_ask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chain.client import ChainClient
    from chain.deployments import Deployment

ROUND_KINDS: Final = frozenset(
    {
        Kind.BID_LIST,
        Kind.BID_SHARES,
        Kind.PROPOSAL,
        Kind.PREPARE,
        Kind.LOCK,
        Kind.COMMIT,
        Kind.TIMEOUT,
    }
)
BAD_EVENTS: Final = frozenset({"conflict", "fault_proven", "settled_another_root"})
_TIME_SIZE: Final = 8


@dataclass
class Statements:
    """Everything that operators were seen to say, by what each may say only once."""

    domain: Domain
    said: dict[tuple[bytes, bytes], bytes] = field(default_factory=dict)
    """(operator, slot) -> digest that was signed."""
    frames: int = 0

    def hear(self, frame: bytes) -> None:
        """Take in one statement; fails if its operator said something else before."""
        envelope = decode(frame)
        if isinstance(envelope.body, Bodies):
            for inner in envelope.body.envelopes:
                self.hear(inner)
            return
        slot = _slot(envelope)
        if slot is None:
            return
        self.frames += 1
        digest = signed_digest(self.domain, envelope)
        first = self.said.setdefault((envelope.sender, slot), digest)
        assert first == digest, (
            f"0x{envelope.sender.hex()} said two things: {Kind(envelope.kind).name} {slot.hex()}"
        )


def _slot(envelope: Envelope) -> bytes | None:
    body = envelope.body
    kind = bytes([envelope.kind])
    match body:
        case _ if Kind(envelope.kind) in ROUND_KINDS:
            return slot_of(Kind(envelope.kind), body)
        case SealedBid() if is_ask(body):
            return kind + body.round.to_bytes(8, "big") + body.class_id
        case Accept() | SegmentResult() | Unavailable():
            return kind + body.request_id + body.segment.to_bytes(4, "big")
        case _:
            return None  # said as often as it changes, or signed by nobody


def read_database(data_dir: Path, statements: Statements) -> None:
    """Take in what a node that does not run has signed and received, as its disk holds it now."""
    with tempfile.TemporaryDirectory() as folder:
        for path in data_dir.glob("node.sqlite*"):
            shutil.copy(path, folder)
        connection = apsw.Connection(str(Path(folder) / "node.sqlite"))
        try:
            for frame in _frames(connection):
                statements.hear(frame)
            _check(connection)
        finally:
            connection.close()


def _frames(connection: apsw.Connection) -> Iterator[bytes]:
    slots = set()
    for slot, frame in connection.execute("SELECT slot, frame FROM statements"):
        slots.add(bytes(slot))
        yield bytes(frame)
    assert len(slots) == connection.execute("SELECT count(*) FROM statements").get
    for (record,) in connection.execute("SELECT record FROM journal"):
        event = decode_input(record[_TIME_SIZE:])
        if isinstance(event, Received):
            yield event.frame
    for (record,) in connection.execute("SELECT record FROM rounds"):
        yield from decode_decided(record).envelopes


def _check(connection: apsw.Connection) -> None:
    events = Counter(row[0] for row in connection.execute("SELECT event FROM events"))
    assert not BAD_EVENTS & events.keys(), events
    snapshot = connection.execute("SELECT state FROM snapshot").get
    if snapshot is not None:
        held = decode_replica(snapshot).round
        assert held is None or not held.conflicts, held.conflicts


@dataclass(frozen=True)
class OnChain:
    """Settlement transactions that were mined."""

    settled: tuple[int, ...]
    """Sequences that went through, in the order of the chain."""
    reverted: int
    """Transactions that came second and cost gas for nothing."""


async def read_chain(client: ChainClient, deployment: Deployment) -> OnChain:
    """Every settlement transaction; fails if one operator had two mined for one batch."""
    market = "0x" + deployment.contracts.proof_market.hex()
    settled: list[int] = []
    senders: Counter[tuple[str, int]] = Counter()
    reverted = 0
    for number in range(deployment.first_block, await client.block_number() + 1):
        block = await client.call("eth_getBlockByNumber", hex(number), True)
        for transaction in block["transactions"]:
            calldata = bytes.fromhex(transaction["input"][2:])
            if transaction["to"] != market or calldata[:4] != SETTLE.selector:
                continue
            # The header comes first in the calldata: epoch, round, value, sequence.
            sequence = int.from_bytes(calldata[4 + 3 * 32 : 4 + 4 * 32], "big")
            senders[transaction["from"], sequence] += 1
            receipt = await client.receipt(bytes.fromhex(transaction["hash"][2:]))
            assert receipt is not None
            if receipt.succeeded:
                settled.append(sequence)
            else:
                reverted += 1
    twice = [key for key, times in senders.items() if times > 1]
    assert not twice, f"sent and mined twice (session key, sequence): {twice}"
    return OnChain(tuple(settled), reverted)
