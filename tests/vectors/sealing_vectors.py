"""Sealed bids for `sealing.json`: dealt with fixed seeds to fixed keys, with real ciphers."""

from __future__ import annotations

from node.box import BidCiphers, SealingKey
from protocol.eip712 import digest
from protocol.messages import AskBid
from protocol.sealing import Offer, Terms, open_bid, own_share, seal
from tests.vectors.eip712_vectors import DOMAIN
from tests.vectors.encoding import address, hex_of, word

EPOCH, ROUND = 3, 41


def keys(members: int) -> list[SealingKey]:
    return [SealingKey(word(f"sealing key {place}")) for place in range(members)]


CASES = (
    (1, Terms(EPOCH, ROUND, word("class"), address("operator 1")), Offer(10**15, 8)),
    (4, Terms(EPOCH, ROUND, word("class"), address("operator 1")), Offer(10**15, 8)),
    (16, Terms(EPOCH, ROUND, word("class"), address("alice"), word("request")), Offer(7 * 10**16)),
)


def build() -> dict[str, object]:
    rows: dict[str, list[object]] = {
        name: [] for name in ("members", "bidIds", "commitments", "shares", "bids", "salts")
    }
    for members, terms, offer in CASES:
        held = keys(members)
        seed = word(f"seed {members}")
        sealed = seal(DOMAIN, terms, offer, [key.public_key for key in held], seed, BidCiphers())
        shares = {
            place: own_share(DOMAIN, sealed, place, key.public_key, BidCiphers(key)) or b""
            for place, key in enumerate(held)
        }
        bid = open_bid(DOMAIN, sealed, shares, BidCiphers())
        assert bid is not None
        assert isinstance(bid, AskBid) == (terms.request_id == bytes(32))
        rows["members"].append(members)
        rows["bidIds"].append(hex_of(digest(DOMAIN, sealed)))
        rows["commitments"].append(hex_of(sealed.commitment))
        rows["shares"] += [hex_of(share) for share in shares.values()]
        rows["bids"].append(hex_of(digest(DOMAIN, bid)))
        rows["salts"].append(hex_of(bid.salt))
    return dict(rows)
