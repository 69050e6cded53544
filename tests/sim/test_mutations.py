"""The simulator can fail: each rule switched off is noticed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

import msgspec
import pytest

from protocol import application
from protocol import round as round_module
from protocol.application import ReplicaApplication
from protocol.batch import Batch
from protocol.codec import decode
from protocol.effects import Effect
from protocol.errors import RejectionReason
from protocol.hashing import keccak
from protocol.messages import (
    Batches,
    BidShares,
    Certificate,
    Commit,
    Envelope,
    Kind,
    SealedBid,
    Value,
    Vote,
)
from protocol.replica import Replica
from protocol.rotation import OperatorTable, gateway
from protocol.rounds import opening, presence, proposals, votes
from protocol.rounds.context import Missing
from protocol.rounds.phases import ATTEMPT, Move, Phase
from protocol.rounds.turn import Turn, slot_of
from protocol.types import ZERO_HASH, Hash
from tests.sim.crypto import REAL, RealCrypto
from tests.sim.judge import Judge
from tests.sim.market import MarketRun, run_market_seed
from tests.sim.run import DOMAIN, PARAMS, Run, item_frame, run_seed
from tests.sim.toy import ToyApp, ToyMachine, toy_share

SEEDS = 120


def failures(enough: int = 1) -> list[str]:
    found: list[str] = []
    for seed in range(SEEDS):
        result = run_seed(seed)
        if result.failure is not None:
            found.append(result.failure)
        if len(found) >= enough:
            break
    return found


def test_a_majority_instead_of_two_thirds_forks() -> None:
    class Majority(OperatorTable):
        def quorum(self, signed: int) -> bool:
            return 2 * signed > self.total

    assert any("fork" in (run.go().failure or "") for run in equivocating_runs(Majority))


def equivocating_runs(table_type: type[OperatorTable]) -> Iterator[Run]:
    """Where a majority is less than two thirds, and a live gateway shows everybody another Value.

    With a majority one such run in twenty forks; of runs drawn at random, one in three hundred.
    """
    for seed in range(300):
        run = Run(seed, table_type)
        if len(run.world.nodes) >= 5 and run.faulty:
            run.mischief.habits = frozenset({"split", "double_vote", "two_lists"})
            run.dead = run.wiped = frozenset()
            yield run


def test_a_lock_after_the_own_timeout_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def lock_whenever(turn: Turn) -> None:
        state = turn.state
        if state.phase not in ATTEMPT or state.phase is Phase.LOCKED or state.valid is None:
            return
        vote = Vote(state.epoch, state.round, state.valid.view, state.valid.value)
        turn.say(Kind.LOCK, vote, slot_of(Kind.LOCK, vote))
        state.lock_view = state.valid.view
        turn.move(Move.LOCK_SIGNED)

    monkeypatch.setattr(round_module, "sign_lock", lock_whenever)
    assert any("LOCK after its Timeout" in failure for failure in failures())


def test_trusting_a_batch_certificate_unseen_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def believe(turn: Turn, certificate: Certificate) -> bool:
        value = votes.value_held(turn.state, certificate.value)
        if value is None or not votes.of_this_round(turn, certificate, Kind.COMMIT):
            return False
        votes._decide(turn, value, certificate)
        return True

    monkeypatch.setattr(presence, "hear_batch_certificate", believe)
    assert failures()


def test_a_second_statement_for_a_slot_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that forgets its list when it sees a new view signs another one."""
    monkeypatch.setattr(presence, "keep", lambda statement, view: statement.kind != Kind.BID_LIST)
    assert any("second BID_LIST" in failure for failure in failures())


def test_never_proposing_a_certified_value_again_stalls(monkeypatch: pytest.MonkeyPatch) -> None:
    def propose_afresh(turn: Turn) -> None:
        held, turn.state.valid = turn.state.valid, None
        proposals.propose(turn)
        turn.state.valid = held

    monkeypatch.setattr(round_module, "propose", propose_afresh)
    assert any("in time" in failure for failure in failures())


