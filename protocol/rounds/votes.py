"""Votes and certificates: PREPARE, LOCK, COMMIT, and what a quorum of them proves."""

from __future__ import annotations

from protocol.batch import Batch
from protocol.effects import Decided
from protocol.eip712 import batch_digest, commit_of, digest, value_digest, vote_digest
from protocol.messages import (
    BidShares,
    Certificate,
    Commit,
    DecidedRound,
    Envelope,
    Kind,
    Timeout,
    Value,
    Vote,
)
from protocol.rounds.context import Missing
from protocol.rounds.opening import revealed
from protocol.rounds.phases import ATTEMPT, UNDECIDED, Move, Phase
from protocol.rounds.state import (
    Ballot,
    SignedCommit,
    proposal_envelope,
    unpack,
    value_held,
    without,
)
from protocol.rounds.turn import Turn, slot_of


def hear_vote(turn: Turn, envelope: Envelope, kind: Kind, body: Vote) -> None:
    """Count a PREPARE or LOCK: an operator's first one of a view counts."""
    state = turn.state
    if not turn.near(body.view):
        return
    turn.heard_own(envelope)
    turn.meet(envelope.sender)
    if kind is Kind.LOCK and envelope.sender == turn.ctx.me:
        state.lock_view = max(state.lock_view, body.view)
    tallies = state.prepares if kind is Kind.PREPARE else state.locks
    tally = tallies.get(body.view, {})
    first = tally.get(envelope.sender)
    if first is not None:
        if first.value != body.value:
            earlier = Vote(body.epoch, body.round, body.view, first.value)
            kept = Envelope(kind, envelope.sender, earlier, first.signature)
            turn.conflict(kept, envelope)
        return
    tally = {**tally, envelope.sender: Ballot(body.value, envelope.signature)}
    tallies = {**tallies, body.view: tally}
    if kind is Kind.PREPARE:
        state.prepares = tallies
    else:
        state.locks = tallies
        told = state.timeouts.get(body.view, {}).get(envelope.sender)
        if told is not None:
            _lock_and_timeout(turn, unpack(told), envelope)
    if _proven(turn, kind, body.view) or turn.ctx.table.too_few(len(tally)):
        return
    signers = {who: held.signature for who, held in tally.items() if held.value == body.value}
    if not _quorum(turn, signers):
        return
    signed = vote_digest(turn.ctx.domain, kind, body.epoch, body.round, body.view, body.value)
    certificate = _assemble(turn, kind, body.view, body.value, signed, signers)
    if kind is Kind.PREPARE:
        learn_prepare(turn, certificate)
    else:
        learn_lock(turn, certificate)


def _proven(turn: Turn, kind: Kind, view: int) -> bool:
    """Tell whether more votes of this kind and view prove nothing new."""
    if kind is Kind.PREPARE:
        return learned_view(turn.state.valid) >= view
    return turn.state.lock is not None


def _lock_and_timeout(turn: Turn, timeout: Envelope, lock: Envelope) -> None:
    """A LOCK rests on a PrepareCert of its view: a Timeout that knows of none came before it."""
    held, vote = timeout.body, lock.body
    if isinstance(held, Timeout) and isinstance(vote, Vote) and held.prepare_view < vote.view:
        turn.conflict(timeout, lock)


def hear_timeout_of_voter(turn: Turn, envelope: Envelope, view: int) -> None:
    """A Timeout of who signed LOCK in the same view must know that view's PrepareCert."""
    ballot = turn.state.locks.get(view, {}).get(envelope.sender)
    if ballot is not None:
        vote = Vote(turn.state.epoch, turn.state.round, view, ballot.value)
        lock = Envelope(Kind.LOCK, envelope.sender, vote, ballot.signature)
        _lock_and_timeout(turn, envelope, lock)


def learned_view(certificate: Certificate | None) -> int:
    """View of a PrepareCert; -1, the lowest, for none."""
    return -1 if certificate is None else certificate.view


