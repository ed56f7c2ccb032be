"""The same training as people write it with PyTorch Geometric: one run after another, autograd, its own GCN.

The loop starts from the engine's initial weights and gives its numbers, epoch by epoch, up to rounding. It
covers ReLU networks with and without stripping. Its time per epoch does not depend on the number of epochs,
so a few epochs are enough to time it.
"""

from collections.abc import Sequence

import numpy as np
import torch
from processes import COLUMNS, graph_of
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch_geometric.nn import GCN

import deadgcn as dg
from deadgcn.gcn.build import build
from deadgcn.gcn.stripping import stripping_mask


def train(
    configs: Sequence[dg.Config], careful: bool = True, compiled: bool = False
) -> dict[str, np.ndarray]:
    """Train one run as an experienced user would: normalise once, one evaluation forward pass per epoch.

    A loop that is not careful is a newcomer's: it normalises in every layer, uses masks, and evaluates in two
    passes. Torch may compile the passes of a careful one. Returns `COLUMNS`, each ``[1, epochs]``, and
    `test_acc` ``[1]``.
    """
    (config,) = configs
    graph = graph_of(config.dataset)
    x, edges, y = graph.x, graph.edge_index, graph.y
    train_nodes, val_nodes = graph.train_mask, graph.val_mask
    if careful:
        train_nodes, val_nodes = (mask.nonzero().flatten() for mask in (train_nodes, val_nodes))
    loss_of, evaluate = (torch.compile(each) if compiled else each for each in (_loss, _evaluate))
    sizes = graph.num_features, config.hidden_channels, config.num_layers, int(y.max()) + 1
    model = GCN(*sizes, jk="last", cached=careful)
    model.load_state_dict(build(configs, graph).run_state_dict(0))
    optimizer = torch.optim.Adam(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    parameters, weights = model.parameters(), (conv.lin.weight for conv in model.convs)
    history = History(config, *([each.detach()[None] for each in part] for part in (parameters, weights)))
    for epoch in range(config.epochs):
        optimizer.zero_grad()
        loss_of(model, x, edges, y, train_nodes).backward()
        optimizer.step()
        acc, dead = evaluate(model, x, edges, y, val_nodes)
        if not careful:
            with torch.no_grad():
                correct = model(x, edges).argmax(1) == y
            acc = correct[val_nodes].float().mean()[None]
        history.add(epoch, acc, dead)
    columns = history.result()
    acc, _ = _evaluate(model, x, edges, y, graph.test_mask)
    return columns | {"test_acc": acc.numpy()}


def _loss(model: GCN, x: Tensor, edges: Tensor, y: Tensor, nodes: Tensor) -> Tensor:
    return cross_entropy(model(x, edges)[nodes], y[nodes])


@torch.no_grad()
def _evaluate(model: GCN, x: Tensor, edges: Tensor, y: Tensor, nodes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the accuracy at some nodes ``[1]``, and the dead neurons ``[1, L, d]``."""
    h, dead = x, []
    for conv in model.convs:
        h = conv(h, edges).relu()  # [N, d]
        dead.append(h.amax(0) == 0)
    correct = model.lin(h[nodes]).argmax(1) == y[nodes]
    return correct.float().mean()[None], torch.stack(dead)[None]


class History:
    """What a peer in torch does at the end of an epoch: note, remember the best model, strip.

    `parameters` are those of R runs, each ``[R, ...]``; `weights`, the hidden layers', are among them.
    """

    def __init__(self, config: dg.Config, parameters: Sequence[Tensor], weights: Sequence[Tensor]) -> None:
        self.config, self.parameters, self.weights = config, parameters, weights
        self.best, self.best_acc = [each.clone() for each in parameters], torch.full((len(weights[0]),), -1.0)
        self.rows: list[tuple[Tensor, ...]] = []

    @torch.no_grad()
    def add(self, epoch: int, acc: Tensor, dead: Tensor) -> None:
        """Note an epoch's accuracies ``[R]`` and dead neurons ``[R, L, d]``, and strip where it is due."""
        stripped = torch.zeros(len(acc), dtype=torch.int64)
        if self.config.counts(epoch):
            improved, self.best_acc = acc > self.best_acc, acc.maximum(self.best_acc)
            for best, parameter in zip(self.best, self.parameters, strict=True):
                best[improved] = parameter[improved]
            if self.config.strip:
                for weight, neurons in zip(self.weights, dead.unbind(1), strict=True):
                    chosen = stripping_mask(weight, neurons, self.config.amount)
                    weight.masked_fill_(chosen, 0.0)
                    stripped += chosen.sum((1, 2))
        self.rows.append((acc, dead.double().mean((1, 2)), stripped))

    @torch.no_grad()
    def result(self) -> dict[str, np.ndarray]:
        """Put the best parameters back; return `COLUMNS`, each ``[R, epochs]``."""
        for best, parameter in zip(self.best, self.parameters, strict=True):
            parameter.copy_(best)
        columns = (torch.stack(column, 1).numpy() for column in zip(*self.rows, strict=True))
        return dict(zip(COLUMNS, columns, strict=True))
