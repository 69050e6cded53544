"""Follows the chain and tells the replica what became final: tables, programs, escrow, batches."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import structlog
import trio

from chain.cursor import Follower, FollowPolicy, Position, position_before
from chain.errors import ChainError, ReorgTooDeepError
from chain.events import (
    BatchOnChain,
    ChainEvent,
    EpochOpened,
    EscrowDeposited,
    EscrowWithdrawn,
    MultiaddrsUpdated,
    OperatorDeregistered,
    OperatorRegistered,
    ProgramAdded,
    WithdrawalRequested,
    decode_events,
    watched,
)
from chain.tables import read_table
from protocol.inputs import BatchSettled, ClockJudged, EscrowBalance, ProgramRegistered

if TYPE_CHECKING:
    # The stubs that libp2p's dependency trio-typing installs hide trio.TaskStatus from mypy.
    from trio_typing import TaskStatus

    from chain.client import ChainClient
    from chain.contracts import ProofMarket, ProverRegistry
    from chain.deployments import Deployment
    from node.metrics import Metrics
    from node.ports import Clock, Submit
    from protocol.inputs import TableOpened
    from protocol.params import ProtocolParams
    from protocol.types import Address

log = structlog.get_logger()

Answer = TypeVar("Answer")

RETRY_S: Final = 1.0
"""Pause after the endpoint failed."""
WATCHED_REQUESTERS: Final = 10_000


@dataclass(frozen=True, slots=True)
class KnownProgram:
    """A program that this node can prove, and the hashes of its verifying keys by circuit."""

    registered: ProgramRegistered
    key_hashes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ChainView:
    """What the watcher reads from, and where it keeps how far it got."""

    client: ChainClient
    registry: ProverRegistry
    market: ProofMarket
    deployment: Deployment
    confirmations: int
    load_position: Callable[[], Awaitable[Position | None]]
    save_position: Callable[[Position], Awaitable[None]]
    first_epoch: Callable[[], int]
    """Epoch of the next round that this node has to decide or to catch up with."""


class ChainWatcher:
    """One task runs `follow`, another `answer_escrow`."""

    def __init__(
        self,
        view: ChainView,
        programs: Mapping[bytes, KnownProgram],
        params: ProtocolParams,
        submit: Submit,
        on_tables: Callable[[TableOpened], Awaitable[None]],
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._view = view
        self._programs = programs
        self._params = params
        self._submit = submit
        self._on_tables = on_tables
        self._metrics = metrics
        self._clock = clock
        self.head = 0
        """Number of the last block seen."""
        self._within: bool | None = None
        self._epochs: set[int] = set()
        self._requesters: set[bytes] = set()
        self._asked: set[Address] = set()
        self._more = trio.Event()

    @property
    def clock_within(self) -> bool:
        """Whether this node's clock agreed with the last head that was seen."""
        return bool(self._within)

    def watch_escrow(self, requester: Address) -> None:
        """Read a requester's escrow soon, and again when it changes."""
        self._asked.add(requester)
        self._more.set()

    async def follow(self, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Catch up with the epoch in force, then follow the chain until cancelled."""
        await self._patiently(self._first_look)
        task_status.started()
        position = await self._view.load_position()
        if position is None:
            first = self._view.deployment.first_block
            position = await self._patiently(
                lambda: position_before(self._view.client, max(1, first))
            )
        policy = FollowPolicy(confirmations=self._view.confirmations)
        contracts = watched(self._view.deployment.contracts)
        follower = Follower(self._view.client, contracts, position, policy)
        while True:
            update = None
            with trio.move_on_after(self._params.chain_clock_bound_ms / 1_000):
                try:
                    update = await follower.next_update()
                except ReorgTooDeepError:
                    raise
                except ChainError as exc:
                    log.warning("chain unreachable", cause=str(exc))
                    await trio.sleep(RETRY_S)
            if update is None:
                # A chain that stands still, or can not be seen, is no clock to agree with.
                await self._judge(within=False)
                continue
            self.head = update.head.number
            self._metrics.chain_head.set(update.head.number)
            offset = self._clock.now_ms() - update.head.timestamp_s * 1_000
            self._metrics.clock_offset_ms.set(offset)
            for event in decode_events(update.logs):
                await self._patiently(partial(self._tell, event))
            # Only now: what was told is journalled, so a crash repeats events and loses none.
            await self._view.save_position(update.position)
            await self._judge(within=abs(offset) <= self._params.chain_clock_bound_ms)

    async def answer_escrow(self) -> None:
        """Read the escrow of requesters that the replica asks for."""
        while True:
            await self._more.wait()
            self._more = trio.Event()
            asked, self._asked = self._asked, set()
            for requester in sorted(asked):
                if len(self._requesters) < WATCHED_REQUESTERS:
                    self._requesters.add(requester)
                await self._patiently(partial(self._read_escrow, requester))

    async def _first_look(self) -> None:
        """Programs, and every table from that of the oldest round this node may have to check."""
        for program in self._programs.values():
            await self._program(program)
        first = self._view.first_epoch()
        for epoch in range(first, await self._view.registry.current_epoch() + 1):
            await self._table(epoch)

    async def _tell(self, event: ChainEvent) -> None:
        match event:
            case EpochOpened():
                await self._table(event.epoch)
            case OperatorRegistered() | OperatorDeregistered() | MultiaddrsUpdated():
                self._epochs.discard(max(self._epochs, default=0))
                await self._table(await self._view.registry.current_epoch())
            case ProgramAdded(program_id=program_id) if program_id in self._programs:
                await self._program(self._programs[program_id])
            case EscrowDeposited() | WithdrawalRequested() | EscrowWithdrawn():
                if event.requester in self._requesters:
                    await self._read_escrow(event.requester)
            case BatchOnChain():
                receipt = await self._view.client.receipt(event.transaction)
                gas_used = 0 if receipt is None else receipt.gas_used
                await self._submit(
                    BatchSettled(event.sequence, event.root, event.transaction, gas_used)
                )
            case _:
                pass

    async def _table(self, epoch: int) -> None:
        if epoch in self._epochs:
            return
        opened = await read_table(self._view.registry, epoch)
        if opened is not None:
            self._epochs.add(epoch)
            await self._on_tables(opened)
            await self._submit(opened)

    async def _program(self, program: KnownProgram) -> None:
        """A program counts when the chain holds the very verifying keys that this node has."""
        program_id = program.registered.program_id
        for circuit, expected in enumerate(program.key_hashes):
            try:
                held = await self._view.market.verifying_key_hash(program_id, circuit)
            except ChainError:
                return
            if held != expected:
                log.error("the chain has another verifying key", program=program_id.hex())
                return
        await self._submit(program.registered)

    async def _read_escrow(self, requester: Address) -> None:
        amount = await self._view.market.escrow_of(requester)
        await self._submit(EscrowBalance(requester, amount))

    async def _judge(self, *, within: bool) -> None:
        if within is not self._within:
            self._within = within
            if not within:
                log.warning("clock and chain disagree", bound=self._params.chain_clock_bound_ms)
            await self._submit(ClockJudged(within))

    async def _patiently(self, work: Callable[[], Awaitable[Answer]]) -> Answer:
        """Repeat a read until the endpoint answers."""
        while True:
            try:
                return await work()
            except ChainError as exc:
                log.warning("chain unreachable", cause=str(exc))
                await trio.sleep(RETRY_S)
