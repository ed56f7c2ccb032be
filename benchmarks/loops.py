"""The same training as people write it with PyTorch Geometric: one run after another, autograd, its own GCN.

Both loops start from the engine's initial weights and give its numbers, epoch by epoch, up to rounding; a
test compares them. They cover ReLU networks with and without stripping. Their time per epoch does not depend
on the number of epochs, so a few epochs are enough to time them.
"""

import copy

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch_geometric.data import Data
from torch_geometric.nn import GCN

import deadgcn as dg


def careful_loop(config: dg.Config, graph: Data) -> dict[str, list | float]:
    """Train one run as an experienced user would: normalise once, one evaluation forward pass per epoch.

    Returns the lists `val_acc`, `dead_fraction` and `num_stripped`, an entry per epoch, and `test_acc`.
    """
    model, optimizer = _start(config, graph, cached=True)
    train_nodes, val_nodes = (mask.nonzero().flatten() for mask in (graph.train_mask, graph.val_mask))
    history = _History(config)
    for epoch in range(config.epochs):
        optimizer.zero_grad()
        logits = model(graph.x, graph.edge_index)
        cross_entropy(logits[train_nodes], graph.y[train_nodes]).backward()
        optimizer.step()
        with torch.no_grad():
            h, dead = graph.x, []
            for conv in model.convs:
                h = conv(h, graph.edge_index).relu_()  # [N, d]
                dead.append(h.amax(0) == 0)
            predicted = model.lin(h[val_nodes]).argmax(1)
        history.add(model, epoch, predicted == graph.y[val_nodes], dead)
    return history.result(model, graph)


def plain_loop(config: dg.Config, graph: Data) -> dict[str, list | float]:
    """Train one run as a newcomer would: normalise in every layer, read activations by hooks, use masks.

    Returns the same as :func:`careful_loop`.
    """
    model, optimizer = _start(config, graph, cached=False)
    history = _History(config)
    for epoch in range(config.epochs):
        model.train()
        optimizer.zero_grad()
        logits = model(graph.x, graph.edge_index)
        loss = cross_entropy(logits[graph.train_mask], graph.y[graph.train_mask])
        loss.backward()
        optimizer.step()
        loss.item()
        model.eval()
        posts = _activations_by_hooks(model, graph)
        with torch.no_grad():
            predicted = model(graph.x, graph.edge_index).argmax(1)
        correct = (predicted == graph.y)[graph.val_mask]
        history.add(model, epoch, correct, [(post == 0).all(0) for post in posts])
    return history.result(model, graph)


def _start(config: dg.Config, graph: Data, cached: bool) -> tuple[GCN, torch.optim.Adam]:
    channels, classes = (graph.num_features, config.hidden_channels), int(graph.y.max()) + 1
    ours = dg.GCN(*channels, classes, config.num_layers, seeds=(config.seed,))
    model = GCN(*channels, config.num_layers, classes, jk="last", cached=cached)
    model.load_state_dict(ours.run_state_dict(0))
    return model, torch.optim.Adam(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)


@torch.no_grad()
def _activations_by_hooks(model: GCN, graph: Data) -> list[Tensor]:
    posts = []
    hooks = [conv.register_forward_hook(lambda _, __, out: posts.append(out.relu())) for conv in model.convs]
    model(graph.x, graph.edge_index)
    for hook in hooks:
        hook.remove()
    return posts


class _History:
    """What both loops do at the end of an epoch: note, remember the best model, strip."""

    def __init__(self, config: dg.Config):
        self.config, self.best = config, (-1.0, None)  # accuracy, state
        self.epochs: dict[str, list] = {"val_acc": [], "dead_fraction": [], "num_stripped": []}

    def add(self, model: GCN, epoch: int, correct: Tensor, dead: list[Tensor]) -> None:
        acc, stripped = correct.float().mean().item(), 0
        if self.config.counts(epoch):
            if acc > self.best[0]:
                self.best = acc, copy.deepcopy(model.state_dict())
            if self.config.strip:
                pairs = zip(model.convs, dead, strict=True)
                stripped = sum(_strip_(conv.lin.weight, mask, self.config.amount) for conv, mask in pairs)
        share = torch.stack(dead).double().mean().item()
        for name, value in zip(self.epochs, (acc, share, stripped), strict=True):
            self.epochs[name].append(value)

    @torch.no_grad()
    def result(self, model: GCN, graph: Data) -> dict[str, list | float]:
        model.load_state_dict(self.best[1])
        correct = model.eval()(graph.x, graph.edge_index).argmax(1) == graph.y
        return self.epochs | {"test_acc": correct[graph.test_mask].float().mean().item()}


@torch.no_grad()
def _strip_(weight: Tensor, dead: Tensor, amount: float) -> int:
    """Strip the dead neurons of a layer by the code's rule; return the number of weights changed."""
    if not dead.any():
        return 0
    rows = weight[dead]  # [n, d_in]
    negative = (rows < 0).sum(1, keepdim=True)  # [n, 1]
    number = (amount * negative.double()).floor().clamp(min=1).minimum(negative)
    chosen = rows.argsort(1).argsort(1) < number  # by rank, the most negative first
    weight[dead] = rows.masked_fill(chosen, 0.0)
    return int(chosen.sum())