def of_this_round(turn: Turn, certificate: Certificate, kind: Kind) -> bool:
    """Tell whether a certificate is of this kind and round; ingress checked the signatures."""
    told = (certificate.kind, certificate.epoch, certificate.round)
    return told == (kind, turn.state.epoch, turn.state.round)


def learn_prepare(turn: Turn, certificate: Certificate) -> None:
    """Raise the highest PrepareCert known: what is proposed again, not what is locked (rule 1)."""
    if not of_this_round(turn, certificate, Kind.PREPARE):
        return
    if learned_view(turn.state.valid) < certificate.view:
        turn.state.valid = certificate
        turn.record("certificate", kind="prepare", of_view=certificate.view)


def learn_lock(turn: Turn, certificate: Certificate) -> None:
    """A LockCert decides the round's Value."""
    if turn.state.lock is None and of_this_round(turn, certificate, Kind.LOCK):
        turn.state.lock = certificate
        turn.record("certificate", kind="lock", of_view=certificate.view)


def sign_lock(turn: Turn) -> None:
    """LOCK the Value whose PrepareCert is of this very view, before the own Timeout of it."""
    state = turn.state
    if state.phase not in ATTEMPT or state.phase is Phase.LOCKED or state.valid is None:
        return
    if state.valid.view != state.view or state.timed_out >= state.view:
        return
    if turn.app.may_vote() is not None:
        return
    vote = Vote(state.epoch, state.round, state.view, state.valid.value)
    turn.say(Kind.LOCK, vote, slot_of(Kind.LOCK, vote))
    state.lock_view = state.view
    turn.move(Move.LOCK_SIGNED)


def decide(turn: Turn) -> None:
    """A LockCert ends the attempt: from here on there are only shares and COMMITs."""
    if turn.state.lock is not None and turn.state.phase in UNDECIDED:
        turn.move(Move.LOCK_CERT)


def sign_commit(turn: Turn) -> None:
    """Once the bids are opened compute the batch and sign COMMIT, once per round."""
    state = turn.state
    if state.lock is None or state.phase is not Phase.OPENING:
        return
    batch = _execute(turn, state.lock.value, turn.leader_of(state.lock.view))
    if batch is None or turn.app.may_vote() is not None:
        return
    commit = commit_of(batch)
    turn.say(Kind.COMMIT, commit, slot_of(Kind.COMMIT, commit))
    turn.move(Move.COMMIT_SIGNED)
    for sender in state.commits:
        _compare(turn, sender, commit)


def _compare(turn: Turn, sender: bytes, own: Commit) -> None:
    """A COMMIT to another batch of the Value that this node executed is evidence."""
    state = turn.state
    theirs, proposal = state.commits[sender], state.values.get(own.value)
    if theirs.body.value == own.value and theirs.body != own and proposal is not None:
        kept = Envelope(Kind.COMMIT, sender, theirs.body, theirs.signature)
        turn.conflict(kept, proposal_envelope(proposal))


def hear_commit(turn: Turn, envelope: Envelope, body: Commit) -> None:
    """Keep an operator's first COMMIT of the round; another one is evidence."""
    state = turn.state
    turn.meet(envelope.sender)
    turn.heard_own(envelope)
    batch = digest(turn.ctx.domain, body)
    first = state.commits.get(envelope.sender)
    if first is None:
        first = SignedCommit(body, envelope.signature, batch)
        state.commits = {**state.commits, envelope.sender: first}
    said = state.said.get(slot_of(Kind.COMMIT, body))
    own = None if said is None else unpack(said).body
    if isinstance(own, Commit):
        _compare(turn, envelope.sender, own)
    if first.batch != batch:
        kept = Envelope(Kind.COMMIT, envelope.sender, first.body, first.signature)
        turn.conflict(kept, envelope)


