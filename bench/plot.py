"""The throughput of the engines as a PNG, from the result of ``bench.throughput``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

HOSO = "#0b6e4f"
OTHER = "#9aa5b1"
BASELINE = "#5b6770"


def draw(result: dict[str, Any], path: Path) -> None:
    """Write bars of the medians with whiskers from the slowest to the fastest round.

    Needs matplotlib but no display. Raises ValueError when no engine has a speed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    medians = sorted(result["medians"].items(), key=lambda pair: pair[1])
    if not medians:
        raise ValueError("no engine has a speed to draw")
    names = [name for name, _ in medians]
    values = [value for _, value in medians]
    rounds = result["events_per_second"]
    whiskers = [
        [value - min(rounds[name]) for name, value in medians],
        [max(rounds[name]) - value for name, value in medians],
    ]
    colours = [
        HOSO if name.startswith("hoso") else BASELINE if name.startswith("bare") else OTHER
        for name in names
    ]
    figure = Figure(figsize=(8.4, 0.8 + 0.42 * len(names)), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.barh(
        names,
        values,
        xerr=whiskers,
        color=colours,
        height=0.66,
        error_kw={"ecolor": "#1f2933", "elinewidth": 1.2, "capsize": 3},
    )
    furthest = max(max(rounds[name]) for name in names)
    for row, name in enumerate(names):
        note = f"{values[row]:,}"
        if name in result["fewer_events"]:
            note += f"  ({result['fewer_events'][name]:,} events only)"
        axes.text(max(rounds[name]) + furthest * 0.015, row, note, va="center", fontsize=9)
    axes.set_xlim(0, furthest * 1.18)
    axes.set_xlabel(
        f"events per second: median of {result['rounds']} rounds, whiskers from slowest to fastest"
    )
    axes.set_ylabel("engine")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_axisbelow(True)
    axes.grid(axis="x", color="#e4e7eb")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    for label, name in zip(axes.get_yticklabels(), names, strict=True):
        label.set_fontweight("bold" if name.startswith("hoso") else "normal")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
