"""A whole devnet: Anvil with all contracts, and registered operators, each a process of its own."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from typing import TYPE_CHECKING, Final

import httpx
import trio

from chain.contracts import ProverRegistry
from chain.deployments import save_deployment
from chain.transaction import Account
from devnet.accounts import REQUESTER, account, secret_of
from devnet.anvil import HOST, AnvilSettings, run_anvil
from devnet.artifacts import ROOT
from devnet.child import start_child
from devnet.deploy import EPOCH_BLOCKS, NetworkPlan, deployment_of, prepare_network
from devnet.errors import DevnetError
from devnet.node_files import DEPLOYMENT_FILE, NodeFiles, Offer, write_requester
from devnet.operators import (
    ESCROW,
    fund_requester,
    open_next_epoch,
    register_operators,
    register_rotation,
    transactions_mined_at_once,
)
from devnet.ports import free_ports
from devnet.programs import program_keys
from devnet.relay import listen_at, relay, tcp_socket
from devnet.switch import open_switch
from node.config import load_config
from node.crypto import SessionKey
from node.errors import ExitCode
from node.keys import random_keys
from node.keystore import DEVNET
from node.onchain.rotation import prepare_rotation
from node.proving.build import build_program
from protocol.dispatch import classify

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from chain.client import ChainClient
    from chain.deployments import Deployment
    from devnet.anvil import Anvil
    from devnet.child import Child
    from devnet.deploy import PreparedNetwork
    from devnet.switch import Switch
    from node.keys import NodeKeys

PROGRAMS: Final = ROOT / ".artifacts" / "programs"
PROGRAM_SOURCE: Final = ROOT / "examples" / "solvency"
CIRCUIT_LIBRARY: Final = ROOT / "contracts" / "node_modules" / "circomlib" / "circuits"
PARAMS: Final = "devnet"
BLOCK_TIME_S: Final = 1
READY_DEADLINE_S: Final = 60.0
STOP_GRACE_S: Final = 10.0
PORT_ATTEMPTS: Final = 3
_POLL_S: Final = 0.05
_OUR_VARIABLES: Final = "PROVERNET_"


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """What to start. The last `hold` nodes are registered and configured but not started."""

    nodes: int = 4
    hold: int = 0
    workers: int = 1
    epoch_blocks: int = EPOCH_BLOCKS
    params: str = PARAMS
    """Protocol parameters by name."""
    offers: tuple[Offer, ...] = (Offer(),)
    """Of the nodes in turn."""
    probation_wei: int = 0
    """Most that a node pays to try a newcomer; 0: none does."""
    separable: bool = False
    """Each node in a network of its own, on a switch that can part them; needs root."""


@dataclass(slots=True)
class ClusterNode:
    """One operator's node; `child` is None while it does not run by our hand."""

    files: NodeFiles
    operator: str
    child: Child | None = None
    stopped_by_us: bool = True


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running devnet; `nodes` by name."""

    folder: Path
    anvil: Anvil
    deployment: Deployment
    requester: SessionKey
    nodes: dict[str, ClusterNode] = field(default_factory=dict)
    switch: Switch | None = None
    """What connects the nodes of a separable cluster."""

    @property
    def client(self) -> ChainClient:
        """The way to the chain."""
        return self.anvil.client

    @property
    def api_urls(self) -> list[str]:
        """HTTP APIs of all nodes that were started, the dead ones too."""
        return [n.files.api_url for n in self.nodes.values() if n.child is not None]

    def name_of(self, operator: str) -> str:
        """The name of the node of an operator's address; the address if it is nobody's."""
        for name, node in self.nodes.items():
            if node.operator == operator.lower():
                return name
        return operator

    def ended(self) -> dict[str, int]:
        """Exit status of each node that ended and that nobody here stopped."""
        return {
            name: node.child.returncode
            for name, node in self.nodes.items()
            if node.child and node.child.returncode is not None and not node.stopped_by_us
        }

    def start(self, name: str) -> None:
        """Start a node's process; see `wait_ready`."""
        node = self.nodes[name]
        command: list[str | Path] = [
            *(self.switch.sockets[name].namespace.command if self.switch else ()),
            sys.executable,
            "-m",
            "node",
            "start",
            "--config",
            node.files.config,
        ]
        # A variable of the user's own node must not configure ours.
        env = {k: v for k, v in os.environ.items() if not k.startswith(_OUR_VARIABLES)}
        node.child = start_child(command, log=node.files.log, env=env, cwd=ROOT)
        node.stopped_by_us = False

    async def kill(self, name: str) -> None:
        """Kill a node as a power failure would, with SIGKILL."""
        child = self._running(name)
        self.nodes[name].stopped_by_us = True
        child.send_signal(signal.SIGKILL)
        with trio.CancelScope(shield=True):  # it ends at once, and somebody has to collect it
            await child.wait()

    async def stop(self, name: str) -> int:
        """Stop a node as its operator would, and return its exit status."""
        child = self._running(name)
        if child.returncode is None:
            self.nodes[name].stopped_by_us = True
        return await child.stop(STOP_GRACE_S)

    async def restart(self, name: str) -> None:
        """Start a node that was killed or stopped, and wait until it is ready."""
        if self._running(name).returncode is None:
            raise DevnetError(f"{name} is running; kill or stop it first")
        self.start(name)
        await self.wait_ready([name])

    async def rotate_keys(self, name: str) -> None:
        """Rotate a running node's keys as its operator would: make, restart, register.

        They count from the next table that is frozen on.
        """
        files = self.nodes[name].files
        rotation = await prepare_rotation(load_config(files.config), DEVNET)
        await self.stop(name)
        await self.restart(name)
        await register_rotation(self.client, self.deployment, files.position, rotation)

    async def wait_ready(self, names: list[str], deadline_s: float = READY_DEADLINE_S) -> None:
        """Wait until these nodes say that they are ready.

        Raises:
            PortTakenError: a node found its port in use.
            DevnetError: a node ended, or names the checks that failed until the deadline.
        """
        failing: dict[str, str] = {}
        async with httpx.AsyncClient(timeout=5.0, trust_env=False) as http:
            try:
                with trio.move_on_after(deadline_s):
                    async with trio.open_nursery() as nursery:
                        for name in names:
                            failing[name] = "has not answered"
                            nursery.start_soon(self._until_ready, name, http, failing)
            except* DevnetError as group:
                first: BaseException = group
                while isinstance(first, BaseExceptionGroup):
                    first = first.exceptions[0]
                raise first from None
        if failing:
            told = "; ".join(f"{name}: {why}" for name, why in sorted(failing.items()))
            raise DevnetError(f"not ready after {deadline_s:.0f} s: {told}; see their logs")

    async def stop_all(self) -> None:
        """Stop every node at once."""
        async with trio.open_nursery() as nursery:
            for name, node in self.nodes.items():
                if node.child is not None:
                    nursery.start_soon(self.stop, name)

    def _running(self, name: str) -> Child:
        child = self.nodes[name].child
        if child is None:
            raise DevnetError(f"{name} was never started; start it by hand or without --hold")
        return child

    async def _until_ready(
        self, name: str, http: httpx.AsyncClient, failing: dict[str, str]
    ) -> None:
        node, child = self.nodes[name], self._running(name)
        while True:
            if child.returncode is not None:
                raise _why_it_ended(node, child.returncode)
            try:
                answer = (await http.get(node.files.api_url + "/readyz")).json()
            except (httpx.HTTPError, ValueError):
                answer = None
            if answer is not None:
                if answer["ready"]:
                    del failing[name]
                    return
                bad = [c for c in answer["checks"] if not c["ok"]]
                failing[name] = ", ".join(f"{c['name']} ({c['detail']})" for c in bad)
            await trio.sleep(_POLL_S)  # readiness is not announced, it is asked for


