"""The benchmark in four panels, from the CSV files alone."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator

from deadgcn.paper.benchmark import AXES, ENGINE, paired_ratios
from deadgcn.plots.curves import OTHER_COLORS, OTHER_MARKERS, depth_colors, save_figure, set_style
from deadgcn.plots.titles import add_title

CONTENDERS = {
    ENGINE: {"color": "#000000", "marker": "o"},
    "careful loop": {"color": OTHER_COLORS[0], "marker": "s"},
    "careful loop, processes": {"color": OTHER_COLORS[1], "marker": "^"},
    "plain loop": {"color": OTHER_COLORS[2], "marker": "D"},
}
LEGEND = {"loc": "upper left", "frameon": False, "borderaxespad": 0, "columnspacing": 0.8}
LEGEND |= {"handlelength": 1.6, "bbox_to_anchor": (-0.16, 1)}


def draw(tables: dict[str, pd.DataFrame], folder: Path) -> None:
    """Write `bench.png`, `bench.pdf` and `bench.csv` with the numbers drawn, a panel per section measured."""
    panels = [
        ("comparison", lambda ax: _contenders(ax, tables["comparison"], tables["limit"])),
        ("breakdown", lambda ax: _breakdown(ax, tables["breakdown"])),
        ("growth", lambda ax: _growth(ax, tables, "seconds_per_epoch", "time")),
        ("growth", lambda ax: _growth(ax, tables, "peak_mib", "memory")),
    ]
    panels = [panel for name, panel in panels if name in tables]
    if not panels:
        return
    set_style()
    rows = (len(panels) + 1) // 2
    # Every panel has a place for its legend below it, so that no legend's width makes a panel narrower.
    heights = {"height_ratios": [3, 1.4] * rows, "figsize": (7, 3.8 * rows)}
    fig, grid = plt.subplots(2 * rows, 2, layout="constrained", squeeze=False, **heights)
    axes, below = grid[::2].ravel(), grid[1::2].ravel()
    for ax in (*axes[len(panels) :], *below):
        ax.axis("off")
    drawn = []
    for letter, ax, place, panel in zip("abcd", axes, below, panels, strict=False):
        drawn.append(panel(ax).assign(panel=letter))
        ax.set_title(f"{letter}   {ax.get_title(loc='left')}")
        handles, labels = ax.get_legend_handles_labels()
        legend = place.legend(handles, labels, ncols=2 if len(labels) > 4 else 1, **LEGEND)
        legend.set_in_layout(False)
    if "comparison" in tables:
        add_title(fig, _finding(tables), _detail(tables["comparison"]))
    save_figure(fig, "bench", pd.concat(drawn)[["panel", "series", "x", "y"]], folder)
    plt.close(fig)


def _finding(tables: dict[str, pd.DataFrame]) -> str:
    ratios = paired_ratios(tables["comparison"]).groupby(["method", "num_layers"]).median()
    careful, limit = ratios["careful loop"], tables["limit"]["multiple"]
    return (
        f"{careful.min():.1f} to {careful.max():.1f} times as fast as a careful loop; "
        f"{limit.min():.1f} to {limit.max():.1f} times the time of the products alone"
    )


def _detail(comparison: pd.DataFrame) -> str:
    repetitions = comparison.groupby(["contender", "num_layers", "method"]).size()
    return (
        f"n = {repetitions.min()} to {repetitions.max()} repetitions: medians, bars in a are ranges; "
        "b adds up from left to right, as its legend from top to bottom"
    )


def _contenders(ax: plt.Axes, comparison: pd.DataFrame, limit: pd.DataFrame) -> pd.DataFrame:
    relu, limit = comparison[comparison["method"] == "ReLU"], limit[limit["method"] == "ReLU"]
    parts = []
    for name, style in CONTENDERS.items():
        rows = relu[relu["contender"] == name].groupby("num_layers")["ms"]
        middle = rows.median()
        ax.vlines(middle.index, rows.min(), rows.max(), color=style["color"], linewidth=1)
        ax.plot(middle.index, middle, label=name, linewidth=1.2, **style)
        parts.append(_points(name, middle.index, middle))
    ax.plot(
        limit["num_layers"], limit["limit_ms"], color="0.5", linestyle="--", label="limit: products alone"
    )
    parts.append(_points("limit", limit["num_layers"], limit["limit_ms"]))
    ax.set(
        xscale="log", yscale="log", xlabel="number of graph convolutions", title="Time by contender (ReLU)"
    )
    ax.set_ylabel("ms per run, layer and epoch")
    ax.xaxis.set(major_locator=FixedLocator(sorted(set(relu["num_layers"]))), minor_locator=NullLocator())
    ax.xaxis.set_major_formatter("{x:g}")
    _plain_ticks(ax.yaxis)
    return pd.concat(parts)


def _breakdown(ax: plt.Axes, breakdown: pd.DataFrame) -> pd.DataFrame:
    kinds = list(breakdown["kind"].unique())
    table = breakdown.groupby(["num_layers", "method", "kind"])["ms"].median().unstack("kind")[kinds]
    places = np.arange(len(table))
    left, colors = np.zeros(len(table)), depth_colors(range(len(kinds))).values()
    labels = [f"{method},\n{num_layers} layers" for num_layers, method in table.index]
    parts = []
    for kind, color in zip(kinds, colors, strict=True):
        ax.barh(
            places,
            table[kind],
            left=left,
            color=color,
            label=kind,
            height=0.7,
            edgecolor="white",
            linewidth=0.6,
        )
        left += table[kind].to_numpy()
        parts.append(_points(kind, [label.replace("\n", " ") for label in labels], table[kind]))
    ax.set(yticks=places, yticklabels=labels, xlabel="ms per run, layer and epoch, one process")
    ax.set_title("Time by kind of operation")
    ax.invert_yaxis()
    ax.grid(False)
    return pd.concat(parts)


def _growth(ax: plt.Axes, tables: dict[str, pd.DataFrame], column: str, what: str) -> pd.DataFrame:
    slopes = tables["growth_exponents"].set_index("axis")[f"{what}_exponent"]
    styles = zip(AXES, ("#000000", *OTHER_COLORS), ("o", *OTHER_MARKERS), strict=False)
    parts = []
    for axis, color, marker in styles:
        rows = tables["growth"][tables["growth"]["axis"] == axis]
        if rows.empty:
            continue
        middle = rows.groupby("value")[column].median()
        x, y = middle.index / middle.index[0], middle / middle.iloc[0]
        first = f"{middle.index[0]:,}"
        label = f"{AXES[axis]}, from {first}: slope {slopes[axis]:.2f}"
        ax.plot(x, y, label=label, color=color, marker=marker, linewidth=1.2)
        parts.append(_points(AXES[axis], x, y))
    ax.set(xscale="log", yscale="log", xlabel="size, as a multiple of the smallest")
    quantity = {"time": "Time of an epoch", "memory": "Peak memory"}[what]
    ax.set(ylabel="as a multiple of the value there", title=quantity)
    _plain_ticks(ax.xaxis)
    _plain_ticks(ax.yaxis)
    return pd.concat(parts)


def _plain_ticks(axis: Axis) -> None:
    axis.set(major_locator=LogLocator(subs=(1, 2, 5)), minor_locator=NullLocator(), major_formatter="{x:,g}")


def _points(series: str, x: Iterator, y: pd.Series) -> pd.DataFrame:
    return pd.DataFrame({"series": series, "x": list(x), "y": y.to_numpy()})
