from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.batch import ResultStatus, markets_leaf
from protocol.clearing import Verdict
from protocol.eip712 import batch_digest, digest, value_digest
from protocol.errors import LocalProtocolError
from protocol.errors import RejectionReason as Why
from protocol.execution import execute, missing
from protocol.hashing import keccak
from protocol.market_record import markets_hash
from protocol.market_round import EPOCH_PRICE_FACTOR
from protocol.merkle import verify_proof
from protocol.outcomes import (
    Cancelled,
    Completed,
    Expired,
    Failed,
    FailReason,
    Reassigned,
    ReassignReason,
)
from protocol.params import DEVNET
from protocol.round_content import RoundContent, Void
from protocol.types import ZERO_HASH
from tests.protocol.certified import (
    ALICE,
    BID_FEE,
    BOB,
    CLASS,
    DOMAIN,
    OPERATORS,
    PRICE,
    PROGRAM,
    World,
    amount,
    id_of,
    request_body,
    table,
)
from tests.vectors.encoding import address, word


def completed(world, body, claim=b"claim"):
    return Completed(id_of(body), claim, world.award(body).provers)


def late(body, segment, attempt=0):
    return Reassigned(id_of(body), segment, attempt, ReassignReason.NOT_ACCEPTED)


def reasons(done):
    return [skip.reason for skip in done.skipped]


def test_a_request_is_admitted_awarded_and_settled():
    world, body = World(), request_body(slots=5)
    first = world.decide([body], world.asks())
    assert (first.admitted, first.awarded, first.closed) == ((id_of(body),), (id_of(body),), ())
    assert first.settled is None
    assert (first.header.sequence, first.header.root, first.header.paid) == (
        0,
        markets_leaf(markets_hash(first.clearings)),
        0,
    )
    assert world.ledger.batch == batch_digest(DOMAIN, first.header)
    award = world.award(body)
    assert (award.fee, [a.pay for a in award.assignments]) == (5 * PRICE, [PRICE] * 5)

    second = world.decide(outcomes=[completed(world, body)])
    (result,) = second.closed
    assert (result.status, result.fee, result.claim) == (
        ResultStatus.SETTLED,
        5 * (PRICE + BID_FEE),
        b"claim",
    )
    assert (result.program_id, result.requester) == (PROGRAM.program_id, ALICE)
    assert second.header.sequence == 1
    assert second.header.parent == ZERO_HASH
    assert second.header.paid == 5 * PRICE
    assert second.settled.debits == ALICE + (5 * (PRICE + BID_FEE)).to_bytes(12, "big")
    assert world.ledger.treasury == 5 * BID_FEE
    earned = {operator: award.provers.count(operator) * PRICE for operator in award.provers}
    assert dict(world.ledger.credits) == earned
    proof = second.settled.result_proof(id_of(body))
    assert verify_proof(world.ledger.root, proof.leaf, proof.siblings, proof.index)
    assert world.ledger.open == {}


def test_settled_batches_form_a_chain_whatever_rounds_lie_between():
    world = World()
    roots = []
    for place in range(3):
        body = request_body(f"r{place}")
        world.decide([body], world.asks())
        done = world.decide(outcomes=[completed(world, body)])
        roots.append((done.header.sequence, done.header.parent, done.header.root))
    assert [sequence for sequence, _, _ in roots] == [1, 2, 3]
    assert [parent for _, parent, _ in roots] == [ZERO_HASH, roots[0][2], roots[1][2]]


def test_debits_of_one_requester_are_netted():
    world = World()
    bodies = [request_body("a"), request_body("b"), request_body("c", requester=BOB)]
    world.decide(bodies, world.asks())
    done = world.decide(outcomes=[completed(world, body) for body in bodies])
    rows = {done.settled.debits[at : at + 32] for at in (0, 32)}
    paid = {ALICE: 10 * (PRICE + BID_FEE), BOB: 5 * (PRICE + BID_FEE)}
    assert rows == {owner + wei.to_bytes(12, "big") for owner, wei in paid.items()}
    assert done.header.paid == 15 * PRICE


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (lambda world, body: Expired(id_of(body)), ResultStatus.EXPIRED),
        (lambda world, body: Failed(id_of(body), FailReason.WITHHELD), ResultStatus.FAILED),
    ],
)
def test_what_ends_without_a_proof_costs_the_bid_fee_alone(outcome, status):
    world, body = World(), request_body()
    world.decide([body], world.asks())
    done = world.decide(outcomes=[outcome(world, body)])
    (result,) = done.closed
    assert (result.status, result.fee, result.claim) == (status, 5 * BID_FEE, b"")
    assert (done.header.sequence, done.header.paid) == (1, 0)
    assert done.settled.debits == ALICE + (5 * BID_FEE).to_bytes(12, "big")
    assert world.ledger.treasury == 5 * BID_FEE
    assert world.ledger.credits == {}


