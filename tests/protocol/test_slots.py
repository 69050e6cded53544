"""A statement that is heard has the slot under which its operator published it."""

from __future__ import annotations

from collections import Counter

from protocol.effects import Publish
from protocol.messages import FetchBatches, Kind
from protocol.slots import slot_named
from tests.sim.market import MarketRun
from tests.sim.world import Shell, World


class Watched(World):
    """Notes what is published, and under which slots."""

    def _do(self, shell: Shell, effect: object) -> None:
        if isinstance(effect, Publish) and shell.honest:
            assert slot_named(effect.kind, effect.body) == effect.slot
            self.published[effect.kind] += 1
        super()._do(shell, effect)


def test_slots_are_read_off_what_replicas_publish() -> None:
    published: Counter[Kind] = Counter()
    for seed in (3, 4, 8, 23, 31):
        run = MarketRun(seed)
        run.world.__class__ = Watched
        run.world.published = published
        assert run.go().failure is None
    assert published.keys() == {
        Kind.SEALED_BID,
        Kind.BID_RECEIPT,
        Kind.BID_SHARES,
        Kind.EVIDENCE,
        Kind.BID_LIST,
        Kind.PROPOSAL,
        Kind.PREPARE,
        Kind.LOCK,
        Kind.COMMIT,
        Kind.TIMEOUT,
        Kind.STATUS,
        Kind.ACCEPT,
        Kind.RESULT,
        Kind.UNAVAILABLE,
    }


def test_what_nobody_signs_has_no_slot() -> None:
    assert slot_named(Kind.FETCH_BATCHES, FetchBatches(1)) is None
