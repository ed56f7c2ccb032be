"""What the measures of smoothing are made of: of a graph, and of one matrix of embeddings at a time."""

import math
from collections.abc import Callable
from functools import cached_property

import torch
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torch.nn import functional as F
from torch_geometric.utils import coalesce, remove_self_loops, to_scipy_sparse_matrix

from deadgcn.data.graphs import undirected


class Graph:
    """What the measures need of a graph, worked out once for many embeddings of its nodes."""

    def __init__(self, edge_index: Tensor, num_nodes: int, directed: bool = False) -> None:
        edge_index = remove_self_loops(edge_index)[0]
        if not directed:
            undirected(edge_index, num_nodes)  # raises ValueError
        ends, times = edge_index.sort(0).values, torch.ones_like(edge_index[0], dtype=torch.float64)
        self.pairs, self.times = coalesce(ends, times, num_nodes)  # each pair of neighbours once: [2, P], [P]
        self.num_neighbors = self.pairs.flatten().bincount(minlength=num_nodes)  # [N]
        degree = self.num_neighbors.double() + 1  # [N]
        self.root, self.inverse_root = degree.sqrt()[:, None], degree.rsqrt()  # [N, 1], [N]
        links = to_scipy_sparse_matrix(self.pairs.cpu(), num_nodes=num_nodes)
        self.component = torch.from_numpy(connected_components(links)[1]).to(ends)  # [N]
        self.mass = self.component.bincount(degree)[:, None]  # [C, 1], of each component
        self.pair_weights = pair_weights(self.pairs, self.num_neighbors)  # [P]


class Matrix:
    """One matrix of embeddings ``[N, d]``, and what the measures are made of."""

    def __init__(self, x: Tensor, graph: Graph | None, width: int) -> None:
        self.x, self.graph, self.width = x, graph, width

    @cached_property
    def norm(self) -> Tensor:
        """Frobenius norm, a scalar tensor."""
        return torch.linalg.vector_norm(self.x)

    @property
    def to_mean(self) -> Tensor:
        """Distance to the matrix whose rows are the mean row."""
        mean = self.x.mean(0)
        return self._distance(math.sqrt(len(self.x)) * mean, lambda: mean)

    @property
    def to_limit(self) -> Tensor:
        """Distance to the span of the root of the degree on each component."""
        root, component, mass = self.graph.root, self.graph.component, self.graph.mass
        sums = self.x.new_zeros(len(mass), self.x.shape[1]).index_add_(0, component, self.x * root)  # [C, d]
        return self._distance(sums / mass.sqrt(), lambda: root * (sums / mass).index_select(0, component))

    def _distance(self, coordinates: Tensor, projection: Callable[[], Tensor]) -> Tensor:
        """Distance to a projection, by Pythagoras if digits allow; coordinates in an orthonormal basis."""
        squared = self.norm.square() - coordinates.square().sum()
        if squared > 1e-4 * self.norm.square():
            return squared.sqrt()
        return torch.linalg.vector_norm(self.x - projection())

    @cached_property
    def rows(self) -> tuple[Tensor, Tensor]:
        """Lengths and directions of the rows, ``[N]`` and ``[N, d]``; a row of zeros has direction 0."""
        length = torch.linalg.vector_norm(self.x, dim=1, keepdim=True)
        if length.min() > 1e-140:
            return length[:, 0], self.x / length
        largest = self.x.abs().amax(1, keepdim=True)  # or a small row's squares would vanish
        x = self.x / largest.where(largest > 0, 1)
        length = torch.linalg.vector_norm(x, dim=1, keepdim=True)
        return (length * largest)[:, 0], x / length.where(length > 0, 1)

    @cached_property
    def cosine_distances(self) -> Tensor:
        """1 - cos of each pair of rows, ``[P]``: half the squared distance of directions, exact near 0."""
        _, directions = self.rows
        one, other = (directions.index_select(0, ends) for ends in self.graph.pairs)  # faster than [ends]
        return torch.linalg.vector_norm(one.sub_(other), dim=1).square_().div_(2)

    def squared_distances(self, weights: Tensor | float = 1.0) -> Tensor:
        """Of each pair of rows times ``weights [N]``, ``[P]``: the law of cosines without loss of digits."""
        lengths = self.rows[0] * weights
        a, b = (lengths.index_select(0, ends) for ends in self.graph.pairs)
        return (a - b).square_().addcmul_(a * b, self.cosine_distances, value=2)

    @property
    def squared_differences(self) -> Tensor:
        """Sum of the squared distances of neighbours, over the edges as they are listed."""
        return self.squared_distances() @ self.graph.times

    @property
    def laplacian_form(self) -> Tensor:
        """The trace of the normalised Laplacian's quadratic form."""
        return self.squared_distances(self.graph.inverse_root).sum()

    @property
    def mean_cosine_distance(self) -> Tensor:
        """Mean over nodes of the mean over neighbours, without pairs of which one row is 0."""
        apart, weights = self.cosine_distances, self.graph.pair_weights
        num_neighbors = self.graph.num_neighbors
        if not self.rows[0].all():
            valid = (self.rows[0] > 0)[self.graph.pairs].all(0)  # [P]
            pairs = self.graph.pairs[:, valid]
            num_neighbors = pairs.flatten().bincount(minlength=len(self.rows[0]))
            apart, weights = apart[valid], pair_weights(pairs, num_neighbors)
        return apart @ weights / num_neighbors.count_nonzero()

    @property
    def singular_values(self) -> Tensor:
        """The largest first, ``[width]`` with zeros for what is missing.

        They come from the Gram matrix, which is faster, unless the smallest of them lose digits there.
        """
        if not self.x[0, 0].isfinite():
            return self.x.new_zeros(self.width)
        squares, enough = self.x.new_zeros(1), False
        if self.x.shape[1] >= 24:  # where many neurons are dead, some nearly always do
            squares = torch.linalg.eigvalsh(self.x.mT @ self.x)  # the smallest first
            enough = squares[0] > 1e-10 * squares[-1]
        values = squares.sqrt().flip(0) if enough else torch.linalg.svdvals(self.x)
        return F.pad(values, (0, self.width - len(values)))


