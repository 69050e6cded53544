"""The exchange that opens every connection: who are you, and do we speak of the same network?

    dialler  -> listener   Hello
    listener -> dialler    Refusal (u8), the dialler's nonce (16), and, if admitted, Hello
    dialler  -> listener   Refusal (u8), the listener's nonce (16)

TLS has proven both peer ids before; the hello binds them to the operators of the on-chain registry.
A nonce ties each verdict to the hello it answers.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable
from dataclasses import dataclass

from libp2p.custom_types import TProtocol

from node.net.records import HelloInfo, Refusal
from node.net.streams import FrameTooLargeError, PeerStream, StreamBrokenError

HELLO_PROTOCOL = TProtocol("/provernet/1/hello")

_HELLO = struct.Struct(">HQ20s32s20s16s")
_VERDICT = struct.Struct(">B16s")

# The claimed operator in, a refusal out: is it registered, with this peer id, and not banned?
Judge = Callable[[bytes], Refusal]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a hello ended, and who refused."""

    refusal: Refusal
    operator: bytes | None = None  # only when admitted
    by_peer: bool = False


def encode_hello(info: HelloInfo, nonce: bytes) -> bytes:
    """98 bytes, fixed layout."""
    return _HELLO.pack(
        info.version, info.chain_id, info.registry, info.parameters_hash, info.operator, nonce
    )


def _judge(ours: HelloInfo, raw: bytes, judge: Judge) -> tuple[Refusal, bytes, bytes]:
    """The refusal (or NONE), the claimed operator and the nonce of a peer's hello."""
    if len(raw) != _HELLO.size:
        return Refusal.MALFORMED, b"", bytes(16)
    version, chain_id, registry, parameters_hash, operator, nonce = _HELLO.unpack(raw)
    if version != ours.version:
        refusal = Refusal.WRONG_VERSION
    elif chain_id != ours.chain_id:
        refusal = Refusal.WRONG_CHAIN
    elif registry != ours.registry:
        refusal = Refusal.WRONG_REGISTRY
    elif parameters_hash != ours.parameters_hash:
        refusal = Refusal.WRONG_PARAMETERS
    else:
        refusal = judge(operator)
    return refusal, operator, nonce


def _verdict(raw: bytes, nonce: bytes) -> Refusal:
    if len(raw) != _VERDICT.size:
        raise StreamBrokenError("malformed verdict")
    code, echoed = _VERDICT.unpack(raw)
    known = code in Refusal._value2member_map_
    if not known or (code == Refusal.NONE and echoed != nonce):
        raise StreamBrokenError("malformed verdict")
    return Refusal(code)


async def greet(stream: PeerStream, ours: HelloInfo, judge: Judge) -> Outcome:
    """The dialler's half. Raises StreamBrokenError."""
    nonce = secrets.token_bytes(16)
    try:
        await stream.write_frame(encode_hello(ours, nonce))
        refusal = _verdict(await stream.read_frame(_VERDICT.size), nonce)
        if refusal is not Refusal.NONE:
            return Outcome(refusal, by_peer=True)
        refusal, operator, peer_nonce = _judge(ours, await stream.read_frame(_HELLO.size), judge)
    except FrameTooLargeError as error:
        raise StreamBrokenError("malformed hello") from error
    await stream.write_frame(_VERDICT.pack(refusal, peer_nonce))
    return Outcome(refusal, operator if refusal is Refusal.NONE else None)


async def answer(stream: PeerStream, ours: HelloInfo, judge: Judge) -> Outcome:
    """The listener's half. Raises StreamBrokenError."""
    nonce = secrets.token_bytes(16)
    try:
        refusal, operator, peer_nonce = _judge(ours, await stream.read_frame(_HELLO.size), judge)
    except FrameTooLargeError:
        refusal, operator, peer_nonce = Refusal.MALFORMED, b"", bytes(16)
    await stream.write_frame(_VERDICT.pack(refusal, peer_nonce))
    if refusal is not Refusal.NONE:
        return Outcome(refusal)
    await stream.write_frame(encode_hello(ours, nonce))
    try:
        refusal = _verdict(await stream.read_frame(_VERDICT.size), nonce)
    except FrameTooLargeError as error:
        raise StreamBrokenError("malformed verdict") from error
    if refusal is not Refusal.NONE:
        return Outcome(refusal, by_peer=True)
    return Outcome(refusal, operator)
