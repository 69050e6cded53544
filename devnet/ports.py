"""Free TCP ports for programs that take a number and not a socket."""

from __future__ import annotations

import random
import socket
from typing import Final

from devnet.anvil import HOST
from devnet.errors import DevnetError

# Below the range that the kernel hands out by itself, so that no outgoing connection takes a port
# between our look and the program's start.
_FIRST: Final = 20_000
_LAST: Final = 32_000
_ATTEMPTS: Final = 200


def free_ports(count: int) -> tuple[int, ...]:
    """Neighbouring ports that nobody listens on; another program may still be faster.

    Raises:
        DevnetError: no such block was found.
    """
    for _ in range(_ATTEMPTS):
        # Two devnets that start together must not look at the same block.
        start = random.SystemRandom().randrange(_FIRST, _LAST - count)
        block = tuple(range(start, start + count))
        if all(map(_is_free, block)):
            return block
    raise DevnetError(f"no {count} free ports between {_FIRST} and {_LAST}; stop what uses them")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