def test_only_an_unserved_request_can_be_cancelled():
    world, served, waiting = (
        World(),
        request_body("served"),
        request_body("waiting", fee=5 * BID_FEE + 1),
    )
    world.decide([served, waiting], world.asks())
    done = world.decide(outcomes=[Cancelled(id_of(served)), Cancelled(id_of(waiting))])
    assert [(r.request_id, r.status) for r in done.closed] == [
        (id_of(waiting), ResultStatus.CANCELLED)
    ]
    assert reasons(done) == [Why.STALE]
    assert id_of(served) in world.ledger.open


def test_a_cancelled_request_does_not_trade_in_the_same_round():
    world, body = World(), request_body()
    world.decide([body])
    done = world.decide(asks=world.asks(), outcomes=[Cancelled(id_of(body))])
    assert (done.awarded, done.clearings) == ((), ())


def test_a_completion_wins_over_all_that_would_end_the_request_otherwise():
    world, body = World(), request_body()
    world.decide([body], world.asks())
    ends = [
        Expired(id_of(body)),
        Failed(id_of(body), FailReason.UNSATISFIABLE),
        late(body, 0),
        completed(world, body),
    ]
    done = world.decide(outcomes=ends)
    assert [result.status for result in done.closed] == [ResultStatus.SETTLED]
    assert reasons(done) == [Why.STALE] * 3


def test_a_request_is_debited_once_ever():
    world, body = World(), request_body()
    world.decide([body], world.asks())
    award = world.award(body)
    claims = [Completed(id_of(body), claim, award.provers) for claim in (b"one", b"two")]
    once = world.decide(outcomes=claims)
    assert len(once.closed) == 1
    assert reasons(once) == [Why.STALE]
    again = world.decide([body], world.asks(), claims)
    assert (again.admitted, again.closed, again.settled) == ((), (), None)
    assert sum(world.ledger.credits.values()) == 5 * PRICE


def test_two_bids_of_one_request_are_one():
    world, body = World(), request_body()
    other = replace(body, bid=msgspec.structs.replace(body.bid, max_fee=amount(9 * PRICE)))
    lowest = min((body, other), key=lambda each: digest(DOMAIN, each.bid))
    done = world.decide([body, other])
    assert reasons(done) == [Why.SECOND_BID]
    entry = world.ledger.open[id_of(body)]
    assert entry.max_fee == int.from_bytes(lowest.bid.max_fee, "big")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"input_hashes": (word("x"),)}, Why.BAD_SHAPE),
        ({"input_hashes": (word("x"),) * 18}, Why.BAD_SHAPE),
        ({"copies": 2}, Why.COPIES_UNSUPPORTED),
        ({"reserve": amount(PRICE)}, Why.FEE_ABOVE_RESERVE),
        ({"fee": 0}, Why.FEE_ABOVE_RESERVE),
        ({"reserve": amount(1 << 96)}, Why.FEE_ABOVE_RESERVE),
        ({"fee": 5 * BID_FEE}, Why.FEE_BELOW_BID_FEE),
    ],
)
def test_a_decided_request_that_can_not_be_is_over_and_costs_nothing(fields, reason):
    world, body = World(), request_body(**fields)
    done = world.decide([body], world.asks())
    assert reasons(done) == [reason]
    assert done.refused == ((id_of(body), reason),)
    assert world.ledger.open == {}
    assert done.settled is None
    good = replace(body, bid=msgspec.structs.replace(body.bid, salt=word("again")))
    assert world.decide([good]).admitted == ()


