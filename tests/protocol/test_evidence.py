"""What signed statements prove of their sender, and what they do not."""

from __future__ import annotations

import msgspec
import pytest

from protocol.eip712 import digest, value_digest
from protocol.errors import Rejection
from protocol.evidence import Fault, accuse, fault_of, holds, key_of
from protocol.messages import (
    BidList,
    BidReceipt,
    Certificate,
    Commit,
    Envelope,
    Evidence,
    Kind,
    Proposal,
    Timeout,
    Value,
    Vote,
)
from tests.protocol.certified import DOMAIN, OPERATORS
from tests.vectors.encoding import word

CHEAT, OTHER = OPERATORS[:2]
ENOUGH = 3
EPOCH, ROUND, VIEW = 1, 7, 5
SIZES = {Kind.PREPARE: 96, Kind.LOCK: 96, Kind.COMMIT: 96}


def said(kind, body, sender=CHEAT):
    return Envelope(int(kind), sender, body, bytes(SIZES.get(kind, 65)))


def vote(kind, name, view=VIEW, **who):
    return said(kind, Vote(EPOCH, ROUND, view, word(name)), **who)


def commit(name, value=None):
    zero = bytes(32)
    return said(Kind.COMMIT, Commit(EPOCH, ROUND, value or zero, 0, zero, word(name), zero, zero))


def timeout(prepare_view, view=VIEW):
    held = None
    if prepare_view:
        named = (EPOCH, ROUND, prepare_view, word("value"), word("digest"), (), bytes(96))
        held = Certificate(int(Kind.PREPARE), *named)
    value = bytes(32) if held is None else held.value
    return said(Kind.TIMEOUT, Timeout(EPOCH, ROUND, view, CHEAT, prepare_view, value, held))


def bid_list(*bids, sender=CHEAT):
    body = BidList(EPOCH, ROUND, sender, tuple(sorted(word(bid) for bid in bids)), ())
    return said(Kind.BID_LIST, body, sender)


def receipt(bid, number=ROUND):
    return said(Kind.BID_RECEIPT, BidReceipt(EPOCH, number, CHEAT, word(bid)))


def proposal(lists, *bids, view=VIEW):
    ids = tuple(sorted(digest(DOMAIN, each.body) for each in lists))
    value = Value(EPOCH, ROUND, bytes(32), ids, tuple(sorted(word(b) for b in bids)), (), (), 1)
    return said(Kind.PROPOSAL, Proposal(EPOCH, ROUND, view, CHEAT, value, None))


LISTS = [bid_list("a", "b", sender=operator) for operator in OPERATORS[:3]]
VALUE = value_digest(DOMAIN, proposal(LISTS, "a", "b").body.value)

PROVEN = {
    "two PREPAREs": (
        [vote(Kind.PREPARE, "one"), vote(Kind.PREPARE, "two")],
        Fault.DOUBLE_PREPARE,
    ),
    "two LOCKs": ([vote(Kind.LOCK, "one"), vote(Kind.LOCK, "two")], Fault.DOUBLE_LOCK),
    "two COMMITs": ([commit("one"), commit("two")], Fault.DOUBLE_COMMIT),
    "two Timeouts": ([timeout(0), timeout(3)], Fault.DOUBLE_TIMEOUT),
    "two proposals": (
        [proposal(LISTS, "a"), proposal(LISTS, "a", "b")],
        Fault.DOUBLE_PROPOSAL,
    ),
    "two lists": ([bid_list("a"), bid_list("b")], Fault.DOUBLE_LIST),
    "a LOCK after the Timeout": ([timeout(4), vote(Kind.LOCK, "one")], Fault.LOCK_AFTER_TIMEOUT),
    "a receipt without its bid": ([receipt("a"), bid_list("b")], Fault.BROKEN_RECEIPT),
    "a bid left out": ([proposal(LISTS, "a"), *LISTS], Fault.WRONG_SET),
    "a bid that nobody lists": ([proposal(LISTS, "a", "b", "c"), *LISTS], Fault.WRONG_SET),
    "another batch": ([commit("one", VALUE), proposal(LISTS, "a", "b")], Fault.WRONG_BATCH),
}

UNPROVEN = {
    "one PREPARE twice": [vote(Kind.PREPARE, "one"), vote(Kind.PREPARE, "one")],
    "PREPAREs of two views": [vote(Kind.PREPARE, "one"), vote(Kind.PREPARE, "two", VIEW + 1)],
    "a PREPARE and a LOCK": [vote(Kind.PREPARE, "one"), vote(Kind.LOCK, "two")],
    "LOCKs of two operators": [vote(Kind.LOCK, "one"), vote(Kind.LOCK, "two", sender=OTHER)],
    "a LOCK before the Timeout": [timeout(VIEW), vote(Kind.LOCK, "one")],
    "a LOCK of another view": [timeout(0), vote(Kind.LOCK, "one", VIEW + 1)],
    "an honoured receipt": [receipt("a"), bid_list("a", "b")],
    "a receipt for another round": [receipt("a", ROUND + 1), bid_list("b")],
    "somebody else's list": [receipt("a"), bid_list("b", sender=OTHER)],
    "a right proposal": [proposal(LISTS, "a", "b"), *LISTS],
    "a proposal without all its lists": [proposal(LISTS, "a"), *LISTS[:2]],
    "a proposal with other lists": [proposal(LISTS, "a"), *LISTS[:2], bid_list("a")],
    "a COMMIT to another Value": [commit("one", word("v")), proposal(LISTS, "a", "b")],
    "three statements": [vote(Kind.LOCK, "one"), vote(Kind.LOCK, "two"), vote(Kind.LOCK, "x")],
}


@pytest.mark.parametrize("name", PROVEN)
def test_what_is_proven(name):
    statements, fault = PROVEN[name]
    assert fault_of(DOMAIN, statements, ENOUGH) is fault
    evidence = accuse(statements, fault, OTHER)
    assert (evidence.accused, evidence.epoch, evidence.round) == (CHEAT, EPOCH, ROUND)
    assert holds(DOMAIN, evidence, ENOUGH)


@pytest.mark.parametrize("name", UNPROVEN)
def test_what_is_not(name):
    assert fault_of(DOMAIN, UNPROVEN[name], ENOUGH) is None


@pytest.mark.parametrize(
    "change",
    [
        {"fault": int(Fault.DOUBLE_LOCK)},
        {"fault": 99},
        {"accused": OTHER},
        {"epoch": 2},
        {"round": 8},
        {"view": 6},
    ],
)
def test_evidence_that_names_something_else_does_not_hold(change):
    statements, fault = PROVEN["two PREPAREs"]
    evidence = msgspec.structs.replace(accuse(statements, fault, OTHER), **change)
    assert not holds(DOMAIN, evidence, ENOUGH)


def test_statements_that_are_no_envelopes_are_refused():
    broken = Evidence(1, CHEAT, EPOCH, ROUND, VIEW, (b"\x00", b"\x01"), OTHER)
    with pytest.raises(Rejection):
        holds(DOMAIN, broken, ENOUGH)


def test_one_fault_has_one_key_whoever_reports_it_by_whichever_statements():
    one, fault = PROVEN["two PREPAREs"]
    other = [vote(Kind.PREPARE, "two"), vote(Kind.PREPARE, "three")]
    keys = {key_of(accuse(pair, fault, by)) for pair in (one, other) for by in (CHEAT, OTHER)}
    assert len(keys) == 1
    locks, lock = PROVEN["two LOCKs"]
    assert key_of(accuse(locks, lock, OTHER)) not in keys
