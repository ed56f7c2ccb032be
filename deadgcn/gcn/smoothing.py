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

import torch
from torch import Tensor

from deadgcn.gcn.structure import Structure


def dirichlet_energy(x: Tensor, edge_index: Tensor, root: bool = True) -> Tensor:
    r"""How much neighbours differ, :math:`\sqrt{\frac1N \sum_i \sum_{j \in N(i)} \lVert x_i - x_j \rVert^2}`.

    The paper's measure (the form of Rusch et al. 2023, arXiv 2303.10993). The sum runs over directed edges:
    an undirected one counts twice. ``root=False`` leaves the root out.

    >>> dirichlet_energy(torch.tensor([[0.0], [2.0]]), torch.tensor([[0, 1], [1, 0]]))
    tensor(2., dtype=torch.float64)
    """
    x, scale = _rescaled(x)
    energy = _squared_differences(x, edge_index) / x.shape[-2]
    return energy.sqrt() * scale if root else energy * scale * scale


def distance_to_mean(x: Tensor) -> Tensor:
    r"""Distance to mean (DTM), :math:`\lVert X - \mathbf{1}\,\mathrm{mean}(X) \rVert_F` (Wu et al. 2023).

    The paper's other measure (arXiv 2305.16102). Zero when all nodes have the same embedding. In the limit of
    a GCN embeddings are proportional to the root of the degree instead, so DTM does not vanish there.

    >>> distance_to_mean(torch.tensor([[3.0], [1.0]]))
    tensor(1.4142, dtype=torch.float64)
    """
    x, scale = _rescaled(x)
    return _norm(x - x.mean(-2, keepdim=True)) * scale


def frobenius_norm(x: Tensor) -> Tensor:
    r"""Size of the embeddings, :math:`\lVert X \rVert_F`."""
    x, scale = _rescaled(x)
    return _norm(x) * scale


def normalized_dirichlet_energy(x: Tensor, edge_index: Tensor) -> Tensor:
    r"""Dirichlet energy with the normalised Laplacian (Cai & Wang 2020, arXiv 2006.13318), no root.

    .. math:: \mathrm{tr}(X^\top \tilde L X) = \frac12 \sum_{(i, j) \in E}
              \left\lVert \frac{x_i}{\sqrt{\tilde d_i}} - \frac{x_j}{\sqrt{\tilde d_j}} \right\rVert^2,
              \quad \tilde L = I - \tilde D^{-1/2} \tilde A \tilde D^{-1/2}
    """
    x, scale = _rescaled(x)
    return _laplacian_form(x, Structure.of(edge_index, x.shape[-2])) * scale * scale


def rayleigh_quotient(x: Tensor, edge_index: Tensor) -> Tensor:
    r""":func:`normalized_dirichlet_energy` over :math:`\lVert X \rVert_F^2`, in [0, 2]; 0 is the limit."""
    x, _ = _rescaled(x)
    return _laplacian_form(x, Structure.of(edge_index, x.shape[-2])) / _norm(x).square()


def distance_to_limit(x: Tensor, edge_index: Tensor) -> Tensor:
    r"""Distance to a GCN's limit, :math:`\lVert X - P X \rVert_F / \lVert X \rVert_F`, in [0, 1].

    :math:`P` projects on the span of :math:`\tilde D^{1/2} \mathbf{1}_C` over the connected components
    :math:`C`, to which repeated propagation converges (Oono & Suzuki 2020, arXiv 1905.10947, who do not
    divide by the norm).
    """
    x, _ = _rescaled(x)
    return _outside_limit(x, Structure.of(edge_index, x.shape[-2])) / _norm(x)


def relative_distance_to_mean(x: Tensor) -> Tensor:
    r""":func:`distance_to_mean` over :math:`\lVert X \rVert_F`, in [0, 1]; 0 where all nodes are alike."""
    x, _ = _rescaled(x)
    return _norm(x - x.mean(-2, keepdim=True)) / _norm(x)


def mean_average_distance(x: Tensor, edge_index: Tensor) -> Tensor:
    r"""Mean average distance (MAD): cosine distance to neighbours, in [0, 2].

    The mean over nodes i of the mean over neighbours j of :math:`1 - \cos(x_i, x_j)` (Chen et al. 2020, arXiv
    1909.03211, who leave pairs of distance 0 out of the means; here they count). Pairs with a zero row are
    left out, because it has no direction; NaN where no pair is left.
    """
    x, _ = _rescaled(x)
    return _mean_average_distance(x, Structure.of(edge_index, x.shape[-2]))


def stable_rank(x: Tensor) -> Tensor:
    r"""Stable rank :math:`\lVert X \rVert_F^2 / \sigma_1^2`, from 1 (Zhang et al. 2025, arXiv 2502.04591)."""
    return _ranks(_rescaled(x)[0])[0]


