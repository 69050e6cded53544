"""Who is where: announcements, Timeouts, late and early nodes (rule 8)."""

from __future__ import annotations

from protocol.effects import ServeBatches
from protocol.eip712 import signed_digest
from protocol.messages import (
    Batches,
    Certificate,
    Envelope,
    FetchBatches,
    Kind,
    Status,
    Timeout,
)
from protocol.rotation import view_at, view_start_ms
from protocol.rounds.phases import ATTEMPT, Move, Phase
from protocol.rounds.state import pack, unpack, without
from protocol.rounds.turn import Turn, keep, slot_of
from protocol.rounds.votes import (
    hear_batch_certificate,
    hear_timeout_of_voter,
    learn_lock,
    learn_prepare,
    of_this_round,
)
from protocol.types import ZERO_HASH, Address

MAX_EARLY_ROUNDS = 2
MAX_EARLY_PER_SENDER = 16
MAX_CATCH_UP = 64
MAX_AHEAD = 4


def follow_clock(turn: Turn) -> None:
    """Enter the view that the clock tells; an undecided attempt ends with a Timeout."""
    state, params = turn.state, turn.ctx.params
    view = view_at(turn.now_ms, turn.ctx.genesis_ms, params.view_ms)
    if view <= state.view:
        return
    attempting = state.phase in ATTEMPT
    if attempting:
        _sign_timeout(turn)
    state.view = view
    state.gateway = turn.leader_of(view)
    state.frozen = None
    state.said = {slot: own for slot, own in state.said.items() if keep(own, view)}
    _forget_old_views(turn)
    if attempting:
        turn.move(Move.VIEW_ENDED)
    elif state.phase is Phase.WAITING:
        turn.move(Move.VIEW_STARTED)
    if state.phase in ATTEMPT:
        state.attempt_ms = view_start_ms(view, turn.ctx.genesis_ms, params.view_ms)


def open_attempt(turn: Turn) -> None:
    """Open an attempt once f+1 members announce something pending; late in a view, the next."""
    state, ctx = turn.state, turn.ctx
    if state.phase is not Phase.IDLE:
        return
    known = len(state.announced.intersection(ctx.members)) >= ctx.announcers
    if not known and state.valid is None:
        return
    if turn.now_ms - turn.view_start_ms < ctx.params.list_cutoff_ms:
        state.attempt_ms = turn.now_ms
        turn.move(Move.PENDING_IN_TIME)
    else:
        turn.move(Move.PENDING_LATE)


def announce(turn: Turn) -> None:
    """Say once per view where this node is; outside an attempt only if something is pending."""
    state = turn.state
    if state.phase is Phase.DECIDED:
        return
    idle = state.phase is Phase.IDLE
    told = any(own.kind == Kind.STATUS for own in state.said.values())
    if told or (idle and not turn.pending):
        return
    if idle:
        turn.be_patient()
    _say_status(turn)


def _say_status(turn: Turn) -> None:
    state = turn.state
    body = Status(
        epoch=state.epoch,
        round=state.round,
        view=state.view,
        operator=turn.ctx.me,
        pending=turn.pending,
        prepare=state.valid,
        lock=state.lock,
    )
    slot = slot_of(Kind.STATUS, body)
    # What an earlier announcement told, this one tells too.
    kept = {at: own for at, own in state.said.items() if own.kind != Kind.STATUS or at == slot}
    state.said = kept
    turn.say(Kind.STATUS, body, slot)


def hear_status(turn: Turn, envelope: Envelope, body: Status) -> None:
    """Note an announcement and the certificates that it carries."""
    if body.operator != envelope.sender:
        return
    if slot_of(Kind.STATUS, body) in turn.state.said:
        turn.heard_own(envelope)
    if body.pending:
        turn.meet(envelope.sender)
    if body.prepare is not None:
        learn_prepare(turn, body.prepare)
    if body.lock is not None:
        learn_lock(turn, body.lock)


def hear_timeout(turn: Turn, envelope: Envelope, body: Timeout) -> None:
    """Learn the certificate of a Timeout; who lacks the LockCert is told."""
    state = turn.state
    if body.operator != envelope.sender or not turn.near(body.view):
        return
    turn.heard_own(envelope)
    turn.meet(envelope.sender)
    if body.prepare is not None:
        learn_prepare(turn, body.prepare)
    if envelope.sender == turn.ctx.me:
        state.timed_out = max(state.timed_out, body.view)
    heard = state.timeouts.get(body.view, {})
    if envelope.sender not in heard:
        heard = {**heard, envelope.sender: pack(envelope)}
        state.timeouts = {**state.timeouts, body.view: heard}
    first = unpack(heard[envelope.sender])
    # The certificate is not under the signature: two of them in one Timeout are no fault.
    if signed_digest(turn.ctx.domain, first) != signed_digest(turn.ctx.domain, envelope):
        turn.conflict(first, envelope)
    hear_timeout_of_voter(turn, first, body.view)
    if state.lock is not None and _may_answer(turn, envelope.sender):
        turn.send(envelope.sender, Envelope(Kind.CERTIFICATE, turn.ctx.me, state.lock, b""))


