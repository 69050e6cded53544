"""What each field of each wire struct may hold, and how large a frame of each kind may be.

One table, so that a field without a rule can not exist (a test counts them).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final

from protocol.messages import (
    Accept,
    Batches,
    BidList,
    BidReceipt,
    BidShares,
    Bodies,
    Cancel,
    Certificate,
    Commit,
    DecidedRound,
    Evidence,
    Fetch,
    FetchBatches,
    Kind,
    OutcomeBody,
    ProofRequest,
    Proposal,
    Recall,
    Recalled,
    SealedBid,
    SegmentResult,
    Status,
    Timeout,
    Unavailable,
    Value,
    Vote,
    Wire,
)
from protocol.types import ZERO_HASH

Check = Callable[[Any], bool]

KIB: Final = 1_024

FRAME_LIMITS: Final[dict[Kind, int]] = {
    Kind.REQUEST: 16 * KIB,
    Kind.SEALED_BID: 4 * KIB,
    Kind.BID_LIST: 128 * KIB,
    Kind.PROPOSAL: 256 * KIB,
    Kind.PREPARE: KIB,
    Kind.LOCK: KIB,
    Kind.COMMIT: KIB,
    Kind.TIMEOUT: 16 * KIB,
    Kind.STATUS: 16 * KIB,
    Kind.ACCEPT: KIB,
    Kind.RESULT: 128 * KIB,
    Kind.UNAVAILABLE: KIB,
    Kind.CANCEL: KIB,
    Kind.BID_SHARES: 64 * KIB,
    Kind.BID_RECEIPT: KIB,
    Kind.EVIDENCE: 960 * KIB,
    Kind.CERTIFICATE: 16 * KIB,
    Kind.FETCH: 64 * KIB,
    Kind.BODIES: 960 * KIB,
    Kind.FETCH_BATCHES: KIB,
    Kind.BATCHES: 960 * KIB,
    Kind.OUTCOME: 16 * KIB,
    Kind.RECALL: KIB,
    Kind.RECALLED: 960 * KIB,
}
"""Largest frame of each kind in bytes; all that is gossiped stays far below gossipsub's 1 MiB."""

MAX_FRAME: Final = max(FRAME_LIMITS.values())
MAX_INNER_FRAME: Final = 256 * KIB
"""Largest envelope inside another: never one that holds envelopes itself."""
MAX_ARRAY: Final = 4_096
MAX_SET: Final = 1_024
MAX_OPERATORS: Final = 1_024
MAX_COMMITTEE: Final = 16
MAX_SEGMENTS: Final = 257
"""Segments of one request, with the combining one."""
MAX_ALLOWLIST: Final = 64
MAX_PUBLICS: Final = 1_024
MAX_PROOF: Final = 64 * KIB
MAX_CLAIM: Final = 1_024
CIPHERTEXT: Final = 32 + 32 + 4 + 16
"""Bytes of a sealed bid's salt, amount and slots with the cipher's tag."""
BOX: Final = 32 + 16
"""Bytes of a sealed share with the cipher's tag."""
MAX_ROUNDS: Final = 256

SIGNATURE_SIZES: Final[dict[Kind, int]] = {
    kind: 96
    if kind in {Kind.PREPARE, Kind.LOCK, Kind.COMMIT}
    else 65
    if kind < Kind.CERTIFICATE
    else 0
    for kind in Kind
}
"""Length of an envelope's signature: BLS for votes, session key else, none for unsigned kinds."""


def size(length: int) -> Check:
    """Exactly so many bytes."""
    return lambda value: len(value) == length


def uint(bits: int) -> Check:
    """An unsigned integer of so many bits."""
    return lambda value: 0 <= value < 1 << bits


def items(check: Check, most: int, least: int = 0) -> Check:
    """A bounded tuple whose items all pass."""
    return lambda value: least <= len(value) <= most and all(map(check, value))


def ascending(check: Check, most: int) -> Check:
    """A bounded tuple, strictly ascending."""
    bounded = items(check, most)
    return lambda value: bounded(value) and all(low < high for low, high in pairwise(value))


def optional(kind: Kind) -> Check:
    """No certificate, or one of this kind."""
    return lambda value: value is None or (value.kind == kind and fits(value))


def fits(value: Wire) -> bool:
    """Tell whether every field of a struct, and of the structs in it, keeps its rule."""
    rules = FIELD_RULES[type(value)]
    return all(check(getattr(value, name)) for name, check in rules.items()) and _agrees(value)


def _agrees(value: Wire) -> bool:
    """What must hold between the fields of one struct."""
    match value:
        case Certificate():
            return value.kind != Kind.COMMIT or value.view == 0
        case Timeout(prepare=None):
            return value.prepare_view == 0 and value.prepare_value == ZERO_HASH
        case Timeout(prepare=Certificate() as held):
            return (held.view, held.value) == (value.prepare_view, value.prepare_value)
        case SealedBid():
            return len(value.boxes) == len(value.share_hashes)
        case DecidedRound(value=decided, certificate=held):
            return held.kind == Kind.COMMIT and (held.epoch, held.round) == (
                decided.epoch,
                decided.round,
            )
        case _:
            return True


