"""Hostile bytes: only canonical frames decode, and nothing but a Rejection comes out."""

from __future__ import annotations

import random
from itertools import pairwise

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.bounds import FIELD_RULES, FRAME_LIMITS, MAX_FRAME, SIGNATURE_SIZES
from protocol.codec import (
    decode,
    decode_decided,
    decode_input,
    encode,
    encode_decided,
    encode_input,
)
from protocol.errors import LocalProtocolError, Rejection, RejectionReason
from protocol.inputs import Operator, Proved, Received, TableOpened, Tick
from protocol.messages import BODY_TYPES, Cancel, Envelope, Kind, Vote, Wire
from tests.protocol import strategies as s

VOTE = Envelope(Kind.PREPARE, b"\x11" * 20, Vote(1, 2, 3, b"\x22" * 32), b"\x33" * 96)


def reason_of(frame):
    with pytest.raises(Rejection) as caught:
        decode(frame)
    return caught.value.reason


@given(s.any_envelope)
def test_round_trip(envelope):
    frame = encode(envelope)
    assert decode(frame) == envelope
    assert encode(decode(frame)) == frame


def test_every_kind_and_every_field_has_a_rule():
    structs = {kind for kind in Wire.__subclasses__() if kind is not Envelope}
    assert set(FIELD_RULES) == structs
    for struct, rules in FIELD_RULES.items():
        assert tuple(rules) == struct.__struct_fields__
    assert set(FRAME_LIMITS) == set(SIGNATURE_SIZES) == set(BODY_TYPES) == set(Kind)


def test_header_is_checked_first():
    frame = encode(VOTE)
    assert reason_of(b"") is RejectionReason.MALFORMED
    assert reason_of(b"\x94" + frame[1:]) is RejectionReason.MALFORMED
    assert reason_of(frame[:1] + b"\x02" + frame[2:]) is RejectionReason.UNKNOWN_KIND
    assert reason_of(frame[:2] + b"\x13" + frame[3:]) is RejectionReason.UNKNOWN_KIND
    assert reason_of(frame + bytes(2_000)) is RejectionReason.FRAME_TOO_LARGE
    assert reason_of(bytes(MAX_FRAME + 1)) is RejectionReason.FRAME_TOO_LARGE
    assert reason_of(frame + b"\x00") is RejectionReason.MALFORMED


def test_only_the_minimal_form_is_taken():
    frame = encode(VOTE)
    at = frame.index(b"\x94\x01\x02\x03")
    longer = frame[: at + 1] + b"\xcc\x01" + frame[at + 2 :]
    assert msgpack.unpackb(longer) == msgpack.unpackb(frame)
    assert reason_of(longer) is RejectionReason.MALFORMED


def test_text_is_not_bytes():
    parts = msgpack.unpackb(encode(VOTE))
    parts[3][3] = "IiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiI="
    assert reason_of(msgpack.packb(parts)) is RejectionReason.MALFORMED


def walk(value, path=()):
    """Paths of every value in a nested list."""
    yield path
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from walk(item, (*path, index))


def replaced(value, path, new):
    if not path:
        return new
    copy = list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def at(value, path):
    for index in path:
        value = value[index]
    return value


HOSTILE = (
    None, True, -1, 2**64 - 1, 1.5, "text", b"", b"\x00" * 31, b"\x00" * 97, [], [[]], {}, {1: 2},
    msgpack.ExtType(4, b"x"), msgpack.Timestamp(1), [b"\xff" * 32] * 5_000,
)  # fmt: skip


@given(s.any_envelope)
def test_every_field_mutated(envelope):
    parts = msgpack.unpackb(encode(envelope))
    for path in walk(parts):
        held = at(parts, path)
        for new in HOSTILE:
            frame = msgpack.packb(replaced(parts, path, new))
            try:
                taken = decode(frame)
            except Rejection:
                continue
            # What is still taken is another legal message, in its one form.
            assert encode(taken) == frame
            assert type(new) is type(held) or held is None or new is None


def test_random_mutants_never_raise_anything_else():
    source = random.Random(20_260_101)
    frames = corpus()
    taken = 0
    for number in range(100_000):
        frame = bytearray(frames[number % len(frames)])
        for _ in range(source.randint(1, 3)):
            where = source.randrange(len(frame))
            match source.randrange(4):
                case 0:
                    frame[where] = source.randrange(256)
                case 1:
                    frame[where] ^= 1 << source.randrange(8)
                case 2:
                    del frame[where : where + source.randint(1, 4)]
                case _:
                    frame[where:where] = source.randbytes(source.randint(1, 4))
            if not frame:
                frame = bytearray(b"\x00")
        try:
            decode(bytes(frame))
            taken += 1
        except Rejection:
            pass
    assert 0 < taken < 60_000


