"""Submits a proof request, delivers its private input to the assigned provers, waits for the end.

The maximum fee is sealed here to the epoch's committee, the private input to each assigned prover's
registered key: nodes in between relay what they can not read. A bid that no round admitted before
its epoch ended is sealed anew. The settled root is compared with the one computed here.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from node.box import seal
from node.client.api import as_documented
from node.client.bidding import default_reserve, sealed_bid
from node.errors import InputError, NodeUnreachableError, RefusedError
from node.private_input import associated_data
from node.programs.solvency import SEED_BYTES, SolvencyPlan, plan
from protocol.claims import decode_claim
from protocol.codec import encode
from protocol.eip712 import Domain, digest
from protocol.messages import Cancel, Envelope, Kind, ProofRequest
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
UNDECIDED_STATES: Final = frozenset({"requested", "classified"})
"""No round has admitted it: without a bid none will."""
PASSING: Final = frozenset({"stale", "too_early", "already_known"})
"""Refusals of a bid that a retry, or a round decided meanwhile, mends."""


@dataclass(frozen=True, slots=True)
class Order:
    """What the requester wants: amounts in wei, the deadline in seconds from now."""

    program: str
    accounts: Sequence[Account]
    max_fee: int
    deadline_s: int
    allowlist: tuple[bytes, ...] = ()
    reserve: int = 0
    """Escrow set aside, public; 0: the power of two above the maximum fee."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A signed request with everything private that its bid and its provers will need."""

    request_id: bytes
    frame: bytes
    plan: SolvencyPlan
    domain: Domain
    class_id: bytes
    max_fee: int
    key: SessionKey

    def bid(self, node: Json) -> bytes:
        """Frame of its bid, sealed for the epoch that `node` (GET /v1/node) describes."""
        place = (self.domain, self.request_id, self.class_id, self.max_fee, self.key)
        return sealed_bid(*place, node["sealing"])


def prepare(order: Order, key: SessionKey, node: Json) -> Prepared:
    """Sign a request for the network that `node` (GET /v1/node) describes.

    Raises:
        InputError: the program is unknown there, or the fee does not fit it or the reserve.
    """
    program = program_named(order.program, node)
    reserve = order.reserve or default_reserve(order.max_fee)
    if reserve < order.max_fee:
        raise InputError(
            f"the reserve of {reserve} wei is below the maximum fee", "reserve at least the fee"
        )
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
        reserve=reserve.to_bytes(32, "big"),
        issued_at=now_ms // 1_000,
        deadline_view=max(0, (deadline_ms - int(node["deployment_genesis_ms"])) // view_ms),
        allowlist=tuple(sorted(order.allowlist)),
        salt=secrets.token_bytes(32),
    )
    request_id = digest(domain, request)
    frame = encode(Envelope(int(Kind.REQUEST), key.address, request, key.sign(request_id)))
    class_id = _bytes(program["class_id"])
    return Prepared(bytes(request_id), frame, work, domain, class_id, order.max_fee, key)


async def submit(client: NodeClient, prepared: Prepared, progress: Callable[[Json], None]) -> Json:
    """Hand in a prepared request and stay until it is settled or refunded.

    Returns the last request document with `root_matches` added: whether the settled claim is the
    one computed here. Raises RefusedError if the request is not admitted; a node that dies is
    replaced by the next one.
    """
    bidder = _Bidder(client, prepared)
    await bidder.hand_in()
    courier = _Courier(client, prepared)
    document: Json = {}
    async with trio.open_nursery() as nursery:
        node = ""
        while document.get("state") not in END_STATES:
            version = int(document.get("version", 0)) if client.node == node else 0
            node = client.node
            document = await bidder.poll(version, document)
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


class _Bidder:
    """Hands the request and its bid in, and again wherever they are not known."""

    def __init__(self, client: NodeClient, prepared: Prepared) -> None:
        self._client = client
        self._prepared = prepared
        self._path = f"/v1/requests/0x{prepared.request_id.hex()}"
        self._bids: dict[int, bytes] = {}
        """Epoch -> the one bid sealed for it."""

    async def hand_in(self) -> None:
        """Raises RefusedError if the request is not admitted."""
        await self._client.post("/v1/requests", self._prepared.frame)
        await self._bid()

    async def poll(self, version: int, last: Json) -> Json:
        """The request's document; `last` where it had to be handed in again."""
        try:
            document = await self._client.get(self._path, {"version": version, "wait_ms": WAIT_MS})
        except RefusedError as exc:
            if exc.reason != "unknown_request":
                raise
            await self.hand_in()
            return last
        if document["bid_id"] is None and document["state"] in UNDECIDED_STATES:
            await self._bid()
        return document

    async def _bid(self) -> None:
        node = await self._client.get("/v1/node")
        epoch = int(node["sealing"]["epoch"])
        if epoch not in self._bids:
            self._bids[epoch] = self._prepared.bid(node)
        try:
            await self._client.post(f"{self._path}/bid", self._bids[epoch])
        except RefusedError as exc:
            # Another node may be a round or an epoch off: the next look at the document tells.
            if exc.reason not in PASSING:
                raise


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
