"""What single networks compute: which neurons fire at which nodes, and embeddings in two dimensions.

Nodes are grouped by class, or coloured by it. Print cannot show every node, so they are averaged in bins or
sampled first; the tables hold what is drawn. :func:`explore` adds controls in a notebook.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from IPython.display import DisplayHandle, display
from matplotlib import pyplot as plt
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from torch import Tensor

from deadgcn.experiments.tables import Network
from deadgcn.gcn.neurons import dead_mask
from deadgcn.plots.style import SHOWN_DPI, picture, show_picture

# Okabe and Ito's palette, with markers for readers who see no colours.
CLASS_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000", "#999933")
CLASS_MARKERS = "os^DvPX*"
SILENT = "0.92"  # exactly 0: lighter than any activation, in print without colours too
FIRING = LinearSegmentedColormap.from_list("firing", sns.color_palette("viridis_r", 256)[40:])
SHOWN_RANGE = 300  # between the largest and the smallest activation that have colours of their own
MANY = 6  # values, from which on a slider is handier than a menu
WIDGET = "application/vnd.jupyter.widget-view+json"


def bin_nodes(post: Tensor, y: Tensor, max_rows: int = 200) -> pd.DataFrame:
    """Average the size of activations ``[N, d]`` over bins of nodes of one class: at most `max_rows` rows.

    Columns: class, nodes (how many the bin holds) and the neurons from 0. Classes have bins in proportion to
    their size, at least one, filled in the graph's order. A mean is 0 only where the activation is 0 at all
    nodes of the bin. Raises ValueError for fewer rows than classes.

    >>> bin_nodes(torch.tensor([[1.0], [5.0], [-3.0]]), torch.tensor([0, 1, 0]), max_rows=2)
       class  nodes    0
    0      0      2  2.0
    1      1      1  5.0
    """
    classes, counts = y.unique(return_counts=True)
    if max_rows < len(classes):
        raise ValueError(f"max_rows must be at least {len(classes)} (classes), but {max_rows} was passed")
    spare, rows = min(max_rows, len(y)) - len(classes), []
    for label, count in zip(classes.tolist(), counts.tolist(), strict=True):
        for part in post[y == label].double().abs().tensor_split(1 + spare * count // len(y)):
            rows.append([label, len(part), *part.mean(0).tolist()])
    return pd.DataFrame(rows, columns=["class", "nodes", *range(post.shape[1])])


def plot_activations(
    bins: pd.DataFrame, ax: plt.Axes, order: np.ndarray | None = None, top: float | None = None
) -> plt.Axes:
    """Draw what :func:`bin_nodes` returned for a layer: nodes downwards, neurons in this order to the right.

    What is exactly 0 is light grey; a dead neuron has a mark above its column; lines part the classes. `top`
    is the value of the darkest colour (default: the largest): give it where panels are to be compared.
    """
    grid = bins.drop(columns=["class", "nodes"]).to_numpy()  # [rows, d]
    grid = grid if order is None else grid[:, order]
    top = top or grid.max() or 1.0  # a silent layer has no largest, but an image needs a scale
    edges, columns = np.r_[0, bins["nodes"].cumsum()], np.arange(grid.shape[1] + 1) - 0.5
    values = np.where(grid == 0, np.nan, np.maximum(grid, top / SHOWN_RANGE))
    ax.pcolormesh(columns, edges, values, cmap=FIRING, norm=LogNorm(top / SHOWN_RANGE, top))
    dead = np.flatnonzero((grid == 0).all(0))
    marks = {"marker": "v", "s": 12, "color": "#D55E00", "linewidths": 0, "clip_on": False}
    ax.scatter(dead, np.full(len(dead), 1.025), transform=ax.get_xaxis_transform(), **marks)
    ends = bins.groupby("class", sort=False)["nodes"].sum().cumsum()
    ax.hlines(ends[:-1], *columns[[0, -1]], color="white", linewidth=1.4)
    ax.hlines(ends[:-1], *columns[[0, -1]], color="black", linewidth=0.5)
    ax.set(facecolor=SILENT, xlim=columns[[0, -1]], ylim=(edges[-1], 0), ylabel="nodes, by class")
    ax.set_yticks((ends + ends.shift(fill_value=0)) / 2, [str(label) for label in ends.index])
    ax.tick_params(length=0)
    ax.grid(False)
    return ax


def project(post: Tensor, y: Tensor, most: int = 400) -> tuple[pd.DataFrame, dict[str, float]]:
    """Project embeddings ``[N, d]`` onto the two directions in which they vary most, per PCA in float64.

    Returns:
        Points, one row for each of at most `most` nodes, which are the same every time, with each class in
        proportion: node, class, x and y, in units of the spread, with their largest entry positive.
        Measures of all nodes: ``line``, the share of the variance along x; ``classes``, the share of the
        variance between the means of the classes; ``spread``, the root mean square distance to the mean.
        Shares are the same for X and cX; missing where all nodes are alike up to rounding.

    >>> points, measures = project(torch.tensor([[1.0, 5.0], [3.0, 5.0]]), torch.tensor([0, 1]))
    >>> points["x"].abs().round(3).tolist(), {name: round(value, 3) for name, value in measures.items()}
    ([1.0, 1.0], {'line': 1.0, 'classes': 1.0, 'spread': 1.0})
    """
    scale = post.double().abs().max().clamp(min=torch.finfo(torch.double).tiny)
    centred = post.double() / scale - (post.double() / scale).mean(0)
    if centred.abs().max() < 1e-6:
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


def plot_projection(
    points: pd.DataFrame, measures: Mapping[str, float], ax: plt.Axes, size: float = 5
) -> plt.Axes:
    """Draw what :func:`project` returned, a colour and marker per class, equal scales in both directions.

    The panel holds the middle 98 % of the points in each direction, and a little more.
    """
    classes = sorted(points["class"].unique())
    look = {"palette": {label: CLASS_COLORS[label % 8] for label in classes}, "linewidth": 0, "alpha": 0.8}
    look["markers"] = {label: CLASS_MARKERS[label % 8] for label in classes}
    sns.scatterplot(points, x="x", y="y", hue="class", style="class", s=size, ax=ax, **look)
    sns.move_legend(ax, "upper left", bbox_to_anchor=(1, 1), handletextpad=0.1, markerscale=1.6)
    low, high = points[["x", "y"]].quantile(0.01), points[["x", "y"]].quantile(0.99)
    middle, half = (low + high) / 2, 0.6 * max((high - low).max(), 1e-3)
    ax.set(xlim=(middle["x"] - half, middle["x"] + half), ylim=(middle["y"] - half, middle["y"] + half))
    alike = np.isnan(measures["line"])
    shares = "all nodes alike" if alike else "line {line:.0%}, classes {classes:.0%}".format(**measures)
    ax.set(
        aspect="equal", xticks=[], yticks=[], xlabel=f"{shares}\nspread {measures['spread']:.2g}", ylabel=""
    )
    ax.grid(False)
    return ax


def draw_layer(
    network: Callable[..., Network], y: Tensor, *, layer: int, **run: Any
) -> tuple[plt.Figure, str]:
    """Draw one layer of one network, nodes by neurons and in two dimensions: a `draw` for :func:`explore`.

    `network` takes the settings of a run (``method="ReLU", seed=0, trained=False``) and returns its
    :class:`~deadgcn.experiments.tables.Network`, as ``functools.partial(tables.network, graph)`` does. `y`
    holds the nodes' classes ``[N]``; layers count from 1.
    """
    post = network(**run).activations[layer - 1]  # [N, d]
    fig, (left, right) = plt.subplots(1, 2, figsize=(7, 3.2))
    plot_activations(bin_nodes(post, y), left).set_xlabel("neuron")
    bar = {"label": "activation (mean of a bin)", "extend": "min"}
    fig.colorbar(left.collections[0], ax=left, **bar).minorticks_off()
    left.set_title(f"{dead_mask(post).sum()} of {post.shape[1]} neurons dead", pad=10)
    plot_projection(*project(post, y), right)
    chosen = run | {"layer": layer}
    fig.suptitle(", ".join(f"{name.replace('_', ' ')} {value}" for name, value in chosen.items()))
    words = (fig.get_suptitle(), left.get_title("left"), right.get_xlabel().replace("\n", ", "))
    return fig, "Activations, nodes by neurons, and embeddings in two dimensions: {}; {}; {}.".format(*words)


def explore(
    draw: Callable[..., tuple[plt.Figure, str]], choices: Mapping[str, Sequence], **first: Any
) -> None:
    """Show a picture, with a control below it for each of the choices that it depends on.

    `draw` takes one keyword per choice and returns a figure, and a text for readers who do not see it.
    `choices` holds the values of each keyword, `first` those to begin with where not the first of each.
    Raises ValueError for a choice without values, and for a first value that is not among them.

    Picture and controls are two outputs, because JupyterLab shows an error in place of a widget whose kernel
    is gone, even where the same output holds a picture. Without IPython only the text is printed.
    """
    begin = {name: next(iter(values), None) for name, values in choices.items()} | first
    for name, value in begin.items():
        if value not in (legal := list(choices.get(name, ()))):
            raise ValueError(f"{name} must begin with one of {legal}, but {value!r} was passed")
    controls = {name: _control(name, list(values), begin[name]) for name, values in choices.items()}

    def show(**options: Any) -> DisplayHandle | None:
        fig, alt = draw(**{name: control.value for name, control in controls.items()})
        png = picture(fig, SHOWN_DPI)
        plt.close(fig)
        return show_picture(png, alt, **options)

    shown = show(display_id=True)
    if shown is None:
        return
    for control in controls.values():
        control.observe(lambda _: show(display_id=shown.display_id, update=True), names="value")
    box = widgets.HBox(list(controls.values()), layout={"flex_flow": "row wrap"})
    view = {"version_major": 2, "version_minor": 0, "model_id": box.model_id}
    display({WIDGET: view, "text/plain": f"Controls, while a kernel runs: {', '.join(choices)}"}, raw=True)


def _control(name: str, values: list, value: Any) -> widgets.Widget:
    look = {"options": values, "value": value, "description": name.replace("_", " ")}
    if len(values) > MANY:
        return widgets.SelectionSlider(continuous_update=False, **look)
    return widgets.Dropdown(**look)
