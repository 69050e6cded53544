"""Hypothesis strategies of every wire body and envelope."""

from __future__ import annotations

from hypothesis import strategies as st

from protocol import messages as m
from protocol.bounds import SIGNATURE_SIZES
from protocol.codec import encode
from protocol.messages import Kind
from protocol.types import ZERO_HASH

hashes = st.binary(min_size=32, max_size=32)
addresses = st.binary(min_size=20, max_size=20)
u8, u32, u64 = (st.integers(0, 2**bits - 1) for bits in (8, 32, 64))
amounts = st.integers(0, 2**96 - 1).map(lambda value: value.to_bytes(32, "big"))
bls_signatures = st.binary(min_size=96, max_size=96)
session_signatures = st.binary(min_size=65, max_size=65)


def ordered(items, most=4):
    return st.lists(items, max_size=most, unique=True).map(lambda found: tuple(sorted(found)))


def listed(items, least=0, most=4):
    return st.lists(items, min_size=least, max_size=most).map(tuple)


requests = st.builds(
    m.ProofRequest,
    hashes,
    addresses,
    listed(hashes, 1),
    u32,
    amounts,
    u64,
    u64,
    listed(addresses),
    hashes,
)
buy_bids = st.builds(m.BuyBid, hashes, amounts, hashes)
ask_bids = st.builds(m.AskBid, u64, u64, hashes, addresses, u32, amounts, hashes)
bid_shares = st.builds(m.BidShares, u64, u64, addresses, hashes, listed(hashes, 1))


@st.composite
def sealed_bids(draw):
    members = draw(st.integers(1, 16))
    boxes, sizes = st.binary(min_size=48, max_size=48), {"min_size": members, "max_size": members}
    return m.SealedBid(
        draw(u64),
        draw(u64),
        draw(hashes),
        draw(addresses),
        draw(hashes),
        draw(hashes),
        draw(hashes),
        draw(st.binary(min_size=84, max_size=84)),
        tuple(draw(st.lists(boxes, **sizes))),
        tuple(draw(st.lists(hashes, **sizes))),
    )


values = st.builds(
    m.Value,
    u64,
    u64,
    hashes,
    ordered(hashes),
    ordered(hashes),
    ordered(hashes),
    ordered(hashes),
    u64,
)


def certificates(kind):
    view = st.just(0) if kind == Kind.COMMIT else u64
    return st.builds(
        m.Certificate,
        st.just(int(kind)),
        u64,
        u64,
        view,
        hashes,
        hashes,
        ordered(st.integers(0, 65_535)),
        bls_signatures,
    )


@st.composite
def timeouts(draw):
    held = draw(st.none() | certificates(Kind.PREPARE))
    view, value = (0, ZERO_HASH) if held is None else (held.view, held.value)
    return m.Timeout(draw(u64), draw(u64), draw(u64), draw(addresses), view, value, held)


@st.composite
def decided_rounds(draw):
    value = draw(values)
    held = draw(certificates(Kind.COMMIT))
    held = m.Certificate(
        held.kind,
        value.epoch,
        value.round,
        0,
        held.value,
        held.digest,
        held.non_signers,
        held.signature,
    )
    frames = draw(listed(st.binary(min_size=1, max_size=40), most=3))
    return m.DecidedRound(value, held, frames, draw(listed(bid_shares, most=2)))


VOTE = encode(m.Envelope(int(Kind.LOCK), bytes(20), m.Vote(1, 2, 3, bytes(32)), bytes(96)))
"""A statement inside evidence."""

BODIES = {
    Kind.REQUEST: requests,
    Kind.SEALED_BID: sealed_bids(),
    Kind.BID_SHARES: bid_shares,
    Kind.BID_RECEIPT: st.builds(m.BidReceipt, u64, u64, addresses, hashes),
    Kind.EVIDENCE: st.builds(
        m.Evidence,
        u8,
        addresses,
        u64,
        u64,
        u64,
        st.just((VOTE, VOTE)),
        addresses,
    ),
    Kind.BID_LIST: st.builds(m.BidList, u64, u64, addresses, ordered(hashes), ordered(hashes)),
    Kind.PROPOSAL: st.builds(
        m.Proposal, u64, u64, u64, addresses, values, st.none() | certificates(Kind.PREPARE)
    ),
    Kind.PREPARE: st.builds(m.Vote, u64, u64, u64, hashes),
    Kind.LOCK: st.builds(m.Vote, u64, u64, u64, hashes),
    Kind.COMMIT: st.builds(
        m.Commit,
        u64,
        u64,
        hashes,
        u64,
        hashes,
        hashes,
        st.integers(0, 2**128 - 1).map(lambda value: value.to_bytes(32, "big")),
        hashes,
    ),
    Kind.TIMEOUT: timeouts(),
    Kind.STATUS: st.builds(
        m.Status,
        u64,
        u64,
        u64,
        addresses,
        st.booleans(),
        st.none() | certificates(Kind.PREPARE),
        st.none() | certificates(Kind.LOCK),
    ),
    Kind.ACCEPT: st.builds(m.Accept, hashes, u32, addresses, hashes),
    Kind.RESULT: st.builds(
        m.SegmentResult, hashes, u32, addresses, listed(hashes), st.binary(min_size=1, max_size=300)
    ),
    Kind.UNAVAILABLE: st.builds(m.Unavailable, hashes, u32, addresses, u8),
    Kind.CANCEL: st.builds(m.Cancel, hashes),
    Kind.CERTIFICATE: st.sampled_from([Kind.PREPARE, Kind.LOCK, Kind.COMMIT]).flatmap(certificates),
    Kind.FETCH: st.builds(m.Fetch, listed(hashes, 1)),
    Kind.BODIES: st.builds(m.Bodies, listed(st.binary(min_size=1, max_size=200))),
    Kind.FETCH_BATCHES: st.builds(m.FetchBatches, u64),
    Kind.BATCHES: st.builds(m.Batches, listed(decided_rounds(), most=2)),
    Kind.OUTCOME: st.builds(
        m.OutcomeBody, u8, hashes, st.binary(max_size=200), listed(addresses), u32, u32, u8
    ),
    Kind.RECALL: st.builds(m.Recall, st.binary(min_size=16, max_size=16)),
    Kind.RECALLED: st.builds(
        m.Recalled,
        st.binary(min_size=16, max_size=16),
        u64,
        listed(st.binary(min_size=1, max_size=200)),
    ),
}


def envelopes(kind):
    size = SIGNATURE_SIZES[kind]
    return st.builds(
        m.Envelope,
        st.just(int(kind)),
        addresses,
        BODIES[kind],
        st.binary(min_size=size, max_size=size),
    )


any_envelope = st.sampled_from(list(Kind)).flatmap(envelopes)
