from __future__ import annotations

from dataclasses import fields, replace

import pytest

from protocol.hashing import keccak
from protocol.programs import CircuitFacts, ProgramManifest, encode_manifest, program_id

SEGMENT = CircuitFacts("segment", 9722, 6, bytes(range(32)))
COMBINE = CircuitFacts("combine", 9345, 21, bytes(range(32, 64)))
MANIFEST = ProgramManifest("solvency", 1, "groth16", 16, 16, SEGMENT, COMBINE)


def test_encoding_has_fixed_bytes() -> None:
    expected = (
        b"provernet/program/1"
        b"\x08solvency"
        + (1).to_bytes(8, "big")
        + b"\x07groth16"
        + (16).to_bytes(8, "big") * 2
        + b"\x07segment"
        + (9722).to_bytes(8, "big")
        + (6).to_bytes(8, "big")
        + bytes(range(32))
        + b"\x07combine"
        + (9345).to_bytes(8, "big")
        + (21).to_bytes(8, "big")
        + bytes(range(32, 64))
    )
    assert encode_manifest(MANIFEST) == expected
    assert program_id(MANIFEST) == keccak(expected)


def test_every_field_is_part_of_the_id() -> None:
    other_key = replace(SEGMENT, verifying_key_hash=bytes(32))
    changed = {
        "name": "solvencz",
        "version": 2,
        "proof_system": "plonk",
        "accounts_per_segment": 32,
        "max_segments": 8,
        "segment": other_key,
        "combine": replace(COMBINE, constraints=1),
    }
    assert set(changed) == {field.name for field in fields(ProgramManifest)}
    ids = {program_id(replace(MANIFEST, **{name: value})) for name, value in changed.items()}
    assert len(ids | {program_id(MANIFEST)}) == len(changed) + 1


@pytest.mark.parametrize(("accounts", "segments"), [(1, 1), (16, 1), (17, 2), (64, 4), (256, 16)])
def test_segments_for(accounts: int, segments: int) -> None:
    assert MANIFEST.segments_for(accounts) == segments


def test_impossible_manifests_are_refused() -> None:
    for change in (
        {"name": ""},
        {"name": "n" * 256},
        {"version": 0},
        {"max_segments": 2**64},
        {"segment": COMBINE},
    ):
        with pytest.raises(ValueError, match=r"a (name|size|program)"):
            replace(MANIFEST, **change)
    with pytest.raises(ValueError, match="32 bytes"):
        CircuitFacts("segment", 1, 1, bytes(31))
    with pytest.raises(KeyError):
        MANIFEST.circuit("other")
