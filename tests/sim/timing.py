"""Faulty operators that say the right thing at the wrong time, or to the wrong node."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from protocol import codec
from protocol.effects import Effect, Publish
from protocol.messages import BidList, Commit, Envelope, Kind, Status, Timeout, Vote
from protocol.rotation import view_start_ms
from protocol.types import ZERO_HASH

if TYPE_CHECKING:
    from tests.sim.mischief import Mischief
    from tests.sim.world import Shell, World


def instead(mischief: Mischief, world: World, shell: Shell, effect: Publish) -> list[Effect] | None:
    """What is done in place of an honest Publish; None: nothing of this kind."""
    body = effect.body
    match body:
        case Timeout() if mischief.does("whisper"):
            _whisper(mischief, world, shell, body.view + 1)
            return [replace(effect, body=_bare(body))]
        case Status() | Timeout() if mischief.does("hide"):
            return [replace(effect, body=_bare(body))]
        case Vote() if effect.kind is Kind.PREPARE and mischief.does("whisper"):
            # Their PrepareCert forms among themselves alone.
            _at(mischief, world, shell, effect, world.now_ms, _accomplices(world))
            return []
        case BidList() if mischief.does("backdate", 0.5):
            late = mischief.rng.randint(
                mischief.params.view_ms // 4, 5 * mischief.params.view_ms // 2
            )
            _at(mischief, world, shell, effect, world.now_ms + late, _everybody(world))
            return []
        case BidList() if mischief.does("last_moment"):
            _last_moment(mischief, world, shell, effect)
            return []
        case Commit() if mischief.does("hold_commit"):
            one = mischief.rng.randrange(len(world.nodes))
            held = mischief.rng.randint(1, 3 * mischief.params.view_ms)
            _at(mischief, world, shell, effect, world.now_ms, [one])
            _at(mischief, world, shell, effect, world.now_ms + held, _everybody(world))
            return []
        case _ if mischief.does("late", 0.3):
            late = mischief.rng.randint(1, mischief.params.view_ms)
            _at(mischief, world, shell, effect, world.now_ms + late, _everybody(world))
            return []
    return None


def _bare(body: Status | Timeout) -> Status | Timeout:
    """An announcement that keeps its certificates to itself."""
    if isinstance(body, Status):
        return msgspec.structs.replace(body, prepare=None, lock=None)
    return msgspec.structs.replace(body, prepare_view=0, prepare_value=ZERO_HASH, prepare=None)


def _whisper(mischief: Mischief, world: World, shell: Shell, view: int) -> None:
    """Show the highest certificate to one node, just before the view's gateway may propose."""
    held = shell.machine.round.valid
    honest = [node.index for node in world.nodes if node.honest]
    if held is None or not honest:
        return
    params = mischief.params
    start = view_start_ms(view, 0, params.view_ms)
    at = start + params.gossip_bound_ms + params.clock_bound_ms - mischief.rng.randint(1, 40)
    shown = codec.encode(Envelope(Kind.CERTIFICATE, shell.machine.address, held, b""))
    mischief.send_frame(world, shell, mischief.rng.choice(honest), shown, max(at, world.now_ms))


def _last_moment(mischief: Mischief, world: World, shell: Shell, effect: Publish) -> None:
    """Voters get the list just before they freeze theirs, and the gateway gets it from them."""
    params, gateway = mischief.params, shell.machine.round.gateway
    deadline = world.now_ms + 2 * params.gossip_bound_ms + params.clock_bound_ms
    voters = [node.index for node in world.nodes if node.machine.address != gateway]
    at = deadline - mischief.rng.randint(1, 20)
    _at(mischief, world, shell, effect, at, voters)


def _at(
    mischief: Mischief, world: World, shell: Shell, effect: Publish, at: int, targets: list[int]
) -> None:
    """Say it to these at this time; the own machine hears it now, as if it were said."""
    envelope = world.sign(shell, effect.kind, effect.body, effect.slot)
    frame = codec.encode(envelope)
    world.at(world.now_ms, partial(world.receive, shell.index, frame))
    for target in targets:
        if target != shell.index:
            mischief.send_frame(world, shell, target, frame, at)


def _everybody(world: World) -> list[int]:
    return list(range(len(world.nodes)))


def _accomplices(world: World) -> list[int]:
    return [node.index for node in world.nodes if not node.honest]
