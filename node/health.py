"""Readiness in pipeline order: what keeps this node from taking part, and the mend."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.api.port import Check

if TYPE_CHECKING:
    from node.guard import SigningGuard
    from node.onchain.watch import ChainWatcher
    from node.ports import Network
    from protocol.replica import Replica


class Health:
    """Looks at the running parts when asked."""

    def __init__(
        self, replica: Replica, network: Network, watcher: ChainWatcher, guard: SigningGuard
    ) -> None:
        self._replica = replica
        self._network = network
        self._watcher = watcher
        self._guard = guard

    def checks(self) -> tuple[Check, ...]:
        """All checks, whether they pass or not."""
        state, me = self._replica.state, self._replica.setup.me
        ledger = state.ledger
        table = None if ledger is None else self._replica.tables().get(ledger.next_epoch)
        weight = connected = total = 0
        if table is not None:
            present = self._network.connected() | {me}
            connected = sum(row.operator in present for row in table.operators)
            weight = sum(row.weight for row in table.operators if row.operator in present)
            total = len(table.operators)
        return (
            Check(
                "chain",
                self._watcher.clock_within,
                "clock and chain head agree" if self._watcher.clock_within else "no recent head",
                "check chain.rpc_url and this machine's clock",
            ),
            Check(
                "table",
                table is not None and table.position_of(me) is not None,
                "in the operator table" if table is not None else "no operator table yet",
                "register for the operator set and wait for the next epoch",
            ),
            Check(
                "programs",
                bool(state.programs),
                f"{len(state.programs)} registered on chain",
                "build or fetch a program that the market registers",
            ),
            Check(
                "peers",
                table is not None and table.quorum(weight),
                f"{connected} of {total} operators connected",
                "check network.listen, the registered multiaddrs and the firewall",
            ),
            Check(
                "signing",
                self._guard.is_open,
                "signs" if self._guard.is_open else "listens for what it said before it started",
                "wait until operators with two thirds of the stake are connected",
            ),
        )
