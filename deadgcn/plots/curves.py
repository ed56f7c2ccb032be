"""Curves over depth, layer and epoch from tidy tables, drawn by seaborn with our 95 % intervals.

The numbers drawn are those of :func:`deadgcn.stats.estimates.summarize`: publish that frame with the figure.
Legends stand outside the data: above the axes, or to their right where the levels are numbers.
"""

from collections.abc import Hashable, Sequence
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator
from scipy.stats import gmean

from deadgcn.plots.style import MAJORITY_LINE, axis_label, level_styles
from deadgcn.stats.estimates import interval

# Several quantities on one Axes: dashes tell them apart; colour and marker are left for the arms.
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
    runs, styles = _checked(runs, quantities, "num_layers", hue), level_styles(runs[hue])
    ax = ax or plt.subplots()[1]
    depths = np.unique(runs["num_layers"][runs[quantities].notna().any(axis=1)])
    spacing = np.diff(depths).min(initial=128) if len(depths) > 1 else 1
    step = spacing * min(0.14, 0.5 / len(styles))
    place = runs[hue].map({level: i - (len(styles) - 1) / 2 for i, level in enumerate(styles)})
    jitter = runs["seed"].rank(method="dense") / (runs["seed"].nunique() + 1) - 0.5
    runs["x"] = runs["num_layers"] + step * place
    runs["dot"] = runs["x"] + 0.8 * step * jitter
    bars = {"errorbar": _interval, "err_style": "bars", "err_kws": {"linewidth": 1}, "linewidth": 1.2}
    for quantity, dashes in _dashes(quantities, styles).items():
        look = _seaborn(hue, styles) | {"dashes": dashes}
        sns.lineplot(runs, x="x", y=quantity, ax=ax, **look, **bars)
        sns.scatterplot(runs, x="dot", y=quantity, hue=hue, palette=look["palette"], ax=ax, **DOTS)
    # A tick at every depth, unless they are too uneven for that.
    crowded = np.ptp(depths) > 10 * spacing
    ax.xaxis.set_major_locator(MaxNLocator(integer=True) if crowded else FixedLocator(depths))
    return _finish(ax, "num_layers", quantities, hue, styles, majority)


def plot_vs_layer(
    layers: pd.DataFrame,
    y: str | Sequence[str],
    *,
    hue: str = "method",
    ax: plt.Axes | None = None,
    log: bool = True,
) -> plt.Axes:
    """Draw `y` against the layer, for networks of one depth at one stage: faint runs under their mean.

    With `log` both axes are logarithmic (as in the paper's figures 1b and 1c) and the mean is geometric. A
    zero has no place there: the run's line has a gap, and the mean is that of the other runs. It is drawn
    where these are at least half, or else it would be a run's own.
    """
    quantities = [y] if isinstance(y, str) else list(y)
    layers, styles = _checked(layers, quantities, "layer", hue), level_styles(layers[hue])
    ax = ax or plt.subplots()[1]
    ax.set(xscale="linear", yscale="linear")  # seaborn would average logarithms on a log axis of a sibling
    ends = layers["layer"].min(), layers["layer"].max()
    marked = np.rint(np.geomspace(*ends, 8) if log else np.linspace(*ends, 8))
    mean = {"estimator": _geometric_mean if log else "mean", "errorbar": None, "linewidth": 1.4}
    mean["markevery"] = np.flatnonzero(np.isin(layers["layer"].unique(), marked)).tolist()
    faint = {"estimator": None, "linewidth": 0.5, "alpha": 0.3, "zorder": 1, "legend": False}
    for quantity, dashes in _dashes(quantities, styles).items():
        look = _seaborn(hue, styles) | {"dashes": dashes}
        runs = {"hue": hue, "palette": look["palette"], "units": "seed"}
        sns.lineplot(layers, x="layer", y=quantity, ax=ax, **runs, **faint)
        sns.lineplot(layers, x="layer", y=quantity, ax=ax, **look, **mean)
    if log:
        ax.set_xscale("log")
        ax.set_yscale("log", nonpositive="mask")
        # Powers of two, each labelled: matplotlib's own choice leaves one or two labels.
        ax.xaxis.set(major_locator=LogLocator(2, numticks=16), major_formatter="{x:g}")
        ax.minorticks_off()
    return _finish(ax, "layer", quantities, hue, styles, None)


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
    epochs = epochs[epochs["method"] == (method or legal[0])]
    epochs, styles = _checked(epochs, [y], "epoch", "num_layers"), level_styles(epochs["num_layers"])
    styles = {depth: style | {"marker": ""} for depth, style in styles.items()}
    ax = ax or plt.subplots()[1]
    palette = {depth: style["color"] for depth, style in styles.items()}
    band = {"errorbar": _interval, "err_kws": {"alpha": 0.15, "linewidth": 0}, "linewidth": 1.4}
    sns.lineplot(epochs, x="epoch", y=y, hue="num_layers", palette=palette, legend=False, ax=ax, **band)
    return _finish(ax, "epoch", [y], "num_layers", styles, majority)


