"""One replica alone: what it keeps, what it lets go, and what it does not fall over."""

from __future__ import annotations

import pytest
from eth_hash.auto import keccak

from protocol import codec
from protocol.dispatch import JobClass, Tier
from protocol.effects import Broadcast, Effect, Publish, Record
from protocol.eip712 import body_digest, digest
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
    AskBid,
    Bodies,
    BuyBid,
    Envelope,
    Kind,
    OutcomeBody,
    ProofRequest,
    RequestBody,
    Status,
)
from protocol.params import DEVNET
from protocol.replica import Replica, Setup
from protocol.types import Address
from tests.sim.crypto import HashCrypto, address_of, session_sign
from tests.sim.run import DOMAIN, make_table
from tests.sim.world import signed_envelope

VIEW = DEVNET.view_ms
PROGRAM, CLASS = keccak(b"program"), JobClass("groth16", Tier.S).class_id
PRICE = DEVNET.initial_price_wei
OWNER = address_of("owner")


class Alone:
    """Node 0 of four; its own statements come back to it signed, as a driver hands them in."""

    def __init__(self) -> None:
        table = make_table([100 * DEVNET.slot_stake] * 4, b"\x07" * 32)
        self.peers = [Address(row.operator) for row in table.operators][1:]
        me = Address(table.operators[0].operator)
        self.setup = Setup(me, DOMAIN, DEVNET, 0, bytes(32), HashCrypto())
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
    fee = (2 * PRICE).to_bytes(32, "big")
    wanted = ProofRequest(
        program_id=PROGRAM,
        requester=OWNER,
        input_hashes=(keccak(b"0"), keccak(b"1")),
        copies=1,
        reserve=fee,
        issued_at=VIEW // 1_000,
        deadline_view=deadline_view,
        allowlist=(),
        salt=bytes([salt]) * 32,
    )
    request_id = digest(DOMAIN, wanted)
    bid = BuyBid(request_id, fee, bytes(32))
    body = RequestBody(wanted, session_sign(OWNER, request_id), bid)
    return signed_envelope(OWNER, Kind.REQUEST, body, body_digest(DOMAIN, Kind.REQUEST, body))


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
    alone.hear(request(deadline_view=6), VIEW + 10)
    for peer in alone.peers[:2]:
        alone.status(peer, VIEW + 20)
    alone.take(Tick(), VIEW + 20 + DEVNET.list_wait_ms)
    listed = alone.listed()
    assert len(listed) == 2  # the request and the own ask
    alone.take(over, 7 * VIEW + 1)
    assert not alone.replica.state.requests
    assert list(alone.replica._application().frames(listed)) == list(listed)
    alone.restart()
    assert list(alone.replica._application().frames(listed)) == list(listed)


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
    alone.replica.state.round.asked[bytes(32)] = None  # type: ignore[assignment]
    inner = codec.encode(Envelope(Kind.OUTCOME, peer, body, b""))
    alone.hear(Envelope(Kind.BODIES, peer, Bodies((inner,)), b""), VIEW + 10)
    assert not alone.replica.state.archive


def ask_of(operator: Address, sender: Address | None = None, **fields: object) -> Envelope:
    given: dict[str, object] = {
        "epoch": 1,
        "round": 1,
        "class_id": CLASS,
        "operator": operator,
        "slots": 4,
        "price": PRICE.to_bytes(32, "big"),
        "salt": bytes(32),
    }
    body = AskBid(**(given | fields))  # type: ignore[arg-type]
    signed = body_digest(DOMAIN, Kind.ASK_BID, body)
    return signed_envelope(sender or operator, Kind.ASK_BID, body, signed)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"round": 9}, "stale"),
        ({"slots": 0}, "zero_slots"),
        ({"price": bytes(32)}, "amount_out_of_range"),
        ({"class_id": keccak(b"class")}, "unknown_class"),
    ],
)
def test_an_ask_that_can_not_trade_is_refused_with_its_reason(
    fields: dict[str, object], reason: str
) -> None:
    node = Alone()
    held = len(node.replica.state.asks)
    effects = node.hear(ask_of(node.peers[0], **fields), VIEW)
    assert refusals(effects) == [reason]
    assert len(node.replica.state.asks) == held


def test_one_ask_per_operator_market_and_round_and_only_its_own() -> None:
    node = Alone()
    first, stranger = ask_of(node.peers[0]), address_of("stranger")
    assert refusals(node.hear(first, VIEW)) == []
    assert refusals(node.hear(first, VIEW)) == []
    assert refusals(node.hear(ask_of(node.peers[0], slots=5), VIEW)) == ["second_bid"]
    assert refusals(node.hear(ask_of(node.peers[1], node.peers[2]), VIEW)) == ["wrong_sender"]
    assert refusals(node.hear(ask_of(stranger), VIEW)) == ["not_a_member"]


def refusals(effects: list[Effect]) -> list[str]:
    return [
        str(dict(effect.fields)["reason"])
        for effect in effects
        if isinstance(effect, Record) and effect.event == "bid_refused"
    ]
