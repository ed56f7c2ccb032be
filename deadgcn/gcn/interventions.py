r"""Interventions: what is done to neurons instead of stripping all dead ones, to separate causes.

``Config.intervention`` names one. After each epoch that counts, in every hidden layer, on the dead neurons:

- ``"partial"``: strip, but only among a share ``dose`` of the neurons, drawn once for each run and layer.
- ``"sham"``: train a *donor*, a run of the same seed that is stripped. In each layer, shrink as many weights
  of the sham's live neurons as the donor lost, by the same sum of :math:`|w|` (:func:`shrink_live_`).
- ``"most positive"``: set as many of the most positive weights to 0 (the wrong sign).
- ``"random negative"``: set as many negative weights to 0, drawn anew each time.
- ``"bias shift"``: raise the bias until the neuron fires at 5 % of the nodes (:func:`lift_`).
- ``"rescale"``: strip, then multiply the layer's weights so that they have their old Frobenius norm.
- ``"reset moments"``: strip, then set Adam's two moments of the stripped weights to 0.

From initialisation on, on a share ``dose`` of the neurons, drawn once for each run and layer:

- ``"silence"``: incoming weights and bias are 0, so the neuron is dead and its gradient is 0, for good.
- ``"freeze"``: incoming weights and bias keep their initial values.

In the backward pass only, ``"leaky gradient"`` multiplies the gradient by ``dose`` where ReLU's output is 0.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from deadgcn.config import Config
from deadgcn.gcn.engine import Passes
from deadgcn.gcn.stripping import strip_dead_neurons_, stripping_mask

FIRING = 0.05  # share of the nodes at which a lifted neuron fires


class Intervention:
    """What a config's stripping or intervention does to runs while they are trained by an optimiser."""

    def __init__(self, passes: Passes, optimizer: torch.optim.Optimizer, config: Config) -> None:
        self.passes, self.model, self.optimizer, self.config = passes, passes.model, optimizer, config
        self.name = "strip" if config.strip else config.intervention
        if self.name in ("partial", "silence", "freeze"):
            self.chosen = self._draw_neurons()  # L times [R, d]
        if self.name == "silence":
            for parameter, mask in self._incoming():
                parameter[mask] = 0.0
        if self.name == "freeze":
            self.frozen = [parameter[mask] for parameter, mask in self._incoming()]

    def after_step_(self) -> None:
        """Undo an optimiser's step where neurons are frozen."""
        if self.name == "freeze":
            for (parameter, mask), initial in zip(self._incoming(), self.frozen, strict=True):
                parameter[mask] = initial

    def after_epoch_(self, dead: list[Tensor]) -> Tensor:
        """Act on dead neurons, L masks ``[R, d]``; return how many parameters changed, int64 ``[R]``."""
        if self.name == "bias shift":
            return self._lift_(dead)
        if self.name in ("most positive", "random negative"):
            return self._zero_others_(dead)
        changed = torch.zeros(len(self.model.seeds), dtype=torch.int64, device=self.model.head_weight.device)
        if self.name in ("none", "silence", "freeze", "leaky gradient"):
            return changed
        stripped = dead
        if self.name == "partial":
            stripped = [mask & own for mask, own in zip(dead, self.chosen, strict=True)]
        if self.name == "sham":
            donors = torch.arange(len(changed), device=changed.device) < len(changed) // 2  # [R]
            stripped = [mask & donors[:, None] for mask in dead]
        before = [weight.clone() for weight in self.model.weights]
        config = self.config
        options = {"amount": config.amount, "among": config.among, "rounding": config.rounding}
        changed += strip_dead_neurons_(self.model, stripped, config.replacement, **options)
        if changed.is_cuda or changed.any():
            for weight, old, mask in zip(self.model.weights, before, dead, strict=True):
                changed += self._compensate_(weight, old, mask)
        return changed

    def _compensate_(self, weight: Tensor, old: Tensor, dead: Tensor) -> Tensor | int:
        """What follows a strip in one layer, whose weights ``[R, d_out, d_in]`` were `old`."""
        if self.name == "rescale":
            norm, was = (torch.linalg.vector_norm(w, dim=(1, 2), keepdim=True) for w in (weight, old))
            weight.mul_(torch.where(norm > 0, was / norm, 1.0).where(norm != was, 1.0))
        if self.name == "reset moments":
            state = self.optimizer.state[self.optimizer.param_groups[0]["params"][0]]
            for name in ("exp_avg", "exp_avg_sq"):  # laid out as the parameters, of which weights are views
                moment = state[name].as_strided(weight.shape, weight.stride(), weight.storage_offset())
                moment.masked_fill_(weight != old, 0.0)
        if self.name == "sham":
            half = len(weight) // 2
            shrunk = shrink_live_(weight[half:], dead[half:], (old - weight)[:half].abs())
            return torch.cat([torch.zeros_like(shrunk), shrunk])
        return 0

    def _lift_(self, dead: list[Tensor]) -> Tensor:
        for layer, mask in enumerate(dead):
            if mask.any():
                lift_(self.model.biases[layer], self.passes.pre_activation(layer), mask)
        return torch.stack([*dead, torch.zeros_like(dead[0])]).sum((0, 2))

    def _zero_others_(self, dead: list[Tensor]) -> Tensor:
        changed = 0
        for weight, mask in zip(self.model.weights, dead, strict=True):
            ranked = -weight
            if self.name == "random negative":
                draws = [torch.rand(weight[0].shape, generator=g) for g in self.model.generators]
                ranked = torch.where(weight < 0, -1 - torch.stack(draws).to(weight), 1.0)
            chosen = stripping_mask(ranked, mask, self.config.amount, "negative", self.config.rounding)
            weight.masked_fill_(chosen, 0.0)
            changed = changed + chosen.sum((1, 2))
        return changed

    def _draw_neurons(self) -> list[Tensor]:
        width, layers = self.config.hidden_channels, self.model.weights
        few = round(self.config.dose * width)
        drawn = [[torch.randperm(width, generator=g) < few for _ in layers] for g in self.model.generators]
        return [torch.stack(masks).to(layers[0].device) for masks in zip(*drawn, strict=True)]

    def _incoming(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The chosen neurons' parameters, with their masks."""
        for layer, mask in enumerate(self.chosen):
            for parameter in self.model.convolution(layer):
                if parameter is not None:
                    yield parameter, mask


def shrink_live_(weight: Tensor, dead: Tensor, taken: Tensor) -> Tensor:
    """Take from live neurons what a strip has taken elsewhere; return how many weights changed, ``[R]``.

    Of each run, as many weights as ``taken [R, d_out, d_in]`` has positive numbers, the most negative of the
    live neurons, are multiplied by one factor, so that the sum of :math:`|w|` falls by the sum of ``taken``,
    or to 0 if that is more. ``weight`` is ``[R, d_out, d_in]``, ``dead [R, d_out]``.

    >>> weight = torch.tensor([[[-3.0, -1.0], [-9.0, 2.0]]])
    >>> shrink_live_(weight, torch.tensor([[False, True]]), torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]))
    tensor([2])
    >>> weight  # 4 in all, of which 2 are taken
    tensor([[[-1.5000, -0.5000],
             [-9.0000,  2.0000]]])
    """
    changed = torch.zeros(len(weight), dtype=torch.int64, device=weight.device)
    for run, lost in enumerate(taken):
        negative = weight[run].where((weight[run] < 0) & ~dead[run, :, None], 0.0).double().flatten()
        chosen = negative.argsort(stable=True)[: int(lost.count_nonzero())]
        values = negative[chosen]
        total = values.sum().neg()
        if total > 0:
            factor = 1 - (lost.double().sum() / total).clamp(max=1)
            weight[run].view(-1)[chosen] = torch.where(
                values < 0, values * factor, weight[run].view(-1)[chosen]
            ).to(weight)
            changed[run] = (values < 0).sum()
    return changed


def lift_(bias: Tensor, pre: Tensor, dead: Tensor) -> None:
    """Raise the biases ``[R, d]`` of dead neurons so that they fire at 5 % of the nodes, at least at one.

    ``pre`` holds their pre-activations ``[R, N, d]``. Nodes with equal pre-activations fire together.
    """
    number = max(1, math.floor(FIRING * pre.shape[1]))
    value = pre.topk(number, dim=1).values[:, -1]  # [R, d]: the smallest that is to fire
    bias.copy_(torch.where(dead, bias - value + value.abs() * 1e-4 + 1e-12, bias))
