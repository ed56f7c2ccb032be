"""Tidy tables of many runs: built, stored, and turned back into networks."""

import ast
import gzip
import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch_geometric
from torch import Tensor, nn
from torch.nn.modules import activation
from torch_geometric.data import Data

from deadgcn.config import ACTS, Config, ParameterError, unknown
from deadgcn.experiments.cache import write
from deadgcn.gcn.build import as_seen

KEY_COLUMNS = ("dataset", "method", "num_layers", "seed")
IMPLIED_BY_METHOD = ("act", "strip")  # what the three arms differ in: their label says it already
EPOCH_TYPES = {"best_epoch": "Int64", "diverged_epoch": "Int64"}  # whole numbers, some of them missing


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
        values = {n: {(c.method, getattr(c, n)) for c in configs} for n in Config.model_fields}
        columns = dict.fromkeys(KEY_COLUMNS)
        for name, pairs in values.items():
            told_by_method = name in IMPLIED_BY_METHOD and len(pairs) == len(values["method"])
            if len({value for _, value in pairs}) > 1 and not told_by_method:
                columns[name] = None
        runs, epochs, layers = [], [], []
        for config, result in zip(configs, results, strict=True):
            shown = config.model_dump(include={"act"})  # a function by its name
            key = {name: shown.get(name, getattr(config, name)) for name in columns}
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
            [
                {n: torch.as_tensor(p, device="cpu") for n, p in result["best_state"].items()}
                for result in results
            ],
        )

    def save(self, folder: str | Path, prefix: str) -> None:
        """Write ``<prefix>_runs.csv`` and, to seven digits, ``…_epochs.csv.gz`` and ``…_layers.csv.gz``."""
        write(Path(folder, f"{prefix}_runs.csv"), self.runs.to_csv(index=False).encode())
        for name in ("epochs", "layers"):
            text = getattr(self, name).to_csv(index=False, float_format="%.7g")
            write(Path(folder, f"{prefix}_{name}.csv.gz"), gzip.compress(text.encode(), mtime=0))

    def save_checkpoints(self, folder: str | Path) -> list[Path]:
        """Write each run's best state as a ``.pth`` file and return the paths, in the order of ``runs``.

        :func:`load_model` loads it. It holds ``settings`` and a ``state_dict`` with the names of
        ``torch_geometric.nn.GCN(..., jk="last")``. A file's name ends with its settings' digest.
        """
        paths = []
        for config, state in zip(self.configs, self.states, strict=True):
            label = re.sub(r"[^A-Za-z0-9.]+", "-", config.method).strip("-")
            digest = hashlib.sha256(config.model_dump_json().encode()).hexdigest()[:8]
            path = Path(folder, f"{label}_{config.num_layers}-layers_seed-{config.seed}_{digest}.pth")
            saved = {"settings": config.model_dump(mode="json"), "state_dict": state}
            torch.save(saved, buffer := io.BytesIO())
            # The zip file gets a comment of 64 bytes: the checksum of all that stands before it.
            content = buffer.getvalue()[:-2] + (64).to_bytes(2, "little")
            write(path, content + _sha256(content))
            paths.append(path)
        return paths

    def model(self, **run: Any) -> torch_geometric.nn.GCN:
        """PyTorch Geometric's own GCN with the best state of one run, in evaluation mode.

        ``run`` holds settings that only this run has (``method="ReLU", num_layers=10, seed=0``). The model
        does to features and graph what training did, by a hook where PyG has no argument for it. It has at
        least one layer. Raises ``ValueError`` unless one run fits.
        """
        if strange := run.keys() - Config.model_fields:
            raise ParameterError(unknown(name := strange.pop(), run[name], Config.model_fields))
        fits = [all(getattr(config, name) == value for name, value in run.items()) for config in self.configs]
        if sum(fits) != 1:
            raise ValueError(f"run must identify one run, but {run} fits {sum(fits)} of {len(fits)}")
        place = fits.index(True)
        return _pyg_model(self.configs[place], self.states[place])


def load_model(path: str | Path) -> torch_geometric.nn.GCN:
    """Load what :meth:`Tables.save_checkpoints` wrote: the same as :meth:`Tables.model`.

    ``load_model(path)(data.x, data.edge_index)`` are the logits ``[N, C]``. ``torch.load(path)`` gives the
    file's ``settings`` and ``state_dict``. Raises ``ValueError`` for a file that is damaged or no checkpoint,
    and for an activation function of your own, of which a file holds the name only.
    """
    content = Path(path).read_bytes()
    try:
        if _sha256(content[:-64]) != content[-64:]:
            raise ValueError("its checksum does not match")
        saved = torch.load(io.BytesIO(content), weights_only=True)
        settings, state = saved["settings"], saved["state_dict"]
    except Exception as error:  # torch.load can raise almost anything on a file that is something else
        raise ValueError(f"{path} is not an intact checkpoint ({type(error).__name__})") from error
    act = settings["act"] if settings["act"] in ACTS else module_of(settings["act"])
    if act is None:
        own = f"a function of your own, {settings['act']}: build PyG's GCN with it and load its state_dict"
        raise ValueError(f"{path} cannot be loaded, because its activation is {own}")
    return _pyg_model(Config(**settings | {"act": act}), state)


def _sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def module_of(text: str) -> nn.Module | None:
    """The activation of `torch.nn` whose repr this is, such as "ELU(alpha=1.0)"."""
    name, _, inside = text.partition("(")
    if name not in activation.__all__ or not inside.endswith(")"):
        return None
    call = ast.parse(text, mode="eval").body
    named = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    return getattr(activation, name)(*map(ast.literal_eval, call.args), **named)


def _pyg_model(config: Config, state: dict[str, Tensor]) -> torch_geometric.nn.GCN:
    if not config.num_layers:
        raise ValueError("PyG's GCN has at least one layer, but num_layers is 0")
    width, features = state["convs.0.lin.weight"].shape
    model = torch_geometric.nn.GCN(
        features,
        width,
        config.num_layers,
        len(state["lin.weight"]),
        dropout=config.dropout,
        act=config.act,
        act_kwargs={"negative_slope": config.negative_slope} if config.act == "leaky_relu" else None,
        jk="last",
        bias=config.bias,
        normalize=config.propagation == 1,
    )
    model.float().load_state_dict(state)
    if config.normalize_features or config.propagation < 1:
        model.register_forward_pre_hook(partial(_see, config))
    return model.eval()


def _see(config: Config, model: nn.Module, args: tuple) -> tuple:
    x, edge_index = args
    graph, adj = as_seen(Data(x=x, edge_index=edge_index), config.normalize_features, config.propagation)
    return graph.x, edge_index if config.propagation == 1 else adj
