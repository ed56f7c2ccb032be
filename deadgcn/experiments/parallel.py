"""Chunks of runs on worker processes or a Dask cluster, with finished runs kept in the cache."""

import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import cache as remember
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch_geometric
from joblib import Parallel, delayed, effective_n_jobs
from torch import nn
from tqdm import tqdm

from deadgcn.config import PROJECT, Config
from deadgcn.data.graphs import load_graph
from deadgcn.data.own import Content
from deadgcn.experiments.cache import claim, core, load, store
from deadgcn.experiments.tables import module_of

WORTH_A_PROCESS = 4_000  # layers x runs x epochs, seconds of work: below this, starting workers costs more
CONNECT_SECONDS = 10  # how long to wait for a Dask scheduler
WORKER_SECONDS = 300  # how long to wait for a Dask worker: a batch system may take minutes to start one
CHOOSES_KERNELS = "ATEN_|DNNL_|ONEDNN_|MKL_(CBWR|DEBUG|ENABLE)"  # variables that change the last bits
PACKAGE = Path(__file__).parents[1]
FILES = sorted(path for part in ("config", "data/*", "gcn/*") for path in PACKAGE.glob(f"{part}.py"))
# Read on import, like the code itself, so that an edit counts from the next kernel on.
SOURCES = hashlib.sha256(b"\0".join(path.read_bytes() for path in FILES)).hexdigest()


def run_chunks(
    work: Callable[[list[Config]], list[dict]],
    configs: Sequence[Config],
    chunk_of: Callable[[Config], Hashable],
    made_by: Any = None,
    content: Content | None = None,
    n_jobs: int = -1,
    cache: str | Path | None = ".cache",
    scheduler: str | None = None,
) -> list[dict]:
    """Return each config's result: from the cache, or computed, and stored as soon as its chunk is done.

    `work` computes the results of a chunk: of configs for which `chunk_of` returns the same. The cache knows
    results by :func:`keys`. Processes that need the same chunk at the same time compute it once. The rest is
    as for :func:`deadgcn.run_grid`.
    """
    folder, known = cache and PROJECT / cache, keys(configs, made_by, content)
    if not folder:
        known = dict.fromkeys(known)
    results = {config: load(folder, key) if key else None for config, key in known.items()}
    chunks: dict[Hashable, dict[Config, str | None]] = {}
    for config, key in known.items():
        if results[config] is None:
            chunks.setdefault(chunk_of(config), {})[config] = key
    # The costliest first, so that no core is idle at the end.
    pending = sorted(chunks.values(), key=cost, reverse=True)
    if folder and pending:
        with claim(folder, "nothing"):  # an error now if it cannot be written to, not after the training
            pass
    bar = tqdm(total=sum(map(len, pending)), unit="run", disable=not pending)
    with bar, closing(_compute(work, folder, pending, n_jobs, scheduler)) as done:
        for number, computed in done:
            results |= zip(pending[number], computed, strict=True)
            bar.update(len(computed))
    return [results[config] for config in configs]


def keys(configs: Iterable[Config], made_by: Any, content: Content | None = None) -> dict[Config, str | None]:
    """The key of each config's run: settings, the graph's digest, `made_by`, the sources and libraries.

    None where the activation is a function, because no text tells a function from all others, or a module
    that differs from a new one of its name. Obtains the files of graphs, once, before there are workers.
    """
    chosen = sorted(item for item in os.environ.items() if re.match(CHOOSES_KERNELS, item[0]))
    kernels = torch.backends.cpu.get_cpu_capability(), chosen
    versions = made_by, torch.__version__, torch_geometric.__version__, SOURCES, kernels
    found: dict[Config, str | None] = {}
    for config in configs:
        digest = content.digest if content else _digest(config.dataset, config.split)
        text = f"{config.model_dump_json()} {(digest, *versions)}"
        found[config] = text if isinstance(config.act, str) or _is_told(config.act) else None
    return found


def _is_told(act: Callable) -> bool:
    known = type(act).__module__ == nn.modules.activation.__name__
    return known and vars(module_of(repr(act))) == vars(act)  # hooks differ, too


@remember
def _digest(dataset: str, split: int) -> str:
    return Content.of(load_graph(dataset, split=split)).digest


def cost(configs: Iterable[Config]) -> int:
    """Layers x epochs of runs, to which their time is about proportional."""
    return sum((config.num_layers + 1) * config.epochs for config in configs)


def _compute(
    work: Callable, folder: Path | None, chunks: list, n_jobs: int, scheduler: str | None
) -> Iterator[tuple[int, list]]:
    """Yield each chunk's number and results, which are stored, in the order in which they are ready."""
    versions = SOURCES, torch.__version__
    if scheduler and chunks:
        task = partial(_run_task, partial(_train, work, None), versions)
        for number, results in _compute_on_cluster(scheduler, task, chunks):
            _store(folder, chunks[number], results)  # here: workers may not see this disk
            yield number, results
        return
    task = partial(_run_task, partial(_train, work, folder), versions)
    useful = max(1, min(effective_n_jobs(n_jobs), len(chunks), sum(map(cost, chunks)) // WORTH_A_PROCESS))
    run = Parallel(n_jobs=useful, return_as="generator_unordered", initializer=_exit_with_parent)
    yield from run(delayed(task)(*numbered) for numbered in enumerate(chunks))


def _train(work: Callable, folder: Path | None, chunk: dict[Config, str | None]) -> list[dict]:
    """Compute and store a chunk, but for what another process has finished since this one looked."""
    first = next(iter(chunk.values()))
    if not (folder and first):
        return work(list(chunk))
    with claim(folder, first), core(folder):
        results = {config: load(folder, key) for config, key in chunk.items()}
        if missing := {config: key for config, key in chunk.items() if results[config] is None}:
            trained = work(list(missing))
            _store(folder, missing, trained)
            results |= zip(missing, trained, strict=True)
    return list(results.values())


def _store(folder: Path | None, chunk: dict[Config, str | None], results: list[dict]) -> None:
    for key, result in zip(chunk.values(), results, strict=True):
        if key:
            store(folder, key, result)


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


def _run_task(work: Callable, versions: tuple, number: int, chunk: dict) -> tuple[int, list]:
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
