"""How fast the deterministic simulator decides rounds: agreement alone, and the whole replica."""

from __future__ import annotations

import resource
import time
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Final

import trio

from benchmarks.records import load, save
from protocol.codec import encode
from protocol.effects import WatchEscrow
from protocol.eip712 import body_digest, digest
from protocol.hashing import keccak
from protocol.inputs import (
    AskPolicy,
    ClockJudged,
    EscrowBalance,
    ProgramRegistered,
    Received,
    TableOpened,
)
from protocol.messages import Kind, ProofRequest
from protocol.rotation import committee
from protocol.sealing import Offer, Terms, seal
from protocol.types import Address
from tests.sim.crypto import HASHED, HashCipher, address_of
from tests.sim.ingress import Ingress
from tests.sim.judge import Judge
from tests.sim.market import CLASS, ESCROW, PRICE, PROGRAM, ReplicaPort
from tests.sim.run import DOMAIN, PARAMS, VIEW_MS, answer_checks, item_frame, make_table, toy_shells
from tests.sim.world import Shell, World, signed_envelope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from benchmarks.records import Json
    from protocol.rotation import OperatorTable

RUNS: Final = (
    ("agreement", 10, 20),
    ("agreement", 100, 2),
    ("replica", 10, 10),
    ("replica", 100, 1),
    ("agreement", 1_000, 1),
)
"""Machine, nodes, rounds: the longest last."""
QUICK_NODES: Final = 10
PATIENCE_VIEWS: Final = 16
_OWNER: Final = address_of("owner")


async def measure(say: Callable[[str], None], *, quick: bool) -> None:
    """Good links, nobody faulty: one thing to decide after the other. Saved after each run."""
    machines = {"agreement": _agreement, "replica": _replica}
    runs: list[Json] = []
    for machine, nodes, rounds in RUNS:
        if quick and nodes > QUICK_NODES:
            continue
        busy = load()
        work = partial(machines[machine], nodes, rounds)
        part = await trio.to_thread.run_sync(work, abandon_on_cancel=True)
        runs.append({"machine": machine, "nodes": nodes, "load_before": busy, **part})
        save("simulator", {"load_before": runs[0]["load_before"], "runs": runs})
        say(f"simulator, {machine}, {nodes} nodes: {part['rounds_per_s']} rounds a second")


def _agreement(nodes: int, rounds: int) -> Json:
    table, ingress, rng, judge = _network(nodes)
    shells = toy_shells(table, ingress, frozenset())
    world = World(shells, ingress, rng, judge, outside=answer_checks)
    return _timed(world, rounds, lambda: (item_frame(DOMAIN, keccak(rng.randbytes(8))),))


def _replica(nodes: int, rounds: int) -> Json:
    table, ingress, rng, judge = _network(nodes)
    shells = [
        Shell(place, partial(ReplicaPort, Address(row.operator), PARAMS, HASHED, {}))
        for place, row in enumerate(table.operators)
    ]
    world = World(shells, ingress, rng, judge, outside=_answer_escrow)
    for event in (
        TableOpened(table.epoch, table.seed, table.operators),
        ProgramRegistered(PROGRAM, CLASS, 8),
        ClockJudged(True),
        AskPolicy(CLASS, 8, PRICE),
    ):
        for place in range(nodes):
            world.deliver(place, event)
    world.run(VIEW_MS)
    return _timed(world, rounds, partial(_request, world, table))


def _network(nodes: int) -> tuple[OperatorTable, Ingress, Random, Judge]:
    table = make_table([100 * PARAMS.slot_stake] * nodes, keccak(b"benchmark"))
    honest = {row.operator for row in table.operators}
    judge = Judge(DOMAIN, PARAMS, committee(table, PARAMS), honest)
    return table, Ingress(table, DOMAIN), Random(nodes), judge


def _timed(world: World, rounds: int, make: Callable[[], Iterable[bytes]]) -> Json:
    """Hand frames to every node, run until every node has decided; so many times."""
    started, began_ms = time.perf_counter(), world.now_ms
    for number in range(1, rounds + 1):
        for frame in make():
            for shell in world.nodes:
                world.deliver(shell.index, Received(frame))

        def decided(number: int = number) -> bool:
            return all(len(shell.machine.decisions()) >= number for shell in world.nodes)

        world.run(world.now_ms + PATIENCE_VIEWS * VIEW_MS, decided)
        if not decided():
            raise RuntimeError(f"round {number} of {len(world.nodes)} nodes was not decided")
    elapsed = time.perf_counter() - started
    return {
        "rounds": rounds,
        "rounds_per_s": round(rounds / elapsed, 4),
        "messages_per_round": world.sent // rounds,
        "messages_per_s": round(world.sent / elapsed),
        "simulated_ms_per_round": (world.now_ms - began_ms) // rounds,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1_000,
    }


def _request(world: World, table: OperatorTable) -> tuple[bytes, bytes]:
    """A request that stays open, and its bid, sealed to the committee."""
    request = ProofRequest(
        program_id=PROGRAM,
        requester=_OWNER,
        input_hashes=(world.rng.randbytes(32), world.rng.randbytes(32)),
        copies=1,
        reserve=(4 * PRICE).to_bytes(32, "big"),
        issued_at=world.now_ms // 1_000,
        deadline_view=world.now_ms // VIEW_MS + PARAMS.max_deadline_views,
        allowlist=(),
        salt=world.rng.randbytes(32),
    )
    request_id = digest(DOMAIN, request)
    members = committee(table, PARAMS)
    keys = [row.sealing_key for row in table.operators if row.operator in members]
    shell = world.nodes[0]
    terms = Terms(table.epoch, shell.machine.round.round, CLASS, _OWNER, request_id)
    bid = seal(DOMAIN, terms, Offer(4 * PRICE), keys, world.rng.randbytes(32), HashCipher())
    signed = body_digest(DOMAIN, Kind.SEALED_BID, bid)
    return (
        encode(signed_envelope(_OWNER, Kind.REQUEST, request, request_id)),
        encode(signed_envelope(_OWNER, Kind.SEALED_BID, bid, signed)),
    )


def _answer_escrow(world: World, shell: Shell, effect: object) -> None:
    if isinstance(effect, WatchEscrow):
        answer = EscrowBalance(effect.requester, ESCROW)
        world.at(world.now_ms + 1, partial(world.deliver, shell.index, answer))
