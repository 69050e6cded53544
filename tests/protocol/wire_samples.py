"""Legal frames of every kind, found from the types of the fields and their rules alone.

No kind is named here: one that is added to `BODY_TYPES` later has its samples without a change.
"""

from __future__ import annotations

import random
import types
import typing
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import msgspec

from protocol.bounds import FIELD_RULES, SIGNATURE_SIZES, fits
from protocol.codec import encode
from protocol.messages import BODY_TYPES, Envelope, Kind

TRIES: Final = 4_000
"""Random choices of candidates, until fields agree with each other where they have to."""
KEPT: Final = 4
STRUCTS_KEPT: Final = 40
"""Candidates of a field: enough of a struct that some agree with the fields beside it."""
LONGEST: Final = 2_048
"""Bytes up to which a legal length is looked for."""


@dataclass(frozen=True)
class Palette:
    """What fields hold where their rule allows it, tried before anything else."""

    numbers: tuple[int, ...] = (1,)
    words: tuple[bytes, ...] = ()


def frames_of(kind: Kind, palette: Palette, sender: bytes) -> list[bytes]:
    """Two rich frames and a poor one; the signature is zeros.

    Raises:
        LookupError: no legal body was found.
    """
    bodies = samples(BODY_TYPES[kind], palette)
    signature = bytes(SIGNATURE_SIZES[kind])
    frames = [encode(Envelope(int(kind), sender, body, signature)) for body in bodies]
    return list(dict.fromkeys([*frames[:2], frames[-1]]))


def samples(struct: type[Any], palette: Palette) -> list[Any]:
    """Legal values of a struct, the two largest first and the smallest last.

    Of equal size, those that hold what the palette offers.

    Raises:
        LookupError: none is found.
    """
    hints = typing.get_type_hints(struct)
    choices = {
        name: fitting(rule, hints[name], palette) for name, rule in FIELD_RULES[struct].items()
    }
    chance = random.Random(struct.__name__)
    found: dict[bytes, tuple[int, Any]] = {}
    for _ in range(TRIES if all(choices.values()) else 0):
        # The first candidates more often: fields that must agree do so by being alike.
        places = {name: int(len(some) * chance.random() ** 2) for name, some in choices.items()}
        value = struct(**{name: choices[name][place] for name, place in places.items()})
        if fits(value):
            found.setdefault(msgspec.msgpack.encode(value), (sum(places.values()), value))
    if not found:
        raise LookupError(f"no legal {struct.__name__}")
    likely = sorted(found, key=lambda raw: (found[raw][0], raw))
    largest = sorted(likely, key=len, reverse=True)[:2]
    smallest = min(likely, key=len)
    some = chance.sample(likely, min(len(likely), STRUCTS_KEPT - 3))
    others = [raw for raw in dict.fromkeys([*largest, *some]) if raw != smallest]
    return [found[raw][1] for raw in (*others, smallest)]


def fitting(rule: Any, hint: Any, palette: Palette) -> list[Any]:
    """The first candidates that a field may hold."""
    flat = hint in {int, bytes, bool} or typing.get_origin(hint) is tuple
    allowed = (value for value in candidates(hint, palette) if rule_allows(rule, value))
    return list(islice(allowed, KEPT if flat else STRUCTS_KEPT))


def rule_allows(rule: Any, value: Any) -> bool:
    """A rule may take for granted what decoding has checked."""
    try:
        return bool(rule(value))
    except (TypeError, AttributeError, IndexError):
        return False


def candidates(hint: Any, palette: Palette) -> typing.Iterator[Any]:
    """Values of a type, the likely ones first."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        yield from lists(arguments[0], palette)
    elif origin in {types.UnionType, typing.Union}:
        yield from [None] * (type(None) in arguments)
        for argument in arguments:
            if argument is not type(None):
                yield from candidates(argument, palette)
    elif hint is bool:
        yield from (True, False)
    elif hint is int:
        yield from palette.numbers
        yield from (n for n in range(256) if n not in palette.numbers)
    elif hint is bytes:
        yield from palette.words
        for length in range(LONGEST):
            # The second is a small amount, too.
            yield from (b"\x05" * length, bytes(max(0, length - 1)) + b"\x05"[:length])
            yield bytes(length)
    else:
        yield from samples(hint, palette)


def lists(hint: Any, palette: Palette) -> typing.Iterator[tuple[Any, ...]]:
    """Tuples, ascending where the items have an order; long ones only after all short ones."""
    yield ()
    for item in candidates(hint, palette):
        if hint is int:
            yield (item, item + 1)
        elif hint is bytes and item:
            yield ascending(item, 2)
        yield (item,)
    if hint is bytes:
        for item in candidates(hint, palette):
            if item:
                yield from (ascending(item, count) for count in range(3, 18))


def ascending(item: bytes, count: int) -> tuple[bytes, ...]:
    return tuple(item[:-1] + bytes([place]) for place in range(count))
