"""Bytes to envelopes and back: nothing else encodes or decodes the wire and the journal.

A frame is the msgpack array [WIRE_VERSION, kind, sender, body, signature], in its one minimal form.
"""

from __future__ import annotations

from typing import Any, Final

import msgpack
import msgspec

from protocol.bounds import FRAME_LIMITS, MAX_ARRAY, MAX_FRAME, SIGNATURE_SIZES, fits
from protocol.errors import LocalProtocolError, Rejection, RejectionReason
from protocol.inputs import AnyInput, Input
from protocol.messages import BODY_TYPES, WIRE_VERSION, DecidedRound, Envelope, Kind

_HEADER_SIZE: Final = 3
_FRAME_ARRAY: Final = 0x95
_KINDS: Final = {int(kind): kind for kind in Kind}
_wire_encoder: Final = msgspec.msgpack.Encoder()
# JSON, because amounts of wei outgrow the 64 bits of msgpack.
_input_encoder: Final = msgspec.json.Encoder()
_decided_decoder: Final = msgspec.msgpack.Decoder(DecidedRound)
_input_decoder: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(AnyInput)


def encode(envelope: Envelope) -> bytes:
    """The canonical frame of an envelope.

    Raises:
        LocalProtocolError: a field breaks its bound, or the frame its limit: not to be sent.
    """
    frame = _frame(envelope)
    kind = _KINDS.get(envelope.kind)
    if kind is None or not _envelope_fits(kind, envelope) or len(frame) > FRAME_LIMITS[kind]:
        raise LocalProtocolError(f"not an envelope of kind {envelope.kind} that may be sent")
    return frame


def decode(frame: bytes) -> Envelope:
    """The envelope of a hostile frame; no other exception than this one comes out.

    Raises:
        Rejection: FRAME_TOO_LARGE, UNKNOWN_KIND (or wire version), else MALFORMED.
    """
    kind = _check_header(frame)
    try:
        # No maps, strings or extensions are in any message; timestamps are extensions.
        parts = msgpack.unpackb(
            frame,
            raw=False,
            max_array_len=MAX_ARRAY,
            max_bin_len=len(frame),
            max_str_len=0,
            max_map_len=0,
            max_ext_len=0,
        )
        _, _, sender, raw_body, signature = parts
        body: Any = msgspec.convert(raw_body, BODY_TYPES[kind], builtin_types=(bytes,))
        envelope = Envelope(
            kind=int(kind),
            sender=msgspec.convert(sender, bytes, builtin_types=(bytes,)),
            body=body,
            signature=msgspec.convert(signature, bytes, builtin_types=(bytes,)),
        )
    except (ValueError, RecursionError) as exc:
        # Every failure of msgpack and msgspec on bytes is a ValueError.
        raise Rejection(RejectionReason.MALFORMED, str(exc)) from exc
    if not _envelope_fits(kind, envelope):
        raise Rejection(RejectionReason.MALFORMED, "a field is out of bounds")
    if _frame(envelope) != frame:
        raise Rejection(RejectionReason.MALFORMED, "not the minimal form")
    return envelope


def encode_input(value: Input) -> bytes:
    """An input as the journal keeps it."""
    return _input_encoder.encode(value)


def decode_input(raw: bytes) -> AnyInput:
    """An input out of this node's own journal; raises LocalProtocolError if it is none."""
    try:
        value: AnyInput = _input_decoder.decode(raw)
    except ValueError as exc:
        raise LocalProtocolError(f"the journal holds something that is no input: {exc}") from exc
    return value


def encode_decided(record: DecidedRound) -> bytes:
    """A decided round as the store keeps it."""
    return _wire_encoder.encode(record)


def decode_decided(raw: bytes) -> DecidedRound:
    """A decided round out of this node's own store; raises LocalProtocolError if it is none."""
    try:
        return _decided_decoder.decode(raw)
    except ValueError as exc:
        raise LocalProtocolError(f"the store holds something that is no round: {exc}") from exc


def _check_header(frame: bytes) -> Kind:
    """Kind of a frame whose length fits it, before anything else is looked at."""
    if len(frame) > MAX_FRAME:
        raise Rejection(RejectionReason.FRAME_TOO_LARGE)
    if len(frame) < _HEADER_SIZE or frame[0] != _FRAME_ARRAY:
        raise Rejection(RejectionReason.MALFORMED, "no frame")
    kind = _KINDS.get(frame[2])
    if frame[1] != WIRE_VERSION or kind is None:
        raise Rejection(RejectionReason.UNKNOWN_KIND, f"version {frame[1]}, kind {frame[2]}")
    if len(frame) > FRAME_LIMITS[kind]:
        raise Rejection(RejectionReason.FRAME_TOO_LARGE, kind.name)
    return kind


def _frame(envelope: Envelope) -> bytes:
    parts = (WIRE_VERSION, envelope.kind, envelope.sender, envelope.body, envelope.signature)
    return _wire_encoder.encode(parts)


def _envelope_fits(kind: Kind, envelope: Envelope) -> bool:
    return (
        type(envelope.body) is BODY_TYPES[kind]
        and len(envelope.sender) == 20
        and len(envelope.signature) == SIGNATURE_SIZES[kind]
        and fits(envelope.body)
    )