class PortTakenError(DevnetError):
    """Somebody took a port between our look and the node's start."""


@asynccontextmanager
async def run_cluster(
    spec: ClusterSpec, folder: Path, say: Callable[[str], None] = lambda _: None
) -> AsyncIterator[Cluster]:
    """Run a devnet for the length of a block, which starts when every node is ready.

    `folder` receives its files, in place of an earlier devnet's; `say` is told each step. All
    processes are gone afterwards, however the block ends, and even if this process is killed.

    Raises:
        DevnetError, ChainError, BackendError: it could not be started.
    """
    if spec.nodes < 1 or not 0 <= spec.hold <= spec.nodes:
        raise DevnetError(f"{spec.nodes} nodes, {spec.hold} of them held; give 1 or more nodes")
    folder.mkdir(parents=True, exist_ok=True)
    network, job_class = await _network(spec, say)
    runs = False
    for attempts_left in reversed(range(PORT_ATTEMPTS)):
        try:
            async with _running_cluster(spec, network, job_class, folder, say) as cluster:
                runs = True
                yield cluster
                return
        except PortTakenError:
            if runs or not attempts_left:
                raise
        say("somebody took a port in between; once more with others")


@asynccontextmanager
async def _running_cluster(
    spec: ClusterSpec,
    network: PreparedNetwork,
    job_class: str,
    folder: Path,
    say: Callable[[str], None],
) -> AsyncIterator[Cluster]:
    ports = free_ports(2 * spec.nodes)
    folders = [folder / f"node-{i + 1}" for i in range(spec.nodes)]
    with open_switch([one.name for one in folders]) if spec.separable else nullcontext() as switch:
        files = [
            NodeFiles(
                i,
                one,
                ports[2 * i],
                ports[2 * i + 1],
                switch.sockets[one.name].address if switch else HOST,
            )
            for i, one in enumerate(folders)
        ]
        async with _connected_cluster(spec, network, job_class, folder, say, files, switch) as made:
            yield made


