"""The node behind the HTTP API: answers from the replica and the store, commands into ingress."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from node.api.port import Check
from node.ingress import Refused
from protocol.codec import decode
from protocol.dispatch import KNOWN_CLASSES
from protocol.eip712 import digest
from protocol.errors import Rejection, RejectionReason
from protocol.inputs import EscrowBalance, Received
from protocol.ledger import reference_price
from protocol.market_state import market_json, standing_json
from protocol.messages import Cancel, ProofRequest, SealedBid
from protocol.reputation import NEWCOMER, quality
from protocol.rotation import committee, gateway, view_at
from protocol.types import Address, Hash

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from node.evidence import EvidenceBook
    from node.history import History
    from node.ingress import Ingress
    from node.ingress_checks import Horizon
    from node.metrics import Metrics
    from node.ports import Clock, Documents, Network, Submit
    from node.proving.artifacts import BuiltProgram
    from node.services.private_inputs import PrivateInputs
    from node.services.reports import ReportService
    from protocol.replica import Replica

Json = dict[str, Any]


class NodeFacade:
    """Implements `node.api.port.NodePort`."""

    def __init__(
        self,
        *,
        replica: Replica,
        market: Address,
        programs: Mapping[Hash, BuiltProgram],
        ingress: Ingress,
        horizon: Callable[[], Horizon],
        submit: Submit,
        network: Network,
        documents: Documents,
        reports: ReportService,
        inputs: PrivateInputs,
        escrow_of: Callable[[Address], Awaitable[int]],
        history: History,
        evidence: EvidenceBook,
        health: Callable[[], tuple[Check, ...]],
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._replica = replica
        self._market = market
        self._programs = programs
        self._ingress = ingress
        self._horizon = horizon
        self._submit = submit
        self._network = network
        self._documents = documents
        self._reports = reports
        self._inputs = inputs
        self._escrow_of = escrow_of
        self._history = history
        self._evidence = evidence
        self._health = health
        self._metrics = metrics
        self._clock = clock

    @property
    def registry(self) -> CollectorRegistry:
        """See `NodePort`."""
        return self._metrics.registry

    def checks(self) -> tuple[Check, ...]:
        """See `NodePort`."""
        return self._health()

    def describe(self) -> Json:
        """See `NodePort`."""
        setup, state = self._replica.setup, self._replica.state
        view = view_at(self._clock.now_ms(), setup.genesis_ms, setup.params.view_ms)
        ledger = state.ledger
        tables = self._replica.tables()
        table = None if ledger is None else tables.get(ledger.next_epoch)
        connected = self._network.connected() | {setup.me}
        members = () if table is None else committee(table, setup.params)
        leader = b"" if table is None else gateway(table, members, view)
        known = [(found, self._programs[key]) for key, found in state.programs.items()]
        classes = sorted({Hash(found.class_id) for found, _ in known})
        return {
            "operator": _hex(setup.me),
            "chain_id": setup.domain.chain_id,
            "registry": _hex(setup.domain.registry),
            "market": _hex(self._market),
            "deployment_genesis_ms": setup.genesis_ms,
            "view_ms": setup.params.view_ms,
            "view": view,
            "epoch": 0 if table is None else table.epoch,
            "round": 0 if ledger is None else ledger.round,
            "last_sequence": 0 if ledger is None else ledger.sequence,
            "gateway": _hex(leader),
            "parameters_hash": _hex(setup.params.hash()),
            "sealing": {
                "epoch": 0 if table is None else table.epoch,
                "round": 0 if ledger is None else ledger.round + 1,
                "committee": [
                    {"operator": _hex(row.operator), "sealing_key": _hex(row.sealing_key)}
                    for row in (() if table is None else table.operators)
                    if row.operator in members
                ],
            },
            "operators": [
                {
                    "operator": _hex(row.operator),
                    "sealing_key": _hex(row.sealing_key),
                    "weight": row.weight,
                    "quality": quality(
                        NEWCOMER
                        if ledger is None
                        else ledger.standings.get(Address(row.operator), NEWCOMER)
                    ),
                    "connected": row.operator in connected,
                }
                for row in (() if table is None else table.operators)
            ],
            "classes": [
                {
                    "class_id": _hex(class_id),
                    "name": KNOWN_CLASSES[class_id].name,
                    "reference_price": str(
                        0 if ledger is None else reference_price(ledger, class_id, setup.params)
                    ),
                }
                for class_id in classes
            ],
            "programs": [
                {
                    "program_id": _hex(found.program_id),
                    "name": built.manifest.name,
                    "class_id": _hex(found.class_id),
                    "accounts_per_segment": built.manifest.accounts_per_segment,
                    "max_segments": built.manifest.max_segments,
                }
                for found, built in known
            ],
        }

    async def submit(self, frame: bytes) -> bytes:
        """See `NodePort`."""
        envelope = await self._admit(frame)
        body = envelope.body
        if not isinstance(body, ProofRequest):
            raise Rejection(RejectionReason.UNKNOWN_KIND, "a request is expected")
        request_id = digest(self._replica.setup.domain, body)
        if await self._documents.document(request_id) is None:
            requester = Address(body.requester)
            escrow = await self._escrow_of(requester)
            reason = self._replica.admission(body, escrow, self._clock.now_ms())
            if reason is not None:
                raise Rejection(reason, self._explain(reason, body, escrow))
            await self._submit(EscrowBalance(requester, escrow))
            await self._take(frame)
        return request_id

    async def bid(self, request_id: bytes, frame: bytes) -> bytes:
        """See `NodePort`."""
        body = (await self._admit(frame)).body
        if not isinstance(body, SealedBid) or body.request_id != request_id:
            raise Rejection(RejectionReason.UNKNOWN_KIND, "a sealed bid for it is expected")
        bid_id = digest(self._replica.setup.domain, body)
        if bid_id not in self._replica.state.bids:
            reason = self._replica.bid_refusal(body)
            if reason is not None:
                raise Rejection(reason)
            await self._take(frame)
        return bid_id

    async def cancel(self, frame: bytes) -> None:
        """See `NodePort`."""
        envelope = await self._admit(frame)
        if not isinstance(envelope.body, Cancel):
            raise Rejection(RejectionReason.UNKNOWN_KIND, "a cancellation is expected")
        if await self._documents.document(envelope.body.request_id) is None:
            raise Rejection(RejectionReason.UNKNOWN_REQUEST)
        await self._take(frame)

    async def requests(self, after: bytes | None, limit: int) -> list[Json]:
        """See `NodePort`."""
        return await self._documents.documents(after, limit)

    async def request(self, request_id: bytes, version: int, wait_ms: int) -> Json | None:
        """See `NodePort`."""
        found = await self._reports.wait(request_id, version, wait_ms)
        if found is None:
            known = await self._documents.request_of(request_id)
            found = None if known is None else await self._documents.document(known)
        return found

    async def deliver(self, request_id: bytes, segment: int, operator: bytes, box: bytes) -> None:
        """See `NodePort`."""
        await self._inputs.deliver(Hash(request_id), segment, Address(operator), box)

    async def proof(self, request_id: bytes) -> Json | None:
        """See `NodePort`."""
        bundle = await self._documents.bundle(request_id)
        document = await self._documents.document(request_id)
        if bundle is None or document is None:
            return None
        program = self._programs[Hash(bytes.fromhex(document["program_id"][2:]))]
        return {
            **bundle,
            "manifest": program.manifest_json(),
            "verifying_keys": {
                name: _hex(program.verifying_key(name))
                for name in (program.manifest.segment.name, program.manifest.combine.name)
            },
        }

    async def round(self, number: int) -> Json | None:
        """See `NodePort`."""
        return await self._history.round(number)

    async def clearings(self, class_id: bytes | None, before: int, limit: int) -> list[Json]:
        """See `NodePort`."""
        return await self._history.clearings(class_id, before, limit)

    async def receipts(self, bidder: bytes, before: int, limit: int) -> list[Json]:
        """See `NodePort`."""
        return await self._history.receipts(bidder, before, limit)

    async def table(self, epoch: int) -> Json | None:
        """See `NodePort`."""
        return await self._history.table(epoch)

    async def bid_receipts(self, request_id: bytes) -> list[Json]:
        """See `NodePort`."""
        return await self._evidence.receipts(request_id)

    async def evidence(self, before: int, limit: int) -> list[Json]:
        """See `NodePort`."""
        return await self._evidence.page(before, limit)

    def market(self, class_id: bytes) -> Json | None:
        """See `NodePort`."""
        ledger, params = self._replica.state.ledger, self._replica.setup.params
        if ledger is None or class_id not in KNOWN_CLASSES:
            return None
        return market_json(ledger, Hash(class_id), params)

    def standing(self, operator: bytes) -> Json | None:
        """See `NodePort`."""
        ledger, params = self._replica.state.ledger, self._replica.setup.params
        tables = self._replica.tables()
        if ledger is None or tables[ledger.next_epoch].position_of(operator) is None:
            return None
        return standing_json(ledger, Address(operator), params)

    async def _admit(self, frame: bytes) -> Any:
        now_ms = self._clock.now_ms()
        verdict = await self._ingress.admit(None, frame, now_ms, self._horizon())
        if isinstance(verdict, Refused) and verdict.reason is not RejectionReason.REPLAYED:
            raise Rejection(verdict.reason, verdict.detail)
        return decode(frame)

    async def _take(self, frame: bytes) -> None:
        await self._submit(Received(frame))
        await self._network.broadcast(frame, reliable=True)

    def _explain(self, reason: RejectionReason, body: ProofRequest, escrow: int) -> str:
        if reason is RejectionReason.ESCROW_TOO_LOW:
            reserve = int.from_bytes(body.reserve, "big")
            return f"free escrow {escrow} wei, reserve {reserve} wei: deposit more or ask for less"
        return ""


def _hex(raw: bytes) -> str:
    return "0x" + bytes(raw).hex()
