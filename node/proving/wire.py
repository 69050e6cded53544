"""What the pool and its workers say to each other: length-prefixed msgpack over two pipes."""

from __future__ import annotations

from typing import Final

import msgspec

HEADER_BYTES: Final = 4
EXIT_OUT_OF_MEMORY: Final = 12
"""Exit code of a worker that met its memory limit."""


class _Frame(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    pass


class ProveJob(_Frame, frozen=True):
    """Check, prove and self-verify one segment; answered by WitnessChecked, ProofMade, Verified."""

    folder: str
    circuit: str
    private_input: bytes
    request_id: bytes
    prover: bytes
    segment: int


class VerifyJob(_Frame, frozen=True):
    """Check one proof; answered by Verified or Refused."""

    folder: str
    circuit: str
    values: tuple[bytes, ...]
    proof: bytes


class LoadJob(_Frame, frozen=True):
    """Load the keys of these circuits; answered by Loaded."""

    folder: str
    circuits: tuple[str, ...]


class WitnessChecked(_Frame, frozen=True):
    """The private input satisfies the statement, which has these public values."""

    elapsed_ms: int
    values: tuple[bytes, ...]


class ProofMade(_Frame, frozen=True):
    """The proof, not verified yet."""

    elapsed_ms: int
    proof: bytes


class Verified(_Frame, frozen=True):
    """The proof holds. The last answer to a ProveJob or VerifyJob."""

    elapsed_ms: int


class Loaded(_Frame, frozen=True):
    """The keys are in memory. The last answer to a LoadJob."""

    elapsed_ms: int


class Unsatisfied(_Frame, frozen=True):
    """No proof exists for the private input. A last answer."""

    fault: str
    row: int


class Refused(_Frame, frozen=True):
    """The proof or its public values are refused: a RejectionReason by name. A last answer."""

    reason: str
    detail: str


class Failed(_Frame, frozen=True):
    """The worker could not do its job: a BackendFault by value. A last answer."""

    fault: str
    detail: str


Job = ProveJob | VerifyJob | LoadJob
Answer = WitnessChecked | ProofMade | Verified | Loaded | Unsatisfied | Refused | Failed
FinalAnswer = Verified | Loaded | Unsatisfied | Refused | Failed

_JOBS: Final[msgspec.msgpack.Decoder[Job]] = msgspec.msgpack.Decoder(Job)
_ANSWERS: Final[msgspec.msgpack.Decoder[Answer]] = msgspec.msgpack.Decoder(Answer)


def encode(frame: Job | Answer) -> bytes:
    """A frame with its 4-byte big-endian length in front."""
    body = msgspec.msgpack.encode(frame)
    return len(body).to_bytes(HEADER_BYTES, "big") + body


def decode_job(body: bytes) -> Job:
    """A job from a frame's body."""
    return _JOBS.decode(body)


def decode_answer(body: bytes) -> Answer:
    """An answer from a frame's body."""
    return _ANSWERS.decode(body)
