"""A node's HTTP API over one finished request, served on a real socket while the CLI asks it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
from prometheus_client import CollectorRegistry

from node.api.http import build_api
from node.api.port import Check, Json
from node.api.serve import bind, serve_api
from node.cli.app import run
from node.config import ApiConfig
from node.proving.artifacts import BuiltProgram
from protocol.errors import Rejection, RejectionReason
from tests.node.client.proven import DOMAIN, OPERATORS, REQUESTER, make_bundle
from tests.node.proving.conftest import built

__all__ = ["built"]

CHECKS = (
    Check("chain", ok=True, detail="clock and chain head agree", mend="check chain.rpc_url"),
    Check("peers", ok=True, detail="4 of 4 operators connected", mend="check network.listen"),
)


@dataclass
class FinishedRequest:
    """A NodePort that knows one settled request and admits no other."""

    bundle: Json
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    ready: tuple[Check, ...] = CHECKS
    change: dict[str, Any] = field(default_factory=dict)
    """Laid over every answer, as a node of another version might."""
    frames: list[bytes] = field(default_factory=list)
    faults: list[Json] = field(default_factory=list)

    @property
    def request_id(self) -> str:
        return str(self.bundle["request_id"])

    def checks(self) -> tuple[Check, ...]:
        return self.ready

    def describe(self) -> Json:
        about = {
            "operator": "0x" + OPERATORS[0].hex(),
            "chain_id": DOMAIN.chain_id,
            "registry": "0x" + DOMAIN.registry.hex(),
            "market": "0x" + "06" * 20,
            "deployment_genesis_ms": 1_700_000_000_000,
            "view_ms": 2_000,
            "view": 45,
            "epoch": 3,
            "round": 42,
            "last_sequence": 7,
            "gateway": "0x" + OPERATORS[1].hex(),
            "parameters_hash": "0x" + "23" * 32,
            "operators": [
                {
                    "operator": row["operator"],
                    "sealing_key": row["sealing_key"],
                    "weight": row["weight"],
                    "connected": place < 3,
                }
                for place, row in enumerate(self.bundle["operator_table"]["operators"])
            ],
            "classes": [],
            "programs": [
                {
                    "program_id": "0x" + self.bundle["manifest"]["program_id"],
                    "name": "solvency",
                    "class_id": "0x" + "24" * 32,
                    "accounts_per_segment": 16,
                    "max_segments": 16,
                }
            ],
        }
        return about | self.change

    async def submit(self, frame: bytes) -> bytes:
        self.frames.append(frame)
        raise Rejection(RejectionReason.ESCROW_TOO_LOW, "free 0 wei")

    async def cancel(self, frame: bytes) -> None:
        """The request is taken back if it still waits."""
        self.frames.append(frame)
        if self.change.get("state") == "auctioned":
            self.change |= {"state": "refunded", "reason": "cancelled"}

    async def requests(self, after: bytes | None, limit: int) -> list[Json]:
        return [] if after else [self.document()][:limit]

    async def request(self, request_id: bytes, version: int, wait_ms: int) -> Json | None:
        return self.document() if "0x" + request_id.hex() == self.request_id else None

    async def deliver(self, request_id: bytes, segment: int, operator: bytes, box: bytes) -> None:
        raise Rejection(RejectionReason.PROVER_UNREACHABLE)

    async def proof(self, request_id: bytes) -> Json | None:
        known = "0x" + request_id.hex() == self.request_id
        return self.bundle | self.change if known else None

    async def evidence(self, before: int, limit: int) -> list[Json]:
        return [row for row in self.faults if row["round"] < before][:limit]

    async def round(self, number: int) -> Json | None:
        return None

    def document(self) -> Json:
        segments = [
            {"segment": place, "operator": proof["prover"], "attempt": 1, "state": "verified"}
            for place, proof in enumerate(self.bundle["proofs"])
        ]
        document = {
            "request_id": self.request_id,
            "version": 9,
            "program_id": "0x" + self.bundle["manifest"]["program_id"],
            "requester": "0x" + REQUESTER.address.hex(),
            "state": "settled",
            "reason": "",
            "segments": segments,
            "result": {
                "status": "settled",
                "fee": self.bundle["result"]["fee"],
                "claim": self.bundle["result"]["claim"],
                "round": 41,
                "gateway": "0x" + OPERATORS[1].hex(),
                "sequence": 7,
                "voters": 3,
                "operators": 4,
                "settle_tx": "0x" + "0d" * 32,
                "gas_used": 250_000,
            },
        }
        return document | self.change


@pytest.fixture
def finished(built: BuiltProgram) -> FinishedRequest:
    return FinishedRequest(make_bundle(built))


@pytest.fixture
def url(finished: FinishedRequest) -> Iterator[str]:
    """Address of a node that serves `finished`."""
    api = ApiConfig(port=0)
    listener = bind(api)
    handles: list[tuple[trio.lowlevel.TrioToken, trio.Event]] = []
    started = threading.Event()

    async def serve() -> None:
        stop = trio.Event()
        handles.append((trio.lowlevel.current_trio_token(), stop))
        started.set()
        await serve_api(build_api(finished), listener, api, stop)

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    assert started.wait(10)
    port = listener.getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        token, stop = handles[0]
        trio.from_thread.run_sync(stop.set, trio_token=token)
        thread.join(20)
        listener.close()
        assert not thread.is_alive()


@dataclass(frozen=True)
class Ran:
    """What a verb left: exit code and both streams."""

    code: int
    out: str
    err: str

    def complains(self) -> bool:
        """One line that starts with `error:`, nothing on standard output, no traceback."""
        lines = self.err.splitlines()
        return not self.out and len(lines) == 1 and lines[0].startswith("error: ")


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Run `node ...` in this process, without the caller's environment."""
    monkeypatch.delenv("PROVERNET_PASSWORD", raising=False)
    monkeypatch.delenv("PROVERNET_NODE", raising=False)

    def call(*arguments: object) -> Ran:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return call
