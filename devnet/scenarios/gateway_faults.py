"""The gateway is killed, silenced and cut off in each phase of a round."""

from __future__ import annotations

from devnet.fault_act import FaultAct
from devnet.fault_scenario import FaultScenario
from devnet.faults import Fault
from devnet.standpoint import Standpoint

SCENARIO = FaultScenario(
    summary="real gateways are killed, silenced and cut off in each phase of a round",
    acts=tuple(
        FaultAct(fault, at)
        for fault in Fault
        for at in Standpoint
        if at is not Standpoint.ELSEWHERE
    ),
)
