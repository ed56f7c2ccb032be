"""The training loop: runs that differ only in their seed, side by side.

One epoch: loss and step; one evaluation of the new weights, which gives validation accuracy and the dead
neurons of every layer; the best state is remembered (ties: earliest); dead neurons are stripped. Without
dropout, that evaluation is also the next epoch's training forward unless something was stripped.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F
from torch_geometric.data import Data
from torch_geometric.utils import mask_to_index

from deadgcn.config import Config
from deadgcn.data.own import Content, checked
from deadgcn.gcn.build import build, prepared
from deadgcn.gcn.engine import Passes
from deadgcn.gcn.interventions import Intervention
from deadgcn.gcn.model import GCN
from deadgcn.gcn.neurons import dead_mask
from deadgcn.gcn.records import Evaluation, accuracy, evaluate, measure, result

# A vector register's worth: every run's parameters then meet the optimiser at the same alignment, so its
# rounding cannot depend on how many runs there are.
ALIGNMENT = 64


@contextmanager
def same_rounding() -> Iterator[None]:
    """Compute with one thread, in float32, with denormals flushed to zero, whatever the caller has set.

    With several threads the matrix library splits sums differently for one run than for ten. Deep untrained
    layers underflow, and denormals would double their cost. Afterwards the caller's settings are back.
    """
    tiny = torch.tensor(1e-20, dtype=torch.float32, device="cpu")
    needed = {  # of each setting: what it was, and what it must be
        torch.set_num_threads: (torch.get_num_threads(), 1),
        torch.set_flush_denormal: ((tiny * tiny).item() == 0, True),  # 1e-40 is a denormal
        torch.set_default_dtype: (torch.get_default_dtype(), torch.float32),
        torch.set_float32_matmul_precision: (torch.get_float32_matmul_precision(), "highest"),
    }
    elsewhere = torch.get_default_device().type != "cpu"
    try:
        for change, (_, value) in needed.items():
            change(value)
        with torch.inference_mode(False), torch.autocast("cpu", enabled=False):
            with torch.device("cpu") if elsewhere else nullcontext():
                yield
    finally:
        for change, (before, _) in needed.items():
            change(before)


@same_rounding()
@torch.no_grad()  # the backward pass is the engine's own
def train(configs: Sequence[Config], graph: Data | Content | None = None, device: str = "auto") -> list[dict]:
    """Train runs side by side.

    Args:
        configs: one per run; they may differ in ``seed`` only (and in ``method``, which is a label).
        graph: trains on this instead of ``load_graph(config.dataset)``; :func:`deadgcn.data.own.checked`
            says what is legal.
        device: ``"cpu"``, ``"cuda"`` or ``"auto"`` (CUDA where there is one).

    Returns:
        For each run a dictionary: ``run`` (numbers), ``epochs`` (name -> array over epochs), ``init``,
        ``best`` and ``last`` (name -> array over the L layers) and ``best_state``
        (:meth:`GCN.run_state_dict` of the model that was best on validation).

        ``last`` is the model after the last strip; ``best`` the one before its epoch's strip. ``train_loss``
        is that of the weights an epoch began with; ``val_acc`` and ``dead_fraction`` are measured after its
        step and before its strip. From ``diverged_epoch`` on, whose loss or logits are not finite (None:
        never), numbers are NaN.

    Raises ``ValueError`` for configs that differ in more than seed and method, or a device not there.
    """
    if not configs or not all(isinstance(config, Config) for config in configs):
        raise ValueError(f"configs must be a list of Config, at least one, but {configs!r} was passed")
    settings = {config.model_copy(update={"seed": 0, "method": "-"}) for config in configs}
    if len(settings) != 1:
        raise ValueError(f"runs side by side may differ in seed only, but got {len(settings)} settings")
    (config,) = settings
    device = resolve_device(device)
    if graph is not None and not isinstance(graph, Content):
        checked(graph, config.split)
        graph = Content.of(graph)  # by content: the caller may change a graph between two trainings
    where = config.split, device, config.normalize_features, config.propagation
    graph, adj, structure = prepared(graph or config.dataset, *where)
    # The donors of a sham, stripped runs of the same seeds, stand before it.
    model = build([*configs, *configs] if config.intervention == "sham" else configs, graph).to(device)
    values = _flatten_(model)  # [R, P]
    passes = Passes(model, graph.x, adj)
    measured = partial(measure, passes, graph, structure, config.dead_threshold)
    stages: dict[str, dict] = {}
    first, stages["init"] = measured()
    history, logits, best, *epochs = _loop(passes, values, graph, config, first)
    _, stages["last"] = measured(logits)
    values.copy_(best)
    _, stages["best"] = measured()
    return [result(run, model, history, stages, *epochs) for run in range(len(values))[-len(configs) :]]


def resolve_device(device: str) -> torch.device:
    """Return the device that ``"auto"``, ``"cpu"`` or ``"cuda"`` means here; ValueError if there is none."""
    legal = ("auto", "cpu", "cuda") if torch.cuda.is_available() else ("auto", "cpu")
    if device not in legal:
        raise ValueError(f"device must be one of {legal} on this machine, but {device!r} was passed")
    return torch.device("cpu" if device == "cpu" or "cuda" not in legal else "cuda")


def _flatten_(model: GCN) -> Tensor:
    """Return one tensor ``[R, P]`` of which all parameters are views, as their gradients are of its gradient.

    The optimiser then takes one step for everything, and keeping the best state is one operation.
    """
    parameters = list(model.parameters())  # each [R, ...]
    flat = torch.cat([p.detach().flatten(1) for p in parameters], dim=1)
    flat = F.pad(flat, (0, -flat.shape[1] % ALIGNMENT))
    flat.grad = torch.zeros_like(flat)
    start = 0
    for parameter in parameters:
        place = slice(start, start + parameter[0].numel())
        parameter.data = flat[:, place].view(parameter.shape)
        parameter.grad = flat.grad[:, place].view(parameter.shape)
        start = place.stop
    return flat


def _loop(
    passes: Passes, values: Tensor, graph: Data, config: Config, first: Evaluation
) -> tuple[dict[str, Tensor], Tensor | None, Tensor, Tensor, Tensor]:
    """Train in place, given the evaluation of the initial weights.

    Returns histories ``[epochs, R]``, the logits of the last weights if they are known, the best parameters
    ``[R, P]``, their epochs ``[R]``, and the epochs ``[R]`` in which runs diverged; -1 means never.
    """
    train_nodes, val_nodes = mask_to_index(graph.train_mask), mask_to_index(graph.val_mask)
    decay = config.weight_decay if config.weight_decay_on == "all" else 0.0
    kind = torch.optim.AdamW if config.decoupled else torch.optim.Adam
    optimizer = kind([values], lr=config.lr, weight_decay=decay, fused=True)
    intervention = Intervention(passes, optimizer, config)
    best = torch.full_like(values, torch.nan)  # a run that diverges at once has no best model
    best_acc = values.new_full((len(values),), -1.0)  # [R]
    best_epoch = torch.full_like(best_acc, -1, dtype=torch.int64)  # [R]
    diverged_epoch, history, (logits, losses, gradients) = best_epoch.clone(), [], first
    drops = config.dropout or config.input_dropout
    for epoch in range(config.epochs):
        if epoch > 0 or drops:
            passes.model.train()
            _, losses, gradients = evaluate(passes, graph.y, train_nodes, None if drops else logits)
        _set_gradients_(passes.model, gradients, config)
        optimizer.step()
        intervention.after_step_()

        passes.model.eval()
        logits = passes.forward()
        acc = accuracy(logits, graph.y, val_nodes)  # [R]
        losses = losses.masked_fill(diverged_epoch >= 0, torch.nan)
        diverges = (diverged_epoch < 0) & (acc.isnan() | ~losses.isfinite())
        diverged_epoch = diverged_epoch.masked_fill(diverges, epoch)
        gone = diverged_epoch >= 0
        values.masked_fill_(gone[:, None], torch.nan)  # for good, even if it would have come back
        acc = acc.masked_fill(gone, torch.nan)

        dead = [dead_mask(post, config.dead_threshold) for post in passes.activations]  # L times [R, d]
        stripped = torch.zeros_like(best_epoch)  # [R]
        if epoch >= config.warmup:
            improved = acc > best_acc  # of equal epochs the earliest is best
            best_acc = acc.where(improved, best_acc)
            best_epoch = best_epoch.masked_fill(improved, epoch)
            torch.where(improved[:, None], values, best, out=best)
            if config.strip or config.intervention != "none":
                judged = dead
                if config.death_nodes == "val":
                    parts = (post[:, val_nodes] for post in passes.activations)
                    judged = [dead_mask(part, config.dead_threshold) for part in parts]
                stripped = intervention.after_epoch_(judged)
        # Asking a GPU whether anything was stripped would make the processor wait for it.
        if stripped.is_cuda or stripped.any() or diverges.any():
            logits = None  # they are outdated
        dead = torch.stack(dead or [acc.new_zeros(len(acc), 0)]).double()  # [L, R, d]; no mean at depth 0
        history.append((losses, acc, dead.mean((0, 2)).masked_fill(gone, torch.nan), stripped))
    names = ("train_loss", "val_acc", "dead_fraction", "num_stripped")
    columns = [torch.stack(column) for column in zip(*history, strict=True)]  # each [epochs, R]
    return dict(zip(names, columns, strict=True)), logits, best, best_epoch, diverged_epoch


def _set_gradients_(model: GCN, gradients: list[Tensor], config: Config) -> None:
    """Set the gradients to those of the losses, plus the weight decay that only the first layer has."""
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        parameter.grad.copy_(gradient)
    if config.weight_decay_on == "first":
        first_layer = model.convolution(0) if model.num_layers else (model.head_weight, model.head_bias)
        for parameter in first_layer:
            if parameter is not None and config.decoupled:
                parameter.mul_(1 - config.lr * config.weight_decay)
            elif parameter is not None:
                parameter.grad.add_(parameter, alpha=config.weight_decay)
