"""The look of all figures: colours, words for axes, shared legends; and how a figure is saved and shown."""

import io
import os
import re
from collections.abc import Hashable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from IPython import get_ipython
from IPython.display import DisplayHandle, display
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex
from PIL import Image

SOLID = (0, ())  # offset and dashes, as in all line styles here
# Okabe and Ito's colour-blind safe palette. The three arms also differ in lightness, for prints in grey.
METHOD_STYLES = {
    "ReLU": {"color": "#000000", "marker": "o", "linestyle": SOLID},
    "ReLU + pruning": {"color": "#0072B2", "marker": "s", "linestyle": (0, (5, 1.2))},
    "LeakyReLU": {"color": "#E69F00", "marker": "^", "linestyle": (0, (5, 1.2, 1, 1.2))},
}
METHOD_COLORS = {method: style["color"] for method, style in METHOD_STYLES.items()}
# Other labels take the rest of the palette in order of appearance.
OTHER_COLORS, OTHER_MARKERS = ("#009E73", "#CC79A7", "#D55E00", "#56B4E9"), "DvPX"
AXIS_LABELS = {
    "num_layers": "number of graph convolutions",
    "test_acc": "test accuracy",
    "val_acc": "validation accuracy",
    "train_loss": "training loss",
    "dirichlet_energy": "Dirichlet energy",
    "rayleigh_quotient": "Rayleigh quotient",
    "norm": "norm of the embeddings",
}
SAVED_DPI, SHOWN_DPI = 150, 100


def set_style() -> None:
    """Set matplotlib's defaults to figures that are readable at print size, 3.5 to 7 inches wide."""
    text = ("font.size", "axes.labelsize", "legend.fontsize", "legend.title_fontsize", "axes.titlesize")
    sizes = dict.fromkeys((*text, "xtick.labelsize", "ytick.labelsize"), 8) | {"figure.titlesize": 9}
    lines = {"lines.markersize": 4.5, "lines.markeredgecolor": "white", "lines.markeredgewidth": 0.4}
    grid = {"axes.grid": True, "axes.grid.axis": "y", "grid.linewidth": 0.4, "grid.color": "0.88"}
    axes = {"axes.linewidth": 0.7, "xtick.major.size": 3, "ytick.major.size": 3, "axes.titlelocation": "left"}
    axes |= {"axes.spines.top": False, "axes.spines.right": False}
    legend = {"legend.frameon": False, "legend.columnspacing": 1, "legend.handlelength": 2.6}
    page = {"figure.figsize": (3.5, 2.7), "figure.dpi": SHOWN_DPI, "figure.constrained_layout.use": True}
    # The font that comes with matplotlib: a figure must not depend on what is installed.
    sns.set_theme("paper", "ticks", font="DejaVu Sans", rc=sizes | lines | grid | axes | legend | page)


def depth_colors(levels: Sequence) -> dict[Hashable, str]:
    """Colours of ordered levels, from light to dark, whose lightness falls in equal steps.

    The ends of the palette are left out: its yellow is hardly seen on paper, its violet is near black.
    """
    palette = plt.get_cmap("viridis_r")(np.linspace(0.3, 0.97, len(levels)))
    return {level: to_hex(color) for level, color in zip(sorted(levels), palette, strict=True)}


def line_styles(column: pd.Series) -> dict[str, Any]:
    """Arguments of :func:`seaborn.lineplot` that give each level of a column its colour, marker and dashes.

    Numbers are ordered and get :func:`depth_colors`. The three arms come first, in their own styles; other
    names take the rest of the palette in order of appearance.

    >>> line_styles(pd.Series(["mine", "LeakyReLU", "ReLU"], name="method"))["hue_order"]
    ['ReLU', 'LeakyReLU', 'mine']
    """
    levels = column.unique().tolist()
    if pd.api.types.is_numeric_dtype(column):
        looks = {level: (color, "o") for level, color in depth_colors(levels).items()}
    else:
        others = [level for level in levels if level not in METHOD_STYLES]
        looks = dict(zip(others, cycle(zip(OTHER_COLORS, OTHER_MARKERS, strict=True)), strict=False))
    styles = {name: style for name, style in METHOD_STYLES.items() if name in levels}
    styles |= {level: {"color": c, "marker": m, "linestyle": SOLID} for level, (c, m) in looks.items()}
    table = pd.DataFrame(styles)  # a column per level
    look = {"palette": table.loc["color"].to_dict(), "markers": table.loc["marker"].to_dict()}
    look["dashes"] = table.loc["linestyle"].str[1].to_dict()
    return {"hue": column.name, "style": column.name, "hue_order": list(styles)} | look


