"""Submits a proof request, delivers its private input to the assigned provers, waits for the end.

The private input is sealed here, to each assigned prover's registered key: nodes in between relay
what they can not read. The settled root is compared with the one computed here.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from node.box import seal
from node.client.api import as_documented
from node.errors import InputError, NodeUnreachableError, RefusedError
from node.private_input import associated_data
from node.programs.solvency import SEED_BYTES, SolvencyPlan, plan
from protocol.claims import decode_claim
from protocol.codec import encode
from protocol.eip712 import Domain, digest
from protocol.messages import BuyBid, Cancel, Envelope, Kind, ProofRequest, RequestBody
from protocol.types import Address

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from node.client.api import Json, NodeClient
    from node.crypto import SessionKey
    from node.programs.accounts import Account

WAIT_MS: Final = 2_000
"""Longest poll; a change of the request is told at once."""
RETRY_S: Final = 0.5
CANCEL_WAIT_S: Final = 30.0
"""A round decides the cancellation, a settled batch frees the reserve."""
END_STATES: Final = frozenset({"settled", "refunded"})


@dataclass(frozen=True, slots=True)
class Order:
    """What the requester wants: amounts in wei, the deadline in seconds from now."""

    program: str
    accounts: Sequence[Account]
    max_fee: int
    deadline_s: int
    allowlist: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A signed request with everything private that its provers will need."""

    request_id: bytes
    frame: bytes
    plan: SolvencyPlan


