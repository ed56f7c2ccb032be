"""Other graphs of PyTorch Geometric's collection, by name: "KarateClub", "Actor", "Amazon-Photo".

A name is that of the class in `torch_geometric.datasets`; after a hyphen comes what the class calls `name`.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from deadgcn.data.graphs import DataError, DataUnavailableError

# torch and PyTorch Geometric take seconds to import: imported where used.
if TYPE_CHECKING:
    from torch import Tensor
    from torch_geometric.data import Data, Dataset

TRAIN_PER_CLASS, VAL_PER_CLASS = 20, 30
RECORD = "SHA256SUMS"


def is_known(name: str) -> bool:
    """Whether PyTorch Geometric has such a class, and the class a name where one is given."""
    from torch_geometric import datasets

    kind, _, variant = name.partition("-")
    if kind not in datasets.__all__:
        return False
    wanted = inspect.signature(getattr(datasets, kind).__init__).parameters
    # What has no folder is generated: anew each time, but for this one.
    return ("name" in wanted) == bool(variant) and ("root" in wanted or kind == "KarateClub")


def load(name: str, root: Path) -> Data:
    """The graph, with ``x [N, F]``, ``y [N]``, both directions of every edge, and a split.

    Of several splits the first is taken. Where there is none, 20 nodes per class train, 30 per class
    validate and the others test (Shchur et al. 2018, arXiv 1811.05868), and less where there are too few
    (see :func:`split`).

    What lies in ``root/name`` was downloaded by PyTorch Geometric from the address that it knows, and
    nobody's checksum is known for it: that of the first time is recorded, and checked ever after, before
    anything is opened.

    Raises :class:`deadgcn.data.graphs.DataUnavailableError` if it cannot be had, and DataError if a file is not as
    recorded, or if this is no graph whose nodes have one class each.
    """
    ensure(name, root)
    return _plain_graph(_construct(name, root / name), name)


def ensure(name: str, root: Path) -> None:
    """Obtain the files if they are not there, and check them if they are; raises as :func:`load` does."""
    folder = root / name
    if name == "KarateClub":
        return
    if (folder / RECORD).is_file():
        _check(folder)
    elif folder.exists():  # put there by the user
        _construct(name, folder)
        _record(folder)
    else:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".part-") as part:
            fresh = Path(part, name)
            _construct(name, fresh)
            _record(fresh)
            os.rename(fresh, folder)


def split(y: Tensor, train_mask: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Masks ``[N]`` of training, validation and test nodes, always the same for the same classes ``[N]``.

    Training takes 20 nodes of each class, but at most half of them; validation 30 times the classes, but
    at most half of what is left; test has the rest. A given `train_mask` stays.
    """
    import torch

    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    if train_mask is None:
        train_mask = torch.zeros_like(y, dtype=torch.bool)
        for label in y.unique():
            nodes = order[y[order] == label]
            train_mask[nodes[: min(TRAIN_PER_CLASS, len(nodes) // 2)]] = True
    rest = order[~train_mask[order]]
    val_mask = torch.zeros_like(train_mask)
    val_mask[rest[: min(VAL_PER_CLASS * len(y.unique()), len(rest) // 2)]] = True
    return train_mask, val_mask, ~train_mask & ~val_mask


def _construct(name: str, folder: Path) -> Dataset:
    from torch_geometric import datasets

    kind, _, variant = name.partition("-")
    wanted = inspect.signature(getattr(datasets, kind).__init__).parameters
    given = {"root": str(folder), "name": variant}
    try:
        return getattr(datasets, kind)(**{key: value for key, value in given.items() if key in wanted})
    except (AssertionError, KeyError) as error:  # how it says that it has no such name
        raise DataError(
            f"{kind} of PyTorch Geometric has no data set named {variant!r} ({error!r})"
        ) from error
    except OSError as error:
        raise DataUnavailableError(
            f"{name} is not available: it is not in data/ and cannot be downloaded ({error}); connect to the "
            f"network, or put what PyTorch Geometric would download into data/{name}."
        ) from error


def _plain_graph(dataset: Dataset, name: str) -> Data:
    import torch
    from torch_geometric.data import Data
    from torch_geometric.utils import to_undirected

    graph = dataset[0]
    x, y = getattr(graph, "x", None), getattr(graph, "y", None)
    has_features = torch.is_tensor(x) and x.dim() == 2
    has_classes = torch.is_tensor(y) and y.dim() == 1 and not y.is_floating_point() and int(y.min()) >= 0
    if len(dataset) != 1 or not isinstance(graph, Data) or not has_features or not has_classes:
        raise DataError(
            f"{name} must be one graph whose nodes have features and one class each, but is {graph}"
        )
    masks = [_first(getattr(graph, f"{part}_mask", None)) for part in ("train", "val", "test")]
    if any(mask is None for mask in masks):
        masks = split(y, masks[0])
    edges = to_undirected(graph.edge_index, num_nodes=len(y))
    named = dict(zip(("train_mask", "val_mask", "test_mask"), masks, strict=True))
    return Data(x=x.to_dense().float(), y=y, edge_index=edges, **named)


def _first(mask: Tensor | None) -> Tensor | None:
    return None if mask is None else mask.reshape(len(mask), -1)[:, 0].bool()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != RECORD)


def _record(folder: Path) -> None:
    sums = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}"
        for path in _files(folder)
    ]
    (folder / RECORD).write_text("\n".join(sums) + "\n", encoding="utf-8")


def _check(folder: Path) -> None:
    lines = (folder / RECORD).read_text(encoding="utf-8").splitlines()
    expected = {folder / name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    for path in sorted({*expected, *_files(folder)}):
        found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no file"
        if found != expected.get(path):
            raise DataError(
                f"{path} is not as it was when {folder.name} was first used, and nothing there was opened: "
                f"expected SHA-256 {expected.get(path, 'of no such file')}, found {found}; "
                f"delete {folder} and run again."
            )
