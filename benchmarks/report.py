"""Renders docs/benchmarks.md and its plots from the saved results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks.formats import IMAGES, ranged, ratio, seconds, table, verdict
from benchmarks.plots import Panel, curves, stacked_bars
from benchmarks.records import ROOT, saved
from benchmarks.report_rounds import assignment, sealing, simulator
from benchmarks.tiers import SHAPES, SIZES
from protocol.dispatch import Tier, tier_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.records import Json

PAGE: Final = ROOT / "docs" / "benchmarks.md"
_STAGES: Final = {
    "assigned": "the first round: from the request to its award",
    "accepted": "inputs sealed, delivered, and accepted for every segment",
    "proven": "all proofs made",
    "verified": "all proofs verified by the node that was asked",
    "certified": "the second round: outcome listed, voted, certified",
    "settled": "the transaction, until its event is final",
}
_NAMES: Final = (
    "path",
    "assignment",
    "idle",
    "micro",
    "sealing",
    "simulator",
    "clearing",
    "welfare",
    "convergence",
    "tiers",
)
_INTRO: Final = """\
# Benchmarks

Made by `make bench` (`python -m benchmarks`) from `benchmarks/results/*.json`; do not edit. One
command, about three quarters of an hour on two idle cores, much of it for `tiers`; `python -m
benchmarks NAME ...` runs some of it, with `report` it only renders this page again. Figures are
medians with their range in brackets. Ratios compare what ran in one run on one machine. Targets
that are missed are marked so.
"""


def render() -> None:
    """Write the page and its plots."""
    IMAGES.mkdir(exist_ok=True)
    parts = [_INTRO, *_machine()]
    for name, section in (
        ("path", _path),
        ("assignment", assignment),
        ("gas", _gas),
        ("idle", _idle),
        ("micro", _micro),
        ("sealing", sealing),
        ("simulator", simulator),
        ("clearing", _clearing),
        ("welfare", _welfare),
        ("convergence", _convergence),
        ("tiers", _tiers),
    ):
        found = saved(name)
        if found is not None:
            parts += section(found)
    PAGE.write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")


def _machine() -> list[str]:
    rows = []
    for name in _NAMES:
        found = saved(name)
        if found is not None:
            place = found["machine"]
            where = f"{place['processor']}, {place['cores']} cores, {place['memory_gib']} GiB"
            busy = found.get("load_before")
            if busy is None:
                busy = max(part["load_before"] for part in found["sizes"].values())
            software = f"{place['system']}, Python {place['python']}"
            rows.append((name, place["date"], f"`{place['commit']}`", where, software, busy))
    head = ("benchmark", "date", "commit", "machine", "system", "load before")
    told = (
        "*Load before* is the one-minute load average when a benchmark began: what other work the"
        " machine had. On an idle machine it is near 0 for the first one."
    )
    return [*table(head, rows), "", told, ""]


def _path(found: Json) -> list[str]:
    most = found["target_ratio"]
    lines = [
        "## Whole path: submit to settled",
        "",
        (
            f"{found['accounts']} accounts, {found['proofs'] - 1} segments and the combining one,"
            f" on {found['nodes']} nodes with one worker each. *Raw* is the same {found['proofs']}"
            f" proofs, made and self-verified by one engine with {found['workers']} workers and"
            " nothing around it, in the same run right before. *Cold*: workers start and load keys"
            " within the time, on both sides. *Warm*: they are loaded, on both sides, and raw is"
            " the mean of right before and right after. Every run follows a short rest. *Overhead*"
            " is (network - raw) / raw."
        ),
        "",
        f"Target: total <= {most} x raw + the two rounds, as measured on the same request.",
        "",
    ]
    rows = [
        (
            kind,
            seconds(part["raw_ms"]),
            seconds(part["total_ms"]),
            seconds(part["rounds_ms"]),
            seconds(part["allowed_ms"]),
            ratio(part["overhead"]),
            ratio(part["without_rounds"]),
            verdict(part["without_rounds"]["median"] <= most)
            + f" ({part['met']} of {part['total_ms']['runs']} runs)",
        )
        for kind, part in _kinds(found)
    ]
    head = (
        "",
        "raw",
        "network total",
        "its two rounds",
        "allowed",
        "overhead",
        "(total - rounds) / raw",
        "target",
    )
    lines += [*table(head, rows), "", "By stage:", ""]
    stages = [
        (name, told, *(seconds(part["stages_ms"][name]) for _, part in _kinds(found)))
        for name, told in _STAGES.items()
    ]
    lines += table(("up to", "what", *(kind for kind, _ in _kinds(found))), stages)
    bars: list[tuple[str, list[tuple[str, float]]]] = []
    for kind, part in _kinds(found):
        bars.append((f"raw, {kind}", [("raw proving", part["raw_ms"]["median"])]))
        bars.append((f"network, {kind}", [(n, part["stages_ms"][n]["median"]) for n in _STAGES]))
    title = "Submit to settled, medians by stage"
    (IMAGES / "path.svg").write_text(stacked_bars(title, bars), encoding="utf-8")
    return [*lines, "", "![Submit to settled by stage](img/path.svg)", ""]


def _gas(found: Json) -> list[str]:
    rows = [
        (f"first settlement ever, {found['operators']} operators", ranged(found["first"])),
    ]
    if found["later"] is not None:
        rows.append((f"later settlements, {found['operators']} operators", ranged(found["later"])))
    voters = " or ".join(map(str, found["voters"]))
    forge = [(name, f"{gas:,}") for name, gas in found["forge_85_operators"].items()]
    return [
        "## Gas of a settlement",
        "",
        (
            f"Real transactions on Anvil (osaka), one result of one requester; {voters} of the"
            f" {found['operators']} signed. The first one fills storage that later ones only"
            " change."
        ),
        "",
        *table(("transaction", "gas"), rows),
        "",
        "With 85 operators, as forge measures it (`contracts/snapshots/GasTest.json`):",
        "",
        *table(("call", "gas"), forge),
        "",
    ]


def _idle(found: Json) -> list[str]:
    rows = []
    for name, key in (("before any request", "fresh"), ("after a request", "after_a_request")):
        part = found[key]
        rss_met = part["rss_mb"]["high"] <= found["target_rss_mb"]
        cpu_met = part["cpu_percent"]["high"] <= found["target_cpu_percent"]
        rows.append(
            (
                name,
                f"{ranged(part['rss_mb'])} MB",
                f"{ranged(part['pss_mb'])} MB",
                part["workers"],
                f"{ranged(part['rss_with_workers_mb'])} MB",
                f"{ranged(part['cpu_percent'])} %",
                f"{verdict(rss_met)}, {verdict(cpu_met)}",
            )
        )
    head = (
        "node",
        "RSS of the node",
        "PSS",
        "workers of all",
        "RSS with its workers",
        "processor",
        "targets",
    )
    lines = [
        "## An idle node",
        "",
        (
            f"{found['nodes']} nodes, {found['seconds']:.0f} s without work, from /proc. Workers"
            " wait two minutes for the next job and then end. PSS counts pages shared with the"
            " other nodes of the same machine in part. Targets, each for the worst node: RSS <="
            f" {found['target_rss_mb']} MB, processor <= {found['target_cpu_percent']:g} % of one"
            " core."
        ),
        "",
        *table(head, rows),
        "",
    ]
    imports = saved("imports")
    if imports is None:
        return lines
    top = list(imports["packages_mb"].items())[:14]
    return [
        *lines,
        (
            f"Importing a node's modules takes the interpreter from {imports['bare_mb']} MB to"
            f" {imports['imported_mb']} MB. Packages by what their own modules add (a package that"
            " others import counts for itself):"
        ),
        "",
        *table(("package", "MB"), top),
        "",
    ]


def _micro(found: Json) -> list[str]:
    rows = [
        (name, f"{part['median']:,.0f}", f"{part['p90']:,.0f}", part["runs"])
        for name, part in found["figures"].items()
    ]
    return [
        "## Small parts",
        "",
        "Microseconds of one call in one thread; checks use fresh frames, keys are known.",
        "",
        *table(("call", "median", "p90", "calls"), rows),
        "",
    ]


def _clearing(found: Json) -> list[str]:
    sizes = {int(size): part for size, part in found["sizes"].items()}
    rows = []
    for size, part in sizes.items():
        target = ""
        if size == found["target_size"]:
            met = part["ratio"]["median"] <= found["target_ratio"]
            target = f"<= {found['target_ratio']}: {verdict(met)}"
        command_s = part["command_ms"] / 1_000
        figures = (ranged(part[name]) for name in ("sort_ms", "clear_ms", "ratio"))
        rows.append((f"{size:,}", *figures, target, f"{command_s:.1f} s"))
    curves(
        IMAGES / "clearing.svg",
        ("Clearing a thick market", "bids", "ms"),
        [
            Panel(
                "",
                [
                    (name, "-o", [(size, part[key]["median"]) for size, part in sizes.items()])
                    for name, key in (("clearing", "clear_ms"), ("sorting the buyers", "sort_ms"))
                ],
            )
        ],
        scales=("log", "log"),
    )
    head = ("bids", "sorting, ms", "clearing, ms", "ratio", "target", "command, file to output")
    return [
        "## Clearing",
        "",
        (
            "Trade reduction on parsed markets, nine buyers for each seller, against"
            " `sorted(buyers, key=max_fee)` over the same buyers as dictionaries, in turn."
        ),
        "",
        *table(head, rows),
        "",
        "![Clearing against sorting](img/clearing.svg)",
        "",
    ]


_AUCTIONS: Final = {
    "thin": ("posted price", "-x"),
    "thick": ("trade reduction", "-o"),
    "first": ("first price", "--^"),
    "second": ("second price", "--s"),
}
_BESIDE: Final = (4, 10)
"""Numbers of sellers for which all auctions are shown."""


def _welfare(found: Json) -> list[str]:
    cells = found["cells"]
    counts = sorted({cell["sellers"] for cell in cells})
    at = {(cell["buyers"], cell["sellers"]): cell for cell in cells}
    buyers = sorted({cell["buyers"] for cell in cells})
    rows = [
        (
            number,
            *(f"{at[number, few]['thin']:.2f} / {at[number, few]['thick']:.2f}" for few in counts),
        )
        for number in buyers
    ]
    beside = [
        (number, *(f"{at[number, few][key]:.2f}" for few in _BESIDE for key in _AUCTIONS))
        for number in buyers
    ]
    names = [f"{name}, {few} sellers" for few in _BESIDE for name, _ in _AUCTIONS.values()]
    panels = [
        Panel(
            f"{few} sellers",
            [
                (name, style, [(number, at[number, few][key]) for number in buyers])
                for key, (name, style) in _AUCTIONS.items()
            ],
        )
        for few in _BESIDE
    ]
    title = "Welfare as a share of the fractional optimum"
    curves(IMAGES / "welfare.svg", (title, "buyers", "share"), panels, scales=("log", "linear"))
    least, most = found["min_buyers"], found["min_sellers"]
    ours = [(_in_use(cell, found), cell) for cell in cells]
    behind = {key: sum(cell[key] > mine for mine, cell in ours) for key in ("first", "second")}
    gaps = {key: max(cell[key] - mine for mine, cell in ours) for key in ("first", "second")}
    return [
        "## Welfare of the two rules",
        "",
        (
            f"Share of the fractional optimum over {found['rounds']} random markets each: posted"
            " price / trade reduction. The posted price follows its controller. A market with"
            f" {least} buyers and {most} sellers is thick."
        ),
        "",
        *table(("buyers", *(f"{few} sellers" for few in counts)), rows),
        "",
        (
            "Beside them two auctions that the network does not use (`benchmarks/baselines.py`)."
            " *First price*: buyers pay what they bid, sellers get what they ask; buyers are served"
            " by fee per slot from the cheapest asks left, all their slots or none. Not truthful:"
            " each bidder shades by the step of 5 % that would have gained it most per slot over"
            " the latest 50 rounds. The treasury keeps the difference. *Second price*: all slots"
            " that cost at most the posted price, which is the reserve, are offered at cost; buyers"
            " are served by fee per slot until one does not fit, and all pay what that one bid per"
            " slot, at least the reserve; sellers get the same, so that the budget is balanced."
            " Truthful for buyers. Not for sellers: the cheapest are filled first at a price that"
            " all get, and one with many slots raises it by holding some back. That they are honest"
            " all the same is assumed, in favour of this auction."
        ),
        "",
        *table(("buyers", *names), beside),
        "",
        (
            f"Of all {len(cells)} sizes, first price is ahead of the rule that the network would"
            f" use in {behind['first']}, by at most {gaps['first']:.2f}; second price in"
            f" {behind['second']}, by at most {gaps['second']:.2f}. That is what it costs that the"
            " truth is the best bid of a round on both sides: first price rests on bidders who"
            " guess well, second price on sellers' honesty."
        ),
        "",
        "![Welfare by rule and market size](img/welfare.svg)",
        "",
    ]


def _in_use(cell: Json, found: Json) -> float:
    """Share that the rule for a market of this size reaches."""
    few = cell["buyers"] < found["min_buyers"] or cell["sellers"] < found["min_sellers"]
    share: float = cell["thin" if few else "thick"]
    return share


def _convergence(found: Json) -> list[str]:
    length = found["phase_rounds"]
    panels, rows = [], []
    for rule, part in found["rules"].items():
        band = [
            (number, *(value / 1e6 for value in phase["band"]))
            for place, phase in enumerate(part["phases"])
            for number in (place * length, (place + 1) * length)
        ]
        points = [(number, value / 1e6) for number, value in enumerate(part["prices"])]
        heading = f"{rule}: {part['buyers']} buyers, {part['sellers']} sellers"
        label = "clearing price, 10th to 90th percentile of a phase"
        panels.append(Panel(heading, [("reference price", "-", points)], (label, band)))
        rows += [
            (
                rule,
                phase["name"],
                *_arrival(phase["to_clearing"], found["runs"]),
                *_arrival(phase["to_settled"], found["runs"])[:1],
                ranged(phase["settled"]),
            )
            for phase in part["phases"][1:]
        ]
    settled = {
        rule: [phase["settled"]["median"] for phase in part["phases"][1:]]
        for rule, part in found["rules"].items()
    }
    span = {rule: f"{min(ratios):.2f} to {max(ratios):.2f}" for rule, ratios in settled.items()}
    title = "Reference price after shocks of demand, one run"
    labels = (title, "round", "million wei a slot")
    curves(IMAGES / "convergence.svg", labels, panels, scales=("linear", "linear"))
    held = sum(part["clamped"] for part in found["rules"].values())
    close = f"{100 * found['close']:.0f} %"
    head = (
        "rule",
        "demand changes to",
        f"rounds until within {close} of the clearing price",
        "runs that got there",
        f"rounds within {close} from then on",
        f"rounds until within {close} of where it settles",
        "settles at, of the clearing price",
    )
    return [
        "## Convergence of the reference price",
        "",
        (
            f"{found['runs']} runs; every {length} rounds demand changes, at once. Sellers stay,"
            " requests come anew each round, and what is not served does not come back. The"
            " clearing price of a round is the lowest at which no more slots are wanted than are"
            f" offered, that of a phase the median of its rounds. Where a price settles is the"
            f" median of a phase's last {found['late']} rounds. An epoch of"
            f" {found['epoch_rounds']} rounds holds the price within a factor of"
            f" {found['epoch_factor']} of where it found it: that bound {held} times. A thin market"
            " trades at its reference price; a thick one makes a price of its own each round, of"
            f" which the reference is the median of the last {found['recent_prices']}."
        ),
        "",
        *table(head, rows),
        "",
        (
            f"Medians of where it settles: {span['thin']} of the clearing price in the thin market,"
            f" {span['thick']} in the thick one. Trade reduction lets buyers pay what one without a"
            " trade bid, with a seller fewer, so that its price is above the one that clears the"
            " market. Rounds until within a distance say little where a price settles outside of"
            " it: it then only passes."
        ),
        "",
        "![The reference price follows demand](img/convergence.svg)",
        "",
    ]


def _arrival(part: Json, runs: int) -> tuple[str, str, str]:
    if "rounds" not in part:
        return "-", f"0 of {runs}", "-"
    share = part["stays"]["median"]
    return ranged(part["rounds"]), f"{runs - part['never']} of {runs}", f"{100 * share:.0f} %"


_MIB: Final = 1 << 20


def _tiers(found: Json) -> list[str]:
    circuits, fits = found["circuits"], found["fits"]
    rows = [
        (
            f"{row['constraints']:,}",
            tier_of(row["constraints"]).name,
            seconds(row["cpu_ms"]),
            f"{row['load_ms'] / 1_000:.1f} s",
            _mib(row["peak_rss_bytes"]),
            _mib(row["peak_address_space_bytes"]),
            _mib(row["worker_bytes"]),
            _mib(row["key_bytes"]),
            f"{row['setup_s']:.0f} s",
            f"{row['witness_ms']['median']:.0f} ms",
        )
        for row in circuits
    ]
    head = (
        "constraints",
        "tier",
        "processor, one proof",
        "processor, to load the key",
        "peak RSS",
        "peak address space",
        "with a second key",
        "key file",
        "processor, set-up",
        "witness check",
    )
    budgets = [
        (tier.name, facts.max_constraints, facts.cpu_ms, facts.memory_bytes)
        for tier in Tier
        if (facts := tier.value).cpu_ms is not None and facts.memory_bytes is not None
    ]
    budget_rows = [
        (name, f"{size:,}", f"{cpu_ms / 1_000:.0f} s", _mib(memory))
        for name, size, cpu_ms, memory in budgets
    ]
    processor = _cost(
        "processor time of a proof, s",
        [(row["constraints"], row["cpu_ms"]["median"] / 1_000) for row in circuits],
        [(size, _fitted(fits["cpu_ms"], size) / 1_000) for size in SIZES],
        [(size, cpu_ms / 1_000) for _, size, cpu_ms, _ in budgets],
    )
    memory = _cost(
        "memory of a worker with two keys, MiB",
        [(row["constraints"], row["worker_bytes"] / _MIB) for row in circuits],
        [(size, _fitted(fits["worker_bytes"], size) / _MIB) for size in SIZES],
        [(size, memory / _MIB) for _, size, _, memory in budgets],
    )
    title = "One proof by the size of its circuit"
    curves(
        IMAGES / "tiers.svg",
        (title, "constraints", ""),
        [processor, memory],
        scales=("log", "log"),
        one_unit=False,
    )
    return [
        "## Tiers",
        "",
        (
            "What stands behind the table of tiers in `protocol/dispatch.py`: chains of Poseidon"
            " hashes (`benchmarks/circuits/chain.circom`), built, loaded, proven and checked like"
            " any program, each in a fresh worker, whose processor time (user and system) and"
            " memory these are. A full power of two is the worst case: with its public values it"
            " needs the next larger domain of the Fourier transform. *One proof* is witness, proof"
            " and self-check by a worker that has loaded the key. *With a second key*: peak address"
            " space, which limits count, and once more what loading the key took, as a worker keeps"
            " both circuits of a program and the other one may be as large. *Set-up* compiles and"
            " makes the keys of both circuits; the combining one is that of `examples/solvency`."
            " *Witness check* is the wall time of the node's own check of a private input; the"
            " circuit's witness is computed within the proof."
        ),
        "",
        *table(head, rows),
        "",
        (
            "Fits, n constraints, by least squares of relative errors:"
            f" processor time of a proof {_formula(fits['cpu_ms'], 'ms', 1)};"
            f" memory with a second key {_formula(fits['worker_bytes'], 'KB', 1_000)};"
            f" key file {_formula(fits['key_bytes'], 'KB', 1_000)}."
        ),
        "",
        "What a prover should budget for the largest circuit of a tier; XL has no end:",
        "",
        *table(("tier", "constraints", "processor, one proof", "memory"), budget_rows),
        "",
        "![One proof by the size of its circuit](img/tiers.svg)",
        "",
    ]


def _cost(
    heading: str,
    measured: Sequence[tuple[float, float]],
    fitted: Sequence[tuple[float, float]],
    budgets: Sequence[tuple[float, float]],
) -> Panel:
    """Measured points, their fit, and the budgets as steps that end where a tier ends."""
    start = measured[0][0]
    steps = []
    for end, budget in budgets:
        steps += [(start, budget), (end, budget)]
        start = end
    return Panel(
        heading,
        [("measured", "o", measured), ("fit", "-", fitted), ("budget of the tier", "--", steps)],
    )


def _fitted(fit: Json, size: int) -> float:
    value: float = fit["fixed"] + fit["slope"] * SHAPES[fit["shape"]](size)
    return value


def _formula(fit: Json, unit: str, size: int) -> str:
    """A fit in a unit that has so many of what was fitted."""
    fixed, slope = fit["fixed"] / size, fit["slope"] / size
    worst = 100 * fit["worst_error"]
    return f"{fixed:,.0f} + {slope:.3g} {fit['shape']} {unit} (off by at most {worst:.1f} %)"


def _mib(size: int) -> str:
    return f"{size / _MIB:,.0f} MiB"


def _kinds(found: Json) -> list[tuple[str, Json]]:
    return [(kind, found[kind]) for kind in ("cold", "warm")]
