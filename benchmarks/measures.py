"""The measures of smoothing against their definitions as Python loops over edges and over nodes.

The loops are timed on a few of the layers, and their time is scaled to all; every layer costs them the same.
"""

from collections.abc import Callable

import pandas as pd
import torch
from processes import graph_of, in_worker, timed
from torch import Tensor

from deadgcn.data.graphs import normalized_adjacency
from deadgcn.gcn.model import GCN
from deadgcn.gcn.smoothing import dirichlet_energy, distance_to_mean
from deadgcn.gcn.training import use_one_thread


def measure(
    num_layers: int = 128, timed_layers: int = 4, dataset: str = "Cora", repetitions: int = 3
) -> dict[str, pd.DataFrame]:
    """Time both measures on an untrained network's activations; return the table `measures`."""
    rows = in_worker(compare, num_layers, timed_layers, dataset, repetitions)
    for row in rows:
        print("{measure}: {ours_seconds:.3f} s, loop {loop_seconds:.1f} s".format(**row), flush=True)
    return {"measures": pd.DataFrame(rows)}


@torch.no_grad()
def compare(num_layers: int, timed_layers: int, dataset: str, repetitions: int) -> list[dict]:
    """One row per measure and repetition: seconds for all layers and the largest relative difference."""
    use_one_thread()
    graph = graph_of(dataset)
    model = GCN(graph.num_features, 32, int(graph.y.max()) + 1, num_layers)
    posts = model(graph.x, normalized_adjacency(graph.edge_index, graph.num_nodes))[1]  # L times [1, N, d]
    chosen = torch.linspace(0, num_layers - 1, timed_layers).long().tolist()
    pairs: dict[str, tuple[Callable, Callable]] = {
        "dirichlet_energy": (
            lambda x: dirichlet_energy(x, graph.edge_index),
            _energy_by_loop(graph.edge_index),
        ),
        "distance_to_mean": (distance_to_mean, _distance_by_loop),
    }
    rows = []
    for name, (ours, loop) in pairs.items():
        for repetition in range(repetitions):
            fast, values = timed(lambda f: [f(post).item() for post in posts], ours)
            slow, expected = timed(lambda f: [f(posts[layer][0]) for layer in chosen], loop)
            difference = max(abs(values[n] / e - 1) for n, e in zip(chosen, expected, strict=True))
            row = {"measure": name, "repetition": repetition, "num_layers": num_layers, "ours_seconds": fast}
            row |= {"loop_seconds": slow * num_layers / timed_layers, "layers_timed": timed_layers}
            rows.append(row | {"largest_difference": difference})
    return rows


def _energy_by_loop(edge_index: Tensor) -> Callable[[Tensor], float]:
    edges = edge_index.T.tolist()

    def energy(x: Tensor) -> float:
        x, total = x.double(), 0.0  # [N, d]; float32 squares would vanish
        for i, j in edges:
            total += ((x[i] - x[j]) ** 2).sum().item()
        return (total / len(x)) ** 0.5

    return energy


def _distance_by_loop(x: Tensor) -> float:
    x = x.double()  # [N, d]
    mean = sum(x[i] for i in range(len(x))) / len(x)
    return sum(((x[i] - mean) ** 2).sum().item() for i in range(len(x))) ** 0.5
