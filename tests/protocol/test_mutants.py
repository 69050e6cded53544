"""A million hostile frames, made of every kind on the wire, against the decoder."""

from __future__ import annotations

import random
from collections import Counter
from itertools import islice
from typing import Final

import msgspec
import pytest

from protocol.bounds import FIELD_RULES, FRAME_LIMITS, fits, items, size
from protocol.codec import decode, encode
from protocol.errors import Rejection, RejectionReason
from protocol.messages import Kind
from tests.protocol.mutants import applied, edits, pairs, parse
from tests.protocol.wire_oracle import legal, reason_due
from tests.protocol.wire_samples import Palette, frames_of, samples

QUOTA: Final = -(-1_000_000 // len(Kind))
"""Mutants of each kind: a million in all."""
PALETTE: Final = Palette()
SENDER: Final = b"\x02" * 20
FRAMES: Final = {kind: frames_of(kind, PALETTE, SENDER) for kind in Kind}


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_has_legal_samples(kind: Kind) -> None:
    assert FRAMES[kind]
    for frame in FRAMES[kind]:
        assert decode(frame).kind == kind
        assert legal(frame)
        assert parse(frame).end == len(frame)


@pytest.mark.parametrize("kind", Kind)
def test_mutants(kind: Kind) -> None:
    """Only the one form of a legal message is taken; all else has the reason that is due."""
    check_mutants(kind, QUOTA, seed=int(kind))


@pytest.mark.slow
@pytest.mark.parametrize("kind", Kind)
def test_ten_million_mutants(kind: Kind) -> None:
    check_mutants(kind, 10 * QUOTA, seed=1_000 + int(kind))


def check_mutants(kind: Kind, quota: int, seed: int) -> None:
    """Every single change of the samples, then two changes at once until there are enough."""
    chance = random.Random(seed)
    strangers = [FRAMES[other][-1] for other in Kind if other is not kind]
    counts: Counter[RejectionReason | None] = Counter()
    frames = FRAMES[kind]
    for frame in frames:
        counts[outcome(frame + bytes(FRAME_LIMITS[kind]))] += 1
        pool = edits(frame, strangers)
        for edit in pool:
            counts[outcome(applied(frame, edit))] += 1
        twice = pairs(frame, pool, chance)
        for mutant in islice(twice, max(0, quota // len(frames) + 1 - len(pool))):
            counts[outcome(mutant)] += 1
    assert counts.total() >= quota
    assert counts[None]
    assert counts[RejectionReason.MALFORMED] > quota // 4
    assert counts[RejectionReason.UNKNOWN_KIND]
    assert counts[RejectionReason.FRAME_TOO_LARGE]


class Later(msgspec.Struct, frozen=True, array_like=True):
    """As a struct of the wire that is written later."""

    shares: tuple[bytes, ...]
    nonce: bytes
    tier: int


def test_a_kind_that_comes_later_has_samples_too(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = {"shares": items(size(81), 16, 7), "nonce": size(12), "tier": range(3, 5).__contains__}
    monkeypatch.setitem(FIELD_RULES, Later, rules)
    found = samples(Later, PALETTE)
    assert all(fits(value) for value in found)
    assert {value.tier for value in found} == {3, 4}
    monkeypatch.setitem(FIELD_RULES, Later, {**rules, "tier": lambda _: False})
    with pytest.raises(LookupError):
        samples(Later, PALETTE)


def outcome(frame: bytes) -> RejectionReason | None:
    """What the decoder says, if it may say that."""
    try:
        taken = decode(frame)
    except Rejection as exc:
        reason = exc.reason
    else:
        assert encode(taken) == frame, frame.hex()
        assert legal(frame), frame.hex()
        return None
    assert reason is reason_due(frame), frame.hex()
    return reason
