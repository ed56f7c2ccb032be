"""What to compare with: PyTorch Geometric's own network, and slow, literal formulas."""

import math

import numpy as np
import torch
import torch_geometric
from torch.nn.functional import cross_entropy

from deadgcn.gcn.model import GCN

SEEDS = (3, 0, 7)
CLASSES = 7


def network(graph, num_layers=3, hidden_channels=16, seeds=SEEDS, **options):
    """Our networks with biases other than zero, which would hide mistakes."""
    model = GCN(graph.num_features, hidden_channels, CLASSES, num_layers, seeds=seeds, **options)
    with torch.no_grad():
        for bias in (*model.biases, model.head_bias):
            bias.copy_(0.1 * torch.randn(bias.shape[1:], generator=torch.Generator().manual_seed(1)))
    return model


def pyg_network(state, act="relu"):
    """PyG's network with a run's parameters; ``.act.posts`` holds the activations of its passes."""
    num_layers = sum(name.endswith("lin.weight") for name in state) - 1
    if num_layers:
        width, features = state["convs.0.lin.weight"].shape
        options = {"act_kwargs": {"negative_slope": 0.8}} if act == "leaky_relu" else {}
        options |= {"act": act, "bias": "convs.0.bias" in state}
        classes = len(state["lin.weight"])
        model = torch_geometric.nn.GCN(features, width, num_layers, classes, jk="last", **options)
    else:
        model = Head(state["lin.weight"].shape[1])
    model.load_state_dict(state)  # strict: the names are the same
    model.act = Recorded(model.act)
    return model


class Head(torch.nn.Module):
    """Depth 0, which PyG does not have."""

    def __init__(self, features):
        super().__init__()
        self.convs, self.act, self.lin = [], None, torch.nn.Linear(features, CLASSES)

    def forward(self, x, *_):
        return self.lin(x)


class Recorded(torch.nn.Module):
    """An activation that keeps what it returns."""

    def __init__(self, act):
        super().__init__()
        self.act, self.posts = act, []

    def forward(self, pre):
        self.posts.append(self.act(pre))
        return self.posts[-1]


class Dropout(torch.nn.Module):
    """Dropout that draws from a given generator."""

    def __init__(self, p, generator):
        super().__init__()
        self.p, self.generator = p, generator

    def forward(self, h):
        return h * torch.empty(h.shape).bernoulli_(1 - self.p, generator=self.generator) / (1 - self.p)


def with_dropout(model, x, settings, generator):
    """Make PyG's network draw from a run's generator: for each word of x, row by row, then each activation.

    Returns the features with dropout.
    """
    if settings.input_dropout:
        words = x != 0
        x = x.masked_scatter(words, Dropout(settings.input_dropout, generator)(x[words]))
    model.dropout = Dropout(settings.dropout, generator) if settings.dropout else torch.nn.Identity()
    return x


def gradient_norms(model, graph, *inputs):
    """Norm of the gradient of each layer's weight in a network of PyG's, of the training nodes' loss."""
    model.zero_grad()
    train_loss(model(*inputs), graph).backward()
    return [conv.lin.weight.grad.double().norm().item() for conv in model.convs]


def train_loss(logits, graph):
    return cross_entropy(logits[graph.train_mask], graph.y[graph.train_mask])


def same_result(one, other):
    """Whether two results of training are equal bit for bit; missing numbers are equal to each other."""
    return all(
        one[part].keys() == other[part].keys()
        and all(_equal(value, other[part][name]) for name, value in one[part].items())
        for part in ("run", "epochs", "init", "best", "last", "best_state")
    )


def _equal(one, other):
    if one is None or other is None:
        return one is other
    return np.array_equal(np.asarray(one), np.asarray(other), equal_nan=True)


def literal_measures(x, edge_index):
    """Every measure by its formula, with dense matrices and loops."""
    x, pairs, n = x.double().numpy(), edge_index.T.tolist(), len(x)
    neighbours = [set() for _ in range(n)]
    for i, j in pairs:
        neighbours[i] |= {j} - {i}
    a = np.eye(n)
    a[tuple(edge_index.numpy())] = 1
    root = np.sqrt(a.sum(1))
    laplacian = np.eye(n) - a / root / root[:, None]
    basis = np.stack([np.where(members, root, 0) for members in components(neighbours)])  # [C, N]
    projector = basis.T @ (basis / (basis**2).sum(1, keepdims=True))
    size, form, sigma = np.linalg.norm(x), np.trace(x.T @ laplacian @ x), np.linalg.svd(x)[1]
    to_mean, p = np.linalg.norm(x - x.mean(0)), (sigma / sigma.sum())[sigma > 1e-12 * sigma[0]]
    return {
        "dirichlet_energy": math.sqrt(sum(((x[i] - x[j]) ** 2).sum() for i, j in set(map(tuple, pairs))) / n),
        "distance_to_mean": to_mean,
        "norm": size,
        "normalized_dirichlet_energy": form,
        "rayleigh_quotient": form / size**2,
        "distance_to_limit": np.linalg.norm(x - projector @ x) / size,
        "relative_distance_to_mean": to_mean / size,
        "mean_average_distance": literal_mean_average_distance(x, neighbours),
        "stable_rank": (sigma**2).sum() / sigma[0] ** 2,
        "effective_rank": math.exp(-(p * np.log(p)).sum()),
        "rank_one_distance": np.linalg.norm(sigma[1:]) / size,
    }


def components(neighbours):
    left = set(range(len(neighbours)))
    while left:
        component, new = set(), {min(left)}
        while new:
            component |= new
            new = set().union(*(neighbours[i] for i in new)) - component
        left -= component
        yield [i in component for i in range(len(neighbours))]


def literal_mean_average_distance(x, neighbours):
    of_nodes = []
    for i, others in enumerate(neighbours):
        pairs = [(x[i], x[j]) for j in others if x[i].any() and x[j].any()]
        apart = [1 - u @ v / np.linalg.norm(u) / np.linalg.norm(v) for u, v in pairs]
        of_nodes += [np.mean(apart)] if apart else []
    return np.mean(of_nodes) if of_nodes else math.nan
