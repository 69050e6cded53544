"""Real gateways are lost in each phase of a round, and every request settles all the same."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from devnet import fault_scenario
from devnet.cluster import ClusterSpec
from devnet.fault_act import FaultAct
from devnet.fault_scenario import CHECKED, FaultOutcome, FaultScenario, run_faults
from devnet.faults import Fault
from devnet.progress import Progress
from devnet.standpoint import Standpoint
from devnet.switch import missing_for_switch
from tests.e2e.conftest import run
from tests.e2e.workload import check_logs, logs_shown

if TYPE_CHECKING:
    from pathlib import Path

PHASES = ["collecting", "proposing", "prepared", "locked", "opening", "committed"]
NODES = {"node-1", "node-2", "node-3", "node-4"}


async def test_a_gateway_that_dies_early_and_one_that_dies_late_are_replaced(
    tmp_path: Path,
) -> None:
    """The two ends of a round by a kill, its middle by a cut; `gateway-faults` has all of them."""
    acts = (
        FaultAct(Fault.KILLED, Standpoint.COLLECTING),
        FaultAct(Fault.PARTITIONED, Standpoint.LOCKED),
        FaultAct(Fault.KILLED, Standpoint.COMMITTED),
    )
    outcome, _ = await run_acts(tmp_path, FaultScenario("three losses", acts))
    assert outcome.skipped == (("partitioned-locked",) if missing_for_switch() else ())
    assert [loss.act for loss in outcome.losses] == [
        act for act in acts if act.name not in outcome.skipped
    ]
    assert outcome.losses[0].took_over in NODES - {outcome.losses[0].gateway}
    assert outcome.rounds >= 2 * len(outcome.losses)


async def test_partitions_that_the_machine_can_not_do_are_left_out_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fault_scenario, "missing_for_switch", lambda: "cause; mend")
    acts = (FaultAct(Fault.PARTITIONED, Standpoint.LOCKED),)
    outcome, told = await run_acts(tmp_path, FaultScenario("a cut", acts, ClusterSpec(nodes=1)))
    assert outcome.as_json()["skipped"] == ["partitioned-locked"]
    assert outcome.as_json()["skipped_because"] == "cause; mend"
    assert outcome.losses == []
    assert "cause; mend" in told


async def run_acts(folder: Path, scenario: FaultScenario) -> tuple[FaultOutcome, str]:
    """The outcome, and what a person was told."""
    told = io.StringIO()
    async with logs_shown(folder):
        outcome = await run_faults(scenario, folder, Progress(Console(file=told, width=200)))
    check_logs(folder)
    return outcome, told.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("fault", [fault.value for fault in Fault])
def test_a_gateway_may_be_lost_in_every_phase(fault: str) -> None:
    done = run("devnet", "scenario", "gateway-faults", "--act", fault, "--json", timeout_s=230)
    found = done.json
    assert found["checked"] == list(CHECKED)
    if fault == Fault.PARTITIONED.value and missing_for_switch():
        assert found["skipped"] == [f"{fault}-{phase}" for phase in PHASES]
        assert found["skipped_because"]
        return
    assert found["skipped"] == []
    assert [act["phase"] for act in found["acts"]] == PHASES
    for act in found["acts"]:
        assert act["fault"] == fault
        assert act["status"] == "settled"
        assert act["gateway"] in NODES
        assert act["took_over"] in {None, *NODES} - {act["gateway"]}
    assert found["acts"][0]["took_over"], "nobody had heard of a proposal"
    assert len({act["request_id"] for act in found["acts"]}) == len(PHASES)