def prepare(order: Order, key: SessionKey, node: Json) -> Prepared:
    """Sign a request for the network that `node` (GET /v1/node) describes.

    Raises:
        InputError: the program is unknown there.
    """
    program = program_named(order.program, node)
    work = plan(order.accounts, secrets.token_bytes(SEED_BYTES))
    domain = Domain(int(node["chain_id"]), Address(_bytes(node["registry"])))
    now_ms = time.time_ns() // 1_000_000
    view_ms = int(node["view_ms"])
    deadline_ms = now_ms + order.deadline_s * 1_000
    request = ProofRequest(
        program_id=_bytes(program["program_id"]),
        requester=key.address,
        input_hashes=work.input_hashes,
        copies=1,
        reserve=order.max_fee.to_bytes(32, "big"),
        issued_at=now_ms // 1_000,
        deadline_view=max(0, (deadline_ms - int(node["deployment_genesis_ms"])) // view_ms),
        allowlist=tuple(sorted(order.allowlist)),
        salt=secrets.token_bytes(32),
    )
    request_id = digest(domain, request)
    bid = BuyBid(request_id, order.max_fee.to_bytes(32, "big"), secrets.token_bytes(32))
    body = RequestBody(request, key.sign(request_id), bid)
    signature = key.sign(digest(domain, bid))
    frame = encode(Envelope(int(Kind.REQUEST), key.address, body, signature))
    return Prepared(bytes(request_id), frame, work)


async def submit(client: NodeClient, prepared: Prepared, progress: Callable[[Json], None]) -> Json:
    """Hand in a prepared request and stay until it is settled or refunded.

    Returns the last request document with `root_matches` added: whether the settled claim is the
    one computed here. Raises RefusedError if the request is not admitted; a node that dies is
    replaced by the next one.
    """
    await client.post("/v1/requests", prepared.frame)
    courier = _Courier(client, prepared)
    document: Json = {}
    async with trio.open_nursery() as nursery:
        node = ""
        while document.get("state") not in END_STATES:
            version = int(document.get("version", 0)) if client.node == node else 0
            node = client.node
            document = await _poll(client, prepared, version, document)
            progress(document)
            award = document.get("award") or {}
            for row in document.get("segments", ()):
                courier.deliver(nursery, {**row, "round": award.get("round")})
        nursery.cancel_scope.cancel()
    result = document.get("result") or {}
    claim = _bytes(result.get("claim", "0x"))
    return {**document, "root_matches": bool(claim) and decode_claim(claim) == prepared.plan.claim}


async def cancel(client: NodeClient, request_id: bytes, key: SessionKey) -> Json:
    """Take a request out of the market; its document once it is over, or was awarded after all.

    Raises RefusedError if the node does not know the request, or the key is not its owner's.
    """
    path = f"/v1/requests/0x{request_id.hex()}"
    document = await client.get(path)
    about = await client.get("/v1/node")
    with as_documented():
        if _bytes(document["requester"]) != key.address:
            raise RefusedError(
                f"the request is {document['requester']}'s", "give its key", "wrong_sender"
            )
        domain = Domain(int(about["chain_id"]), Address(_bytes(about["registry"])))
        body = Cancel(request_id)
        frame = encode(
            Envelope(int(Kind.CANCEL), key.address, body, key.sign(digest(domain, body)))
        )
    await client.post(f"{path}/cancel", frame)
    with trio.move_on_after(CANCEL_WAIT_S):
        while document.get("state") not in END_STATES and not document.get("award"):
            version = int(document.get("version", 0))
            document = await client.get(path, {"version": version, "wait_ms": WAIT_MS})
    return document


async def _poll(client: NodeClient, prepared: Prepared, version: int, last: Json) -> Json:
    """The request's document; hands the request in again where a node has not heard of it."""
    path = f"/v1/requests/0x{prepared.request_id.hex()}"
    try:
        return await client.get(path, {"version": version, "wait_ms": WAIT_MS})
    except RefusedError as exc:
        if exc.reason != "unknown_request":
            raise
        await client.post("/v1/requests", prepared.frame)
        return last


class _Courier:
    """Delivers each segment's input to whoever is assigned, until the segment is theirs no more."""

    def __init__(self, client: NodeClient, prepared: Prepared) -> None:
        self._client = client
        self._prepared = prepared
        self._waiting: dict[int, Json] = {}
        """Of each segment that waits for its input, the last row that was seen."""
        self._begun: set[_Assignment] = set()

    def deliver(self, nursery: trio.Nursery, row: Json) -> None:
        """Start a delivery if this assignment still waits for its input."""
        segment = int(row["segment"])
        if row["state"] != "assigned":
            self._waiting.pop(segment, None)
            return
        self._waiting[segment] = row
        if _assignment(row) not in self._begun:
            self._begun.add(_assignment(row))
            nursery.start_soon(self._deliver, row)

    async def _deliver(self, row: Json) -> None:
        assignment = _assignment(row)
        segment, operator = assignment[:2]
        work = self._prepared.plan
        inputs = (*work.segment_inputs, work.combine_input)
        data = associated_data(self._prepared.request_id, segment, _bytes(operator))
        box = seal(_bytes(row["sealing_key"]), inputs[segment], data)
        path = f"/v1/requests/0x{self._prepared.request_id.hex()}/inputs/{segment}"
        while segment in self._waiting and _assignment(self._waiting[segment]) == assignment:
            try:
                await self._client.put(path, box, {"operator": operator})
            except (NodeUnreachableError, RefusedError):
                # The prover may be down or late: again, until a standby takes its place.
                await trio.sleep(RETRY_S)
            else:
                return
        self._begun.discard(assignment)


_Assignment = tuple[int, str, int, int]
"""Segment, prover, attempt, and the round of the award: a request may be awarded again."""


def _assignment(row: Json) -> _Assignment:
    return int(row["segment"]), str(row["operator"]), int(row["attempt"]), int(row["round"] or 0)


def program_named(name: str, node: Json) -> Json:
    """A program of `GET /v1/node` by name or id; raises InputError."""
    for program in node["programs"]:
        if name in (program["name"], program["program_id"]):
            return dict(program)
    known = ", ".join(str(program["name"]) for program in node["programs"]) or "none"
    raise InputError(f"the network has no program {name!r}", f"choose one of: {known}")


def _bytes(text: object) -> bytes:
    return bytes.fromhex(str(text).removeprefix("0x"))
