"""Markets of a round for `auction.json`: bidders as parallel arrays, then their clearing."""

from __future__ import annotations

from protocol.auction import Buyer, MarketInput, MarketResult, Seller, clear
from protocol.clearing import Rule
from protocol.dispatch import JobClass, Tier
from protocol.types import Address, Hash, Wei
from tests.vectors.encoding import address, hex_of, word

CLASS = JobClass("groth16", Tier.S).class_id


def market(name, price, buyers, sellers, rule=Rule.THIN):
    """A market from rows: buyers (slots, max fee, allowlist), sellers (slots, ask, quality)."""
    operators = [Address(address(f"{name} seller {place}")) for place in range(len(sellers))]
    return MarketInput(
        class_id=CLASS,
        rule=rule,
        price=Wei(price),
        recent=(),
        beacon=Hash(word(f"{name} beacon")),
        buyers=tuple(
            Buyer(
                Hash(word(f"{name} buyer {place}")),
                slots,
                Wei(fee),
                tuple(operators[allowed] for allowed in allowlist),
                (),
                True,
            )
            for place, (slots, fee, allowlist) in enumerate(buyers)
        ),
        waiting=(),
        sellers=tuple(
            Seller(operator, slots, Wei(ask), quality)
            for operator, (slots, ask, quality) in zip(operators, sellers, strict=True)
        ),
    )


MARKETS = {
    "one request on four provers": market(
        "four", 10**15, [(5, 10**16, ())], [(4, 9 * 10**14, 10_000)] * 4
    ),
    "a buyer too large is skipped": market(
        "skip", 10, [(9, 90, ()), (2, 20, ()), (3, 30, ())], [(3, 10, 10_000), (3, 4, 10_000)]
    ),
    "fee and ask on the wrong side": market(
        "side", 100, [(2, 199, ()), (2, 200, ())], [(4, 101, 10_000), (4, 100, 10_000)]
    ),
    "quality lowers what a seller gets": market(
        "quality", 7, [(3, 21, ())], [(2, 6, 9_000), (2, 7, 9_999)]
    ),
    "an allowlist binds": market(
        "allow", 5, [(2, 10, (0,)), (2, 10, (0,)), (3, 15, (1,))], [(3, 1, 10_000), (2, 1, 10_000)]
    ),
    "who names its operators trades last, at the others' price": market(
        "thick",
        9,
        [(6, 72, ()), (5, 50, ()), (7, 63, ()), (2, 16, ()), (4, 24, ()), (2, 90, (1,))],
        [(12, 2, 10_000), (9, 3, 9_000), (6, 5, 10_000), (8, 7, 10_000)],
        Rule.THICK,
    ),
    "nobody sells": market("empty", 8, [(1, 80, ())], [(2, 9, 10_000)]),
}


def _row(name: str, given: MarketInput) -> dict[str, object]:
    result = clear(given)
    return {
        "name": name,
        "classId": hex_of(given.class_id),
        "rule": given.rule.value,
        "referencePrice": str(given.price),
        "beacon": hex_of(given.beacon),
        "buyers": [hex_of(buyer.request_id) for buyer in given.buyers],
        "buyerSlots": [buyer.slots for buyer in given.buyers],
        "maxFees": [str(buyer.max_fee) for buyer in given.buyers],
        "allowlists": [[hex_of(op) for op in buyer.allowlist] for buyer in given.buyers],
        "sellers": [hex_of(seller.operator) for seller in given.sellers],
        "sellerSlots": [seller.slots for seller in given.sellers],
        "asks": [str(seller.ask) for seller in given.sellers],
        "qualities": [seller.quality for seller in given.sellers],
        **_outcome(result),
    }


def _outcome(result: MarketResult) -> dict[str, object]:
    return {
        "served": [hex_of(trade.request_id) for trade in result.trades],
        "fees": [str(trade.fee) for trade in result.trades],
        "provers": [[hex_of(operator) for operator in trade.provers] for trade in result.trades],
        "pays": [[str(pay) for pay in trade.pays] for trade in result.trades],
        "standbys": [[hex_of(operator) for operator in trade.standby] for trade in result.trades],
        "bidders": [hex_of(receipt.bidder) for receipt in result.receipts],
        "verdicts": [receipt.verdict.code for receipt in result.receipts],
        "amounts": [str(receipt.amount) for receipt in result.receipts],
        "surplus": str(result.surplus),
        "nextPrice": str(result.next_price),
    }


def build() -> dict[str, object]:
    return {"markets": [_row(name, given) for name, given in MARKETS.items()]}