def test_nodes_that_compute_different_batches_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = ReplicaApplication.execute

    def execute(
        self: ReplicaApplication, value: Value, shares: Sequence[BidShares]
    ) -> Batch | Missing:
        batch = honest(self, value, shares)
        if isinstance(batch, Missing) or self.me[0] % 2:
            return batch
        return replace(batch, root=Hash(keccak(batch.root)))

    monkeypatch.setattr(ReplicaApplication, "execute", execute)
    assert any("two batches" in (run_market_seed(seed).failure or "") for seed in range(5))


def test_revealing_shares_before_the_lock_certificate_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def reveal_early(turn: Turn) -> None:
        held, phase = turn.state.lock, turn.state.phase
        if held is None and turn.state.valid is not None:
            turn.state.lock, turn.state.phase = turn.state.valid, Phase.OPENING
        opening.reveal(turn)
        turn.state.lock, turn.state.phase = held, phase

    monkeypatch.setattr(round_module, "reveal", reveal_early)
    assert any("before its LockCert" in failure for failure in failures())


def test_opening_with_fewer_shares_than_f_plus_1_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who takes bad shares for good ones computes something else, or nothing."""
    monkeypatch.setattr(application, "is_share", lambda sealed, place, share: True)
    assert any(run_market_seed(seed).failure is not None for seed in range(40))


def accepting(monkeypatch: pytest.MonkeyPatch, *reasons: RejectionReason) -> None:
    """Voters for whom these are no reasons against a proposal."""
    honest = proposals._against_lists

    def lenient(turn: Turn, value: Value) -> RejectionReason | None:
        reason = honest(turn, value)
        return None if reason in reasons else reason

    monkeypatch.setattr(proposals, "_against_lists", lenient)


def test_a_set_that_leaves_a_listed_bid_out_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    accepting(monkeypatch, RejectionReason.WRONG_BID_SET)
    runs = [run for run in map(Run, range(40)) if run.faulty]
    for run in runs:
        run.mischief.habits, run.dead, run.wiped = frozenset({"omit"}), frozenset(), frozenset()
    assert any("leaves out, or adds to" in (run.go().failure or "") for run in runs)


def test_leaving_out_a_list_that_came_in_time_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    accepting(monkeypatch, RejectionReason.LIST_LEFT_OUT, RejectionReason.TOO_SOON)
    assert any("a list is left out" in failure for failure in failures(5))


def test_deciding_what_nobody_can_open_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = ToyApp.execute

    def execute(self: ToyApp, value: Value, shares: Sequence[BidShares]) -> Batch | Missing:
        everybodys = [
            BidShares(
                value.epoch,
                value.round,
                member,
                ZERO_HASH,
                tuple(toy_share(member, item) for item in value.bids),
            )
            for member in self.ctx.members
        ]
        return honest(self, value, everybodys)

    monkeypatch.setattr(ToyApp, "execute", execute)
    assert any("does not open" in failure for failure in failures(3))


def test_a_bid_that_opens_to_something_else_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def dearer(self: MarketRun, request_id: bytes, fee: int) -> SealedBid:
        return honest(self, request_id, fee + 1)

    honest = MarketRun._bid
    monkeypatch.setattr(MarketRun, "_bid", dearer)
    assert any(
        "than its owner sealed" in (run_market_seed(seed).failure or "") for seed in range(5)
    )


def test_a_broken_promise_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    listing_nothing(monkeypatch)
    assert any("promise" in (run_market_seed(seed).failure or "") for seed in range(20))


def test_an_acknowledged_bid_left_out_by_all_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    listing_nothing(monkeypatch)
    monkeypatch.setattr(Judge, "_keeps_promises", lambda self, shell, body: None)
    monkeypatch.setattr(MarketRun, "_judge_evidence", lambda self, document: None)
    assert any("acknowledged" in (run_market_seed(seed).failure or "") for seed in range(20))


def listing_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every third bid is acknowledged and not listed."""
    honest = ReplicaApplication.listable

    def listable(self: ReplicaApplication) -> tuple[tuple[Hash, ...], tuple[Hash, ...]]:
        bids, outcomes = honest(self)
        return tuple(bid for bid in bids if bid[0] % 3), outcomes

    monkeypatch.setattr(ReplicaApplication, "listable", listable)


