"""What every notebook sets up: the data set, its graph, output folders and the settings of its runs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch_geometric.data import Data

from deadgcn.config import PROJECT, Config
from deadgcn.data.graphs import load_graph, resolve_dataset
from deadgcn.experiments.grid import run_grid
from deadgcn.experiments.tables import Tables
from deadgcn.gcn.training import use_one_thread


@dataclass(frozen=True, repr=False)
class Study:
    """A data set with output folders and the settings that all of a notebook's runs share."""

    dataset: str  # never "auto"
    graph: Data
    figures: Path  # folders for what the notebook makes; they exist
    results: Path
    settings: dict[str, Any]  # keyword arguments for `grid`
    num_classes: int
    majority: float  # accuracy of always answering the largest class of the test nodes
    val_majority: float  # the same for the validation nodes
    run: Callable[[Sequence[Config]], Tables]  # `run_grid` with the notebook's n_jobs and scheduler

    def __repr__(self) -> str:  # without folders: executed notebooks keep it
        return f"Study of {self.dataset}"

    def _repr_markdown_(self) -> str:
        kind = ", a **synthetic** graph" if self.dataset == "SyntheticCora" else ""
        nodes, edges = self.graph.num_nodes, self.graph.num_edges // 2
        sizes = f"{nodes:,} nodes, {edges:,} edges, {self.num_classes} classes"
        return f"**{self.dataset}**{kind}: {sizes}; majority class {self.majority:.1%} of the test nodes."


def open_study(
    dataset: str, output_dir: str, n_jobs: int = -1, scheduler: str = "", dropout: float = 0, **settings: Any
) -> Study:
    """Load a data set and create the folders ``output_dir/{figures,results}/<dataset>`` in the project.

    ``"auto"`` is Cora, or its synthetic twin if Cora's files cannot be obtained. `dropout` acts on the
    features and after each activation; `settings` are other fields of :class:`Config` that all runs share.
    Raises ``ValueError`` for an unknown data set or setting, or a value out of range.
    """
    dataset = resolve_dataset(dataset)
    shared = {"dataset": dataset, "dropout": dropout, "input_dropout": dropout, **settings}
    Config(**shared)  # refuses bad settings
    use_one_thread()  # so that what a notebook computes itself is rounded as in training
    graph = load_graph(dataset)
    folders = [PROJECT / output_dir / kind / dataset for kind in ("figures", "results")]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    classes = [graph.y[mask] for mask in (graph.test_mask, graph.val_mask)]
    majorities = [y.bincount().max().item() / len(y) for y in classes]
    run = partial(run_grid, n_jobs=n_jobs, scheduler=scheduler)
    return Study(dataset, graph, *folders, shared, int(graph.y.max()) + 1, *majorities, run)
