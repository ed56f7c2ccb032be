"""The loop: trains runs that differ only in their seed, side by side, and measures them.

One epoch: loss and step, then one evaluation of the new weights gives validation accuracy and the dead
neurons of every layer, then the best state is remembered (ties: earliest), then dead neurons are stripped.
Without dropout that evaluation is also the next epoch's training forward unless something was stripped.
"""

from collections.abc import Sequence
from functools import cache

import torch
from scipy.sparse.csgraph import reverse_cuthill_mckee
from torch import Tensor
from torch.nn import functional as F
from torch_geometric.data import Data
from torch_geometric.transforms import NormalizeFeatures
from torch_geometric.utils import to_scipy_sparse_matrix

from deadgcn.config import Config
from deadgcn.data.graphs import load_graph, normalized_adjacency
from deadgcn.gcn.engine import Workspace
from deadgcn.gcn.model import GCN
from deadgcn.gcn.neurons import dead_mask
from deadgcn.gcn.records import accuracy, losses_and_gradient, measure, node_numbers, result
from deadgcn.gcn.stripping import strip_dead_neurons_

# A vector register's worth: every run's parameters then meet the optimiser at the same alignment, so its
# rounding cannot depend on how many runs there are.
ALIGNMENT = 64


@torch.no_grad()  # the backward pass is the engine's own
def train(configs: Sequence[Config], graph: Data | None = None, device: str = "auto") -> list[dict]:
    """Train runs side by side.

    Args:
        configs: one per run; they may differ in ``seed`` only (and in ``method``, which is a label).
        graph: trains on this instead of ``load_graph(config.dataset)``.
        device: ``"cpu"``, ``"cuda"`` or ``"auto"`` (CUDA where there is one).

    Returns:
        For each run a dictionary: ``run`` (numbers), ``epochs`` (name -> array over epochs), ``layers``
        (``(stage, name)`` -> array over the L layers, for the stages ``init``, ``best`` and ``last``) and
        ``best_state`` (:meth:`GCN.run_state_dict` of the model that was best on validation).

        ``last`` is the model after the last strip; ``best`` the one before its epoch's strip, unless
        ``best_kept`` says otherwise. In ``epochs``,
        ``train_loss`` is that of the weights the epoch began with; ``val_acc`` and ``dead_fraction`` are
        those after its step, before its strip.

        A run diverges in the first epoch whose loss, or whose logits after the step, are not finite:
        ``diverged_epoch`` in ``run`` (None if it never does). From there on nothing of it counts: what
        would be measured is missing (NaN), and so is the ``best`` model if none was kept before, with
        ``best_epoch`` None. Its neighbours are not touched.
    """
    config = _shared_settings(configs)
    use_one_thread()
    device = resolve_device(device)
    where = device, config.normalize_features, config.adjacency
    graph, adj = _prepared(config.dataset, *where) if graph is None else _on_device(graph, *where)
    model = _build(configs, graph).to(device)
    values = _flatten_(model)  # [R, P]
    passes = Workspace(model, graph.x, adj)
    init = measure(passes, graph, config.dead_threshold)
    history, best, *epochs = _loop(passes, values, graph, config)
    last = measure(passes, graph, config.dead_threshold)
    values.copy_(best)
    stages = {"init": init, "best": measure(passes, graph, config.dead_threshold), "last": last}
    return [result(run, model, history, stages, *epochs) for run in range(len(configs))]


def use_one_thread() -> None:
    """Compute with one thread and flush denormals to zero, both in the calling thread.

    With several threads the matrix library splits sums differently for one run than for ten; parallelism
    comes from processes instead. Deep untrained layers underflow, and denormals would make them crawl.
    """
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


def resolve_device(device: str) -> torch.device:
    """Return the device that ``"auto"``, ``"cpu"`` or ``"cuda"`` means here; ValueError if there is none."""
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device must be 'auto', 'cpu' or 'cuda', but {device!r} was passed")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device 'cuda' was asked for, but torch finds none here; 'auto' takes the CPU then")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


def _shared_settings(configs: Sequence[Config]) -> Config:
    shared = {tuple(c.model_dump(exclude={"seed", "method"}).items()) for c in configs}
    if len(shared) != 1:
        raise ValueError(f"runs side by side may differ in seed only, but got {len(shared)} settings")
    return configs[0]


@cache
def _prepared(
    dataset: str, device: torch.device, normalize_features: bool, adjacency: str
) -> tuple[Data, Tensor]:
    return _on_device(load_graph(dataset), device, normalize_features, adjacency)


def _on_device(
    graph: Data, device: torch.device, normalize_features: bool, adjacency: str
) -> tuple[Data, Tensor]:
    # Neighbours near each other in memory make the sparse product faster; no result names a node.
    links = to_scipy_sparse_matrix(graph.edge_index, num_nodes=graph.num_nodes).tocsr()
    order = reverse_cuthill_mckee(links, symmetric_mode=True).astype("int64")
    graph = graph.subgraph(torch.from_numpy(order))
    if normalize_features:
        graph = NormalizeFeatures()(graph)
    # Without edges only the self-loops are left. The measures of smoothing keep the graph's edges.
    edges = graph.edge_index[:, : None if adjacency == "normalized" else 0]
    adj = normalized_adjacency(edges, graph.num_nodes)
    return graph.to(device), adj.to(device)


def _build(configs: Sequence[Config], graph: Data) -> GCN:
    config = configs[0]
    return GCN(
        graph.num_features,
        config.hidden_channels,
        int(graph.y.max()) + 1,
        config.num_layers,
        act=config.act,
        negative_slope=config.negative_slope,
        bias=config.bias,
        dropout=config.dropout,
        input_dropout=config.input_dropout,
        seeds=[c.seed for c in configs],
    )


