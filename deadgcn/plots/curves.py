"""The paper's figures from tidy tables, one visual identity per arm.

What is drawn over the runs is `deadgcn.stats.estimates.summarize` of the same table: give that frame to `save_figure`.
Legends stand outside the data: above the axes (and under the title), or to the right where ordered.
They say how many runs diverged; of these is drawn what was measured before.
"""

import tempfile
from collections.abc import Hashable, Sequence
from itertools import cycle
from pathlib import Path
from textwrap import fill

import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import display
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator
from PIL import Image

from deadgcn.experiments import files
from deadgcn.plots.legends import axis_label, run_labels
from deadgcn.stats.estimates import diverged, summarize

Columns = str | Sequence[str]

# Okabe and Ito's colour-blind safe palette. The three arms also differ in lightness, for prints in grey.
METHOD_STYLES = {
    "ReLU": {"color": "#000000", "marker": "o", "linestyle": "-"},
    "ReLU + pruning": {"color": "#0072B2", "marker": "s", "linestyle": (0, (5, 1.2))},
    "LeakyReLU": {"color": "#E69F00", "marker": "^", "linestyle": (0, (5, 1.2, 1, 1.2))},
}
METHOD_COLORS = {method: style["color"] for method, style in METHOD_STYLES.items()}
# Other labels take the rest of the palette in order of appearance.
OTHER_COLORS, OTHER_MARKERS = ("#009E73", "#CC79A7", "#D55E00", "#56B4E9"), ("D", "v", "P", "X", "*")
# Several quantities on one Axes: line styles tell them apart, so colour and marker are left for the arms.
QUANTITY_DASHES = ("-", (0, (1, 1.2)), (0, (5, 1.2)))
DOTS = {"s": 4, "alpha": 0.35, "linewidths": 0, "zorder": 1}


def set_style() -> None:
    """Set matplotlib's defaults to figures readable at print size, 3.5 to 7 inches wide."""
    text = ("font.size", "axes.labelsize", "legend.fontsize", "legend.title_fontsize")
    sizes = dict.fromkeys((*text, "xtick.labelsize", "ytick.labelsize", "axes.titlesize"), 8)
    lines = {"lines.markersize": 4.5, "lines.markeredgecolor": "white", "lines.markeredgewidth": 0.4}
    grid = {"axes.grid": True, "axes.grid.axis": "y", "grid.linewidth": 0.4, "grid.color": "0.88"}
    axes = {"axes.linewidth": 0.7, "xtick.major.size": 3, "ytick.major.size": 3}
    axes |= {"axes.spines.top": False, "axes.spines.right": False, "pdf.fonttype": 42}
    axes |= {"axes.titlelocation": "left", "legend.frameon": False, "legend.columnspacing": 1}
    page = {"figure.figsize": (3.5, 2.7), "figure.dpi": 150, "figure.constrained_layout.use": True}
    # The font that comes with matplotlib: a figure must not depend on what is installed.
    sns.set_theme("paper", "ticks", font="DejaVu Sans", rc=sizes | lines | grid | axes | page)


def depth_colors(levels: Sequence) -> dict[Hashable, str]:
    """Colours of ordered levels, from light to dark, whose lightness falls in equal steps.

    The ends of the palette are left out: its yellow is hardly seen on paper, its violet is near black.
    """
    palette = plt.get_cmap("viridis_r")(np.linspace(0.3, 0.97, len(levels)))
    return {level: to_hex(color) for level, color in zip(sorted(levels), palette, strict=True)}


def plot_vs_num_layers(
    runs: pd.DataFrame,
    y: Columns = "test_acc",
    *,
    hue: str = "method",
    ax: plt.Axes | None = None,
    chance: float | None = None,
) -> plt.Axes:
    """Draw `y` against depth: the mean with its 95 % interval, and every run as a dot.

    Levels of `hue` stand side by side at each depth, and a seed has the same place among the dots of every
    arm, so that paired runs can be found. Up to three columns in `y` (two in the paper's figure 1a) are told
    apart by line style. `chance` is the accuracy of always answering the majority class.
    """
    quantities, styles = _checked(runs, y, "num_layers", hue)
    ax = ax or plt.subplots(layout="constrained")[1]
    depths = np.unique(runs["num_layers"][runs[quantities].notna().any(axis=1) | diverged(runs)])
    spacing = np.diff(depths).min() if len(depths) > 1 else 1
    step = spacing * min(0.14, 0.5 / len(styles))
    jitter = runs["seed"].rank(method="dense") / (runs["seed"].nunique() + 1) - 0.5
    runs = runs.assign(x=runs["num_layers"] + 0.8 * step * jitter)
    for place, (level, style) in enumerate(styles.items()):
        arm, shift = runs[runs[hue] == level], (place - (len(styles) - 1) / 2) * step
        for quantity, look in _looks(style, quantities):
            mean = summarize(arm, quantity, by="num_layers").dropna(subset="mean").sort_values("num_layers")
            x = mean["num_layers"] + shift
            ax.vlines(x, mean["low"], mean["high"], color=look["color"], linewidth=1)
            ax.plot(x, mean["mean"], linewidth=1.2, **look)
            ax.scatter(arm["x"] + shift, arm[quantity], color=look["color"], **DOTS)
    # A tick at every depth, unless they are too uneven for that.
    crowded = np.ptp(depths) > 10 * spacing
    ax.xaxis.set_major_locator(MaxNLocator(integer=True) if crowded else FixedLocator(depths))
    return _finish(ax, runs, "num_layers", quantities, hue, styles, chance)


