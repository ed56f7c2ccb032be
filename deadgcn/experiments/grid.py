"""Grids of configs, trained side by side in small groups, cached and in parallel; a notebook's set-up."""

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch_geometric.data import Data

from deadgcn.config import METHODS, PROJECT, Config, ParameterError, label_of
from deadgcn.data import check_files
from deadgcn.data.graphs import check_name, load_graph, read_graph, resolve_dataset
from deadgcn.data.own import Content, checked
from deadgcn.experiments.parallel import run_chunks
from deadgcn.experiments.tables import Tables
from deadgcn.gcn.training import resolve_device, train
from deadgcn.parameters import Parameters

# Seeds 0-4, 5-9, ... run side by side. On a processor more are no faster and leave cores idle at the end. A
# GPU wants many; how many is unmeasured, and 128 layers of 100 runs need 5 GB.
SEEDS_PER_CHUNK = {"cpu": 5, "cuda": 100}


def grid(methods: Iterable[str] | Mapping[str, Mapping[str, Any]], **axes: Any) -> list[Config]:
    """Return one config per combination of methods and axes, in that order.

    Methods are names in :data:`METHODS`, or a mapping from labels of your own to settings
    (``{"ReLU + half": {"strip": True, "amount": 0.5}}``); axes are fields of :class:`Config` with one value
    or several. Raises ``ValueError`` for an unknown method or an empty axis.

    >>> [(c.method, c.num_layers, c.seed) for c in grid(["ReLU"], num_layers=[0, 5], seed=range(2))]
    [('ReLU', 0, 0), ('ReLU', 0, 1), ('ReLU', 5, 0), ('ReLU', 5, 1)]
    """
    if not isinstance(methods, Mapping):
        methods = _as_list(methods)
        if unknown := [name for name in methods if name not in METHODS]:
            raise ValueError(f"method must be one of {list(METHODS)}, but {unknown[0]!r} was passed")
        methods = {name: METHODS[name] for name in methods}
    for label, settings in methods.items():
        if not isinstance(settings, Mapping) or "method" in settings:
            raise ValueError(f"an arm is a label with its settings, but {label!r}: {settings!r} was passed")
    axes = {name: _as_list(values) for name, values in axes.items()}
    if "method" in axes:
        raise ValueError(f"method is no axis: it is given as methods, but method={axes['method']} was passed")
    if empty := [name for name, values in {"methods": methods, **axes}.items() if not values]:
        raise ValueError(f"methods and axes must have values, but {', '.join(empty)} has none")
    points = [dict(zip(axes, point, strict=True)) for point in itertools.product(*axes.values())]
    return [Config(method=label, **point | methods[label]) for label in methods for point in points]


def run_grid(
    configs: Sequence[Config],
    n_jobs: int = -1,
    cache: str | Path | None = ".cache",
    device: str = "auto",
    scheduler: str | None = None,
    *,
    graph: Data | None = None,
    name: str | None = None,
) -> Tables:
    """Train every config that is not in the cache and return the tables of all, in the configs' order.

    Args:
        configs: from :func:`grid`, or a list of your own; no run may occur twice.
        n_jobs: number of worker processes of one thread each; -1 is one per core. Unused on CUDA.
        cache: folder for finished runs (relative to the project), or None. A run is trained again if the
            graph, torch, PyTorch Geometric, the kind of device, a variable that chooses the processor's
            routines (such as ``MKL_CBWR``), ``config.py``, ``data/`` or ``gcn/`` changed, or if ``act`` is a
            function or a module that is not torch's.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        scheduler: address of a Dask scheduler whose workers then train (see ``docs/cluster.md``).
        graph: a PyG ``Data`` of your own, on which all train instead of on ``config.dataset``;
            :func:`deadgcn.data.own.checked` says what is legal. Masks ``[N, S]`` have S splits, of which
            ``config.split`` is one; missing masks are made.
        name: of that graph in tables, titles and paths; not that of another data set.

    Raises ``ValueError`` or ``DataError`` for what cannot be trained, and ``OSError`` if there is no
    scheduler or no worker.
    """
    configs = list(configs)
    if strange := [config for config in configs if not isinstance(config, Config)]:
        raise ValueError(f"configs must be a list of Config, but it holds {strange[0]!r}")
    if (graph is None) != (name is None):
        raise ValueError(f"graph and name must be given together, but name is {name!r}")
    if graph is not None:
        check_name(str(name))
        configs = [config.model_copy(update={"dataset": name}) for config in configs]
    repeated = [config for config, count in Counter(configs).items() if count > 1]
    if repeated or not configs:
        twice = [f"{run.method}, {run.num_layers} layers, seed {run.seed}" for run in repeated[:1]]
        raise ValueError(f"configs must be different runs, at least one, but got {twice}")
    if type(n_jobs) is not int or (n_jobs < 1 and n_jobs != -1):
        raise ValueError(f"n_jobs must be a positive number, or -1 for all cores, but {n_jobs!r} was passed")
    kind = resolve_device(device).type
    runs = [config.model_copy(update={"method": "-"}) for config in configs]  # a label changes no number
    content = None
    if graph is not None:
        for split in {run.split for run in runs}:
            checked(graph, split, name)
        content = Content.of(graph)

    def chunk_of(run: Config) -> tuple:  # functions are compared by identity
        return run.model_copy(update={"seed": 0}), run.seed // SEEDS_PER_CHUNK[kind]

    work, jobs = partial(train, graph=content, device=kind), 1 if kind == "cuda" else n_jobs
    results = run_chunks(work, runs, chunk_of, kind, content, jobs, cache, scheduler)
    return Tables.from_results(configs, results)


