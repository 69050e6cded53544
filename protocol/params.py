"""The protocol's parameters: one frozen value, hashed into hello and every settled batch."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Final

from protocol.hashing import keccak
from protocol.types import Hash


@dataclass(frozen=True, slots=True)
class ProtocolParams:
    """Constants on which all nodes of one network agree: ms, bytes, wei."""

    view_ms: int
    """Length of a view. One attempt needs about four message delays plus the opening of bids."""
    list_cutoff_ms: int
    """Offset in a view after which no fresh attempt starts: what comes later waits for the next
    view."""
    list_wait_ms: int
    """From the opening of an attempt to signing the list: lets bids already under way arrive."""
    gossip_bound_ms: int
    """Assumed bound on one broadcast between honest nodes; only liveness leans on it."""
    clock_bound_ms: int
    """Assumed bound on the difference of two honest clocks; only liveness leans on it."""
    chain_clock_bound_ms: int
    """A node further than this from the chain head's timestamp does not vote."""
    resend_ms: int
    """Own statements of an undecided round are broadcast again after this, gossip being lossy; the
    pause then doubles up to a view."""
    relay_ms: int
    """A request that no round has admitted is spread again after this."""
    max_committee: int
    """Members that hold lists and shares; at most 16, sampled by weight above."""
    accept_timeout_ms: int
    """From the award to the prover's Accept before the standby takes the segment."""
    segment_timeout_ms: int
    """From Accept to the segment's result before the standby takes the segment."""
    settle_step_ms: int
    """Each further rank waits this much longer before it sends the settlement transaction."""
    issued_at_bound_ms: int
    """issuedAt of a request may be ahead of an operator's clock by this much on admission, and
    behind by as much more than a request can stay in the market."""
    min_deadline_views: int
    """A request must leave at least this many views to its deadline."""
    max_deadline_views: int
    """A request may not stay in the market longer than this many views."""
    max_set_size: int
    """Bids and outcomes in one Value, each."""
    initial_price_wei: int
    """Reference price of a slot before any clearing."""
    bid_fee_bps: int
    """Part of slots times reference price, in 1/10,000, that a request pays for being admitted:
    enough that false names and wash trades cost something."""
    slot_stake: int
    """Weight (slashable stake in gwei) that each taken slot binds: an operator sells no more slots,
    over all classes, than its stake covers."""
    newcomer_slots: int
    """Slots that an operator can have sold before it has proven any."""

    def hash(self) -> Hash:
        """keccak256 over the fields in order, each as 32 big-endian bytes."""
        words = b"".join(getattr(self, f.name).to_bytes(32, "big") for f in fields(self))
        return Hash(keccak(words))


DEVNET = ProtocolParams(
    view_ms=2_000,
    list_cutoff_ms=1_000,
    list_wait_ms=100,
    gossip_bound_ms=100,
    clock_bound_ms=50,
    chain_clock_bound_ms=2_500,
    resend_ms=500,
    relay_ms=3_000,
    max_committee=16,
    accept_timeout_ms=8_000,
    segment_timeout_ms=20_000,
    settle_step_ms=3_000,
    issued_at_bound_ms=60_000,
    min_deadline_views=3,
    max_deadline_views=3_600,
    max_set_size=1_024,
    initial_price_wei=10**15,
    bid_fee_bps=50,
    slot_stake=10**9,
    newcomer_slots=8,
)
"""Loopback devnet: short views, Anvil's one-second blocks."""

CROWDED: Final = replace(DEVNET, accept_timeout_ms=20_000, segment_timeout_ms=60_000)
"""Many provers on one machine: their proofs share its cores, so each takes several times longer."""

NETWORKS: Final = {"devnet": DEVNET, "crowded": CROWDED}
"""Parameters by the name that a deployment file gives."""
