"""The simulator's way in: what passes here is what a node's ingress would let through."""

from __future__ import annotations

from protocol import codec
from protocol.eip712 import Domain, signed_digest, vote_digest
from protocol.errors import Rejection
from protocol.messages import (
    Batches,
    Bodies,
    Certificate,
    Envelope,
    Evidence,
    Kind,
    Proposal,
    Status,
    Timeout,
)
from protocol.rotation import OperatorTable
from tests.sim.crypto import HASHED, Keys

BLS_KINDS = frozenset({Kind.PREPARE, Kind.LOCK, Kind.COMMIT})
ANYBODY = frozenset({Kind.CANCEL, Kind.REQUEST, Kind.SEALED_BID})


class Ingress:
    """Checks each frame once for the whole world: all nodes share the operator table."""

    def __init__(self, table: OperatorTable, domain: Domain, keys: Keys = HASHED) -> None:
        self.table = table
        self.domain = domain
        self.keys = keys
        self.crypto = keys.checker
        self._known: dict[bytes, Envelope | None] = {}
        self.bids: set[bytes] = set()
        """Ids of all sealed bids that anybody heard of."""
        self._certified: dict[Certificate, bool] = {}

    def admit(self, frame: bytes) -> Envelope | None:
        if frame not in self._known:
            try:
                envelope = codec.decode(frame)
            except Rejection:
                self._known[frame] = None
            else:
                sound = self._sound(envelope)
                self._known[frame] = envelope if sound else None
                if sound and envelope.kind == Kind.SEALED_BID:
                    self.bids.add(signed_digest(self.domain, envelope))
        return self._known[frame]

    def _sound(self, envelope: Envelope) -> bool:
        kind = Kind(envelope.kind)
        position = self.table.position_of(envelope.sender)
        if position is None and kind not in ANYBODY:
            return False
        inner = [self.admit(frame) for frame in _inner_frames(envelope)]
        if None in inner:
            return False
        if kind is Kind.EVIDENCE and any(each.kind >= Kind.CERTIFICATE for each in inner if each):
            return False  # it rests on signed statements, and its own digest is made of theirs
        if kind in BLS_KINDS:
            key = self.table.operators[position or 0].bls_key
            signed = signed_digest(self.domain, envelope)
            if not self.crypto.verify(key, signed, envelope.signature):
                return False
        elif kind < Kind.CERTIFICATE:
            signed = signed_digest(self.domain, envelope)
            if self.crypto.recover(signed, envelope.signature) != envelope.sender:
                return False
        return all(map(self._certificate, _certificates(envelope)))

    def _certificate(self, held: Certificate) -> bool:
        if held not in self._certified:
            self._certified[held] = self._sound_certificate(held)
        return self._certified[held]

    def _sound_certificate(self, held: Certificate) -> bool:
        if held.kind != Kind.COMMIT:
            place = (held.epoch, held.round, held.view, held.value)
            if held.digest != vote_digest(self.domain, Kind(held.kind), *place):
                return False
        rows = self.table.operators
        if any(place >= len(rows) for place in held.non_signers):
            return False
        signers = [row for place, row in enumerate(rows) if place not in held.non_signers]
        keys = [row.bls_key for row in signers]
        return self.table.quorum(sum(row.weight for row in signers)) and (
            self.crypto.verify_aggregate(keys, held.digest, held.signature)
        )


def _inner_frames(envelope: Envelope) -> list[bytes]:
    match envelope.body:
        case Bodies(envelopes=frames):
            return list(frames)
        case Evidence(statements=frames):
            return list(frames)
        case Batches(rounds=rounds):
            return [frame for record in rounds for frame in record.envelopes]
        case _:
            return []


def _certificates(envelope: Envelope) -> list[Certificate]:
    match envelope.body:
        case Certificate() as held:
            return [held]
        case Proposal(prepare=held) | Timeout(prepare=held):
            return [] if held is None else [held]
        case Status(prepare=prepare, lock=lock):
            return [held for held in (prepare, lock) if held is not None]
        case Batches(rounds=rounds):
            return [record.certificate for record in rounds]
        case _:
            return []
