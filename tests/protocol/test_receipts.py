"""Receipts: given when sure to be kept, kept whatever happens, and proof when they are not."""

from __future__ import annotations

import pytest

from protocol import codec
from protocol.effects import Effect, KeepEvidence, KeepReceipt, Publish
from protocol.eip712 import body_digest, digest
from protocol.evidence import Fault
from protocol.inputs import EscrowBalance, Received, Tick
from protocol.messages import BidList, BidReceipt, Envelope, Evidence, Kind
from protocol.params import DEVNET
from protocol.types import Address
from tests.protocol.test_replica import OWNER, VIEW, Alone, ask_of, bid_for, request
from tests.sim.run import DOMAIN
from tests.sim.world import signed_envelope

PEER_BROUGHT = VIEW + 10
LISTED = VIEW + 20 + DEVNET.list_wait_ms


def brought(node: Alone, envelope: Envelope, now_ms: int = PEER_BROUGHT) -> list[Effect]:
    """A peer hands an envelope on."""
    return node.take(Received(codec.encode(envelope), node.peers[0]), now_ms)


def receipts(effects: list[Effect]) -> list[tuple[Address | None, BidReceipt]]:
    return [
        (effect.to, effect.body)
        for effect in effects
        if isinstance(effect, Publish) and isinstance(effect.body, BidReceipt)
    ]


def open_round(node: Alone) -> None:
    """Two peers have something pending: an attempt opens, and the own list is signed in it."""
    for peer in node.peers[:2]:
        node.status(peer, VIEW + 20)
    node.take(Tick(), LISTED)
    assert node.listed()


def test_who_brought_a_bid_gets_a_receipt_for_the_next_list() -> None:
    node = Alone()
    wanted = request(deadline_view=6)
    assert receipts(brought(node, wanted)) == []
    ((to, body),) = receipts(brought(node, bid_for(wanted)))
    assert to == node.peers[0]
    assert (body.member, body.epoch, body.round) == (node.setup.me, 1, 1)
    open_round(node)
    assert body.bid_id in node.listed()


def test_once_the_list_is_signed_the_receipt_names_the_next_round() -> None:
    node = Alone()
    wanted, other = request(deadline_view=6), request(deadline_view=6, salt=2)
    for envelope in (wanted, other, bid_for(wanted)):
        brought(node, envelope)
    open_round(node)
    ((_, late),) = receipts(brought(node, bid_for(other, 3), LISTED + 1))
    assert late.round == 2
    # An ask is for one round: too late for its list, it gets none.
    assert receipts(brought(node, ask_of(node.peers[0]), LISTED + 1)) == []
    ((_, ask),) = receipts(brought(node, ask_of(node.peers[1], round=2), LISTED + 1))
    assert ask.round == 2


def test_a_bid_brought_again_gets_the_same_receipt() -> None:
    node = Alone()
    wanted = request(deadline_view=6)
    brought(node, wanted)
    first = receipts(brought(node, bid_for(wanted)))
    open_round(node)
    assert receipts(brought(node, bid_for(wanted), LISTED + 1)) == first


def test_no_receipt_before_the_request_is_known_and_its_escrow_covers_it() -> None:
    node = Alone()
    wanted = request(deadline_view=6)
    node.take(EscrowBalance(OWNER, 0), VIEW)
    assert receipts(brought(node, bid_for(wanted))) == []
    assert receipts(brought(node, wanted)) == []
    effects = node.take(EscrowBalance(OWNER, 10**20), PEER_BROUGHT)
    ((to, body),) = receipts(effects)
    assert (to, body.round) == (node.peers[0], 1)


@pytest.mark.parametrize(
    "over",
    [
        pytest.param(EscrowBalance(OWNER, 0), id="its escrow is gone"),
        pytest.param(Tick(), id="its deadline is over"),
    ],
)
@pytest.mark.parametrize("restarted", [False, True])
def test_a_promise_is_kept_whatever_becomes_of_the_request(
    over: EscrowBalance | Tick, restarted: bool
) -> None:
    node = Alone()
    wanted = request(deadline_view=6)
    brought(node, wanted)
    ((_, body),) = receipts(brought(node, bid_for(wanted)))
    now_ms = 7 * VIEW + 1
    node.take(over, now_ms)
    assert not node.replica.state.requests
    if restarted:
        node.restart()
    for peer in node.peers[:2]:
        node.status(peer, now_ms)
    node.take(Tick(), now_ms + DEVNET.list_wait_ms)
    assert body.bid_id in node.listed()
    held = node.replica._application().frames((body.bid_id,))
    assert set(held) == {body.bid_id, digest(DOMAIN, wanted.body)}  # type: ignore[arg-type]


def test_a_members_receipt_for_a_buyers_bid_is_kept_for_its_owner() -> None:
    node = Alone()
    wanted, bid = request(deadline_view=6), bid_for(request(deadline_view=6))
    for envelope in (wanted, bid):
        brought(node, envelope)
    promise = receipt_of(node.peers[1], bid)
    (kept,) = [e for e in node.hear(promise, VIEW) if isinstance(e, KeepReceipt)]
    assert kept.request_id == digest(DOMAIN, wanted.body)  # type: ignore[arg-type]
    assert kept.envelope == promise
    assert not any(isinstance(e, KeepReceipt) for e in node.hear(promise, VIEW))


