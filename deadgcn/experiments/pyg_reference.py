"""PyTorch Geometric's own two-layer GCN, trained by the same recipe as ours: an independent check.

Its second convolution gives the class scores (Kipf & Welling 2017, arXiv 1609.02907). Ours has an activation
and dropout after every convolution, and a linear head. With `head`, PyTorch Geometric's network has them too,
which tells differences of architecture from those of implementation.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F
from torch_geometric.data import Data
from torch_geometric.nn import GCN
from torch_geometric.transforms import NormalizeFeatures

from deadgcn.config import Config
from deadgcn.data.graphs import load_graph
from deadgcn.experiments.parallel import SOURCES, check_runs, run_chunks
from deadgcn.experiments.tables import EPOCH_TYPES
from deadgcn.gcn.training import use_one_thread

METHODS = {False: "PyG, two convolutions", True: "PyG, with our head"}
OWN_SOURCE = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
IGNORED = {"method", "num_layers", "act", "negative_slope"}


def run_reference(
    configs: Sequence[Config], head: bool = False, n_jobs: int = -1, cache: str | Path | None = ".cache"
) -> pd.DataFrame:
    """Train PyTorch Geometric's GCN for each config and return a table like ``Tables.runs``.

    Args:
        configs: from :func:`deadgcn.grid`; depth, activation and stripping are ignored.
        head: whether the network has our linear head.
        n_jobs, cache: as for :func:`deadgcn.run_grid`.
    """
    check_runs(configs, n_jobs)
    keys = {config: _key(config, head) for config in configs}
    work, chunks = partial(_train_each, head=head), [[config] for config in keys]
    rows = run_chunks(work, chunks, keys, n_jobs, cache)
    method = {"method": METHODS[head], "num_layers": 2}
    runs = [{"dataset": c.dataset, **method, "seed": c.seed, **rows[c]} for c in configs]
    return pd.DataFrame(runs).astype(EPOCH_TYPES)


def train_reference(config: Config, graph: Data, head: bool = False) -> dict[str, float | None]:
    """Train one network from the config's seed and return its numbers, named as in ``Tables.runs``.

    ``test_acc``, ``val_acc`` and ``best_epoch`` are those of the model that was best on validation (ties:
    earliest), with ``_last`` those of the last. A run that diverges is not trained further.
    """
    use_one_thread()
    graph = NormalizeFeatures()(graph) if config.normalize_features else graph
    x, train = graph.x.to_sparse(), graph.train_mask
    best = {"best_epoch": None, "diverged_epoch": None, "test_acc": math.nan, "val_acc": math.nan}
    best_val = -1.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = build_reference(config, graph, head)
        optimizer = _optimizer(model, config)
        for epoch in range(config.epochs):
            model.train()
            optimizer.zero_grad()
            logits = model(_sparse_dropout(x, config.input_dropout), graph.edge_index)
            loss = F.cross_entropy(logits[train], graph.y[train])
            loss.backward()
            optimizer.step()
            last = _evaluate(model, x, graph)
            if not (loss.isfinite() and math.isfinite(last["val_acc"])):
                best["diverged_epoch"], last = epoch, dict.fromkeys(last, math.nan)
                break
            if config.counts(epoch) and last["val_acc"] > best_val:
                best_val = last["val_acc"]
                best |= {"best_epoch": epoch, **last}
    return {**best, **{f"{name}_last": value for name, value in last.items()}}


def build_reference(config: Config, graph: Data, head: bool = False) -> GCN:
    """PyTorch Geometric's GCN of two layers, with first weights; the head's are drawn as ours are."""
    sizes = (graph.num_features, config.hidden_channels, 2, int(graph.y.max()) + 1)
    model = GCN(*sizes, dropout=config.dropout, jk="last" if head else None, cached=True)
    if head:
        torch.nn.init.kaiming_uniform_(model.lin.weight, nonlinearity="relu")
        torch.nn.init.zeros_(model.lin.bias)
    return model


def _train_each(configs: Sequence[Config], head: bool) -> list[dict]:
    return [train_reference(config, load_graph(config.dataset), head) for config in configs]


def _key(config: Config, head: bool) -> str:
    settings = config.model_dump(mode="json", exclude=IGNORED)
    packages = {name: version(name) for name in ("torch", "torch-geometric")}
    return json.dumps({**settings, **packages, "head": head, "sources": [SOURCES, OWN_SOURCE]})


def _sparse_dropout(x: Tensor, p: float) -> Tensor:
    """Dropout on the non-zeros of sparse features; a zero stays zero either way."""
    values = F.dropout(x.values(), p)
    return torch.sparse_coo_tensor(x.indices(), values, x.shape, is_coalesced=True, check_invariants=False)


def _optimizer(model: GCN, config: Config) -> torch.optim.Adam:
    rest = [p for name, p in model.named_parameters() if not name.startswith("convs.0.")]
    of_rest = config.weight_decay if config.weight_decay_on == "all" else 0.0
    first_layer = {"params": model.convs[0].parameters(), "weight_decay": config.weight_decay}
    return torch.optim.Adam([first_layer, {"params": rest, "weight_decay": of_rest}], lr=config.lr)


@torch.no_grad()
def _evaluate(model: GCN, x: Tensor, graph: Data) -> dict[str, float]:
    logits = model.eval()(x, graph.edge_index)
    correct = (logits.argmax(-1) == graph.y).double()
    if not logits.isfinite().all():  # no answers to count
        correct = correct.fill_(math.nan)
    return {f"{part}_acc": correct[graph[f"{part}_mask"]].mean().item() for part in ("test", "val")}
