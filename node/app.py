"""All wiring of an operator node, in the order of starting: what depends on what stands here.

Three nested scopes. Intake (peers' frames, the API) ends first; commitments (proofs, settlement
transactions) get until a deadline; the infrastructure (network, chain, replica, store) ends last.
"""

from __future__ import annotations

import errno
import signal
import socket
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import httpx
import structlog
import trio

from chain.client import ChainClient, open_client
from chain.contracts import ProofMarket, ProverRegistry
from chain.deployments import Deployment, check_deployment, load_deployment
from chain.errors import ChainError, UnderfundedError
from chain.signer import DEVNET_POLICY, Sender
from chain.transaction import Account
from node.api.http import build_api
from node.api.serve import bind, serve_api
from node.box import BidCiphers
from node.chain_errors import explained
from node.client.api import NodeClient
from node.crypto import Crypto
from node.driver import Driver
from node.epoch_keys import EpochKeys
from node.errors import ConfigError, NodeError, PortInUseError
from node.evidence import EvidenceBook
from node.facade import NodeFacade
from node.guard import SigningGuard
from node.health import Health
from node.history import History
from node.ingress import Ingress
from node.ingress_checks import Horizon
from node.key_sets import load_key_sets
from node.keys import NodeKeys, read_password
from node.metrics import Metrics, NetworkCollector
from node.net import HelloInfo, NetConfig, NetError, run_network
from node.onchain.epochs import EpochKeeper
from node.onchain.journal import ChainJournal
from node.onchain.registration import keys_in_force, operator_of
from node.onchain.settle import ChainSettler
from node.onchain.watch import ChainView, ChainWatcher, KnownProgram
from node.peers import records_of
from node.proving.artifacts import BuiltProgram, load_programs
from node.proving.engine import EngineConfig, open_engine
from node.proving.port import EngineProver
from node.services.checking import CheckingService
from node.services.intake import take_frames
from node.services.listening import Listening
from node.services.private_inputs import PrivateInputs
from node.services.proving import ProvingService
from node.services.reports import ReportService
from node.services.rounds import RoundTimer
from node.services.settling import SettlingService
from node.services.sponsoring import Sponsor
from node.store import Store
from node.system_clock import SystemClock
from protocol import effects as wanted
from protocol.codec import decode_decided, encode
from protocol.dispatch import classify
from protocol.eip712 import Domain
from protocol.errors import Rejection, RejectionReason
from protocol.hashing import keccak
from protocol.inputs import AskPolicy, ProgramRegistered
from protocol.messages import Batches, DecidedRound, Envelope, Kind
from protocol.params import NETWORKS, ProtocolParams
from protocol.replica import Replica
from protocol.rotation import view_at
from protocol.setup import Setup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from node.config import NodeConfig
    from protocol.inputs import TableOpened
    from protocol.types import Address, Hash

log = structlog.get_logger()

DRAIN_S: Final = 20.0
"""Longest wait for proofs and transactions under way once the node is told to stop."""
MAX_ROUNDS_REPLY: Final = 16
MAX_REPLY: Final = 900 * 1_024
REFUSALS: Final = frozenset({"bid_refused", "request_refused"})
"""Records of bids and requests that took no part, each with its reason."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this node is, as the chain knows it."""

    operator: Address
    keys: NodeKeys
    """The set in force at the start, whose session account sends transactions until the end."""
    sets: tuple[NodeKeys, ...]
    """All sets, oldest first: statements are signed with that of their epoch."""
    deployment: Deployment
    params: ProtocolParams
    domain: Domain


