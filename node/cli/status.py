"""`node status`: a running node's place in the network and its readiness, in pipeline order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from node.cli.options import DEFAULT_NODES, AsJson, NodeUrls
from node.cli.output import print_json, say
from node.errors import ExitCode

if TYPE_CHECKING:
    from node.client.api import Json


def status(node: NodeUrls = DEFAULT_NODES, json: AsJson = False) -> int:
    """Show whether a node is ready; exit 1 and the mend of each failing check if it is not."""
    from node.client.api import as_documented  # noqa: PLC0415

    about, readiness = trio.run(_ask, node)
    with as_documented():
        ready = readiness["ready"] is True
        if json:
            print_json({"ready": ready, "checks": readiness["checks"], "node": about})
        else:
            _show(about, readiness)
    return ExitCode.OK if ready else ExitCode.ANSWER_NO


async def _ask(nodes: list[str]) -> tuple[Json, Json]:
    from node.client.api import NodeClient, open_http  # noqa: PLC0415

    async with open_http() as http:
        client = NodeClient(nodes, http)
        return await client.get("/v1/node"), await client.readiness()


def _show(about: Json, readiness: Json) -> None:
    operators = about["operators"]
    connected = sum(bool(row["connected"]) for row in operators)
    say(f"operator {about['operator']} on chain {about['chain_id']}")
    say(
        f"epoch {about['epoch']}, round {about['round']}, view {about['view']}, gateway"
        f" {about['gateway']}, last settlement {about['last_sequence']}"
    )
    say(f"{connected} of {len(operators)} operators connected")
    for program in about["programs"]:
        say(f"program {program['name']} {program['program_id']}")
    for check in readiness["checks"]:
        mark = "ok  " if check["ok"] else "FAIL"
        mend = "" if check["ok"] else f"; {check['mend']}"
        say(f"{mark} {check['name']}: {check['detail']}{mend}")
