"""Forest plots: many estimates with their intervals, one below the other."""

from collections.abc import Mapping

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from deadgcn.plots.style import MIN_RUNS, axis_label

# What a comparison says about a claim. The colours also differ in lightness.
ANSWER_COLORS = {"for": "#009E73", "open": "#BDBDBD", "against": "#9A3B00", "not measurable": "#332288"}
ANSWER_MARKERS = {"for": "o", "open": "D", "against": "v", "not measurable": "s"}


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
    """Draw the columns `estimate`, `low` and `high`, one line of the plot for each value of `label`.

    Lines are in order of first appearance; `colors` and `markers` belong to the values of `hue`. `hollow`, a
    boolean for each row, leaves a marker unfilled. With `log` the axis is logarithmic: no effect is 1, not 0.
    An interval of fewer than five runs, by the column `n` if there is one, is left out.
    """
    ax, markers = ax or plt.subplots()[1], markers or dict.fromkeys(colors, "o")
    if "n" in estimates:
        few = estimates["n"] < MIN_RUNS
        estimates = estimates.assign(low=estimates["low"].mask(few), high=estimates["high"].mask(few))
    hollow = [False] * len(estimates) if hollow is None else hollow
    lines = estimates[label].unique().tolist()
    places = estimates[label].map(lines.index) + 0.22 * estimates.groupby(label).cumcount()
    for row, place, empty in zip(estimates.to_dict("records"), places, hollow, strict=True):
        color, ends = colors[row[hue]], [row["low"], row["estimate"], row["high"]]
        look = {"marker": markers[row[hue]], "markevery": [1], "markerfacecolor": "white" if empty else color}
        ax.plot(ends, [place] * 3, color=color, **look)
    for level, color in colors.items():
        ax.plot([], [], color=color, marker=markers[level], label=level)
    ax.axvline(1 if log else 0, color="0.3", linewidth=0.8, zorder=1)
    ax.set_yticks(places.groupby(estimates[label].to_numpy(), sort=False).mean(), lines)
    ax.set_ylim(len(lines) - 0.4, -0.6)
    if log:
        ax.set_xscale("log")
        numbers = estimates[["low", "estimate", "high"]]
        span = numbers.max(axis=None) / numbers.min(axis=None)
        if span < 100:  # powers of ten do not divide it
            steps = MaxNLocator(3, steps=[1, 2, 5, 10]) if span < 3 else LogLocator(subs=[1, 2, 5])
            ax.xaxis.set_major_locator(steps)
            ax.xaxis.set_major_formatter("{x:g}")
            ax.xaxis.set_minor_locator(NullLocator())
    ax.grid(False, axis="y")
    ax.grid(True, axis="x")
    place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": len(colors), "alignment": "left"}
    ax.legend(title=axis_label(hue), **place)
    return ax
