r"""How alike node embeddings are, layer by layer: ``[..., N, d] -> [...]``, float64.

The measures take any embeddings, also those of a PyTorch Geometric model. They divide by a power of two and
compute in float64, because float32 squares of 1e-22, which deep ReLU networks reach, underflow.

The paper's two, :func:`dirichlet_energy` and :func:`distance_to_mean`, grow with the size of the embeddings,
as do :func:`normalized_dirichlet_energy` and the size itself, :func:`frobenius_norm`. The others are the
same for X and cX; smoothness is undefined (NaN) for a zero matrix, and for one that is not finite.

Graphs are undirected: ``edge_index [2, E]`` holds both directions of each edge; ValueError if not.
:math:`\tilde A = A + I` has a self-loop at every node, whether or not the edges have, and :math:`\tilde D` is
the diagonal of its row sums.
"""

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
        self.degree = self.pairs.flatten().bincount(minlength=num_nodes).double() + 1  # [N]
        links = to_scipy_sparse_matrix(self.pairs.cpu(), num_nodes=num_nodes)
        self.component = torch.from_numpy(connected_components(links)[1]).to(ends)  # [N]


class _Embeddings:
    """Rescaled embeddings, one matrix at a time to fit the cache, and what several measures need of them."""

    @classmethod
    def of(cls, x: "Tensor | _Embeddings", *graph: Tensor | Graph, **kind: bool) -> "_Embeddings":
        return x if isinstance(x, cls) else cls(x, *graph, **kind)

    def __init__(self, x: Tensor, graph: Tensor | Graph | None = None, directed: bool = False) -> None:
        self.graph = Graph(graph, x.shape[-2], directed) if isinstance(graph, Tensor) else graph
        self.shape, x = x.shape, x.detach().reshape(-1, *x.shape[-2:]).contiguous()  # [M, N, d]
        reach = torch.maximum(x.amax(-2), -x.amin(-2))  # [M, d]; far cheaper than |x|
        largest = reach.amax(-1).double()
        scale = torch.where(largest == 0, 1.0, largest / largest.frexp().mantissa)  # powers of two
        # Without channels of zeros (dead neurons), which change no measure; all NaN where x is not finite.
        used = [channels.nonzero()[:, 0] for channels in (reach != 0) | (largest == 0)[:, None]]
        parts = zip(x, used, scale, strict=True)
        self.matrices = [one.index_select(1, own).double().div_(size) for one, own, size in parts]
        self.scale = scale.view(self.shape[:-2])
        self.norm = self.each(torch.linalg.vector_norm)
        self.to_mean = self.each(lambda x: torch.linalg.vector_norm(x - x.mean(0)))

    def each(self, measure: Callable[[Tensor], Tensor]) -> Tensor:
        """Apply a measure of one matrix to all of them, ``[...]``."""
        return torch.stack([measure(one) for one in self.matrices]).view(self.shape[:-2])

    @cached_property
    def laplacian_form(self) -> Tensor:
        weights = self.graph.degree.rsqrt()[:, None]
        return self.each(lambda x: _squared_distances(x * weights, self.graph.pairs).sum())

    @cached_property
    def singular_values(self) -> Tensor:
        values = [torch.linalg.svdvals(m) if m[0, 0].isfinite() else m.new_zeros(1) for m in self.matrices]
        values = [F.pad(own, (0, self.shape[-1] - len(own))) for own in values]
        return torch.stack(values).view(*self.shape[:-2], -1)  # [..., d], the largest first


def dirichlet_energy(x: Tensor | _Embeddings, edge_index: Tensor) -> Tensor:
    r"""How much neighbours differ, :math:`\sqrt{\frac1N \sum_i \sum_{j \in N(i)} \lVert x_i - x_j \rVert^2}`.

    The paper's measure (the form of Rusch et al. 2023, arXiv 2303.10993). The sum runs over directed edges:
    an undirected one counts twice.

    >>> dirichlet_energy(torch.tensor([[0.0], [2.0]]), torch.tensor([[0, 1], [1, 0]]))
    tensor(2., dtype=torch.float64)
    """
    h = _Embeddings.of(x, edge_index, directed=True)
    sums = h.each(lambda x: _squared_distances(x, h.graph.pairs) @ h.graph.times)
    return (sums / h.shape[-2]).sqrt() * h.scale


def distance_to_mean(x: Tensor | _Embeddings) -> Tensor:
    r"""Distance to mean (DTM), :math:`\lVert X - \mathbf{1}\,\mathrm{mean}(X) \rVert_F` (Wu et al. 2023).

    The paper's other measure (arXiv 2305.16102). Zero when all nodes have the same embedding. In the limit of
    a GCN embeddings are proportional to the root of the degree instead, so DTM does not vanish there.

    >>> distance_to_mean(torch.tensor([[3.0], [1.0]]))
    tensor(1.4142, dtype=torch.float64)
    """
    h = _Embeddings.of(x)
    return h.to_mean * h.scale


def frobenius_norm(x: Tensor | _Embeddings) -> Tensor:
    r"""Size of the embeddings, :math:`\lVert X \rVert_F`."""
    h = _Embeddings.of(x)
    return h.norm * h.scale


def normalized_dirichlet_energy(x: Tensor | _Embeddings, edge_index: Tensor) -> Tensor:
    r"""Dirichlet energy with the normalised Laplacian (Cai & Wang 2020, arXiv 2006.13318), no root.

    .. math:: \mathrm{tr}(X^\top \tilde L X) = \frac12 \sum_{(i, j) \in E}
              \left\lVert \frac{x_i}{\sqrt{\tilde d_i}} - \frac{x_j}{\sqrt{\tilde d_j}} \right\rVert^2,
              \quad \tilde L = I - \tilde D^{-1/2} \tilde A \tilde D^{-1/2}
    """
    h = _Embeddings.of(x, edge_index)
    return h.laplacian_form * h.scale * h.scale


