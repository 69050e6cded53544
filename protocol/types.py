"""Names for the values that cross module borders; the unit stands in the name."""

from __future__ import annotations

from typing import Final, NewType

Address = NewType("Address", bytes)
"""20 bytes: an Ethereum account; an operator, requester or contract."""

Hash = NewType("Hash", bytes)
"""32 bytes: a keccak256 or EIP-712 digest."""

Wei = NewType("Wei", int)
"""Amount of the escrow token in its smallest unit, 0 <= amount < 2**96 where a contract stores
it."""

MAX_AMOUNT: Final = Wei((1 << 96) - 1)
"""Largest amount of wei that a contract stores."""

TimestampMs = NewType("TimestampMs", int)
"""Milliseconds since the Unix epoch, from the node's own clock."""

View = NewType("View", int)
"""Number of a view: [genesis + view * view_ms, genesis + (view + 1) * view_ms)."""

RoundNumber = NewType("RoundNumber", int)
"""Sequence number of a decided Value; the first round is 1."""

Epoch = NewType("Epoch", int)
"""Number of an operator table; the first epoch is 1."""

ZERO_HASH = Hash(bytes(32))
ZERO_ADDRESS = Address(bytes(20))
