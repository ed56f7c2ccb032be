"""A grid of configs to tidy tables, cached and in parallel."""

import functools
import hashlib
import itertools
import json
import multiprocessing
import os
import platform
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from joblib import Parallel, cpu_count, delayed
from tqdm import tqdm

from deadgcn.config import Config
from deadgcn.data.graphs import PROJECT, resolve_dataset
from deadgcn.experiments import cache as finished
from deadgcn.experiments.tables import Tables
from deadgcn.gcn.training import resolve_device, train
from deadgcn.paper.parameters import scheduler_address

METHODS = {
    "ReLU": {},
    "ReLU + pruning": {"strip": True},
    "LeakyReLU": {"act": "leaky_relu"},
}
# Runs side by side: seeds 0-4, 5-9, ... More are no faster on a processor, need more memory and leave cores
# idle at the end. A GPU wants many; how many is unmeasured, and 128 layers of these need 5 GB.
SEEDS_PER_CHUNK = {"cpu": 5, "cuda": 100}
WORTH_A_PROCESS = 20_000  # layers x runs x epochs, about ten seconds: below this, starting workers costs more
# Taken on import, as the code itself is: an edit counts from the next kernel on.
PACKAGE = Path(__file__).parents[1]
TRAINING = [
    PACKAGE / "config.py",
    *sorted((PACKAGE / "data").glob("*.py")),
    *sorted((PACKAGE / "gcn").glob("*.py")),
]
SOURCES = hashlib.sha256(b"\0".join(path.read_bytes() for path in TRAINING)).hexdigest()


def grid(methods: Iterable[str] | Mapping[str, Mapping[str, Any]], **axes: Any) -> list[Config]:
    """Return one config per combination of methods and axes, in that order.

    Args:
        methods: names out of :data:`METHODS`, or a mapping from a label of your own to the settings that
            make that arm (``{"ReLU + half": {"strip": True, "amount": 0.5}}``).
        axes: fields of :class:`Config`; a list, range or array gives one config per entry.

    Raises:
        ValueError: an unknown method, an empty axis, or a combination that occurs twice.

    >>> [(c.method, c.num_layers, c.seed) for c in grid(["ReLU"], num_layers=[0, 5], seed=range(2))]
    [('ReLU', 0, 0), ('ReLU', 0, 1), ('ReLU', 5, 0), ('ReLU', 5, 1)]
    """
    if not isinstance(methods, Mapping):
        methods = [methods] if isinstance(methods, str) else list(methods)
        if unknown := [name for name in methods if name not in METHODS]:
            raise ValueError(f"method must be one of {list(METHODS)}, but {unknown[0]!r} was passed")
        methods = {name: METHODS[name] for name in methods}
    values = {name: _as_list(value) for name, value in axes.items()}
    if empty := [name for name, entries in {"methods": methods, **values}.items() if not len(entries)]:
        raise ValueError(f"{empty[0]} must have at least one entry, but an empty one was passed")
    configs = [
        Config(method=label, **{**dict(zip(values, point, strict=True)), **settings})
        for label, settings in methods.items()
        for point in itertools.product(*values.values())
    ]
    _refuse_duplicates(configs)
    return configs


def run_grid(
    configs: Sequence[Config],
    n_jobs: int = -1,
    cache: str | Path | None = ".cache",
    device: str = "auto",
    scheduler: str | None = None,
) -> Tables:
    """Train every config that is not in the cache and return the tables of all, in the configs' order.

    Args:
        configs: from :func:`grid`, or a list of your own.
        n_jobs: worker processes of one thread each; -1 is one per core. On CUDA everything runs in this one.
        cache: folder for finished runs (relative: below the project), or None for no cache. A run is found
            again by its settings, torch's version, the kind of device and the text of the modules that
            training imports (on CUDA also by the seeds beside it, on which its last bits may depend there).
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``: what this machine has, and workers must have too.
        scheduler: address of a Dask scheduler, such as ``"tcp://host:8786"``, whose workers then train what
            is missing, from their machines' raw data and into this one's cache (:mod:`deadgcn.experiments.cluster`).

    Raises ValueError for what cannot be trained, and with `scheduler` ClusterError if it, its workers or a
    task are lost, and ImportError without the packages of ``deadgcn[cluster]``.
    """
    configs = list(configs)
    check_grid(configs, n_jobs, scheduler)
    kind = resolve_device(device).type
    folder = None if cache is None else PROJECT / cache
    blocks = _blocks(configs, kind)
    keys = {config: _key(config, kind, blocks) for config in configs}
    results = find(folder, keys.values())
    chunks = _chunks(blocks, keys, results, kind)
    told = (kind, (SOURCES, torch.__version__), os.getpid())
    tasks = (delayed(_train_chunk)(n, list(chunk.values()), *told) for n, chunk in enumerate(chunks))
    place, cost = _place(scheduler, kind, n_jobs, chunks), sum(map(_cost, chunks))
    with place as options, tqdm(total=cost, disable=not chunks, **_PROGRESS) as progress:
        for number, trained in Parallel(**options, return_as="generator_unordered")(tasks):
            fresh = dict(zip(chunks[number], trained, strict=True))
            results |= fresh
            # Stored as soon as a chunk is done: whoever stops the study here loses only the unfinished ones.
            for key, result in fresh.items() if folder else ():
                finished.store(folder, key, result)
            progress.set_postfix_str(_describe(chunks[number]), refresh=False)
            progress.update(_cost(chunks[number]))
    return Tables.from_results(configs, [results[keys[config]] for config in configs])


