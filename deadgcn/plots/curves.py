"""Curves of means over depth, layer and epoch, from :func:`~deadgcn.stats.estimates.summarize`."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from deadgcn.plots.style import axis_label, line_styles
from deadgcn.stats.estimates import summarize


def plot_vs_num_layers(
    runs: pd.DataFrame,
    y: str | Sequence[str] = "test_acc",
    *,
    hue: str = "method",
    ax: plt.Axes | None = None,
    majority: float | None = None,
) -> plt.Axes:
    """Draw `y` against depth: the mean with its 95 % interval, and every run as a dot.

    Levels of `hue` stand side by side at each depth. Two columns in `y` (as in the paper's figure 1a) differ
    in line style. `majority` is the accuracy of always answering the majority class.
    """
    ax = ax or plt.subplots()[1]
    quantities = [y] if isinstance(y, str) else list(y)
    for quantity, linestyle in zip(quantities, ("-", ":"), strict=False):
        levels = list(_per_level(runs, "num_layers", quantity, hue))
        step = 0.3 / len(levels) * min(np.diff(np.unique(runs["num_layers"])), default=1)
        for place, (level, style, means, rows) in enumerate(levels):
            if len(quantities) > 1:
                style = style | {"linestyle": linestyle}
            shift = step * (place - (len(levels) - 1) / 2)
            label = level if quantity == quantities[0] else None
            ax.plot(means["num_layers"] + shift, means["mean"], label=label, markeredgecolor="white", **style)
            ax.vlines(means["num_layers"] + shift, means["low"], means["high"], color=style["color"])
            ax.scatter(rows["num_layers"] + shift, rows[quantity], 4, style["color"], alpha=0.3, linewidth=0)
        if len(quantities) > 1:
            ax.plot([], [], color="0.3", linestyle=linestyle, label=axis_label(quantity))
    ax.xaxis.get_major_locator().set_params(integer=True)
    return _finish(ax, "num_layers", ", ".join(map(axis_label, quantities)), hue, majority)


def plot_vs_layer(
    layers: pd.DataFrame, y: str, *, hue: str = "method", ax: plt.Axes | None = None, log: bool = True
) -> plt.Axes:
    """Draw `y` against the layer, for networks of one depth at one stage: faint runs under their mean.

    With `log` both axes are logarithmic (as in the paper's figures 1b and 1c) and the mean is geometric.
    Zeros are left out, and so is the mean where more than half of the runs are zero.
    """
    ax = ax or plt.subplots()[1]
    for level, style, means, rows in _per_level(layers, "layer", y, hue, log):
        runs = rows.pivot(index="layer", columns="seed", values=y)
        ax.plot(runs.where(runs > 0) if log else runs, color=style["color"], linewidth=0.5, alpha=0.3)
        mean = means["mean"].where(means["n_zero"] <= means["n"]) if log else means["mean"]
        ax.plot(means["layer"], mean, label=level, **style | {"marker": ""})
    if log:
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_formatter("{x:g}")
        if (layers[y] > 0).any():
            ax.set_yscale("log")
    return _finish(ax, "layer", axis_label(y), hue)


def plot_training_curves(
    epochs: pd.DataFrame,
    y: str = "val_acc",
    *,
    method: str | None = None,
    ax: plt.Axes | None = None,
    majority: float | None = None,
) -> plt.Axes:
    """Draw `y` against the epoch for one `method`, a colour per depth: the mean with its 95 % interval."""
    if method is not None:
        if method not in (legal := list(epochs["method"].unique())):
            raise ValueError(f"method must be one of {legal}, but {method!r} was passed")
        epochs = epochs[epochs["method"] == method]
    ax = ax or plt.subplots()[1]
    for level, style, means, _ in _per_level(epochs, "epoch", y, "num_layers"):
        ax.plot(means["epoch"], means["mean"], color=style["color"], label=level)
        ax.fill_between(means["epoch"], means["low"], means["high"], color=style["color"], alpha=0.15, lw=0)
    return _finish(ax, "epoch", axis_label(y), "num_layers", majority)


def _per_level(table: pd.DataFrame, x: str, y: str, hue: str, log: bool = False) -> Iterator[tuple]:
    """For each level of `hue`: its name, its style, the estimates at each `x`, and its rows of the table."""
    summary = summarize(table, y, by=(hue, x), log=log).sort_values(x)
    for level, style in line_styles(table[hue]).items():
        yield level, style, summary[summary[hue] == level], table[table[hue] == level]


def _finish(ax: plt.Axes, x: str, label: str, hue: str, majority: float | None = None) -> plt.Axes:
    ax.set(xlabel=axis_label(x), ylabel=label)
    if majority is not None:
        ax.axhline(majority, label="majority class", color="0.5", linewidth=0.8, linestyle="--", zorder=0)
    ax.legend(title=axis_label(hue), loc="lower left", bbox_to_anchor=(0, 1), ncols=2, alignment="left")
    return ax
