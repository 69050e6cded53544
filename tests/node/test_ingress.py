"""Every way in which a peer's frame can be wrong has its reason, and good ones come through."""

from __future__ import annotations

import random

import msgspec
import pytest
import trio

from node.ingress import BURST_TOKENS, REPLAY_MS, TOKENS_PER_SECOND, Ingress, Refused
from node.ingress_checks import MAX_AHEAD, MAX_BEHIND, Horizon
from protocol.bounds import MAX_FRAME
from protocol.codec import encode
from protocol.eip712 import value_digest
from protocol.errors import RejectionReason
from protocol.inputs import Received
from protocol.messages import (
    Accept,
    Batches,
    BidList,
    BidReceipt,
    BidShares,
    Bodies,
    Cancel,
    Commit,
    DecidedRound,
    Envelope,
    Fetch,
    FetchBatches,
    Kind,
    OutcomeBody,
    Proposal,
    Recall,
    Recalled,
    SegmentResult,
    Status,
    Timeout,
    Unavailable,
    Value,
    Vote,
)
from tests.node.operators import (
    CRYPTO,
    DOMAIN,
    EPOCH,
    OPERATORS,
    ROUND,
    SESSIONS,
    VIEW,
    WORD,
    buy_envelope,
    certificate,
    frame_of,
    request_envelope,
    sealed_bid,
    signed,
    table_of,
)

HORIZON = Horizon({EPOCH: table_of()}, ROUND)
VALUE = Value(EPOCH, ROUND, WORD, (WORD,), (WORD,), (), (), EPOCH)
ASK = sealed_bid(OPERATORS[1])
SHARES = BidShares(EPOCH, ROUND, OPERATORS[1], WORD, (WORD,))
COMMIT = Commit(EPOCH, ROUND, WORD, 0, bytes(32), WORD, bytes(32), bytes(32))
VOTE = Vote(EPOCH, ROUND, VIEW, WORD)
DECIDED_CERTIFICATE = certificate(Kind.COMMIT, value=value_digest(DOMAIN, VALUE))
DECIDED = DecidedRound(VALUE, DECIDED_CERTIFICATE, (frame_of(1, Kind.SEALED_BID, ASK),), (SHARES,))


@pytest.fixture
def faults():
    return []


@pytest.fixture
def ingress(faults):
    return Ingress(DOMAIN, CRYPTO, faults.append)


def unsigned(index, kind, body):
    return encode(Envelope(int(kind), OPERATORS[index], body, b""))


GOOD = {
    "request": encode(request_envelope()),
    "buy": encode(buy_envelope()),
    "buy of a round long ago": encode(buy_envelope(round=0)),
    "shares": frame_of(1, Kind.BID_SHARES, SHARES),
    "receipt": frame_of(1, Kind.BID_RECEIPT, BidReceipt(EPOCH, ROUND, OPERATORS[1], WORD)),
    "ask": frame_of(1, Kind.SEALED_BID, ASK),
    "list": frame_of(1, Kind.BID_LIST, BidList(EPOCH, ROUND, OPERATORS[1], (WORD,), ())),
    "proposal": frame_of(1, Kind.PROPOSAL, Proposal(EPOCH, ROUND, VIEW, OPERATORS[1], VALUE, None)),
    "re-proposal": frame_of(
        1,
        Kind.PROPOSAL,
        Proposal(EPOCH, ROUND, VIEW + 1, OPERATORS[1], VALUE, certificate(Kind.PREPARE)),
    ),
    "prepare": frame_of(1, Kind.PREPARE, VOTE),
    "lock": frame_of(1, Kind.LOCK, VOTE),
    "commit": frame_of(1, Kind.COMMIT, COMMIT),
    "timeout": frame_of(
        1,
        Kind.TIMEOUT,
        Timeout(EPOCH, ROUND, 9, OPERATORS[1], VIEW, WORD, certificate(Kind.PREPARE)),
    ),
    "status": frame_of(
        1,
        Kind.STATUS,
        Status(
            EPOCH,
            ROUND,
            9,
            OPERATORS[1],
            True,
            certificate(Kind.PREPARE),
            certificate(Kind.LOCK),
        ),
    ),
    "accept": frame_of(1, Kind.ACCEPT, Accept(WORD, 0, OPERATORS[1], WORD)),
    "result": frame_of(1, Kind.RESULT, SegmentResult(WORD, 0, OPERATORS[1], (WORD,), b"proof")),
    "unavailable": frame_of(1, Kind.UNAVAILABLE, Unavailable(WORD, 0, OPERATORS[1], 1)),
    "certificate": unsigned(1, Kind.CERTIFICATE, certificate(Kind.COMMIT)),
    "fetch": unsigned(1, Kind.FETCH, Fetch((WORD,))),
    "fetch batches": unsigned(1, Kind.FETCH_BATCHES, FetchBatches(3)),
    "batches": unsigned(1, Kind.BATCHES, Batches((DECIDED,))),
    "recall": unsigned(1, Kind.RECALL, Recall(bytes(16))),
    "recalled": unsigned(1, Kind.RECALLED, Recalled(bytes(16), ROUND, (b"checked later",))),
    "outcome": unsigned(1, Kind.OUTCOME, OutcomeBody(2, WORD, b"", (), 0, 0, 0)),
    "bodies": unsigned(
        1,
        Kind.BODIES,
        Bodies(
            (
                frame_of(2, Kind.SEALED_BID, sealed_bid(OPERATORS[2])),
                unsigned(3, Kind.OUTCOME, OutcomeBody(2, WORD, b"", (), 0, 0, 0)),
                encode(request_envelope()),
            )
        ),
    ),
}


