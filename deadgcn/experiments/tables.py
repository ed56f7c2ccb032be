"""Tidy tables of many runs, and how they are stored."""

import gzip
import hashlib
import io
import json
import pickle
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from deadgcn.config import Config
from deadgcn.experiments import files

KEY_COLUMNS = ("dataset", "method", "num_layers", "seed")
IMPLIED_BY_METHOD = ("act", "strip")  # what the three arms differ in: their label says it already


@dataclass(frozen=True)
class Tables:
    """Tidy tables of many runs; the key columns come first and are named as :class:`Config`'s fields.

    Each table has ``diverged_epoch``: when the run's numbers ceased to be finite, missing if they never did
    (see :func:`deadgcn.gcn.training.train`). What would be measured from there on is missing.

    Attributes:
        runs: one row per run: ``best_epoch``, and ``test_acc``, ``val_acc``, ``dead_fraction``,
            ``zero_fraction`` of the model that was best on validation, with ``_last`` those of the last.
        epochs: one row per run and epoch (from 0): ``train_loss``, ``val_acc``, ``dead_fraction``,
            ``num_stripped``.
        layers: one row per run, stage (``init``, ``best``, ``last``) and layer (from 1):
            the columns :data:`deadgcn.gcn.records.LAYER_COLUMNS`, which :func:`deadgcn.gcn.records.measure`
            explains.
        configs: the runs' settings, in the order of ``runs``.
        states: the runs' best parameters, under PyTorch Geometric's names.
    """

    runs: pd.DataFrame
    epochs: pd.DataFrame
    layers: pd.DataFrame
    configs: list[Config] = field(repr=False)
    states: list[dict[str, torch.Tensor]] = field(repr=False)

    @classmethod
    def from_results(cls, configs: Sequence[Config], results: Sequence[dict]) -> "Tables":
        """Build the tables from what :func:`deadgcn.gcn.training.train` returned for each config."""
        columns = _key_columns(configs)
        keys = [{name: getattr(config, name) for name in columns} for config in configs]
        runs = [{**key, **result["run"]} for key, result in zip(keys, results, strict=True)]
        keys = [{name: run[name] for name in [*columns, "diverged_epoch"]} for run in runs]
        pairs = list(zip(keys, results, strict=True))
        epochs = [_epoch_rows(key, result) for key, result in pairs]
        layers = [rows for key, result in pairs for rows in _layer_rows(key, result)]
        return cls(
            whole_epochs(pd.DataFrame(runs)),
            whole_epochs(pd.concat(epochs, ignore_index=True)),
            whole_epochs(pd.concat(layers, ignore_index=True)),
            list(configs),
            [result["best_state"] for result in results],
        )

    def save(self, folder: str | Path, prefix: str) -> None:
        """Write ``<prefix>_runs.csv``, ``<prefix>_{epochs,layers}.csv.gz`` and ``<prefix>_metrics.json``.

        Epochs and layers have tens of thousands of rows: their files are compressed, which pandas reads as
        it does others, and hold seven digits, as many as the networks' own numbers have. The JSON holds
        settings, versions and one entry per run; missing values are null in it, and empty in the CSV files.
        No times and no host names: the same runs give the same bytes.
        """
        _check_prefix(prefix)
        folder = Path(folder)
        runs = self.runs.to_csv(index=False, lineterminator="\n")
        files.write(folder / f"{prefix}_runs.csv", runs.encode())
        for name in ("epochs", "layers"):
            text = getattr(self, name).to_csv(index=False, lineterminator="\n", float_format="%.7g")
            files.write(folder / f"{prefix}_{name}.csv.gz", gzip.compress(text.encode(), mtime=0))
        varied = _varied(self.configs)
        metrics = {
            "settings": self.configs[0].model_dump(exclude=set(varied)),
            "versions": {name: version(name) for name in ("deadgcn", "torch", "torch-geometric", "numpy")},
            "runs": [
                {**config.model_dump(include=set(varied)), **_without_nan(row)}
                for config, row in zip(self.configs, self.runs.to_dict("records"), strict=True)
            ],
        }
        text = json.dumps(metrics, indent=1, allow_nan=False) + "\n"
        files.write(folder / f"{prefix}_metrics.json", text.encode())

    def save_checkpoints(self, folder: str | Path) -> list[Path]:
        """Write each run's best state as one ``.pth`` and return the paths, in the order of ``runs``.

        A run that diverged before any epoch counted has no best state, and gets no file.

        The files hold tensors only (``torch.load(..., weights_only=True)``), under the parameter names of
        ``torch_geometric.nn.GCN(..., jk="last")``. Their names say method, depth and seed, and end in a
        digest of all settings.
        """
        kept = self.runs["best_epoch"].notna()
        trained = zip(self.configs, self.states, kept, strict=True)
        states = {Path(folder, checkpoint_name(config)): state for config, state, has in trained if has}
        for path, state in states.items():
            torch.save(state, buffer := io.BytesIO())
            files.write(path, buffer.getvalue())
        return list(states)


