"""What a legal frame is, told a second time: from `messages.py`'s words, not from `bounds.py`.

A field that this table does not name yet is held to its type alone.
"""

from __future__ import annotations

import types
import typing
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import msgpack

from protocol.bounds import FRAME_LIMITS
from protocol.errors import RejectionReason
from protocol.messages import BODY_TYPES, Kind, Wire

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES: Final[dict[str, int]] = {
    **dict.fromkeys(["requester", "operator", "member", "gateway", "prover"], 20),
    **dict.fromkeys(["allowlist", "provers", "bidder", "accused", "reporter"], 20),
    **dict.fromkeys(
        ["program_id", "request_id", "class_id", "input_hash", "parent", "value", "digest"], 32
    ),
    **dict.fromkeys(["prepare_value", "salt", "reserve", "paid", "root", "debits_hash"], 32),
    **dict.fromkeys(["bid_id", "commitment", "ephemeral", "share_hashes", "shares"], 32),
    "ciphertext": 84,
    "boxes": 48,
    **dict.fromkeys(
        ["input_hashes", "bids", "outcomes", "lists", "evidence", "publics", "ids"], 32
    ),
    "signature": 96,
}
"""Bytes of a field, or of each item of a list."""
RANGES: Final[dict[str, tuple[int, int]]] = {
    "proof": (1, 65_536),
    "claim": (0, 1_024),
    "envelopes": (1, 262_144),
    "statements": (1, 262_144),
}
ZEROS: Final = {"reserve": 20, "paid": 16}
"""Leading zero bytes of amounts."""
COUNTS: Final[dict[str, tuple[int, int]]] = {
    "input_hashes": (1, 257),
    "allowlist": (0, 64),
    "lists": (0, 16),
    "bids": (0, 1_024),
    "outcomes": (0, 1_024),
    "evidence": (0, 1_024),
    "non_signers": (0, 1_024),
    "publics": (0, 1_024),
    "provers": (0, 257),
    "ids": (1, 1_024),
    "envelopes": (0, 4_096),
    "boxes": (1, 16),
    "share_hashes": (1, 16),
    "statements": (2, 17),
    "rounds": (0, 256),
}
ASCENDING: Final = frozenset({"lists", "bids", "outcomes", "evidence", "non_signers"})
BITS: Final[dict[str, int]] = {
    **dict.fromkeys(["epoch", "round", "view", "prepare_view", "issued_at", "deadline_view"], 64),
    **dict.fromkeys(["next_epoch", "from_round", "sequence"], 64),
    **dict.fromkeys(["copies", "slots", "segment", "attempt"], 32),
    "non_signers": 16,
    "kind": 8,
    "fault": 8,
    "reason": 8,
}
SIGNATURES: Final = {Kind.PREPARE: 96, Kind.LOCK: 96, Kind.COMMIT: 96}
UNSIGNED_FROM: Final = 20


def reason_due(frame: bytes) -> RejectionReason:
    """Why a frame is refused if it is: told by its first three bytes and its length."""
    if len(frame) > max(FRAME_LIMITS.values()):
        return RejectionReason.FRAME_TOO_LARGE
    if len(frame) < 3 or frame[0] != 0x95:
        return RejectionReason.MALFORMED
    if frame[1] != 1 or frame[2] not in set(Kind):
        return RejectionReason.UNKNOWN_KIND
    if len(frame) > FRAME_LIMITS[Kind(frame[2])]:
        return RejectionReason.FRAME_TOO_LARGE
    return RejectionReason.MALFORMED


def legal(frame: bytes) -> bool:
    """Tell whether this is the one encoding of a message that keeps the rules."""
    parts = msgpack.unpackb(frame, strict_map_key=False)
    if msgpack.packb(parts, use_bin_type=True) != frame:
        return False
    version, number, sender, body, signature = parts
    kind = Kind(number)
    size = SIGNATURES.get(kind, 65 if number < UNSIGNED_FROM else 0)
    return (
        version == 1
        and type(sender) is bytes
        and len(sender) == 20
        and type(signature) is bytes
        and len(signature) == size
        and JUDGES[BODY_TYPES[kind]](body)
    )


def judge_of(struct: type[Wire]) -> Callable[[Any], bool]:
    """A function that tells whether an unpacked struct is legal."""
    hints = typing.get_type_hints(struct)
    names = struct.__struct_fields__
    judges = [field_judge(name, hints[name]) for name in names]

    def judge(raw: Any) -> bool:
        if type(raw) is not list or len(raw) != len(judges):
            return False
        for check, value in zip(judges, raw, strict=True):
            if not check(value):
                return False
        return agrees(struct.__name__, dict(zip(names, raw, strict=True)))

    return judge


def field_judge(name: str, hint: Any) -> Callable[[Any], bool]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        item, (least, most) = field_judge(name, arguments[0]), COUNTS.get(name, (0, 4_096))
        if name == "shares":
            # Of each bid of a Value, or of each member of a committee.
            least, most = (1, 1_024) if arguments[0] is bytes else (0, 16)
        ordered = name in ASCENDING
        return lambda raw: (
            type(raw) is list
            and least <= len(raw) <= most
            and all(map(item, raw))
            and (not ordered or all(low < high for low, high in pairwise(raw)))
        )
    if origin in {types.UnionType, typing.Union}:
        (inner,) = (field_judge(name, a) for a in arguments if a is not type(None))
        kind = {"prepare": Kind.PREPARE, "lock": Kind.LOCK}.get(name)
        return lambda raw: raw is None or (inner(raw) and (kind is None or raw[0] == kind))
    if hint is bool:
        return lambda raw: type(raw) is bool
    if hint is int:
        end = 1 << BITS.get(name, 64)
        return lambda raw: type(raw) is int and 0 <= raw < end
    if hint is bytes:
        size = SIZES.get(name)
        low, high = RANGES.get(name, (0, 1 << 20)) if size is None else (size, size)
        zeros = ZEROS.get(name, 0)
        return lambda raw: (
            type(raw) is bytes and low <= len(raw) <= high and raw[:zeros] == bytes(zeros)
        )
    return judge_of(hint)


def agrees(name: str, fields: dict[str, Any]) -> bool:
    """What must hold between fields."""
    if name == "Certificate":
        return fields["kind"] in {5, 6, 7} and (fields["kind"] != 7 or fields["view"] == 0)
    if name == "Timeout":
        held = fields["prepare"]
        place = (0, bytes(32)) if held is None else (held[3], held[4])
        return place == (fields["prepare_view"], fields["prepare_value"])
    if name == "SealedBid":
        return len(fields["boxes"]) == len(fields["share_hashes"])
    if name == "DecidedRound":
        held, value = fields["certificate"], fields["value"]
        return held[0] == 7 and held[1:3] == value[:2]
    return True


JUDGES: Final = {struct: judge_of(struct) for struct in set(BODY_TYPES.values())}
