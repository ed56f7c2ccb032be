"""What is recorded of a network: accuracies, and for every layer death, smoothing and the gradient."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch_geometric.data import Data
from torch_geometric.utils import mask_to_index

from deadgcn.gcn.engine import Passes
from deadgcn.gcn.model import GCN
from deadgcn.gcn.neurons import dead_fraction, zero_fraction
from deadgcn.gcn.smoothing import Graph, all_measures, frobenius_norm

LAYER_COLUMNS = """dirichlet_energy distance_to_mean norm normalized_dirichlet_energy rayleigh_quotient
    distance_to_limit relative_distance_to_mean mean_average_distance stable_rank effective_rank
    rank_one_distance constant dead_fraction zero_fraction weight_norm gradient_norm""".split()

# A layer is constant, its embeddings being the same at every node, if its relative distance to mean is below
# this. Over-smoothed embeddings are far above it: in a GCN's limit it is about 0.3 or more.
CONSTANT = 0.01


def losses_and_gradient(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy ``[R]`` of logits ``[R, n, C]`` with labels ``[n]``, and its gradient."""
    log_p = logits.log_softmax(-1)
    target = F.one_hot(y, logits.shape[-1]).to(log_p)  # [n, C]
    losses = -(log_p * target).sum(-1).mean(-1)
    return losses, (log_p.exp() - target) / len(y)


def accuracy(logits: Tensor, y: Tensor, nodes: Tensor) -> Tensor:
    """Share of the nodes that each run classifies right, ``[R]``; NaN where its logits are not all finite."""
    correct = (logits[:, nodes].argmax(-1) == y[nodes]).float().mean(-1)  # argmax of NaNs is a class, too
    return correct.where(logits.isfinite().all(-1).all(-1), torch.nan)


def balanced_accuracy(logits: Tensor, y: Tensor, nodes: Tensor) -> Tensor:
    """Mean over the nodes' classes of the accuracy within each, ``[R]``: 1 / C for a constant answer."""
    classes = [nodes[y[nodes] == label] for label in y[nodes].unique()]
    return torch.stack([accuracy(logits, y, own) for own in classes]).mean(0)


def measure(passes: Passes, graph: Data, dead_threshold: float) -> dict:
    """Evaluate the present weights, without dropout.

    Returns ``test_acc``, ``val_acc`` and ``balanced_acc``, each ``[R]``, and ``layers``, a name -> array
    ``[R, L]``: the measures of :func:`deadgcn.all_measures`, ``constant`` (1 where every node has the same
    embedding, see :data:`CONSTANT`, else 0), ``dead_fraction``, ``zero_fraction``, and the Frobenius norms
    ``weight_norm`` of the layer's weight and ``gradient_norm`` of the gradient of the training loss (without
    weight decay) with respect to it. The latter is exactly 0 where no gradient arrives, or where float32
    underflows. Everything is missing (NaN) where activations are not finite.
    """
    passes.model.eval()
    logits, depth = passes.forward(), passes.model.num_layers
    # All in one tensor: thousands of small ones would pin the memory between them.
    table = logits.new_full((len(LAYER_COLUMNS), len(logits), depth), torch.nan, dtype=torch.float64)
    columns = dict(zip(LAYER_COLUMNS, table, strict=True))  # each [R, L]
    structure = Graph(graph.edge_index, graph.num_nodes)
    for layer, post in enumerate(passes.activations):
        for name, values in all_measures(post, structure).items():
            columns[name][:, layer] = values
        columns["dead_fraction"][:, layer] = dead_fraction(post, dead_threshold)
        columns["zero_fraction"][:, layer] = zero_fraction(post)
    columns["constant"].copy_((columns["norm"] == 0) | (columns["relative_distance_to_mean"] < CONSTANT))
    for name in ("constant", "dead_fraction", "zero_fraction"):  # NaN is not 0, so it would count as alive
        columns[name].masked_fill_(~columns["norm"].isfinite(), torch.nan)
    train_nodes = mask_to_index(graph.train_mask)
    _, of_logits = losses_and_gradient(logits[:, train_nodes], graph.y[train_nodes])
    gradients = passes.backward(of_logits, train_nodes)[2:]  # after the head's two, the weights come first
    for layer in range(depth):
        columns["gradient_norm"][:, layer] = frobenius_norm(gradients[layer])
        columns["weight_norm"][:, layer] = frobenius_norm(passes.model.weights[layer])
    columns = {name: values.cpu().numpy() for name, values in columns.items()}
    return {
        "test_acc": accuracy(logits, graph.y, mask_to_index(graph.test_mask)),
        "val_acc": accuracy(logits, graph.y, mask_to_index(graph.val_mask)),
        "balanced_acc": balanced_accuracy(logits, graph.y, mask_to_index(graph.test_mask)),
        "layers": columns,
    }


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
