"""A bid that f + 1 members can list and no round can hold: it must not keep the network at work."""

from __future__ import annotations

import pytest

from protocol import application, replica
from protocol.eip712 import digest
from protocol.messages import SealedBid
from tests.sim.bidders import short
from tests.sim.crypto import HASHED
from tests.sim.market import LIVENESS_VIEWS, PRICE, MarketRun
from tests.sim.run import DOMAIN

VIEWS = 40
"""From the request to its deadline."""
FEW = application.PROMPT + VIEWS.bit_length()


class ShortDealing(MarketRun):
    """Good links, nobody faulty, a single request."""

    views = (VIEWS,)
    liveness_views = VIEWS + LIVENESS_VIEWS

    def __init__(self, seed: int) -> None:
        super().__init__(seed, keys=HASHED)
        self.gst_ms = 0

    def _plan(self) -> None:
        for shell in self.world.nodes:
            self._boot(shell)
        self._heal()
        self._plan_item(self.view_ms)

    def _bids(self, request_id: bytes, fee: int) -> list[SealedBid]:
        dealt = short(self._bid(request_id, fee + PRICE), self.more)
        self.short.add(digest(DOMAIN, dealt))
        return [dealt]


def rounds_opened() -> int:
    """Rounds of four honest nodes until the request has run out."""
    runs = (ShortDealing(seed) for seed in range(100))
    run = next(run for run in runs if len(run.world.nodes) == 4 and not run.faulty)
    result = run.go()
    assert result.failure is None, result.failure
    assert run.short
    return result.rounds


def test_a_bid_that_no_round_can_hold_opens_ever_fewer() -> None:
    assert application.PROMPT < rounds_opened() <= FEW


def test_without_pauses_it_opens_one_round_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (application, replica):
        monkeypatch.setattr(module, "pause_ms", lambda times, view_ms: 0)
    assert rounds_opened() > 3 * FEW
