"""One node's folder: keys, configuration, data, log."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from devnet.anvil import HOST
from devnet.operators import NewOperator
from node.keys import save_keys
from node.keystore import DEVNET, encrypt_v3
from node.net.identity import peer_id_bytes, peer_id_of_seed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from node.crypto import SessionKey
    from node.keys import NodeKeys

PASSWORD: Final = "devnet"  # noqa: S105 - its keys are public or thrown away
PASSWORD_FILE: Final = "password"  # noqa: S105 - a file's name
REQUESTER_FILE: Final = "requester.json"
DEPLOYMENT_FILE: Final = "deployment.json"
WORKER_MEMORY_MB: Final = 1_024
SLOTS: Final = 6
"""Segments that a node takes at once: three of four nodes hold the largest request."""
ASK_WEI: Final = 10**12
"""A thousandth of the first posted price, which falls while the network is idle."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What a node asks for in its market; `price_wei` for each slot."""

    slots: int = SLOTS
    price_wei: int = ASK_WEI


@dataclass(frozen=True, slots=True)
class NodeFiles:
    """Where a node's files are; `position` from 0 chooses its operator's accounts."""

    position: int
    folder: Path
    p2p_port: int
    api_port: int
    p2p_host: str = HOST
    """IPv4 address that its peers reach it at."""

    @property
    def name(self) -> str:
        """What people call the node: node-1, node-2 ..."""
        return self.folder.name

    @property
    def config(self) -> Path:
        """Its configuration, for `node start --config`."""
        return self.folder / "node.toml"

    @property
    def log(self) -> Path:
        """Its standard output and error."""
        return self.folder / "node.log"

    @property
    def multiaddr(self) -> str:
        """Where its peers reach it."""
        return f"/ip4/{self.p2p_host}/tcp/{self.p2p_port}"

    @property
    def api_url(self) -> str:
        """Its HTTP API."""
        return f"http://{HOST}:{self.api_port}"

    def operator(self, keys: NodeKeys) -> NewOperator:
        """What is registered on chain of this node."""
        peer_id = peer_id_bytes(peer_id_of_seed(keys.peer_seed))
        return NewOperator(
            position=self.position,
            session=keys.session.address,
            bls_key=keys.bls,
            sealing_key=keys.sealing.public_key,
            peer_id=peer_id,
            multiaddrs=self.multiaddr,
        )

    def write(
        self,
        keys: NodeKeys,
        *,
        rpc_url: str,
        programs: Path,
        job_class: str,
        offer: Offer,
        probation_wei: int,
        workers: int,
    ) -> None:
        """Write keys and configuration; the shared files lie one folder up."""
        self.folder.mkdir(parents=True)
        save_keys(self.folder / "keys", keys, PASSWORD, DEVNET)
        sections: dict[str, dict[str, object]] = {
            "chain": {"rpc_url": rpc_url, "deployment": f"../{DEPLOYMENT_FILE}"},
            "network": {"listen": self.multiaddr},
            "api": {"host": HOST, "port": self.api_port},
            "proving": {
                "programs": str(programs),
                "workers": workers,
                "worker_memory_mb": WORKER_MEMORY_MB,
            },
            f'market."{job_class}"': {"slots": offer.slots, "price_wei": offer.price_wei},
            "probation": {"max_fee_wei": probation_wei},
            "log": {"format": "console", "level": "info"},
        }
        top = {
            "data_dir": "data",
            "keys_dir": "keys",
            "password_file": f"../{PASSWORD_FILE}",
        }
        lines = [f"# {self.name} of a devnet. Relative paths start at this file.", *_rows(top)]
        for name, values in sections.items():
            lines += ["", f"[{name}]", *_rows(values)]
        self.config.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_requester(folder: Path, key: SessionKey) -> None:
    """The requester's key file for `node submit`, and the password of all key files here."""
    _write_private(folder / PASSWORD_FILE, PASSWORD + "\n")
    text = encrypt_v3(key.secret, PASSWORD, key.address, DEVNET)
    _write_private(folder / REQUESTER_FILE, text)


def _rows(values: Mapping[str, object]) -> list[str]:
    # A JSON string or integer is a TOML one.
    return [f"{name} = {json.dumps(value)}" for name, value in values.items()]


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
