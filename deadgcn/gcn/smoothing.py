r"""How alike node embeddings are, layer by layer: ``[..., N, d] -> [...]``, float64.

The measures take any embeddings, also those of a PyTorch Geometric model, and compute in float64, because
float32 squares of 1e-22, which deep ReLU networks reach, underflow. The paper's two, `dirichlet_energy` and
`distance_to_mean`, grow with the size of the embeddings, as do `normalized_dirichlet_energy` and the size
itself, `frobenius_norm`. The others are the same for X and cX; smoothness is undefined (NaN) for a zero
matrix, and for one that is not finite.

Graphs are undirected: ``edge_index [2, E]``, a tensor of any integers or an ``EdgeIndex``, holds both
directions of each edge. An edge that is there several times counts once; self-loops do not count. Anything
else is a ValueError, as are embeddings that are no tensor of real numbers.

:math:`\tilde A = A + I` has a self-loop at every node, whether or not the edges have, and :math:`\tilde D` is
the diagonal of its row sums.
"""

import torch
from torch import Tensor

from deadgcn.gcn.embeddings import Embeddings, Graph


def dirichlet_energy(x: Tensor | Embeddings, edge_index: Tensor) -> Tensor:
    r"""How much neighbours differ, :math:`\sqrt{\frac1N \sum_i \sum_{j \in N(i)} \lVert x_i - x_j \rVert^2}`.

    The paper's measure (the form of Rusch et al. 2023, arXiv 2303.10993). Each edge counts twice, once from
    each end.

    >>> dirichlet_energy(torch.tensor([[0.0], [2.0]]), torch.tensor([[0, 1], [1, 0]]))
    tensor(2., dtype=torch.float64)
    """
    h = Embeddings.of(x, edge_index)
    return (h.each("squared_differences") / h.shape[-2]).sqrt() * h.scale


def distance_to_mean(x: Tensor | Embeddings) -> Tensor:
    r"""Distance to mean (DTM), :math:`\lVert X - \mathbf{1}\,\mathrm{mean}(X) \rVert_F` (Wu et al. 2023).

    The paper's other measure (arXiv 2305.16102). Zero when all nodes have the same embedding. In the limit of
    a GCN embeddings are proportional to the root of the degree instead, so DTM does not vanish there.

    >>> distance_to_mean(torch.tensor([[3.0], [1.0]]))
    tensor(1.4142, dtype=torch.float64)
    """
    h = Embeddings.of(x)
    return h.each("to_mean") * h.scale


def frobenius_norm(x: Tensor | Embeddings) -> Tensor:
    r"""Size of the embeddings, :math:`\lVert X \rVert_F`."""
    h = Embeddings.of(x)
    return h.each("norm") * h.scale


def normalized_dirichlet_energy(x: Tensor | Embeddings, edge_index: Tensor) -> Tensor:
    r"""Dirichlet energy with the normalised Laplacian (Cai & Wang 2020, arXiv 2006.13318), no root.

    .. math:: \mathrm{tr}(X^\top \tilde L X) = \frac12 \sum_{(i, j) \in E}
              \left\lVert \frac{x_i}{\sqrt{\tilde d_i}} - \frac{x_j}{\sqrt{\tilde d_j}} \right\rVert^2,
              \quad \tilde L = I - \tilde D^{-1/2} \tilde A \tilde D^{-1/2}
    """
    h = Embeddings.of(x, edge_index)
    return h.each("laplacian_form") * h.scale * h.scale


def rayleigh_quotient(x: Tensor | Embeddings, edge_index: Tensor) -> Tensor:
    r""":func:`normalized_dirichlet_energy` over :math:`\lVert X \rVert_F^2`, in [0, 2]; 0 is the limit."""
    h = Embeddings.of(x, edge_index)
    return h.each("laplacian_form") / h.each("norm").square()


def distance_to_limit(x: Tensor | Embeddings, edge_index: Tensor) -> Tensor:
    r"""Distance to a GCN's limit, :math:`\lVert X - P X \rVert_F / \lVert X \rVert_F`, in [0, 1].

    :math:`P` projects on the span of :math:`\tilde D^{1/2} \mathbf{1}_C` over the connected components
    :math:`C`, to which repeated propagation converges (Oono & Suzuki 2020, arXiv 1905.10947, who do not
    divide by the norm).
    """
    h = Embeddings.of(x, edge_index)
    return h.each("to_limit") / h.each("norm")


def relative_distance_to_mean(x: Tensor | Embeddings) -> Tensor:
    r""":func:`distance_to_mean` over :math:`\lVert X \rVert_F`, in [0, 1]; 0 where all nodes are alike."""
    h = Embeddings.of(x)
    return h.each("to_mean") / h.each("norm")


def mean_average_distance(x: Tensor | Embeddings, edge_index: Tensor) -> Tensor:
    r"""Mean average distance (MAD): cosine distance to neighbours, in [0, 2].

    The mean over nodes i of the mean over neighbours j of :math:`1 - \cos(x_i, x_j)` (Chen et al. 2020, arXiv
    1909.03211, who leave pairs of distance 0 out of the means; here they count). Pairs with a zero row are
    left out, because it has no direction; NaN where no pair is left.
    """
    return Embeddings.of(x, edge_index).each("mean_cosine_distance")


def stable_rank(x: Tensor | Embeddings) -> Tensor:
    r"""Stable rank :math:`\lVert X \rVert_F^2 / \sigma_1^2`, from 1 (Zhang et al. 2025, arXiv 2502.04591)."""
    squares = Embeddings.of(x).each("singular_values").square()
    return squares.sum(-1) / squares[..., 0]


def effective_rank(x: Tensor | Embeddings) -> Tensor:
    r"""Effective rank :math:`\exp(-\sum_k p_k \ln p_k)` of the shares of singular values (Roy & Vetterli)."""
    values = Embeddings.of(x).each("singular_values")
    shares = values / values.sum(-1, keepdim=True)
    return torch.special.entr(shares).sum(-1).exp()


def rank_one_distance(x: Tensor | Embeddings) -> Tensor:
    r"""Distance to the nearest matrix of rank one over the norm (Roth & Liebig 2023, arXiv 2308.16800)."""
    squares = Embeddings.of(x).each("singular_values").square()
    return (squares[..., 1:].sum(-1) / squares.sum(-1)).sqrt()


def all_measures(x: Tensor | Embeddings, edge_index: Tensor | Graph) -> dict[str, Tensor]:
    """All measures of this module, each ``[...]``, under their names in the tables of layers."""
    h = Embeddings.of(x, edge_index)
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
