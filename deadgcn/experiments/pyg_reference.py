"""PyTorch Geometric's own two-convolution GCN, trained by the same recipe as ours: a check from outside.

Two graph convolutions, the second of which gives the class scores (Kipf & Welling 2017, arXiv 1609.02907).
Ours has an activation (and dropout) after every convolution and a linear head behind the last; `head` gives
PyTorch Geometric's the same, so that architecture and implementation can be told apart.
"""

import hashlib
import json
import math
import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import torch
from joblib import Parallel, delayed
from torch.nn import functional as F
from torch_geometric.data import Data
from torch_geometric.nn import GCNConv
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.transforms import NormalizeFeatures
from tqdm import tqdm

from deadgcn.config import Config
from deadgcn.data.graphs import PROJECT, load_graph
from deadgcn.experiments import cache as finished
from deadgcn.experiments.grid import check_grid, end_with, find
from deadgcn.experiments.tables import whole_epochs
from deadgcn.gcn.training import use_one_thread

METHODS = {False: "PyG, two convolutions", True: "PyG, with our head"}
WORTH_WORKERS = 1_000  # epochs: below this, starting worker processes costs more
from deadgcn.experiments.grid import TRAINING

SOURCES = hashlib.sha256(b"\0".join(p.read_bytes() for p in [*TRAINING, Path(__file__)])).hexdigest()


class TwoConvolutions(torch.nn.Module):
    """Dropout, convolution, ReLU, dropout, convolution: logits ``[N, C]`` from features ``[N, F]``.

    With `head` the second convolution has as many channels as the first, and ReLU, dropout and a linear layer
    follow, which starts as ours does (Kaiming-uniform weights, zero bias).
    """

    def __init__(self, in_channels: int, out_channels: int, config: Config, head: bool = False) -> None:
        super().__init__()
        width = config.hidden_channels
        self.first = GCNConv(in_channels, width, normalize=False)
        self.second = GCNConv(width, width if head else out_channels, normalize=False)
        self.head = torch.nn.Linear(width, out_channels) if head else None
        if head:
            torch.nn.init.kaiming_uniform_(self.head.weight, nonlinearity="relu")
            torch.nn.init.zeros_(self.head.bias)
        self.config = config

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Return the logits of sparse COO features, with normalised edges and their weights."""
        # Most words are zeros, which dropout leaves as they are: GCNConv's forward pass in two steps.
        values = F.dropout(x.values(), self.config.input_dropout, self.training)
        options = {"is_coalesced": True, "check_invariants": False}
        x = torch.sparse_coo_tensor(x.indices(), values, x.shape, **options)
        h = torch.sparse.mm(x, self.first.lin.weight.T)  # [N, hidden]
        h = (self.first.propagate(edge_index, x=h, edge_weight=weight) + self.first.bias).relu()
        h = self.second(F.dropout(h, self.config.dropout, self.training), edge_index, weight)
        return self.head(F.dropout(h.relu(), self.config.dropout, self.training)) if self.head else h


def train_two_convolutions(config: Config, graph: Data | None = None, head: bool = False) -> dict[str, float]:
    """Train one such network from the config's seed, with its recipe, and return a row like one of `runs`.

    ``test_acc``, ``val_acc`` and ``best_epoch`` are those of the model that was best on validation (ties:
    earliest), with ``_last`` those of the last. Stripping, depth and activation of the config do not apply.
    A run that diverges (see :func:`deadgcn.gcn.training.train`) ends there, and its last accuracies are missing.
    """
    use_one_thread()
    graph = load_graph(config.dataset) if graph is None else graph.clone()
    if config.normalize_features:
        graph = NormalizeFeatures()(graph)
    graph.x = graph.x.to_sparse()
    edges = gcn_norm(graph.edge_index, None, graph.num_nodes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        classes = int(graph.y.max()) + 1
        model = TwoConvolutions(graph.num_features, classes, config, head)
        optimizer = _optimizer(model, config)
        best = {"best_epoch": None, "diverged_epoch": None, "test_acc": math.nan, "val_acc": math.nan}
        for epoch in range(config.epochs):
            model.train()
            optimizer.zero_grad()
            logits = model(graph.x, *edges)
            (loss := F.cross_entropy(logits[graph.train_mask], graph.y[graph.train_mask])).backward()
            optimizer.step()
            last = _evaluate(model, graph, edges)
            if math.isnan(last["val_acc"]) or not loss.isfinite():
                best, last = best | {"diverged_epoch": epoch}, dict.fromkeys(last, math.nan)
                break
            if config.counts(epoch) and not last["val_acc"] <= best["val_acc"]:
                best |= {"best_epoch": epoch, **last}
    return {**best, **{f"{name}_last": value for name, value in last.items()}}


def run_reference(
    configs: Sequence[Config], head: bool = False, n_jobs: int = -1, cache: str | Path | None = ".cache"
) -> pd.DataFrame:
    """Train a two-convolution network for each config and return a table like ``Tables.runs``.

    Args:
        configs: from :func:`deadgcn.experiments.grid.grid`; one network is trained per config.
        head: see :class:`TwoConvolutions`.
        n_jobs, cache: as for :func:`deadgcn.experiments.grid.run_grid`.
    """
    check_grid(configs, n_jobs)
    folder = None if cache is None else PROJECT / cache
    keys = {config: _key(config, head) for config in configs}
    rows = find(folder, keys.values())
    missing = {key: config for config, key in keys.items() if key not in rows}
    is_small = sum(config.epochs for config in missing.values()) < WORTH_WORKERS
    tasks = (delayed(_train)(config, head, os.getpid()) for config in missing.values())
    trained = Parallel(n_jobs=1 if is_small else n_jobs, return_as="generator")(tasks)
    for key, row in zip(missing, tqdm(trained, total=len(missing), disable=is_small), strict=True):
        rows[key] = row
        if folder:
            finished.store(folder, key, row)
    names = [
        {"dataset": c.dataset, "method": METHODS[head], "num_layers": 2, "seed": c.seed} for c in configs
    ]
    runs = [name | rows[keys[config]] for name, config in zip(names, configs, strict=True)]
    return whole_epochs(pd.DataFrame(runs))


def _train(config: Config, head: bool, parent: int) -> dict[str, float]:
    end_with(parent)
    return train_two_convolutions(config, head=head)


def _key(config: Config, head: bool) -> str:
    ignored = {"method", "num_layers", "act", "negative_slope"}
    packages = {name: version(name) for name in ("torch", "torch-geometric")}
    settings = config.model_dump(mode="json", exclude=ignored)
    return json.dumps({**settings, **packages, "head": head, "sources": SOURCES})


def _optimizer(model: TwoConvolutions, config: Config) -> torch.optim.Adam:
    first = list(model.first.parameters())
    rest = [p for name, p in model.named_parameters() if not name.startswith("first.")]
    of_rest = config.weight_decay if config.weight_decay_on == "all" else 0.0
    groups = [
        {"params": first, "weight_decay": config.weight_decay},
        {"params": rest, "weight_decay": of_rest},
    ]
    return torch.optim.Adam(groups, lr=config.lr)


@torch.no_grad()
def _evaluate(model: TwoConvolutions, graph: Data, edges: tuple) -> dict[str, float]:
    model.eval()
    logits = model(graph.x, *edges)
    correct = (logits.argmax(-1) == graph.y).double()
    if not logits.isfinite().all():  # no answers to count
        correct = correct.fill_(math.nan)
    return {f"{part}_acc": correct[graph[f"{part}_mask"]].mean().item() for part in ("test", "val")}
