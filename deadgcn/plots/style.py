"""The look of all figures, and how a figure is saved and shown."""

import io
from collections.abc import Hashable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, Literal

import IPython.display
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from PIL import Image

# Okabe and Ito's colour-blind safe palette. The three arms also differ in lightness, for prints in grey.
METHOD_STYLES = {
    "ReLU": {"color": "#000000", "marker": "o", "dashes": ""},
    "ReLU + pruning": {"color": "#0072B2", "marker": "s", "dashes": (4, 1.5)},
    "LeakyReLU": {"color": "#E69F00", "marker": "^", "dashes": (4, 1.5, 1, 1.5)},
}
METHOD_COLORS = {method: style["color"] for method, style in METHOD_STYLES.items()}
OTHER_COLORS = ("#009E73", "#CC79A7", "#D55E00", "#56B4E9")  # of other names, in order of appearance
AXIS_LABELS = {
    "num_layers": "graph convolutions",
    "test_acc": "test accuracy",
    "val_acc": "validation accuracy",
    "dirichlet_energy": "Dirichlet energy",
    "rayleigh_quotient": "Rayleigh quotient",
}


def set_style() -> None:
    """Set matplotlib's defaults to figures that are readable at print size, 3.5 to 7 inches wide."""
    rc = {"figure.figsize": (3.5, 2.7), "figure.constrained_layout.use": True, "legend.frameon": False}
    rc |= {"axes.grid": True, "axes.grid.axis": "y", "grid.color": "0.88", "axes.titlelocation": "left"}
    rc |= {"axes.spines.top": False, "axes.spines.right": False, "lines.markersize": 4}
    # The font that comes with matplotlib: a figure must not depend on what is installed.
    sns.set_theme("paper", "ticks", "colorblind", font="DejaVu Sans", font_scale=0.85, rc=rc)


def depth_colors(levels: Sequence) -> dict[Hashable, str]:
    """Colours of ordered levels, from light to dark in equal steps."""
    return dict(zip(sorted(levels), sns.color_palette("viridis_r", len(levels)).as_hex(), strict=True))


def line_styles(column: pd.Series) -> dict[Hashable, dict[str, Any]]:
    """Colour, marker and dashes of each level of a column: numbers sorted, the three arms first."""
    levels = column.unique()
    if pd.api.types.is_numeric_dtype(column):
        colors = depth_colors(levels)
        return {level: {"color": color, "marker": "o", "dashes": ""} for level, color in colors.items()}
    styles = {method: style for method, style in METHOD_STYLES.items() if method in levels}
    others = [level for level in levels if level not in styles]
    for level, color, marker in zip(others, cycle(OTHER_COLORS), cycle("DvPX"), strict=False):
        styles[level] = {"color": color, "marker": marker, "dashes": ""}
    return styles


def axis_label(column: str) -> str:
    """The words for a column of the tables.

    >>> axis_label("dead_fraction"), axis_label("test_acc_last")
    ('dead fraction', 'test accuracy after the last epoch')
    """
    stem = column.removesuffix("_last")
    words = AXIS_LABELS.get(stem, stem.replace("_", " "))
    return words if stem == column else f"{words} after the last epoch"


def share_legend(fig: plt.Figure, side: Literal["below", "right"] = "below") -> None:
    """Replace the legends of a figure's panels by the first one, below them or to their right.

    Panels that share an axis keep its label on the outside only.
    """
    places = {"below": {"loc": "outside lower center", "ncols": 5}, "right": {"loc": "outside right upper"}}
    for ax in fig.axes:
        legend = ax.get_legend()
        if legend and not fig.legends:
            texts = [text.get_text() for text in legend.get_texts()]
            fig.legend(legend.legend_handles, texts, title=legend.get_title().get_text(), **places[side])
        if legend:
            legend.remove()
        ax.xaxis.label.set_visible(ax.xaxis.get_tick_params()["labelbottom"])
        ax.yaxis.label.set_visible(ax.yaxis.get_tick_params()["labelleft"])


def to_png(fig: plt.Figure, dpi: int) -> bytes:
    """The figure as a PNG of 64 colours, the same bytes each time."""
    full, small = io.BytesIO(), io.BytesIO()
    fig.savefig(full, dpi=dpi, bbox_inches="tight")
    # A palette takes a quarter of the bytes; k-means keeps rare colours.
    image = Image.open(full).convert("RGB").quantize(64, kmeans=1)
    image.save(small, "PNG", dpi=(dpi, dpi), optimize=True)
    return small.getvalue()


def publish(fig: plt.Figure, name: str, data: pd.DataFrame, alt: str, folder: str | Path) -> None:
    """Save a figure as `<name>.png` and its numbers as `<name>.csv`, show it in the notebook and close it.

    `alt` says what the figure shows, for readers who do not see it. The folder is made if need be.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    data.to_csv(folder / f"{name}.csv", index=False)
    (folder / f"{name}.png").write_bytes(to_png(fig, dpi=150))
    IPython.display.display(IPython.display.Image(to_png(fig, dpi=90), alt=alt))
    plt.close(fig)
