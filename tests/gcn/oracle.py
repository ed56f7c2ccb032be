"""PyTorch Geometric's own network with one run's weights, to compare ours with."""

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
    """PyG's network with a run's parameters, and the list to which each pass appends its activations."""
    num_layers = sum(name.endswith("lin.weight") for name in state) - 1
    width, features = state["convs.0.lin.weight"].shape
    slope = {"negative_slope": 0.8} if act == "leaky_relu" else None
    bias = "convs.0.bias" in state
    model = torch_geometric.nn.GCN(
        features, width, num_layers, CLASSES, jk="last", bias=bias, act=act, act_kwargs=slope
    )
    model.load_state_dict(state)  # strict: the names are the same
    model.act = Recorded(model.act)
    return model, model.act.posts


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


def gradient_norms(state, graph, act="relu"):
    """Norm of the gradient of each layer's weight, of the training nodes' loss."""
    model, _ = pyg_network(state, act)
    train_loss(model(graph.x, graph.edge_index), graph).backward()
    return [conv.lin.weight.grad.double().norm().item() for conv in model.convs]


def train_loss(logits, graph):
    return cross_entropy(logits[graph.train_mask], graph.y[graph.train_mask])


def same_result(one, other):
    """Whether two results of training are equal bit for bit; missing numbers are equal to each other."""
    return all(
        one[part].keys() == other[part].keys()
        and all(_equal(value, other[part][name]) for name, value in one[part].items())
        for part in ("run", "epochs", "layers", "best_state")
    )


def _equal(one, other):
    if one is None or other is None:
        return one is other
    return np.array_equal(np.asarray(one), np.asarray(other), equal_nan=True)
