"""Sealed bids: dealt to a committee, opened by any f + 1 of it, the same for whoever opens them.

    sealed = seal(domain, terms, offer, keys, seed, cipher)       by the bidder
    own_share(domain, sealed, place, keys, cipher)                by the member at this position
    open_bid(domain, sealed, shares, cipher)                      by everyone, after the LockCert

A fresh key encrypts the bid; it is shared with threshold f + 1, each share sealed to its member's
X25519 key. The bidder signs the hashes of all shares, so a member knows whether its own is good,
and whoever has f + 1 good ones recomputes all: unless every one matches its hash, the dealing was
bad and the bid is void, whichever shares were used. What is not inside (class, bidder, request,
round) stands outside alone, signed: nobody can pass another's ciphertext off as its own, because
all of it is bound into the ciphers as associated data.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from protocol.bounds import BOX
from protocol.eip712 import Domain, digest
from protocol.hashing import keccak
from protocol.messages import AskBid, BuyBid, SealedBid
from protocol.rotation import tolerated
from protocol.shamir import PRIME, deal, polynomial
from protocol.types import ZERO_HASH, Hash

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from protocol.crypto import BidCipher

_SHARE_TAG: Final = b"provernet/share/1"
_SEED_TAG: Final = b"provernet/deal/1"
_CONTEXT_TAG: Final = b"provernet/sealed bid/1"
_SLOTS_SIZE: Final = 4


@dataclass(frozen=True, slots=True)
class Terms:
    """What everybody sees of a bid before it is opened."""

    epoch: int
    round: int
    class_id: bytes
    bidder: bytes
    request_id: bytes = ZERO_HASH
    """Zero for an ask."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What is sealed: a buyer's maximum fee in wei, or a prover's slots and price of each."""

    amount: int
    slots: int = 0
    """0 for a buyer."""


def threshold(members: int) -> int:
    """Shares that open a bid: one more than the faulty members that the committee stands."""
    return tolerated(members) + 1


def seal(
    domain: Domain,
    terms: Terms,
    offer: Offer,
    keys: Sequence[bytes],
    seed: bytes,
    cipher: BidCipher,
) -> SealedBid:
    """Deal a bid to a committee with these sealing keys, in committee order.

    seed: 32 secret bytes that were never used for anything else; all that is random follows from
    it, so the same seed with other terms would give the same keys away.
    """
    context = _context(domain, terms)
    salt = _drawn(seed, b"salt")
    bid = _bid(terms, offer, salt)
    coefficients = [
        int.from_bytes(_drawn(seed, b"coefficient" + bytes([place])), "big") % PRIME
        for place in range(threshold(len(keys)))
    ]
    shares = [_word(share) for share in deal(coefficients, len(keys))]
    secret = _drawn(seed, b"ephemeral")
    ephemeral = cipher.public_key(secret)
    inside = salt + _word(offer.amount) + offer.slots.to_bytes(_SLOTS_SIZE, "big")
    return SealedBid(
        epoch=terms.epoch,
        round=terms.round,
        class_id=terms.class_id,
        bidder=terms.bidder,
        request_id=terms.request_id,
        commitment=_commitment(domain, bid),
        ephemeral=ephemeral,
        ciphertext=cipher.encrypt(_word(coefficients[0]), inside, context),
        boxes=tuple(
            # A member whose registered key is of no use gets no share, and lists nothing.
            cipher.wrap(secret, key, share, context + bytes([place])) or bytes(BOX)
            for place, (key, share) in enumerate(zip(keys, shares, strict=True))
        ),
        share_hashes=tuple(_share_hash(place, share) for place, share in enumerate(shares)),
    )


def own_share(
    domain: Domain, sealed: SealedBid, place: int, key: bytes, cipher: BidCipher
) -> bytes | None:
    """The share of the member at this position, with this public sealing key; None if it is bad."""
    context = _context(domain, _terms(sealed)) + bytes([place])
    share = cipher.unwrap(key, sealed.ephemeral, sealed.boxes[place], context)
    return share if share is not None and is_share(sealed, place, share) else None


def is_share(sealed: SealedBid, place: int, share: bytes) -> bool:
    """Tell whether these 32 bytes are what the bidder dealt to the member at this position."""
    return (
        int.from_bytes(share, "big") < PRIME
        and _share_hash(place, share) == sealed.share_hashes[place]
    )


def open_bid(
    domain: Domain, sealed: SealedBid, shares: Mapping[int, bytes], cipher: BidCipher
) -> BuyBid | AskBid | None:
    """The bid, or None if it is void: a bad dealing, or not what the bidder committed to.

    shares: position -> 32 bytes for which `is_share` holds, at least `threshold` of them.
    """
    members = len(sealed.boxes)
    used = dict(islice(shares.items(), threshold(members)))
    points = {place: int.from_bytes(share, "big") for place, share in used.items()}
    secret, dealt = polynomial(points, members)
    hashes = tuple(_share_hash(place, _word(share)) for place, share in enumerate(dealt))
    if hashes != sealed.share_hashes:
        return None
    terms = _terms(sealed)
    inside = cipher.decrypt(_word(secret), sealed.ciphertext, _context(domain, terms))
    if inside is None:
        return None
    offer = Offer(int.from_bytes(inside[32:64], "big"), int.from_bytes(inside[64:], "big"))
    bid = _bid(terms, offer, inside[:32])
    sound = _commitment(domain, bid) == sealed.commitment
    # Of two ways to write one bid down only one counts.
    return bid if sound and (isinstance(bid, AskBid) or not offer.slots) else None


def is_ask(sealed: SealedBid) -> bool:
    """Tell an ask from a buyer's bid."""
    return sealed.request_id == ZERO_HASH


def commitment_holds(domain: Domain, sealed: SealedBid, bid: BuyBid | AskBid) -> bool:
    """Tell whether this is the bid that a sealed one commits to: no cipher is needed for it."""
    return _commitment(domain, bid) == sealed.commitment


def _bid(terms: Terms, offer: Offer, salt: bytes) -> BuyBid | AskBid:
    if terms.request_id != ZERO_HASH:
        return BuyBid(terms.request_id, _word(offer.amount), salt)
    place = (terms.epoch, terms.round, terms.class_id, terms.bidder)
    return AskBid(*place, slots=offer.slots, price=_word(offer.amount), salt=salt)


def _terms(sealed: SealedBid) -> Terms:
    place = (sealed.epoch, sealed.round, sealed.class_id, sealed.bidder)
    return Terms(*place, request_id=sealed.request_id)


def _context(domain: Domain, terms: Terms) -> bytes:
    """Associated data of every cipher: fixed lengths, so no two terms give the same bytes."""
    return (
        _CONTEXT_TAG
        + domain.chain_id.to_bytes(32, "big")
        + domain.registry
        + terms.epoch.to_bytes(8, "big")
        + terms.round.to_bytes(8, "big")
        + terms.class_id
        + terms.bidder
        + terms.request_id
    )


def _commitment(domain: Domain, bid: BuyBid | AskBid) -> Hash:
    return Hash(keccak(digest(domain, bid) + bid.salt))


def _share_hash(place: int, share: bytes) -> Hash:
    return Hash(keccak(_SHARE_TAG + bytes([place]) + share))


def _drawn(seed: bytes, what: bytes) -> bytes:
    return keccak(_SEED_TAG + seed + what)


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")
