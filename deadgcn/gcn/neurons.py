"""Which neurons are dead.

A neuron, an output channel of a hidden layer, is dead when its activation is exactly 0 at every node: its
weights then get no gradient. Post-activations count, so LeakyReLU has no dead neurons except where numbers
underflow. The original's code applies a ReLU first, and therefore reports some for LeakyReLU too.
"""

from numbers import Real

import torch
from torch import Tensor

from deadgcn.gcn.embeddings import checked_embeddings


def dead_mask(post: Tensor, threshold: float = 1.0) -> Tensor:
    """True where a neuron is dead, ``[..., N, d] -> [..., d]``.

    ``threshold`` is the share of the nodes, in (0, 1], at which the activation must be exactly 0.

    >>> dead_mask(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
    tensor([ True, False])
    """
    if not isinstance(threshold, Real) or not 0 < threshold <= 1:
        raise ValueError(f"threshold must be in (0, 1], but {threshold!r} was passed")
    post = checked_embeddings(post)
    if threshold == 1:  # two reductions are far cheaper than a comparison at every entry
        return (post.amax(-2) == 0) & (post.amin(-2) == 0)
    return zero_count(post) >= threshold * post.shape[-2]


def dead_fraction(post: Tensor, threshold: float = 1.0) -> Tensor:
    """Share of a layer's neurons that are dead, ``[..., N, d] -> [...]``, float64."""
    return dead_mask(post, threshold).double().mean(-1)


def zero_fraction(post: Tensor) -> Tensor:
    """Share of (node, neuron) entries that are exactly 0, ``[..., N, d] -> [...]``, float64."""
    return zero_count(post := checked_embeddings(post)).mean(-1) / post.shape[-2]


def zero_count(post: Tensor) -> Tensor:
    """Number of nodes at which each neuron is 0, ``[..., d]``, as float64."""
    if post.amax().isnan():  # whose sign is 0
        return (post == 0).sum(-2).double()
    # Summing |sign| is vectorised where comparing and counting is not. Whole numbers below 2^24 add exactly.
    return post.shape[-2] - post.sign().abs_().sum(-2, dtype=torch.float32).double()
