"""Follows the chain at a finality depth: every final block in order, across restarts and reorgs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
import trio

from chain import rpc_values
from chain.client import Call, block_tag, log_filter
from chain.errors import BadResponseError, ReorgTooDeepError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chain.client import ChainClient
    from chain.rpc_values import Block, Log
    from protocol.types import Address, Hash


_BLIND: Final = 5
"""Blocks found at the first look before one is looked for earlier: each look costs CPU."""


class Mark(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A block that was read to its end."""

    number: int
    hash: bytes


class Position(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far the chain was read: marks in ascending order, the last one is the position itself.

    Stored together with what came of the update that carried it, it makes each event count once.
    """

    marks: tuple[Mark, ...]

    @property
    def tip(self) -> Mark:
        """The last block that was read."""
        return self.marks[-1]


@dataclass(frozen=True, slots=True)
class FollowPolicy:
    """How deep is final, and how much to ask for at once."""

    confirmations: int
    """1 takes the newest block as final; blocks above are never read."""
    max_range: int = 500
    """Blocks in one `eth_getLogs`; public endpoints refuse long ranges."""
    block_time_s: float = 1.0
    """From one block to the next; looks at the head crowd where the next block is due."""
    remembered: int = 64
    """Marks kept to find the common ancestor after a reorganisation below the finality depth."""

    def __post_init__(self) -> None:
        if min(self.confirmations, self.max_range, self.remembered) < 1:
            raise ValueError("confirmations, range and remembered marks are at least 1")
        if self.block_time_s <= 0:
            raise ValueError("a block takes some time")


@dataclass(frozen=True, slots=True)
class Update:
    """The chain moved: a new head, more final blocks with these logs, or both.

    `rewound_to` is a block number if what had been read above it is no longer on the chain; the
    logs of its replacement follow in later updates, so that what they cause must be idempotent.
    """

    head: Block
    position: Position
    logs: tuple[Log, ...]
    rewound_to: int | None


async def position_before(client: ChainClient, first_block: int) -> Position:
    """The position from which `first_block` (at least 1) is the next block to be read."""
    found = await client.block(first_block - 1)
    if found is None:
        raise BadResponseError(f"block {first_block - 1} is not on the chain")
    return Position((Mark(found.number, found.hash),))


class Follower:
    """Reads the logs of some contracts; one task calls `next_update`."""

    def __init__(
        self,
        client: ChainClient,
        addresses: Sequence[Address],
        position: Position,
        policy: FollowPolicy,
    ) -> None:
        self._client = client
        self._addresses = tuple(addresses)
        self._position = position
        self._policy = policy
        self._seen: Hash | None = None
        self._seen_at = 0.0
        self._looks = 0
        self._blind = _BLIND + 3
        """Blocks in a row that were there at the first look: nobody knows for how long."""

    async def next_update(self) -> Update:
        """Wait until the chain moves. Cancelled or failed, it has moved nothing: call it again.

        Raises:
            ReorgTooDeepError: no remembered block is on the chain any more.
            ChainError: the endpoint failed; the position is kept.
        """
        pause = self._seen is not None  # caught up: the head was looked at just now
        while True:
            if pause:
                await trio.sleep(self._pause_s())
            pause = True
            head = await self._client.head()
            self._looks += 1
            if head.hash == self._seen:
                continue
            update = await self._advance(head)
            if update is None:
                continue  # the chain is being rewritten under our eyes; the next look sees one side
            self._position = update.position
            # Behind the head, the next call must not wait for it to move.
            final = head.number - self._policy.confirmations + 1
            caught_up = update.rewound_to is None and update.position.tip.number >= final
            self._seen = head.hash if caught_up else None
            self._seen_at = trio.current_time()
            self._blind = 0 if self._looks > 1 else self._blind + 1
            self._looks = 0
            return update

    def _pause_s(self) -> float:
        """Until the next look: rarely while no block is due, every twentieth of its time then.

        In between a block is expected to the moment; now and then it is looked for too early, ever
        earlier until it is not there yet, and so found again in its first twentieth.
        """
        block_s = self._policy.block_time_s
        fine_s = block_s / 20
        age_s = trio.current_time() - self._seen_at
        early_s = 0.0
        if self._blind >= _BLIND:
            early_s = min(fine_s * 2 ** min(self._blind - _BLIND, 4), block_s / 2)
        if age_s < block_s - early_s:
            return block_s - early_s - age_s
        return fine_s if age_s < 2 * block_s else block_s / 2

    async def _advance(self, head: Block) -> Update | None:
        tip = self._position.tip
        first = tip.number + 1
        last = min(
            head.number - self._policy.confirmations + 1, tip.number + self._policy.max_range
        )
        if last < first:
            ancestor = await self._common_ancestor()
            rewound = None if ancestor == self._position else ancestor.tip.number
            return Update(head, ancestor, (), rewound)
        below, before, found, after = await self._client.batch(
            [
                _header(tip.number),
                _header(last),
                Call("eth_getLogs", (log_filter(first, last, self._addresses),)),
                _header(last),
            ]
        )
        if below is None or rpc_values.block(below).hash != tip.hash:
            ancestor = await self._common_ancestor()
            return Update(head, ancestor, (), ancestor.tip.number)
        if before is None or before != after:
            return None
        end = rpc_values.block(before)
        logs = self._checked(rpc_values.logs(found), first, end)
        marks = (*self._position.marks, Mark(end.number, end.hash))
        return Update(head, Position(marks[-self._policy.remembered :]), logs, None)

    async def _common_ancestor(self) -> Position:
        """The remembered marks that are still on the chain."""
        marks = self._position.marks
        while marks:
            found = await self._client.block(marks[-1].number)
            if found is not None and found.hash == marks[-1].hash:
                return Position(marks)
            marks = marks[:-1]
        raise ReorgTooDeepError(f"block {self._position.marks[0].number} was replaced, too")

    def _checked(self, logs: tuple[Log, ...], first: int, end: Block) -> tuple[Log, ...]:
        """Refuse logs that were not asked for, or that stand in another block than the one read."""
        order = [(entry.block_number, entry.index) for entry in logs]
        if order != sorted(set(order)):
            raise BadResponseError("logs are not in the order of the chain")
        for entry in logs:
            inside = first <= entry.block_number <= end.number
            if not inside or entry.address not in self._addresses:
                raise BadResponseError("a log that was not asked for")
            if entry.block_number == end.number and entry.block_hash != end.hash:
                raise BadResponseError("a log of another block")
        return logs


_HEADERS_ONLY: Final = False


def _header(number: int) -> Call:
    return Call("eth_getBlockByNumber", (block_tag(number), _HEADERS_ONLY))
