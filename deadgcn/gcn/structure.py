"""What the measures of smoothing need to know of a graph."""

from typing import NamedTuple

import torch
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torch_geometric.utils import coalesce, is_undirected, remove_self_loops, to_scipy_sparse_matrix


class Structure(NamedTuple):
    """Edges, degrees and components of an undirected graph."""

    edge_index: Tensor  # [2, E], each edge once in each direction, no self-loops
    degree: Tensor  # [N], float64, the self-loop included
    component: Tensor  # [N], the number of each node's connected component

    @classmethod
    def of(cls, edge_index: Tensor, num_nodes: int) -> "Structure":
        """Work them out from edges ``[2, E]``, which may repeat and may hold self-loops.

        Raises ``ValueError`` if an edge has no reverse or names no node.
        """
        if edge_index.numel() and not 0 <= int(edge_index.min()) <= int(edge_index.max()) < num_nodes:
            span = f"{int(edge_index.min())} to {int(edge_index.max())}"
            raise ValueError(f"edge_index must name rows of x, 0 to {num_nodes - 1}, but it spans {span}")
        edge_index = coalesce(remove_self_loops(edge_index)[0])
        if not is_undirected(edge_index, num_nodes=num_nodes):
            raise ValueError("edge_index must hold both directions of every edge; to_undirected adds them")
        degree = edge_index[0].bincount(minlength=num_nodes) + 1
        links = to_scipy_sparse_matrix(edge_index.cpu(), num_nodes=num_nodes)
        component = torch.from_numpy(connected_components(links)[1]).to(edge_index)
        return cls(edge_index, degree.double(), component)
