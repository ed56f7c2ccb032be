"""Any node classification graph as training needs it: one check for all, the split, and the adjacency."""

import hashlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.utils import coalesce, is_undirected, to_undirected

from deadgcn.data import DataError

warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta state", UserWarning)

MASKS = ("train_mask", "val_mask", "test_mask")


def checked(graph: Data, split: int = 0, name: str = "graph") -> Data:
    """The graph with what training uses and no more: ``x``, ``y``, ``edge_index`` and three masks ``[N]``.

    Features become dense float32, and every edge gets both directions; weights and attributes of edges are
    left out. Of masks ``[N, S]`` the column ``split`` is taken; masks that are missing are made by
    :func:`complete`. Raises ``DataError``, which names the first thing that is not legal.
    """
    for fault in _faults(graph, split):
        raise DataError(f"{name} cannot be used: {fault}")
    masks = complete(graph.y, **{key: mask_of(graph, key, split) for key in MASKS if key in graph})
    for key, mask in masks.items():
        if not mask.any():
            raise DataError(f"{name} cannot be used: no node is in its {key}")
    if (twice := (sum(mask.int() for mask in masks.values()) > 1).nonzero()).numel():
        raise DataError(f"{name} cannot be used: node {int(twice[0])} is in two of its masks")
    edges, num_nodes = checked_edges(graph.edge_index, len(graph.y)), len(graph.y)
    if not is_undirected(edges, num_nodes=num_nodes):
        edges = to_undirected(edges, num_nodes=num_nodes)
    return Data(x=graph.x.detach().to_dense().float(), y=graph.y.long(), edge_index=edges, **masks)


def is_numeric(x: Any) -> bool:
    """Whether this is a tensor of real numbers or Booleans, dense or sparse, with its numbers at hand."""
    if not torch.is_tensor(x) or x.is_meta or x.is_nested or x.is_quantized or x.is_complex():
        return False
    return not x.is_floating_point() or x.dtype.itemsize > 1  # most operations lack floats of 8 bits


def checked_edges(edge_index: Any, num_nodes: int) -> Tensor:
    """The edges as a plain int64 ``[2, E]``, from any tensor of integers of this shape, such as EdgeIndex.

    Raises ``ValueError`` for anything else, and for a node that is not in 0, ..., ``num_nodes - 1``.
    """
    found = f"a {type(edge_index).__name__}"
    if torch.is_tensor(edge_index):
        found = f"{list(edge_index.shape)} of {edge_index.dtype}, {edge_index.layout} on {edge_index.device}"
    if not isinstance(num_nodes, Integral) or num_nodes < 1:
        raise ValueError(f"num_nodes must be a whole number from 1, but is {num_nodes!r}")
    legal = is_numeric(edge_index) and edge_index.layout == torch.strided and edge_index.dim() == 2
    kinds = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
    if not legal or len(edge_index) != 2 or edge_index.dtype not in kinds:
        raise ValueError(f"edge_index must be [2, E] of integers, but is {found}")
    edges = getattr(edge_index, "as_tensor", lambda: edge_index)().long()
    if edges.numel() and not 0 <= int(edges.min()) <= int(edges.max()) < num_nodes:
        span = f"{int(edges.min())} to {int(edges.max())}"
        raise ValueError(f"edge_index must name nodes 0 to {num_nodes - 1}, but it spans {span}")
    return edges


def mask_of(graph: Data, key: str, split: int) -> Tensor:
    """The mask ``[N]`` of this name, or the column ``split`` of it; ValueError if it is none."""
    mask, num_nodes = graph[key], graph.num_nodes
    legal = is_numeric(mask) and mask.dtype == torch.bool and mask.dim() in (1, 2) and mask.numel()
    if not legal or len(mask) != num_nodes:
        found = f"{list(mask.shape)} of {mask.dtype}" if torch.is_tensor(mask) else f"a {type(mask).__name__}"
        raise ValueError(f"{key} must be boolean [{num_nodes}] or [{num_nodes}, S], but is {found}")
    if mask.dim() == 2 and split not in range(mask.shape[1]):
        raise ValueError(f"split must be 0 to {mask.shape[1] - 1}, a column of {key}, but is {split}")
    return mask if mask.dim() == 1 else mask[:, split]


