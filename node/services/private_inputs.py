"""Takes private inputs: opens the box, checks the published hash, keeps it, tells the replica."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from node.ports import UndeliveredError
from node.private_input import associated_data, blob_name, parse_blob_name
from protocol.errors import Rejection, RejectionReason
from protocol.hashing import keccak
from protocol.inputs import InputHeld
from protocol.types import Address, Hash

if TYPE_CHECKING:
    from node.box import SealingKey
    from node.ports import Network, Prover, Submit
    from protocol.job import Job

MAX_BOX: Final = 64 << 10
"""Bytes of a sealed input; the largest of the shipped program has 4 KiB."""
DELIVERY_TIMEOUT_S: Final = 10.0
ASSIGNMENT_WAIT_S: Final = 1.0
"""The node that was asked may have decided the round a moment before the prover."""


class BoxReply(IntEnum):
    """What a prover answers to a sealed input: 0, or a code of the blob protocol's free range."""

    TAKEN = 0
    NOT_ASSIGNED = 64
    MISMATCH = 65
    NO_ANSWER = 255


_REASONS: Final[dict[int, RejectionReason]] = {
    BoxReply.NOT_ASSIGNED: RejectionReason.NOT_ASSIGNED,
    BoxReply.MISMATCH: RejectionReason.INPUT_MISMATCH,
}


class PrivateInputs:
    """This node's door for private inputs, and the way to the other provers' doors.

    A box opens with any of this node's keys: it is sealed to the one that the requester's node read
    in the newest table, which may be that of the award's epoch or of the next one.
    """

    def __init__(
        self,
        me: Address,
        keys: Sequence[SealingKey],
        prover: Prover,
        job_of: Callable[[Hash], Job | None],
        changed: Callable[[], Awaitable[None]],
    ) -> None:
        self._me = me
        self._keys = keys
        self._prover = prover
        self._job_of = job_of
        self._changed = changed
        self._submit: Submit | None = None
        self._network: Network | None = None

    def connect(self, submit: Submit, network: Network) -> None:
        """Join what starts later than the network's blob handler."""
        self._submit, self._network = submit, network

    async def on_blob(self, _peer: bytes, name: bytes, path: Path) -> int:
        """Handler of the network: a box that some operator relays."""
        try:
            request_id, segment = parse_blob_name(name)
            box = await trio.Path(path).read_bytes()
            return await self.take(request_id, segment, box)
        except Rejection:
            return BoxReply.MISMATCH

    async def deliver(self, request_id: Hash, segment: int, operator: Address, box: bytes) -> None:
        """Bring a box to its prover; raises Rejection unless the prover took it."""
        if len(box) > MAX_BOX:
            raise Rejection(RejectionReason.FRAME_TOO_LARGE, f"{MAX_BOX} bytes at most")
        if operator == self._me:
            code = int(await self.take(request_id, segment, box))
        else:
            code = await self._send(request_id, segment, operator, box)
        if code != BoxReply.TAKEN:
            raise Rejection(_REASONS.get(code, RejectionReason.PROVER_UNREACHABLE))

    async def _send(self, request_id: Hash, segment: int, operator: Address, box: bytes) -> int:
        if self._network is None:
            return BoxReply.NO_ANSWER
        name = blob_name(request_id, segment)
        try:
            await self._network.send_blob(operator, name, box, DELIVERY_TIMEOUT_S)
        except UndeliveredError as exc:
            return exc.code or BoxReply.NO_ANSWER
        return BoxReply.TAKEN

    async def take(self, request_id: Hash, segment: int, box: bytes) -> BoxReply:
        """Open a box for a segment of this node; on TAKEN the input survives a crash."""
        job = await self._assigned(request_id, segment)
        if job is None or self._submit is None:
            return BoxReply.NOT_ASSIGNED
        if len(box) > MAX_BOX:
            return BoxReply.MISMATCH
        plain = self._opened(box, associated_data(request_id, segment, self._me))
        if plain is None or keccak(plain) != job.input_hashes[segment]:
            return BoxReply.MISMATCH
        await self._prover.hold_input(request_id, segment, plain)
        await self._submit(InputHeld(request_id, segment))
        return BoxReply.TAKEN

    def _opened(self, box: bytes, data: bytes) -> bytes | None:
        for key in self._keys:
            with suppress(Rejection):
                return key.open(box, data)
        return None

    async def _assigned(self, request_id: Hash, segment: int) -> Job | None:
        """The job, as soon as the segment is this node's; None if it does not become so."""
        with trio.move_on_after(ASSIGNMENT_WAIT_S):
            while True:
                job = self._job_of(request_id)
                places = () if job is None else job.segments[segment : segment + 1]
                if any(place.operator == self._me for place in places):
                    return job
                await self._changed()
        return None
