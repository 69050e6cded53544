from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from protocol.dispatch import KNOWN_CLASSES, JobClass, Tier, classify, tier_of
from protocol.hashing import keccak
from protocol.programs import CircuitFacts, ProgramManifest

MEASURED = json.loads(
    (Path(__file__).parents[2] / "benchmarks" / "results" / "tiers.json").read_text()
)["circuits"]
BOUNDED = [tier for tier in Tier if tier is not Tier.XL]


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


def test_larger_tiers_have_larger_budgets_and_the_last_one_has_no_end():
    for one, other in itertools.pairwise(tier.value for tier in BOUNDED):
        assert one.max_constraints < other.max_constraints
        assert one.memory_bytes < other.memory_bytes
        assert one.cpu_ms < other.cpu_ms
    last = list(Tier)[-1]
    assert (last, last.value.memory_bytes, last.value.cpu_ms) == (Tier.XL, None, None)


@pytest.mark.parametrize("circuit", MEASURED, ids=lambda circuit: str(circuit["constraints"]))
def test_every_measured_circuit_fits_the_budget_of_its_tier(circuit):
    budget = tier_of(circuit["constraints"]).value
    assert circuit["worker_bytes"] <= budget.memory_bytes
    assert circuit["cpu_ms"]["high"] <= budget.cpu_ms


def test_every_budget_was_measured_at_the_end_of_its_tier():
    assert {tier.value.max_constraints for tier in BOUNDED} <= {
        circuit["constraints"] for circuit in MEASURED
    }


@pytest.mark.parametrize(("segment", "combine"), [(40_000, 10), (10, 40_000)])
def test_the_larger_circuit_decides(segment, combine):
    assert classify(manifest(segment, combine)) == JobClass("groth16", Tier.M)


def test_class_ids_are_the_hash_of_the_readable_name():
    assert JobClass("groth16", Tier.S).class_id == keccak(b"provernet/class/groth16/S")
    assert len(KNOWN_CLASSES) == len(Tier)
    assert all(job_class.class_id == key for key, job_class in KNOWN_CLASSES.items())
