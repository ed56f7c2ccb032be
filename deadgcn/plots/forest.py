"""Forest plots: many estimates with their intervals, one below the other."""

from collections.abc import Mapping

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.ticker import LogLocator, NullLocator

from deadgcn.plots.legends import INSIDE

# What a cell of the verdict says, in a green, a grey and a vermilion as unlike in lightness as in hue.
ANSWER_COLORS = {"for": "#009E73", "open": "#BDBDBD", "against": "#9A3B00"}
ANSWER_MARKERS = {"for": "o", "open": "D", "against": "v"}


def plot_forest(
    estimates: pd.DataFrame,
    label: str,
    *,
    hue: str,
    colors: Mapping[str, str],
    markers: Mapping[str, str] | None = None,
    hollow: pd.Series | None = None,
    log: bool = False,
    ax: plt.Axes | None = None,
) -> plt.Axes:
    """Draw `estimate` with its interval from `low` to `high`, one line of the plot for each label.

    Where the estimates have `n_diverged`, lines of which runs (or pairs) diverged say how many at their end:
    one number for each estimate on the line, unless all are the same.

    Args:
        estimates: a row per estimate, with these three columns and those named below. Rows that share a
            label share its line, a little apart.
        label: column of the lines' labels, from top to bottom in order of first appearance.
        hue, colors, markers: a column, and the colour and marker (else a disc) of each of its values.
        hollow: boolean, like the rows: True for a marker that is not filled.
        log: a logarithmic axis for ratios, whose line of no effect is at 1 instead of 0.
    """
    if unknown := set(estimates[hue]) - set(colors):
        raise ValueError(f"colors must name every value of {hue}, but {sorted(unknown)} are missing")
    ax = ax or plt.subplots(layout="constrained")[1]
    ax.set_xscale("log" if log else "linear")  # before anything is drawn, so that the margins are right
    lines = {name: place for place, name in enumerate(estimates[label].unique())}
    within = estimates.groupby(label).cumcount() * 0.22
    y = estimates[label].map(lines) + within
    color = estimates[hue].map(colors)
    ax.hlines(y, estimates["low"], estimates["high"], color=color, linewidth=1)
    empty = pd.Series(False, index=estimates.index) if hollow is None else hollow
    for marker, rows in estimates.groupby(estimates[hue].map(markers or dict.fromkeys(colors, "o"))):
        look = {"c": color.mask(empty, "white")[rows.index], "edgecolors": color[rows.index]}
        ax.scatter(rows["estimate"], y[rows.index], s=14, marker=marker, zorder=3, **look)
    ax.axvline(1 if log else 0, color="0.3", linewidth=0.8, zorder=0)
    ax.set(yticks=[place + within.max() / 2 for place in lines.values()], yticklabels=list(lines))
    if "n_diverged" in estimates:
        _say_diverged(ax, estimates.assign(y=y), label)
    ax.set_ylim(len(lines) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0, labelsize=7)
    if log:
        narrow = estimates["high"].max() < 100 * estimates["low"].min()  # no power of ten to be labelled
        ticks = LogLocator(subs=(1, 2, 5)) if narrow else LogLocator(numticks=4)
        ax.xaxis.set(major_locator=ticks, minor_locator=NullLocator())
        if narrow:
            ax.xaxis.set_major_formatter("{x:g}")
    ax.grid(axis="x", linewidth=0.4, color="0.88")
    return ax


def _say_diverged(ax: plt.Axes, estimates: pd.DataFrame, label: str) -> None:
    for _, line in estimates.groupby(label):
        if line["n_diverged"].max() > 0:
            numbers = line["n_diverged"].map("{:.0f}".format)
            text = ", ".join(numbers if numbers.nunique() > 1 else numbers[:1])
            look = INSIDE | {"va": "center", "fontsize": 7, "transform": ax.get_yaxis_transform()}
            ax.text(0.99, line["y"].mean(), f"{text} diverged", **look)


def answer_legend(fig: plt.Figure) -> None:
    """Name the colours of :data:`ANSWER_COLORS` with their markers, and the hollow ones, below a figure."""
    names = {"for": "speaks for the claim", "open": "open", "against": "speaks against it"}
    look = {"markersize": 4, "markeredgewidth": 1, "linewidth": 1}
    handles = []
    for answer, label in names.items():
        color = dict.fromkeys(("color", "markeredgecolor"), ANSWER_COLORS[answer])
        handles.append(plt.Line2D([], [], label=label, marker=ANSWER_MARKERS[answer], **look, **color))
    look |= {"color": "0.3", "markeredgecolor": "0.3", "linewidth": 0, "marker": "o"}
    for label, face in (("best model or both", "0.3"), ("last model", "white")):
        handles.append(plt.Line2D([], [], label=label, markerfacecolor=face, **look))
    fig.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False)