def _amount(value: bytes) -> bool:
    return len(value) == 32 and not any(value[:20])


def _any_bool(value: bool) -> bool:
    return isinstance(value, bool)


_hash = size(32)
_address = size(20)
_session = size(65)
_bls = size(96)
_u8, _u16, _u32, _u64 = uint(8), uint(16), uint(32), uint(64)
_id_set = ascending(_hash, MAX_SET)


def _inner_frame(value: bytes) -> bool:
    return 0 < len(value) <= MAX_INNER_FRAME


FIELD_RULES: Final[dict[type[Wire], dict[str, Check]]] = {
    ProofRequest: {
        "program_id": _hash,
        "requester": _address,
        "input_hashes": items(_hash, MAX_SEGMENTS, 1),
        "copies": _u32,
        "reserve": _amount,
        "issued_at": _u64,
        "deadline_view": _u64,
        "allowlist": items(_address, MAX_ALLOWLIST),
        "salt": _hash,
    },
    SealedBid: {
        "epoch": _u64,
        "round": _u64,
        "class_id": _hash,
        "bidder": _address,
        "request_id": _hash,
        "commitment": _hash,
        "ephemeral": _hash,
        "ciphertext": size(CIPHERTEXT),
        "boxes": items(size(BOX), MAX_COMMITTEE, 1),
        "share_hashes": items(_hash, MAX_COMMITTEE, 1),
    },
    BidReceipt: {"epoch": _u64, "round": _u64, "member": _address, "bid_id": _hash},
    BidList: {
        "epoch": _u64,
        "round": _u64,
        "member": _address,
        "bids": _id_set,
        "outcomes": _id_set,
    },
    Value: {
        "epoch": _u64,
        "round": _u64,
        "parent": _hash,
        "lists": ascending(_hash, MAX_COMMITTEE),
        "bids": _id_set,
        "outcomes": _id_set,
        "evidence": _id_set,
        "next_epoch": _u64,
    },
    Certificate: {
        "kind": {Kind.PREPARE, Kind.LOCK, Kind.COMMIT}.__contains__,
        "epoch": _u64,
        "round": _u64,
        "view": _u64,
        "value": _hash,
        "digest": _hash,
        "non_signers": ascending(_u16, MAX_OPERATORS),
        "signature": _bls,
    },
    Proposal: {
        "epoch": _u64,
        "round": _u64,
        "view": _u64,
        "gateway": _address,
        "value": fits,
        "prepare": optional(Kind.PREPARE),
    },
    Vote: {"epoch": _u64, "round": _u64, "view": _u64, "value": _hash},
    BidShares: {
        "epoch": _u64,
        "round": _u64,
        "member": _address,
        "value": _hash,
        "shares": items(_hash, MAX_SET, 1),
    },
    Commit: {
        "epoch": _u64,
        "round": _u64,
        "value": _hash,
        "sequence": _u64,
        "parent": _hash,
        "root": _hash,
        "paid": lambda value: len(value) == 32 and not any(value[:16]),
        "debits_hash": _hash,
    },
    Timeout: {
        "epoch": _u64,
        "round": _u64,
        "view": _u64,
        "operator": _address,
        "prepare_view": _u64,
        "prepare_value": _hash,
        "prepare": optional(Kind.PREPARE),
    },
    Status: {
        "epoch": _u64,
        "round": _u64,
        "view": _u64,
        "operator": _address,
        "pending": _any_bool,
        "prepare": optional(Kind.PREPARE),
        "lock": optional(Kind.LOCK),
    },
    Accept: {"request_id": _hash, "segment": _u32, "operator": _address, "input_hash": _hash},
    SegmentResult: {
        "request_id": _hash,
        "segment": _u32,
        "prover": _address,
        "publics": items(_hash, MAX_PUBLICS),
        "proof": lambda value: 0 < len(value) <= MAX_PROOF,
    },
    Unavailable: {"request_id": _hash, "segment": _u32, "operator": _address, "reason": _u8},
    Cancel: {"request_id": _hash},
    Evidence: {
        "fault": _u8,
        "accused": _address,
        "epoch": _u64,
        "round": _u64,
        "view": _u64,
        "statements": items(_inner_frame, MAX_COMMITTEE + 1, 2),
        "reporter": _address,
    },
    OutcomeBody: {
        "kind": _u8,
        "request_id": _hash,
        "claim": lambda value: len(value) <= MAX_CLAIM,
        "provers": items(_address, MAX_SEGMENTS),
        "segment": _u32,
        "attempt": _u32,
        "reason": _u8,
    },
    Fetch: {"ids": items(_hash, MAX_SET, 1)},
    Bodies: {"envelopes": items(_inner_frame, MAX_ARRAY)},
    FetchBatches: {"from_round": _u64},
    DecidedRound: {
        "value": fits,
        "certificate": fits,
        "envelopes": items(_inner_frame, MAX_ARRAY),
        "shares": items(fits, MAX_COMMITTEE),
    },
    Batches: {"rounds": items(fits, MAX_ROUNDS)},
    Recall: {"nonce": size(16)},
    Recalled: {
        "nonce": size(16),
        "round": _u64,
        "envelopes": items(_inner_frame, MAX_ARRAY),
    },
}
