"""The dispatcher: which class of jobs a program is, from facts that every node checks itself.

The unit of trade is a slot: one segment of the class. The combining segment takes one slot too.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from eth_hash.auto import keccak

from protocol.programs import GROTH16
from protocol.types import Hash

if TYPE_CHECKING:
    from protocol.programs import ProgramManifest

_CLASS_TAG: Final = b"provernet/class/"


class Tier(Enum):
    """Size of one segment by its constraint count; the value is the largest count of the tier."""

    S = 1 << 15
    """About 2 CPU-seconds and 150 MB a proof with the reference engine."""
    M = 1 << 17
    """About 8 CPU-seconds and 0.5 GB."""
    L = 1 << 19
    """About 32 CPU-seconds and 2 GB."""
    XL = (1 << 64) - 1
    """Whatever is larger."""


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
    return next(tier for tier in Tier if constraints <= tier.value)


def classify(manifest: ProgramManifest) -> JobClass:
    """The class of a program: its larger circuit decides, as either may fill a slot."""
    largest = max(manifest.segment.constraints, manifest.combine.constraints)
    return JobClass(manifest.proof_system, tier_of(largest))


KNOWN_CLASSES: Final[dict[Hash, JobClass]] = {
    job_class.class_id: job_class for job_class in (JobClass(GROTH16, tier) for tier in Tier)
}
"""The classes of the proof systems that this version has a back end for."""
