"""How alike node embeddings are, layer by layer: ``[..., N, d] -> [...]``.

Any embeddings will do, a PyTorch Geometric model's of your own included. Measures compute in float64 after
dividing by a power of two: float32 squares of 1e-22, which deep ReLU networks reach, vanish.
"""

import torch
from torch import Tensor


def dirichlet_energy(x: Tensor, edge_index: Tensor, root: bool = True) -> Tensor:
    r"""Dirichlet energy as the paper defines it: how much neighbours differ.

    .. math:: E(X) = \sqrt{\frac{1}{N} \sum_i \sum_{j \in N(i)} \lVert x_i - x_j \rVert^2}

    The sum runs over directed edges, so an undirected edge counts twice. Grows in proportion to the size of
    the embeddings: look at :func:`frobenius_norm` beside it.

    Args:
        x: embeddings, ``[..., N, d]``.
        edge_index: directed edges, ``[2, E]``; self-loops add nothing.
        root: whether to take the root (the paper does; Cai & Wang 2020, arXiv 2006.13318, do not).

    Returns:
        float64 ``[...]``.

    >>> dirichlet_energy(torch.tensor([[0.0], [2.0]]), torch.tensor([[0, 1], [1, 0]]))
    tensor(2., dtype=torch.float64)
    """
    x, scale = _rescaled(x)
    # One matrix at a time: its E rows of differences fit the processor's cache, all matrices' do not.
    sums = [_squared_differences(one, edge_index) for one in x.reshape(-1, *x.shape[-2:])]
    energy = torch.stack(sums).view(x.shape[:-2]) / x.shape[-2]
    return energy.sqrt() * scale if root else energy * scale * scale


def distance_to_mean(x: Tensor) -> Tensor:
    r"""Distance to mean (DTM), :math:`\lVert X - \mathbf{1}\,\mathrm{mean}(X) \rVert_F` (Wu et al. 2023).

    Zero when all nodes have the same embedding. The limit of a GCN is not that, but proportional to the root
    of the degree, so DTM does not vanish there. Source: arXiv 2305.16102.

    >>> distance_to_mean(torch.tensor([[3.0], [1.0]]))
    tensor(1.4142, dtype=torch.float64)
    """
    x, scale = _rescaled(x)
    return x.sub_(x.mean(-2, keepdim=True)).square_().sum((-2, -1)).sqrt() * scale


def frobenius_norm(x: Tensor) -> Tensor:
    r"""Size of the embeddings, :math:`\lVert X \rVert_F`, which the two measures above grow with.

    >>> frobenius_norm(torch.tensor([[3.0, 4.0]]))
    tensor(5., dtype=torch.float64)
    """
    x, scale = _rescaled(x)
    return x.square_().sum((-2, -1)).sqrt() * scale


def _squared_differences(x: Tensor, edge_index: Tensor) -> Tensor:
    source, target = edge_index
    return x.index_select(0, source).sub_(x.index_select(0, target)).square_().sum()  # over [E, d]


def _rescaled(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return float64 ``x / scale``, largest entry in [0.5, 1), and ``scale`` ``[...]``, a power of two."""
    x = x.detach()
    largest = torch.maximum(x.amax((-2, -1)), -x.amin((-2, -1))).double()  # far cheaper than |x|
    # Contiguous, because the order in which a strided view is summed depends on its neighbours in memory.
    x = x.to(torch.float64, memory_format=torch.contiguous_format, copy=True)
    scale = torch.where(largest > 0, largest / largest.frexp().mantissa, 1.0)
    return x.div_(scale[..., None, None]), scale
