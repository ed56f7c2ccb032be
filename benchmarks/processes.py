"""Processes of the benchmark: the pool that training is shipped with, and fresh ones with nothing in them."""

import functools
import multiprocessing
import platform
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import joblib
from torch_geometric.data import Data

from deadgcn.data.graphs import load_graph
from deadgcn.experiments.grid import METHODS

CORES = joblib.cpu_count()
ARMS = {name: METHODS[name] for name in ("ReLU", "ReLU + pruning")}  # those that work differently


def pool() -> joblib.Parallel:
    """One worker process per core, as `run_grid` has them, each given one task at a time."""
    return joblib.Parallel(n_jobs=CORES, batch_size=1)


def in_worker(function: Callable, *arguments: Any, **named: Any) -> Any:
    """Return what the function returns in a worker of one thread, while the other workers rest.

    Training sets its process's number of threads; it is not to reach this one.
    """
    return pool()([joblib.delayed(function)(*arguments, **named)])[0]


def in_fresh_process(function: Callable, *arguments: Any, **named: Any) -> Any:
    """Return what the function returns in a newly started process, which then ends.

    Its memory is its own: nothing that ran before counts.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        return executor.submit(function, *arguments, **named).result()


@functools.cache
def graph_of(dataset: str) -> Data:
    """The graph, loaded once per process, so that no contender is charged for reading files."""
    return load_graph(dataset)


def timed(function: Callable, *arguments: Any, **named: Any) -> tuple[float, Any]:
    """Return the seconds that a call takes, and its result."""
    start = time.perf_counter()
    result = function(*arguments, **named)
    return time.perf_counter() - start, result


def machine() -> dict[str, Any]:
    """What the timings hold for: processor, cores and versions."""
    return {
        "cpu": _processor(),
        "cores": CORES,
        "python": platform.python_version(),
        **{name.replace("-", "_"): version(name) for name in ("torch", "torch-geometric")},
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
