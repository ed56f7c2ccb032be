r"""Interventions: what is done to neurons instead of stripping all dead ones, to separate causes.

``Config.intervention`` names one. After each epoch that counts, in every hidden layer, on the dead neurons:

- ``"partial"``: strip, but only among a share ``dose`` of the neurons, drawn once for each run and layer.
- ``"sham"``: train a *donor*, a run of the same seed that is stripped. In each layer, shrink as many weights
  of the sham's live neurons as the donor lost, by the same sum of :math:`|w|` (:func:`shrink_live_`).
- ``"most positive"``: set as many of the neuron's most positive weights to 0 (the wrong sign).
- ``"random negative"``: set as many of its negative weights to 0, drawn anew each time.
- ``"bias shift"``: raise the bias until the neuron fires at 5 % of the nodes (:func:`lift_`).
- ``"rescale"``: strip, then multiply the layer's weights so that they have their old Frobenius norm.
- ``"reset moments"``: strip, then set Adam's two moments of the stripped weights to 0.

From initialisation on, on a share ``dose`` of the neurons, drawn once for each run and layer:

- ``"silence"``: incoming weights and bias are 0, so the neuron is dead and its gradient is 0, for good.
- ``"freeze"``: incoming weights and bias keep their initial values.

In the backward pass, ``"leaky gradient"`` multiplies the gradient by ``dose`` where ReLU's output is 0.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from deadgcn.config import Config
from deadgcn.gcn.engine import Passes
from deadgcn.gcn.model import GCN
from deadgcn.gcn.smoothing import frobenius_norm
from deadgcn.gcn.stripping import strip_dead_neurons_, stripping_mask


class Intervention:
    """What a config's stripping or intervention does to runs while they are trained by an optimiser."""

    def __init__(self, passes: Passes, optimizer: torch.optim.Optimizer, config: Config) -> None:
        self.passes, self.model, self.optimizer = passes, passes.model, optimizer
        self.name = "strip" if config.strip else config.intervention
        self.options = {"amount": config.amount, "among": config.among, "rounding": config.rounding}
        self.frozen: list[tuple[Tensor, Tensor, Tensor]] = []  # parameters, masks, initial values
        if self.name in ("partial", "freeze"):
            self.chosen = draw_neurons(self.model, config.dose)  # L times [R, d]
        if self.name == "freeze":
            self.frozen = [(p, mask, p.clone()) for p, mask in incoming(self.model, self.chosen)]

    def after_step_(self) -> None:
        """Undo an optimiser's step where neurons are frozen."""
        for parameter, mask, initial in self.frozen:
            parameter.copy_(initial.where(mask, parameter))

    def after_epoch_(self, dead: list[Tensor]) -> Tensor:
        """Act on dead neurons, L masks ``[R, d]``; return how many parameters changed, int64 ``[R]``."""
        if self.name in ("strip", "partial", "sham", "rescale", "reset moments"):
            return self._strip_(dead)
        changed = torch.zeros(len(self.model.seeds), dtype=torch.int64, device=self.model.head_weight.device)
        for layer, mask in enumerate(dead):
            if self.name == "bias shift" and mask.any():
                changed += lift_(self.model.biases[layer], self.passes.pre_activation(layer), mask)
            if self.name in ("most positive", "random negative"):
                changed += self._zero_others_(self.model.weights[layer], mask)
        return changed

    def _strip_(self, dead: list[Tensor]) -> Tensor:
        """Strip, and do in each layer what the intervention does besides."""
        stripped, half = dead, len(self.model.seeds) // 2
        if self.name == "partial":
            stripped = [mask & own for mask, own in zip(dead, self.chosen, strict=True)]
        if self.name == "sham":  # the first half of the runs are the donors
            stripped = [torch.cat([mask[:half], torch.zeros_like(mask[half:])]) for mask in dead]
        others = self.name not in ("strip", "partial")
        before = [weight.clone() for weight in self.model.weights] if others else []
        changed = strip_dead_neurons_(self.model, stripped, **self.options)
        for weight, old, mask in zip(self.model.weights, before, dead, strict=False):
            if self.name == "rescale":
                rescale_(weight, old)
            if self.name == "reset moments":
                self._reset_moments_(weight, weight != old)
            if self.name == "sham":
                taken = (old - weight)[:half].abs().nan_to_num(0.0)  # a diverged donor has lost nothing
                changed[half:] += shrink_live_(weight[half:], mask[half:], taken)
        return changed

    def _reset_moments_(self, weight: Tensor, where: Tensor) -> None:
        """Set Adam's moments of some weights to 0. They are laid out as the parameters are."""
        state = self.optimizer.state[self.optimizer.param_groups[0]["params"][0]]
        for name in ("exp_avg", "exp_avg_sq"):
            moment = state[name].as_strided(weight.shape, weight.stride(), weight.storage_offset())
            moment.masked_fill_(where, 0.0)

    def _zero_others_(self, weight: Tensor, dead: Tensor) -> Tensor:
        """Zero other weights than a strip would, as many of each neuron; return how many, ``[R]``."""
        number = stripping_mask(weight, dead, **self.options).sum(-1, keepdim=True)  # [R, d_out, 1]
        if self.name == "most positive":
            value, candidate = weight, weight > 0
        else:
            draws = [torch.rand(weight[0].shape, generator=g) for g in self.model.generators]
            value, candidate = torch.stack(draws).to(weight), weight < 0
        order = value.where(candidate, -1.0).argsort(dim=-1, descending=True, stable=True)
        chosen = (order.argsort(dim=-1) < number) & candidate
        weight.masked_fill_(chosen, 0.0)
        return chosen.sum((1, 2))


