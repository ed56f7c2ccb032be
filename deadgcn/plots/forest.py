"""Forest plots: many estimates with their intervals, one below the other."""

from collections.abc import Mapping

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.ticker import LogLocator, NullLocator

from deadgcn.plots.style import axis_label

# What a comparison says about a claim: a green, a grey and a vermilion as unlike in lightness as in hue.
ANSWER_COLORS = {"for": "#009E73", "open": "#BDBDBD", "against": "#9A3B00"}
ANSWER_MARKERS = {"for": "o", "open": "D", "against": "v"}
GAP = 0.22  # between the estimates of one line, in lines


def plot_forest(
    estimates: pd.DataFrame,
    label: str,
    *,
    hue: str,
    colors: Mapping,
    markers: Mapping | None = None,
    hollow: pd.Series | None = None,
    log: bool = False,
    ax: plt.Axes | None = None,
) -> plt.Axes:
    """Draw `estimate` with its interval from `low` to `high`, one line of the plot for each label.

    Args:
        estimates: a row per estimate, with these three columns and those named below. Rows that share a
            label share its line, a little apart.
        label: column of the lines' labels, from top to bottom in order of first appearance.
        hue, colors, markers: a column, and the colour and marker (else a disc) of each of its values.
        hollow: boolean, like the rows: True for a marker that is not filled.
        log: a logarithmic axis for ratios, whose line of no effect is at 1 instead of 0.
        ax: where to draw; default: a new figure.

    Raises:
        ValueError: a value of `hue` without a colour.
    """
    if unknown := set(estimates[hue]) - set(colors):
        raise ValueError(f"colors must name every value of {hue}, but {sorted(unknown)} are missing")
    ax, markers = ax or plt.subplots()[1], markers or dict.fromkeys(colors, "o")
    ax.set_xscale("log" if log else "linear")
    estimates = estimates.assign(hollow=False if hollow is None else hollow).reset_index(drop=True)
    lines = estimates[label].unique().tolist()
    estimates["y"] = estimates[label].map(lines.index) + estimates.groupby(label).cumcount() * GAP
    for level, rows in estimates.groupby(hue):
        ax.hlines(rows["y"], rows["low"], rows["high"], color=colors[level], linewidth=1)
        faces = rows["hollow"].map({True: "white", False: colors[level]})
        look = {"marker": markers[level], "c": faces, "edgecolors": colors[level], "s": 14, "zorder": 3}
        ax.scatter(rows["estimate"], rows["y"], **look)
    ax.axvline(1 if log else 0, color="0.3", linewidth=0.8, zorder=0)
    ax.set_yticks(estimates.groupby(label, sort=False)["y"].mean(), lines, fontsize=7)
    ax.set_ylim(len(lines) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(False, axis="y")
    ax.grid(True, axis="x")
    if log:
        _ratio_ticks(ax, narrow=estimates["high"].max() < 100 * estimates["low"].min())
    looks = {level: {"color": colors[level], "marker": markers[level]} for level in colors}
    handles = [plt.Line2D([], [], label=str(level), **look) for level, look in looks.items()]
    place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": len(handles), "handlelength": 1.6}
    ax.legend(handles=handles, title=axis_label(hue), alignment="left", **place)
    return ax


def _ratio_ticks(ax: plt.Axes, narrow: bool) -> None:
    """Label a few powers of ten, or within two of them plain numbers."""
    ticks = LogLocator(subs=(1, 2, 5)) if narrow else LogLocator(numticks=4)
    ax.xaxis.set(major_locator=ticks, minor_locator=NullLocator())
    if narrow:
        ax.xaxis.set_major_formatter("{x:g}")
