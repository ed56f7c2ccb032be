"""Curves over depth, layer and epoch from tidy tables, drawn by seaborn with our 95 % intervals.

The numbers drawn are those of :func:`deadgcn.stats.estimates.summarize`: publish that frame with the figure.
Legends stand outside the data: above the axes, or to their right where the levels are numbers.
"""

from collections.abc import Sequence
from textwrap import fill

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator
from scipy.stats import gmean

from deadgcn.plots.style import axis_label, depth_colors, line_styles
from deadgcn.stats.estimates import interval

QUANTITY_DASHES = ((), (1, 1.2), (5, 1.2))
DOTS = {"s": 4, "alpha": 0.35, "linewidth": 0, "zorder": 1, "legend": False}


def plot_vs_num_layers(
    runs: pd.DataFrame,
    y: str | Sequence[str] = "test_acc",
    *,
    hue: str = "method",
    ax: plt.Axes | None = None,
    majority: float | None = None,
) -> plt.Axes:
    """Draw `y` against depth: the mean with its 95 % interval, and every run as a dot.

    Levels of `hue` stand side by side at each depth, and a seed has the same place among the dots of every
    arm, so that paired runs can be found. Up to three columns in `y` (two in the paper's figure 1a) are told
    apart by dashes. `majority` is the accuracy of always answering the majority class.
    """
    quantities = [y] if isinstance(y, str) else list(y)
    runs, ax = _checked(runs, "num_layers", hue, *quantities), ax or plt.subplots()[1]
    look, depths = line_styles(runs[hue]), np.sort(runs["num_layers"].unique())
    levels, spacing = look["hue_order"], min(np.diff(depths), default=1)
    step = spacing * min(0.14, 0.5 / len(levels))
    jitter = runs["seed"].rank(method="dense") / (runs["seed"].nunique() + 1) - 0.5
    runs["x"] = runs["num_layers"] + step * (runs[hue].map(levels.index) - (len(levels) - 1) / 2)
    runs["dot"] = runs["x"] + 0.8 * step * jitter
    bars = {"errorbar": _interval, "err_style": "bars", "err_kws": {"linewidth": 1}, "linewidth": 1.2}
    for quantity, dashes in zip(quantities, QUANTITY_DASHES, strict=False):
        first = quantity == quantities[0]
        if len(quantities) > 1:
            look["dashes"] = dict.fromkeys(levels, dashes)
        sns.lineplot(runs, x="x", y=quantity, ax=ax, legend=first, **look, **bars)
        sns.scatterplot(runs, x="dot", y=quantity, hue=hue, palette=look["palette"], ax=ax, **DOTS)
    if len(quantities) > 1:
        for quantity, dashes in zip(quantities, QUANTITY_DASHES, strict=False):
            ax.plot([], [], color="0.3", linewidth=1.2, dashes=dashes, label=axis_label(quantity))
    # A tick at every depth, unless they are too uneven for that.
    crowded = np.ptp(depths) > 10 * spacing
    ax.xaxis.set_major_locator(MaxNLocator(integer=True) if crowded else FixedLocator(depths))
    return _finish(ax, "num_layers", ", ".join(map(axis_label, quantities)), runs[hue], majority)