def corpus():
    """One rich frame of each kind."""
    word, account, amount = b"\x01" * 32, b"\x02" * 20, (7).to_bytes(32, "big")
    value = s.m.Value(1, 2, word, (word,), (word,), (), (), 1)
    prepare = s.m.Certificate(Kind.PREPARE, 1, 2, 3, word, word, (0, 2), b"\x05" * 96)
    lock = s.m.Certificate(Kind.LOCK, 1, 2, 3, word, word, (), b"\x05" * 96)
    commit = s.m.Certificate(Kind.COMMIT, 1, 2, 0, word, word, (1,), b"\x05" * 96)
    request = s.m.ProofRequest(word, account, (word, word), 1, amount, 5, 6, (account,), word)
    shares = s.m.BidShares(1, 2, account, word, (word,))
    bodies = {
        Kind.REQUEST: request,
        Kind.SEALED_BID: s.m.SealedBid(
            1, 2, word, account, word, word, word, bytes(84), (bytes(48),), (word,)
        ),
        Kind.BID_SHARES: shares,
        Kind.BID_RECEIPT: s.m.BidReceipt(1, 2, account, word),
        Kind.EVIDENCE: s.m.Evidence(1, account, 1, 2, 3, (b"\x01", b"\x02"), account),
        Kind.BID_LIST: s.m.BidList(1, 2, account, (word,), (word,)),
        Kind.PROPOSAL: s.m.Proposal(1, 2, 3, account, value, prepare),
        Kind.PREPARE: s.m.Vote(1, 2, 3, word),
        Kind.LOCK: s.m.Vote(1, 2, 3, word),
        Kind.COMMIT: s.m.Commit(1, 2, word, 3, word, word, amount, word),
        Kind.TIMEOUT: s.m.Timeout(1, 2, 3, account, 3, word, prepare),
        Kind.STATUS: s.m.Status(1, 2, 3, account, True, prepare, lock),
        Kind.ACCEPT: s.m.Accept(word, 1, account, word),
        Kind.RESULT: s.m.SegmentResult(word, 1, account, (word, word), b"\x09" * 256),
        Kind.UNAVAILABLE: s.m.Unavailable(word, 1, account, 2),
        Kind.CANCEL: s.m.Cancel(word),
        Kind.CERTIFICATE: commit,
        Kind.FETCH: s.m.Fetch((word,)),
        Kind.BODIES: s.m.Bodies((b"\x01\x02",)),
        Kind.FETCH_BATCHES: s.m.FetchBatches(9),
        Kind.BATCHES: s.m.Batches((s.m.DecidedRound(value, commit, (b"\x01",), (shares,)),)),
        Kind.RECALL: s.m.Recall(bytes(16)),
        Kind.RECALLED: s.m.Recalled(bytes(16), 2, (b"\x01\x02",)),
    }
    return [
        encode(Envelope(int(kind), account, body, bytes(SIGNATURE_SIZES[kind])))
        for kind, body in bodies.items()
    ]


@given(st.binary(max_size=400))
def test_garbage_behind_a_good_header(garbage):
    for kind in Kind:
        assert reason_of(b"\x95\x01" + bytes([kind]) + garbage) is not None


def test_deep_nesting_is_refused():
    assert reason_of(b"\x95\x01\x16" + b"\x91" * 100_000) is RejectionReason.MALFORMED


@pytest.mark.parametrize(
    "change",
    [
        {"sender": bytes(19)},
        {"signature": bytes(65)},
        {"body": Vote(-1, 2, 3, bytes(32))},
        {"body": Cancel(bytes(32))},
        {"kind": 99},
    ],
)
def test_what_breaks_a_bound_is_not_sent(change):
    with pytest.raises(LocalProtocolError):
        encode(msgspec.structs.replace(VOTE, **change))


def test_sets_must_ascend():
    low, high = b"\x01" * 32, b"\x02" * 32
    for bids in ((high, low), (low, low)):
        body = s.m.BidList(1, 2, bytes(20), bids, ())
        with pytest.raises(LocalProtocolError):
            encode(Envelope(Kind.BID_LIST, bytes(20), body, bytes(65)))


def test_amounts_fit_96_bits():
    for amount, fits in ((2**96 - 1, True), (2**96, False)):
        word, reserve = bytes(32), amount.to_bytes(32, "big")
        body = s.m.ProofRequest(word, bytes(20), (word,), 1, reserve, 5, 6, (), word)
        envelope = Envelope(Kind.REQUEST, bytes(20), body, bytes(65))
        if fits:
            assert decode(encode(envelope)) == envelope
        else:
            with pytest.raises(LocalProtocolError):
                encode(envelope)


def test_journal_inputs():
    table = TableOpened(
        1, bytes(32), (Operator(bytes(20), bytes(20), bytes(48), bytes(32), "peer", ("/ip4",), 7),)
    )
    inputs = [Received(b"frame"), table, Proved(bytes(32), 1, (bytes(32),), b"proof"), Tick()]
    for value in inputs:
        assert decode_input(encode_input(value)) == value
    assert all(left != right for left, right in pairwise(map(encode_input, inputs)))
    with pytest.raises(LocalProtocolError):
        decode_input(b"\x81\xa4type\xa4Nope")


@given(s.decided_rounds())
def test_stored_rounds(record):
    assert decode_decided(encode_decided(record)) == record
    with pytest.raises(LocalProtocolError):
        decode_decided(encode_decided(record)[:-1])
