"""The dispatcher: which class of jobs a program is, from facts that every node checks itself.

The unit of trade is a slot: one segment of the class. The combining segment takes one slot too.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from protocol.hashing import keccak
from protocol.programs import GROTH16
from protocol.types import Hash

if TYPE_CHECKING:
    from protocol.programs import ProgramManifest

_CLASS_TAG: Final = b"provernet/class/"
_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class TierFacts:
    """How large a segment of a tier may be, and what its prover should budget for the largest.

    `memory_bytes` is address space, which limits count, of a worker that holds the keys of both
    circuits of a program and makes a proof. `cpu_ms` is processor time of one proof with its key
    loaded. None: a tier without an upper end has no budget.
    """

    max_constraints: int
    memory_bytes: int | None
    cpu_ms: int | None


class Tier(Enum):
    """Size of one segment: the table of tiers.

    The budgets are what `python -m benchmarks tiers` measured with the reference engine at the end
    of each tier, rounded up; docs/benchmarks.md shows both. The constraints alone decide.
    """

    S = TierFacts(max_constraints=1 << 15, memory_bytes=320 * _MIB, cpu_ms=6_000)
    M = TierFacts(max_constraints=1 << 17, memory_bytes=1_024 * _MIB, cpu_ms=24_000)
    L = TierFacts(max_constraints=1 << 19, memory_bytes=4_096 * _MIB, cpu_ms=96_000)
    XL = TierFacts(max_constraints=(1 << 64) - 1, memory_bytes=None, cpu_ms=None)


@dataclass(frozen=True, slots=True)
class JobClass:
    """A proof system and a tier: one market."""

    proof_system: str
    tier: Tier

    @property
    def name(self) -> str:
        """Readable name, such as groth16/S."""
        return f"{self.proof_system}/{self.tier.name}"

    @property
    def class_id(self) -> Hash:
        """keccak256 of a tag and the name: what asks and programs carry."""
        return Hash(keccak(_CLASS_TAG + self.name.encode()))


def tier_of(constraints: int) -> Tier:
    """The smallest tier that holds a circuit of so many constraints."""
    return next(tier for tier in Tier if constraints <= tier.value.max_constraints)


def classify(manifest: ProgramManifest) -> JobClass:
    """The class of a program: its larger circuit decides, as either may fill a slot."""
    largest = max(manifest.segment.constraints, manifest.combine.constraints)
    return JobClass(manifest.proof_system, tier_of(largest))


KNOWN_CLASSES: Final[dict[Hash, JobClass]] = {
    job_class.class_id: job_class for job_class in (JobClass(GROTH16, tier) for tier in Tier)
}
"""The classes of the proof systems that this version has a back end for."""