def test_a_void_bid_ends_its_request_but_never_somebody_elses():
    world, body = World(), request_body()
    own = Void(id_of(body), body.request.deadline_view, Why.BAD_DEALING)
    theft = Void(ZERO_HASH, 0, Why.WRONG_SENDER)
    done = world.decide([body], void={word("theft"): theft})
    assert (reasons(done), done.refused) == ([Why.WRONG_SENDER], ())
    assert done.admitted == (id_of(body),)
    other = request_body("other")
    own = Void(id_of(other), other.request.deadline_view, Why.BAD_DEALING)
    done = world.decide(void={word("own"): own})
    assert done.refused == ((id_of(other), Why.BAD_DEALING),)
    assert world.decide([other]).admitted == ()
    # Of two bids, a void one does not end what the other one admitted.
    world.decide(void={word("late"): replace(own, request_id=id_of(body))})
    assert id_of(body) in world.ledger.open


def test_a_bid_that_names_another_request_is_skipped():
    world, body = World(), request_body()
    stolen = replace(request_body("cheap"), bid=body.bid)
    assert reasons(world.decide([stolen])) == [Why.MALFORMED]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"operator": address("stranger")}, Why.NOT_A_MEMBER),
        ({"round": 9}, Why.STALE),
        ({"epoch": 9}, Why.STALE),
        ({"slots": 0}, Why.ZERO_SLOTS),
        ({"price": 0}, Why.AMOUNT_OUT_OF_RANGE),
        ({"class_id": word("class")}, Why.UNKNOWN_CLASS),
    ],
)
def test_a_decided_ask_that_can_not_trade_is_skipped(fields, reason):
    world = World()
    ask = world.ask(**({"operator": OPERATORS[0]} | fields))
    assert reasons(world.decide([request_body()], [ask])) == [reason]


def test_one_ask_per_operator_and_class():
    world = World()
    asks = [world.ask(OPERATORS[0], slots=slots) for slots in (5, 6)]
    done = world.decide([request_body()], asks)
    assert reasons(done) == [Why.SECOND_BID]
    ((market, _),) = done.clearings
    lowest = min(asks, key=lambda ask: digest(DOMAIN, ask))
    assert [seller.slots for seller in market.sellers] == [lowest.slots]


def test_slots_of_unfinished_jobs_are_not_sold_again():
    world, first, second = World(), request_body("first"), request_body("second")
    world.decide([first], world.asks(slots=2))
    done = world.decide([second], world.asks(slots=2))
    assert done.awarded == ()
    ((market, result),) = done.clearings
    assert sum(seller.slots for seller in market.sellers) == 3
    assert result.receipts[0].verdict is Verdict.NO_ROOM
    third = world.decide(asks=world.asks(slots=2), outcomes=[completed(world, first)])
    assert third.awarded == (id_of(second),)


def test_an_unserved_request_stays_until_a_later_clearing():
    world, body = World(), request_body()
    assert world.decide([body]).clearings == ()
    assert world.decide(asks=world.asks()).awarded == (id_of(body),)


def test_the_standby_takes_a_lost_segment_at_the_award_price():
    world, body = World(), request_body(slots=5)
    world.decide([body], world.asks())
    before = world.award(body)
    done = world.decide(outcomes=[late(body, 2)])
    after = world.award(body)
    assert done.reassigned == ((id_of(body), 2),)
    assert done.settled is None
    heir = after.assignments[2]
    assert heir.operator != before.provers[2]
    assert (heir.tried, heir.attempt) == ((before.provers[2],), 1)
    assert [a == b for a, b in zip(before.assignments, after.assignments, strict=True)].count(
        False
    ) == 1
    stale = world.decide(outcomes=[Completed(id_of(body), b"claim", before.provers)])
    assert reasons(stale) == [Why.NOT_ASSIGNED]
    world.decide(outcomes=[completed(world, body)])
    assert world.ledger.credits[heir.operator] == after.provers.count(heir.operator) * PRICE


def test_a_reassignment_counts_once():
    world, body = World(), request_body()
    world.decide([body], world.asks())
    both = [
        Reassigned(id_of(body), 1, 0, reason)
        for reason in (ReassignReason.NOT_ACCEPTED, ReassignReason.NO_RESULT)
    ]
    done = world.decide(outcomes=both)
    assert world.award(body).assignments[1].attempt == 1
    assert reasons(done) == [Why.STALE]
    assert reasons(world.decide(outcomes=both)) == [Why.STALE, Why.STALE]


