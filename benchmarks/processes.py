"""What the sections of the benchmark share: processes, the graph, timing, the description of the machine."""

import contextlib
import functools
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import joblib
import torch
from scipy.sparse import csr_array
from torch_geometric.data import Data

import deadgcn as dg
from deadgcn.gcn.build import prepared
from deadgcn.gcn.training import use_one_thread
from deadgcn.paper import outputs

CORES, SPAWN = joblib.cpu_count(), multiprocessing.get_context("spawn")
ARMS = {"ReLU": {}, "ReLU + pruning": {"strip": True}}  # LeakyReLU does the work of ReLU
COLUMNS = ("val_acc", "dead_fraction", "num_stripped")  # what every contender returns for each epoch
graph_of = functools.cache(dg.load_graph)  # once per process: no contender is charged for reading files


@functools.cache
def matrices_of(dataset: str) -> tuple[Data, csr_array, csr_array]:
    """The graph with its nodes in the engine's order, its adjacency and its features, once per process."""
    graph, adj, _ = prepared(dataset, torch.device("cpu"), False, 1.0)
    return graph, csr_array(adj.to_dense().numpy()), csr_array(graph.x.numpy())


def timed(function: Callable, *arguments: Any) -> tuple[float, Any]:
    """Return the seconds that a call takes, and its result."""
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result


@contextlib.contextmanager
def workers() -> Iterator[list[ProcessPoolExecutor]]:
    """Start a process of one thread per core; what each of them compiles stays there."""
    new = functools.partial(ProcessPoolExecutor, 1, SPAWN, _one_thread)
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(new()) for _ in range(CORES)]


def _one_thread() -> None:
    os.environ["NPROC"] = "1"  # XLA's threads; it is read when JAX is first used
    use_one_thread()


def in_fresh_process(function: Callable, *arguments: Any) -> Any:
    """Call the function in a new process, so that memory of earlier work does not count."""
    with ProcessPoolExecutor(1, SPAWN) as executor:
        return executor.submit(function, *arguments).result()


def machine() -> dict[str, Any]:
    """What the timings hold for: processor, cores and versions."""
    known = outputs.machine()
    cpu = known["processor"].partition(",")[0] or known["system"]
    versions = {name.replace("-", "_"): known[name] for name in ("python", "torch", "torch-geometric")}
    return {"cpu": cpu, "cores": CORES, **versions}
