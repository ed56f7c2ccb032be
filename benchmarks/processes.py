"""What the sections of the benchmark share: processes, the graph, timing, the description of the machine."""

import functools
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import joblib
from torch_geometric.data import Data

import deadgcn as dg
from deadgcn.paper import outputs

CORES = joblib.cpu_count()
ARMS = {"ReLU": {}, "ReLU + pruning": {"strip": True}}  # LeakyReLU does the work of ReLU


@functools.cache
def graph_of(dataset: str) -> Data:
    """The graph, loaded once per process, so that no contender is charged for reading files."""
    return dg.load_graph(dataset)


def timed(function: Callable, *arguments: Any) -> tuple[float, Any]:
    """Return the seconds that a call takes, and its result."""
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result


def in_fresh_process(function: Callable, *arguments: Any) -> Any:
    """Call the function in a new process, so that memory of earlier work does not count."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        return executor.submit(function, *arguments).result()


def machine() -> dict[str, Any]:
    """What the timings hold for: processor, cores and versions."""
    known = outputs.machine()
    found = {
        "cpu": known["processor"].partition(",")[0] or known["system"],
        "cores": CORES,
        "python": known["python"],
    }
    return found | {"torch": known["torch"], "torch_geometric": known["torch-geometric"]}