def test_a_segment_that_does_not_exist_is_not_reassigned():
    world, body = World(), request_body(slots=5)
    world.decide([body], world.asks())
    assert reasons(world.decide(outcomes=[late(body, 5)])) == [Why.BAD_SHAPE]


def test_four_provers_survive_the_loss_of_one_and_spread_its_segments():
    world, body = World(), request_body(slots=9, fee=20 * PRICE)
    world.decide([body], world.asks())
    lost = world.award(body).provers[0]
    held = [place for place, op in enumerate(world.award(body).provers) if op == lost]
    assert len(held) >= 2
    world.decide(outcomes=[late(body, place) for place in held])
    heirs = [world.award(body).provers[place] for place in held]
    assert lost not in heirs
    assert len(set(heirs)) == len(heirs)


def test_a_segment_that_nobody_takes_brings_the_request_back_to_its_market():
    world, body = World(), request_body(slots=2)
    world.decide([body], world.asks())
    for attempt in range(len(OPERATORS) - 1):
        done = world.decide(outcomes=[late(body, 0, attempt)])
        assert done.closed == ()
    assert len({*world.award(body).assignments[0].tried}) == len(OPERATORS) - 1
    done = world.decide(outcomes=[late(body, 0, len(OPERATORS) - 1)])
    assert (done.returned, done.awarded, done.closed) == ((id_of(body),), (), ())
    assert world.award(body) is None
    again = world.decide(asks=world.asks())
    assert again.awarded == (id_of(body),)
    assert [a.attempt for a in world.award(body).assignments] == [0, 0]
    assert world.decide(outcomes=[completed(world, body)]).closed[0].status is ResultStatus.SETTLED


def test_a_request_that_came_back_can_be_awarded_in_the_same_round():
    world, body = World(), request_body(slots=2)
    world.decide([body], world.asks())
    for attempt in range(len(OPERATORS) - 1):
        world.decide(outcomes=[late(body, 0, attempt)])
    done = world.decide(asks=world.asks(), outcomes=[late(body, 0, len(OPERATORS) - 1)])
    assert (done.returned, done.awarded) == ((id_of(body),),) * 2


def test_who_left_the_table_is_no_standby():
    world, body = World(), request_body(slots=2)
    world.decide([body], world.asks(), next_epoch=2)
    first = world.award(body).provers[0]
    content = world.content(outcomes=[late(body, 0)])
    alone = table(2, (first, OPERATORS[0] if first != OPERATORS[0] else OPERATORS[1]))
    done = execute(world.ledger, content, alone, DEVNET, DOMAIN)
    heir = done.ledger.open[id_of(body)].award.provers[0]
    assert heir in {row.operator for row in alone.operators} - {first}


def test_the_next_epoch_is_the_values():
    world = World()
    world.decide(next_epoch=2)
    assert world.ledger.next_epoch == 2
    assert world.decide().header.epoch == 2


def test_the_price_follows_clearings_and_stays_within_its_epochs_bounds():
    world = World()
    seen = []
    for place in range(60):
        body = request_body(f"r{place}", slots=2)
        world.decide([body], world.asks(slots=16, price=1))
        world.decide(outcomes=[completed(world, body)])
        seen.append(world.ledger.markets[CLASS].price)
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] == PRICE // EPOCH_PRICE_FACTOR
    world.decide(next_epoch=2)
    world.decide([request_body("later", slots=2)], world.asks(slots=16, price=1))
    assert world.ledger.markets[CLASS].price < PRICE // EPOCH_PRICE_FACTOR


def test_the_beacon_is_the_hash_of_seed_round_value_and_salts():
    world, bodies = World(), [request_body("a"), request_body("b")]
    asks = world.asks(OPERATORS[:2], salt=word("ask salt"))
    content = world.content(bodies, asks)
    salts = {digest(DOMAIN, body.bid): body.bid.salt for body in bodies}
    salts |= {digest(DOMAIN, ask): ask.salt for ask in asks}
    expected = keccak(
        b"provernet/beacon/1"
        + table().seed
        + (1).to_bytes(8, "big")
        + value_digest(DOMAIN, content.value)
        + b"".join(salts[bid_id] for bid_id in sorted(salts))
    )
    assert world.decide(bodies, asks).beacon == expected