_PROGRESS = {
    "file": sys.stdout
    if type(sys.stdout).__module__ == "ipykernel.iostream"
    else None,  # stderr is red there
    "unit": "",
    "bar_format": "{percentage:3.0f}%|{bar:30}| {elapsed} gone, {remaining} left{postfix}",
}


def check_grid(configs: Sequence[Config], n_jobs: int, scheduler: str | None = None) -> None:
    """Raise ValueError for what cannot be trained; obtain and check raw files once, before any worker."""
    if not configs:
        raise ValueError("configs must have at least one entry, but an empty list was passed")
    if not isinstance(n_jobs, int) or isinstance(n_jobs, bool) or n_jobs == 0:
        raise ValueError(f"n_jobs must be a positive number, or -1 for all cores, but {n_jobs!r} was passed")
    try:
        scheduler_address(str(scheduler or ""))
    except ValueError as error:
        raise ValueError(f"scheduler {error}, but {scheduler!r} was passed") from None
    _refuse_duplicates(configs)
    for dataset in {config.dataset for config in configs}:
        resolve_dataset(dataset)


def find(folder: Path | None, keys: Iterable[str]) -> dict[str, dict]:
    """The finished runs among these keys; without a folder there are none."""
    results = {key: finished.load(folder, key) for key in keys} if folder else {}
    return {key: result for key, result in results.items() if result is not None}


def _blocks(configs: Sequence[Config], kind: str) -> dict[tuple, dict[int, Config]]:
    """Group by what may run side by side: settings and block of seeds -> seed -> config."""
    blocks: dict[tuple, dict[int, Config]] = {}
    for config in configs:
        blocks.setdefault(_block(config, kind), {})[config.seed] = config
    return blocks


def _block(config: Config, kind: str) -> tuple[str, int]:
    return config.model_dump_json(exclude={"seed", "method"}), config.seed // SEEDS_PER_CHUNK[kind]


def _key(config: Config, kind: str, blocks: dict) -> str:
    key = {**config.model_dump(mode="json", exclude={"method"}), "torch": torch.__version__, "device": kind}
    if kind == "cuda":
        key["beside"] = sorted(blocks[_block(config, kind)])
    return json.dumps({**key, "sources": SOURCES})


def _chunks(
    blocks: dict[tuple, dict[int, Config]], keys: dict[Config, str], results: dict, kind: str
) -> list[dict[str, Config]]:
    """What is to be trained, key -> config; the costliest first, so that none is left over at the end."""
    chunks = []
    for block in blocks.values():
        chunk = {keys[config]: config for config in block.values()}
        missing = {key: config for key, config in chunk.items() if key not in results}
        if missing:
            chunks.append(chunk if kind == "cuda" else missing)  # there a block is always trained whole
    return sorted(chunks, key=_cost, reverse=True)


def _cost(chunk: Mapping[str, Config]) -> int:
    return sum((config.num_layers + 1) * config.epochs for config in chunk.values())


def _describe(chunk: Mapping[str, Config]) -> str:
    configs = list(chunk.values())
    seeds = f"{configs[0].seed}-{configs[-1].seed}"
    return f"last: {configs[0].method}, {configs[0].num_layers} layers, seeds {seeds}"


def _place(scheduler: str | None, kind: str, n_jobs: int, chunks: list) -> AbstractContextManager[dict]:
    """Where `Parallel` works, with its options: this machine, or all of a scheduler's workers."""
    if scheduler and chunks:
        from deadgcn.experiments.cluster import workers_of  # needs packages that nothing else does

        return workers_of(scheduler)
    return nullcontext({"n_jobs": 1 if kind == "cuda" else _useful_jobs(n_jobs, chunks)})


def _useful_jobs(n_jobs: int, chunks: list) -> int:
    """Cap the number of processes at what the work is worth; 1 means this process."""
    wanted = n_jobs if n_jobs > 0 else max(1, cpu_count() + 1 + n_jobs)
    return max(1, min(wanted, len(chunks), sum(map(_cost, chunks)) // WORTH_A_PROCESS))


@functools.cache
def end_with(parent: int) -> None:
    """Let this worker process end when the one that started it does: joblib's would wait for it for ever."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    if multiprocessing.current_process().name.startswith("LokyProcess"):  # not so on a cluster
        threading.Thread(target=watch, daemon=True).start()


def _train_chunk(
    number: int, configs: list[Config], kind: str, wanted: tuple[str, str], parent: int
) -> tuple[int, list[dict]]:
    end_with(parent)
    if wanted != (SOURCES, torch.__version__):  # a worker imports what the files say now, and there
        raise RuntimeError(
            "deadgcn was edited after this session imported it, or the worker on "
            f"{platform.node()} has another text of it, or another torch; restart the kernel and run again"
        )
    return number, train(configs, device=kind)


def _as_list(value: Any) -> list:
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else [value]


def _refuse_duplicates(configs: Sequence[Config]) -> None:
    seen: set[Config] = set()
    for config in configs:
        if config in seen:
            raise ValueError(
                f"every run must occur once, but {config.method!r} with num_layers={config.num_layers} and "
                f"seed={config.seed} was passed twice"
            )
        seen.add(config)
