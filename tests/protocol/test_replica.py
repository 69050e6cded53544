"""One replica alone: what it keeps, what it lets go, and what it does not fall over."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from protocol import codec
from protocol.dispatch import JobClass, Tier
from protocol.effects import Broadcast, Effect, Publish, Record
from protocol.eip712 import body_digest, digest
from protocol.hashing import keccak
from protocol.inputs import (
    AnyInput,
    AskPolicy,
    ClockJudged,
    EscrowBalance,
    ProgramRegistered,
    Received,
    TableOpened,
    Tick,
)
from protocol.messages import (
    Bodies,
    Envelope,
    Kind,
    OutcomeBody,
    ProofRequest,
    SealedBid,
    Status,
)
from protocol.params import DEVNET
from protocol.pool import MAX_ORPHANS, goes_on
from protocol.replica import Replica
from protocol.rounds.state import Asked
from protocol.sealing import Offer, Terms, is_ask, seal
from protocol.setup import Setup
from protocol.types import ZERO_HASH, Address, Epoch
from tests.sim.crypto import HashCipher, HashCrypto, address_of, sealing_key_of
from tests.sim.run import DOMAIN, make_table
from tests.sim.world import signed_envelope

VIEW = DEVNET.view_ms
PROGRAM, CLASS = keccak(b"program"), JobClass("groth16", Tier.S).class_id
PRICE = DEVNET.initial_price_wei
OWNER = address_of("owner")
TABLE = make_table([100 * DEVNET.slot_stake] * 4, b"\x07" * 32)


class Alone:
    """Node 0 of four; its own statements come back to it signed, as a driver hands them in."""

    def __init__(self) -> None:
        table = TABLE
        self.peers = [Address(row.operator) for row in table.operators][1:]
        me = Address(table.operators[0].operator)
        cipher = HashCipher(sealing_key_of(me))
        self.setup = Setup(me, DOMAIN, DEVNET, 0, bytes(32), HashCrypto(), cipher)
        self.replica = Replica(self.setup)
        self.said: list[Envelope] = []
        for event in (
            TableOpened(table.epoch, table.seed, table.operators),
            ProgramRegistered(PROGRAM, CLASS, 8),
            ClockJudged(True),
            AskPolicy(CLASS, 8, PRICE // 2),
            EscrowBalance(OWNER, 100 * PRICE),
        ):
            self.take(event, VIEW)

    def take(self, event: AnyInput, now_ms: int) -> list[Effect]:
        effects = self.replica.step(event, now_ms)
        for effect in list(effects):
            if isinstance(effect, Publish):
                signed = body_digest(DOMAIN, effect.kind, effect.body)
                envelope = signed_envelope(self.setup.me, effect.kind, effect.body, signed)
                self.said.append(envelope)
                effects += self.take(Received(codec.encode(envelope)), now_ms)
        return effects

    def hear(self, envelope: Envelope, now_ms: int) -> list[Effect]:
        return self.take(Received(codec.encode(envelope)), now_ms)

    def restart(self) -> None:
        self.replica = Replica.restore(self.setup, self.replica.snapshot())

    def status(self, peer: Address, now_ms: int) -> None:
        """A peer's word that something is pending: two of them open an attempt."""
        body = Status(1, 1, now_ms // VIEW, peer, True, None, None)
        signed = body_digest(DOMAIN, Kind.STATUS, body)
        self.hear(signed_envelope(peer, Kind.STATUS, body, signed), now_ms)

    def listed(self) -> tuple[bytes, ...]:
        return next(
            (*envelope.body.bids,)  # type: ignore[union-attr]
            for envelope in self.said
            if envelope.kind == Kind.BID_LIST
        )


def request(deadline_view: int, salt: int = 1) -> Envelope:
    wanted = ProofRequest(
        program_id=PROGRAM,
        requester=OWNER,
        input_hashes=(keccak(b"0"), keccak(b"1")),
        copies=1,
        reserve=(3 * PRICE).to_bytes(32, "big"),
        issued_at=VIEW // 1_000,
        deadline_view=deadline_view,
        allowlist=(),
        salt=bytes([salt]) * 32,
    )
    return signed_envelope(OWNER, Kind.REQUEST, wanted, digest(DOMAIN, wanted))


def bid_for(wanted: Envelope, seed: int = 1, **fields: object) -> Envelope:
    """What its owner bids for a request, sealed to all four."""
    request_id = digest(DOMAIN, wanted.body)  # type: ignore[arg-type]
    given: dict[str, object] = {"bidder": OWNER}
    return sealed_bid(Offer(2 * PRICE), request_id, seed, **(given | fields))


def sealed_bid(offer: Offer, request_id: bytes, seed: int, **fields: object) -> Envelope:
    given: dict[str, object] = {"epoch": 1, "round": 1, "class_id": CLASS}
    terms = Terms(**(given | fields), request_id=request_id)  # type: ignore[arg-type]
    keys = [row.sealing_key for row in TABLE.operators]
    body = seal(DOMAIN, terms, offer, keys, bytes([seed]) * 32, HashCipher())
    return signed_envelope(terms.bidder, Kind.SEALED_BID, body, digest(DOMAIN, body))


@pytest.mark.parametrize("restarted", [False, True])
def test_a_request_that_no_round_admitted_is_forgotten_after_its_deadline(restarted: bool) -> None:
    alone = Alone()
    alone.hear(request(deadline_view=6), VIEW + 10)
    assert len(alone.replica.state.requests) == 1
    if restarted:
        alone.restart()
    alone.take(Tick(), 7 * VIEW + 1)
    assert not alone.replica.state.requests
    assert not alone.replica.state.jobs
    later = [alone.take(Tick(), 7 * VIEW + at) for at in range(2, 20_000, 500)]
    assert not any(isinstance(effect, Broadcast) for effects in later for effect in effects)


@pytest.mark.parametrize(
    "over",
    [
        pytest.param(EscrowBalance(OWNER, 0), id="its escrow is gone"),
        pytest.param(Tick(), id="its deadline is over"),
    ],
)
def test_what_the_own_list_names_is_served_until_the_round_is_over(over: AnyInput) -> None:
    alone = Alone()
    wanted = request(deadline_view=6)
    alone.hear(wanted, VIEW + 10)
    alone.hear(bid_for(wanted), VIEW + 10)
    for peer in alone.peers[:2]:
        alone.status(peer, VIEW + 20)
    alone.take(Tick(), VIEW + 20 + DEVNET.list_wait_ms)
    listed = alone.listed()
    assert len(listed) == 2  # the owner's bid and the own ask
    kept = {*listed, digest(DOMAIN, wanted.body)}  # type: ignore[arg-type]
    alone.take(over, 7 * VIEW + 1)
    assert not alone.replica.state.requests
    assert set(alone.replica._application().frames(listed)) == kept
    alone.restart()
    assert set(alone.replica._application().frames(listed)) == kept


@pytest.mark.parametrize(
    "body",
    [
        OutcomeBody(99, bytes(32), b"", (), 0, 0, 0),
        OutcomeBody(1, bytes(32), b"", (), 5, 0, 0),
        OutcomeBody(4, bytes(32), b"", (), 0, 0, 77),
    ],
)
def test_an_outcome_that_is_none_in_a_reply_is_dropped(body: OutcomeBody) -> None:
    alone = Alone()
    peer = alone.peers[0]
    assert alone.replica.state.round is not None
    alone.replica.state.round.asked = {bytes(32): Asked(0, 1)}
    inner = codec.encode(Envelope(Kind.OUTCOME, peer, body, b""))
    alone.hear(Envelope(Kind.BODIES, peer, Bodies((inner,)), b""), VIEW + 10)
    assert not alone.replica.state.archive


def ask_of(operator: Address, seed: int = 1, **fields: object) -> Envelope:
    return sealed_bid(Offer(PRICE, 4), ZERO_HASH, seed, bidder=operator, **fields)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"round": 9}, "too_early"),
        ({"epoch": 3}, "too_early"),
        ({"round": 0}, "stale"),
        ({"class_id": keccak(b"class")}, "unknown_class"),
    ],
)
def test_an_ask_that_can_not_trade_is_refused_with_its_reason(
    fields: dict[str, object], reason: str
) -> None:
    node = Alone()
    held = len(node.replica.state.bids)
    effects = node.hear(ask_of(node.peers[0], **fields), VIEW)
    assert refusals(effects) == [reason]
    assert len(node.replica.state.bids) == held