@asynccontextmanager
async def _connected_cluster(
    spec: ClusterSpec,
    network: PreparedNetwork,
    job_class: str,
    folder: Path,
    say: Callable[[str], None],
    files: list[NodeFiles],
    switch: Switch | None,
) -> AsyncIterator[Cluster]:
    settings = AnvilSettings(
        log=folder / "anvil.log",
        block_time_s=BLOCK_TIME_S,
        accounts=network.accounts,
        load_state=network.chain.state,
    )
    for one in files:
        shutil.rmtree(one.folder, ignore_errors=True)
    async with run_anvil(settings) as anvil:
        keys = [random_keys() for _ in files]
        deployment = await _register(anvil, network, files, keys, spec, say)
        save_deployment(folder / DEPLOYMENT_FILE, deployment)
        requester = SessionKey(secret_of(REQUESTER))
        write_requester(folder, requester)
        cluster = Cluster(folder, anvil, deployment, requester, switch=switch)
        for one, secrets, offer in zip(files, keys, cycle(spec.offers), strict=False):
            one.write(
                secrets,
                rpc_url=anvil.url,
                programs=PROGRAMS,
                job_class=job_class,
                offer=offer,
                probation_wei=spec.probation_wei,
                workers=spec.workers,
            )
            operator = "0x" + one.operator(secrets).account.address.hex()
            cluster.nodes[one.name] = ClusterNode(one, operator)
        started = list(cluster.nodes)[: spec.nodes - spec.hold]
        async with _loopback_relayed(cluster):
            try:
                for name in started:
                    cluster.start(name)
                say(f"{len(started)} nodes start, each a process of its own")
                await cluster.wait_ready(started)
                yield cluster
            finally:
                with trio.CancelScope(shield=True):
                    await cluster.stop_all()


@asynccontextmanager
async def _loopback_relayed(cluster: Cluster) -> AsyncIterator[None]:
    """Give nodes in networks of their own what the machine's loopback gives the others.

    That is the chain, and being asked over HTTP: neither is cut by a partition.
    """
    if cluster.switch is None:
        yield
        return
    chain = cluster.anvil.port
    ways = []
    for name, one in cluster.switch.sockets.items():
        inside, api = one.namespace.socket, cluster.nodes[name].files.api_port
        ways.append((inside, tcp_socket, chain))
        ways.append((tcp_socket, inside, api))
    try:
        listeners = [listen_at(near, port) for near, _, port in ways]
    except OSError as exc:
        raise PortTakenError(f"a port of a node's API was taken: {exc.strerror}") from exc
    async with trio.open_nursery() as nursery:
        for listener, (_, far, port) in zip(listeners, ways, strict=True):
            nursery.start_soon(relay, listener, far, port)
        yield
        nursery.cancel_scope.cancel()


async def _network(spec: ClusterSpec, say: Callable[[str], None]) -> tuple[PreparedNetwork, str]:
    """The chain with our contracts and the program on it, and the program's class.

    Slow the first time only.
    """
    if not any(PROGRAMS.glob("[!.]*/lock.json")):
        say("compiles the solvency program and makes development keys (about a minute, once)")
    build = partial(build_program, PROGRAM_SOURCE, PROGRAMS, [CIRCUIT_LIBRARY])
    program = await trio.to_thread.run_sync(build)
    plan = NetworkPlan(
        programs=(program_keys(program),),
        epoch_blocks=spec.epoch_blocks,
        operators=max(16, spec.nodes),
    )
    return await prepare_network(plan), classify(program.manifest).name


async def _register(
    anvil: Anvil,
    network: PreparedNetwork,
    files: list[NodeFiles],
    keys: list[NodeKeys],
    spec: ClusterSpec,
    say: Callable[[str], None],
) -> Deployment:
    say(f"Anvil runs at {anvil.url} with the EigenLayer core and our contracts")
    genesis_ms = time.time_ns() // 1_000_000
    deployment = deployment_of(network, genesis_ms=genesis_ms, params=spec.params)
    operators = [one.operator(secrets) for one, secrets in zip(files, keys, strict=True)]
    async with transactions_mined_at_once(anvil.client, BLOCK_TIME_S):
        mined = [*await register_operators(anvil.client, deployment, operators)]
        registry = ProverRegistry(anvil.client, deployment.contracts.prover_registry)
        seed_delay = await registry.table_seed_delay()
        mined.append(await open_next_epoch(anvil.client, deployment, seed_delay))
        await fund_requester(anvil.client, deployment, account(REQUESTER), ESCROW)
        for secrets in keys if spec.probation_wei else ():
            sponsor = Account(secrets.session.secret)
            await fund_requester(anvil.client, deployment, sponsor, 10 * spec.probation_wei)
    passed = ", ".join(f"{m.blocks} blocks for the {m.reason}" for m in mined if m.blocks)
    say(f"{len(operators)} operators registered and staked (mined ahead: {passed or 'none'})")
    return deployment


def _why_it_ended(node: ClusterNode, status: int) -> DevnetError:
    lines = node.files.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    last = lines[-1] if lines else "it printed nothing"
    kind = PortTakenError if status == ExitCode.PORT_IN_USE else DevnetError
    text = f"{node.files.name} ended with status {status} while starting: {last}"
    return kind(f"{text}; see its log")
