"""The only place where metric names live; `docs/metrics.md` is generated from this table."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

ROUND_BUCKETS = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2.5, 4.0, 8.0, 16.0)
PROVE_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 60.0, 300.0)


class Metrics:
    """Every metric of one node, in a registry of its own (several nodes may share a process)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self.frames_refused = Counter(
            "provernet_frames_refused_total",
            "Frames from peers refused at ingress, by reason",
            ["reason"],
            registry=r,
        )
        self.frames_accepted = Counter(
            "provernet_frames_accepted_total",
            "Frames from peers that reached the replica, by message kind",
            ["kind"],
            registry=r,
        )
        self.inputs_dropped = Counter(
            "provernet_inputs_dropped_total",
            "Inputs dropped because a bounded queue was full, by queue",
            ["queue"],
            registry=r,
        )
        self.statements_signed = Counter(
            "provernet_statements_signed_total",
            "Statements this node signed, by message kind",
            ["kind"],
            registry=r,
        )
        self.rounds_decided = Counter(
            "provernet_rounds_decided_total", "Rounds whose certificate this node holds", registry=r
        )
        self.round_seconds = Histogram(
            "provernet_round_seconds",
            "From the opening of an attempt to its certificate",
            buckets=ROUND_BUCKETS,
            registry=r,
        )
        self.peers_connected = Gauge(
            "provernet_peers_connected", "Operators with a live connection", registry=r
        )
        self.requests = Counter(
            "provernet_requests_total", "Requests by the state they reached", ["state"], registry=r
        )
        self.segments_proven = Counter(
            "provernet_segments_proven_total", "Segments this node proved", registry=r
        )
        self.prove_seconds = Histogram(
            "provernet_prove_seconds",
            "Time to prove one segment in a worker",
            buckets=PROVE_BUCKETS,
            registry=r,
        )
        self.proofs_checked = Counter(
            "provernet_proofs_checked_total",
            "Proofs of peers checked, by outcome",
            ["outcome"],
            registry=r,
        )
        self.settlements = Counter(
            "provernet_settlements_total",
            "Settlement transactions of this node, by outcome",
            ["outcome"],
            registry=r,
        )
        self.chain_head = Gauge("provernet_chain_head", "Number of the chain's head", registry=r)
        self.clock_offset_ms = Gauge(
            "provernet_clock_offset_ms",
            "This node's clock minus the chain head's timestamp",
            registry=r,
        )