def test_evidence_against_an_honest_node_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def suspicious(turn: Turn, envelope: Envelope, body: Commit) -> None:
        votes.hear_commit(turn, envelope, body)
        turn.conflict(envelope, envelope)

    monkeypatch.setattr(round_module, "hear_commit", suspicious)
    assert any("evidence against an honest node" in failure for failure in failures())


def test_a_record_without_its_requests_keeps_a_lost_disk_from_catching_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    honest = Replica._archive

    def without_requests(self: Replica, body: Batches) -> None:
        rounds = tuple(
            msgspec.structs.replace(
                record,
                envelopes=tuple(f for f in record.envelopes if decode(f).kind != Kind.REQUEST),
            )
            for record in body.rounds
        )
        honest(self, Batches(rounds))

    monkeypatch.setattr(Replica, "_archive", without_requests)
    wiped = (run for run in map(MarketRun, range(80)) if run.wiped)
    assert any("did not catch up" in (run.go().failure or "") for run in wiped)


def test_a_certificate_that_lacks_a_signature_stalls_real_crypto(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    honest = RealCrypto.aggregate
    monkeypatch.setattr(RealCrypto, "aggregate", lambda self, given: honest(self, given[:-1]))
    large = (
        run for run in (Run(seed, keys=REAL) for seed in range(20)) if len(run.table.operators) > 2
    )
    assert any(run.go().failure is not None for run in islice(large, 4))


def test_forgetting_what_the_own_list_names_stalls(monkeypatch: pytest.MonkeyPatch) -> None:
    def do_only(self: Replica, effects: list[Effect]) -> None:
        self._effects += effects

    monkeypatch.setattr(Replica, "_stand_by", do_only)
    assert any("in time" in failure for failure in market_failures())


def test_refusing_what_was_asked_for_stalls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Replica, "_keep_asked", lambda self, envelope: None)
    assert any("in time" in failure for failure in market_failures())


def market_failures() -> Iterator[str]:
    return filter(None, (run_market_seed(seed).failure for seed in range(29, 109)))


def test_a_machine_that_wants_to_be_woken_for_ever_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ToyMachine, "next_deadline_ms", lambda machine: 0)
    assert "for ever" in failures()[0]


def lock_fork_schedule(seed: int) -> Run | None:
    """View 0: all lock A, one node alone sees the LOCKs. View 1: a faulty gateway says B."""
    run = Run(seed)
    members = tuple(shell.machine.address for shell in run.world.nodes)
    if len(members) != 4 or len(run.faulty) != 1 or run.params is not PARAMS or run.wiped:
        return None
    (cheat,) = run.faulty
    first = members.index(gateway(run.table, members, 0))
    if first == cheat or gateway(run.table, members, 1) != members[cheat]:
        return None
    alone = next(i for i in range(4) if i not in {cheat, first})
    run.mischief.habits = frozenset({"stale", "double_vote", "two_lists"})
    run.gst_ms, run.dead = 2 * 2_000 + 1, frozenset()

    def passes(source: int, target: int, envelope: Envelope) -> bool:
        if run.world.now_ms < 2_000:
            if source == alone and envelope.kind in {Kind.STATUS, Kind.COMMIT}:
                return False
            return envelope.kind != Kind.LOCK or target == alone
        return alone not in {source, target}

    run._plan_trouble = lambda: setattr(run.world.links, "passes", passes)  # type: ignore[method-assign]
    item = b"\x44" * 32
    run.items.add(item)
    for place in range(4):
        run._hand_in(place, item_frame(DOMAIN, item, run.keys), 10)
    return run


def test_voting_below_the_own_lock_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    schedules = [seed for seed in range(500, 700) if lock_fork_schedule(seed) is not None]
    assert schedules

    def outcomes() -> list[str | None]:
        runs = [lock_fork_schedule(seed) for seed in schedules]
        return [run.go().failure for run in runs if run is not None]

    assert set(outcomes()) == {None}
    monkeypatch.setattr(proposals, "respects_lock", lambda turn, proposal: True)
    assert any(failure is not None and "fork" in failure for failure in outcomes())
