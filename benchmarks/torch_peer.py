"""The same training by `torch.func`: runs side by side by `vmap`, sparse products in an autograd function.

The products are torch's or SciPy's.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from loops import History
from processes import matrices_of
from scipy.sparse import csr_array
from torch import Tensor
from torch.nn.functional import cross_entropy

import deadgcn as dg
from deadgcn.gcn.build import build


def train(configs: Sequence[dg.Config], products: str = "torch") -> dict[str, np.ndarray]:
    """Train runs that differ in their seed; return `COLUMNS` ``[R, epochs]``, and `test_acc` ``[R]``."""
    config, (graph, *matrices) = configs[0], matrices_of(configs[0].dataset)
    by_adj, by_features = ((_times(m, products), _times(m.T.tocsr(), products)) for m in matrices)
    masks = graph.train_mask, graph.val_mask, graph.test_mask
    train_nodes, val_nodes, test_nodes = (mask.nonzero().flatten() for mask in masks)

    def network(parameters: list[Tensor], *nodes: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return one run's logits at each of some nodes [n, C], and its dead neurons [L, d]."""
        head_weight, head_bias, *layers = parameters
        h, dead = None, []
        for weight, bias in zip(layers[: len(layers) // 2], layers[len(layers) // 2 :], strict=True):
            product = _Product.apply(by_features, weight.T) if h is None else h @ weight.T
            h = (_Product.apply(by_adj, product) + bias).relu()  # [N, d]
            dead.append(h.amax(0) == 0)
        return [h[each] @ head_weight.T + head_bias for each in nodes], torch.stack(dead)

    def loss(parameters: list[Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        (of_train, of_val), dead = network(parameters, train_nodes, val_nodes)
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
    (logits,), _ = torch.vmap(lambda best: network(best, test_nodes))(parameters)
    correct = logits.argmax(2) == graph.y[test_nodes]
    return columns | {"test_acc": correct.float().mean(1).numpy()}


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
    csr = torch.sparse_csr_tensor(*parts, matrix.shape, check_invariants=False)
    return lambda h: csr @ h
