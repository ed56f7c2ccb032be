"""Curves over depth and layer, drawn by seaborn with the 95 % intervals of :mod:`deadgcn.stats`."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt

from deadgcn.plots.style import MIN_RUNS, axis_label, method_styles
from deadgcn.stats.estimates import check_rows
from deadgcn.stats.inference import interval


def plot_vs_num_layers(
    runs: pd.DataFrame, y: str | Sequence[str], *, ax: plt.Axes | None = None, majority: float | None = None
) -> plt.Axes:
    """Draw `y` against depth: the mean with its interval (see :func:`error_bar`), and every run as a dot.

    Methods stand side by side, close to their depth. Several columns in `y` (two in the paper's figure 1a)
    differ in their dashes. `majority` is the accuracy of always answering the majority class.
    """
    names = [y] if isinstance(y, str) else list(y)
    look = _look(runs, names, "num_layers")
    table = runs.melt(["method", "num_layers", "seed"], names, "quantity")
    table["quantity"] = table["quantity"].map(axis_label)
    if len(names) > 1:
        look |= {"style": "quantity", "style_order": None, "markers": True, "dashes": True}
    methods, depths = look["hue_order"], runs["num_layers"]
    place = table["method"].map(methods.index) - (len(methods) - 1) / 2
    gap = min([*np.diff(np.unique([0, *depths])), (np.ptp(depths) or 1) / 5])
    table["x"] = table["num_layers"] + 0.3 * gap / len(methods) * place
    ax = ax or plt.subplots()[1]
    sns.lineplot(table, x="x", y="value", errorbar=error_bar(*names), err_style="bars", ax=ax, **look)
    dots = {"s": 4, "alpha": 0.3, "linewidth": 0, "legend": False, "palette": look["palette"]}
    sns.scatterplot(table, x="x", y="value", hue="method", ax=ax, **dots)
    ax.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    return _finish(ax, "num_layers", ", ".join(map(axis_label, names)), majority)


def plot_vs_layer(layers: pd.DataFrame, y: str, *, ax: plt.Axes | None = None, log: bool = True) -> plt.Axes:
    """Draw `y` against the layer, for networks of one depth at one stage: faint runs under their mean.

    With `log` both axes are logarithmic (as in the paper's figures 1b and 1c) and the mean is geometric.
    Zeros are left out, and so is the mean where more than half of the runs are zero.
    """
    look = _look(layers, [y], "layer") | {"markers": False, "errorbar": None}
    ax = ax or plt.subplots()[1]
    ax.set(xscale="linear", yscale="linear")  # on a log axis seaborn would average logarithms
    ax.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    faint = {"hue": "method", "palette": look["palette"], "linewidth": 0.5, "alpha": 0.3, "legend": False}
    sns.lineplot(layers, x="layer", y=y, units="seed", estimator=None, ax=ax, **faint)
    sns.lineplot(layers, x="layer", y=y, estimator=_geometric_mean if log else "mean", ax=ax, **look)
    if log:
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_formatter("{x:g}")
        if (layers[y] > 0).any():
            ax.set_yscale("log", nonpositive="mask")
    return _finish(ax, "layer", axis_label(y))


def error_bar(*columns: str) -> Callable[[pd.Series], tuple[float, float]]:
    """Seaborn's `errorbar` for columns: 95 % intervals, none under five runs; within [0, 1] for shares."""
    ends = (0, 1) if all("_acc" in name or "fraction" in name for name in columns) else (-np.inf, np.inf)

    def drawn(sample: pd.Series) -> tuple[float, float]:
        low, high = np.clip(interval(sample), *ends) if sample.count() >= MIN_RUNS else (np.nan, np.nan)
        return min(low, sample.mean()), max(high, sample.mean())  # rounding may deny that it holds the mean

    return drawn


def _look(table: pd.DataFrame, values: list[str], x: str) -> dict[str, Any]:
    """Check the rows of a table, and return seaborn's arguments for its methods."""
    check_rows(table, values, ["method", x, "seed"])
    styles = method_styles(table["method"].unique())
    look = {"hue": "method", "style": "method", "hue_order": list(styles), "style_order": list(styles)}
    parts = {"palette": "color", "markers": "marker", "dashes": "dashes"}
    return look | {key: {name: style[part] for name, style in styles.items()} for key, part in parts.items()}


def _geometric_mean(values: pd.Series) -> float:
    positive = values.to_numpy()[values > 0]
    return np.exp(np.log(positive).mean()) if 2 * len(positive) >= len(values) else np.nan


def _finish(ax: plt.Axes, x: str, label: str, majority: float | None = None) -> plt.Axes:
    ax.set(xlabel=axis_label(x), ylabel=label)
    if majority is not None:
        ax.axhline(majority, label="majority class", color="0.5", linewidth=0.8, linestyle="--", zorder=0)
    title = axis_label(ax.get_legend().get_title().get_text())
    entries = zip(*ax.get_legend_handles_labels(), strict=True)
    shown = [(handle, text) for handle, text in entries if text not in ("method", "quantity")]
    columns = 2 if max(len(text) for _, text in shown) <= 16 else 1  # a wide legend leaves the axes no room
    place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": columns, "alignment": "left"}
    ax.legend(*zip(*shown, strict=True), title=title, **place)
    return ax
