"""Bytes that nodes send: what their metrics count, and frames by kind."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from prometheus_client.parser import text_string_to_metric_families

from node.client.api import open_http

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.records import Json

_FAMILY: Final = "provernet_network_bytes_out"
SEALING: Final = ("sealed_bid", "bid_receipt", "bid_shares")
"""Kinds of message that sealed bids consist of, or brought with them."""


async def sent_bytes(urls: Sequence[str]) -> Counter[str]:
    """Bytes that all these nodes sent since their start, by transport."""
    found: Counter[str] = Counter()
    async with open_http() as http:
        for url in urls:
            page = (await http.get(f"{url}/metrics")).raise_for_status().text
            for family in text_string_to_metric_families(page):
                if family.name == _FAMILY:
                    for sample in family.samples:
                        found[sample.labels["by"]] += int(sample.value)
    return found


def per_node(sent: Counter[str], nodes: int, rounds: int) -> Json:
    """Bytes of one node and round, by name, the most first; and how many rounds that is over."""
    parts = {name: round(size / nodes / rounds) for name, size in sent.most_common()}
    return {"rounds": rounds, "bytes": parts}


def by_kind(sent: Counter[str], nodes: int, rounds: int) -> Json:
    """The same for frames by kind, with the part of them that is there for sealing."""
    sealing = sum(sent[kind] for kind in SEALING)
    return {**per_node(sent, nodes, rounds), "sealing_share": round(sealing / sent.total(), 3)}
