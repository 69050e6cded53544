"""A small certified world: signed-looking bodies, decided rounds, and their execution."""

from __future__ import annotations

from dataclasses import dataclass, field

from protocol.dispatch import JobClass, Tier
from protocol.eip712 import Domain, digest
from protocol.execution import Execution, execute
from protocol.inputs import Operator, ProgramRegistered
from protocol.ledger import Ledger, genesis
from protocol.messages import AskBid, BuyBid, ProofRequest, Value
from protocol.outcomes import outcome_id
from protocol.params import DEVNET
from protocol.rotation import OperatorTable
from protocol.round_content import Buy, RoundContent
from protocol.types import Epoch
from tests.vectors.encoding import address, word

DOMAIN = Domain(31_337, address("registry"))
CLASS = JobClass("groth16", Tier.S).class_id
PROGRAM = ProgramRegistered(program_id=word("program"), class_id=CLASS, max_segments=16)
OPERATORS = tuple(sorted(address(f"operator {place}") for place in range(4)))
ALICE, BOB = address("alice"), address("bob")
PRICE = DEVNET.initial_price_wei
BID_FEE = PRICE * DEVNET.bid_fee_bps // 10_000
"""Of one slot."""


def table(epoch=1, operators=OPERATORS):
    rows = tuple(
        Operator(
            operator=operator,
            session=operator,
            bls_key=bytes(48),
            sealing_key=bytes(32),
            peer_id="peer",
            multiaddrs=(),
            weight=1_000 * DEVNET.slot_stake,
        )
        for operator in operators
    )
    return OperatorTable(epoch, word(f"seed {epoch}"), rows)


def amount(wei):
    return wei.to_bytes(32, "big")


def request_body(name="request", *, slots=5, fee=10 * PRICE, **fields):
    """A request with its opened bid; `fields` override those of the request."""
    given = {
        "program_id": PROGRAM.program_id,
        "requester": ALICE,
        "input_hashes": tuple(word(f"{name} input {place}") for place in range(slots)),
        "copies": 1,
        "reserve": amount(fee),
        "issued_at": 1_000_000,
        "deadline_view": 100,
        "allowlist": (),
        "salt": word(name),
    } | fields
    request = ProofRequest(**given)
    bid = BuyBid(digest(DOMAIN, request), amount(fee), word(f"{name} bid"))
    return Buy(request, bid)


def id_of(body):
    return body.bid.request_id


@dataclass
class World:
    """A ledger that rounds are applied to one after the other."""

    ledger: Ledger = field(default_factory=lambda: genesis(Epoch(1)))
    params: object = DEVNET

    def ask(self, operator, *, slots=8, price=PRICE // 10, **fields):
        given = {
            "epoch": self.ledger.next_epoch,
            "round": self.ledger.round + 1,
            "class_id": CLASS,
            "operator": operator,
            "slots": slots,
            "price": amount(price),
            "salt": word("salt"),
        } | fields
        return AskBid(**given)

    def asks(self, operators=OPERATORS, **fields):
        return [self.ask(operator, **fields) for operator in operators]

    def content(self, requests=(), asks=(), outcomes=(), void=None, **fields):
        buys = {digest(DOMAIN, body.bid): body for body in requests}
        offers = {digest(DOMAIN, ask): ask for ask in asks}
        named = {outcome_id(outcome): outcome for outcome in outcomes}
        given = {
            "epoch": self.ledger.next_epoch,
            "round": self.ledger.round + 1,
            "parent": self.ledger.batch,
            "lists": (),
            "bids": tuple(sorted([*buys, *offers, *(void or {})])),
            "outcomes": tuple(sorted(named)),
            "evidence": (),
            "next_epoch": self.ledger.next_epoch,
        } | fields
        programs = {PROGRAM.program_id: PROGRAM}
        return RoundContent(Value(**given), buys, offers, void or {}, named, programs)

    def decide(self, requests=(), asks=(), outcomes=(), void=None, **fields) -> Execution:
        content = self.content(requests, asks, outcomes, void, **fields)
        done = execute(self.ledger, content, table(content.value.epoch), self.params, DOMAIN)
        self.ledger = done.ledger
        return done

    def award(self, body):
        entry = self.ledger.open[id_of(body)]
        return entry.award
