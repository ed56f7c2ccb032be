"""Synaptic stripping: set the most negative incoming weights of dead neurons to 0.

Source: Whitaker & Whitley 2023, "Synaptic Stripping" (arXiv 2302.05818); the paper under study applies it to
graph convolutions after every epoch. The weights may grow back: no mask is kept. Biases and Adam's moments
are not touched.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from deadgcn.gcn.model import GCN


def stripping_mask(
    weight: Tensor, dead: Tensor, amount: float = 0.1, among: str = "negative", rounding: str = "floor"
) -> Tensor:
    """True for the weights to strip: the most negative ``amount`` of each dead neuron's candidates.

    Of a dead neuron with c candidates, ``max(1, floor(amount * c))`` are chosen (the original's code), or
    ``ceil(amount * c)`` (the paper's text); none if c = 0. Of equal weights the first are taken. Candidates
    are the ``"negative"`` weights, or ``"all"`` (the original's ``prune_all``). ``weight`` and the result are
    ``[..., d_out, d_in]``, ``dead`` is a boolean ``[..., d_out]``. Raises ``ValueError`` for an illegal
    option, or a ``dead`` that does not fit.

    >>> stripping_mask(torch.tensor([[-3.0, 2.0, -1.0], [-5.0, 1.0, 1.0]]), torch.tensor([True, False]))
    tensor([[ True, False, False],
            [False, False, False]])
    """
    _check_choice("among", among, ("negative", "all"))
    _check_choice("rounding", rounding, ("floor", "ceil"))
    if not 0 < amount <= 1:
        raise ValueError(f"amount must be in (0, 1], but {amount!r} was passed")
    if dead.shape != weight.shape[:-1] or dead.dtype != torch.bool:
        found = f"{dead.dtype} {list(dead.shape)}"
        raise ValueError(f"dead must be boolean {list(weight.shape[:-1])}, but {found} was passed")
    if weight.is_cuda:  # picking rows would make the processor wait for the GPU to count them
        return _most_negative(weight, amount, among, rounding) & dead[..., None]
    mask = torch.zeros_like(weight, dtype=torch.bool)
    mask[dead] = _most_negative(weight[dead], amount, among, rounding)
    return mask


@torch.no_grad()
def strip_dead_neurons_(model: GCN, dead: Sequence[Tensor], **options: Any) -> Tensor:
    """Set the weights that :func:`stripping_mask` chooses to 0, in every hidden layer at once.

    ``dead`` holds a boolean ``[R, d]`` for each of the L layers; ``options`` are :func:`stripping_mask`'s.
    Returns how many weights were changed in each run, int64 ``[R]``.
    """
    if len(dead) != model.num_layers:
        raise ValueError(f"dead must hold {model.num_layers} layers' masks, but {len(dead)} were passed")
    changed = torch.zeros(len(model.seeds), dtype=torch.int64, device=model.head_weight.device)
    for weight, neurons in zip(model.weights, dead, strict=True):  # [R, d_out, d_in], [R, d_out]
        if not neurons.is_cuda and not neurons.any():
            continue
        chosen = stripping_mask(weight, neurons, **options)
        changed += (chosen & (weight != 0)).sum((1, 2))
        weight.masked_fill_(chosen, 0.0)
    return changed


def _most_negative(rows: Tensor, amount: float, among: str, rounding: str) -> Tensor:
    """True for each row's chosen weights, ``[..., d_in] -> [..., d_in]``."""
    ranks = torch.arange(rows.shape[-1], device=rows.device)
    candidate = rows < 0 if among == "negative" else torch.ones_like(rows, dtype=torch.bool)
    candidates = candidate.sum(-1, keepdim=True)  # [..., 1]
    # Rounded at 1e-9 first: 0.29 * 100 is 28.999999999999996 in binary, and is meant to be 29.
    share = torch.round(candidates.double() * amount, decimals=9)
    number = (share.floor() if rounding == "floor" else share.ceil()).clamp(min=1)
    chosen = ranks < torch.minimum(number, candidates)  # [..., d_in], by rank
    return torch.zeros_like(chosen).scatter_(-1, rows.argsort(dim=-1, stable=True), chosen)


def _check_choice(name: str, value: str, legal: tuple[str, ...]) -> None:
    if value not in legal:
        raise ValueError(f"{name} must be one of {legal}, but {value!r} was passed")
