"""What dishonest bidders send: dealings that some members can not use, or that fit no polynomial.

Each is signed like any other bid; who looks at the outside alone can not tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import msgspec

from protocol import sealing
from protocol.bounds import BOX
from protocol.crypto import BidCipher
from protocol.eip712 import Domain
from protocol.messages import SealedBid


def short(body: SealedBid, rng: Random) -> SealedBid:
    """Good shares for f + 1 members alone: enough to open it, too few to list it."""
    count = len(body.boxes)
    served = rng.sample(range(count), sealing.threshold(count))
    boxes = tuple(box if at in served else rng.randbytes(BOX) for at, box in enumerate(body.boxes))
    return msgspec.structs.replace(body, boxes=boxes)


def twisted(
    domain: Domain, body: SealedBid, keys: Sequence[bytes], cipher: BidCipher, rng: Random
) -> SealedBid:
    """Shares that match their hashes and lie on no polynomial of the degree: void for everybody.

    keys: the committee's sealing keys, in its order. Of one member's share, or of two, any
    polynomial goes through them.
    """
    secret, context = rng.randbytes(32), sealing._context(domain, sealing._terms(body))
    shares = [bytes(1) + rng.randbytes(31) for _ in keys]
    boxes = (
        cipher.wrap(secret, key, share, context + bytes([place])) or bytes(BOX)
        for place, (key, share) in enumerate(zip(keys, shares, strict=True))
    )
    return msgspec.structs.replace(
        body,
        ephemeral=cipher.public_key(secret),
        boxes=tuple(boxes),
        share_hashes=tuple(sealing._share_hash(at, share) for at, share in enumerate(shares)),
    )
