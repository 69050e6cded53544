"""The signing guard: whatever happens, one statement for one slot.

A statement is on disk before anyone sees it; asked again for a taken slot, after a restart too, the
guard hands out the stored envelope byte for byte. A disk may be an old copy, though: until `open`
nothing new is signed, later nothing in a view that had begun when this process did, and what the
network shows as this operator's word takes its slot (docs/adr/0012-listen-before-signing.md).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from node.errors import AnotherInstanceError
from protocol.bounds import SIGNATURE_SIZES
from protocol.codec import decode, encode
from protocol.eip712 import Domain, body_digest
from protocol.errors import LocalProtocolError
from protocol.messages import Envelope, Kind
from protocol.slots import slot_named

if TYPE_CHECKING:
    from node.keys import NodeKeys
    from node.store import Store
    from protocol.effects import Publish
    from protocol.messages import Body
    from protocol.types import Address


class SigningGuard:
    """The only signer of statements while a node runs.

    `keys_at` gives the keys that an epoch's table names; None: the epoch in force. `began_view` is
    the last view that an earlier life of this operator can have signed in.
    """

    def __init__(
        self,
        store: Store,
        keys_at: Callable[[int | None], NodeKeys],
        domain: Domain,
        operator: Address,
        began_view: int,
    ) -> None:
        self.is_open = False
        self._began_view = began_view
        self._store = store
        self._keys_at = keys_at
        self._domain = domain
        self._operator = operator

    def open(self) -> None:
        """Let new statements be signed: what the network knows of earlier ones is in the store."""
        self.is_open = True

    async def sign(self, publish: Publish) -> Envelope | None:
        """The one envelope of the effect's slot, stored; None if nothing may be said there yet.

        Raises:
            LocalProtocolError: the round was pruned, so what was said in it is no longer known.
            KeystoreError: the epoch's table names keys that this node does not hold.
            StoreError: nothing was signed that anyone has seen.
        """
        slot = bytes([publish.kind]) + publish.slot
        if not self.is_open or self._may_be_taken(publish.body):
            held = await self._store.statement(slot)
            return None if held is None else decode(held)
        round_number = int(getattr(publish.body, "round", 0))
        # Looked up here: `make` runs in the store's thread, beside the machine with the tables.
        keys = self._keys_at(getattr(publish.body, "epoch", None))
        make = partial(self._frame, publish, keys)
        frame = await self._store.claim_statement(slot, round_number, make)
        if frame is None:
            raise LocalProtocolError(f"round {round_number} was pruned from the guard")
        return decode(frame)

    async def hear(self, envelope: Envelope) -> None:
        """Let a checked statement of this operator that came from a peer take its slot, if free.

        Raises:
            AnotherInstanceError: it was made since this process began, and not here.
            StoreError: the database failed.
        """
        kind = Kind(envelope.kind)
        name = slot_named(kind, envelope.body)
        if name is None:
            return
        new: list[bytes] = []

        def make() -> bytes:
            new.append(encode(envelope))
            return new[0]

        round_number = int(getattr(envelope.body, "round", 0))
        await self._store.claim_statement(bytes([kind]) + name, round_number, make)
        view: int | None = getattr(envelope.body, "view", None)
        if new and view is not None and view > self._began_view:
            raise AnotherInstanceError(kind.name, round_number, view)

    def _may_be_taken(self, body: Body) -> bool:
        """Tell whether an earlier life may have spoken here: it had the time."""
        view: int | None = getattr(body, "view", None)
        return view is not None and view <= self._began_view

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
