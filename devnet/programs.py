"""Built programs as the market registers them: id, class and verifying keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from protocol.dispatch import classify
from protocol.programs import COMBINE, SEGMENT

if TYPE_CHECKING:
    from node.proving.artifacts import BuiltProgram


@dataclass(frozen=True, slots=True)
class ProgramKeys:
    """What goes on chain of a program: 32-byte ids, and its circuits' Groth16 verifying keys."""

    program_id: bytes
    class_id: bytes
    verifying_keys: tuple[bytes, ...]


def program_keys(program: BuiltProgram) -> ProgramKeys:
    """The keys of a built program, segment circuit first; raises BackendError."""
    return ProgramKeys(
        program_id=program.program_id,
        class_id=classify(program.manifest).class_id,
        verifying_keys=tuple(program.verifying_key(name) for name in (SEGMENT, COMBINE)),
    )