@pytest.mark.parametrize("name", GOOD)
async def test_good_frames_come_through(ingress, faults, name):
    assert await ingress.admit(OPERATORS[1], GOOD[name], 0, HORIZON) == Received(GOOD[name])
    assert (ingress.admitted, faults) == (1, [])


def remade(envelope, **changes):
    return encode(msgspec.structs.replace(envelope, **changes))


def body_changed(envelope, **changes):
    return remade(envelope, body=msgspec.structs.replace(envelope.body, **changes))


def batches(**changes):
    return unsigned(1, Kind.BATCHES, Batches((msgspec.structs.replace(DECIDED, **changes),)))


PREPARE = certificate(Kind.PREPARE)
BAD = {
    "too large": (bytes(MAX_FRAME + 1), RejectionReason.FRAME_TOO_LARGE),
    "garbage": (b"\x00\xff" * 50, RejectionReason.MALFORMED),
    "unknown kind": (b"\x95\x01\x7f" + bytes(9), RejectionReason.UNKNOWN_KIND),
    "stale round": (
        frame_of(1, Kind.PREPARE, Vote(EPOCH, 0, VIEW, WORD)),
        RejectionReason.STALE,
    ),
    "early round": (
        frame_of(1, Kind.PREPARE, Vote(EPOCH, ROUND + MAX_AHEAD + 1, VIEW, WORD)),
        RejectionReason.TOO_EARLY,
    ),
    "early epoch": (
        frame_of(1, Kind.PREPARE, Vote(EPOCH + 1, ROUND, VIEW, WORD)),
        RejectionReason.TOO_EARLY,
    ),
    "stale epoch": (
        frame_of(1, Kind.PREPARE, Vote(EPOCH - 1, ROUND, VIEW, WORD)),
        RejectionReason.STALE,
    ),
    "stranger inside": (
        frame_of(4, Kind.PREPARE, VOTE),
        RejectionReason.NOT_A_MEMBER,
    ),
    "stranger's accept": (
        frame_of(4, Kind.ACCEPT, Accept(WORD, 0, OPERATORS[4], WORD)),
        RejectionReason.NOT_A_MEMBER,
    ),
    "another named": (
        frame_of(2, Kind.SEALED_BID, ASK),
        RejectionReason.WRONG_SENDER,
    ),
    "unsigned of another": (
        unsigned(2, Kind.FETCH, Fetch((WORD,))),
        RejectionReason.WRONG_SENDER,
    ),
    "vote of another's key": (
        frame_of(1, Kind.PREPARE, VOTE, signer=2),
        RejectionReason.BAD_SIGNATURE,
    ),
    "prepare as lock": (
        remade(signed(1, Kind.PREPARE, VOTE), kind=int(Kind.LOCK)),
        RejectionReason.BAD_SIGNATURE,
    ),
    "commit over another batch": (
        body_changed(signed(1, Kind.COMMIT, COMMIT), root=bytes(32)),
        RejectionReason.BAD_SIGNATURE,
    ),
    "ask with another ciphertext": (
        body_changed(signed(1, Kind.SEALED_BID, ASK), ciphertext=b"\x01" * 84),
        RejectionReason.BAD_SIGNATURE,
    ),
    "status with another flag": (
        body_changed(
            signed(1, Kind.STATUS, Status(EPOCH, ROUND, 9, OPERATORS[1], True, None, None)),
            pending=False,
        ),
        RejectionReason.BAD_SIGNATURE,
    ),
    "request of another key": (
        encode(request_envelope(signer=SESSIONS[0])),
        RejectionReason.BAD_SIGNATURE,
    ),
    "bid of another key": (
        encode(buy_envelope(signer=SESSIONS[0])),
        RejectionReason.BAD_SIGNATURE,
    ),
    "bid for another request": (
        body_changed(buy_envelope(), request_id=b"\x0b" * 32),
        RejectionReason.BAD_SIGNATURE,
    ),
    "bid of another bidder": (
        remade(buy_envelope(), sender=OPERATORS[1]),
        RejectionReason.WRONG_SENDER,
    ),
    "buyer's bid passed off as an ask": (
        body_changed(buy_envelope(), request_id=bytes(32)),
        RejectionReason.NOT_A_MEMBER,
    ),
    "shares of another member": (
        frame_of(2, Kind.BID_SHARES, SHARES),
        RejectionReason.WRONG_SENDER,
    ),
    "shares that another key signed": (
        frame_of(1, Kind.BID_SHARES, SHARES, signer=2),
        RejectionReason.BAD_SIGNATURE,
    ),
    "requester named otherwise": (
        remade(request_envelope(), sender=OPERATORS[1]),
        RejectionReason.WRONG_SENDER,
    ),
    "certificate below quorum": (
        unsigned(1, Kind.CERTIFICATE, certificate(Kind.PREPARE, signers=(0, 1))),
        RejectionReason.BAD_SIGNATURE,
    ),
    "certificate that claims more signers": (
        unsigned(1, Kind.CERTIFICATE, msgspec.structs.replace(PREPARE, non_signers=())),
        RejectionReason.BAD_SIGNATURE,
    ),
    "certificate with a far position": (
        unsigned(1, Kind.CERTIFICATE, msgspec.structs.replace(PREPARE, non_signers=(4,))),
        RejectionReason.BAD_SIGNATURE,
    ),
    "certificate for another value": (
        unsigned(1, Kind.CERTIFICATE, msgspec.structs.replace(PREPARE, value=bytes(32))),
        RejectionReason.BAD_SIGNATURE,
    ),
    "certificate for another view": (
        unsigned(1, Kind.CERTIFICATE, msgspec.structs.replace(PREPARE, view=VIEW + 1)),
        RejectionReason.BAD_SIGNATURE,
    ),
    "prepare certificate as lock": (
        unsigned(1, Kind.CERTIFICATE, msgspec.structs.replace(PREPARE, kind=int(Kind.LOCK))),
        RejectionReason.BAD_SIGNATURE,
    ),
    "proposal with a bad certificate": (
        body_changed(
            signed(1, Kind.PROPOSAL, Proposal(EPOCH, ROUND, VIEW, OPERATORS[1], VALUE, PREPARE)),
            prepare=msgspec.structs.replace(PREPARE, view=VIEW + 1),
        ),
        RejectionReason.BAD_SIGNATURE,
    ),
    "status with a bad lock": (
        frame_of(
            1,
            Kind.STATUS,
            Status(
                EPOCH,
                ROUND,
                9,
                OPERATORS[1],
                True,
                None,
                certificate(Kind.LOCK, signers=(0, 1)),
            ),
        ),
        RejectionReason.BAD_SIGNATURE,
    ),
    "bodies with a bad one": (
        unsigned(1, Kind.BODIES, Bodies((frame_of(1, Kind.SEALED_BID, ASK, signer=2),))),
        RejectionReason.BAD_SIGNATURE,
    ),
    "bodies with garbage": (
        unsigned(1, Kind.BODIES, Bodies((b"garbage",))),
        RejectionReason.MALFORMED,
    ),
    "bodies in bodies": (
        unsigned(1, Kind.BODIES, Bodies((unsigned(1, Kind.BODIES, Bodies(())),))),
        RejectionReason.MALFORMED,
    ),
    "votes in bodies": (
        unsigned(1, Kind.BODIES, Bodies((frame_of(1, Kind.PREPARE, VOTE),))),
        RejectionReason.MALFORMED,
    ),
    "batches with a bad certificate": (
        batches(
            certificate=certificate(Kind.COMMIT, signers=(0, 1), value=DECIDED_CERTIFICATE.value)
        ),
        RejectionReason.BAD_SIGNATURE,
    ),
    "batches with another Value": (
        batches(value=msgspec.structs.replace(VALUE, bids=())),
        RejectionReason.BAD_SIGNATURE,
    ),
    "batches with a bad bid": (
        batches(envelopes=(frame_of(1, Kind.SEALED_BID, ASK, signer=3),)),
        RejectionReason.BAD_SIGNATURE,
    ),
}


