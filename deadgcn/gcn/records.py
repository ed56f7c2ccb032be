"""What is recorded of a network: accuracies, and for every layer death, smoothing and the gradient."""

from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch_geometric.data import Data
from torch_geometric.utils import mask_to_index

from deadgcn.gcn.embeddings import Graph
from deadgcn.gcn.engine import Passes
from deadgcn.gcn.model import GCN
from deadgcn.gcn.neurons import zero_count
from deadgcn.gcn.smoothing import all_measures

LAYER_COLUMNS = """dirichlet_energy distance_to_mean norm normalized_dirichlet_energy rayleigh_quotient
    distance_to_limit relative_distance_to_mean mean_average_distance stable_rank effective_rank
    rank_one_distance constant dead_fraction zero_fraction weight_norm gradient_norm""".split()

# A layer is constant, its embeddings being the same at every node, if its relative distance to mean is below
# this. Over-smoothed embeddings are far above it: in a GCN's limit it is about 0.3 or more.
CONSTANT = 0.01

Evaluation = tuple[Tensor, Tensor, list[Tensor]]  # what `evaluate` returns


def losses_and_gradient(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy ``[R]`` of logits ``[R, n, C]`` with labels ``[n]``, and its gradient."""
    log_p = logits.log_softmax(-1)
    target = F.one_hot(y, logits.shape[-1]).to(log_p)  # [n, C]
    losses = -(log_p * target).sum(-1).mean(-1)
    return losses, (log_p.exp() - target) / len(y)


def evaluate(passes: Passes, y: Tensor, nodes: Tensor, logits: Tensor | None = None) -> Evaluation:
    """Logits ``[R, N, C]`` (the last pass's, if given), losses ``[R]`` of the nodes, and their gradients."""
    logits = passes.forward() if logits is None else logits
    losses, of_logits = losses_and_gradient(logits[:, nodes], y[nodes])
    return logits, losses, passes.backward(of_logits, nodes)


def accuracy(logits: Tensor, y: Tensor, nodes: Tensor) -> Tensor:
    """Share of the nodes that each run classifies right, ``[R]``; NaN where its logits are not all finite."""
    correct = (logits[:, nodes].argmax(-1) == y[nodes]).float().mean(-1)  # argmax of NaNs is a class, too
    return correct.where(_finite(logits), torch.nan)


def _finite(logits: Tensor) -> Tensor:
    """Whether all logits of a run are finite, ``[R]``; the extremes tell it faster than each would."""
    return logits.amax((1, 2)).isfinite() & logits.amin((1, 2)).isfinite()


def balanced_accuracy(logits: Tensor, y: Tensor, nodes: Tensor) -> Tensor:
    """Mean over the nodes' classes of the accuracy within each, ``[R]``: 1 / C for a constant answer."""
    members = F.one_hot(y[nodes])[:, y[nodes].unique()]  # [n, C]
    correct = (logits[:, nodes].argmax(-1) == y[nodes])[:, :, None] & members.bool()  # [R, n, C]
    shares = correct.sum(1) / members.sum(0).double()  # counts are exact, whatever the order of the runs
    return shares.mean(1).where(_finite(logits), torch.nan)


def measure(
    passes: Passes, graph: Data, structure: Graph, dead_threshold: float, logits: Tensor | None = None
) -> tuple[Evaluation, dict]:
    """Evaluate the present weights, without dropout, and record what is found.

    The record has ``test_acc``, ``val_acc`` and ``balanced_acc``, each ``[R]``, and ``layers``, a name ->
    array ``[R, L]``: the measures of :func:`deadgcn.all_measures`, ``constant`` (1 or 0, see
    :data:`CONSTANT`), ``dead_fraction``, ``zero_fraction``, and the Frobenius norms of the layer's weight and
    of the gradient of the training loss (without weight decay) with respect to it. The latter is exactly 0
    where no gradient arrives, or where float32 underflows. All are NaN where activations are not finite.
    """
    passes.model.eval()
    nodes = {part: mask_to_index(graph[f"{part}_mask"]) for part in ("train", "val", "test")}
    logits, losses, gradients = evaluate(passes, graph.y, nodes["train"], logits)
    return (logits, losses, gradients), {
        "test_acc": accuracy(logits, graph.y, nodes["test"]),
        "val_acc": accuracy(logits, graph.y, nodes["val"]),
        "balanced_acc": balanced_accuracy(logits, graph.y, nodes["test"]),
        "layers": _measure_layers(passes, gradients[2:], structure, dead_threshold),  # not the head's
    }


@torch.inference_mode()  # of many small operations, what is kept for autograd would be a tenth
def _measure_layers(passes: Passes, gradients: list[Tensor], structure: Graph, dead_threshold: float) -> dict:
    """The ``layers`` of :func:`measure`; the weights' gradients come first."""
    shape = len(LAYER_COLUMNS), len(passes.model.seeds), passes.model.num_layers
    # All in one tensor: thousands of small ones would pin the memory between them.
    table = passes.model.head_weight.new_full(shape, torch.nan, dtype=torch.float64)
    columns = dict(zip(LAYER_COLUMNS, table, strict=True))  # each [R, L]
    norms = partial(torch.linalg.vector_norm, dim=(1, 2), dtype=torch.float64)  # no square is 0
    for layer, post in enumerate(passes.activations):
        found = layer_measures(post, structure, dead_threshold)
        found["gradient_norm"] = norms(gradients[layer])
        found["weight_norm"] = norms(passes.model.weights[layer].detach())
        for name, values in found.items():
            columns[name][:, layer] = values
    return {name: values.cpu().numpy() for name, values in columns.items()}


def layer_measures(post: Tensor, structure: Graph, dead_threshold: float = 1.0) -> dict[str, Tensor]:
    """All measures of ``[..., N, d]``, constant, dead_fraction and zero_fraction, each ``[...]``."""
    found = all_measures(post, structure)
    zeros = zero_count(post)  # [..., d]; counted once for what `dead_fraction` and `zero_fraction` return
    found["dead_fraction"] = (zeros >= dead_threshold * post.shape[-2]).double().mean(-1)
    found["zero_fraction"] = zeros.mean(-1) / post.shape[-2]
    constant = (found["norm"] == 0) | (found["relative_distance_to_mean"] < CONSTANT)
    found["constant"] = constant.double()
    for name in ("constant", "dead_fraction", "zero_fraction"):  # NaN is not 0, so it would count as alive
        found[name].masked_fill_(~found["norm"].isfinite(), torch.nan)
    return found


def result(run: int, model: GCN, history: dict, stages: dict, best: Tensor, diverged: Tensor) -> dict:
    """Collect one run's numbers as plain numbers and NumPy arrays; the model holds the best state.

    `best` and `diverged` are epochs ``[R]``; -1 means never.
    """
    epochs = {"best_epoch": int(best[run]), "diverged_epoch": int(diverged[run])}
    numbers = {name: epoch if epoch >= 0 else None for name, epoch in epochs.items()}
    for suffix, stage in (("", stages["best"]), ("_last", stages["last"])):
        for name in ("test_acc", "val_acc", "balanced_acc"):
            numbers[name + suffix] = round(float(stage[name][run]), 6)  # of float32
        constant = stage["layers"]["constant"][run]
        numbers["constant_fraction" + suffix] = _mean(constant)
        for name in ("dead_fraction", "zero_fraction"):
            per_layer = stage["layers"][name][run]
            numbers[name + suffix] = _mean(per_layer)
            numbers[f"{name}_varying{suffix}"] = _mean(per_layer[constant == 0])
    return {
        "run": numbers,
        "epochs": {name: column[:, run].cpu().numpy() for name, column in history.items()},
        **{name: {n: v[run] for n, v in stage["layers"].items()} for name, stage in stages.items()},
        "best_state": {name: value.cpu() for name, value in model.run_state_dict(run).items()},
    }


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