def effective_rank(x: Tensor) -> Tensor:
    r"""Effective rank :math:`\exp(-\sum_k p_k \ln p_k)` of the shares of singular values (Roy & Vetterli)."""
    return _ranks(_rescaled(x)[0])[1]


def rank_one_distance(x: Tensor) -> Tensor:
    r"""Distance to the nearest matrix of rank one over the norm (Roth & Liebig 2023, arXiv 2308.16800)."""
    return _ranks(_rescaled(x)[0])[2]


def all_measures(x: Tensor, edge_index: Tensor) -> dict[str, Tensor]:
    """Every measure above, each ``[...]``, under its name in the tables of layers."""
    x, scale = _rescaled(x)
    graph, size = Structure.of(edge_index, x.shape[-2]), _norm(x)
    stable, effective, rank_one = _ranks(x)
    laplacian, to_mean = _laplacian_form(x, graph), _norm(x - x.mean(-2, keepdim=True))
    return {
        "dirichlet_energy": (_squared_differences(x, edge_index) / x.shape[-2]).sqrt() * scale,
        "distance_to_mean": to_mean * scale,
        "norm": size * scale,
        "normalized_dirichlet_energy": laplacian * scale * scale,
        "rayleigh_quotient": laplacian / size.square(),
        "distance_to_limit": _outside_limit(x, graph) / size,
        "relative_distance_to_mean": to_mean / size,
        "mean_average_distance": _mean_average_distance(x, graph),
        "stable_rank": stable,
        "effective_rank": effective,
        "rank_one_distance": rank_one,
    }


def _squared_differences(x: Tensor, edge_index: Tensor) -> Tensor:
    """Sum over edges of the squared distance of their ends, ``[..., N, d] -> [...]``."""
    source, target = edge_index
    # One matrix at a time: its E rows of differences fit the processor's cache, all matrices' do not.
    ones = x.reshape(-1, *x.shape[-2:])
    sums = [one[source].sub_(one[target]).square_().sum() for one in ones]  # over [E, d]
    return torch.stack(sums).view(x.shape[:-2])


def _laplacian_form(x: Tensor, graph: Structure) -> Tensor:
    return _squared_differences(x / graph.degree.sqrt()[:, None], graph.edge_index) / 2


def _outside_limit(x: Tensor, graph: Structure) -> Tensor:
    root = graph.degree.sqrt()[:, None]  # [N, 1]
    components = int(graph.component.max()) + 1
    sums = x.new_zeros(*x.shape[:-2], components, x.shape[-1])  # [..., C, d]
    sums.index_add_(-2, graph.component, x * root)
    mass = graph.degree.new_zeros(components).index_add_(0, graph.component, graph.degree)  # [C]
    coefficients = sums / mass[:, None]
    return _norm(x - root * coefficients.index_select(-2, graph.component))


def _mean_average_distance(x: Tensor, graph: Structure) -> Tensor:
    unit = x / x.abs().amax(-1, keepdim=True)  # first by the largest, or a small row's squares would vanish
    unit /= torch.linalg.vector_norm(unit, dim=-1, keepdim=True)
    known = ~unit.isnan().any(-1)  # [..., N]
    means = []
    for one, rows in zip(unit.reshape(-1, *x.shape[-2:]), known.reshape(-1, x.shape[-2]), strict=True):
        edges = graph.edge_index[:, rows[graph.edge_index].all(0)]
        # 1 - cos is half the squared distance of unit vectors, without the loss of digits near 0.
        apart = one[edges[0]].sub_(one[edges[1]]).square_().sum(1) / 2  # [E]
        sums = x.new_zeros(x.shape[-2]).index_add_(0, edges[0], apart)
        counts = edges[0].bincount(minlength=x.shape[-2])
        means.append((sums / counts)[counts > 0].mean())
    return torch.stack(means).view(x.shape[:-2]).where(x.isfinite().all((-2, -1)), torch.nan)


def _ranks(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Stable rank, effective rank and rank-one distance."""
    finite = x.isfinite().all((-2, -1))[..., None, None]
    values = torch.linalg.svdvals(torch.where(finite, x, 0.0))  # [..., min(N, d)], largest first
    squares, shares = values.square(), values / values.sum(-1, keepdim=True)
    effective = torch.special.entr(shares).sum(-1).exp()
    total = squares.sum(-1)
    return total / squares[..., 0], effective, (squares[..., 1:].sum(-1) / total).sqrt()


def _norm(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, dim=(-2, -1))


def _rescaled(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return float64 ``x / scale``, largest entry in [0.5, 1), and ``scale`` ``[...]``, a power of two."""
    x = x.detach()
    largest = torch.maximum(x.amax((-2, -1)), -x.amin((-2, -1))).double()  # far cheaper than |x|
    # Contiguous, because the order in which a strided view is summed depends on its neighbours in memory.
    x = x.to(torch.float64, memory_format=torch.contiguous_format, copy=True)
    scale = torch.where(largest > 0, largest / largest.frexp().mantissa, 1.0)
    return x.div_(scale[..., None, None]), scale
