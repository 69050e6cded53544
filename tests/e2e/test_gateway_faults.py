"""Real gateways are lost in each phase of a round, and every request settles all the same."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from devnet.fault_act import FaultAct
from devnet.fault_scenario import CHECKED, FaultScenario, run_faults
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
    """The two ends of a round, and its middle; `gateway-faults` has all of them."""
    acts = tuple(
        FaultAct(Fault.KILLED, at)
        for at in (Standpoint.COLLECTING, Standpoint.LOCKED, Standpoint.COMMITTED)
    )
    told = io.StringIO()
    async with logs_shown(tmp_path):
        scenario = FaultScenario("three kills", acts)
        outcome = await run_faults(scenario, tmp_path, Progress(Console(file=told)))
    assert [loss.act for loss in outcome.losses] == list(acts)
    assert outcome.losses[0].took_over in NODES - {outcome.losses[0].gateway}
    assert outcome.rounds >= 2 * len(acts)
    check_logs(tmp_path)


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
