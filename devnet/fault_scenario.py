"""A scenario of faults: acts on one cluster, and what must be true of all of them together."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from devnet.agreement import agreed
from devnet.cluster import ClusterSpec, run_cluster
from devnet.errors import DevnetError, NotTrueError
from devnet.fault_act import run_act
from devnet.faults import Fault
from devnet.switch import missing_for_switch

if TYPE_CHECKING:
    from pathlib import Path

    from devnet.cluster import Cluster
    from devnet.fault_act import FaultAct, Loss
    from devnet.progress import Progress

CHECKED: Final = (
    "every request is settled, with the claim computed from its list",
    "a gateway that was lost before it proposed was replaced by another",
    "every gateway that was lost came back to the others' round",
    "no node ended but those that were killed",
    "all nodes end with the same ledger, and no round has two certificates",
)


@dataclass(frozen=True, slots=True)
class FaultScenario:
    """Acts one after the other on one cluster."""

    summary: str
    acts: tuple[FaultAct, ...]
    cluster: ClusterSpec = ClusterSpec()  # noqa: RUF009 - frozen

    def only(self, name: str) -> FaultScenario:
        """One of its acts, or those of one fault; raises DevnetError for an unknown one."""
        acts = tuple(act for act in self.acts if name in {act.name, act.fault.value})
        if not acts:
            known = ", ".join(act.name for act in self.acts)
            raise DevnetError(f"there is no act {name!r}; choose one of: {known}")
        return replace(self, acts=acts)


@dataclass(slots=True)
class FaultOutcome:
    """What happened. `skipped`: acts that this machine can not do; `why` tells cause and mend."""

    losses: list[Loss] = field(default_factory=list)
    skipped: tuple[str, ...] = ()
    why: str = ""
    rounds: int = 0
    """Rounds whose certificates were compared between all nodes."""

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {
            "acts": [loss.as_json() for loss in self.losses],
            "skipped": list(self.skipped),
            "skipped_because": self.why,
            "rounds": self.rounds,
            "checked": list(CHECKED) if self.rounds else [],
        }


async def run_faults(scenario: FaultScenario, folder: Path, progress: Progress) -> FaultOutcome:
    """Run it on one fresh cluster; raises NotTrueError naming the first thing that is not true."""
    outcome = FaultOutcome()
    cuts = [act.name for act in scenario.acts if act.fault is Fault.PARTITIONED]
    outcome.why = missing_for_switch() if cuts else ""
    if outcome.why:
        outcome.skipped = tuple(cuts)
        progress.say(f"the {len(cuts)} partitions are left out: {outcome.why}")
    spec = replace(scenario.cluster, separable=bool(cuts) and not outcome.why)
    async with run_cluster(spec, folder, progress.say) as cluster:
        try:
            for act in scenario.acts:
                if act.name not in outcome.skipped:
                    outcome.losses.append(await run_act(act, cluster, progress))
            outcome.rounds = await _agreed_rounds(cluster)
        except NotTrueError as exc:
            raise NotTrueError(str(exc), outcome) from exc
        progress.say(f"{outcome.rounds} rounds have one certificate each, on every node")
    return outcome


async def _agreed_rounds(cluster: Cluster) -> int:
    if cluster.ended():
        raise NotTrueError(f"not true: no node ended by itself: {cluster.ended()}")
    return (await agreed(cluster.api_urls)).round
