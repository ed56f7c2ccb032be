"""The look of all figures, and how a figure is saved and shown."""

import io
from collections.abc import Sequence
from itertools import cycle, product
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
MIN_RUNS = 5  # of fewer no interval is drawn
OTHER_COLORS = ("#009E73", "#CC79A7", "#D55E00", "#56B4E9")  # of other names, in order of appearance
AXIS_LABELS = {
    "num_layers": "graph convolutions",
    "test_acc": "test accuracy",
    "val_acc": "validation accuracy",
    "constant_fraction": "constant layers",
    "dead_fraction_varying": "dead, other layers",
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


def method_styles(methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour, marker and dashes of each method: the three arms first, with their own."""
    styles = {method: style for method, style in METHOD_STYLES.items() if method in methods}
    others = [method for method in methods if method not in styles]
    looks = product(["", (1, 1)], zip(OTHER_COLORS, "DvPX", strict=True))  # dotted once the colours are used
    for method, (dashes, (color, marker)) in zip(others, cycle(looks), strict=False):
        styles[method] = {"color": color, "marker": marker, "dashes": dashes}
    return styles


def method_colors(methods: Sequence[str]) -> dict[str, str]:
    """The colour of each method."""
    return {method: style["color"] for method, style in method_styles(methods).items()}


def axis_label(column: str) -> str:
    """The words for a column of the tables."""
    stem = column.removesuffix("_last")
    words = AXIS_LABELS.get(stem, stem.replace("_", " "))
    return words if stem == column else f"{words} after the last epoch"


def share_legend(fig: plt.Figure, side: Literal["below", "right"] = "below") -> None:
    """Replace the legends of a figure's panels by the first one, below them or to their right.

    Panels that share an axis keep its label on the outside only.
    """
    places = {"below": {"loc": "outside lower center", "ncols": 5}, "right": {"loc": "outside right upper"}}
    for ax in fig.axes:
        if legend := ax.get_legend():
            legend.remove()
            if not fig.legends:
                texts = [text.get_text() for text in legend.get_texts()]
                title = axis_label(legend.get_title().get_text())
                fig.legend(legend.legend_handles, texts, title=title, **places[side])
        ax.xaxis.label.set_visible(ax.xaxis.get_tick_params()["labelbottom"])
        ax.yaxis.label.set_visible(ax.yaxis.get_tick_params()["labelleft"])


def to_png(fig: plt.Figure, dpi: int) -> bytes:
    """The figure as a PNG of 32 colours, the same bytes each time."""
    full, small = io.BytesIO(), io.BytesIO()
    fig.savefig(full, dpi=dpi, bbox_inches="tight")
    # A palette takes a fifth of the bytes. Maximum coverage keeps colours that cover few pixels, as lines do.
    image = Image.open(full).convert("RGB").quantize(32, method=Image.Quantize.MAXCOVERAGE, kmeans=1)
    image.save(small, "PNG", dpi=(dpi, dpi), optimize=True)
    return small.getvalue()


def publish(fig: plt.Figure, name: str, data: pd.DataFrame, alt: str, folder: str | Path) -> None:
    """Save a figure as `<name>.png` and its numbers, to six digits, as `<name>.csv`; show it and close it.

    `alt` says what the figure shows, for readers who do not see it. The folder is made if need be.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    data.to_csv(Path(folder, f"{name}.csv"), index=False, float_format="%.6g")
    Path(folder, f"{name}.png").write_bytes(to_png(fig, dpi=150))
    IPython.display.display(IPython.display.Image(to_png(fig, dpi=80), alt=alt))
    plt.close(fig)