def test_one_ask_per_operator_market_and_round() -> None:
    node = Alone()
    first, stranger = ask_of(node.peers[0]), address_of("stranger")
    assert refusals(node.hear(first, VIEW)) == []
    assert refusals(node.hear(first, VIEW)) == []
    assert refusals(node.hear(ask_of(node.peers[0], seed=2), VIEW)) == ["second_bid"]
    assert refusals(node.hear(ask_of(Address(stranger)), VIEW)) == ["not_a_member"]


def test_a_request_has_two_bids_at_most() -> None:
    node = Alone()
    wanted = request(deadline_view=6)
    node.hear(wanted, VIEW)
    for seed in (1, 2):
        assert refusals(node.hear(bid_for(wanted, seed), VIEW)) == []
    assert refusals(node.hear(bid_for(wanted, 3), VIEW)) == ["second_bid"]


def test_a_bid_may_come_before_its_request_but_is_listed_with_it_alone() -> None:
    node = Alone()
    wanted = request(deadline_view=6)
    node.hear(bid_for(wanted), VIEW)
    app = node.replica._application
    asks = app().listable()[0]
    assert not app().pending()
    node.hear(wanted, VIEW)
    assert len(app().listable()[0]) == len(asks) + 1
    assert app().pending()


@pytest.mark.parametrize("request_first", [True, False])
def test_a_stranger_can_not_bid_for_a_request_nor_keep_its_owners_bid_out(
    request_first: bool,
) -> None:
    node = Alone()
    wanted = request(deadline_view=6)
    if request_first:
        node.hear(wanted, VIEW)
    for seed in (1, 2):
        thief = bid_for(wanted, seed, bidder=address_of("thief"))
        refused = ["wrong_sender"] if request_first else []
        assert refusals(node.hear(thief, VIEW)) == refused
    node.hear(wanted, VIEW)
    assert not node.replica._application().pending()
    assert refusals(node.hear(bid_for(wanted), VIEW)) == []
    assert node.replica._application().pending()
    bidders = {held.body.bidder for held in node.replica.state.bids.values()}
    assert bidders == {node.setup.me, OWNER}


