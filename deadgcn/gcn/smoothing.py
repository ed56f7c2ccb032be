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

from functools import cached_property

import torch
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torch_geometric.utils import remove_self_loops, to_scipy_sparse_matrix

from deadgcn.data.graphs import undirected


class _Embeddings:
    """Rescaled embeddings of a graph's nodes, and what several measures need of them, each computed once."""

    @classmethod
    def of(cls, x: "Tensor | _Embeddings", edge_index: Tensor | None = None) -> "_Embeddings":
        return x if isinstance(x, cls) else cls(x, edge_index)

    def __init__(self, x: Tensor, edge_index: Tensor | None = None) -> None:
        x = x.detach()
        largest = torch.maximum(x.amax((-2, -1)), -x.amin((-2, -1))).double()  # far cheaper than |x|
        # Contiguous, because the order in which a strided view is summed depends on its neighbours in memory.
        x = x.to(torch.float64, memory_format=torch.contiguous_format, copy=True)  # [..., N, d]
        self.scale = torch.where(largest > 0, largest / largest.frexp().mantissa, 1.0)  # a power of two
        self.x = x.div_(self.scale[..., None, None])  # largest entry in [0.5, 1)
        if edge_index is not None:
            self.edge_index = undirected(remove_self_loops(edge_index)[0], x.shape[-2])  # [2, E]
            self.degree = (self.edge_index[0].bincount(minlength=x.shape[-2]) + 1).double()  # [N]

    @cached_property
    def norm(self) -> Tensor:
        return _norm(self.x)

    @cached_property
    def to_mean(self) -> Tensor:
        return _norm(self.x - self.x.mean(-2, keepdim=True))

    @cached_property
    def laplacian_form(self) -> Tensor:
        return _squared_differences(self.x / self.degree.sqrt()[:, None], self.edge_index) / 2

    @cached_property
    def singular_values(self) -> Tensor:
        """``[..., min(N, d)]``, the largest first; zeros for a matrix that is not finite."""
        finite = self.x.isfinite().all((-2, -1))[..., None, None]
        return torch.linalg.svdvals(torch.where(finite, self.x, 0.0))


def dirichlet_energy(x: Tensor | _Embeddings, edge_index: Tensor) -> Tensor:
    r"""How much neighbours differ, :math:`\sqrt{\frac1N \sum_i \sum_{j \in N(i)} \lVert x_i - x_j \rVert^2}`.

    The paper's measure (the form of Rusch et al. 2023, arXiv 2303.10993). The sum runs over directed edges:
    an undirected one counts twice.

    >>> dirichlet_energy(torch.tensor([[0.0], [2.0]]), torch.tensor([[0, 1], [1, 0]]))
    tensor(2., dtype=torch.float64)
    """
    h = _Embeddings.of(x)
    return (_squared_differences(h.x, edge_index) / h.x.shape[-2]).sqrt() * h.scale


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
    links = to_scipy_sparse_matrix(h.edge_index.cpu(), num_nodes=len(h.degree))
    count, component = connected_components(links)
    component = torch.from_numpy(component).to(h.edge_index)  # [N]
    root = h.degree.sqrt()[:, None]  # [N, 1]
    sums = h.x.new_zeros(*h.x.shape[:-2], count, h.x.shape[-1])  # [..., C, d]
    sums.index_add_(-2, component, h.x * root)
    mass = h.degree.new_zeros(count).index_add_(0, component, h.degree)  # [C]
    coefficients = sums / mass[:, None]
    return _norm(h.x - root * coefficients.index_select(-2, component)) / h.norm


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
    shape = h.x.shape
    # First by the largest, or a small row's squares would vanish.
    unit = h.x / h.x.abs().amax(-1, keepdim=True)
    unit /= torch.linalg.vector_norm(unit, dim=-1, keepdim=True)
    known = ~unit.isnan().any(-1)  # [..., N]
    means = []
    for one, rows in zip(unit.reshape(-1, *shape[-2:]), known.reshape(-1, shape[-2]), strict=True):
        source, target = h.edge_index[:, rows[h.edge_index].all(0)]
        # 1 - cos is half the squared distance of unit vectors, without the loss of digits near 0.
        apart = one[source].sub_(one[target]).square_().sum(1) / 2  # [E]
        sums = one.new_zeros(shape[-2]).index_add_(0, source, apart)
        counts = source.bincount(minlength=shape[-2])
        means.append((sums / counts)[counts > 0].mean())
    return torch.stack(means).view(shape[:-2]).where(h.x.isfinite().all((-2, -1)), torch.nan)


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


def all_measures(x: Tensor | _Embeddings, edge_index: Tensor) -> dict[str, Tensor]:
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


def _squared_differences(x: Tensor, edge_index: Tensor) -> Tensor:
    """Sum over edges of the squared distance of their ends, ``[..., N, d] -> [...]``."""
    source, target = edge_index
    # One matrix at a time: its E rows of differences fit the processor's cache, all matrices' do not.
    ones = x.reshape(-1, *x.shape[-2:])
    sums = [one[source].sub_(one[target]).square_().sum() for one in ones]  # over [E, d]
    return torch.stack(sums).view(x.shape[:-2])


def _norm(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, dim=(-2, -1))
