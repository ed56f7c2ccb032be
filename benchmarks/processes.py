"""What the sections of the benchmark share: processes, the graph, the network, timing, profiles."""

import contextlib
import cProfile
import functools
import multiprocessing
import os
import pstats
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import joblib
import numpy as np
import torch
from scipy.sparse import csr_array
from torch_geometric.data import Data

import deadgcn as dg
from deadgcn.gcn.build import prepared

CORES = joblib.cpu_count()
ARMS = {"ReLU": {}, "ReLU + pruning": {"strip": True}}  # LeakyReLU does the work of ReLU
COLUMNS = ("val_acc", "dead_fraction", "num_stripped")  # what every contender returns for each epoch
graph_of = functools.cache(dg.load_graph)  # once per process: no contender is charged for reading files


@functools.cache
def problem_of(dataset: str) -> tuple[Data, list[np.ndarray], csr_array, csr_array]:
    """The graph in the engine's order, its training, validation and test nodes, adjacency and features."""
    graph, adj, _ = prepared(dataset, 0, torch.device("cpu"), False, 1.0)
    nodes = [np.flatnonzero(mask) for mask in (graph.train_mask, graph.val_mask, graph.test_mask)]
    return graph, nodes, csr_array(adj.to_dense().numpy()), csr_array(graph.x.numpy())


def network(library: Any, relu: Callable, products: Sequence, parameters: list, *nodes: Any) -> tuple:
    """One run's logits at some nodes [n, C], and its dead neurons [L, d], in torch or jax.numpy."""
    (propagate, times_features), (head_weight, head_bias, *layers) = products, parameters
    h, dead = None, []
    for weight, bias in zip(layers[: len(layers) // 2], layers[len(layers) // 2 :], strict=True):
        product = times_features(weight.T) if h is None else h @ weight.T
        h = relu(propagate(product) + bias)  # [N, d]
        dead.append(library.amax(h, 0) == 0)
    return [h[each] @ head_weight.T + head_bias for each in nodes], library.stack(dead)


def timed(function: Callable, *arguments: Any) -> tuple[float, Any]:
    """Return the seconds that a call takes, and its result."""
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result


def profiled(function: Callable, *arguments: Any) -> dict[str, float]:
    """Return the seconds that a call spends in each function, with those that it calls, by their names."""
    with cProfile.Profile() as profiler:
        function(*arguments)
    found = pstats.Stats(profiler).get_stats_profile().func_profiles
    return {name: each.cumtime for name, each in found.items()}


@contextlib.contextmanager
def workers() -> Iterator[list[ProcessPoolExecutor]]:
    """New processes of one thread, one per core, that start when used; what they compile stays there."""
    spawn = multiprocessing.get_context("spawn")
    with contextlib.ExitStack() as stack:
        pools = (ProcessPoolExecutor(1, spawn, _one_thread) for _ in range(CORES))
        yield [stack.enter_context(pool) for pool in pools]


def _one_thread() -> None:
    os.environ["NPROC"] = "1"  # XLA's threads; it is read when JAX is first used
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