def count_commits(turn: Turn) -> None:
    """Decide the round once more than two thirds signed the batch that this node computed.

    Nothing is revealed here: without a LockCert this only recomputes what others already opened.
    """
    state = turn.state
    if turn.ctx.table.too_few(len(state.commits)):
        return
    by_batch: dict[tuple[bytes, bytes], dict[bytes, bytes]] = {}
    for sender, held in state.commits.items():
        by_batch.setdefault((held.body.value, held.batch), {})[sender] = held.signature
    for (value, signed), signers in by_batch.items():
        if not _quorum(turn, signers) or state.phase is Phase.DECIDED:
            continue
        batch = _execute(turn, value, next(iter(signers)))
        if batch is None or batch_digest(turn.ctx.domain, batch) != signed:
            continue
        certificate = _assemble(turn, Kind.COMMIT, 0, value, signed, signers)
        body = value_held(state, value)
        if body is not None:
            _decide(turn, body, certificate, revealed(turn, value))


def adopt(turn: Turn) -> None:
    """Decide the round by a record handed over, if own execution gives what its quorum signed."""
    state = turn.state
    handed = state.catch_up.get(state.round)
    if handed is None or state.phase is Phase.DECIDED:
        return
    value, certificate = handed.value, handed.certificate
    place = (value.epoch, value.round, value.parent, certificate.value)
    if place != (
        state.epoch,
        state.round,
        state.parent,
        value_digest(turn.ctx.domain, value),
    ) or not of_this_round(turn, certificate, Kind.COMMIT):
        state.catch_up = without(state.catch_up, state.round)
        return
    batch = turn.app.execute(value, handed.shares)
    if isinstance(batch, Missing):
        turn.fetch(batch.ids, state.ahead[0] if state.ahead else turn.ctx.me)
    elif batch_digest(turn.ctx.domain, batch) == certificate.digest:
        _decide(turn, value, certificate, handed.shares)
    else:
        # A quorum signed something, but not this batch: a PREPARE never passes as a BatchCert.
        state.catch_up = without(state.catch_up, state.round)
        turn.record("certificate_mismatch", kind="commit")


def hear_batch_certificate(turn: Turn, certificate: Certificate) -> bool:
    """Decide by a bare BatchCert; False if the Value's record has to be asked for."""
    state = turn.state
    value = value_held(state, certificate.value)
    if value is None or not of_this_round(turn, certificate, Kind.COMMIT):
        return False
    batch = _execute(turn, certificate.value, turn.ctx.me)
    if batch is None:
        return False
    signed = batch_digest(turn.ctx.domain, batch)
    if signed == certificate.digest and state.phase is not Phase.DECIDED:
        _decide(turn, value, certificate, revealed(turn, certificate.value))
    return True


def _execute(turn: Turn, value: bytes, source: bytes) -> Batch | None:
    """Batch of a Value by own computation; None while something is missing."""
    body = value_held(turn.state, value)
    if body is None:
        turn.fetch((value,), source)
        return None
    batch = turn.app.execute(body, revealed(turn, value))
    if isinstance(batch, Missing):
        turn.fetch(batch.ids, source)
        return None
    return batch


def _decide(
    turn: Turn, value: Value, certificate: Certificate, shares: tuple[BidShares, ...]
) -> None:
    record = DecidedRound(value, certificate, turn.app.envelopes(value), shares)
    turn.state.outcome = record
    turn.effects.append(Decided(record))
    turn.move(Move.BATCH_CERT)


def _quorum(turn: Turn, signers: dict[bytes, bytes]) -> bool:
    table = turn.ctx.table
    return table.quorum(sum(table.weight_of(who) for who in signers))


def _assemble(
    turn: Turn, kind: Kind, view: int, value: bytes, signed: bytes, signers: dict[bytes, bytes]
) -> Certificate:
    """Certificate over one digest from the signatures of these operators."""
    rows = turn.ctx.table.operators
    return Certificate(
        kind=kind,
        epoch=turn.state.epoch,
        round=turn.state.round,
        view=view,
        value=value,
        digest=signed,
        non_signers=tuple(p for p, row in enumerate(rows) if row.operator not in signers),
        signature=turn.ctx.aggregator.aggregate(
            [signers[row.operator] for row in rows if row.operator in signers]
        ),
    )