@pytest.mark.parametrize("name", BAD)
async def test_bad_frames_have_their_reason(ingress, faults, name):
    frame, reason = BAD[name]
    horizon = Horizon(HORIZON.tables, ROUND + MAX_BEHIND if name == "stale round" else ROUND)
    refused = await ingress.admit(OPERATORS[1], frame, 0, horizon)
    assert isinstance(refused, Refused)
    assert (refused.reason, refused.penalty) == (reason, reason.value.penalty)
    assert ingress.refusals == {reason.code: 1}
    assert faults == []


async def test_only_operators_are_peers(ingress):
    refused = await ingress.admit(OPERATORS[4], GOOD["ask"], 0, HORIZON)
    assert refused.reason is RejectionReason.NOT_A_MEMBER


async def test_the_api_hands_in_requests_and_their_bids_alone(ingress):
    theirs = {"request", "buy", "buy of a round long ago"}
    for name in theirs:
        assert await ingress.admit(None, GOOD[name], 0, HORIZON) == Received(GOOD[name])
    cancel = Cancel(WORD)
    for name in GOOD.keys() - theirs:
        refused = await ingress.admit(None, GOOD[name], 0, HORIZON)
        assert refused.reason is RejectionReason.NOT_A_MEMBER
    frame = frame_of(1, Kind.CANCEL, cancel)
    refused = await ingress.admit(None, frame, 0, HORIZON)
    assert refused.reason is RejectionReason.BAD_SIGNATURE
    envelope = msgspec.structs.replace(signed(1, Kind.CANCEL, cancel), sender=SESSIONS[1].address)
    assert await ingress.admit(None, encode(envelope), 0, HORIZON) == Received(encode(envelope))


