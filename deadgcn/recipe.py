"""PyTorch Geometric's own two-convolution GCN, trained by the same recipe as ours: a check from outside.

Two graph convolutions, the second of which gives the class scores (Kipf & Welling 2017, arXiv 1609.02907).
Ours has an activation (and dropout) after every convolution and a linear head behind the last; `head` gives
PyTorch Geometric's the same, so that architecture and implementation can be told apart.
"""

import hashlib
import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import torch
from joblib import Memory, Parallel, delayed
from torch.nn import functional as F
from torch_geometric.data import Data
from torch_geometric.nn import GCNConv
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.transforms import NormalizeFeatures
from tqdm import tqdm

from deadgcn.config import Config
from deadgcn.data import PROJECT, load_graph, resolve_dataset
from deadgcn.training import use_one_thread

METHODS = {False: "PyG, two convolutions", True: "PyG, with our head"}
WORTH_WORKERS = 1_000  # epochs: below this, starting worker processes costs more
SOURCES = hashlib.sha256(
    b"\0".join(
        (Path(__file__).parent / f"{name}.py").read_bytes()
        for name in ("config", "data", "recipe", "synthetic")
    )
).hexdigest()


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
        best = {"best_epoch": -1, "val_acc": -1.0}
        for epoch in range(config.epochs):
            model.train()
            optimizer.zero_grad()
            logits = model(graph.x, *edges)
            F.cross_entropy(logits[graph.train_mask], graph.y[graph.train_mask]).backward()
            optimizer.step()
            last = _evaluate(model, graph, edges)
            if config.counts(epoch) and last["val_acc"] > best["val_acc"]:
                best = {"best_epoch": epoch, **last}
    return {**best, **{f"{name}_last": value for name, value in last.items()}}


def run_reference(
    configs: Sequence[Config], head: bool = False, n_jobs: int = -1, cache: str | Path | None = ".cache"
) -> pd.DataFrame:
    """Train a two-convolution network for each config and return a table like ``Tables.runs``.

    Args:
        configs: from :func:`deadgcn.experiments.grid`; one network is trained per config.
        head: see :class:`TwoConvolutions`.
        n_jobs, cache: as for :func:`deadgcn.experiments.run_grid`.
    """
    if not configs:
        raise ValueError("configs must have at least one entry, but an empty list was passed")
    for dataset in {config.dataset for config in configs}:
        resolve_dataset(dataset)
    train = Memory(None if cache is None else PROJECT / cache, verbose=0, compress=1).cache(
        _train, ignore=["config", "head"]
    )
    keys = [_key(config, head) for config in configs]
    is_small = sum(config.epochs for config in configs) < WORTH_WORKERS
    tasks = (delayed(train)(key, config, head) for key, config in zip(keys, configs, strict=True))
    done = cache is not None and all(train.check_call_in_cache(key, None, head) for key in keys)
    rows = Parallel(n_jobs=1 if is_small or done else n_jobs, return_as="generator")(tasks)
    rows = list(tqdm(rows, total=len(configs), disable=done or is_small))
    names = [
        {"dataset": c.dataset, "method": METHODS[head], "num_layers": 2, "seed": c.seed} for c in configs
    ]
    return pd.DataFrame([name | row for name, row in zip(names, rows, strict=True)])


def _train(key: str, config: Config, head: bool) -> dict[str, float]:
    """Body of the cache; the key says all that the result depends on."""
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
    correct = (model(graph.x, *edges).argmax(-1) == graph.y).double()
    return {f"{part}_acc": correct[graph[f"{part}_mask"]].mean().item() for part in ("test", "val")}
