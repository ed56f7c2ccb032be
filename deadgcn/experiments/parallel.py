"""Chunks of runs on worker processes or a Dask cluster, with finished runs kept in the cache."""

import asyncio
import functools
import hashlib
import multiprocessing
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import torch
from joblib import Parallel, cpu_count, delayed
from tqdm import tqdm

from deadgcn.config import PROJECT, Config
from deadgcn.data.graphs import resolve_dataset
from deadgcn.experiments.cache import load, store

WORTH_A_PROCESS = 20_000  # layers x runs x epochs, about ten seconds: below this, starting workers costs more
CONNECT_SECONDS = 10  # how long to wait for a Dask scheduler
WORKER_SECONDS = 300  # how long to be without a Dask worker: a batch system may start some
PACKAGE = Path(__file__).parents[1]
FILES = [PACKAGE / "config.py", *sorted(PACKAGE.glob("data/*.py")), *sorted(PACKAGE.glob("gcn/*.py"))]
# Read on import, like the code itself, so that an edit counts from the next kernel on.
SOURCES = hashlib.sha256(b"\0".join(path.read_bytes() for path in FILES)).hexdigest()


def check_runs(configs: Sequence[Config], n_jobs: int, scheduler: str | None = None) -> None:
    """Raise ValueError for what cannot be trained; obtain and check raw files once, before any worker."""
    if not configs:
        raise ValueError("configs must have at least one entry, but an empty list was passed")
    if not isinstance(n_jobs, int) or isinstance(n_jobs, bool) or n_jobs == 0:
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
    *,
    whole: bool = False,
    slowness: int = 1,
) -> dict[Config, dict]:
    """Return each config's result: from the cache, or computed, and stored as soon as its chunk is done.

    Args:
        work: computes the results of one chunk; workers must be able to import it.
        chunks: configs to be computed together.
        keys: what the cache knows each config by; None is never cached.
        n_jobs, cache, scheduler: as for :func:`deadgcn.experiments.grid.run_grid`.
        whole: compute all of a chunk even if only part of it is missing.
        slowness: time per layer, run and epoch, relative to :func:`deadgcn.gcn.training.train`.
    """
    folder = None if cache is None else PROJECT / cache
    stored = {config: load(folder, key) for config, key in keys.items() if folder and key}
    results = {config: result for config, result in stored.items() if result is not None}
    missing = [[config for config in chunk if config not in results] for chunk in chunks]
    pending = [chunk if whole else rest for chunk, rest in zip(chunks, missing, strict=True) if rest]
    pending.sort(key=_cost, reverse=True)  # the costliest first, so that no core is idle at the end
    n_jobs = _useful_jobs(n_jobs, pending, slowness)
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


def _useful_jobs(n_jobs: int, chunks: list[list[Config]], slowness: int) -> int:
    """Cap the number of processes at what the work is worth; 1 means this process."""
    wanted = n_jobs if n_jobs > 0 else max(1, cpu_count() + 1 + n_jobs)
    worth = slowness * sum(map(_cost, chunks)) // WORTH_A_PROCESS
    return max(1, min(wanted, len(chunks), worth))


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
    else:
        calls = (delayed(_run_task)(task) for task in tasks)
        yield from Parallel(n_jobs=n_jobs, return_as="generator_unordered")(calls)


def _compute_on_cluster(address: str, tasks: list[tuple]) -> Iterator[tuple[int, list]]:
    try:
        from distributed import Client, wait
    except ImportError as error:
        raise ImportError("a Dask scheduler needs: pip install 'deadgcn[cluster]'") from error
    _check_scheduler(address)
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


def _check_scheduler(address: str) -> None:
    """Raise ConnectionError unless a scheduler answers in time: Client would wait for ever."""
    from distributed import rpc

    async def identity() -> dict:
        async with rpc(address) as server:
            return await asyncio.wait_for(server.identity(), CONNECT_SECONDS)

    try:
        with ThreadPoolExecutor(1) as pool:  # a notebook's own thread is running an event loop already
            kind = pool.submit(asyncio.run, identity()).result()["type"]
    except Exception as error:  # another service's answer can raise almost anything
        raise ConnectionError(f"no Dask scheduler answers at {address} ({error!r})") from error
    if kind != "Scheduler":
        raise ConnectionError(f"{address} is the address of a Dask {kind.lower()}, not of a scheduler")


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