def _flatten_(model: GCN) -> Tensor:
    """Move all parameters into one tensor ``[R, P]``, of which they become views, and return it.

    The optimiser then takes one step for everything, and keeping the best state is one operation.
    """
    parameters = list(model.parameters())  # each [R, ...]
    flat = torch.cat([p.detach().flatten(1) for p in parameters], dim=1)
    flat = F.pad(flat, (0, -flat.shape[1] % ALIGNMENT))
    flat.grad = torch.zeros_like(flat)
    for parameter, view in zip(parameters, _views(flat, parameters), strict=True):
        parameter.data = view
    return flat


def _views(flat: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
    """Views of ``flat [R, P]`` in the shapes of the parameters, each ``[R, ...]``."""
    sizes = [parameter[0].numel() for parameter in parameters]
    parts = flat[:, : sum(sizes)].split(sizes, dim=1)
    return [part.unflatten(1, p.shape[1:]) for part, p in zip(parts, parameters, strict=True)]


def _loop(
    passes: Workspace, values: Tensor, graph: Data, config: Config
) -> tuple[dict[str, Tensor], Tensor, Tensor, Tensor]:
    """Train in place; return histories ``[epochs, R]``, the best parameters ``[R, P]`` and their epochs.

    Last come the epochs in which runs diverged, ``[R]`` like the best ones; -1 stands for never.
    """
    model = passes.model
    gradients = _views(values.grad, list(model.parameters()))
    decayed = _first_layer(model) if config.weight_decay_on == "first" else []
    decay = 0.0 if config.weight_decay_on == "first" else config.weight_decay
    optimizer = torch.optim.Adam([values], lr=config.lr, weight_decay=decay, fused=True)
    train_nodes, val_nodes = node_numbers(graph.train_mask), node_numbers(graph.val_mask)
    has_dropout = bool(config.dropout or config.input_dropout)
    # NaN until there is one: a run that diverges at once has no best model.
    best, best_acc = torch.full_like(values, torch.nan), values.new_full((len(values),), -1.0)  # [R, P], [R]
    best_epoch = torch.full_like(best_acc, -1, dtype=torch.int64)
    diverged_epoch, gone = best_epoch.clone(), best_epoch >= 0  # gone: whether a run has diverged, [R]
    history, logits = [], None
    for epoch in range(config.epochs):
        if logits is None:
            model.train()
            logits = passes.forward()
        losses, of_logits = losses_and_gradient(
            logits[:, train_nodes], graph.y[train_nodes]
        )  # [R], [R, n, C]
        for view, gradient in zip(gradients, passes.backward(of_logits, train_nodes), strict=True):
            view.copy_(gradient)
        for place, parameter in decayed:
            gradients[place].add_(parameter, alpha=config.weight_decay)
        optimizer.step()

        model.eval()
        logits = passes.forward()
        acc = accuracy(logits, graph.y, val_nodes)  # [R]
        losses = losses.masked_fill(gone, torch.nan)
        gone = gone | acc.isnan() | ~losses.isfinite()
        diverged_epoch = torch.where(gone & (diverged_epoch < 0), epoch, diverged_epoch)
        values.masked_fill_(gone[:, None], torch.nan)  # for good, even if it would have come back
        acc = acc.masked_fill(gone, torch.nan)
        dead = [dead_mask(post, config.dead_threshold) for post in passes.activations]  # L times [R, d]
        stripped = torch.zeros_like(best_epoch)  # [R]
        other_pass = has_dropout  # whether the next epoch needs a forward pass of its own
        if config.counts(epoch):
            improved = acc > best_acc
            best_acc, best_epoch = acc.where(improved, best_acc), best_epoch.masked_fill(improved, epoch)
            if config.best_kept == "before strip":
                torch.where(improved[:, None], values, best, out=best)
            if config.strip:
                stripped = _strip_(passes, dead, val_nodes, config)
                # Asking a GPU whether anything was stripped would make the processor wait for it.
                other_pass = other_pass or stripped.is_cuda or bool(stripped.any())
            if config.best_kept == "after strip":
                torch.where(improved[:, None], values, best, out=best)
        if other_pass:
            logits = None
        history.append((losses, acc, _mean_over_layers(dead, acc), stripped))
    names = ("train_loss", "val_acc", "dead_fraction", "num_stripped")
    columns = zip(*history, strict=True)
    history = {name: torch.stack(column) for name, column in zip(names, columns, strict=True)}
    return history, best, best_epoch, diverged_epoch


def _first_layer(model: GCN) -> list[tuple[int, Tensor]]:
    """The first layer's weight and bias, and their places in ``model.parameters()``."""
    weight, bias = model.convolution(0) if model.num_layers else (model.head_weight, model.head_bias)
    return [
        (place, p) for place, p in enumerate(model.parameters()) if any(p is own for own in (weight, bias))
    ]


def _mean_over_layers(dead: list[Tensor], acc: Tensor) -> Tensor:
    """Share of all hidden neurons that are dead, ``[R]``, float64; missing at depth 0, and where acc is."""
    shares = torch.stack(dead).double().mean((0, 2)) if dead else torch.full_like(acc, torch.nan).double()
    return shares.masked_fill(acc.isnan(), torch.nan)


def _strip_(passes: Workspace, dead: list[Tensor], val_nodes: Tensor, config: Config) -> Tensor:
    if config.death_nodes == "val":
        dead = [dead_mask(post[:, val_nodes], config.dead_threshold) for post in passes.activations]
    options = (config.amount, config.among, config.rounding, config.replacement)
    return strip_dead_neurons_(passes.model, dead, *options)