class Embeddings:
    """Rescaled embeddings, one matrix at a time to fit the cache."""

    @classmethod
    def of(cls, x: "Tensor | Embeddings", *graph: Tensor | Graph, **kind: bool) -> "Embeddings":
        """X if it is one already, so that measures of the same embeddings share what they need."""
        return x if isinstance(x, cls) else cls(x, *graph, **kind)

    def __init__(self, x: Tensor, graph: Tensor | Graph | None = None, directed: bool = False) -> None:
        self.graph = Graph(graph, x.shape[-2], directed) if isinstance(graph, Tensor) else graph
        self.shape, x = x.shape, x.detach().reshape(-1, *x.shape[-2:]).contiguous()  # [M, N, d]
        reach = torch.maximum(x.amax(-2), -x.amin(-2))  # [M, d]; far cheaper than |x|
        largest = reach.amax(-1).double()
        power = largest / largest.frexp().mantissa  # of two; NaN where x is not finite
        scale = torch.where((largest == 0) | ((largest > 1e-100) & (largest < 1e100)), 1.0, power)
        self.scale, self.matrices, self._known = scale.view(self.shape[:-2]), [], {}
        # Without channels of zeros (dead neurons), which change no measure; all NaN where x is not finite.
        for one, own, by in zip(x, (reach != 0) | (largest == 0)[:, None], scale.tolist(), strict=True):
            chosen = (one if own.all() else one.index_select(1, own.nonzero()[:, 0])).double()
            self.matrices.append(Matrix(chosen if by == 1 else chosen / by, self.graph, x.shape[-1]))

    def each(self, name: str) -> Tensor:
        """A property of each :class:`Matrix`, worked out once: ``[..., *shape of one]``."""
        if name not in self._known:
            values = torch.stack([getattr(one, name) for one in self.matrices])
            self._known[name] = values.view(self.shape[:-2] + values.shape[1:])
        return self._known[name]


def pair_weights(pairs: Tensor, num_neighbors: Tensor) -> Tensor:
    """Of pairs in a sum over nodes of means over neighbours, ``[P]``."""
    shares = num_neighbors.double().reciprocal()  # [N]
    return shares.index_select(0, pairs[0]) + shares.index_select(0, pairs[1])