def load_checkpoint(path: str | Path) -> dict[str, torch.Tensor]:
    """Load what :meth:`Tables.save_checkpoints` wrote, once the checksums inside it fit.

    ``torch.load`` alone gives a file with a flipped bit back as other numbers. Nothing but tensors is
    unpickled. Raises ValueError for a damaged file.
    """
    content = Path(path).read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as parts:
            damaged = parts.testzip()
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError) as error:
        raise ValueError(f"{path} is no whole checkpoint: {error}") from error
    if damaged is not None:
        raise ValueError(f"{path} is damaged: {damaged} in it does not fit its checksum")
    try:
        return torch.load(io.BytesIO(content), weights_only=True)
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path} is no whole checkpoint: {error}") from error


def checkpoint_name(config: Config) -> str:
    """File name of one run's checkpoint, such as ``ReLU-pruning_10-layers_seed-0_1a2b3c4d.pth``."""
    label = re.sub(r"[^A-Za-z0-9.]+", "-", config.method).strip("-")
    digest = hashlib.sha256(config.model_dump_json().encode()).hexdigest()[:8]
    return f"{label}_{config.num_layers}-layers_seed-{config.seed}_{digest}.pth"


def whole_epochs(table: pd.DataFrame) -> pd.DataFrame:
    """The table with epochs as whole numbers, also where some of them are missing."""
    present = [name for name in ("best_epoch", "diverged_epoch") if name in table]
    return table.assign(**{name: pd.array(table[name].tolist(), dtype="Int64") for name in present})


def _varied(configs: Sequence[Config]) -> list[str]:
    """Name the settings that are not the same for all configs."""
    settings = [config.model_dump() for config in configs]
    return [name for name in Config.model_fields if len({s[name] for s in settings}) > 1]


def _key_columns(configs: Sequence[Config]) -> list[str]:
    return list(dict.fromkeys([*KEY_COLUMNS, *(n for n in _varied(configs) if n not in IMPLIED_BY_METHOD)]))


def _epoch_rows(key: dict, result: dict) -> pd.DataFrame:
    columns = result["epochs"]
    return pd.DataFrame({**key, "epoch": np.arange(len(columns["train_loss"])), **columns})


def _layer_rows(key: dict, result: dict) -> list[pd.DataFrame]:
    stages = dict.fromkeys(stage for stage, _ in result["layers"])
    tables = []
    for stage in stages:
        columns = {name: values for (s, name), values in result["layers"].items() if s == stage}
        layer = np.arange(1, 1 + len(columns["norm"]))
        tables.append(pd.DataFrame({**key, "stage": stage, "layer": layer, **columns}))
    return tables


def _without_nan(row: dict) -> dict:
    return {name: None if pd.isna(value) else value for name, value in row.items()}


def _check_prefix(prefix: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", prefix):
        raise ValueError(f"prefix must be made of letters, digits, - and _, but {prefix!r} was passed")
