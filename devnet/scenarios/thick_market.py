"""Fourteen requests and six provers: thin at first, thick from the next epoch on."""

from __future__ import annotations

from devnet.cluster import ClusterSpec
from devnet.market_scenario import Bid, MarketOutcome, MarketScenario
from devnet.node_files import ASK_WEI, Offer
from protocol.clearing import MIN_BUYERS

SLOTS = 4
"""Of each node: as many as it proves in time while the others prove beside it on two cores."""
WEI = 10**12


def crowded(outcome: MarketOutcome) -> bool:
    """One thick clearing with all of them, in which several were served."""
    return any(row["buyers"] >= 12 and row["served"] >= 3 for row in outcome.thick)


def charged_what_was_told(outcome: MarketOutcome) -> bool:
    """Nobody pays above its maximum, and what was charged on chain is what the requests say."""
    fair = all(ended.paid <= ended.bid.max_fee for ended in outcome.requests)
    return fair and outcome.debited == sum(ended.paid for ended in outcome.requests)


def most_are_settled(outcome: MarketOutcome) -> bool:
    """Trade reduction leaves somebody out in each round; in the end two at most are not served."""
    return sum(ended.settled for ended in outcome.requests) >= 12


def sizes(outcome: MarketOutcome) -> int:
    """How many sizes of requests were settled."""
    return len({ended.slots for ended in outcome.requests if ended.settled})


SCENARIO = MarketScenario(
    summary="14 requests of mixed size meet 6 provers in a thick market; every round is recomputed",
    # Below the posted price, so that they wait; above what the provers ask.
    bids=tuple(
        Bid(accounts, slots * fee * WEI)
        for accounts, slots, fee in (
            (16, 2, 100),
            (16, 2, 96),
            (32, 3, 92),
            (16, 2, 88),
            (64, 5, 84),
            (32, 3, 80),
            (16, 2, 76),
            (32, 3, 72),
            (16, 2, 68),
            (16, 2, 64),
            (32, 3, 60),
            (16, 2, 56),
            (16, 2, 52),
            (32, 3, 48),
        )
    ),
    cluster=ClusterSpec(
        nodes=6,
        epoch_blocks=40,
        params="crowded",
        offers=tuple(Offer(SLOTS, ASK_WEI * (5 + place)) for place in range(6)),
    ),
    must=(
        ("a market of at least 12 requests cleared by the thick rule", crowded),
        ("every round recomputed from two nodes is identical", lambda o: not o.difference),
        ("every settled batch's root stands on chain", lambda o: not o.unsettled_roots),
        ("the chain debited what the requests were told", charged_what_was_told),
        ("every request is over", lambda o: len(o.requests) == 14),
        ("at least 12 requests are settled with the right claim", most_are_settled),
        ("requests of at least two sizes are settled", lambda o: sizes(o) >= 2),
        ("no node has ended", lambda o: not o.cluster.ended()),
    ),
    deadline_s=170,
)

if len(SCENARIO.bids) < MIN_BUYERS:
    raise ValueError("too few requests for a thick market")