def test_a_value_that_does_not_follow_is_our_own_bug():
    world = World()
    world.decide()
    for fields in ({"round": 1}, {"parent": ZERO_HASH}, {"epoch": 2}):
        with pytest.raises(LocalProtocolError):
            world.decide(**fields)
    with pytest.raises(LocalProtocolError):
        execute(world.ledger, world.content(), table(2), DEVNET, DOMAIN)


def test_what_is_missing_is_named_before_execution():
    world, body = World(), request_body()
    full = world.content([body], world.asks(), [Expired(id_of(body))])
    assert missing(full) == frozenset()
    empty = RoundContent(full.value, {}, {}, {}, {}, {})
    assert missing(empty) == frozenset(full.value.bids) | frozenset(full.value.outcomes)
    assert missing(replace(full, programs={})) == {PROGRAM.program_id}
    with pytest.raises(LocalProtocolError):
        execute(world.ledger, empty, table(), DEVNET, DOMAIN)


names = st.sampled_from(["a", "b", "c", "d"])
requests = st.builds(
    request_body,
    names,
    slots=st.sampled_from([1, 2, 5, 9]),
    fee=st.integers(0, 12).map(lambda unit: unit * PRICE),
    requester=st.sampled_from([ALICE, BOB]),
    copies=st.sampled_from([1, 1, 1, 2]),
)


@st.composite
def histories(draw):
    """Rounds full of good, stale and contradicting items, as plans that the test plays."""
    return draw(
        st.lists(
            st.tuples(
                st.lists(requests, max_size=3, unique=True),
                st.lists(st.tuples(st.sampled_from(OPERATORS), st.integers(0, 6)), max_size=4),
                st.lists(st.integers(0, 5), max_size=4),
                st.integers(0, 3),
            ),
            max_size=8,
        )
    )


def ends(world, choice, segment):
    """One outcome about each open request, and about one that never was."""
    for entry in world.ledger.open.values():
        award = entry.award
        provers = () if award is None else award.provers
        attempt = 0 if award is None else award.assignments[segment % len(provers)].attempt
        place = segment % max(len(provers), 1)
        yield (
            Completed(entry.request_id, b"claim", provers),
            Expired(entry.request_id),
            Cancelled(entry.request_id),
            Failed(entry.request_id, FailReason.WITHHELD),
            Reassigned(entry.request_id, place, attempt, ReassignReason.NO_RESULT),
            Completed(word("never"), b"claim", provers),
        )[choice]


@given(histories())
def test_no_history_breaks_the_books(plan):
    world = World()
    debited, fees, seen = 0, {}, set()
    for bodies, offers, choices, segment in plan:
        asks = [world.ask(operator, slots=slots) for operator, slots in offers]
        outcomes = [end for choice in choices for end in ends(world, choice, segment)]
        limits = dict(world.ledger.open)
        content = world.content(bodies, asks, outcomes)
        flipped = replace(
            content,
            buys=dict(reversed(content.buys.items())),
            asks=dict(reversed(content.asks.items())),
            outcomes=dict(reversed(content.outcomes.items())),
        )
        same = execute(world.ledger, flipped, table(), DEVNET, DOMAIN)
        before = world.ledger
        done = world.decide(bodies, asks, outcomes)
        assert same == done
        for result in done.closed:
            assert result.request_id not in seen, "closed twice"
            seen.add(result.request_id)
            entry = limits[result.request_id]
            assert 0 <= result.fee <= entry.max_fee <= entry.reserve
            fees[result.request_id] = result.fee
        if done.settled is not None:
            rows = [
                done.settled.debits[at : at + 32] for at in range(0, len(done.settled.debits), 32)
            ]
            debits = sum(int.from_bytes(row[20:], "big") for row in rows)
            assert debits == sum(result.fee for result in done.closed)
            assert done.header.paid <= debits
            debited += debits
            earned = sum(world.ledger.credits.values()) - sum(before.credits.values())
            assert earned == done.header.paid
        else:
            assert done.closed == ()
            assert world.ledger.credits == before.credits
        assert debited == sum(world.ledger.credits.values()) + world.ledger.treasury
        assert not set(world.ledger.open) & set(world.ledger.closed)
        assert len(content.value.bids) + len(content.value.outcomes) >= len(done.skipped)
        for entry in world.ledger.open.values():
            assert entry.award is None or entry.award.fee + entry.bid_fee <= entry.max_fee
