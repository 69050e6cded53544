"""Where a gateway stands is read off what is on its disk, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from devnet.standpoint import Standpoint, read_stand
from node.store import Store
from protocol.bounds import SIGNATURE_SIZES
from protocol.codec import encode, encode_input
from protocol.inputs import Received
from protocol.messages import BidList, Certificate, Commit, Envelope, Kind, Proposal, Value, Vote
from protocol.rounds.turn import slot_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from protocol.messages import Body

ROUND, VIEW, OPERATORS = 4, 9, 4
ME = bytes([1]) * 20
HASH = bytes(32)

LIST = BidList(1, ROUND, ME, (), ())
PROPOSAL = Proposal(1, ROUND, VIEW, ME, Value(1, ROUND, HASH, (), (), (), (), 1), None)
VOTE = Vote(1, ROUND, VIEW, HASH)
COMMIT = Commit(1, ROUND, HASH, 0, bytes(32), HASH, bytes(32), bytes(32))
LOCK_CERT = Certificate(Kind.LOCK, 1, ROUND, VIEW, HASH, HASH, (), bytes(96))

SAID: tuple[tuple[Kind, Body], ...] = (
    (Kind.BID_LIST, LIST),
    (Kind.PROPOSAL, PROPOSAL),
    (Kind.PREPARE, VOTE),
    (Kind.LOCK, VOTE),
    (Kind.COMMIT, COMMIT),
)
"""What a gateway says in a round, in this order."""


def frame(kind: Kind, body: Body, sender: bytes = ME) -> bytes:
    return encode(Envelope(int(kind), sender, body, bytes(SIGNATURE_SIZES[kind])))


def locks(count: int, value: bytes = HASH) -> list[bytes]:
    """LOCKs of so many others."""
    vote = Vote(1, ROUND, VIEW, value)
    return [frame(Kind.LOCK, vote, bytes([2 + place]) * 20) for place in range(count)]


async def write(folder: Path, said: Sequence[tuple[Kind, Body]], heard: Sequence[bytes]) -> None:
    store = Store.open(folder / "node.sqlite")
    try:
        for number in range(1, ROUND):
            await store.save_decided(number, b"")
        for kind, body in said:
            slot = bytes([kind]) + slot_of(kind, body)
            await store.claim_statement(slot, ROUND, lambda kind=kind, body=body: frame(kind, body))
        if heard:
            await store.append([bytes(8) + encode_input(Received(one)) for one in heard])
    finally:
        store.close()


@pytest.mark.parametrize(
    ("said", "heard", "expected"),
    [
        (0, [], Standpoint.ELSEWHERE),
        (1, [], Standpoint.COLLECTING),
        (2, [], Standpoint.PROPOSING),
        (3, [], Standpoint.PREPARED),
        (4, [], Standpoint.LOCKED),
        (4, locks(1), Standpoint.LOCKED),
        (4, locks(1) + locks(1), Standpoint.LOCKED),
        (4, locks(2, bytes([7]) * 32), Standpoint.LOCKED),
        (4, locks(2), Standpoint.OPENING),
        (3, locks(3), Standpoint.OPENING),
        (4, [frame(Kind.CERTIFICATE, LOCK_CERT)], Standpoint.OPENING),
        (5, locks(2), Standpoint.COMMITTED),
        # It has not proposed: whose round it is that others locked is not told.
        (1, locks(3), Standpoint.ELSEWHERE),
    ],
)
async def test_a_gateway_stands_where_its_last_statement_puts_it(
    said: int, heard: list[bytes], expected: Standpoint, tmp_path: Path
) -> None:
    await write(tmp_path, SAID[:said], heard)
    stand = read_stand(tmp_path, OPERATORS)
    assert stand.round == ROUND
    assert stand.of_gateway(VIEW) is expected


async def test_what_was_said_in_another_view_does_not_count(tmp_path: Path) -> None:
    await write(tmp_path, SAID[:4], [])
    assert read_stand(tmp_path, OPERATORS).of_gateway(VIEW + 1) is Standpoint.COLLECTING


async def test_the_disk_of_a_running_node_is_read_without_touching_it(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "node.sqlite")
    try:
        await store.append([bytes(8) + encode_input(Received(frame(Kind.BID_LIST, LIST)))])
        before = {path: path.read_bytes() for path in tmp_path.iterdir()}
        assert read_stand(tmp_path, OPERATORS).round == 1
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    finally:
        store.close()
