"""What the measures of smoothing are made of: of a graph, and of many matrices of embeddings at once."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torch.nn import functional as F
from torch_geometric.utils import to_scipy_sparse_matrix

from deadgcn.data.own import csr_matrix, is_numeric, undirected


class Graph:
    """What the measures need of a graph, worked out once for many embeddings of its nodes."""

    def __init__(self, edge_index: Tensor, num_nodes: int) -> None:
        edges = undirected(edge_index, num_nodes)
        self.pairs = edges[:, edges[0] < edges[1]]  # each pair of neighbours once: [2, P]
        self.ends = self.pairs.flatten()  # [2 P]
        self.pair_weights = pair_weights(self.pairs, num_nodes)  # [P]
        degree = self.ends.bincount(minlength=num_nodes).double() + 1  # [N]
        self.inverse_root = degree.rsqrt()[self.ends]  # [2 P]
        links = to_scipy_sparse_matrix(self.pairs.cpu(), num_nodes=num_nodes)
        self.component = torch.from_numpy(connected_components(links)[1]).to(edges.device)  # [N]
        # Of each component the unit vector along the root of the degree there: they span the limit.
        self.unit = (degree / self.component.bincount(degree)[self.component]).sqrt()  # [N]
        order, sizes = self.component.argsort(stable=True), self.component.bincount()
        shape = len(sizes), num_nodes
        self.limit = csr_matrix(F.pad(sizes.cumsum(0), (1, 0)), order, self.unit[order], shape)  # [C, N]


def checked_embeddings(x: Any) -> Tensor:
    """Embeddings ``[..., N, d]`` as a dense tensor, of float64 if they are integers or Booleans.

    Raises ``ValueError`` for anything that is not such a tensor of real numbers, or that is empty.
    """
    if not is_numeric(x) or x.dim() < 2 or not x.numel():
        found = (
            f"{list(x.shape)} of {x.dtype} on {x.device}" if torch.is_tensor(x) else f"a {type(x).__name__}"
        )
        raise ValueError(f"embeddings must be a tensor [..., N, d] of real numbers, but {found} was passed")
    x = x.detach().to_dense()
    return x if x.is_floating_point() else x.double()


class Embeddings:
    """Rescaled embeddings: M matrices ``[N, d]``. What costs most takes one at a time, to fit the cache."""

    @classmethod
    def of(cls, x: "Tensor | Embeddings", *graph: Tensor | Graph) -> "Embeddings":
        """X if it is one already, so that measures of the same embeddings share what they need."""
        return x if isinstance(x, cls) else cls(x, *graph)

    def __init__(self, x: Tensor, *graph: Tensor | Graph) -> None:
        x = checked_embeddings(x)
        self.graph = None
        for given in graph:
            self.graph = given if isinstance(given, Graph) else Graph(given, x.shape[-2])
        self.shape, self.dtype = x.shape, x.dtype
        x = x.reshape(-1, *x.shape[-2:]).contiguous()  # [M, N, d]
        reach = torch.maximum(x.amax(-2), -x.amin(-2))  # [M, d]; far cheaper than |x|
        largest = reach.amax(-1).double()
        power = largest / largest.frexp().mantissa  # of two; NaN where x is not finite
        scale = torch.where((largest == 0) | ((largest > 1e-100) & (largest < 1e100)), 1.0, power)
        self.scale, self.matrices = scale.view(self.shape[:-2]), []
        # Without channels of zeros (dead neurons), which change no measure; all NaN where x is not finite.
        for one, own, by in zip(x, (reach != 0) | (largest == 0)[:, None], scale.tolist(), strict=True):
            chosen = (one if own.all() else one.index_select(1, own.nonzero()[:, 0])).double()
            self.matrices.append(chosen if by == 1 else chosen / by)

    def each(self, name: str) -> Tensor:
        """A property of each matrix: ``[..., *shape of one]``."""
        values = getattr(self, name)  # [M, ...]
        return values.view(self.shape[:-2] + values.shape[1:])

    @cached_property
    def norm(self) -> Tensor:
        """Frobenius norms, ``[M]``."""
        return torch.stack([torch.linalg.vector_norm(x) for x in self.matrices])

    @cached_property
    def to_mean(self) -> Tensor:
        """Distances to the matrices whose rows are the mean row, ``[M]``."""
        means = [x.mean(0) for x in self.matrices]  # each [d]
        return self._distance(means, lambda mean: mean, self.shape[-2] ** 0.5)

    @property
    def to_limit(self) -> Tensor:
        """Distances to the span of the root of the degree on each component, ``[M]``."""
        graph, sums = self.graph, [self.graph.limit @ x for x in self.matrices]  # each [C, d]
        return self._distance(sums, lambda sums: graph.unit[:, None] * sums[graph.component], 1.0)

    def _distance(self, coordinates: list[Tensor], projection: Callable, length: float) -> Tensor:
        """Distances to projections on vectors of this length, by Pythagoras if digits allow: ``[M]``."""
        inside = length * torch.stack([torch.linalg.vector_norm(one) for one in coordinates])
        left = self.norm.square() - inside.square()
        distances = left.sqrt()
        for i in (left <= 1e-4 * self.norm.square()).nonzero()[:, 0].tolist():
            distances[i] = torch.linalg.vector_norm(self.matrices[i] - projection(coordinates[i]))
        return distances

    @cached_property
    def pairs(self) -> tuple[Tensor, Tensor]:
        """Lengths of both rows of each pair, ``[M, 2 P]``, and 1 - cos, ``[M, P]``, which is exact near 0."""
        ends, num_pairs = self.graph.ends, self.graph.pairs.shape[1]
        lengths, apart = (self.norm.new_empty(len(self.matrices), n) for n in (2 * num_pairs, num_pairs))
        for x, own, distance in zip(self.matrices, lengths, apart, strict=True):
            length = torch.linalg.vector_norm(x, dim=1)  # [N]
            if self.dtype == torch.float64 and length.min() < 1e-140:  # squares vanish, as float32's cannot
                largest = x.abs().amax(1)
                length = torch.linalg.vector_norm(x / largest.where(largest > 0, 1)[:, None], dim=1) * largest
            torch.index_select(length, 0, ends, out=own)
            directions = x / length.where(length > 0, 1)[:, None]  # of a row of zeros 0
            one, other = directions.index_select(0, ends).chunk(2)  # faster than [ends]
            torch.linalg.vector_norm(one.sub_(other), dim=1, out=distance)
        return lengths, apart.square_().div_(2)  # half the squared distances of directions

    def _squared_distances(self, lengths: Tensor) -> Tensor:
        """Of pairs of rows of these lengths ``[M, 2 P]``: the law of cosines without loss of digits."""
        one, other = lengths.chunk(2, 1)
        return (one - other).square_().addcmul_(one * other, self.pairs[1], value=2)  # [M, P]

    @property
    def squared_differences(self) -> Tensor:
        """Sums of the squared distances of neighbours, over both directions of each edge, ``[M]``."""
        return self._squared_distances(self.pairs[0]).sum(1) * 2

    @cached_property
    def laplacian_form(self) -> Tensor:
        """The traces of the normalised Laplacian's quadratic form, ``[M]``."""
        return self._squared_distances(self.pairs[0] * self.graph.inverse_root).sum(1)

    @property
    def mean_cosine_distance(self) -> Tensor:
        """Mean over nodes of the mean over neighbours, without pairs of which one row is 0, ``[M]``."""
        (lengths, apart), weights = self.pairs, self.graph.pair_weights
        means = (apart * weights).sum(1) / weights.sum()
        for i in (lengths == 0).any(1).nonzero()[:, 0].tolist():
            valid = lengths[i].view(2, -1).all(0)  # [P]
            weights = pair_weights(self.graph.pairs[:, valid], self.shape[-2])
            means[i] = apart[i, valid] @ weights / weights.sum()
        return means

    @cached_property
    def singular_values(self) -> Tensor:
        """The largest first, ``[M, d]`` with zeros for what is missing."""
        values = self.matrices[0].new_zeros(len(self.matrices), self.shape[-1])
        for x, own in zip(self.matrices, values, strict=True):
            if x[0, 0].isfinite():
                own[: min(x.shape)] = _singular_values(x)
        return values


def _singular_values(x: Tensor) -> Tensor:
    """From the Gram matrix, which is faster, unless the smallest of them lose digits there."""
    if x.shape[1] >= 24:  # where many neurons are dead, some nearly always do
        gram = x.new_zeros(x.shape[1], x.shape[1])
        for i in range(0, len(gram), 24):  # its lower triangle in panels of a width that libraries like
            gram[i:, i : i + 24] = x[:, i:].mT @ x[:, i : i + 24]
        squares = torch.linalg.eigvalsh(gram)  # the smallest first
        if squares[0] > 1e-10 * squares[-1]:
            return squares.sqrt().flip(0)
    return torch.linalg.svdvals(x)


def pair_weights(pairs: Tensor, num_nodes: int) -> Tensor:
    """Of pairs in a sum over nodes of means over neighbours, ``[P]``."""
    shares = pairs.flatten().bincount(minlength=num_nodes).double().reciprocal()  # [N]
    return shares.index_select(0, pairs[0]) + shares.index_select(0, pairs[1])
