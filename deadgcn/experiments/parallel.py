"""Chunks of runs on worker processes or a Dask cluster, with finished runs kept in the cache."""

import functools
import hashlib
import multiprocessing
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import torch
from joblib import Parallel, cpu_count, delayed
from tqdm import tqdm

from deadgcn.config import PROJECT, Config
from deadgcn.data.graphs import resolve_dataset
from deadgcn.experiments.cache import load, store

WORTH_A_PROCESS = 15_000  # layers x runs x epochs, seconds of work: below this, starting workers costs more
CONNECT_SECONDS = 10  # how long to wait for a Dask scheduler
WORKER_SECONDS = 300  # how long to wait for a Dask worker: a batch system may take minutes to start one
PACKAGE = Path(__file__).parents[1]
FILES = [PACKAGE / "config.py", *sorted(PACKAGE.glob("data/*.py")), *sorted(PACKAGE.glob("gcn/*.py"))]
# Read on import, like the code itself, so that an edit counts from the next kernel on.
SOURCES = hashlib.sha256(b"\0".join(path.read_bytes() for path in FILES)).hexdigest()


def check_runs(configs: Sequence[Config], n_jobs: int, scheduler: str | None = None) -> None:
    """Raise ValueError for what cannot be trained; obtain and check raw files once, before any worker."""
    if not configs:
        raise ValueError("configs must have at least one entry, but an empty list was passed")
    if type(n_jobs) is not int or n_jobs == 0:
        raise ValueError(f"n_jobs must be a positive number, or -1 for all cores, but {n_jobs!r} was passed")
    if scheduler and not str(scheduler).startswith(("tcp://", "tls://")):
        raise ValueError(
            f"scheduler must be an address such as tcp://host:8786, but {scheduler!r} was passed"
        )
    for dataset in {config.dataset for config in configs}:
        resolve_dataset(dataset)


def run_chunks(
    work: Callable[[list[Config]], list[dict]],
    chunks: Sequence[list[Config]],
    keys: Mapping[Config, str | None],
    n_jobs: int = -1,
    cache: str | Path | None = ".cache",
    scheduler: str | None = None,
) -> dict[Config, dict]:
    """Return each config's result: from the cache, or computed, and stored as soon as its chunk is done.

    Args:
        work: computes the results of one chunk; workers must be able to import it.
        chunks: configs to be computed together.
        keys: what the cache knows each config by; None is never cached.
        n_jobs, cache, scheduler: as for :func:`deadgcn.run_grid`.
    """
    folder = None if cache is None else PROJECT / cache
    stored = {config: load(folder, key) for config, key in keys.items() if folder and key}
    results = {config: result for config, result in stored.items() if result is not None}
    missing = [[config for config in chunk if config not in results] for chunk in chunks]
    # The costliest first, so that no core is idle at the end.
    pending = sorted(filter(None, missing), key=_cost, reverse=True)
    with closing(_compute(work, pending, n_jobs, scheduler)) as done, _progress(pending) as progress:
        for number, computed in done:
            for config, result in zip(pending[number], computed, strict=True):
                results[config] = result
                if folder and keys[config]:
                    store(folder, keys[config], result)
            progress.update(len(computed))
    return results


def _cost(chunk: list[Config]) -> int:
    return sum((config.num_layers + 1) * config.epochs for config in chunk)


def _progress(chunks: list[list[Config]]) -> tqdm:
    in_notebook = type(sys.stdout).__module__ == "ipykernel.iostream"  # which shows stderr in red
    file = sys.stdout if in_notebook else sys.stderr
    return tqdm(total=sum(map(len, chunks)), unit="run", disable=not chunks, file=file)


def _compute(work: Callable, chunks: list, n_jobs: int, scheduler: str | None) -> Iterator[tuple[int, list]]:
    """Yield each chunk's number and results, in the order in which they are ready."""
    versions = SOURCES, torch.__version__
    tasks = [(number, work, chunk, versions, os.getpid()) for number, chunk in enumerate(chunks)]
    if scheduler and tasks:
        yield from _compute_on_cluster(scheduler, tasks)
        return
    wanted = n_jobs if n_jobs > 0 else cpu_count() + 1 + n_jobs
    useful = max(1, min(wanted, len(chunks), sum(map(_cost, chunks)) // WORTH_A_PROCESS))
    yield from Parallel(n_jobs=useful, return_as="generator_unordered")(map(delayed(_run_task), tasks))


def _compute_on_cluster(address: str, tasks: list[tuple]) -> Iterator[tuple[int, list]]:
    """The same on the workers of a Dask scheduler. Raises ImportError, OSError or TimeoutError."""
    try:
        from distributed import Client, wait
    except ImportError as error:
        raise ImportError("a Dask scheduler needs: pip install 'deadgcn[cluster]'") from error
    with Client(address, timeout=CONNECT_SECONDS) as client:
        client.wait_for_workers(1, timeout=WORKER_SECONDS)
        pending = set(client.map(_run_task, tasks, pure=False))
        while pending:
            try:
                done, pending = wait(pending, timeout=WORKER_SECONDS, return_when="FIRST_COMPLETED")
            except TimeoutError as error:
                if client.nthreads():  # a long task
                    continue
                raise ConnectionError(f"the Dask scheduler at {address} has no worker left") from error
            yield from (future.result() for future in done)


def _run_task(task: tuple) -> tuple[int, list[dict]]:
    number, work, configs, versions, parent = task
    exit_with_parent(parent)
    if versions != (SOURCES, torch.__version__):
        raise RuntimeError(
            f"a worker on {platform.node()} has other source files of deadgcn, or another torch, than this "
            "session: update the worker, or restart the kernel if you edited the files"
        )
    return number, work(configs)


@functools.cache
def exit_with_parent(parent: int) -> None:
    """Let a worker process of joblib end when its parent does; it would otherwise wait for work for ever."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    if multiprocessing.current_process().name.startswith("LokyProcess"):
        threading.Thread(target=watch, daemon=True).start()
