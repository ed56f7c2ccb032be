"""Pictures of what single networks compute: neurons that are silent, nodes that fall on one line.

Nodes show their class in both, as a block of rows or by colour and marker. What is drawn is cut down to what
print can show (nodes averaged in bins, a sample of nodes); tables hold what is drawn.
"""

import functools
from collections.abc import Callable

import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib import pyplot as plt
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import NormalizeFeatures

from deadgcn.data.graphs import normalized_adjacency
from deadgcn.experiments.tables import Tables
from deadgcn.gcn.model import GCN
from deadgcn.gcn.training import use_one_thread

# Okabe and Ito's palette, with markers for readers who see no colours.
CLASS_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000", "#999933")
CLASS_MARKERS = "os^DvPX*"
SILENT = "0.92"  # exactly 0: lighter than any activation, in print without colours too
FIRING = LinearSegmentedColormap.from_list("firing", sns.color_palette("viridis_r", 256)[40:])
DEAD_MARK = "#D55E00"
SHOWN_RANGE = 300  # between the largest and the smallest activation that have colours of their own


def activations_of(tables: Tables, graph: Data) -> Callable[..., list[Tensor] | None]:
    """Return a function that computes the activations ``[N, d]`` of each layer of one of the tables' runs.

    It takes the settings that tell the run from the tables' others (``method="ReLU", seed=0``) and `trained`:
    whether in the state that was best on validation (None if the run diverged before there was one) or
    untrained. It remembers the last three networks.
    """
    use_one_thread()  # as training does: equal sums, and what is exactly 0 there is 0 here

    @functools.lru_cache(maxsize=3)
    def activations(trained: bool = True, **run) -> list[Tensor] | None:
        fits = [all(getattr(c, name) == value for name, value in run.items()) for c in tables.configs]
        if sum(fits) != 1:
            raise ValueError(f"one run must be named, but {run} names {sum(fits)} of {len(fits)}")
        place = fits.index(True)
        c = tables.configs[place]
        if trained and tables.runs["best_epoch"].isna()[place]:
            return None
        x = (NormalizeFeatures()(graph) if c.normalize_features else graph).x
        edges = graph.edge_index[:, : None if c.adjacency == "normalized" else 0]
        sizes = (x.shape[1], c.hidden_channels, int(graph.y.max()) + 1, c.num_layers)
        options = {"act": c.act, "negative_slope": c.negative_slope, "bias": c.bias, "seeds": (c.seed,)}
        model = GCN(*sizes, **options)
        if trained:
            model.load_run_state_dict(0, tables.states[place])
        with torch.no_grad():
            return [post[0] for post in model(x, normalized_adjacency(edges, len(x)))[1]]

    return activations


