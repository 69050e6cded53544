"""What a node tells of a request, as JSON: its document, and the bundle that proves its result.

`docs/api.md` describes both. Bytes are 0x hex, amounts are decimal strings of wei.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from protocol.batch import Batch, Result, SettledBatch
from protocol.codec import encode
from protocol.errors import LocalProtocolError
from protocol.job import Stage
from protocol.ledger import wei_of
from protocol.lifecycle import JobState
from protocol.market_record import record_of
from protocol.messages import Envelope, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from protocol.eip712 import Domain
    from protocol.execution import Execution
    from protocol.inputs import TableOpened
    from protocol.job import Job
    from protocol.messages import (
        BuyBid,
        Certificate,
        DecidedRound,
        Evidence,
        ProofRequest,
        SegmentResult,
    )
    from protocol.replica_state import Ending, OpenedBid, Placed, SignedRequest
    from protocol.types import Hash

Json = dict[str, Any]

STATUS_NAMES: Final = {1: "settled", 2: "expired", 3: "cancelled", 4: "failed"}
_STAGES: Final = {
    "received": (JobState.REQUESTED,),
    "admitted": (JobState.AUCTIONED,),
    "assigned": (JobState.ASSIGNED,),
    "accepted": (JobState.PROVING,),
    "proven": (JobState.SUBMITTED,),
    "verified": (JobState.VERIFIED,),
    "certified": (JobState.CERTIFIED, JobState.FAILED, JobState.EXPIRED, JobState.CANCELLED),
    "settled": (JobState.SETTLED, JobState.REFUNDED),
}
_SEGMENT_STATES: Final = {
    Stage.ASSIGNED: "assigned",
    Stage.ACCEPTED: "accepted",
    Stage.PROVEN: "proven",
    Stage.VERIFIED: "verified",
}


def document_of(
    job: Job,
    request: ProofRequest,
    bid_id: Hash | None,
    bid: BuyBid | None,
    placed: Placed | None,
    ending: Ending | None,
    verdict: str,
    sealing_keys: Mapping[bytes, bytes],
) -> Json:
    """The request document, without its version.

    bid_id is None while no bid is held, bid until it is opened.
    """
    # Past its deadline and never admitted: nothing was reserved, so nothing has to be certified.
    never_admitted = job.expired and job.state in {JobState.REQUESTED, JobState.CLASSIFIED}
    reason = "deadline_past" if never_admitted else ("" if ending is None else ending.reason)
    stages = {
        name: min(job.since[state] for state in states if state in job.since)
        for name, states in _STAGES.items()
        if any(state in job.since for state in states)
    }
    award = None
    if job.award is not None and placed is not None:
        award = {
            "round": placed.round,
            "gateway": _hex(placed.gateway),
            "price": str(-(-job.award.fee // len(job.award.assignments))),
            "fee": str(job.award.fee),
        }
    return {
        "request_id": _hex(job.request_id),
        "bid_id": None if bid_id is None else _hex(bid_id),
        "program_id": _hex(request.program_id),
        "requester": _hex(request.requester),
        "state": JobState.REFUNDED.value if never_admitted else job.state.value,
        "reason": reason,
        "verdict": verdict,
        "max_fee": None if bid is None else str(wei_of(bid.max_fee)),
        "reserve": str(wei_of(request.reserve)),
        "deadline_view": request.deadline_view,
        "issued_at": request.issued_at,
        "award": award,
        "segments": [
            {
                "segment": place,
                "operator": _hex(segment.operator),
                "attempt": segment.attempt,
                "state": _SEGMENT_STATES[segment.stage],
                "sealing_key": _hex(sealing_keys.get(segment.operator, b"")),
            }
            for place, segment in enumerate(job.segments)
        ],
        "stages_ms": stages,
        "result": None if ending is None else _result(ending),
    }


def bundle_of(
    job: Job,
    owner: SignedRequest,
    opened: OpenedBid,
    results: Sequence[SegmentResult],
    result: Result,
    settled: SettledBatch,
    certificate: Certificate,
    table: TableOpened,
    domain: Domain,
) -> Json:
    """All that checks a settled result offline, but for the program's keys."""
    inclusion = settled.result_proof(job.request_id)
    if inclusion is None:
        raise LocalProtocolError("a batch without the result that it settles")
    requester = owner.body.requester
    frame = encode(Envelope(Kind.REQUEST, requester, owner.body, owner.signature))
    sealed = encode(
        Envelope(Kind.SEALED_BID, requester, opened.sealed.body, opened.sealed.signature)
    )
    return {
        "request_id": _hex(job.request_id),
        "chain_id": domain.chain_id,
        "registry": _hex(domain.registry),
        "request": _hex(frame),
        "bid": {
            "sealed": _hex(sealed),
            "max_fee": str(wei_of(opened.bid.max_fee)),
            "salt": _hex(opened.bid.salt),
        },
        "proofs": [
            {
                "segment": proven.segment,
                "prover": _hex(proven.prover),
                "publics": [_hex(word) for word in proven.publics],
                "proof": _hex(proven.proof),
            }
            for proven in results
        ],
        "result": {
            "status": int(result.status),
            "issued_at": result.issued_at,
            "claim": _hex(result.claim),
            "fee": str(result.fee),
        },
        "batch": batch_json(settled.header),
        "inclusion": {
            "index": inclusion.index,
            "siblings": [_hex(sibling) for sibling in inclusion.siblings],
        },
        "certificate": certificate_json(certificate),
        "operator_table": table_json(table),
    }