def hear_certificate(turn: Turn, envelope: Envelope, body: Certificate) -> None:
    """Learn a certificate sent by itself."""
    if body.kind == Kind.PREPARE:
        learn_prepare(turn, body)
    elif body.kind == Kind.LOCK:
        learn_lock(turn, body)
    elif not hear_batch_certificate(turn, body) and of_this_round(turn, body, Kind.COMMIT):
        _note_ahead(turn, envelope.sender)


def hear_batches(turn: Turn, body: Batches) -> None:
    """Keep decided rounds from this one on; each is recomputed before it counts."""
    state = turn.state
    for record in body.rounds:
        number = record.value.round
        if state.round <= number < state.round + MAX_CATCH_UP:
            state.catch_up = {**state.catch_up, number: record}


def hear_other_round(turn: Turn, envelope: Envelope, number: int) -> None:
    """A late node is served what was decided; a message too early is kept, within bounds."""
    state, sender = turn.state, envelope.sender
    if sender == turn.ctx.me:
        return
    if number < state.round:
        # The last votes of the round just decided are still under way, their senders not late.
        late = number < state.round - 1 or turn.now_ms >= state.began_ms + turn.ctx.params.resend_ms
        if late and _may_answer(turn, sender):
            turn.effects.append(ServeBatches(Address(sender), number))
        return
    _note_ahead(turn, sender)
    if number <= state.round + MAX_EARLY_ROUNDS:
        kept = state.early.get(sender, ())
        kept = (*kept, pack(envelope))[-MAX_EARLY_PER_SENDER:]
        state.early = {**state.early, sender: kept}


def resend(turn: Turn) -> None:
    """Repeat own statements, and ask again, while something is awaited.

    The pause doubles up to a view: repetitions do not help against overload, but add to it.
    """
    state = turn.state
    if not busy(turn) or turn.now_ms < state.resend_ms:
        return
    state.pause_ms = min(2 * state.pause_ms, turn.ctx.params.view_ms)
    state.resend_ms = turn.now_ms + state.pause_ms
    if state.lock is not None and state.phase is not Phase.DECIDED:
        _say_status(turn)
    turn.repeat()


def ask_ahead(turn: Turn) -> None:
    """Ask a peer on a later round, once, for what was decided; then the next one."""
    state = turn.state
    if not state.ahead or turn.now_ms < state.ahead_ms or state.phase is Phase.DECIDED:
        return
    peer, others = state.ahead[0], state.ahead[1:]
    turn.send(peer, Envelope(Kind.FETCH_BATCHES, turn.ctx.me, FetchBatches(state.round), b""))
    state.ahead = others
    state.ahead_ms = turn.now_ms + turn.ctx.params.view_ms


def busy(turn: Turn) -> bool:
    """Tell whether this node waits for anything that a repetition could bring."""
    state = turn.state
    if state.phase is Phase.DECIDED:
        return False
    if state.phase is not Phase.IDLE:
        return True
    return bool(state.catch_up) or bool(state.asked) or turn.pending


def _note_ahead(turn: Turn, sender: bytes) -> None:
    state = turn.state
    if sender in state.ahead or sender == turn.ctx.me:
        return
    if not state.ahead:
        # Most often the BatchCert's last votes are on their way: no need to ask at once.
        state.ahead_ms = turn.now_ms + 2 * turn.settle_ms
    state.ahead = (*state.ahead, sender)[-MAX_AHEAD:]


def _may_answer(turn: Turn, sender: bytes) -> bool:
    """At most one answer per peer and resend interval."""
    answered = turn.state.answered
    last = answered.get(sender)
    if last is not None and turn.now_ms < last + turn.ctx.params.resend_ms:
        return False
    turn.state.answered = {**answered, sender: turn.now_ms}
    return True


def _sign_timeout(turn: Turn) -> None:
    state = turn.state
    held = state.valid
    body = Timeout(
        epoch=state.epoch,
        round=state.round,
        view=state.view,
        operator=turn.ctx.me,
        prepare_view=0 if held is None else held.view,
        prepare_value=ZERO_HASH if held is None else held.value,
        prepare=held,
    )
    turn.say(Kind.TIMEOUT, body, slot_of(Kind.TIMEOUT, body))
    state.timed_out = state.view


def _forget_old_views(turn: Turn) -> None:
    state = turn.state
    for name in ("prepares", "locks", "timeouts", "proposed"):
        kept = {view: held for view, held in getattr(state, name).items() if turn.near(view)}
        setattr(state, name, kept)
    needed = {held.value for held in state.proposed.values()}
    needed.update(cert.value for cert in (state.valid, state.lock) if cert is not None)
    needed.update(held.body.value for held in state.commits.values())
    state.values = {value: held for value, held in state.values.items() if value in needed}
    # A record whose bodies did not come within a view is asked for anew.
    state.catch_up = without(state.catch_up, state.round)
    state.asked = {item: asked for item, asked in state.asked.items() if item in needed}
