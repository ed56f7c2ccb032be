"""PyTorch Geometric's own two-layer GCN, trained by the same recipe as ours: an independent check.

Its second convolution gives the class scores (Kipf & Welling 2017, arXiv 1609.02907). Ours has an activation
and dropout after every convolution, and a linear head; with `head`, PyTorch Geometric's network has them too.
"""

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from torch.nn import functional as F
from torch_geometric.data import Data
from torch_geometric.nn import GCN
from torch_geometric.transforms import NormalizeFeatures

from deadgcn.config import Config
from deadgcn.data.own import Content, checked
from deadgcn.experiments.parallel import run_chunks
from deadgcn.experiments.tables import EPOCH_TYPES, KEY_COLUMNS
from deadgcn.gcn.training import same_rounding

METHODS = {False: "PyG, two convolutions", True: "PyG, with our head"}
SOURCE = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


def run_reference(
    configs: Sequence[Config],
    graph: Data,
    head: bool = False,
    n_jobs: int = -1,
    cache: str | Path | None = ".cache",
) -> pd.DataFrame:
    """Train PyTorch Geometric's GCN on the graph for each config and return a table like ``Tables.runs``.

    Depth, activation and stripping are ignored. `n_jobs` and `cache` are as for :func:`deadgcn.run_grid`.
    """

    for split in {config.split for config in configs}:
        checked(graph, split)

    def work(chunk: Sequence[Config]) -> list[dict]:
        return [{"run": train_reference(config, graph, head)} for config in chunk]

    made_by = head, SOURCE
    results = run_chunks(work, configs, lambda config: config, made_by, Content.of(graph), n_jobs, cache)
    settings = pd.DataFrame([(c.dataset, METHODS[head], 2, c.seed) for c in configs], columns=KEY_COLUMNS)
    return settings.join(pd.DataFrame([result["run"] for result in results])).astype(EPOCH_TYPES)


@same_rounding()
def train_reference(config: Config, graph: Data, head: bool = False) -> dict[str, float | None]:
    """Train one network from the config's seed and return its numbers, named as in ``Tables.runs``."""
    graph = checked(graph, config.split)
    graph = NormalizeFeatures()(graph) if config.normalize_features else graph
    x, train_mask = graph.x.to_sparse(), graph.train_mask
    best_epoch, best, diverged_epoch = None, None, None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = build_reference(config, graph, head)
        first = {"params": model.convs[0].parameters(), "weight_decay": config.weight_decay}
        rest = {"params": [p for name, p in model.named_parameters() if not name.startswith("convs.0.")]}
        decay = config.weight_decay if config.weight_decay_on == "all" else 0.0
        optimizer = torch.optim.Adam([first, rest], lr=config.lr, weight_decay=decay)
        for epoch in range(config.epochs):
            model.train()
            optimizer.zero_grad()
            dropped = x.clone()
            F.dropout(dropped.values(), config.input_dropout, inplace=True)
            logits = model(dropped, graph.edge_index)
            F.cross_entropy(logits[train_mask], graph.y[train_mask]).backward()
            optimizer.step()
            with torch.no_grad():
                logits = model.eval()(x, graph.edge_index)
            correct = (logits.argmax(-1) == graph.y).double()
            if not logits.isfinite().all():
                correct.fill_(math.nan)
            last = {f"{part}_acc": correct[graph[f"{part}_mask"]].mean().item() for part in ("test", "val")}
            if math.isnan(last["val_acc"]):
                diverged_epoch = epoch if diverged_epoch is None else diverged_epoch
            elif epoch >= config.warmup and (best is None or last["val_acc"] > best["val_acc"]):
                best_epoch, best = epoch, last
    run = {"best_epoch": best_epoch, "diverged_epoch": diverged_epoch} | (best or last)
    return run | {f"{name}_last": value for name, value in last.items()}


def build_reference(config: Config, graph: Data, head: bool = False) -> GCN:
    """PyTorch Geometric's GCN of two layers, with first weights; the head's are drawn as ours are."""
    sizes = (graph.num_features, config.hidden_channels, 2, int(graph.y.max()) + 1)
    model = GCN(*sizes, dropout=config.dropout, jk="last" if head else None, cached=True)
    if head:
        torch.nn.init.kaiming_uniform_(model.lin.weight, nonlinearity="relu")
        torch.nn.init.zeros_(model.lin.bias)
    return model