def plot_vs_layer(
    layers: pd.DataFrame, y: Columns, *, hue: str = "method", ax: plt.Axes | None = None, log: bool = True
) -> plt.Axes:
    """Draw `y` against the layer, for networks of one depth at one stage: faint runs under their mean.

    With `log` both axes are logarithmic (as in the paper's figures 1b and 1c) and the mean is geometric. A
    zero has no place there: the run's line has a gap, and the mean is that of the other runs. It is drawn
    where these are at least half, or else it would be a run's own.
    """
    quantities, styles = _checked(layers, y, "layer", hue)
    ax = ax or plt.subplots(layout="constrained")[1]
    ends = layers["layer"].min(), layers["layer"].max()
    marked = np.rint(np.geomspace(*ends, 8) if log else np.linspace(*ends, 8))
    if log:
        # Before anything is drawn, or matplotlib refuses a table of nothing but zeros.
        ax.set(xscale="log", yscale="log")
        # Powers of two, each labelled: matplotlib's own choice leaves one or two labels.
        ax.xaxis.set(major_locator=LogLocator(2, numticks=16), major_formatter="{x:g}")
        ax.minorticks_off()
    for level, style in styles.items():
        arm = layers[layers[hue] == level]
        for quantity, look in _looks(style, quantities):
            mean = summarize(arm, quantity, by="layer", log=log).sort_values("layer")
            if log:
                mean.loc[mean["n"] < mean["n_zero"], "mean"] = np.nan
            runs = arm.pivot(index="layer", columns="seed", values=quantity)
            runs = runs.where(runs > 0) if log else runs
            ax.plot(runs.index, runs, color=look["color"], linewidth=0.5, alpha=0.3, zorder=1)
            marks = np.flatnonzero(mean["layer"].isin(marked)).tolist()
            ax.plot(mean["layer"], mean["mean"], markevery=marks, linewidth=1.4, **look)
    return _finish(ax, layers, "layer", quantities, hue, styles, None)


def plot_training_curves(
    epochs: pd.DataFrame,
    y: str = "val_acc",
    *,
    method: str | None = None,
    ax: plt.Axes | None = None,
    chance: float | None = None,
) -> plt.Axes:
    """Draw `y` against the epoch for one arm, a colour per depth: the mean with its 95 % interval.

    `method` may be left out where the table holds one arm only.
    """
    legal = list(epochs["method"].unique())
    if method not in legal and not (method is None and len(legal) == 1):
        raise ValueError(f"method must be one of {legal}, but {method!r} was passed")
    epochs = epochs[epochs["method"] == (method or legal[0])]
    quantities, styles = _checked(epochs, y, "epoch", "num_layers")
    styles = {depth: style | {"marker": ""} for depth, style in styles.items()}
    ax = ax or plt.subplots(layout="constrained")[1]
    for depth, style in styles.items():
        mean = summarize(epochs[epochs["num_layers"] == depth], y, by="epoch").sort_values("epoch")
        band = {"color": style["color"], "alpha": 0.15, "linewidth": 0}
        ax.fill_between(mean["epoch"], mean["low"], mean["high"], **band)
        ax.plot(mean["epoch"], mean["mean"], linewidth=1.4, **style)
    return _finish(ax, epochs, "epoch", quantities, "num_layers", styles, chance)


