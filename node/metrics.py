"""The only place where metric names live; `docs/metrics.md` is generated from this table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

# The time at which each series began is of no use, and doubles the page.
disable_created_metrics()  # type: ignore[no-untyped-call]

ROUND_BUCKETS = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2.5, 4.0, 8.0, 16.0)
PROVE_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 60.0, 300.0)

NETWORK_COUNTS: Final = {
    "frames_in": "Frames received, by transport",
    "frames_out": "Frames sent, by transport",
    "bytes_in": "Bytes received, by transport",
    "bytes_out": "Bytes sent, by transport",
    "drops": "Frames and streams dropped, by reason",
    "refused": "Connections refused, by reason",
    "penalties": "Points charged in the peer ledger, by reason",
    "faults": "Exceptions inside the peer-to-peer library that a guard caught, by type",
}
"""What the network adapter counts, as provernet_network_<name>_total."""


class NetworkCollector(Collector):
    """Shows the network adapter's own counts."""

    def __init__(self, snapshot: Callable[[], Mapping[str, Mapping[str, float]]]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterable[Metric]:
        """One family for each name of NETWORK_COUNTS."""
        counts = self._snapshot()
        for name, text in NETWORK_COUNTS.items():
            family = CounterMetricFamily(f"provernet_network_{name}", text, labels=["by"])
            for label, value in sorted(counts.get(name, {}).items()):
                family.add_metric([label], value)
            yield family


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
            "Frames from peers that reached the replica, by transport",
            ["via"],
            registry=r,
        )
        self.bids_refused = Counter(
            "provernet_bids_refused_total",
            "Requests and bids that took no part in a round, by reason",
            ["reason"],
            registry=r,
        )
        self.statements_sent = Counter(
            "provernet_statements_sent_total",
            "Own statements broadcast, repeats included, by message kind",
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