async def run_node(config: NodeConfig) -> None:
    """Run one operator node until SIGINT or SIGTERM; raises NodeError before anything is signed."""
    sets = load_key_sets(config.keys_dir, read_password(config.password_file))
    programs = load_programs(config.proving.programs)
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(open_client(config.chain.rpc_url))
        with explained(config):
            identity = await _identify(config, client, sets)
        listener = bind(config.api)
        stack.callback(_close, listener)
        store = Store.open(config.data_dir / "node.sqlite")
        stack.callback(store.close)
        scratch = config.proving.scratch or config.data_dir / "proving"
        engine = await stack.enter_async_context(
            open_engine(
                EngineConfig(
                    programs=programs,
                    journal_dir=scratch,
                    prove_workers=config.proving.workers,
                    memory_limit_bytes=config.proving.worker_memory_mb << 20,
                )
            )
        )
        node = _Node(
            config, identity, client, store, EngineProver(engine, identity.operator), programs
        )
        try:
            await node.run(listener, engine.retire_idle_workers)
        except* NetError as group:
            raise _listening(group) from group


def _listening(group: ExceptionGroup[NetError]) -> NodeError:
    """Why the network could not start, for a person."""
    error: BaseException = group
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    cause = error.__cause__
    if cause is None or (isinstance(cause, OSError) and cause.errno == errno.EADDRINUSE):
        return PortInUseError(f"{error}", "stop that program or set network.listen")
    return ConfigError(f"{error}", "set network.listen to an address of this machine")


async def _identify(
    config: NodeConfig, client: ChainClient, sets: tuple[NodeKeys, ...]
) -> Identity:
    deployment = load_deployment(config.chain.deployment)
    await check_deployment(client, deployment)
    params = NETWORKS.get(deployment.params)
    if params is None:
        raise ConfigError(
            f"the deployment asks for parameters {deployment.params!r}, unknown here",
            "install the version that the network runs",
        )
    registry = ProverRegistry(client, deployment.contracts.prover_registry)
    operator = await operator_of(registry, sets)
    keys = sets[-1] if operator is None else await keys_in_force(registry, operator, sets)
    if not await client.balance(keys.session.address):
        raise UnderfundedError(f"the session key 0x{keys.session.address.hex()} has no ether")
    if operator is None:
        raise ConfigError(
            f"no operator registered the session key 0x{keys.session.address.hex()}",
            "register it through EigenLayer's AllocationManager first",
        )
    domain = Domain(deployment.chain_id, deployment.contracts.prover_registry)
    return Identity(operator, keys, sets, deployment, params, domain)