def axis_label(column: str) -> str:
    """The words for a column of the tables.

    >>> axis_label("dead_fraction"), axis_label("test_acc_last")
    ('dead fraction', 'test accuracy after the last epoch')
    """
    stem = column.removesuffix("_last")
    return AXIS_LABELS.get(stem, stem.replace("_", " ")) + " after the last epoch" * (stem != column)


def share_legend(fig: plt.Figure, side: str = "below") -> None:
    """Replace the legends of a figure's panels by the first one, `below` them or to their `right`.

    Panels that share an axis and show no numbers on it lose its label, too.
    """
    places = {"below": {"loc": "outside lower center", "ncols": 5}, "right": {"loc": "outside right upper"}}
    if side not in places:
        raise ValueError(f"side must be one of {list(places)}, but {side!r} was passed")
    legends = [ax.get_legend() for ax in fig.axes if ax.get_legend()]
    if not legends:
        raise ValueError("fig must have a panel with a legend, but none has one")
    texts = [text.get_text() for text in legends[0].get_texts()]
    title = legends[0].get_title().get_text() or None
    fig.legend(legends[0].legend_handles, texts, title=title, alignment="left", **places[side])
    for legend in legends:
        legend.remove()
    for ax in fig.axes:
        if not ax.xaxis.get_tick_params()["labelbottom"]:
            ax.set_xlabel("")
        if not ax.yaxis.get_tick_params()["labelleft"]:
            ax.set_ylabel("")


def picture(fig: plt.Figure, dpi: int) -> bytes:
    """The figure as a PNG of 256 colours. The same figure gives the same bytes: no date, no version."""
    drawn, saved = io.BytesIO(), io.BytesIO()
    fig.savefig(drawn, format="png", dpi=dpi, bbox_inches="tight", pad_inches=0.04)
    with Image.open(drawn) as image:  # a palette takes a third of the bytes; k-means keeps rare colours
        palette = image.convert("RGB").quantize(256, kmeans=1)
    palette.save(saved, format="png", dpi=(dpi, dpi), optimize=True)
    return saved.getvalue()


def show_picture(png: bytes, alt: str, **options: Any) -> DisplayHandle | None:
    """Show a PNG with its alt text in a notebook; print the text where no IPython runs.

    Options are those of :func:`IPython.display.display`.
    """
    if get_ipython() is None:
        print(alt)
        return None
    bundle, metadata = {"image/png": png, "text/plain": alt}, {"image/png": {"alt": alt}}
    return display(bundle, raw=True, metadata=metadata, **options)


def publish(fig: plt.Figure, name: str, data: pd.DataFrame, alt: str, folder: str | Path) -> None:
    """Save a figure as `<name>.png` and its numbers as `<name>.csv`, show it in the notebook and close it.

    The PNG has 150 dpi, the notebook 100, and `alt` is the text for readers who do not see the picture. The
    CSV holds every digit of its floats, and no index. The folder is made if need be. Raises ValueError for a
    name of other characters than letters, digits, "_" and "-", and for an empty text.
    """
    if not re.fullmatch(r"[\w-]+", name):
        raise ValueError(f"name must consist of letters, digits, '_' and '-', but {name!r} was passed")
    if not alt.strip():
        raise ValueError(f"alt must say what {name} shows, but {alt!r} was passed")
    csv = data.to_csv(index=False, lineterminator="\n").encode()
    files = {f"{name}.csv": csv, f"{name}.png": picture(fig, SAVED_DPI)}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        (folder / f".{file}").write_bytes(content)
        os.replace(folder / f".{file}", folder / file)
    show_picture(picture(fig, SHOWN_DPI), alt)
    plt.close(fig)