def save_figure(fig: plt.Figure, name: str, data: pd.DataFrame, output_dir: str | Path) -> Path:
    """Write `<name>.png`, `<name>.pdf` and, with the numbers drawn, `<name>.csv`; return the PNG's path.

    The folder is made if need be, and files appear there when all three are complete. The same figure gives
    the same bytes: no date and no version is stored. The CSV holds every digit of its floats.
    """
    if not name or set(name) & {"/", "\\"}:
        raise ValueError(f"name must be a file name without a folder, but {name!r} was passed")
    output_dir = Path(output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output_dir, prefix=".") as folder:
        png, pdf, csv = (Path(folder, f"{name}.{kind}") for kind in ("png", "pdf", "csv"))
        page = {"bbox_inches": "tight", "pad_inches": 0.04}
        fig.savefig(png, dpi=300, metadata={"Software": None}, **page)
        with Image.open(png) as picture:  # drawings have few colours: a palette takes a third of the bytes
            picture.convert("RGB").quantize(256).save(png, dpi=(300, 300), optimize=True)
        fig.savefig(pdf, metadata=dict.fromkeys(("CreationDate", "Creator", "Producer")), **page)
        data.to_csv(csv, index=False, lineterminator="\n")
        files.move({path: output_dir / path.name for path in (csv, pdf, png)})
    return output_dir / png.name


def show_figure(fig: plt.Figure, alt: str) -> None:
    """Show the figure once in a notebook, with `alt` as the text for readers who do not see it."""
    display(fig, metadata={"image/png": {"alt": alt}})
    plt.close(fig)


def _checked(table: pd.DataFrame, y: Columns, x: str, hue: str) -> tuple[list[str], dict]:
    """Return the columns to draw, and for each level of `hue` its colour, marker and line style."""
    if hue not in table:
        raise ValueError(f"hue must be one of {list(table)}, but {hue!r} was passed")
    quantities = [y] if isinstance(y, str) else list(y)
    # Where runs diverged, a column without any number may be one that all of them lost.
    kept = table if diverged(table).any() else table.dropna(axis="columns", how="all")
    legal = [name for name in kept.select_dtypes("number") if name not in (x, hue, "seed")]
    for name in quantities:
        if name not in legal:
            raise ValueError(f"y must be one of {legal}, but {name!r} was passed")
    if not 1 <= len(quantities) <= len(QUANTITY_DASHES):
        raise ValueError(f"y must be one to {len(QUANTITY_DASHES)} columns, but {y!r} was passed")
    levels, ordered = list(table[hue].unique()), pd.api.types.is_numeric_dtype(table[hue])
    known = {method: style for method, style in METHOD_STYLES.items() if method in levels}
    others = sorted(levels) if ordered else [level for level in levels if level not in known]
    colors = depth_colors(levels).values() if ordered else cycle(OTHER_COLORS)
    looks = zip(others, colors, cycle("o" if ordered else OTHER_MARKERS), strict=False)
    return quantities, known | {level: {"color": c, "marker": m, "linestyle": "-"} for level, c, m in looks}


def _looks(style: dict, quantities: list[str]) -> list[tuple[str, dict]]:
    """Pair each quantity with the look of an arm's line."""
    dashes = QUANTITY_DASHES if len(quantities) > 1 else [style["linestyle"]]
    return [(name, style | {"linestyle": dash}) for name, dash in zip(quantities, dashes, strict=False)]


def _finish(ax, table, x, quantities, hue, styles, chance) -> plt.Axes:
    """Name the axes and, outside them, the lines: above, or to the right where they are ordered."""
    # A place at which every run diverged is on the axis, too.
    ax.update_datalim([(place, 1) for place in table.loc[diverged(table), x].unique()], updatey=False)
    ax.autoscale_view(scaley=False)
    name = {column: axis_label(column) for column in (x, hue, *quantities)}
    ax.set(xlabel=name[x], ylabel=", ".join(name[quantity] for quantity in quantities))
    labels = run_labels(table, hue)
    handles = [plt.Line2D([], [], label=labels[level], **style) for level, style in styles.items()]
    if len(quantities) > 1:
        plt.setp(handles, linestyle="")
        greys = _looks({"color": "0.3"}, quantities)
        handles += [plt.Line2D([], [], label=name[quantity], **look) for quantity, look in greys]
    ordered = pd.api.types.is_numeric_dtype(type(next(iter(styles))))
    if chance is not None:
        label = "majority\nclass" if ordered else "majority class"
        handles.append(ax.axhline(chance, label=label, color="0.5", linewidth=0.8, linestyle="--", zorder=0))
    outside = {"handles": handles, "frameon": False, "borderaxespad": 0.2, "columnspacing": 1}
    if ordered:
        outside |= {"title": fill(name[hue], 12), "alignment": "left", "handlelength": 1.2}
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1), **outside)
    else:
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, handlelength=2.6, **outside)
    return ax
