"""The page's sections on rounds: assignment, bytes, sealing, the simulator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.formats import IMAGES, ranged, seconds, table, verdict
from benchmarks.plots import shares
from benchmarks.sealing import OPEN
from benchmarks.simulator import RUNS
from benchmarks.traffic import SEALING

if TYPE_CHECKING:
    from benchmarks.records import Json


def assignment(found: Json) -> list[str]:
    """How long, where it goes, and what is sent."""
    sizes = {_named(nodes, found): part for nodes, part in found["sizes"].items()}
    lone = found["sizes"][str(found["in_process"])]
    lines = [
        "## Open to assignment of a round",
        "",
        (
            "Requests of one segment with sealed bids, one after the other, at moments drawn"
            " uniformly over a view, handed to each node in turn. *From acceptance* counts from"
            " when that node took the request in to when it saw the award; *from the opening* from"
            " when any node opened the awarding round (or the request came, if later). 4 and 10"
            " nodes are processes on a devnet (views of 2,000 ms). Nobody delivers inputs, so"
            " earlier requests expire meanwhile and take rounds of their own."
        ),
        "",
        (
            f"{found['in_process']} nodes are one process: replicas, drivers, guards, databases,"
            " ingress, signatures and ciphers are real, each node has its own; frames go from inbox"
            " to inbox in memory, and all work is that of one interpreter. Views last"
            f" {lone['view_ms']:,} ms as on a production network, repetitions are as much rarer,"
            " and no request expires."
        ),
        "",
        (
            "*Before sealing*: medians of commits whose bids were open, at other loads. A bid now"
            " follows its request by two more calls of the client, which asks for the committee's"
            " keys and seals; that is within the time from acceptance. For context, of other"
            " networks: Succinct's requesters report 15 to 30 s, Brevis' example configuration"
            " gives an auction 15 minutes."
        ),
        "",
    ]
    head = (
        "nodes",
        "load before",
        "requests",
        "p50 from acceptance",
        "before sealing",
        "p90",
        "range",
        "p50 from the opening",
        "p90",
        "over one view",
        "processor, all nodes, a round",
        "target",
    )
    rows = [_awards(name, part) for name, part in sizes.items()]
    lines += [*table(head, rows), "", "Where a node spends such a round (one attempt):", ""]
    names = dict.fromkeys(name for part in sizes.values() for name in part["round_split_ms"])
    split = [
        (
            name,
            *(
                seconds(part["round_split_ms"][name]) if name in part["round_split_ms"] else ""
                for part in sizes.values()
            ),
        )
        for name in names
    ]
    lines += table(("part", *sizes), split)
    series = [
        (name, part["samples_ms"], part["target_ms"])
        for name, part in sizes.items()
        if part["samples_ms"]
    ]
    plot = shares("Share of requests awarded within a time", series)
    (IMAGES / "assignment.svg").write_text(plot, encoding="utf-8")
    shown = ["", "![Share of requests awarded](img/assignment.svg)", ""]
    return [*lines, *shown, *_wire(sizes), *_kinds(sizes)]


def _named(nodes: str, found: Json) -> str:
    return f"{nodes} nodes" + (", one process" if nodes == str(found["in_process"]) else "")


def _awards(name: str, part: Json) -> tuple[object, ...]:
    wait, opening = part["assigned_ms"], part["from_opening_ms"]
    target = f"p50 <= {part['target_ms']} ms: "
    start = (name, part["load_before"], part["requests"])
    if wait is None:
        return (*start, *["-"] * 8, f"{target}**missed**, none was awarded")
    lost = f"; {part['not_awarded']} not awarded" if part["not_awarded"] else ""
    before = ", ".join(f"{ms:,} ms at load {busy}" for busy, ms in part.get("before_sealing", ()))
    return (
        *start,
        f"{wait['median']:.0f} ms",
        before,
        f"{wait['p90']} ms",
        f"{wait['low']} - {wait['high']} ms",
        f"{opening['median']:.0f} ms",
        f"{opening['p90']} ms",
        part["attempts_over_one"],
        f"{part['processor_s_per_round']} s",
        f"{target}{verdict(wait['median'] <= part['target_ms'])}{lost}",
    )


def _wire(sizes: Json) -> list[str]:
    measured = {name: part["wire"] for name, part in sizes.items() if "wire" in part}
    ways = dict.fromkeys(way for wire in measured.values() for way in wire["bytes"])
    rows = [
        (name, wire["rounds"], *(f"{wire['bytes'].get(way, 0):,}" for way in ways), _total(wire))
        for name, wire in measured.items()
    ]
    return [
        "### Bytes on the wire",
        "",
        (
            "Sent by one node in one round of the same runs, awarding or not, by the node's own"
            " counts (`provernet_network_bytes_out_total`): gossip with its relays and its RPC"
            " framing, frames of acknowledged streams; TLS and Yamux come on top. All that was sent"
            " between the first request and the last award, divided by nodes and rounds."
        ),
        "",
        *table(("nodes", "rounds", *ways, "all, bytes"), rows),
        "",
    ]


def _kinds(sizes: Json) -> list[str]:
    counted = {name: part["kinds"] for name, part in sizes.items()}
    kinds = dict.fromkeys(kind for part in counted.values() for kind in part["bytes"])
    rows = [
        (f"`{kind}`", *(f"{part['bytes'].get(kind, 0):,}" for part in counted.values()))
        for kind in kinds
    ]
    rows.append(("all", *map(_total, counted.values())))
    share = [f"{100 * part['sealing_share']:.0f} %" for part in counted.values()]
    names = ", ".join(f"`{kind}`" for kind in SEALING)
    rows.append((f"of it {names}", *share))
    return [
        (
            "Counters do not know kinds. So these are frames without transport, counted as they"
            " leave nodes in one process (see above), once for each receiver, twice where gossip"
            " and a stream carry one; bytes of one node in one round:"
        ),
        "",
        *table(("kind", *counted), rows),
        "",
    ]


def _total(part: Json) -> str:
    return f"{sum(part['bytes'].values()):,}"


def sealing(found: Json) -> list[str]:
    """Calls by size of the committee."""
    sizes = found["sizes"]
    calls = dict.fromkeys(call for part in sizes.values() for call in part)
    rows = [
        (call, *(ranged(part[call]) if call in part else "" for part in sizes.values()))
        for call in calls
    ]
    members, most = str(found["target_members"]), found["target_open_us"]
    least = sizes[members][OPEN]["median"]
    return [
        "## Sealed bids",
        "",
        (
            "Microseconds for one bid in one thread, each call with a fresh bid; medians of"
            f" {sizes[members][OPEN]['runs']} with their range. *Open and check*: every member's"
            " share against its hash, the key from f + 1 of them, all shares recomputed and"
            " compared, the cipher opened, the commitment checked. *First of a round*: with shares"
            " of members whose weights are not computed yet; those of a round's other bids are."
            " The baselines ran beside: a bare X25519 exchange, and the same 68 bytes in a box of"
            " its own for each member, which any single member could open."
        ),
        "",
        f"Target: open and check at {members} members <= {most:,} us: {verdict(least <= most)}.",
        "",
        *table(("call", *(f"{size} members" for size in sizes)), rows),
        "",
    ]


def simulator(found: Json) -> list[str]:
    """Rounds by number of nodes."""
    rows = [
        (
            part["machine"],
            f"{part['nodes']:,}",
            part["load_before"],
            part["rounds"],
            f"{part['rounds_per_s']:g}",
            f"{part['messages_per_round']:,}",
            f"{part['messages_per_s']:,}",
            f"{part['simulated_ms_per_round']:,} ms",
            f"{part['peak_rss_mb']:,} MB",
        )
        for part in found["runs"]
    ]
    head = (
        "machine",
        "nodes",
        "load before",
        "rounds",
        "rounds a second",
        "messages a round",
        "messages a second",
        "simulated time of a round",
        "peak RSS so far",
    )
    done = {(part["machine"], part["nodes"]) for part in found["runs"]}
    left = ", ".join(
        f"{machine} of {nodes:,} nodes"
        for machine, nodes, _ in RUNS
        if (machine, nodes) not in done
    )
    return [
        "## The simulator",
        "",
        (
            "`tests/sim` in one thread, good links, nobody faulty, keyed hashes in place of"
            " cryptography. *Agreement* decides ids that spread by gossip; *replica* is the whole"
            " machine with sealed bids, of which every node makes one a round. Committees have 16"
            " members at most, all nodes vote; a message is a frame to one node."
        ),
        "",
        *table(head, rows),
        "",
        *([f"Not measured, too long: {left}.", ""] if left else []),
    ]
