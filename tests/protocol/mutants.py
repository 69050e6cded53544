"""What can be done to the bytes of one frame, as edits: cheap to make, cheap to combine.

Works on the encoding alone and knows no message: an edit replaces a span by other bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import msgpack

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Sequence

BOUNDS: Final = (16, 64, 257, 256, 1_024, 4_096)
"""Counts at which some list ends; one more is tried as well."""
LARGE: Final = 2_048
"""Bytes above which an edit is made alone only, for the sake of time."""
TAGS: Final = bytes(
    [*range(0xC0, 0xE0), 0x00, 0x7F, 0x80, 0x8F, 0x90, 0x95, 0x9F, 0xA0, 0xBF, 0xFF]
)


class Edit(NamedTuple):
    """Replace frame[start:end]."""

    start: int
    end: int
    new: bytes


@dataclass
class Span:
    """One encoded value: where it stands, where its content begins, what is in it."""

    start: int
    content: int
    end: int
    tag: int
    items: list[Span] = field(default_factory=list)

    def walk(self) -> Iterator[Span]:
        yield self
        for item in self.items:
            yield from item.walk()


_SIZED: Final = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I", 0xDC: ">H", 0xDD: ">I"}
_NUMBERS: Final = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}


def parse(frame: bytes, start: int = 0) -> Span:
    """The tree of a canonical frame; raises ValueError for a tag that no frame has."""
    tag, at = frame[start], start + 1
    if tag <= 0x7F or tag in {0xC0, 0xC2, 0xC3}:
        return Span(start, at, at, tag)
    if tag in _NUMBERS:
        return Span(start, at, at + _NUMBERS[tag], tag)
    count = tag & 0x0F
    if tag in _SIZED:
        size = struct.calcsize(_SIZED[tag])
        (count,) = struct.unpack(_SIZED[tag], frame[at : at + size])
        at += size
    elif tag & 0xF0 != 0x90:
        raise ValueError(f"tag {tag:#x}")
    if tag in {0xC4, 0xC5, 0xC6}:
        return Span(start, at, at + count, tag)
    span = Span(start, at, at, tag)
    for _ in range(count):
        span.items.append(parse(frame, span.end))
        span.end = span.items[-1].end
    return span


def packed(value: object) -> bytes:
    raw: bytes = msgpack.packb(value, use_bin_type=True)
    return raw


EXTREMES: Final = tuple(
    packed(number)
    for bits in (0, 1, 7, 8, 15, 16, 31, 32, 63, 64)
    for number in (2**bits - 1, 2**bits, -(2**bits))
    if -(2**63) <= number < 2**64
)
OTHER_TYPES: Final = (
    *map(
        packed, (None, True, False, 1.5, float("nan"), "", "text", "x" * 32, {}, {1: 2}, [], [[]])
    ),
    *map(
        packed, ([None] * 3, [b""], [[[[]]]], msgpack.Timestamp(1), msgpack.ExtType(4, b"x" * 32))
    ),
    *(
        packed(b"\x05" * size)
        for size in (0, 1, 19, 20, 21, 31, 32, 33, 64, 65, 66, 95, 96, 97, 1_024)
    ),
    *(packed(bytes(size)) for size in (20, 32, 65, 96)),
    *(packed(b"\xff" * size) for size in (20, 32, 65, 96)),
    b"\xca\x3f\x80\x00\x00",  # the float 1.0 in four bytes
    b"\xc1",  # never used
)
PROMISES: Final = tuple(
    bytes([tag]) + size
    for width, tags in ((1, b"\xc4\xd9"), (2, b"\xc5\xdc\xde"), (4, b"\xc6\xdb\xdd\xdf\xc9"))
    for tag in tags
    for size in (b"\xff" * width, b"\x7f" + b"\xff" * (width - 1), b"\x00" * width)
)
"""Headers that promise much more, or less, than comes."""
DEEP: Final = tuple(
    tag * depth for tag in (b"\x91", b"\x81", b"\xdd\0\0\0\1") for depth in (30, 300)
)
ANYWHERE: Final = tuple(dict.fromkeys((*EXTREMES, *OTHER_TYPES, *PROMISES, *DEEP)))


def edits(frame: bytes, strangers: Sequence[bytes]) -> list[Edit]:
    """Every single change of a canonical frame; `strangers` are frames to take parts from."""
    root = parse(frame)
    foreign = [raw for other in strangers for raw in parts_of(other)]
    found: dict[Edit, None] = {}
    for span in root.walk():
        held = frame[span.start : span.end]
        for new in (*ANYWHERE, *foreign, *wrapped(held), *rewritten(frame, span)):
            found[Edit(span.start, span.end, new)] = None
        for new in (b"", held + held):
            found[Edit(span.start, span.end, new)] = None
    for edit in raw_edits(frame):
        found[edit] = None
    return [edit for edit in found if frame[edit.start : edit.end] != edit.new]


def parts_of(frame: bytes) -> Iterator[bytes]:
    """The body of another frame, and all of it as bytes or as it is."""
    body = parse(frame).items[3]
    yield from (frame[body.start : body.end], packed(frame), frame)


def wrapped(held: bytes) -> Iterator[bytes]:
    for head in (b"\x91", b"\x92", b"\xdc\x00\x01", b"\xdd\x00\x00\x00\x01", b"\x81\x01"):
        yield head + held
    yield packed(held)


def rewritten(frame: bytes, span: Span) -> Iterator[bytes]:
    """The same value in another form, and its neighbours."""
    content = frame[span.content : span.end]
    if span.tag <= 0x7F or span.tag in _NUMBERS:
        yield from other_numbers(int.from_bytes(content) if content else span.tag)
    elif span.tag in {0xC4, 0xC5, 0xC6}:
        yield from other_bytes(content)
    elif span.tag & 0xF0 == 0x90 or span.tag in {0xDC, 0xDD}:
        yield from other_lists([frame[item.start : item.end] for item in span.items])


def other_numbers(number: int) -> Iterator[bytes]:
    for near in (number - 1, number + 1, -number):
        if -(2**63) <= near < 2**64:
            yield packed(near)
    for tag, width in ((0xCC, 1), (0xCD, 2), (0xCE, 4), (0xCF, 8), (0xD0, 1), (0xD1, 2), (0xD3, 8)):
        if number < 1 << 8 * width - (tag >= 0xD0):
            yield bytes([tag]) + number.to_bytes(width)
    yield packed(float(number))
    yield packed(str(number))


def other_bytes(content: bytes) -> Iterator[bytes]:
    size = len(content)
    for other in (content[:-1], content[1:], content + b"\0", b"\0" + content, content[::-1]):
        yield packed(other)
    for other in (bytes(size), b"\xff" * size, content * 2, content[:20], content[: size // 2]):
        yield packed(other)
    for many in (1_025, 65_537, 262_145):
        yield packed(b"\x05" * many)
    if size < 256:
        yield bytes([0xC4, size]) + content + b"\0"
        yield bytes([0xD9, size]) + content
        yield bytes([0xC7, size, 0]) + content
    yield b"\xc5" + size.to_bytes(2) + content if size < 65_536 else b""
    yield b"\xc6" + size.to_bytes(4) + content
    yield b"\xdb" + size.to_bytes(4) + content
    for lie in (size - 1, size + 1):
        if 0 <= lie < 256:
            yield bytes([0xC4, lie]) + content
    yield packed(list(content))
    yield packed(content.hex())


def array(items: Sequence[bytes]) -> bytes:
    """Encoded items as one array, in its shortest form."""
    count = len(items)
    if count < 16:
        return bytes([0x90 | count]) + b"".join(items)
    return (b"\xdc" + count.to_bytes(2) if count < 65_536 else b"") + b"".join(items)


def other_lists(items: list[bytes]) -> Iterator[bytes]:
    count, joined = len(items), b"".join(items)
    for index, item in enumerate(items):
        yield array(items[:index] + items[index + 1 :])
        yield array([*items[:index], item, item, *items[index + 1 :]])
    for index, _ in enumerate(pairwise(items)):
        yield array([*items[:index], items[index + 1], items[index], *items[index + 2 :]])
    yield array(items[::-1])
    for more in (b"\xc0", b"\x00", b"\xc4\x00", b"\x90"):
        yield array([*items, more])
        yield array([more, *items])
    yield b"\xdc" + count.to_bytes(2) + joined
    yield b"\xdd" + count.to_bytes(4) + joined
    for lie in (count - 1, count + 1):
        if 0 <= lie < 16:
            yield bytes([0x90 | lie]) + joined
    if items and len(items[-1]) <= 64:
        for bound in BOUNDS:
            yield array(counted(items[-1], bound))
            yield array(counted(items[-1], bound + 1))


def counted(item: bytes, count: int) -> list[bytes]:
    """As many items, ascending."""
    if len(item) < 4:
        return [packed(number) for number in range(count)]
    return [item[:-2] + number.to_bytes(2) for number in range(count)]


def raw_edits(frame: bytes) -> Iterator[Edit]:
    """What knows nothing of the encoding: flipped bits, foreign tags, lost and added bytes."""
    size = len(frame)
    for at in range(size):
        for bit in range(8):
            yield Edit(at, at + 1, bytes([frame[at] ^ 1 << bit]))
        yield Edit(at, size, b"")
        yield Edit(at, at + 1, b"")
        yield Edit(at, at, b"\0")
        yield Edit(at, at + 1, frame[at : at + 1] * 2)
    # Content of bytes is opaque: tags matter where a value begins.
    for span in parse(frame).walk():
        for tag in TAGS:
            yield Edit(span.start, span.start + 1, bytes([tag]))
    for at in (1, 2):
        for byte in range(256):
            yield Edit(at, at + 1, bytes([byte]))
    for more in (b"\0", b"\xc0", b"\xff" * 8, b"\x90", frame, bytes(1_100)):
        yield Edit(size, size, more)
        yield Edit(0, 0, more)


def applied(frame: bytes, edit: Edit) -> bytes:
    return frame[: edit.start] + edit.new + frame[edit.end :]


def pairs(frame: bytes, pool: list[Edit], chance: random.Random) -> Iterator[bytes]:
    """Two changes at once, without end."""
    small = [edit for edit in pool if len(edit.new) <= LARGE]
    while True:
        first, second = chance.choice(small), chance.choice(small)
        if first.start > second.start:
            first, second = second, first
        if first.end <= second.start:
            yield applied(applied(frame, second), first)
