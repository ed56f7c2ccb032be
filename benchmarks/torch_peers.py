"""The same training in PyTorch: as people write it with PyTorch Geometric, and by `torch.func`.

Both start from the engine's initial weights and give its numbers, epoch by epoch, up to rounding. An epoch
takes as long whatever the number of epochs, so a few are enough to time them.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from processes import COLUMNS, graph_of, network, problem_of
from scipy.sparse import csr_array
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch_geometric.nn import GCN

import deadgcn as dg
from deadgcn.gcn.build import build
from deadgcn.gcn.stripping import stripping_mask


def loop(configs: list[dg.Config], careful: bool = True, compiled: bool = False) -> dict[str, np.ndarray]:
    """Train one run as an experienced user would: normalise once, one evaluation forward pass per epoch.

    A loop that is not careful is a newcomer's: it normalises in every layer, uses masks, and evaluates in two
    passes. Torch may compile a careful one's. Returns `COLUMNS` ``[1, epochs]``, and `test_acc` ``[1]``.
    """
    config, graph = configs[0], graph_of(configs[0].dataset)
    x, edges, y = graph.x, graph.edge_index, graph.y
    masks = graph.train_mask, graph.val_mask, graph.test_mask
    train_nodes, val_nodes, test_nodes = (m.nonzero().flatten() if careful else m for m in masks)
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
        for _ in range(1 if careful else 2):  # for the accuracy, and for the dead neurons
            acc, dead = evaluate(model, x, edges, y, val_nodes)
        history.add(epoch, acc, dead)
    return history.result() | {"test_acc": _evaluate(model, x, edges, y, test_nodes)[0].numpy()}


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


def func(configs: list[dg.Config], products: str = "torch") -> dict[str, np.ndarray]:
    """Train runs side by side by `vmap`, with sparse products of torch or SciPy in an autograd function.

    Returns `COLUMNS` ``[R, epochs]``, and `test_acc` ``[R]``.
    """
    config, (graph, nodes, *matrices) = configs[0], problem_of(configs[0].dataset)
    train_nodes, val_nodes, test_nodes = (torch.from_numpy(each) for each in nodes)
    pairs = [(_times(matrix, products), _times(matrix.T.tocsr(), products)) for matrix in matrices]
    forward = partial(network, torch, torch.relu, [partial(_Product.apply, pair) for pair in pairs])

    def loss(parameters: list[Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        (of_train, of_val), dead = forward(parameters, train_nodes, val_nodes)
        acc = (of_val.argmax(1) == graph.y[val_nodes]).float().mean()
        return cross_entropy(of_train, graph.y[train_nodes]), (acc, dead)

    gradient_of = torch.vmap(torch.func.grad(loss, has_aux=True))
    model = build(configs, graph).requires_grad_(False)
    parameters = list(model.parameters())  # each [R, ...]
    optimizer = torch.optim.Adam(parameters, config.lr, weight_decay=config.weight_decay, fused=True)
    history = History(config, parameters, model.weights)
    gradients, _ = gradient_of(parameters)
    for epoch in range(config.epochs):
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.contiguous()  # the fused step ignores strides
        optimizer.step()
        if config.strip:
            history.add(epoch, *torch.vmap(loss)(parameters)[1])
            gradients, _ = gradient_of(parameters)
        else:  # one forward pass evaluates and starts the next epoch
            gradients, evaluated = gradient_of(parameters)
            history.add(epoch, *evaluated)
    columns = history.result()
    (logits,), _ = torch.vmap(lambda best: forward(best, test_nodes))(parameters)
    return columns | {"test_acc": (logits.argmax(2) == graph.y[test_nodes]).float().mean(1).numpy()}


class History:
    """At the end of an epoch: note, remember the best of the parameters ``[R, ...]``, strip the weights."""

    def __init__(self, config: dg.Config, parameters: Sequence[Tensor], weights: Sequence[Tensor]) -> None:
        self.config, self.parameters, self.weights = config, parameters, weights
        self.best, self.best_acc = [each.clone() for each in parameters], torch.full((len(weights[0]),), -1.0)
        self.rows: list[tuple[Tensor, ...]] = []

    @torch.no_grad()
    def add(self, epoch: int, acc: Tensor, dead: Tensor) -> None:
        """Note an epoch's accuracies ``[R]`` and dead neurons ``[R, L, d]``, and strip where it is due."""
        stripped = torch.zeros(len(acc), dtype=torch.int64)
        if epoch >= self.config.warmup:
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


class _Product(torch.autograd.Function):
    """A sparse matrix times ``h [n, d]``; `both` are functions that multiply by it and by its transpose."""

    @staticmethod
    def forward(both: tuple[Callable, Callable], h: Tensor) -> Tensor:
        return both[0](h)

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        ctx.both = inputs[0]

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[None, Tensor]:
        return None, _Product.apply(ctx.both[::-1], grad)

    @staticmethod
    def vmap(info, in_dims: tuple, both: tuple[Callable, Callable], h: Tensor) -> tuple[Tensor, int]:
        return torch.stack([both[0](one) for one in h.movedim(in_dims[1], 0)]), 0


def _times(matrix: csr_array, products: str) -> Callable[[Tensor], Tensor]:
    if products == "SciPy":
        return lambda h: torch.from_numpy(matrix @ h.numpy())
    parts = (torch.from_numpy(part) for part in (matrix.indptr, matrix.indices, matrix.data))
    return torch.sparse_csr_tensor(*parts, matrix.shape, check_invariants=False).matmul