def plot_vs_layer(
    layers: pd.DataFrame, y: str, *, hue: str = "method", ax: plt.Axes | None = None, log: bool = True
) -> plt.Axes:
    """Draw `y` against the layer, for networks of one depth at one stage: faint runs under their mean.

    With `log` both axes are logarithmic (as in the paper's figures 1b and 1c) and the mean is geometric. A
    zero has no place there: the run's line has a gap, and the mean is that of the other runs. It is drawn
    where these are at least half, or else it would be a run's own.
    """
    layers, ax = _checked(layers, "layer", hue, y), ax or plt.subplots()[1]
    look = line_styles(layers[hue])
    ax.set(xscale="linear", yscale="linear")  # on a log axis, seaborn would take the mean of logarithms
    runs = {"estimator": None, "units": "seed", "linewidth": 0.5, "alpha": 0.3, "zorder": 1, "legend": False}
    sns.lineplot(layers, x="layer", y=y, hue=hue, palette=look["palette"], ax=ax, **runs)
    number = layers["layer"].nunique()
    marked = np.geomspace(1, number, 8) if log else np.linspace(1, number, 8)  # not every layer has a marker
    mean = {"estimator": _geometric_mean if log else "mean", "errorbar": None}
    mean["markevery"] = np.unique(marked.round().astype(int) - 1).tolist()
    sns.lineplot(layers, x="layer", y=y, ax=ax, linewidth=1.4, **look, **mean)
    if log:
        ax.set_xscale("log")
        if (layers[y] > 0).any():
            ax.set_yscale("log", nonpositive="mask")
        # Powers of two, each labelled: matplotlib's own choice leaves one or two labels.
        ax.xaxis.set(major_locator=LogLocator(2, numticks=16), major_formatter="{x:g}")
        ax.minorticks_off()
    return _finish(ax, "layer", axis_label(y), layers[hue])


def plot_training_curves(
    epochs: pd.DataFrame,
    y: str = "val_acc",
    *,
    method: str | None = None,
    ax: plt.Axes | None = None,
    majority: float | None = None,
) -> plt.Axes:
    """Draw `y` against the epoch for one arm, a colour per depth: the mean with its 95 % interval.

    `method` may be left out where the table holds one arm only.
    """
    legal = list(epochs["method"].unique())
    if method not in legal and not (method is None and len(legal) == 1):
        raise ValueError(f"method must be one of {legal}, but {method!r} was passed")
    epochs = _checked(epochs[epochs["method"] == (method or legal[0])], "epoch", "num_layers", y)
    ax, palette = ax or plt.subplots()[1], depth_colors(epochs["num_layers"].unique())
    band = {"errorbar": _interval, "err_kws": {"alpha": 0.15, "linewidth": 0}, "linewidth": 1.4}
    sns.lineplot(epochs, x="epoch", y=y, hue="num_layers", palette=palette, hue_order=palette, ax=ax, **band)
    return _finish(ax, "epoch", axis_label(y), epochs["num_layers"], majority)


def _checked(table: pd.DataFrame, x: str, hue: str, *quantities: str) -> pd.DataFrame:
    """The columns to draw, with a fresh index; ValueError where one is missing or rows would be mixed."""
    for name in (columns := [x, hue, "seed", *quantities]):
        if name not in table:
            raise ValueError(f"columns must be some of {', '.join(table)}, but {name!r} was passed")
    if table.duplicated(columns[:3]).any():
        raise ValueError(
            f"the table must hold each {x}, {hue} and seed once: choose one stage, graph or option"
        )
    return table[columns].reset_index(drop=True)


def _interval(sample: pd.Series) -> tuple[float, float]:
    """Our interval as seaborn wants it. It holds the mean, which of equal numbers may be off by rounding."""
    low, high = interval(sample.to_numpy())
    return min(low, sample.mean()), max(high, sample.mean())


def _geometric_mean(values: pd.Series) -> float:
    """Of the values above 0; missing where these are fewer than half."""
    positive = values[values > 0]
    return gmean(positive) if len(positive) >= len(values) / 2 else np.nan


def _finish(ax: plt.Axes, x: str, label: str, hue: pd.Series, majority: float | None = None) -> plt.Axes:
    """Name the axes and, outside them, the lines: above, or to the right where they are ordered."""
    ax.set(xlabel=axis_label(x), ylabel=label)
    if majority is not None:
        ax.axhline(majority, label="majority class", color="0.5", linewidth=0.8, linestyle="--", zorder=0)
    place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": 2}
    if pd.api.types.is_numeric_dtype(hue):
        title = fill(axis_label(hue.name), 12)
        place = {"loc": "upper left", "bbox_to_anchor": (1, 1), "title": title, "handlelength": 1.2}
    ax.legend(borderaxespad=0.2, alignment="left", **place)
    return ax