def test_bids_without_requests_keep_no_others_out() -> None:
    node = Alone()
    wanted = request(deadline_view=6)
    for envelope in (wanted, bid_for(wanted)):
        node.hear(envelope, VIEW)
    first, kept = node.replica.state.bids.copy(), MAX_ORPHANS
    for number in range(kept + 5):
        name = number.to_bytes(32, "big")
        bidder = address_of(f"nobody {number}")
        node.hear(sealed_bid(Offer(1), name[:-1] + b"\x01", 1, bidder=bidder), VIEW)
        node.hear(sealed_bid(Offer(1), keccak(name), 1, bidder=bidder), VIEW)
    bids = node.replica.state.bids
    assert first.keys() <= bids.keys()
    assert len(bids) == len(first) + kept


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"round": 2}, id="of the round to come"),
        pytest.param({"class_id": JobClass("groth16", Tier.M).class_id}, id="in another class"),
    ],
)
def test_a_bid_that_its_request_does_not_bear_out_is_not_listed(fields: dict[str, object]) -> None:
    node = Alone()
    wanted = request(deadline_view=6)
    for envelope in (wanted, bid_for(wanted, **fields)):
        node.hear(envelope, VIEW)
    assert not node.replica._application().pending()


def test_a_bid_whose_share_is_bad_is_not_listed() -> None:
    node = Alone()
    wanted = request(deadline_view=6)
    node.hear(wanted, VIEW)
    good = bid_for(wanted).body
    assert isinstance(good, SealedBid)
    for place, whose in ((0, False), (1, True)):
        boxes = tuple(bytes(48) if at == place else box for at, box in enumerate(good.boxes))
        body = msgspec.structs.replace(good, boxes=boxes)
        node.hear(signed_envelope(OWNER, Kind.SEALED_BID, body, digest(DOMAIN, body)), VIEW)
        assert node.replica._application().pending() is whose


def test_a_bid_lapses_with_its_epoch() -> None:
    node = Alone()
    wanted = request(deadline_view=6)
    for envelope in (wanted, bid_for(wanted)):
        node.hear(envelope, VIEW)
    ledger = node.replica.state.ledger
    assert ledger is not None
    (bid,) = [held.body for held in node.replica.state.bids.values() if not is_ask(held.body)]
    assert goes_on(bid, ledger)
    assert not goes_on(bid, replace(ledger, next_epoch=Epoch(2)))


def refusals(effects: list[Effect]) -> list[str]:
    return [
        str(dict(effect.fields)["reason"])
        for effect in effects
        if isinstance(effect, Record) and effect.event == "bid_refused"
    ]
