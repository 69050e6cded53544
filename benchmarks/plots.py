"""Plots as SVG: stacked bars, shares of samples below a time, curves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    Series = tuple[str, str, Sequence[tuple[float, float]]]
    """Name, line style, points."""

COLOURS: Final = ("#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee6677", "#aa3377", "#999999")
_WIDTH: Final = 760
_LEFT: Final = 130
_RIGHT: Final = 20
_STYLE: Final = 'font-family="sans-serif" font-size="12"'


@dataclass(frozen=True)
class Panel:
    """One plot of several that share a legend: all name the same curves in the same order."""

    name: str
    series: Sequence[Series]
    band: tuple[str, Sequence[tuple[float, float, float]]] | None = None
    """A name, and for each x the lowest and the highest y of a shaded area."""


def stacked_bars(title: str, bars: Sequence[tuple[str, Sequence[tuple[str, float]]]]) -> str:
    """Horizontal bars in seconds; each is a name and its parts (name, milliseconds)."""
    names = list(dict.fromkeys(name for _, parts in bars for name, _ in parts))
    end_s = max(sum(ms for _, ms in parts) for _, parts in bars) / 1_000
    step = _step(end_s)
    scale = (_WIDTH - _LEFT - _RIGHT) / end_s
    height = 34 * len(bars)
    bottom = 40 + height
    drawn = [_text(_LEFT, 20, title, bold=True)]
    for row, (label, parts) in enumerate(bars):
        y, x = 34 + 34 * row, float(_LEFT)
        drawn.append(_text(_LEFT - 8, y + 17, label, anchor="end"))
        for name, ms in parts:
            width = ms / 1_000 * scale
            colour = COLOURS[names.index(name) % len(COLOURS)]
            drawn.append(
                f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="24" fill="{colour}">'
                f"<title>{name}: {ms:.0f} ms</title></rect>"
            )
            x += width
    drawn += _axis(bottom, end_s, step, scale)
    for place, name in enumerate(names):
        x, y = _LEFT + 150 * (place % 4), bottom + 36 + 20 * (place // 4)
        colour = COLOURS[place % len(COLOURS)]
        drawn.append(f'<rect x="{x}" y="{y - 10}" width="12" height="12" fill="{colour}"/>')
        drawn.append(_text(x + 18, y, name))
    return _svg(drawn, bottom + 46 + 20 * ((len(names) - 1) // 4))


def shares(title: str, series: Sequence[tuple[str, Sequence[float], float]]) -> str:
    """Share of samples below a time; each series has samples and a target in milliseconds."""
    end_s = max(max([*samples, target]) for _, samples, target in series) / 1_000 * 1.05
    scale = (_WIDTH - _LEFT - _RIGHT) / end_s
    top, bottom = 34, 234
    drawn = [_text(_LEFT, 20, f"{title} (dots: targets of the median)", bold=True)]
    for percent in (0, 50, 90, 100):
        y = bottom - (bottom - top) * percent / 100
        drawn.append(_text(_LEFT - 8, y + 4, f"{percent} %", anchor="end"))
        drawn.append(_line(_LEFT, y, _WIDTH - _RIGHT, y, "#dddddd"))
    for place, (name, samples, target) in enumerate(series):
        colour = COLOURS[2 * place]
        points = [f"{_LEFT},{bottom}"]
        for count, ms in enumerate(sorted(samples), start=1):
            x = _LEFT + ms / 1_000 * scale
            for share in (count - 1, count):
                y = bottom - (bottom - top) * share / len(samples)
                points.append(f"{x:.1f},{y:.1f}")
        drawn.append(
            f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}"'
            ' stroke-width="2"/>'
        )
        at, half = _LEFT + target / 1_000 * scale, (top + bottom) / 2
        drawn.append(f'<circle cx="{at:.1f}" cy="{half}" r="5" fill="{colour}"/>')
        drawn.append(
            f'<rect x="{_LEFT + 150 * place}" y="{bottom + 28}" width="12" height="12"'
            f' fill="{colour}"/>'
        )
        drawn.append(_text(_LEFT + 150 * place + 18, bottom + 38, name))
    drawn += _axis(bottom, end_s, _step(end_s), scale)
    return _svg(drawn, bottom + 50)


def curves(
    path: Path,
    labels: tuple[str, str, str],
    panels: Sequence[Panel],
    *,
    scales: tuple[str, str],
    one_unit: bool = True,
) -> None:
    """Draw panels side by side with one legend; the same each time.

    `labels` are the title and those of both axes, `scales` matplotlib's names of theirs. Panels of
    several units have a y axis each, and their names say the unit.
    """
    # A second of imports that the rest does without.
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": path.name, "svg.fonttype": "none"})
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, grid = plt.subplots(
        ncols=len(panels), figsize=(7.6, 4.2), layout="constrained", sharey=one_unit, squeeze=False
    )
    for axes, panel in zip(grid[0], panels, strict=True):
        if panel.band is not None:
            xs, lows, highs = zip(*panel.band[1], strict=True)
            axes.fill_between(xs, lows, highs, color="#dddddd", label=panel.band[0])
        for colour, (name, style, points) in zip(COLOURS, panel.series, strict=False):
            xs, ys = zip(*points, strict=True)
            axes.plot(xs, ys, style, color=colour, label=name, markersize=5)
        axes.set(title=panel.name, xlabel=labels[1], xscale=scales[0], yscale=scales[1])
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.grid(color="#eeeeee")
    grid[0][0].set_ylabel(labels[2])
    figure.suptitle(labels[0])
    shown, names = grid[0][0].get_legend_handles_labels()
    figure.legend(shown, names, loc="outside lower center", fontsize="small", ncols=len(names))
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _axis(bottom: float, end_s: float, step: float, scale: float) -> list[str]:
    drawn = [_line(_LEFT, bottom, _WIDTH - _RIGHT, bottom, "#333333")]
    for number in range(int(end_s / step) + 1):
        x = _LEFT + number * step * scale
        drawn.append(_line(x, bottom, x, bottom + 4, "#333333"))
        drawn.append(_text(x, bottom + 17, f"{number * step:g} s", anchor="middle"))
    return drawn


def _step(end_s: float) -> float:
    """A round distance of ticks that gives at most ten of them."""
    return next(step for step in (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 50, 100) if end_s / step <= 10)


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{weight}>{text}</text>'


def _svg(drawn: list[str], height: float) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" {_STYLE}>'
    ground = f'<rect width="{_WIDTH}" height="{height:.0f}" fill="#ffffff"/>'
    return "\n".join([head, ground, *drawn, "</svg>"]) + "\n"
