from __future__ import annotations

import pytest
from eth_hash.auto import keccak

from protocol.dispatch import KNOWN_CLASSES, JobClass, Tier, classify, tier_of
from protocol.programs import CircuitFacts, ProgramManifest


def manifest(segment, combine):
    return ProgramManifest(
        name="solvency",
        version=1,
        proof_system="groth16",
        accounts_per_segment=16,
        max_segments=16,
        segment=CircuitFacts("segment", segment, 6, bytes(32)),
        combine=CircuitFacts("combine", combine, 21, bytes(32)),
    )


@pytest.mark.parametrize(
    ("constraints", "tier"),
    [
        (1, Tier.S),
        (1 << 15, Tier.S),
        ((1 << 15) + 1, Tier.M),
        (1 << 17, Tier.M),
        ((1 << 17) + 1, Tier.L),
        (1 << 19, Tier.L),
        ((1 << 19) + 1, Tier.XL),
        ((1 << 64) - 1, Tier.XL),
    ],
)
def test_tiers_end_where_the_table_says(constraints, tier):
    assert tier_of(constraints) is tier


@pytest.mark.parametrize(("segment", "combine"), [(40_000, 10), (10, 40_000)])
def test_the_larger_circuit_decides(segment, combine):
    assert classify(manifest(segment, combine)) == JobClass("groth16", Tier.M)


def test_class_ids_are_the_hash_of_the_readable_name():
    assert JobClass("groth16", Tier.S).class_id == keccak(b"provernet/class/groth16/S")
    assert len(KNOWN_CLASSES) == len(Tier)
    assert all(job_class.class_id == key for key, job_class in KNOWN_CLASSES.items())