def bin_nodes(post: Tensor, y: Tensor, max_rows: int = 200) -> pd.DataFrame:
    """Average the size of activations ``[N, d]`` over bins of nodes of one class: at most `max_rows` rows.

    Columns: class, nodes (how many the bin holds) and the neurons from 0. Classes have bins in proportion to
    their size, at least one, filled in the graph's order. A mean is 0 only where the activation is 0 at all
    nodes of the bin.

    >>> bin_nodes(torch.tensor([[1.0], [5.0], [-3.0]]), torch.tensor([0, 1, 0]), max_rows=2)
       class  nodes    0
    0      0      2  2.0
    1      1      1  5.0
    """
    classes, counts = y.unique(return_counts=True)
    if max_rows < len(classes):
        raise ValueError(
            f"max_rows must be at least {len(classes)}, one per class, but {max_rows} was passed"
        )
    spare, rows = min(max_rows, len(y)) - len(classes), []
    for label, count in zip(classes.tolist(), counts.tolist(), strict=True):
        for part in post[y == label].double().abs().tensor_split(1 + spare * count // len(y)):
            rows.append([label, len(part), *part.mean(0).tolist()])
    return pd.DataFrame(rows, columns=["class", "nodes", *range(post.shape[1])])


def plot_activations(
    bins: pd.DataFrame, ax: plt.Axes, order: np.ndarray | None = None, top: float | None = None
) -> plt.Axes:
    """Draw what :func:`bin_nodes` made of a layer, nodes downwards, neurons in this order to the right.

    What is exactly 0 is light grey; a dead neuron has a mark above its column; lines part the classes. `top`
    is the value of the darkest colour (default: the largest): give it where panels are to be compared.
    """
    grid = bins.drop(columns=["class", "nodes"]).to_numpy()  # [rows, d]
    grid = grid if order is None else grid[:, order]
    top = top or grid.max() or 1.0  # a silent layer has no largest, but an image needs a scale
    edges, columns = np.r_[0, bins["nodes"].cumsum()], np.arange(grid.shape[1] + 1) - 0.5
    values = np.where(grid == 0, np.nan, np.maximum(grid, top / SHOWN_RANGE))
    look = {"cmap": FIRING, "norm": LogNorm(top / SHOWN_RANGE, top), "rasterized": True}
    ax.pcolormesh(columns, edges, values, **look)
    dead = np.flatnonzero((grid == 0).all(0))
    marks = {"marker": "v", "s": 12, "color": DEAD_MARK, "linewidths": 0, "clip_on": False}
    ax.scatter(dead, np.full(len(dead), 1.025), transform=ax.get_xaxis_transform(), **marks)
    ends = bins.groupby("class", sort=False)["nodes"].sum().cumsum()
    for color, width in (("white", 1.4), ("black", 0.5)):
        ax.hlines(ends[:-1], *columns[[0, -1]], color=color, linewidth=width)
    ax.set(facecolor=SILENT, xlim=columns[[0, -1]], ylim=(edges[-1], 0), ylabel="nodes, by class")
    ax.set_yticks((ends + ends.shift(fill_value=0)) / 2, [str(label) for label in ends.index])
    ax.grid(False)
    ax.tick_params(length=0)
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
    scale = post.abs().max().double()
    x = post.double() / torch.where(scale > 0, scale, 1)
    centred = x - x.mean(0)
    alike = not x.isfinite().all() or centred.abs().max() < 1e-6
    centred = torch.zeros_like(x) if alike else centred
    u, values, _ = torch.linalg.svd(centred, full_matrices=False)
    total = values.square().sum()
    spread = (total / len(x)).sqrt()
    xy = torch.nn.functional.pad(u * values, (0, 1))[:, :2] / torch.where(spread > 0, spread, 1)  # [N, 2]
    xy *= xy.gather(0, xy.abs().argmax(0, keepdim=True)).sign()
    means = torch.stack(
        [(y == label).sum() * centred[y == label].mean(0).square().sum() for label in y.unique()]
    )
    nodes = y.argsort(stable=True)[torch.linspace(0, len(y) - 1, min(most, len(y))).long()].sort().values
    points = {"node": nodes, "class": y[nodes], "x": xy[nodes, 0], "y": xy[nodes, 1]}
    shares = (values[0].square() / total, means.sum() / total, spread * scale)
    return pd.DataFrame(points), dict(zip(("line", "classes", "spread"), map(float, shares), strict=True))


def plot_projection(
    points: pd.DataFrame, measures: dict[str, float], ax: plt.Axes, size: float = 5
) -> plt.Axes:
    """Draw what :func:`project` returned, a colour and marker per class, equal scales in both directions.

    The panel holds the middle 98 % of the points in each direction, and a little more.
    """
    for label, part in points.groupby("class"):
        look = {"color": CLASS_COLORS[label % 8], "marker": CLASS_MARKERS[label % 8], "label": str(label)}
        ax.scatter(part["x"], part["y"], s=size, alpha=0.8, linewidths=0, **look)
    low, high = points[["x", "y"]].quantile(0.01), points[["x", "y"]].quantile(0.99)
    middle, half = (low + high) / 2, 0.6 * max((high - low).max(), 1e-3)
    ax.set(xlim=(middle["x"] - half, middle["x"] + half), ylim=(middle["y"] - half, middle["y"] + half))
    known = f"line {measures['line']:.0%}, classes {measures['classes']:.0%}\n"
    text = known if np.isfinite(measures["line"]) else "all nodes alike\n"
    ax.set(aspect="equal", xticks=[], yticks=[], xlabel=f"{text}spread {measures['spread']:.2g}")
    return ax