@pytest.mark.parametrize("receipt_first", [True, False])
@pytest.mark.parametrize("honoured", [True, False])
def test_a_list_without_what_its_member_promised_is_evidence(
    receipt_first: bool, honoured: bool
) -> None:
    node = Alone()
    wanted = request(deadline_view=6)
    bid = bid_for(wanted)
    for envelope in (wanted, bid):
        brought(node, envelope)
    member = node.peers[1]
    bid_id = digest(DOMAIN, bid.body)  # type: ignore[arg-type]
    body = BidList(1, 1, member, (bid_id,) if honoured else (), ())
    signed = body_digest(DOMAIN, Kind.BID_LIST, body)
    both = [receipt_of(member, bid), signed_envelope(member, Kind.BID_LIST, body, signed)]
    effects = [
        effect
        for envelope in (both if receipt_first else reversed(both))
        for effect in node.hear(envelope, VIEW + 30)
    ]
    accused = [
        effect.body
        for effect in effects
        if isinstance(effect, Publish) and isinstance(effect.body, Evidence)
    ]
    if honoured:
        assert accused == []
        return
    (evidence,) = accused
    assert (evidence.accused, evidence.fault) == (member, Fault.BROKEN_RECEIPT)
    (kept,) = [effect for effect in effects if isinstance(effect, KeepEvidence)]
    assert kept.document["fault"] == "broken_receipt"
    # Another one that reports the same adds nothing.
    again = signed_envelope(
        node.peers[2],
        Kind.EVIDENCE,
        Evidence(**{**fields(evidence), "reporter": node.peers[2]}),
        digest(DOMAIN, Evidence(**{**fields(evidence), "reporter": node.peers[2]})),
    )
    assert not any(isinstance(effect, KeepEvidence) for effect in node.hear(again, VIEW + 40))


def test_a_list_that_breaks_two_promises_is_one_fault_reported_once() -> None:
    node = Alone()
    wanted = [request(deadline_view=6, salt=salt) for salt in (1, 2)]
    bids = [bid_for(each, seed) for seed, each in enumerate(wanted, 1)]
    for envelope in (*wanted, *bids):
        brought(node, envelope)
    member = node.peers[1]
    body = BidList(1, 1, member, (), ())
    signed = body_digest(DOMAIN, Kind.BID_LIST, body)
    reports = [
        effect
        for envelope in (
            *(receipt_of(member, bid) for bid in bids),
            signed_envelope(member, Kind.BID_LIST, body, signed),
        )
        for effect in node.hear(envelope, VIEW + 30)
        if isinstance(effect, Publish) and isinstance(effect.body, Evidence)
    ]
    assert len(reports) == 1


def test_evidence_that_does_not_hold_or_rests_on_anothers_word_is_not_kept() -> None:
    node = Alone()
    peer, accused = node.peers[:2]
    lists = []
    for bids in ((), (bytes(31) + b"\x01",)):
        body = BidList(1, 1, accused, bids, ())
        signed = body_digest(DOMAIN, Kind.BID_LIST, body)
        lists.append(codec.encode(signed_envelope(accused, Kind.BID_LIST, body, signed)))
    good = Evidence(int(Fault.DOUBLE_LIST), accused, 1, 1, 0, tuple(lists), peer)
    wrong = [
        Evidence(**{**fields(good), "accused": node.peers[2]}),
        Evidence(**{**fields(good), "statements": (lists[0], lists[0])}),
        Evidence(**{**fields(good), "fault": int(Fault.WRONG_BATCH)}),
        Evidence(**{**fields(good), "epoch": 9}),
    ]
    for body in (*wrong, good):
        signed = digest(DOMAIN, body)
        effects = node.hear(signed_envelope(peer, Kind.EVIDENCE, body, signed), VIEW)
        assert any(isinstance(effect, KeepEvidence) for effect in effects) is (body is good)


def test_a_fault_seen_before_the_node_may_sign_is_reported_once_it_may() -> None:
    node = Alone()
    member = node.peers[1]
    effects: list[Effect] = []
    for bids in ((), (bytes(31) + b"\x01",)):
        body = BidList(1, 1, member, bids, ())
        signed = body_digest(DOMAIN, Kind.BID_LIST, body)
        frame = codec.encode(signed_envelope(member, Kind.BID_LIST, body, signed))
        # The guard is closed: what is published here is not signed, and does not come back.
        effects += node.replica.step(Received(frame), VIEW + 30)
    assert sum(map(is_evidence, effects)) == 1
    assert not any(map(is_evidence, node.replica.step(Tick(), VIEW + 31)))
    assert sum(map(is_evidence, node.replica.resume(VIEW + 32))) == 1


def is_evidence(effect: Effect) -> bool:
    return isinstance(effect, Publish) and isinstance(effect.body, Evidence)


def receipt_of(member: Address, bid: Envelope) -> Envelope:
    body = BidReceipt(1, 1, member, digest(DOMAIN, bid.body))  # type: ignore[arg-type]
    signed = body_digest(DOMAIN, Kind.BID_RECEIPT, body)
    return signed_envelope(member, Kind.BID_RECEIPT, body, signed)


def fields(evidence: Evidence) -> dict[str, object]:
    return {name: getattr(evidence, name) for name in Evidence.__struct_fields__}
