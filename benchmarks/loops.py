"""The same training as people write it with PyTorch Geometric: one run after another, autograd, its own GCN.

Both loops give the numbers of :func:`deadgcn.gcn.training.train` (a test compares them, epoch by epoch), from the
same start weights, for ReLU networks without and with pruning by the code's rule. Their time per epoch does
not depend on how many epochs there are, so a few are enough to time them.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch_geometric.data import Data
from torch_geometric.nn import GCN

import deadgcn.gcn.model
from deadgcn.config import Config


def careful_loop(config: Config, graph: Data) -> dict:
    """Train one run as a careful user would: normalise once, evaluate with one forward and no gradients.

    Returns ``run`` and ``epochs`` as :func:`deadgcn.gcn.training.train` does, with the entries that both have.
    """
    model, optimizer = _start(config, graph, cached=True)
    train_nodes, val_nodes = (mask.nonzero().flatten() for mask in (graph.train_mask, graph.val_mask))
    best, history = (-1.0, None, None), []
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
        acc = (predicted == graph.y[val_nodes]).float().mean().item()
        dead = torch.stack(dead)  # [L, d]
        best, stripped = _keep_best_and_strip_(model, config, epoch, acc, dead, best, _strip_rows_)
        history.append((acc, dead.double().mean().item(), stripped))
    return _result(model, graph, best, history)


def plain_loop(config: Config, graph: Data) -> dict:
    """Train one run as a newcomer would: the normalisation anew in each layer, hooks and masks each epoch.

    Returns the same as :func:`careful_loop`.
    """
    model, optimizer = _start(config, graph, cached=False)
    best, history, losses = (-1.0, None, None), [], []
    for epoch in range(config.epochs):
        model.train()
        optimizer.zero_grad()
        logits = model(graph.x, graph.edge_index)
        loss = cross_entropy(logits[graph.train_mask], graph.y[graph.train_mask])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

        model.eval()
        dead = [(post == 0).all(0) for post in _activations_by_hooks(model, graph)]
        with torch.no_grad():
            predicted = model(graph.x, graph.edge_index).argmax(1)
        acc = (predicted[graph.val_mask] == graph.y[graph.val_mask]).float().mean().item()
        best, stripped = _keep_best_and_strip_(model, config, epoch, acc, dead, best, _strip_one_by_one_)
        history.append((acc, torch.stack(dead).double().mean().item(), stripped))
    return _result(model, graph, best, history)


def _start(config: Config, graph: Data, cached: bool) -> tuple[GCN, torch.optim.Adam]:
    """PyTorch Geometric's network with the start weights that the engine gives this seed."""
    channels = graph.num_features, config.hidden_channels
    classes = int(graph.y.max()) + 1
    ours = deadgcn.gcn.model.GCN(*channels, classes, config.num_layers, seeds=(config.seed,))
    model = GCN(*channels, config.num_layers, classes, jk="last", cached=cached)
    model.load_state_dict(ours.run_state_dict(0))
    return model, torch.optim.Adam(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)


@torch.no_grad()
def _activations_by_hooks(model: GCN, graph: Data) -> list[Tensor]:
    posts = []
    hooks = [
        conv.register_forward_hook(lambda _, __, out: posts.append(out.relu()))  # [N, d]
        for conv in model.convs
    ]
    model(graph.x, graph.edge_index)
    for hook in hooks:
        hook.remove()
    return posts


def _keep_best_and_strip_(
    model: GCN,
    config: Config,
    epoch: int,
    acc: float,
    dead: Tensor | list[Tensor],
    best: tuple,
    strip_layer_: Callable,
) -> tuple[tuple, int]:
    """End an epoch: return the best (accuracy, epoch, state) so far and the number of weights stripped."""
    if not config.counts(epoch):
        return best, 0
    if acc > best[0]:
        best = acc, epoch, copy.deepcopy(model.state_dict())
    return best, _strip_(model, dead, config.amount, strip_layer_) if config.strip else 0


@torch.no_grad()
def _strip_(model: GCN, dead: Tensor | list[Tensor], amount: float, strip_layer_: Callable) -> int:
    """Strip every layer's dead neurons ``[d]``; return the number of weights changed."""
    return sum(
        strip_layer_(conv.lin.weight, mask, amount)
        for conv, mask in zip(model.convs, dead, strict=True)
        if mask.any()
    )


def _strip_rows_(weight: nn.Parameter, dead: Tensor, amount: float) -> int:
    rows = weight[dead]  # [n, d_in]
    negative = (rows < 0).sum(1, keepdim=True)  # [n, 1]
    number = (amount * negative.double()).floor().clamp(min=1).minimum(negative)
    chosen = rows.argsort(1).argsort(1) < number  # by rank, the most negative first
    weight[dead] = rows.masked_fill(chosen, 0.0)
    return int(chosen.sum())


def _strip_one_by_one_(weight: nn.Parameter, dead: Tensor, amount: float) -> int:
    count = 0
    for neuron in dead.nonzero().flatten().tolist():
        row = weight[neuron]  # [d_in]
        negative = (row < 0).nonzero().flatten()
        number = max(1, int(amount * len(negative)))
        chosen = negative[row[negative].argsort()[:number]]
        row[chosen] = 0.0
        count += len(chosen)
    return count


@torch.no_grad()
def _result(model: GCN, graph: Data, best: tuple[float, int, dict], history: list[tuple]) -> dict:
    _, epoch, state = best
    model.load_state_dict(state)
    correct = model.eval()(graph.x, graph.edge_index).argmax(1) == graph.y
    test_acc = correct[graph.test_mask].float().mean().item()
    names = ("val_acc", "dead_fraction", "num_stripped")
    epochs = dict(zip(names, map(list, zip(*history, strict=True)), strict=True))
    return {"run": {"best_epoch": epoch, "test_acc": test_acc}, "epochs": epochs}
