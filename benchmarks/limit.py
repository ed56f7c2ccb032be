"""How fast this machine could train at best: the arithmetic of an epoch at the rates of single products.

Nothing but products is counted, and those at the rates that the matrix library reaches while every core is
busy with the same. The sparse rate is that of the graph's own order of nodes; a better order raises it a bit.
"""

import time
from typing import Any

import joblib
import pandas as pd
import torch
from processes import CORES, graph_of
from torch_geometric.data import Data

from deadgcn.data.graphs import normalized_adjacency
from deadgcn.gcn.training import use_one_thread

SIZE = 2048  # of the square matrices: large enough for the matrix library's best
WIDTH = 32  # columns of the sparse product, the network's width


def sample_rates(pool: joblib.Parallel, dataset: str, seconds: float) -> list[dict[str, Any]]:
    """Both rates on every core at once, GFLOP/s each: one row per core and kind of product."""
    rows = []
    for kind in ("dense", "sparse"):
        tasks = (joblib.delayed(product_rate)(kind, dataset, seconds) for _ in range(CORES))
        rows += [{"product": kind, "core": core, "gflops": rate} for core, rate in enumerate(pool(tasks))]
    return rows


def product_rate(kind: str, dataset: str, seconds: float) -> float:
    """GFLOP/s of one thread that multiplies for about that long: the median over the products.

    ``dense`` is a large square product; ``sparse`` is Â of the graph times ``[N, 32]``, CSR with 32-bit
    indices and a preallocated result, 2 operations per non-zero and column.
    """
    use_one_thread()
    if kind == "dense":
        a, b, out = (torch.ones(SIZE, SIZE) for _ in range(3))
        flop, repeat = 2 * SIZE**3, 1
    else:
        graph = graph_of(dataset)
        a = normalized_adjacency(graph.edge_index, graph.num_nodes)
        b, out = (torch.ones(graph.num_nodes, WIDTH) for _ in range(2))
        flop, repeat = 2 * a._nnz() * WIDTH, 100  # too short to be timed one at a time
    times, end = [], time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        for _ in range(repeat):
            if kind == "dense":
                torch.mm(a, b, out=out)
            else:
                torch.addmm(out, a, b, beta=0, out=out)
        times.append((time.perf_counter() - start) / repeat)
    return flop / sorted(times)[len(times) // 2] / 1e9


def epoch_flop(graph: Data, num_layers: int, d: int = WIDTH) -> pd.DataFrame:
    """Operations of one run's passes: rows ``forward`` and ``backward``, columns ``dense`` and ``sparse``.

    Backward goes through the training nodes only at the head, and needs no gradient of the features.
    """
    nodes, classes, train_nodes = graph.num_nodes, int(graph.y.max()) + 1, int(graph.train_mask.sum())
    adj = normalized_adjacency(graph.edge_index, nodes)._nnz()
    features = int(graph.x.count_nonzero())
    inner = 2 * nodes * d * d * (num_layers - 1)  # one dense product in every layer but the first
    spread = 2 * adj * d * num_layers + 2 * features * d  # Â in every layer, and the features
    return pd.DataFrame(
        {
            "dense": [inner + 2 * nodes * d * classes, 2 * inner + 4 * train_nodes * d * classes],
            "sparse": [spread, spread],
        },
        index=["forward", "backward"],
    )


def limits(comparison: pd.DataFrame, rates: pd.DataFrame, graph: Data) -> pd.DataFrame:
    """The limit beside the engine's median of the same session, in ms per run, layer and epoch.

    A forward pass and a backward pass per epoch, and one more forward after each epoch that stripped the run
    (as counted in the engine's runs), at the median rates of before and after, on all cores.
    """
    rate = rates.groupby("product")["gflops"].median() * 1e9  # per core
    rows = []
    engine = comparison[comparison["contender"] == "this engine"]
    for (method, num_layers), cell in engine.groupby(["method", "num_layers"]):
        seconds = (epoch_flop(graph, num_layers) / rate).sum(axis=1)  # of each pass
        extra = cell["stripped_epochs"].mean()
        limit_ms = 1000 * (seconds.sum() + extra * seconds["forward"]) / CORES / num_layers
        engine_ms = cell["ms"].median()
        rows.append(
            {
                "method": method,
                "num_layers": num_layers,
                "dense_gflops_per_core": rate["dense"] / 1e9,
                "sparse_gflops_per_core": rate["sparse"] / 1e9,
                "stripped_epochs": extra,
                "limit_ms": limit_ms,
                "engine_ms": engine_ms,
                "multiple": engine_ms / limit_ms,
            }
        )
    return pd.DataFrame(rows)