def _faults(graph: Data, split: int) -> Iterator[str]:
    x, y, edges = (getattr(graph, key, None) for key in ("x", "y", "edge_index"))
    tensors = isinstance(graph, Data) and all(map(is_numeric, (x, y, edges)))
    if not tensors or x.dim() != 2 or not x.numel():
        found = graph if isinstance(graph, Data) else f"a {type(graph).__name__}"
        yield f"it needs tensors of real numbers x [N, F], y [N] and edge_index [2, E], but is {found}"
    num_nodes = len(x)
    if y.shape != (num_nodes,) or y.is_floating_point() or y.dtype == torch.bool:
        yield f"y must be one class per node, [{num_nodes}] of integers, but is {list(y.shape)} of {y.dtype}"
    if (wrong := (~x.detach().to_dense().float().isfinite()).nonzero()).numel():
        node, feature = wrong[0].tolist()
        yield f"feature {feature} of node {node} must be finite as float32, but is {x[node, feature].item()}"
    if (classes := y.unique().tolist()) != list(range(len(classes))) or len(classes) < 2:
        yield f"classes must be 0, 1, ..., C - 1 (C at least 2), each with nodes, but are {classes[:20]}"
    try:
        edges = checked_edges(edges, num_nodes)
    except ValueError as error:
        yield str(error)
    if not (edges[0] != edges[1]).any():
        yield "it has no edge between two different nodes"
    for key in (key for key in MASKS if key in graph):
        try:
            mask_of(graph, key, split)
        except ValueError as error:
            yield str(error)
    if split and all(graph[key].dim() == 1 for key in MASKS if key in graph):
        yield f"split must be 0, because it has one split only, but is {split}"


def complete(y: Tensor, **given: Tensor) -> dict[str, Tensor]:
    """The three masks ``[N]``: those given, and by a fixed rule those that are missing.

    Of the nodes in no given mask, in an order that is always the same, 20 of each class train (at most half
    of the class's), 30 per class validate (at most half of the rest), and the others test, as in Shchur et
    al. 2018, arXiv 1811.05868.

    >>> {name: int(mask.sum()) for name, mask in complete(torch.tensor([0, 0, 0, 1, 1, 1])).items()}
    {'train_mask': 2, 'val_mask': 2, 'test_mask': 2}
    """
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    taken, masks = sum(given.values(), torch.zeros_like(y, dtype=torch.bool)), {}
    for key in MASKS:
        masks[key], rest = given.get(key, torch.zeros_like(taken)).clone(), order[~taken[order]]
        chosen = [rest]
        if key == "train_mask":
            classes = [rest[y[rest] == label] for label in y.unique()]
            chosen = [nodes[: min(20, len(nodes) // 2)] for nodes in classes]
        if key == "val_mask":
            chosen = [rest[: min(30 * len(y.unique()), len(rest) // 2)]]
        if key not in given:
            masks[key][torch.cat(chosen)] = True
        taken = taken | masks[key]
    return masks


@dataclass(frozen=True)
class Content:
    """A graph, equal to all others with the same tensors; finished runs on it are known by its digest."""

    digest: str
    graph: Data = field(compare=False, repr=False)

    @classmethod
    def of(cls, graph: Data) -> "Content":
        """The tensors of a graph that training may use, and their SHA-256."""
        keys = [key for key in ("x", "y", "edge_index", *MASKS) if key in graph]
        graph = Data(**{key: graph[key].detach().cpu().to_dense() for key in keys})
        sha256 = hashlib.sha256()
        for key, tensor in graph.to_dict().items():
            shape = f"{key} {list(tensor.shape)} {tensor.dtype} "
            sha256.update(shape.encode() + tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return cls(sha256.hexdigest(), graph)


def normalized_adjacency(edge_index: Tensor, num_nodes: int) -> Tensor:
    r"""Symmetrically normalised adjacency :math:`D^{-1/2} (A + I) D^{-1/2}`, a float32 CSR tensor ``[N, N]``.

    :math:`A` is the 0/1 adjacency of ``edge_index [2, E]``, :math:`I` adds the self-loops that it lacks, and
    :math:`D` holds the row sums of :math:`A + I` (Kipf & Welling 2017, arXiv 1609.02907). The result equals
    its transpose bit for bit. Raises ``ValueError`` if an edge has no reverse or a node is out of range.

    >>> normalized_adjacency(torch.tensor([[0, 1], [1, 0]]), 3).to_dense()  # one edge, one isolated node
    tensor([[0.5000, 0.5000, 0.0000],
            [0.5000, 0.5000, 0.0000],
            [0.0000, 0.0000, 1.0000]])
    """
    edge_index, weight = gcn_norm(undirected(edge_index, num_nodes), None, num_nodes, dtype=torch.float32)
    (row, col), weight = coalesce(edge_index, weight, num_nodes)  # gcn_norm puts the self-loops last
    starts = (row + 1).bincount(minlength=num_nodes + 1).cumsum(0)  # [N + 1]
    return csr_matrix(starts, col, weight, (num_nodes, num_nodes))


def csr_matrix(starts: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A CSR tensor with indices of 32 bits, which the matrix library need not convert in every product."""
    return torch.sparse_csr_tensor(starts.int(), columns.int(), values, shape, check_invariants=False)


def undirected(edge_index: Tensor, num_nodes: int) -> Tensor:
    """Each edge once in each direction, ``[2, E]``, sorted.

    Raises ``ValueError`` as :func:`checked_edges` does, or if an edge has no reverse.
    """
    edge_index = coalesce(checked_edges(edge_index, num_nodes), num_nodes=num_nodes)
    if not is_undirected(edge_index, num_nodes=num_nodes):
        raise ValueError("edge_index must hold both directions of every edge; PyG's to_undirected adds them")
    return edge_index
