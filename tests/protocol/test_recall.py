"""A node tells who asks what it heard it say, and nothing of others."""

from __future__ import annotations

from protocol.codec import decode
from protocol.messages import Kind, Recalled
from protocol.recall import recalled
from protocol.replica_state import empty_state
from tests.sim.market import MarketRun
from tests.sim.world import Shell

NONCE = b"\x01" * 16


class Stuck(MarketRun):
    """Four nodes that prepare Values and lock none: the round stays open."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.world.links.passes = lambda _, __, envelope: envelope.kind != Kind.PREPARE

    def _heal(self) -> None:
        pass

    def answer(self, asker: int, of: Shell) -> Recalled:
        me = of.machine.address
        state = self._replica(of).state
        return recalled(state, me, self.world.nodes[asker].machine.address, NONCE)


def test_the_open_round_and_the_asks_are_told() -> None:
    seed = next(
        seed
        for seed in range(40)
        if not (made := MarketRun(seed)).faulty and len(made.world.nodes) == 4 and not made.gst_ms
    )
    run = Stuck(seed)
    run._plan()
    run.world.run(9_500)
    asker, other = run.world.nodes[1], run.world.nodes[2]
    answer = run.answer(1, other)
    told = [decode(frame) for frame in answer.envelopes]
    assert answer.nonce == NONCE
    assert answer.round == 1
    assert {envelope.sender for envelope in told} == {asker.machine.address}
    kinds = {Kind(envelope.kind) for envelope in told}
    assert {Kind.BID_LIST, Kind.SEALED_BID, Kind.BID_RECEIPT, Kind.TIMEOUT} <= kinds
    # All of it the asker did sign, and its newest Timeout is among it.
    signed = {envelope for _, envelope in asker.signed.values()}
    assert signed.issuperset(told)
    timeouts = [envelope for envelope in signed if envelope.kind == Kind.TIMEOUT]
    assert max(timeouts, key=lambda envelope: envelope.body.view) in told


def test_before_the_first_table_nothing_is_known() -> None:
    assert recalled(empty_state(), bytes(20), bytes(20), NONCE) == Recalled(NONCE, 0, ())
