"""What single networks compute: which neurons fire at which nodes, and embeddings in two dimensions."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
import torch
from IPython.display import Image, display
from ipywidgets import HBox, SelectionSlider
from matplotlib import pyplot as plt
from matplotlib.colors import LogNorm
from torch import Tensor
from torch_geometric.data import Data

from deadgcn.experiments.measure import activations
from deadgcn.gcn.neurons import dead_mask
from deadgcn.plots.style import to_png


def bin_nodes(post: Tensor, y: Tensor, max_rows: int = 200) -> pd.DataFrame:
    """Average the size of activations ``[N, d]`` over bins of nodes of one class: at most `max_rows` rows.

    Columns: class, nodes (how many the bin holds) and the neurons from 0. Classes have bins in proportion to
    their size, at least one. A mean is 0 only where the activation is 0 at all nodes of the bin.

    >>> bin_nodes(torch.tensor([[1.0], [5.0], [-3.0]]), torch.tensor([0, 1, 0]), max_rows=2)
       class  nodes    0
    0      0      2  2.0
    1      1      1  5.0
    """
    classes, counts = y.unique(return_counts=True)
    spare, rows = max(0, min(max_rows, len(y)) - len(classes)), []
    for label, count in zip(classes.tolist(), counts.tolist(), strict=True):
        for part in post[y == label].double().abs().tensor_split(1 + spare * count // len(y)):
            rows.append([label, len(part), *part.mean(0).tolist()])
    return pd.DataFrame(rows, columns=["class", "nodes", *range(post.shape[1])])


def plot_activations(
    bins: pd.DataFrame, ax: plt.Axes, order: np.ndarray | None = None, top: float | None = None
) -> plt.Axes:
    """Draw what :func:`bin_nodes` returned: nodes downwards by class, neurons to the right, in this `order`.

    What is exactly 0 is light grey, and a dead neuron has a mark above its column. `top` is the value of the
    darkest colour (default: the largest): give it where panels are to be compared.
    """
    grid = bins.drop(columns=["class", "nodes"]).to_numpy()  # [rows, d]
    if order is not None:
        grid = grid[:, order]
    top = np.nan_to_num(top or grid.max(), posinf=0.0) or 1.0  # a silent or diverged layer has no largest
    ax.pcolormesh(np.where(grid > 0, grid, np.nan), cmap="crest", norm=LogNorm(top / 300, top, clip=True))
    dead = np.flatnonzero((grid == 0).all(0))
    ax.scatter(dead + 0.5, np.full(len(dead), -0.02 * len(grid)), s=9, c="#D55E00", marker="v", clip_on=False)
    sizes = bins["class"].value_counts(sort=False)
    ax.hlines(sizes.cumsum()[:-1], 0, grid.shape[1], color="black", linewidth=0.5)
    ax.set_yticks(sizes.cumsum() - sizes / 2, sizes.index)
    ax.set(facecolor="0.92", ylim=(len(grid), 0), ylabel="nodes, by class")
    ax.grid(False)
    return ax


def project(post: Tensor, y: Tensor, most: int = 400) -> tuple[pd.DataFrame, dict[str, float]]:
    """Project embeddings ``[N, d]`` onto the two directions in which they vary most, per PCA in float64.

    Returns points (node, class, x and y in units of the spread), `most` at most, classes in proportion, and
    measures: ``line`` and ``classes``, the shares of the variance along x and between the classes' means
    (missing where all nodes are alike up to rounding), and ``spread``, the RMS distance to the mean.
    """
    scale = post.double().abs().max().clamp(min=torch.finfo(torch.double).tiny)
    centred = post.double() / scale - (post.double() / scale).mean(0)
    if not centred.abs().max() >= 1e-6:  # or they are not finite
        centred = torch.zeros_like(centred)
    u, values, _ = torch.linalg.svd(centred, full_matrices=False)
    total = values.square().sum()
    spread = (total / len(y)).sqrt()
    xy = torch.nn.functional.pad(u * values, (0, 1))[:, :2] / torch.where(spread > 0, spread, 1)  # [N, 2]
    xy *= xy.gather(0, xy.abs().argmax(0, keepdim=True)).sign()
    means = pd.DataFrame(centred.numpy()).groupby(y.numpy()).transform("mean")
    shares = {"line": values[0].square() / total, "classes": means.pow(2).to_numpy().sum() / total}
    nodes = y.argsort(stable=True)[torch.linspace(0, len(y) - 1, min(most, len(y))).long()].sort().values
    points = pd.DataFrame({"node": nodes, "class": y[nodes], "x": xy[nodes, 0], "y": xy[nodes, 1]})
    return points, {name: float(value) for name, value in (shares | {"spread": spread * scale}).items()}


def plot_projection(points: pd.DataFrame, measures: Mapping[str, float], ax: plt.Axes) -> plt.Axes:
    """Draw what :func:`project` returned, a colour and marker per class, equal scales in both directions."""
    points = points.sort_values("class").astype({"class": str})
    sns.scatterplot(points, x="x", y="y", hue="class", style="class", s=8, linewidth=0, ax=ax)
    sns.move_legend(ax, "upper left", bbox_to_anchor=(1, 1))
    if points["class"].nunique() > 12:  # they would fill the figure
        ax.get_legend().remove()
    text = "line {line:.0%}, classes {classes:.0%}\nspread {spread:.2g}".format(**measures)
    ax.set(xticks=[], yticks=[], xlabel=text, ylabel="")
    ax.set_aspect("equal", "datalim")
    return ax


def explore(model: Callable, graph: Data, choices: Mapping[str, Sequence], **first: Any) -> None:
    """Show one layer of a network, nodes by neurons and in two dimensions, with a slider for each choice.

    `model` is :meth:`deadgcn.Tables.model`. `choices` holds the values of "layer" (from 1) and of what
    `model` is to be told, `first` those to begin with. Without a running kernel the picture stays.
    """
    sliders = {}
    for name, values in choices.items():
        value, fixed = first.get(name, values[0]), {"description": name, "continuous_update": False}
        sliders[name] = SelectionSlider(options=list(values), value=value, **fixed)

    def picture() -> Image:
        return _draw_layer(model, graph, **{name: slider.value for name, slider in sliders.items()})

    shown = display(picture(), display_id=True)
    for slider in sliders.values():
        slider.observe(lambda _: shown.update(picture()), names="value")
    # A second output, because JupyterLab shows an error in place of a widget whose kernel is gone.
    controls = HBox([*sliders.values()])._repr_mimebundle_()
    display(controls | {"text/plain": f"Sliders, while a kernel runs: {', '.join(choices)}"}, raw=True)


def _draw_layer(model: Callable, graph: Data, *, layer: int, **run: Any) -> Image:
    post = activations(model(**run), graph)[layer - 1]  # [N, d]
    fig, (left, right) = plt.subplots(1, 2, figsize=(7, 3.2))
    plot_activations(bin_nodes(post, graph.y), left).set_xlabel("neuron")
    fig.colorbar(left.collections[0], label="activation (mean of a bin)", extend="min")
    plot_projection(*project(post, graph.y), right)
    title = ", ".join(f"{name} {value}" for name, value in (run | {"layer": layer}).items())
    title = fig.suptitle(f"{title}: {dead_mask(post).sum()} of {post.shape[1]} neurons dead").get_text()
    plt.close(fig)
    alt = f"Activations, nodes by neurons, and embeddings in two dimensions. {title}."
    return Image(to_png(fig, dpi=100), alt=alt)