def rayleigh_quotient(x: Tensor | _Embeddings, edge_index: Tensor) -> Tensor:
    r""":func:`normalized_dirichlet_energy` over :math:`\lVert X \rVert_F^2`, in [0, 2]; 0 is the limit."""
    h = _Embeddings.of(x, edge_index)
    return h.laplacian_form / h.norm.square()


def distance_to_limit(x: Tensor | _Embeddings, edge_index: Tensor) -> Tensor:
    r"""Distance to a GCN's limit, :math:`\lVert X - P X \rVert_F / \lVert X \rVert_F`, in [0, 1].

    :math:`P` projects on the span of :math:`\tilde D^{1/2} \mathbf{1}_C` over the connected components
    :math:`C`, to which repeated propagation converges (Oono & Suzuki 2020, arXiv 1905.10947, who do not
    divide by the norm).
    """
    h = _Embeddings.of(x, edge_index)
    root, component = h.graph.degree.sqrt()[:, None], h.graph.component
    mass = component.bincount(h.graph.degree)[:, None]  # [C, 1]

    def distance(x: Tensor) -> Tensor:
        sums = x.new_zeros(len(mass), x.shape[1]).index_add_(0, component, x * root)  # [C, d]
        return torch.linalg.vector_norm(x - root * (sums / mass).index_select(0, component))

    return h.each(distance) / h.norm


def relative_distance_to_mean(x: Tensor | _Embeddings) -> Tensor:
    r""":func:`distance_to_mean` over :math:`\lVert X \rVert_F`, in [0, 1]; 0 where all nodes are alike."""
    h = _Embeddings.of(x)
    return h.to_mean / h.norm


def mean_average_distance(x: Tensor | _Embeddings, edge_index: Tensor) -> Tensor:
    r"""Mean average distance (MAD): cosine distance to neighbours, in [0, 2].

    The mean over nodes i of the mean over neighbours j of :math:`1 - \cos(x_i, x_j)` (Chen et al. 2020, arXiv
    1909.03211, who leave pairs of distance 0 out of the means; here they count). Pairs with a zero row are
    left out, because it has no direction; NaN where no pair is left.
    """
    h = _Embeddings.of(x, edge_index)

    def mean(x: Tensor) -> Tensor:
        pairs, length = h.graph.pairs, torch.linalg.vector_norm(x, dim=1, keepdim=True)
        if length.min() < 1e-140:  # divide by the largest first, or a small row's squares would vanish
            x = x / x.abs().amax(1, keepdim=True)  # NaN where the row is 0
            length = torch.linalg.vector_norm(x, dim=1, keepdim=True)
            pairs = pairs[:, length[:, 0].isfinite()[pairs].all(0)]
        # 1 - cos is half the squared distance of unit vectors, without the loss of digits near 0.
        apart = _squared_distances(x / length, pairs) / 2  # [P]
        sums = x.new_zeros(len(x)).index_add_(0, pairs.flatten(), torch.cat([apart, apart]))
        return (sums / pairs.flatten().bincount(minlength=len(x))).nanmean()  # of the nodes' means

    return h.each(mean)


def stable_rank(x: Tensor | _Embeddings) -> Tensor:
    r"""Stable rank :math:`\lVert X \rVert_F^2 / \sigma_1^2`, from 1 (Zhang et al. 2025, arXiv 2502.04591)."""
    squares = _Embeddings.of(x).singular_values.square()
    return squares.sum(-1) / squares[..., 0]


def effective_rank(x: Tensor | _Embeddings) -> Tensor:
    r"""Effective rank :math:`\exp(-\sum_k p_k \ln p_k)` of the shares of singular values (Roy & Vetterli)."""
    values = _Embeddings.of(x).singular_values
    shares = values / values.sum(-1, keepdim=True)
    return torch.special.entr(shares).sum(-1).exp()


def rank_one_distance(x: Tensor | _Embeddings) -> Tensor:
    r"""Distance to the nearest matrix of rank one over the norm (Roth & Liebig 2023, arXiv 2308.16800)."""
    squares = _Embeddings.of(x).singular_values.square()
    return (squares[..., 1:].sum(-1) / squares.sum(-1)).sqrt()


def all_measures(x: Tensor | _Embeddings, edge_index: Tensor | Graph) -> dict[str, Tensor]:
    """Every measure above, each ``[...]``, under its name in the tables of layers."""
    h = _Embeddings.of(x, edge_index)
    return {
        "dirichlet_energy": dirichlet_energy(h, edge_index),
        "distance_to_mean": distance_to_mean(h),
        "norm": frobenius_norm(h),
        "normalized_dirichlet_energy": normalized_dirichlet_energy(h, edge_index),
        "rayleigh_quotient": rayleigh_quotient(h, edge_index),
        "distance_to_limit": distance_to_limit(h, edge_index),
        "relative_distance_to_mean": relative_distance_to_mean(h),
        "mean_average_distance": mean_average_distance(h, edge_index),
        "stable_rank": stable_rank(h),
        "effective_rank": effective_rank(h),
        "rank_one_distance": rank_one_distance(h),
    }


def _squared_distances(x: Tensor, pairs: Tensor) -> Tensor:
    """Squared distance of the rows of each pair, ``[N, d]`` and ``[2, P] -> [P]``."""
    one, other = (x.index_select(0, ends) for ends in pairs)  # far faster than x[ends]
    return one.sub_(other).square_().sum(1)