@dataclass(frozen=True, repr=False)
class Study:
    """What a notebook sets up: a data set, output folders, and the settings that all of its runs share."""

    dataset: str  # never "auto"
    graph: Data
    figures: Path  # folders for what the notebook makes; they exist
    results: Path
    settings: dict[str, Any]  # keyword arguments for `grid`
    seeds: range  # `num_seeds` from `first_seed` on
    num_classes: int
    majority: float  # accuracy of always answering the largest class of the test nodes
    val_majority: float  # the same for the validation nodes
    run: Callable[[Sequence[Config]], Tables]  # `run_grid` with the notebook's n_jobs and scheduler

    def kept(self, profile: str, table: str, otherwise: pd.DataFrame, **same: Any) -> pd.DataFrame:
        """The table that `make profiles` has kept for this data set, or `otherwise` if there is none.

        A table counts if its parameters `same` had these values, and if its column n has no fewer runs.
        Raises ``DataError`` if it is not as its record says.
        """
        folder, file = PROJECT / "results" / "profiles" / profile / self.dataset, f"{table}.csv"
        for path in folder.glob("provenance/*.json"):
            made = json.loads(path.read_text(encoding="utf-8"))
            checksum = made["files"].get(f"results/{self.dataset}/{file}")
            if checksum and same.items() <= made["settings"].items():
                check_files({folder / file: checksum})
                kept = pd.read_csv(folder / file)
                if "n" not in kept or not kept["n"].max() < otherwise["n"].max():
                    return kept
        return otherwise

    def __repr__(self) -> str:  # without folders: executed notebooks keep it
        return f"Study of {self.dataset}"

    def _repr_markdown_(self) -> str:
        kind = ", a **synthetic** graph" if self.dataset == "SyntheticCora" else ""
        nodes, edges = self.graph.num_nodes, self.graph.num_edges // 2
        sizes = f"{nodes:,} nodes, {edges:,} edges, {self.num_classes} classes"
        return f"**{self.dataset}**{kind}: {sizes}; majority class {self.majority:.1%} of the test nodes."


def open_study(parameters: Mapping[str, Any]) -> Study:
    """Check a notebook's parameters, load its data set and create ``output_dir/{figures,results}/<dataset>``.

    `parameters` are those of :class:`deadgcn.parameters.Parameters`, such as a notebook's ``globals()``;
    other names are ignored. The data set "auto" is Cora, or its synthetic twin if Cora's files cannot be
    obtained. ``dropout`` acts on the features and after each activation; all runs share what else is a field
    of :class:`Config`. torch stays at one thread, as in training. Raises ``ParameterError`` for what is not
    legal, and as :func:`load_graph` does.
    """
    parameters = {name: value for name, value in parameters.items() if name in Parameters.model_fields}
    Parameters(**parameters)
    if missing := {"dataset", "output_dir"} - parameters.keys():
        raise ParameterError(f"a notebook needs the parameters dataset and output_dir, but has no {missing}")
    dataset = resolve_dataset(parameters["dataset"])
    names = Config.model_fields.keys() - {"method", "num_layers", "seed"}
    shared = {name: value for name, value in parameters.items() if name in names}
    shared |= {"dataset": label_of(dataset)}
    if "dropout" in shared:
        shared["input_dropout"] = shared["dropout"]
    torch.set_num_threads(1)  # so that what a notebook computes itself is rounded as in training
    torch.set_flush_denormal(True)
    graph = load_graph(dataset, split=shared.get("split", 0))
    folders = [
        PROJECT / parameters["output_dir"] / kind / label_of(dataset) for kind in ("figures", "results")
    ]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    classes = [graph.y[mask] for mask in (graph.test_mask, graph.val_mask)]
    majorities = [y.bincount().max().item() / len(y) for y in classes]
    own = {"graph": read_graph(dataset), "name": label_of(dataset)} if dataset.endswith(".pt") else {}
    options = {name: parameters[name] for name in ("n_jobs", "scheduler") if name in parameters}
    run = partial(run_grid, **own, **options)
    first, classes = parameters.get("first_seed", 0), int(graph.y.max()) + 1
    seeds = range(first, first + parameters.get("num_seeds", 0))
    return Study(label_of(dataset), graph, *folders, shared, seeds, classes, *majorities, run)


def _as_list(value: Any) -> list:
    several = isinstance(value, Iterable) and not isinstance(value, str) and getattr(value, "ndim", 1)
    return list(value) if several else [value]
