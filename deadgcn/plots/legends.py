"""Names of axes, legends that say how many runs diverged, and one legend for the panels of a figure."""

import re
from collections.abc import Hashable

import pandas as pd
from matplotlib import pyplot as plt

from deadgcn.config import Config

REMARK = re.compile(r" \(\d+ of \d+ diverged\)$")
AXIS_LABELS = {
    "num_layers": "number of graph convolutions",
    "test_acc": "test accuracy",
    "val_acc": "validation accuracy",
    "train_loss": "training loss",
    "dirichlet_energy": "Dirichlet energy",
    "rayleigh_quotient": "Rayleigh quotient",
    "norm": "norm of the embeddings",
}
# Remarks inside the axes stand at its right end, and what they cover shines through.
INSIDE = {"ha": "right", "bbox": {"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 0.5}}


def axis_label(column: str) -> str:
    """The words for a column of the tables, for axes and lines: "test accuracy after the last epoch".

    >>> axis_label("dead_fraction")
    'dead fraction'
    """
    stem = column.removesuffix("_last")
    return AXIS_LABELS.get(stem, stem.replace("_", " ")) + " after the last epoch" * (stem != column)


def run_labels(table: pd.DataFrame, hue: str = "method") -> dict[Hashable, str]:
    """The name of each level of `hue`, and where runs of it diverged their number: "ReLU (2 of 30 diverged)".

    Runs are told apart by the columns that are settings (fields of :class:`deadgcn.config.Config`). A table
    without `diverged_epoch` has nothing to say of them.
    """
    labels = {level: str(level) for level in table[hue].unique()}
    settings = [name for name in Config.model_fields if name in table and name != hue]
    runs = table.drop_duplicates([hue, *settings])
    for level, epochs in runs.groupby(hue)["diverged_epoch"] if "diverged_epoch" in table else ():
        if epochs.notna().any():
            labels[level] += f" ({epochs.notna().sum()} of {len(epochs)} diverged)"
    return labels


def share_legend(fig: plt.Figure, side: str = "below") -> None:
    """Replace the panels' legends by the first one, `below` or to the `right`; shared inner labels go.

    Where other runs diverged in one panel than in another, each panel names its own.
    """
    places = {"below": {"loc": "outside lower center", "ncols": 4}, "right": {"loc": "outside right center"}}
    if side not in places:
        raise ValueError(f"side must be one of {list(places)}, but {side!r} was passed")
    legends = [legend for ax in fig.axes if (legend := ax.get_legend())]
    texts = [[text.get_text() for text in legend.get_texts()] for legend in legends]
    remarks = [[text for text in own if REMARK.search(text)] for own in texts]
    if any(own != remarks[0] for own in remarks):
        texts[0] = [REMARK.sub("", text) for text in texts[0]]
        for legend, own in zip(legends, remarks, strict=True):
            look = INSIDE | {"va": "top", "fontsize": 7, "transform": legend.axes.transAxes}
            legend.axes.text(0.98, 0.98, "\n".join(own), **look)
    look = places[side] | {"title": legends[0].get_title().get_text() or None, "alignment": "left"}
    fig.legend(legends[0].legend_handles, texts[0], frameon=False, handlelength=2.6, **look)
    for legend in legends:
        legend.remove()
    for ax in fig.axes:
        siblings = ax.get_shared_y_axes().get_siblings(ax)
        if sum(other.get_subplotspec().rowspan == ax.get_subplotspec().rowspan for other in siblings) > 1:
            ax.label_outer()
