"""The exception taxonomy and the reasons for which something is refused.

`LocalProtocolError` is our own bug and stops the node. `RemoteProtocolError` is a peer's fault,
made only at ingress.
`Rejection` is expected: the state is untouched and the reason is told. The table of reasons is
also `docs/reasons.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something was refused: a stable code, a sentence, and what it costs.

    `penalty` is in points of the peer ledger; 0 for what an honest peer can cause.
    """

    code: str
    text: str
    retryable: bool = False
    penalty: int = 0


class RejectionReason(Enum):
    """Every reason a message, request, bid or proof can be refused for."""

    # ingress, in the order of the checks
    FRAME_TOO_LARGE = Reason("frame_too_large", "the frame is larger than its limit", penalty=10)
    RATE_LIMITED = Reason("rate_limited", "the peer sends faster than its limit", True, 1)
    MALFORMED = Reason("malformed", "the bytes are not a canonical message", penalty=10)
    UNKNOWN_KIND = Reason("unknown_kind", "the message kind or version is unknown", penalty=1)
    STALE = Reason("stale", "the message is of a round or epoch that is over", True)
    TOO_EARLY = Reason("too_early", "the message is too far ahead of this node", True)
    NOT_A_MEMBER = Reason("not_a_member", "the sender is not in the operator table", penalty=5)
    WRONG_SENDER = Reason("wrong_sender", "the sender is not the one named inside", penalty=10)
    BAD_SIGNATURE = Reason("bad_signature", "the signature does not verify", penalty=20)
    REPLAYED = Reason("replayed", "the message was already seen")

    # requests and bids
    UNKNOWN_PROGRAM = Reason("unknown_program", "the program is not registered here")
    BAD_SHAPE = Reason("bad_shape", "the request does not fit the program's limits")
    COPIES_UNSUPPORTED = Reason("copies_unsupported", "this network proves one copy of a segment")
    FEE_ABOVE_RESERVE = Reason("fee_above_reserve", "the maximum fee is above the reserve")
    FEE_BELOW_BID_FEE = Reason("fee_below_bid_fee", "the bid fee would take all of the maximum fee")
    ESCROW_TOO_LOW = Reason("escrow_too_low", "the free escrow is below the reserve", True)
    DEADLINE_PAST = Reason("deadline_past", "the deadline view is over")
    DEADLINE_TOO_NEAR = Reason("deadline_too_near", "no round can prove it by the deadline view")
    DEADLINE_TOO_FAR = Reason("deadline_too_far", "the deadline view is beyond the horizon")
    ISSUED_AT_OFF = Reason("issued_at_off", "issuedAt is not close to the operators' clocks")
    ALREADY_KNOWN = Reason("already_known", "this request was decided before")
    ALLOWLIST_EMPTY = Reason("allowlist_empty", "no registered operator is on the allowlist")
    ZERO_SLOTS = Reason("zero_slots", "the bid offers no slots")
    AMOUNT_OUT_OF_RANGE = Reason("amount_out_of_range", "the amount is zero or above 2**96 - 1")
    UNKNOWN_CLASS = Reason("unknown_class", "no such class of jobs")
    SLOTS_CHANGED = Reason("slots_changed", "slots are announced once for an epoch", True)
    BAD_DEALING = Reason("bad_dealing", "the sealed bid opens to nothing that counts")
    BAD_SHARE = Reason("bad_share", "this member's share of the sealed bid is not good")
    SECOND_BID = Reason("second_bid", "one bid per bidder and market", penalty=5)
    QUEUE_FULL = Reason("queue_full", "the bounded pool is full", True)

    UNKNOWN_REQUEST = Reason("unknown_request", "this node knows no such request", True)
    NOT_KEPT = Reason("not_kept", "this node has no such record, or not any more", True)

    # rounds
    CLOCK_OFF = Reason("clock_off", "the clock is too far from the chain head or the peers", True)
    NOT_GATEWAY = Reason("not_gateway", "the proposer is not the gateway of the view", penalty=10)
    TOO_SOON = Reason("too_soon", "a proposal before the view's earliest time", True)
    LOCKED = Reason("locked", "the proposal's certificate is lower than this node's lock")
    LIST_NOT_SIGNED = Reason("list_not_signed", "this node has not signed its own list yet", True)
    TOO_FEW_LISTS = Reason("too_few_lists", "fewer than N - f lists are embedded", penalty=5)
    LIST_LEFT_OUT = Reason("list_left_out", "a list frozen in time is not embedded")
    WRONG_BID_SET = Reason("wrong_bid_set", "the sets are not what the lists carry", penalty=10)
    WRONG_PARENT = Reason("wrong_parent", "the parent is not the last decided batch")
    WRONG_EPOCH = Reason("wrong_epoch", "the epoch is not the one fixed for the round")
    BODY_MISSING = Reason("body_missing", "a body that the Value names is not held yet", True)
    UNVERIFIED_OUTCOME = Reason("unverified_outcome", "an outcome could not be checked here", True)
    EQUIVOCATION = Reason("equivocation", "two different statements for one slot", penalty=50)

    # jobs and proofs
    NOT_ASSIGNED = Reason("not_assigned", "the sender is not assigned this segment", penalty=1)
    INPUT_MISMATCH = Reason("input_mismatch", "the input does not match its published hash")
    UNSATISFIABLE = Reason("unsatisfiable", "the input does not satisfy the program")
    BAD_PUBLIC_VALUES = Reason("bad_public_values", "the public values are not the job's")
    NON_CANONICAL = Reason("non_canonical", "an encoding is not the canonical one", penalty=20)
    INVALID_PROOF = Reason("invalid_proof", "the proof does not verify", penalty=50)
    PROVER_SILENT = Reason("prover_silent", "no Accept or result in time")
    INPUT_WITHHELD = Reason("input_withheld", "the requester did not deliver the input")
    PROVER_UNREACHABLE = Reason("prover_unreachable", "the prover can not be reached now", True)
    CANCELLED = Reason("cancelled", "cancelled by its owner")

    @property
    def code(self) -> str:
        """Stable identifier used in logs, metrics, wire replies and tests."""
        return self.value.code


class Rejection(Exception):  # noqa: N818  expected, so not an error
    """Something expected was refused; the state is untouched."""

    def __init__(self, reason: RejectionReason, detail: str = "") -> None:
        super().__init__(f"{reason.value.text}{': ' + detail if detail else ''}")
        self.reason = reason
        self.detail = detail


class LocalProtocolError(Exception):
    """This node is about to break the protocol: a bug, never a peer's doing. Stops the node."""


class RemoteProtocolError(Exception):
    """A peer broke the protocol. Made only at ingress; costs the peer `reason.penalty` points."""

    def __init__(self, peer: bytes, reason: RejectionReason, detail: str = "") -> None:
        super().__init__(f"peer {peer.hex()}: {reason.code}{': ' + detail if detail else ''}")
        self.peer = peer
        self.reason = reason
        self.detail = detail
