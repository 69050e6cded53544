"""The signing guard: whatever happens, one statement for one slot.

A statement is on disk before anyone sees it; asked again for a taken slot, after a restart too, the
guard hands out the stored envelope byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from protocol.bounds import SIGNATURE_SIZES
from protocol.codec import decode, encode
from protocol.eip712 import Domain, body_digest
from protocol.errors import LocalProtocolError
from protocol.messages import Envelope

if TYPE_CHECKING:
    from node.keys import NodeKeys
    from node.store import Store
    from protocol.effects import Publish
    from protocol.types import Address


class SigningGuard:
    """The only signer of statements while a node runs.

    `keys_at` gives the keys that an epoch's table names; None: the epoch in force.
    """

    def __init__(
        self,
        store: Store,
        keys_at: Callable[[int | None], NodeKeys],
        domain: Domain,
        operator: Address,
    ) -> None:
        self._store = store
        self._keys_at = keys_at
        self._domain = domain
        self._operator = operator

    async def sign(self, publish: Publish) -> Envelope:
        """The one envelope of the effect's slot, stored.

        Raises:
            LocalProtocolError: the round was pruned, so what was said in it is no longer known.
            KeystoreError: the epoch's table names keys that this node does not hold.
            StoreError: nothing was signed that anyone has seen.
        """
        slot = bytes([publish.kind]) + publish.slot
        round_number = int(getattr(publish.body, "round", 0))
        # Looked up here: `make` runs in the store's thread, beside the machine with the tables.
        keys = self._keys_at(getattr(publish.body, "epoch", None))
        make = partial(self._frame, publish, keys)
        frame = await self._store.claim_statement(slot, round_number, make)
        if frame is None:
            raise LocalProtocolError(f"round {round_number} was pruned from the guard")
        return decode(frame)

    def _frame(self, publish: Publish, keys: NodeKeys) -> bytes:
        return encode(
            Envelope(
                kind=int(publish.kind),
                sender=self._operator,
                body=publish.body,
                signature=self._signature(publish, keys),
            )
        )

    def _signature(self, publish: Publish, keys: NodeKeys) -> bytes:
        match SIGNATURE_SIZES[publish.kind]:
            case 96:
                return keys.bls.sign(body_digest(self._domain, publish.kind, publish.body))
            case 65:
                return keys.session.sign(body_digest(self._domain, publish.kind, publish.body))
            case _:
                return b""