def evidence_document(key: bytes, fault: str, envelope: Envelope, body: Evidence) -> Json:
    """A proven fault: frames of the statements, and the reporter's signature over all of it."""
    return {
        "evidence_id": _hex(key),
        "fault": fault,
        "accused": _hex(body.accused),
        "epoch": body.epoch,
        "round": body.round,
        "view": body.view,
        "statements": [_hex(frame) for frame in body.statements],
        "reporter": _hex(body.reporter),
        "signature": _hex(envelope.signature),
    }


def round_document(record: DecidedRound, execution: Execution, gateway: bytes, now_ms: int) -> Json:
    """What a round decided and cleared, with what proves it: see `protocol/market_record.py`."""
    value, settled = record.value, execution.settled
    inclusion = None if settled is None else settled.markets_proof()
    return {
        "round": value.round,
        "epoch": value.epoch,
        "at_ms": now_ms,
        "gateway": _hex(gateway),
        "parent": _hex(value.parent),
        "lists": [_hex(raw) for raw in value.lists],
        "bids": [_hex(raw) for raw in value.bids],
        "outcomes": [_hex(raw) for raw in value.outcomes],
        "evidence": [_hex(raw) for raw in value.evidence],
        "next_epoch": value.next_epoch,
        "skipped": [
            {"id": _hex(skip.identity), "reason": skip.reason.code} for skip in execution.skipped
        ],
        "admitted": [_hex(request_id) for request_id in execution.admitted],
        "awarded": [_hex(request_id) for request_id in execution.awarded],
        "reassigned": [
            {"request_id": _hex(request_id), "segment": segment}
            for request_id, segment in execution.reassigned
        ],
        "returned": [_hex(request_id) for request_id in execution.returned],
        "closed": [
            {
                "request_id": _hex(result.request_id),
                "status": STATUS_NAMES[result.status],
                "fee": str(result.fee),
            }
            for result in execution.closed
        ],
        "markets": record_of(execution.clearings),
        "batch": batch_json(execution.header),
        "inclusion": None
        if inclusion is None
        else {
            "index": inclusion.index,
            "siblings": [_hex(sibling) for sibling in inclusion.siblings],
        },
        "certificate": certificate_json(record.certificate),
    }


def batch_json(header: Batch) -> Json:
    """A batch header."""
    return {
        "epoch": header.epoch,
        "round": header.round,
        "value": _hex(header.value),
        "sequence": header.sequence,
        "parent": _hex(header.parent),
        "root": _hex(header.root),
        "paid": str(header.paid),
        "debits_hash": _hex(header.debits_hash),
    }


def certificate_json(certificate: Certificate) -> Json:
    """A certificate over a batch."""
    return {
        "epoch": certificate.epoch,
        "round": certificate.round,
        "value": _hex(certificate.value),
        "digest": _hex(certificate.digest),
        "non_signers": list(certificate.non_signers),
        "signature": _hex(certificate.signature),
    }


def table_json(table: TableOpened) -> Json:
    """An operator table, as far as a certificate needs it and the chain can confirm it."""
    return {
        "epoch": table.epoch,
        "seed": _hex(table.seed),
        "operators": [
            {
                "operator": _hex(row.operator),
                "session": _hex(row.session),
                "bls_key": _hex(row.bls_key),
                "sealing_key": _hex(row.sealing_key),
                "peer_id": row.peer_id,
                "weight": row.weight,
            }
            for row in table.operators
        ],
    }


def _result(ending: Ending) -> Json:
    return {
        "status": STATUS_NAMES[ending.status],
        "fee": str(ending.fee),
        "claim": _hex(ending.claim),
        "round": ending.round,
        "gateway": _hex(ending.gateway),
        "sequence": ending.sequence,
        "voters": ending.voters,
        "operators": ending.operators,
        "settle_tx": _hex(ending.transaction),
        "gas_used": ending.gas_used,
    }


def _hex(raw: bytes | Hash) -> str:
    return "0x" + bytes(raw).hex()