class _Node:
    """The parts of one running node."""

    def __init__(
        self,
        config: NodeConfig,
        identity: Identity,
        client: ChainClient,
        store: Store,
        prover: EngineProver,
        programs: Mapping[Hash, BuiltProgram],
    ) -> None:
        self.config = config
        self.identity = identity
        self.client = client
        self.store = store
        self.prover = prover
        self.programs = programs
        self.clock = SystemClock()
        self.metrics = Metrics()
        contracts = identity.deployment.contracts
        self.registry = ProverRegistry(client, contracts.prover_registry)
        self.market = ProofMarket(client, contracts.proof_market)
        self.sender = Sender(
            client,
            Account(identity.keys.session.secret),
            identity.deployment.chain_id,
            DEVNET_POLICY,
        )
        self.signatures = Crypto()
        self.setup = Setup(
            me=identity.operator,
            domain=identity.domain,
            params=identity.params,
            genesis_ms=identity.deployment.genesis_ms,
            secret=keccak(b"provernet/salt" + identity.keys.session.secret),
            aggregator=self.signatures,
            cipher=BidCiphers(*(keys.sealing for keys in identity.sets)),
        )
        self.handlers: dict[type[Any], Callable[[Any], Any]] = {}
        self.epoch_keys = EpochKeys(
            identity.sets,
            identity.operator,
            self._tables,
            self._epoch_in_force,
        )
        self.guard = SigningGuard(
            store, self.epoch_keys.at, identity.domain, identity.operator, self._began_view()
        )
        self.driver = Driver(
            store=store,
            guard=self.guard,
            clock=self.clock,
            restore=self._restore,
            handlers=self.handlers,
        )
        self.submit = self.driver.submit
        self.ingress = Ingress(identity.domain, self.signatures, self._fault)
        self.inputs = PrivateInputs(
            identity.operator,
            [keys.sealing for keys in reversed(identity.sets)],
            prover,
            self._job,
            self.driver.wait_changed,
        )
        self.history = History(store)
        self.evidence = EvidenceBook(store)
        self.reports = ReportService(store, self.metrics, self.clock)

    async def run(self, listener: Any, retire_idle_workers: Callable[[], Any]) -> None:
        """Start everything, wait for a signal, stop in the opposite order."""
        identity, config = self.identity, self.config
        hello = HelloInfo(
            chain_id=identity.deployment.chain_id,
            registry=identity.deployment.contracts.prover_registry,
            parameters_hash=identity.params.hash(),
            operator=identity.operator,
        )
        net_config = NetConfig((config.network.listen,), config.data_dir / "blobs")
        async with trio.open_nursery() as infrastructure:
            self.network = await infrastructure.start(
                run_network, net_config, identity.keys.peer_seed, hello, self.inputs.on_blob
            )
            self.inputs.connect(self.submit, self.network)
            self.metrics.registry.register(NetworkCollector(self.network.counters.snapshot))
            self.metrics.peers_connected.set_function(lambda: len(self.network.connected()))
            watcher = self._watcher()
            async with trio.open_nursery() as commitments:
                proving = ProvingService(
                    self.prover, self.submit, self.metrics, self.clock, commitments
                )
                checking = CheckingService(self.prover, self.submit, self.metrics, commitments)
                settling = SettlingService(self._settler(), self.submit, self.metrics, commitments)
                self._handle(watcher, proving, checking, settling)
                await infrastructure.start(self.driver.run)
                for policy in self._policies():
                    await self.submit(policy)
                await infrastructure.start(watcher.follow)
                infrastructure.start_soon(watcher.answer_escrow)
                infrastructure.start_soon(self._epoch_keeper(watcher).keep)
                infrastructure.start_soon(retire_idle_workers)
                facade = self._facade(self.replica, watcher)
                listening = Listening(
                    replica=lambda: self.replica,
                    driver=self.driver,
                    guard=self.guard,
                    ingress=self.ingress,
                    horizon=self._horizon,
                    network=self.network,
                    clock=self.clock,
                )
                async with trio.open_nursery() as intake:
                    intake.start_soon(
                        take_frames,
                        self.network.inbound,
                        self.ingress,
                        self._horizon,
                        self.network,
                        listening.take,
                        self.metrics,
                        self.clock,
                    )
                    intake.start_soon(listening.run)
                    stop = trio.Event()
                    infrastructure.start_soon(
                        serve_api, build_api(facade), listener, config.api, stop
                    )
                    if config.probation.max_fee_wei:
                        intake.start_soon(self._sponsor, facade)
                    log.info("node started", operator="0x" + identity.operator.hex())
                    await _signalled()
                    log.info("stopping", proofs=proving.running, transactions=settling.sending)
                    intake.cancel_scope.cancel()
                with trio.move_on_after(DRAIN_S):
                    while proving.running or settling.sending:
                        await self.driver.wait_changed()
                commitments.cancel_scope.cancel()
            stop.set()
            infrastructure.cancel_scope.cancel()

    async def _sponsor(self, facade: NodeFacade) -> None:
        """Ask this node itself, in process, as any requester would."""
        transport = httpx.ASGITransport(build_api(facade))
        async with httpx.AsyncClient(transport=transport) as http:
            program_id, program = min(self.programs.items())
            await Sponsor(
                self.replica,
                self.driver.wait_changed,
                NodeClient(["http://self"], http),
                lambda epoch: self.epoch_keys.at(epoch).session,
                ("0x" + program_id.hex(), classify(program.manifest).class_id),
                self.config.probation.max_fee_wei,
            ).run()

    def _restore(self, snapshot: bytes | None) -> Replica:
        return Replica(self.setup) if snapshot is None else Replica.restore(self.setup, snapshot)

    @property
    def replica(self) -> Replica:
        """The machine that the driver owns."""
        machine = self.driver.machine
        if not isinstance(machine, Replica):
            raise TypeError("the driver runs another machine")
        return machine

    def _began_view(self) -> int:
        """The last view in which an earlier life of this operator can have signed anything."""
        params = self.identity.params
        latest_ms = self.clock.now_ms() + params.clock_bound_ms
        return view_at(latest_ms, self.identity.deployment.genesis_ms, params.view_ms)

    def _horizon(self) -> Horizon:
        tables, state = self.replica.tables(), self.replica.state.round
        if state is None:
            return Horizon(tables, 0)
        prepared = -1 if state.valid is None else state.valid.view
        return Horizon(tables, state.round, prepared, state.lock is not None)

    def _job(self, request_id: Hash) -> Any:
        return self.replica.state.jobs.get(request_id)

    def _fault(self, exc: Exception) -> None:
        log.error("fault in ingress", exc_info=exc)

    def _policies(self) -> list[AskPolicy]:
        """What this operator offers, by class of the programs that it has."""
        classes = {classify(program.manifest) for program in self.programs.values()}
        return [
            AskPolicy(found.class_id, offer.slots, offer.price_wei)
            for found in sorted(classes, key=lambda found: found.name)
            if (offer := self.config.market.get(found.name)) is not None
        ]

    def _watcher(self) -> ChainWatcher:
        known: dict[bytes, KnownProgram] = {
            program_id: KnownProgram(
                ProgramRegistered(
                    program_id,
                    classify(program.manifest).class_id,
                    program.manifest.max_segments,
                ),
                tuple(
                    keccak(program.verifying_key(circuit.name))
                    for circuit in (program.manifest.segment, program.manifest.combine)
                ),
            )
            for program_id, program in self.programs.items()
        }
        journal = ChainJournal(self.store)
        view = ChainView(
            client=self.client,
            registry=self.registry,
            market=self.market,
            deployment=self.identity.deployment,
            confirmations=self.config.chain.confirmations,
            load_position=journal.load_position,
            save_position=journal.save_position,
            first_epoch=self._epoch_in_force,
        )
        return ChainWatcher(
            view,
            known,
            self.identity.params,
            self.submit,
            self._peers_changed,
            self.metrics,
            self.clock,
        )

    async def _peers_changed(self, table: TableOpened) -> None:
        self.epoch_keys.learn(table)
        self.network.set_operators(records_of(table, self.identity.operator))

    def _settler(self) -> ChainSettler:
        journal = ChainJournal(self.store)
        return ChainSettler(self.market, self.sender, journal.add_attempt, journal.attempts)

    def _epoch_keeper(self, watcher: ChainWatcher) -> EpochKeeper:
        contracts = self.identity.deployment.contracts
        return EpochKeeper(
            self.client, self.registry, contracts, self.sender, self._place, lambda: watcher.head
        )

    def _place(self) -> tuple[int, int] | None:
        """This operator's position in the newest table, and the table's size."""
        tables = self.replica.tables()
        if not tables:
            return None
        table = tables[max(tables)]
        position = table.position_of(self.identity.operator)
        return None if position is None else (position, len(table.operators))

    def _tables(self) -> Iterable[TableOpened]:
        return self.replica.state.tables.values()

    def _epoch_in_force(self) -> int:
        """Epoch of the next round that this node has to decide or to catch up with."""
        ledger = self.replica.state.ledger
        return 1 if ledger is None else ledger.next_epoch

    def _handle(
        self,
        watcher: ChainWatcher,
        proving: ProvingService,
        checking: CheckingService,
        settling: SettlingService,
    ) -> None:
        """Say who performs which effect; the driver itself performs Publish and Decided."""
        timer = RoundTimer(self.metrics)

        async def broadcast(effect: wanted.Broadcast) -> None:
            if effect.envelope.sender == self.identity.operator:
                kind = Kind(effect.envelope.kind).name.lower()
                self.metrics.statements_sent.labels(kind).inc()
            await self.network.broadcast(encode(effect.envelope), effect.reliable)

        async def send(effect: wanted.SendTo) -> None:
            await self.network.send(effect.operator, encode(effect.envelope))

        async def start_proving(effect: wanted.StartProving) -> None:
            proving.start(effect)

        async def stop_proving(effect: wanted.StopProving) -> None:
            proving.stop(effect.request_id, effect.segment)

        async def forget(effect: wanted.Forget) -> None:
            proving.forget(effect.request_id)

        async def check(effect: wanted.CheckProof) -> None:
            checking.start(effect)

        async def submit_batch(effect: wanted.SubmitBatch) -> None:
            settling.start(effect)

        async def watch_escrow(effect: wanted.WatchEscrow) -> None:
            watcher.watch_escrow(effect.requester)

        async def decided(effect: wanted.Decided) -> None:
            log.info("round decided", round=effect.record.value.round)

        async def record(effect: wanted.Record) -> None:
            timer.note(effect)
            if effect.event in REFUSALS:
                self.metrics.bids_refused.labels(str(dict(effect.fields)["reason"])).inc()
            log.debug(effect.event, **dict(effect.fields))

        self.handlers.update(
            {
                wanted.Broadcast: broadcast,
                wanted.SendTo: send,
                wanted.StartProving: start_proving,
                wanted.StopProving: stop_proving,
                wanted.Forget: forget,
                wanted.CheckProof: check,
                wanted.SubmitBatch: submit_batch,
                wanted.WatchEscrow: watch_escrow,
                wanted.Decided: decided,
                wanted.ServeBatches: self._serve_batches,
                wanted.Report: self.reports.report,
                wanted.KeepProof: self.reports.keep_proof,
                wanted.KeepRound: self.history.keep,
                wanted.KeepEvidence: self.evidence.keep,
                wanted.KeepReceipt: self.evidence.keep_receipt,
                wanted.Record: record,
            }
        )

    async def _serve_batches(self, effect: wanted.ServeBatches) -> None:
        """Decided rounds for a late node, as many as fit one frame."""
        rounds: list[DecidedRound] = []
        size = 0
        for raw in await self.store.decided(effect.from_round, MAX_ROUNDS_REPLY):
            size += len(raw)
            if rounds and size > MAX_REPLY:
                break
            rounds.append(decode_decided(raw))
        if rounds:
            body = Batches(tuple(rounds))
            reply = Envelope(Kind.BATCHES, self.identity.operator, body, b"")
            await self.network.send(effect.operator, encode(reply))

    def _facade(self, replica: Replica, watcher: ChainWatcher) -> NodeFacade:
        return NodeFacade(
            replica=replica,
            market=self.identity.deployment.contracts.proof_market,
            programs=self.programs,
            ingress=self.ingress,
            horizon=self._horizon,
            submit=self.submit,
            network=self.network,
            documents=self.store,
            reports=self.reports,
            inputs=self.inputs,
            escrow_of=self._escrow_of,
            history=self.history,
            evidence=self.evidence,
            health=Health(replica, self.network, watcher, self.guard).checks,
            metrics=self.metrics,
            clock=self.clock,
        )

    async def _escrow_of(self, requester: Address) -> int:
        try:
            return await self.market.escrow_of(requester)
        except ChainError as exc:
            raise Rejection(RejectionReason.TOO_EARLY, f"the chain can not be read: {exc}") from exc


def _close(listener: socket.socket) -> None:
    """Close the API's socket, unless the server has done so through its descriptor."""
    with suppress(OSError):
        listener.close()


async def _signalled() -> None:
    """Return on the first SIGINT or SIGTERM."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            return
