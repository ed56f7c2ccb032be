"""Other graphs of PyTorch Geometric by name, such as "KarateClub", "Actor" or "Amazon-Photo".

A name is that of a class in `torch_geometric.datasets`, and after a hyphen the class's `name` argument.
"""

import os
import re
import tempfile
from pathlib import Path

import pooch
import torch
from torch import Tensor
from torch_geometric import datasets
from torch_geometric.data import Data, Dataset
from torch_geometric.utils import to_undirected

from deadgcn.config import DATASETS
from deadgcn.data import RECORD, DataError, DataUnavailableError, check_files, read_checksums

MASKS = ("train_mask", "val_mask", "test_mask")


def ensure(name: str, folder: Path) -> None:
    """Let PyTorch Geometric download the files and record their checksums, or check those on record.

    Raises ``ValueError`` for an unknown name, ``DataUnavailableError`` if the data set cannot be obtained,
    and ``DataError`` if a file has changed since its first use.
    """
    kind = name.partition("-")[0]
    if kind not in datasets.__all__ or kind.startswith("Fake") or not re.fullmatch(r"[\w.-]+", name):
        legal = f"{', '.join(DATASETS)}, auto (in notebooks), or a data set of PyG's, such as Amazon-Photo"
        raise ValueError(f"dataset must be one of {legal}, but {name!r} was passed")
    if name == "KarateClub":
        return
    if (folder / RECORD).exists():
        recorded = {folder / file: checksum for file, checksum in read_checksums(folder / RECORD).items()}
        check_files(dict.fromkeys(_files(folder), "(not recorded)") | recorded)
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".part-") as part:
        # A folder that is there was put there by the user.
        fresh = folder if folder.exists() else Path(part, name)
        _construct(name, fresh)
        lines = [f"{pooch.file_hash(path)}  {path.relative_to(fresh)}\n" for path in _files(fresh)]
        (fresh / RECORD).write_text("".join(lines), encoding="utf-8")
        if fresh != folder:
            os.rename(fresh, folder)


def load(name: str, folder: Path) -> Data:
    """The graph with ``x [N, F]``, ``y [N]``, both directions of every edge, and its first split.

    A graph without a split gets one from :func:`split`. Call :func:`ensure` first, which checks the files in
    the folder. Raises as :func:`ensure` does, and ``DataError`` if the graph cannot be trained on.
    """
    dataset = _construct(name, folder)
    graph = dataset[0]
    fault = "it has several graphs" if len(dataset) != 1 else _fault(graph)
    if fault:
        raise DataError(f"{name} cannot be used: {fault}. It is {graph}.")
    masks = {key: graph[key].reshape(len(graph.y), -1)[:, 0].bool() for key in MASKS if key in graph}
    if len(masks) < len(MASKS):
        masks = split(graph.y, masks.get("train_mask"))
    if empty := [key for key, mask in masks.items() if not mask.any()]:
        raise DataError(f"{name} cannot be used: no node is in its {' or '.join(empty)}.")
    edges = to_undirected(graph.edge_index, num_nodes=len(graph.y))
    return Data(x=graph.x.to_dense().float(), y=graph.y, edge_index=edges, **masks)


def split(y: Tensor, train_mask: Tensor | None = None) -> dict[str, Tensor]:
    """Masks ``[N]`` of training, validation and test nodes; the same classes ``[N]`` have the same split.

    20 nodes of each class train (at most half of them), 30 per class validate (at most half of the rest), and
    the others test, as in Shchur et al. 2018, arXiv 1811.05868. A given ``train_mask`` is kept.

    >>> {name: int(mask.sum()) for name, mask in split(torch.tensor([0, 0, 0, 1, 1, 1])).items()}
    {'train_mask': 2, 'val_mask': 2, 'test_mask': 2}
    """
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    if train_mask is None:
        train_mask = torch.zeros_like(y, dtype=torch.bool)
        for label in y.unique():
            nodes = order[y[order] == label]
            train_mask[nodes[: min(20, len(nodes) // 2)]] = True
    rest = order[~train_mask[order]]
    val_mask = torch.zeros_like(train_mask)
    val_mask[rest[: min(30 * len(y.unique()), len(rest) // 2)]] = True
    return {"train_mask": train_mask, "val_mask": val_mask, "test_mask": ~train_mask & ~val_mask}


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != RECORD)


def _construct(name: str, folder: Path) -> Dataset:
    kind, _, variant = name.partition("-")
    options = {"name": variant} if variant else {}
    if kind != "KarateClub":
        options["root"] = str(folder)
    try:
        return getattr(datasets, kind)(**options)
    except OSError as error:
        raise DataUnavailableError(f"{name} is not there and cannot be downloaded: {error}") from error
    except Exception as error:  # an unknown name or a malformed file can raise almost anything in PyG
        raise DataError(f"PyTorch Geometric cannot load {name!r}: {error!r}") from error


def _fault(graph: Data) -> str | None:
    x, y, edges = (getattr(graph, key, None) for key in ("x", "y", "edge_index"))
    tensors = torch.is_tensor(x) and torch.is_tensor(y) and torch.is_tensor(edges)
    if not tensors or x.dim() != 2 or not x.numel() or y.shape != x.shape[:1] or y.is_floating_point():
        return "it needs features x [N, F], one class per node y [N], and edge_index [2, E]"
    if not x.to_dense().isfinite().all():
        return "some features are not finite (NaN or infinity)"
    if (classes := y.unique().tolist()) != list(range(len(classes))) or len(classes) < 2:
        return f"its classes must be 0, 1, ..., C - 1 (C at least 2), each with nodes, but are {classes}"
    if not (edges[0] != edges[1]).any() or int(edges.min()) < 0 or int(edges.max()) >= len(y):
        return f"it has no edge between two of its nodes, or an edge to a node outside 0 to {len(y) - 1}"
    return None
