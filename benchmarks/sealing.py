"""What a sealed bid costs its bidder, a member and everyone, beside X25519 and plain boxes."""

from __future__ import annotations

import itertools
import json
import secrets
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from benchmarks.records import load, microseconds, save
from node.box import BidCiphers, SealingKey
from node.box import seal as seal_box
from protocol.eip712 import Domain
from protocol.sealing import Offer, Terms, is_share, open_bid, own_share, seal, threshold
from protocol.types import Address

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.records import Json
    from protocol.messages import SealedBid

MEMBERS: Final = (4, 16)
RUNS: Final = 300
OPEN: Final = "open and check"
TARGET_MEMBERS: Final = 16
TARGET_OPEN_US: Final = 1_500
_DOMAIN: Final = Domain(31_337, Address(b"\x05" * 20))
_OFFER: Final = Offer(10**17)
_INSIDE: Final = bytes(32 + 32 + 4)
"""As long as what a sealed bid holds: salt, amount and slots."""


async def measure(say: Callable[[str], None], *, quick: bool) -> None:
    """Fresh bids for a committee of each size, the baselines in the same run."""
    busy = load()
    sizes = {str(members): _committee(members, 30 if quick else RUNS) for members in MEMBERS}
    for members, calls in sizes.items():
        shown = {name: call["median"] for name, call in calls.items()}
        say(f"sealing to {members}: {json.dumps(shown)}")
    targets = {"target_members": TARGET_MEMBERS, "target_open_us": TARGET_OPEN_US}
    save("sealing", {"unit": "microseconds", "load_before": busy, **targets, "sizes": sizes})


def _committee(members: int, runs: int) -> Json:
    keys = [SealingKey.random() for _ in range(members)]
    public = [key.public_key for key in keys]
    bids = [_sealed(public) for _ in range(runs + 1)]
    dealt = [_shares(sealed, keys) for sealed in bids]
    mine, nobodys = BidCiphers(keys[0]), BidCiphers()

    def opened(number: int, first: Sequence[int]) -> None:
        sealed, shares = bids[number], dealt[number]
        if not all(is_share(sealed, place, share) for place, share in shares.items()):
            raise RuntimeError("a good share is refused")
        used = {place: shares[place] for place in (*first, *shares)}
        if open_bid(_DOMAIN, sealed, used, nobodys) is None:
            raise RuntimeError("a good bid does not open")

    # The first bid of a round opens with members whose shares may not have met before.
    meetings = list(
        itertools.islice(itertools.combinations(range(members), threshold(members)), 1, runs + 2)
    )
    secret, peer = X25519PrivateKey.generate(), X25519PrivateKey.generate().public_key()
    calls = {
        "seal": microseconds(lambda _: _sealed(public), runs),
        "check one's own share": microseconds(
            lambda number: own_share(_DOMAIN, bids[number], 0, public[0], mine), runs
        ),
        OPEN: microseconds(lambda number: opened(number, ()), runs),
    }
    if len(meetings) == runs + 1:
        calls[f"{OPEN}, first of a round"] = microseconds(
            lambda number: opened(number, meetings[number]), runs
        )
    return {
        **calls,
        "baseline: one X25519 exchange": microseconds(lambda _: secret.exchange(peer), runs),
        "baseline: a box to each member, nothing shared": microseconds(
            lambda _: [seal_box(key, _INSIDE, b"") for key in public], runs
        ),
        "baseline: open one such box": _open_box(keys[0], runs),
    }


def _sealed(public: Sequence[bytes]) -> SealedBid:
    terms = Terms(1, 7, bytes(32), Address(b"\x06" * 20), secrets.token_bytes(32))
    return seal(_DOMAIN, terms, _OFFER, public, secrets.token_bytes(32), BidCiphers())


def _shares(sealed: SealedBid, keys: Sequence[SealingKey]) -> dict[int, bytes]:
    """Every member's share."""
    found = {}
    for place, key in enumerate(keys):
        share = own_share(_DOMAIN, sealed, place, key.public_key, BidCiphers(key))
        if share is None:
            raise RuntimeError("a member does not find its share")
        found[place] = share
    return found


def _open_box(key: SealingKey, runs: int) -> Json:
    box = seal_box(key.public_key, _INSIDE, b"")
    return microseconds(lambda _: key.open(box, b""), runs)