@pytest.mark.parametrize(
    ("name", "horizon", "needed"),
    [
        ("prepare", {"prepared_view": VIEW}, False),
        ("prepare", {"prepared_view": VIEW - 1}, True),
        ("prepare", {"locked": True}, False),
        ("lock", {"prepared_view": VIEW}, True),
        ("lock", {"locked": True}, False),
        ("commit", {"locked": True}, True),
        ("commit", {"round": ROUND + 1}, False),
    ],
)
async def test_a_vote_whose_certificate_is_held_costs_no_pairing(ingress, name, horizon, needed):
    held = Horizon(**{"tables": HORIZON.tables, "round": ROUND, **horizon})
    verdict = await ingress.admit(OPERATORS[1], GOOD[name], 0, held)
    assert isinstance(verdict, Received) is needed
    assert needed or verdict.reason is RejectionReason.STALE


async def test_a_late_nodes_status_is_heard_however_old(ingress):
    body = Status(EPOCH, 1, 9, OPERATORS[1], True, None, None)
    frame = frame_of(1, Kind.STATUS, body)
    assert isinstance(
        await ingress.admit(OPERATORS[1], frame, 0, Horizon(HORIZON.tables, 1_000)), Received
    )


async def test_accept_under_an_older_key(ingress):
    """Statements that name no epoch may be signed by the key of any table still held."""
    frame = frame_of(1, Kind.ACCEPT, Accept(WORD, 0, OPERATORS[1], WORD))
    rows = list(table_of(2).operators)
    rows[1] = msgspec.structs.replace(rows[1], session=SESSIONS[4].address)
    newer = type(table_of())(2, WORD, tuple(rows))
    both = Horizon({1: table_of(), 2: newer}, ROUND)
    assert isinstance(await ingress.admit(OPERATORS[1], frame, 0, both), Received)
    refused = await ingress.admit(OPERATORS[1], frame, 999, Horizon({2: newer}, ROUND))
    assert refused.reason is RejectionReason.BAD_SIGNATURE