def draw_neurons(model: GCN, dose: float) -> list[Tensor]:
    """True for a share ``dose`` of each layer's neurons, L masks ``[R, d]``, from each run's generator."""
    widths = [weight.shape[1] for weight in model.weights]
    drawn = [[torch.randperm(d, generator=g) < round(dose * d) for d in widths] for g in model.generators]
    return [torch.stack(masks).to(model.head_weight.device) for masks in zip(*drawn, strict=True)]


@torch.no_grad()
def silence_(model: GCN, dose: float) -> None:
    """Set everything that enters a share ``dose`` of the neurons to 0."""
    for parameter, mask in incoming(model, draw_neurons(model, dose)):
        parameter.masked_fill_(mask, 0.0)


def incoming(model: GCN, neurons: list[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Each convolution's weights and biases, with masks that are True for the neurons' own."""
    for layer, mask in enumerate(neurons):
        weight, bias = model.convolution(layer)
        yield weight, mask[..., None]
        if bias is not None:
            yield bias, mask


def rescale_(weight: Tensor, old: Tensor) -> None:
    """Give each run's weights ``[R, d_out, d_in]`` the Frobenius norm of the old, if any is left."""
    norm = frobenius_norm(weight)  # [R]
    factor = torch.where(norm > 0, frobenius_norm(old) / norm, 1.0)
    weight.mul_(factor[:, None, None])


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
    for run, (own, lost) in enumerate(zip(weight, taken.double(), strict=True)):  # [d_out, d_in] each
        live = own.where((own < 0) & ~dead[run, :, None], 0.0).double().flatten()
        chosen = live.argsort(stable=True)[: int(lost.count_nonzero())]
        chosen = chosen[live[chosen] < 0]
        factor = 1 - (lost.sum() / live[chosen].sum().neg()).clamp(max=1)
        own.view(-1)[chosen] = (live[chosen] * factor).to(own)
        changed[run] = len(chosen)
    return changed


def lift_(bias: Tensor, pre: Tensor, dead: Tensor) -> Tensor:
    """Raise the biases ``[R, d]`` of dead neurons; return how many in each run, ``[R]``.

    They then fire at 5 % of the nodes, rounded up, given the present input of their layer. ``pre`` holds
    their pre-activations ``[R, N, d]``. Nodes with equal pre-activations fire together.
    """
    number = math.ceil(pre.shape[1] / 20)
    value = pre.topk(number, dim=1).values[:, -1]  # [R, d]: the smallest that is to fire
    lifted = dead & (value <= 0)  # others fire at as many nodes: a threshold may call them dead
    margin = 1e-4 * (value.abs() + bias.abs())  # well above rounding
    margin = margin.masked_fill(margin == 0, 1e-12)
    bias.copy_((bias - value + margin).where(lifted, bias))
    return lifted.sum(1)
