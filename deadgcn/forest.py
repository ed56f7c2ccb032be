"""Forest plots: many estimates with their intervals, one below the other."""

from collections.abc import Mapping

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.ticker import LogLocator, NullLocator

from deadgcn.legends import INSIDE

# Okabe and Ito's green and vermilion, and a grey between them: what a cell of the verdict says.
ANSWER_COLORS = {"for": "#009E73", "open": "0.55", "against": "#D55E00"}


def plot_forest(
    estimates: pd.DataFrame,
    label: str,
    *,
    hue: str,
    colors: Mapping[str, str],
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
        hue, colors: a column, and the colour of each of its values.
        hollow: boolean, like the rows: True for a marker that is not filled.
        log: a logarithmic axis for ratios, whose line of no effect is at 1 instead of 0.
    """
    if unknown := set(estimates[hue]) - set(colors):
        raise ValueError(f"colors must name every value of {hue}, but {sorted(unknown)} are missing")
    ax = ax or plt.subplots(layout="constrained")[1]
    lines = {name: place for place, name in enumerate(estimates[label].unique())}
    within = estimates.groupby(label).cumcount() * 0.22
    y = estimates[label].map(lines) + within
    color = estimates[hue].map(colors)
    ax.hlines(y, estimates["low"], estimates["high"], color=color, linewidth=1)
    empty = pd.Series(False, index=estimates.index) if hollow is None else hollow
    ax.scatter(estimates["estimate"], y, s=11, c=color.mask(empty, "white"), edgecolors=color, zorder=3)
    ax.axvline(1 if log else 0, color="0.3", linewidth=0.8, zorder=0)
    ax.set(yticks=[place + within.max() / 2 for place in lines.values()], yticklabels=list(lines))
    if "n_diverged" in estimates:
        _say_diverged(ax, estimates.assign(y=y), label)
    ax.set_ylim(len(lines) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0, labelsize=6)
    if log:
        ax.set_xscale("log")
        narrow = estimates["high"].max() < 100 * estimates["low"].min()  # no power of ten to be labelled
        ticks = LogLocator(subs=(1, 2, 5)) if narrow else LogLocator(numticks=5)
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
            look = INSIDE | {"va": "center", "fontsize": 5, "transform": ax.get_yaxis_transform()}
            ax.text(0.99, line["y"].mean(), f"{text} diverged", **look)


def answer_legend(fig: plt.Figure) -> None:
    """Name the colours of :data:`ANSWER_COLORS` and the two kinds of marker below a figure."""
    names = {"for": "speaks for the claim", "open": "open", "against": "speaks against it"}
    look = {"color": "0.3", "marker": "o", "markersize": 3.5, "linewidth": 0, "markeredgecolor": "0.3"}
    handles = [plt.Line2D([], [], color=ANSWER_COLORS[a], linewidth=1.5, label=n) for a, n in names.items()]
    handles.append(plt.Line2D([], [], label="best model or both", **look))
    handles.append(plt.Line2D([], [], label="last model", markerfacecolor="white", **look))
    fig.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False)
