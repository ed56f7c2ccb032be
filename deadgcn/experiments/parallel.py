"""Chunks of runs on worker processes or a Dask cluster, with finished runs kept in the cache."""

import hashlib
import os
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from joblib import Parallel, delayed, effective_n_jobs
from tqdm import tqdm

from deadgcn.config import PROJECT, Config
from deadgcn.data.graphs import resolve_dataset
from deadgcn.experiments.cache import claim, core, load, store

WORTH_A_PROCESS = 4_000  # layers x runs x epochs, seconds of work: below this, starting workers costs more
CONNECT_SECONDS = 10  # how long to wait for a Dask scheduler
WORKER_SECONDS = 300  # how long to wait for a Dask worker: a batch system may take minutes to start one
FILES = sorted(path for part in ("config", "data/*", "gcn/*") for path in PROJECT.glob(f"deadgcn/{part}.py"))
# Read on import, like the code itself, so that an edit counts from the next kernel on.
SOURCES = hashlib.sha256(b"\0".join(path.read_bytes() for path in FILES)).hexdigest()


def run_chunks(
    work: Callable[[list[Config]], list[dict]],
    configs: Sequence[Config],
    chunk_of: Callable[[Config], Hashable],
    made_by: Any = None,
    n_jobs: int = -1,
    cache: str | Path | None = ".cache",
    scheduler: str | None = None,
) -> list[dict]:
    """Return each config's result: from the cache, or computed, and stored as soon as its chunk is done.

    `work` computes the results of a chunk: of configs for which `chunk_of` returns the same. The cache knows
    results by the config, `made_by`, the sources and torch. Processes that need the same chunk at the same
    time compute it once. The rest is as for :func:`deadgcn.run_grid`.
    """
    for dataset in {config.dataset for config in configs}:
        resolve_dataset(dataset)  # obtains the files once, before there are workers
    finished = _Finished(cache and PROJECT / cache, (made_by, torch.__version__, SOURCES))
    results = {config: finished.load(config) for config in configs}
    chunks: dict[Hashable, list[Config]] = {}
    for config in results:
        if results[config] is None:
            chunks.setdefault(chunk_of(config), []).append(config)
    # The costliest first, so that no core is idle at the end.
    pending = sorted(chunks.values(), key=_cost, reverse=True)
    bar = tqdm(total=sum(map(len, pending)), unit="run", disable=not pending)
    with bar, closing(_compute(work, finished, pending, n_jobs, scheduler)) as done:
        for number, computed in done:
            results |= zip(pending[number], computed, strict=True)
            bar.update(len(computed))
    return [results[config] for config in configs]


class _Finished(NamedTuple):
    """The finished runs in a folder, if there is one."""

    folder: Path | None
    made_by: tuple

    def load(self, config: Config) -> dict | None:
        return load(self.folder, key) if (key := self._key(config)) else None

    def store(self, chunk: list[Config], results: list[dict]) -> list[dict]:
        for config, result in zip(chunk, results, strict=True):
            if key := self._key(config):
                store(self.folder, key, result)
        return results

    def compute(self, work: Callable, chunk: list[Config]) -> list[dict]:
        """Compute and store a chunk, but for what another process has finished since this one looked."""
        if not (key := self._key(chunk[0])):
            return work(chunk)
        with claim(self.folder, key), core(self.folder):
            results = {config: self.load(config) for config in chunk}
            if missing := [config for config in chunk if results[config] is None]:
                results |= zip(missing, self.store(missing, work(missing)), strict=True)
        return list(results.values())

    def _key(self, config: Config) -> str | None:
        if self.folder and not callable(config.act):  # no text tells a function from all others
            return f"{config.model_dump_json()} {self.made_by}"
        return None


def _cost(chunk: list[Config]) -> int:
    return sum((config.num_layers + 1) * config.epochs for config in chunk)


def _compute(
    work: Callable, finished: _Finished, chunks: list, n_jobs: int, scheduler: str | None
) -> Iterator[tuple[int, list]]:
    """Yield each chunk's number and results, which are stored, in the order in which they are ready."""
    versions = SOURCES, torch.__version__
    if scheduler and chunks:
        for number, results in _compute_on_cluster(scheduler, partial(_run_task, work, versions), chunks):
            yield number, finished.store(chunks[number], results)  # here: workers may not see this disk
        return
    task = partial(_run_task, partial(finished.compute, work), versions)
    useful = max(1, min(effective_n_jobs(n_jobs), len(chunks), sum(map(_cost, chunks)) // WORTH_A_PROCESS))
    run = Parallel(n_jobs=useful, return_as="generator_unordered", initializer=_exit_with_parent)
    yield from run(delayed(task)(*numbered) for numbered in enumerate(chunks))


def _compute_on_cluster(address: str, task: Callable, chunks: list) -> Iterator[tuple[int, list]]:
    from distributed import Client, wait  # an optional dependency

    with Client(address, timeout=CONNECT_SECONDS) as client:
        client.wait_for_workers(1, timeout=WORKER_SECONDS)
        pending = client.map(task, range(len(chunks)), chunks, pure=False)
        while pending:
            try:
                done, pending = wait(pending, timeout=WORKER_SECONDS, return_when="FIRST_COMPLETED")
            except TimeoutError:
                client.wait_for_workers(1, timeout=1)  # an error if none is left
                continue
            yield from (future.result() for future in done)


def _run_task(work: Callable, versions: tuple, number: int, chunk: list[Config]) -> tuple[int, list]:
    if versions != (SOURCES, torch.__version__):
        raise RuntimeError("a worker has other sources or another torch; restart the kernel or the worker")
    return number, work(chunk)


def _exit_with_parent() -> None:
    """Let this worker process end when its parent is killed; joblib would keep it for minutes."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent != 1:  # 1: killed before this worker was ready
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
