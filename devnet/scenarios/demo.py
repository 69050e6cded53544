"""A real statement is proven, verified, settled, and changes what a contract does."""

from __future__ import annotations

from devnet.scenario import GATE_OPENED, SETTLED, Act, Scenario

SCENARIO = Scenario(
    summary="four operators prove the liabilities of 64 accounts; a stablecoin reads the result",
    acts=(Act("demo", must=SETTLED + GATE_OPENED),),
)
