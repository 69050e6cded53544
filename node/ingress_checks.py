"""What makes an envelope of a peer acceptable: membership, named sender, signatures, certificates.

Synchronous and without state but for a bounded memory of signatures that verified, so that it can
run in a worker thread. Every refusal is a Rejection.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from protocol.codec import decode
from protocol.eip712 import Domain, signed_digest, value_digest, vote_digest
from protocol.errors import Rejection, RejectionReason
from protocol.messages import (
    Accept,
    Batches,
    BidList,
    BidReceipt,
    BidShares,
    Bodies,
    Body,
    Cancel,
    Certificate,
    Envelope,
    Evidence,
    Kind,
    ProofRequest,
    Proposal,
    SealedBid,
    SegmentResult,
    Status,
    Timeout,
    Unavailable,
)
from protocol.sealing import is_ask

if TYPE_CHECKING:
    from protocol.crypto import SignatureChecker
    from protocol.inputs import Operator
    from protocol.rotation import OperatorTable

VOTES: Final = frozenset({Kind.PREPARE, Kind.LOCK, Kind.COMMIT})
CONTAINERS: Final = frozenset({Kind.BODIES, Kind.BATCHES, Kind.EVIDENCE})
STATEMENTS: Final = VOTES | {Kind.PROPOSAL, Kind.TIMEOUT, Kind.BID_LIST, Kind.BID_RECEIPT}
"""Kinds that prove faults (`protocol/evidence.py`)."""
LAST_SIGNED: Final = Kind.EVIDENCE
MAX_BEHIND: Final = 8
"""Rounds by which a message may be late: its sender is then told what was decided."""
MAX_AHEAD: Final = 64
_REMEMBERED: Final = 16_384
# What a node far behind or far ahead says is how either learns of it.
_ANY_ROUND: Final = frozenset({Kind.STATUS})


@dataclass(frozen=True, slots=True)
class Horizon:
    """What this node knows of the chain and the rounds when a frame arrives."""

    tables: Mapping[int, OperatorTable]
    """Operator tables by epoch, as many as the node still holds."""
    round: int
    """The round it works on."""
    prepared_view: int = -1
    """View of the highest PrepareCert held of that round; -1: none."""
    locked: bool = False
    """Whether its LockCert is held."""

    def needless(self, kind: Kind, number: int, view: int) -> bool:
        """Tell whether a vote can change nothing any more: its certificate is held already.

        Who is late with a round says so in its Status, too.
        """
        if number != self.round:
            return number < self.round
        if kind is Kind.PREPARE:
            return self.locked or view <= self.prepared_view
        return kind is Kind.LOCK and self.locked

    def table(self, epoch: int) -> OperatorTable:
        """Table of an epoch; raises Rejection(STALE or TOO_EARLY) if it is not held."""
        held = self.tables.get(epoch)
        if held is not None:
            return held
        early = not self.tables or epoch > min(self.tables)
        raise Rejection(RejectionReason.TOO_EARLY if early else RejectionReason.STALE, "epoch")

    def rows(self, operator: bytes) -> list[Operator]:
        """Rows of an operator in all tables held, the newest first.

        Raises:
            Rejection: NOT_A_MEMBER if there is none.
        """
        rows = []
        for epoch in sorted(self.tables, reverse=True):
            place = self.tables[epoch].position_of(operator)
            if place is not None:
                rows.append(self.tables[epoch].operators[place])
        if not rows:
            raise Rejection(RejectionReason.NOT_A_MEMBER)
        return rows


class Checks:
    """Signature checks of one network (domain)."""

    def __init__(self, domain: Domain, checker: SignatureChecker) -> None:
        self._domain = domain
        self._checker = checker
        self._verified: dict[tuple[bytes, ...], None] = {}
        self._lock = threading.Lock()

    def expiry(self, envelope: Envelope, horizon: Horizon) -> None:
        """Raises Rejection(STALE or TOO_EARLY) for what can not matter here."""
        number: int | None = getattr(envelope.body, "round", None)
        if number is None or isinstance(envelope.body, Certificate):
            return
        if envelope.kind in _ANY_ROUND or _by_requester(envelope.body):
            return
        kind = Kind(envelope.kind)
        if kind in VOTES and horizon.needless(kind, number, getattr(envelope.body, "view", 0)):
            raise Rejection(RejectionReason.STALE, "vote")
        if number < horizon.round - MAX_BEHIND:
            raise Rejection(RejectionReason.STALE, "round")
        if number > horizon.round + MAX_AHEAD:
            raise Rejection(RejectionReason.TOO_EARLY, "round")

    def membership(self, peer: bytes | None, envelope: Envelope, horizon: Horizon) -> None:
        """Who says it may say it, and is the one named inside; unsigned kinds are the peer's own.

        Raises:
            Rejection: NOT_A_MEMBER, WRONG_SENDER, STALE, TOO_EARLY.
        """
        kind, body = Kind(envelope.kind), envelope.body
        theirs = _by_requester(body)
        if peer is None and not theirs:
            raise Rejection(RejectionReason.NOT_A_MEMBER, "only requests come without a peer")
        if peer is not None:
            horizon.rows(peer)
        named = _named(body)
        if named is not None and named != envelope.sender:
            raise Rejection(RejectionReason.WRONG_SENDER)
        if kind > LAST_SIGNED and envelope.sender != peer:
            raise Rejection(RejectionReason.WRONG_SENDER, "an unsigned message of somebody else")
        if not theirs:
            self._signers(envelope, horizon)

    def signatures(self, envelope: Envelope, horizon: Horizon) -> None:
        """Every signature in and around a body, and in the envelopes within.

        Raises:
            Rejection: BAD_SIGNATURE, or any reason of an envelope within.
        """
        body, kind = envelope.body, Kind(envelope.kind)
        match body:
            case Certificate():
                self.certificate(body, horizon)
            case Bodies():
                for frame in body.envelopes:
                    self._inner(frame, horizon)
            case Evidence():
                for frame in body.statements:
                    self._statement(frame, horizon)
                self._session(envelope, horizon)
            case Batches():
                for record in body.rounds:
                    if record.certificate.value != value_digest(self._domain, record.value):
                        raise Rejection(RejectionReason.BAD_SIGNATURE, "another Value")
                    self.certificate(record.certificate, horizon)
                    for frame in record.envelopes:
                        self._inner(frame, horizon)
            case _ if kind in VOTES:
                signed = signed_digest(self._domain, envelope)
                (row,) = self._signers(envelope, horizon)
                self._require_bls((row.bls_key,), signed, envelope.signature)
            case _ if kind <= LAST_SIGNED:
                self._session(envelope, horizon)
        for held in _certificates(body):
            self.certificate(held, horizon)

    def certificate(self, held: Certificate, horizon: Horizon) -> None:
        """Quorum by weight, the digest recomputed from the fields (not for COMMIT), the signature.

        Raises:
            Rejection: BAD_SIGNATURE; STALE or TOO_EARLY without the epoch's table.
        """
        table = horizon.table(held.epoch)
        rows = table.operators
        if any(position >= len(rows) for position in held.non_signers):
            raise Rejection(RejectionReason.BAD_SIGNATURE, "no such position")
        absent = set(held.non_signers)
        signers = [row for place, row in enumerate(rows) if place not in absent]
        if not table.quorum(sum(row.weight for row in signers)):
            raise Rejection(RejectionReason.BAD_SIGNATURE, "no quorum")
        kind = Kind(held.kind)
        if kind is not Kind.COMMIT:
            place = (held.epoch, held.round, held.view)
            if held.digest != vote_digest(self._domain, kind, *place, held.value):
                raise Rejection(RejectionReason.BAD_SIGNATURE, "another digest than the fields'")
        self._require_bls(tuple(row.bls_key for row in signers), held.digest, held.signature)

    def _inner(self, frame: bytes, horizon: Horizon) -> None:
        """An envelope in a reply was asked for: checked as if it had come alone, but for age."""
        envelope = decode(frame)
        kind = Kind(envelope.kind)
        if kind is Kind.OUTCOME:
            return  # unsigned: its id proves it
        if kind > LAST_SIGNED or kind in VOTES:
            # Votes are never asked for; thousands of an operator's own would cost seconds.
            raise Rejection(RejectionReason.MALFORMED, "not a body that can be asked for")
        named = _named(envelope.body)
        if named is not None and named != envelope.sender:
            raise Rejection(RejectionReason.WRONG_SENDER)
        self.signatures(envelope, horizon)

    def _statement(self, frame: bytes, horizon: Horizon) -> None:
        """A statement in evidence: signed by an operator, votes too; a few at most."""
        envelope = decode(frame)
        named = _named(envelope.body)
        if Kind(envelope.kind) not in STATEMENTS or named not in {None, envelope.sender}:
            raise Rejection(RejectionReason.MALFORMED, "not a statement that proves a fault")
        self.signatures(envelope, horizon)

    def _session(self, envelope: Envelope, horizon: Horizon) -> None:
        signed = signed_digest(self._domain, envelope)
        if _by_requester(envelope.body):
            addresses: tuple[bytes, ...] = (envelope.sender,)
        else:
            addresses = tuple(row.session for row in self._signers(envelope, horizon))
        self._require_address(addresses, signed, envelope.signature)

    def _signers(self, envelope: Envelope, horizon: Horizon) -> list[Operator]:
        """Rows whose keys may have signed: the epoch's, or of any table if none is named."""
        epoch: int | None = getattr(envelope.body, "epoch", None)
        if epoch is None or envelope.kind > LAST_SIGNED:
            return horizon.rows(envelope.sender)
        table = horizon.table(epoch)
        place = table.position_of(envelope.sender)
        if place is None:
            raise Rejection(RejectionReason.NOT_A_MEMBER)
        return [table.operators[place]]

    def _require_address(
        self, addresses: tuple[bytes, ...], signed: bytes, signature: bytes
    ) -> None:
        if any(self._known((address, signed, signature)) for address in addresses):
            return
        signer = self._checker.recover(signed, signature)
        if signer is None or signer not in addresses:
            raise Rejection(RejectionReason.BAD_SIGNATURE)
        self._remember((signer, signed, signature))

    def _require_bls(self, keys: tuple[bytes, ...], signed: bytes, signature: bytes) -> None:
        item = (*keys, signed, signature)
        if self._known(item):
            return
        if not self._checker.verify_aggregate(keys, signed, signature):
            raise Rejection(RejectionReason.BAD_SIGNATURE)
        self._remember(item)

    def _known(self, item: tuple[bytes, ...]) -> bool:
        return item in self._verified

    def _remember(self, item: tuple[bytes, ...]) -> None:
        with self._lock:
            self._verified[item] = None
            if len(self._verified) > _REMEMBERED:
                del self._verified[next(iter(self._verified))]


def _named(body: Body) -> bytes | None:
    """The address that a body says it is from."""
    match body:
        case SealedBid():
            return body.bidder
        case Timeout() | Status() | Accept() | Unavailable():
            return body.operator
        case BidList() | BidShares() | BidReceipt():
            return body.member
        case Proposal():
            return body.gateway
        case SegmentResult():
            return body.prover
        case Evidence():
            return body.reporter
        case ProofRequest():
            return body.requester
        case _:
            return None


def _by_requester(body: Body) -> bool:
    """Whether it is signed by a requester's own key: anyone may hand it on, in any round."""
    return isinstance(body, ProofRequest | Cancel) or (
        isinstance(body, SealedBid) and not is_ask(body)
    )


def _certificates(body: Body) -> list[Certificate]:
    """Certificates that a signed body carries."""
    match body:
        case Proposal() | Timeout():
            held = [body.prepare]
        case Status():
            held = [body.prepare, body.lock]
        case _:
            held = []
    return [certificate for certificate in held if certificate is not None]
