"""Other graphs of PyTorch Geometric by name, such as "KarateClub", "Actor" or "Amazon-Photo".

A name is that of a class in `torch_geometric.datasets`, and after a hyphen the class's `name` argument.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from deadgcn.data import DataError, DataUnavailableError, read_checksums

# torch and PyTorch Geometric take seconds to import, so they are imported only where they are used.
if TYPE_CHECKING:
    from torch import Tensor
    from torch_geometric.data import Data, Dataset

TRAIN_PER_CLASS, VAL_PER_CLASS = 20, 30
RECORD = "SHA256SUMS"
MASKS = ("train_mask", "val_mask", "test_mask")


def is_known(name: str) -> bool:
    """Whether PyTorch Geometric has this class, with a ``name`` if and only if the class takes one."""
    from torch_geometric import datasets

    kind, _, variant = name.partition("-")
    if kind not in datasets.__all__:
        return False
    wanted = inspect.signature(getattr(datasets, kind).__init__).parameters
    # Data sets without a folder are random, except KarateClub.
    return ("name" in wanted) == bool(variant) and ("root" in wanted or kind == "KarateClub")


def load(name: str, root: Path) -> Data:
    """The graph with ``x [N, F]``, ``y [N]``, both directions of every edge, and its first split.

    A graph without a split gets one from :func:`split`. PyTorch Geometric downloads to ``root/name`` and
    publishes no checksums: those of the first use are recorded, and checked before anything is opened later.

    Raises ``DataUnavailableError`` if it cannot be obtained, and ``DataError`` if a file has changed or the
    graph cannot be trained on.
    """
    ensure(name, root)
    return _plain_graph(_construct(name, root / name), name)


def ensure(name: str, root: Path) -> None:
    """Obtain the files if they are missing, check them if they are there; raises as :func:`load` does."""
    folder = root / name
    if name == "KarateClub":
        return
    if (folder / RECORD).is_file():
        _check(folder)
        return
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".part-") as part:
        # A folder that is there was put there by the user.
        fresh = folder if folder.exists() else Path(part, name)
        _construct(name, fresh)
        lines = [f"{sha256}  {file}\n" for file, sha256 in _checksums(fresh).items()]
        (fresh / RECORD).write_text("".join(lines), encoding="utf-8")
        if fresh != folder:
            os.rename(fresh, folder)


def split(y: Tensor, train_mask: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Masks ``[N]`` of training, validation and test nodes; the same classes ``[N]`` have the same split.

    20 nodes of each class train (at most half of them), 30 per class validate (at most half of the rest), and
    the others test, as in Shchur et al. 2018, arXiv 1811.05868. A given ``train_mask`` is kept.

    >>> import torch
    >>> [int(mask.sum()) for mask in split(torch.tensor([0, 0, 0, 1, 1, 1]))]
    [2, 2, 2]
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
    except OSError as error:
        raise DataUnavailableError(
            f"{name} is not available: it is not in {folder.parent} and cannot be downloaded ({error})."
        ) from error
    except Exception as error:  # an unknown name or a malformed file can raise almost anything in PyG
        raise DataError(f"PyTorch Geometric cannot load {name}: {error!r}") from error


def _plain_graph(dataset: Dataset, name: str) -> Data:
    from torch_geometric.data import Data
    from torch_geometric.utils import to_undirected

    graph = dataset[0]
    if fault := "it has several graphs" if len(dataset) != 1 else _fault(graph):
        raise DataError(f"{name} cannot be used: {fault}. It is {graph}.")
    masks = [graph.get(key) for key in MASKS]
    masks = [mask if mask is None else mask.reshape(len(mask), -1)[:, 0].bool() for mask in masks]
    if any(mask is None for mask in masks):
        masks = split(graph.y, masks[0])
    if empty := [key for key, mask in zip(MASKS, masks, strict=True) if not mask.any()]:
        raise DataError(f"{name} cannot be used: no node is in its {' or '.join(empty)}.")
    edges = to_undirected(graph.edge_index, num_nodes=len(graph.y))
    named = dict(zip(MASKS, masks, strict=True))
    return Data(x=graph.x.to_dense().float(), y=graph.y, edge_index=edges, **named)


def _fault(graph: Data) -> str | None:
    """Why one cannot train on this graph."""
    import torch

    x, y, edges = (getattr(graph, key, None) for key in ("x", "y", "edge_index"))
    if not (torch.is_tensor(x) and x.dim() == 2 and x.numel() and torch.is_tensor(edges)):
        return "it has no edge_index [2, E] or no features x [N, F]"
    if not (torch.is_tensor(y) and y.shape == x.shape[:1] and not y.is_floating_point()):
        return "its nodes do not have one class each, y [N]"
    if not x.to_dense().isfinite().all():
        return "some features are not finite (NaN or infinity)"
    if (classes := y.unique().tolist()) != list(range(len(classes))) or len(classes) < 2:
        return f"its classes must be 0, 1, ..., C - 1 (C at least 2), each with nodes, but are {classes}"
    if not (edges[0] != edges[1]).any() or int(edges.min()) < 0 or int(edges.max()) >= len(y):
        return f"it has no edge between two of its nodes, or an edge to a node outside 0 to {len(y) - 1}"
    return None


def _checksums(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != RECORD)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _check(folder: Path) -> None:
    expected, found = read_checksums(folder / RECORD), _checksums(folder)
    for name in sorted(expected | found):
        if expected.get(name) != found.get(name):
            was, now = (sums.get(name, "(no file)") for sums in (expected, found))
            raise DataError(
                f"{folder / name} has changed since its first use: expected SHA-256 {was}, found {now}; "
                f"delete {folder} and run again."
            )
