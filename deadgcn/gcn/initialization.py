"""Initial weights of the convolutions and the head, each drawn from a run's own generator."""

import math

import torch
from torch import Generator, Tensor
from torch.nn import init

INITS = ("glorot", "he", "orthogonal", "looks_linear")


def initial(name: str, d_out: int, d_in: int, layer: int, generator: Generator) -> Tensor:
    """Return the weights ``[d_out, d_in]`` of a convolution (``layer`` from 0).

    - ``"glorot"``: uniform with variance 2 / (d_in + d_out) (Glorot & Bengio 2010), PyG's and the paper's.
    - ``"he"``: uniform with variance 2 / d_in (He et al. 2015, arXiv 1502.01852).
    - ``"orthogonal"``: a random orthogonal matrix times the root of 2 (Saxe et al. 2014, arXiv 1312.6120).
    - ``"looks_linear"``: mirrored pairs of neurons, whose two ReLUs together are linear because
      relu(z) - relu(-z) = z (Balduzzi et al. 2017, arXiv 1702.08591). The first layer is ``[U; -U]`` with
      Glorot-uniform U, the others are ``[[V, -V], [-V, V]]`` with V orthogonal. d must be even.

    Raises ``ValueError`` for another name, or an odd d.
    """
    if name not in INITS or (name == "looks_linear" and d_out % 2):
        raise ValueError(f"init must be one of {INITS} (the last for even widths), but got {name!r}, {d_out}")
    if name == "looks_linear":
        if layer == 0:
            half = _uniform(d_out // 2, d_in, math.sqrt(6 / (d_in + d_out)), generator)  # U
            return torch.cat([half, -half])
        half = init.orthogonal_(torch.empty(d_out // 2, d_in // 2), generator=generator)  # V
        return torch.cat([torch.cat([half, -half], 1), torch.cat([-half, half], 1)])
    if name == "orthogonal":
        return init.orthogonal_(torch.empty(d_out, d_in), math.sqrt(2), generator=generator)
    return _uniform(d_out, d_in, math.sqrt(6 / (d_in if name == "he" else d_in + d_out)), generator)


def initial_head(name: str, d_out: int, d_in: int, num_layers: int, generator: Generator) -> Tensor:
    """Return the head's weights ``[d_out, d_in]``: He-uniform, and mirrored for ``"looks_linear"``."""
    bound = math.sqrt(6 / d_in)
    if name == "looks_linear" and num_layers:
        half = _uniform(d_out, d_in // 2, bound, generator)
        return torch.cat([half, -half], 1)
    return _uniform(d_out, d_in, bound, generator)


def _uniform(d_out: int, d_in: int, bound: float, generator: Generator) -> Tensor:
    return torch.empty(d_out, d_in).uniform_(-bound, bound, generator=generator)
