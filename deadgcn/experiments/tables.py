"""Tidy tables of many runs: built, stored, and turned back into networks."""

import gzip
import hashlib
import io
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor
from torch_geometric.data import Data

from deadgcn.config import Config
from deadgcn.experiments.cache import write
from deadgcn.gcn.build import as_seen, build
from deadgcn.gcn.model import GCN
from deadgcn.gcn.training import use_one_thread

KEY_COLUMNS = ("dataset", "method", "num_layers", "seed")
IMPLIED_BY_METHOD = ("act", "strip")  # what the three arms differ in: their label says it already
EPOCH_TYPES = {"best_epoch": "Int64", "diverged_epoch": "Int64"}  # whole numbers, some of them missing


class Network(NamedTuple):
    """One run's network and what it computes on a graph, without dropout."""

    model: GCN  # of this one run
    x: Tensor  # [N, F], as the network sees it
    adj: Tensor  # [N, N], sparse
    logits: Tensor  # [N, C]
    activations: list[Tensor]  # L times [N, d], after the activation function


@dataclass(frozen=True)
class Tables:
    """Tidy tables of many runs; the key columns come first and are named as :class:`Config`'s fields.

    In ``runs``, ``test_acc`` and its like are those of the model that was best on validation, with ``_last``
    those of the last model; ``diverged_epoch`` is missing if the run never diverged.
    """

    runs: pd.DataFrame  # a row per run
    epochs: pd.DataFrame  # a row per run and epoch (from 0)
    layers: pd.DataFrame  # a row per run, stage (init, best, last) and layer (from 1)
    configs: list[Config] = field(repr=False)  # in the order of `runs`
    states: list[dict[str, Tensor]] = field(repr=False)  # best parameters; NaN if a run diverged at once

    @classmethod
    def from_results(cls, configs: Sequence[Config], results: Sequence[dict]) -> "Tables":
        """Build the tables from what :func:`deadgcn.train` returned for each config."""
        varied = [n for n in Config.model_fields if len({getattr(c, n) for c in configs}) > 1]
        columns = dict.fromkeys(name for name in (*KEY_COLUMNS, *varied) if name not in IMPLIED_BY_METHOD)
        runs, epochs, layers = [], [], []
        for config, result in zip(configs, results, strict=True):
            key = {name: getattr(config, name) for name in columns}
            runs.append(key | result["run"])
            epochs.append(pd.DataFrame({**key, "epoch": range(config.epochs), **result["epochs"]}))
            for stage in ("init", "best", "last"):
                numbers = range(1, config.num_layers + 1)
                layers.append(pd.DataFrame({**key, "stage": stage, "layer": numbers, **result[stage]}))
        return cls(
            pd.DataFrame(runs).astype(EPOCH_TYPES),
            pd.concat(epochs, ignore_index=True),
            pd.concat(layers, ignore_index=True),
            list(configs),
            [{n: torch.as_tensor(p) for n, p in result["best_state"].items()} for result in results],
        )

    def save(self, folder: str | Path, prefix: str) -> None:
        """Write ``<prefix>_runs.csv`` and, to seven digits, ``…_epochs.csv.gz`` and ``…_layers.csv.gz``."""
        write(Path(folder, f"{prefix}_runs.csv"), self.runs.to_csv(index=False).encode())
        for name in ("epochs", "layers"):
            text = getattr(self, name).to_csv(index=False, float_format="%.7g")
            write(Path(folder, f"{prefix}_{name}.csv.gz"), gzip.compress(text.encode(), mtime=0))

    def save_checkpoints(self, folder: str | Path) -> list[Path]:
        """Write each run's best state as a ``.pth`` file and return the paths, in the order of ``runs``.

        Tensors are named as in ``torch_geometric.nn.GCN(..., jk="last")``. Names end with a settings' digest.
        """
        paths = []
        for config, state in zip(self.configs, self.states, strict=True):
            label = re.sub(r"[^A-Za-z0-9.]+", "-", config.method).strip("-")
            digest = hashlib.sha256(config.model_dump_json().encode()).hexdigest()[:8]
            path = Path(folder, f"{label}_{config.num_layers}-layers_seed-{config.seed}_{digest}.pth")
            torch.save(state, buffer := io.BytesIO())
            write(path, buffer.getvalue())
            paths.append(path)
        return paths

    def network(self, graph: Data, trained: bool = True, **run: Any) -> Network:
        """Rebuild the network of one run, in its best or its initial state, and apply it to the graph.

        ``run`` holds settings that only this run has (``method="ReLU", num_layers=10, seed=0``).
        """
        fits = [all(getattr(config, name) == value for name, value in run.items()) for config in self.configs]
        if sum(fits) != 1:
            raise ValueError(f"run must identify one run, but {run} fits {sum(fits)} of {len(fits)}")
        place = fits.index(True)
        use_one_thread()  # as in training: sums are rounded alike, and what is exactly 0 there is 0 here
        config = self.configs[place]
        graph, adj = as_seen(graph, config.normalize_features, config.propagation)
        model = build([config], graph).eval()
        if trained:
            model.load_run_state_dict(0, self.states[place])
        with torch.no_grad():
            logits, activations = model(graph.x, adj)
        return Network(model, graph.x, adj, logits[0], [post[0] for post in activations])


def load_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """Load what :meth:`Tables.save_checkpoints` wrote, tensors only; ValueError for a damaged file."""
    content = io.BytesIO(Path(path).read_bytes())
    try:
        if damaged := zipfile.ZipFile(content).testzip():  # torch.load ignores the file's checksums
            raise ValueError(f"the checksum of {damaged} does not match")
        content.seek(0)
        return torch.load(content, weights_only=True)
    except Exception as error:  # zipfile and torch.load can raise almost anything on a corrupt file
        raise ValueError(f"{path} is not an intact checkpoint: {error}") from error
