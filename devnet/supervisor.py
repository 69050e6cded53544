"""Keeps a devnet up until it is told to stop."""

from __future__ import annotations

import os
import runpy
from typing import TYPE_CHECKING, Any, Final

import trio

from chain.client import hexed
from devnet.artifacts import ROOT
from devnet.cluster import ClusterSpec, run_cluster
from devnet.node_files import DEPLOYMENT_FILE, PASSWORD_FILE, REQUESTER_FILE
from devnet.standing import held, write_state

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from devnet.cluster import Cluster

ACCOUNTS_FILE: Final = "accounts.csv"
ACCOUNTS: Final = 64
SEED: Final = 1


async def supervise(
    spec: ClusterSpec,
    folder: Path,
    say: Callable[[str], None],
    up: Callable[[dict[str, Any]], None],
) -> None:
    """Run a cluster in the folder until cancelled; `up` is told where everything is.

    Raises:
        AlreadyRunsError: another devnet holds the folder.
        DevnetError, ChainError, BackendError: it could not be started.
    """
    with held(folder):
        async with run_cluster(spec, folder, say) as cluster:
            draw = runpy.run_path(str(ROOT / "examples" / "solvency" / "draw.py"))["draw"]
            (folder / ACCOUNTS_FILE).write_text(draw(ACCOUNTS, SEED), encoding="utf-8")
            state = describe(cluster)
            write_state(folder, state)
            up(state)
            await trio.sleep_forever()


def describe(cluster: Cluster) -> dict[str, Any]:
    """Where everything is; paths absolute."""
    folder = cluster.folder
    return {
        "pid": os.getpid(),
        "folder": str(folder),
        "rpc_url": cluster.anvil.url,
        "deployment": str(folder / DEPLOYMENT_FILE),
        "requester": {
            "address": hexed(cluster.requester.address),
            "key": str(folder / REQUESTER_FILE),
            "password_file": str(folder / PASSWORD_FILE),
            "accounts": str(folder / ACCOUNTS_FILE),
        },
        "nodes": [
            {
                "name": name,
                "operator": node.operator,
                "api": node.files.api_url,
                "config": str(node.files.config),
                "log": str(node.files.log),
                "held": node.child is None,
                "pid": node.child.pid if node.child else None,
            }
            for name, node in cluster.nodes.items()
        ],
    }