def _checked(table: pd.DataFrame, quantities: list[str], x: str, hue: str) -> pd.DataFrame:
    """A copy with a fresh index, with what is not finite missing; refuses columns that cannot be drawn."""
    if hue not in table:
        raise ValueError(f"hue must be one of {list(table)}, but {hue!r} was passed")
    known = table.dropna(axis="columns", how="all").select_dtypes("number")
    legal = [name for name in known if name not in (x, hue, "seed")]
    for name in quantities:
        if name not in legal:
            raise ValueError(f"y must be one of {legal}, but {name!r} was passed")
    if not 1 <= len(quantities) <= len(QUANTITY_DASHES):
        raise ValueError(f"y must be one to {len(QUANTITY_DASHES)} columns, but {quantities!r} was passed")
    keys = list(dict.fromkeys([hue, x, "seed"]))
    if table.duplicated(keys).any():
        raise ValueError(f"the table must hold each {', '.join(keys)} once, but some stand there twice")
    return table[[*keys, *quantities]].reset_index(drop=True).replace([np.inf, -np.inf], np.nan)


def _interval(sample: pd.Series) -> tuple[float, float]:
    """Our interval as seaborn wants it. It holds the mean: of equal numbers that may be off by rounding."""
    low, high = interval(sample.to_numpy())
    return min(low, sample.mean()), max(high, sample.mean())


def _geometric_mean(values: pd.Series) -> float:
    """Of the values above 0; missing where these are fewer than half."""
    positive = values[values > 0]
    return gmean(positive) if len(positive) >= len(values) / 2 else np.nan


def _seaborn(hue: str, styles: dict[Hashable, dict]) -> dict[str, Any]:
    """Arguments of :func:`seaborn.lineplot` for styles in matplotlib's words."""
    by_part = pd.DataFrame(styles).T
    look = {"palette": by_part["color"].to_dict(), "markers": by_part["marker"].to_dict()}
    return look | {"hue": hue, "style": hue, "hue_order": list(styles), "style_order": list(styles)}


def _dashes(quantities: list[str], styles: dict[Hashable, dict]) -> dict[str, dict[Hashable, tuple]]:
    """Dashes of each level's line for each quantity: the level's own where one quantity is drawn."""
    if len(quantities) == 1:
        return {quantities[0]: {level: style["linestyle"][1] for level, style in styles.items()}}
    return {q: dict.fromkeys(styles, dash) for q, dash in zip(quantities, QUANTITY_DASHES, strict=False)}


def _finish(ax, x, quantities, hue, styles, majority) -> plt.Axes:
    """Name the axes and, outside them, the lines: above, or to the right where they are ordered."""
    ax.set(xlabel=axis_label(x), ylabel=", ".join(map(axis_label, quantities)))
    handles = [plt.Line2D([], [], label=str(level), **style) for level, style in styles.items()]
    if len(quantities) > 1:
        plt.setp(handles, linestyle="")
        for quantity, dash in zip(quantities, QUANTITY_DASHES, strict=False):
            handles.append(plt.Line2D([], [], label=axis_label(quantity), color="0.3", linestyle=(0, dash)))
    if majority is not None:
        handles.append(ax.axhline(majority, **MAJORITY_LINE))
    if isinstance(next(iter(styles)), str):
        ax.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2, ncols=2)
    else:
        outside = {"loc": "upper left", "bbox_to_anchor": (1, 1), "borderaxespad": 0.2, "handlelength": 1.2}
        ax.legend(handles=handles, title=fill(axis_label(hue), 12), alignment="left", **outside)
    return ax
