"""Blobs: data too large for a frame, in hashed chunks, resumable where a cut left off.

    sender   -> receiver   frame: u64 size | sha256 (32) | name
    receiver -> sender     u8 Ack | u64 offset to go on from
    sender   -> receiver   frames: sha256 (32) | at most 60 KiB, until `size` is reached
    receiver -> sender     u8 Ack, or the code of the handler

The receiver keeps an unfinished blob in a private file of its blob folder until it is complete,
too old, or does not match its hash. A handler may see a blob twice when the last answer was lost,
so it must be idempotent.
"""

from __future__ import annotations

import hashlib
import os
import struct
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from libp2p.custom_types import TProtocol

from node.net.records import BLOB_CHUNK, MAX_BLOB, MAX_BLOB_NAME, Ack, NetConfig
from node.net.streams import PeerStream
from node.ports import UndeliveredError

BLOB_PROTOCOL = TProtocol("/provernet/1/blob")

# Operator, name, the complete file, which is deleted when the handler returns unless it was moved
# away. The answer is Ack.OK or a code from 64 to 255 that the sender gets in a UndeliveredError.
BlobHandler = Callable[[bytes, bytes, Path], Awaitable[int]]

_HEADER = struct.Struct(">Q32s")
_ANSWER = struct.Struct(">BQ")
_DIGEST = 32


@dataclass(frozen=True, slots=True)
class BlobHeader:
    """What a sender announces."""

    size: int
    digest: bytes
    name: bytes


def header_of(name: bytes, data: bytes) -> BlobHeader:
    """The header of a blob to send. Raises ValueError for a size or name out of bounds."""
    if not 0 < len(name) <= MAX_BLOB_NAME:
        raise ValueError(f"a blob name has 1 to {MAX_BLOB_NAME} bytes")
    if not 0 < len(data) <= MAX_BLOB:
        raise ValueError(f"a blob has 1 to {MAX_BLOB} bytes")
    return BlobHeader(len(data), hashlib.sha256(data).digest(), name)


async def send(stream: PeerStream, header: BlobHeader, data: bytes) -> int:
    """Send what is lacking; the bytes sent. Raises StreamBrokenError or UndeliveredError."""
    await stream.write_frame(_HEADER.pack(header.size, header.digest) + header.name)
    code, offset = _ANSWER.unpack(await stream.read_exactly(_ANSWER.size))
    if code != Ack.OK or offset > header.size:
        raise UndeliveredError("refused", code)
    for start in range(offset, header.size, BLOB_CHUNK):
        chunk = data[start : start + BLOB_CHUNK]
        await stream.write_frame(hashlib.sha256(chunk).digest() + chunk)
    # The handler may take its time: the caller's deadline bounds this wait.
    (code,) = await stream.read_patiently(1)
    if code != Ack.OK:
        raise UndeliveredError("refused", code)
    return header.size - int(offset)


class PartialBlobs:
    """The files of blobs that are on their way to this node."""

    def __init__(self, config: NetConfig) -> None:
        self._folder = config.blob_dir
        self._config = config
        self._busy: set[Path] = set()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def open(self, operator: bytes, header: BlobHeader) -> PartialBlob | Ack:
        """The file to go on with, or why not."""
        self._expire()
        key = hashlib.sha256(operator + header.digest + header.name).hexdigest()
        path = self._folder / f"{operator.hex()}-{key}.part"
        others = sum(p.stat().st_size for p in self._of(operator) if p != path)
        if path in self._busy or others + header.size > self._config.partial_bytes:
            return Ack.BUSY
        self._busy.add(path)
        return PartialBlob(path, header, self._busy.discard)

    def _of(self, operator: bytes) -> list[Path]:
        return list(self._folder.glob(f"{operator.hex()}-*.part"))

    def _expire(self) -> None:
        oldest = time.time() - self._config.partial_age
        for path in self._folder.glob("*.part"):
            if path not in self._busy and path.stat().st_mtime < oldest:
                path.unlink(missing_ok=True)


class PartialBlob:
    """One file being filled."""

    def __init__(self, path: Path, header: BlobHeader, release: Callable[[Path], object]) -> None:
        self.path = path
        self._header = header
        self._release = release
        self._hash = hashlib.sha256()
        # By descriptor, so that the file is private from its first moment: it may hold a witness.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._file = os.fdopen(descriptor, "r+b")
        self.offset = 0
        while part := self._file.read(1 << 20):
            self._hash.update(part)
            self.offset += len(part)
        if self.offset > header.size:
            self._file.truncate(0)
            self._hash, self.offset = hashlib.sha256(), 0

    def append(self, chunk: bytes) -> bool:
        """Add a chunk; false if it goes beyond the announced size."""
        if not chunk or self.offset + len(chunk) > self._header.size:
            return False
        self._file.write(chunk)
        self._hash.update(chunk)
        self.offset += len(chunk)
        return True

    @property
    def complete(self) -> bool:
        """Whether all announced bytes are there."""
        return self.offset == self._header.size

    def matches(self) -> bool:
        """Whether the bytes are those announced; call when complete."""
        self._file.flush()
        return self._hash.digest() == self._header.digest

    def close(self, *, keep: bool) -> None:
        """Close the file; `keep` it to go on later."""
        self._file.close()
        if not keep:
            self.path.unlink(missing_ok=True)
        self._release(self.path)


async def receive(
    stream: PeerStream,
    operator: bytes,
    partials: PartialBlobs,
    handler: BlobHandler,
    count: Callable[[int], None],
) -> None:
    """Take one blob; what arrived before a StreamBrokenError or FrameTooLargeError is kept."""
    raw = await stream.read_frame(_HEADER.size + MAX_BLOB_NAME)
    if len(raw) <= _HEADER.size:
        await stream.write(_ANSWER.pack(Ack.MALFORMED, 0))
        return
    size, digest = _HEADER.unpack(raw[: _HEADER.size])
    if not 0 < size <= MAX_BLOB:
        await stream.write(_ANSWER.pack(Ack.TOO_LARGE, 0))
        return
    name = raw[_HEADER.size :]
    blob = partials.open(operator, BlobHeader(size, digest, name))
    if isinstance(blob, Ack):
        await stream.write(_ANSWER.pack(blob, 0))
        return
    keep = True
    try:
        await stream.write(_ANSWER.pack(Ack.OK, blob.offset))
        code = await _fill(stream, blob, count)
        keep = False
        if code == Ack.OK:
            code = await _hand_over(handler, operator, name, blob)
        await stream.write(bytes([code]))
    finally:
        blob.close(keep=keep)


async def _fill(stream: PeerStream, blob: PartialBlob, count: Callable[[int], None]) -> int:
    while not blob.complete:
        frame = await stream.read_frame_now(_DIGEST + BLOB_CHUNK)
        digest, chunk = frame[:_DIGEST], frame[_DIGEST:]
        if hashlib.sha256(chunk).digest() != digest:
            return Ack.BAD_HASH
        if not blob.append(chunk):
            return Ack.MALFORMED
        count(len(chunk))
    return Ack.OK if blob.matches() else Ack.BAD_HASH


async def _hand_over(handler: BlobHandler, operator: bytes, name: bytes, blob: PartialBlob) -> int:
    try:
        code = await handler(operator, name, blob.path)
    except Exception:  # noqa: BLE001
        return Ack.HANDLER_FAILED
    return code if code == Ack.OK or 64 <= code <= 255 else Ack.HANDLER_FAILED