async def test_replays(ingress):
    frame = GOOD["prepare"]
    assert isinstance(await ingress.admit(OPERATORS[1], frame, 1_000, HORIZON), Received)
    refused = await ingress.admit(OPERATORS[2], frame, 1_000 + REPLAY_MS - 1, HORIZON)
    assert refused.reason is RejectionReason.REPLAYED
    again = await ingress.admit(OPERATORS[2], frame, 1_000 + REPLAY_MS, HORIZON)
    assert isinstance(again, Received)
    # A clock that was set back does not shut anybody out.
    assert isinstance(await ingress.admit(OPERATORS[1], frame, 0, HORIZON), Received)


async def test_one_loud_peer_is_slowed_and_nobody_else(ingress):
    noise = b"\x95\x01\x7f" + bytes(1_024 * 15)
    reasons = [
        (await ingress.admit(OPERATORS[1], noise, 0, HORIZON)).reason
        for _ in range(BURST_TOKENS // 16 + 5)
    ]
    assert reasons.count(RejectionReason.RATE_LIMITED) == 5
    assert isinstance(await ingress.admit(OPERATORS[2], GOOD["ask"], 0, HORIZON), Received)
    refused = await ingress.admit(OPERATORS[1], GOOD["ask"], 0, HORIZON)
    assert refused.reason is RejectionReason.RATE_LIMITED
    later = 100 * 1_000 // TOKENS_PER_SECOND
    assert isinstance(await ingress.admit(OPERATORS[1], GOOD["fetch"], later, HORIZON), Received)


async def test_who_asks_for_much_is_slowed_sooner(ingress):
    reasons = []
    for number in range(BURST_TOKENS // 100):
        frame = unsigned(1, Kind.FETCH_BATCHES, FetchBatches(number))
        reasons.append(await ingress.admit(OPERATORS[1], frame, 0, HORIZON))
    assert [type(reason) for reason in reasons[:50]] == [Received] * 50
    assert reasons[-1].reason is RejectionReason.RATE_LIMITED


async def test_a_fault_of_our_own_stops_nothing(faults):
    class Broken:
        def recover(self, digest, signature):
            raise RuntimeError("bug")

    ingress = Ingress(DOMAIN, Broken(), faults.append)
    refused = await ingress.admit(OPERATORS[1], GOOD["ask"], 0, HORIZON)
    assert refused.penalty == 0
    assert [str(fault) for fault in faults] == ["bug"]


async def test_mutants_are_refused_with_a_reason(ingress, faults):
    source = random.Random(4)
    frames = list(GOOD.values())
    for number in range(4_000):
        frame = bytearray(frames[number % len(frames)])
        frame[source.randrange(len(frame))] ^= 1 << source.randrange(8)
        taken = await ingress.admit(OPERATORS[1], bytes(frame), number * 1_000, HORIZON)
        if isinstance(taken, Received):
            # Only what no signature covers can have changed: shares have their hashes, and whether
            # a COMMIT's certificate belongs to its round is judged by execution.
            assert frame[2] in {
                Kind.BATCHES,
                Kind.FETCH,
                Kind.FETCH_BATCHES,
                Kind.OUTCOME,
                Kind.BODIES,
                Kind.CERTIFICATE,
                Kind.RECALL,
                Kind.RECALLED,
            }
    assert faults == []


async def test_the_loop_breathes_while_a_long_reply_is_checked(ingress):
    """100 certificates take a fifth of a second; the loop turns meanwhile."""
    rounds = []
    for number in range(1, 101):
        value = msgspec.structs.replace(VALUE, round=number)
        held = certificate(Kind.COMMIT, value=value_digest(DOMAIN, value), round_number=number)
        rounds.append(DecidedRound(value, held, (), ()))
    frame = unsigned(1, Kind.BATCHES, Batches(tuple(rounds)))
    ticks = 0
    done = trio.Event()

    async def timer():
        nonlocal ticks
        while not done.is_set():
            await trio.sleep(0.001)
            ticks += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(timer)
        assert isinstance(await ingress.admit(OPERATORS[1], frame, 0, HORIZON), Received)
        done.set()
    assert ticks > 10
