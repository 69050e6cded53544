"""A sealed input at the door of its prover."""

from __future__ import annotations

import pytest
import trio

from node.box import SealingKey, seal
from node.private_input import associated_data
from node.services.private_inputs import ASSIGNMENT_WAIT_S, BoxReply, PrivateInputs
from protocol.hashing import keccak
from protocol.inputs import InputHeld
from protocol.job import new_job
from protocol.job_inputs import Admitted, Awarded, Classified
from tests.protocol.certified import OPERATORS, id_of, request_body
from tests.protocol.test_job import AWARD, DEADLINE, START, feed

ME, OTHER = OPERATORS[0], OPERATORS[1]
KEY, NEXT_KEY = SealingKey(b"\x07" * 32), SealingKey(b"\x08" * 32)
PLAIN = b"rows"
BODY = request_body(slots=3, input_hashes=(keccak(PLAIN),) * 3)
REQUEST = id_of(BODY)


class Held:
    """A prover that keeps inputs in memory."""

    def __init__(self) -> None:
        self.inputs: list[tuple[bytes, int, bytes]] = []

    async def hold_input(self, request_id: bytes, segment: int, plain: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.inputs.append((request_id, segment, plain))


class Door:
    def __init__(self) -> None:
        self.held = Held()
        self.told: list[object] = []
        self.job = feed(
            new_job(REQUEST, BODY.request, ME, DEADLINE, START), Classified(), Admitted()
        )
        self.changed = trio.Event()
        self.inputs = PrivateInputs(
            ME,
            [NEXT_KEY, KEY],
            self.held,
            lambda _: self.job,
            self._wait_changed,  # type: ignore[arg-type]
        )
        self.inputs.connect(self._submit, None)  # type: ignore[arg-type]

    async def _submit(self, event: object) -> None:
        await trio.lowlevel.checkpoint()
        self.told.append(event)

    async def _wait_changed(self) -> None:
        await self.changed.wait()

    def award(self) -> None:
        self.job = feed(self.job, Awarded(AWARD))
        self.changed.set()
        self.changed = trio.Event()

    async def take(self, segment: int) -> BoxReply:
        box = seal(KEY.public_key, PLAIN, associated_data(REQUEST, segment, ME))
        return await self.inputs.take(REQUEST, segment, box)


async def test_an_input_that_comes_before_the_award_is_taken_as_soon_as_it_is_known(
    autojump_clock, nursery
):
    door = Door()

    async def decide() -> None:
        await trio.sleep(ASSIGNMENT_WAIT_S / 2)
        door.award()

    nursery.start_soon(decide)
    assert await door.take(0) is BoxReply.TAKEN
    assert door.held.inputs == [(REQUEST, 0, PLAIN)]
    assert door.told == [InputHeld(REQUEST, 0)]


@pytest.mark.parametrize("awarded", [False, True])
@pytest.mark.parametrize("segment", [1, 7])
async def test_an_input_of_a_segment_of_somebody_else_is_refused_after_a_moment(
    autojump_clock, awarded, segment
):
    door = Door()
    if awarded:
        door.award()
    began = trio.current_time()
    assert await door.take(segment) is BoxReply.NOT_ASSIGNED
    assert trio.current_time() - began == pytest.approx(ASSIGNMENT_WAIT_S)
    assert not door.held.inputs


@pytest.mark.parametrize(
    ("recipient", "reply"),
    [
        (KEY, BoxReply.TAKEN),
        (NEXT_KEY, BoxReply.TAKEN),
        (SealingKey(b"\x0b" * 32), BoxReply.MISMATCH),
    ],
)
async def test_a_box_opens_with_the_key_of_either_epoch_and_no_other(recipient, reply):
    door = Door()
    door.award()
    box = seal(recipient.public_key, PLAIN, associated_data(REQUEST, 0, ME))
    assert await door.inputs.take(REQUEST, 0, box) is reply
    assert door.held.inputs == ([(REQUEST, 0, PLAIN)] if reply is BoxReply.TAKEN else [])
