"""Forward and backward passes of all runs' networks, by hand, in memory that is allocated once.

Everything is ``[R, N, d]``, contiguous, so that every operation works on one run's block at a time: it fits
the processor's cache, and a run's bits do not depend on its neighbours. (They can at width 1, where the
matrix library multiplies one run by another routine than many.)
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from deadgcn.gcn.sparse import SparseFeatures, sparse_product

if TYPE_CHECKING:
    from deadgcn.gcn.model import GCN

SPARSE_BELOW = 0.25  # features with a smaller share of non-zeros are multiplied as a sparse matrix


class Passes:
    """Forward and backward passes of R runs on one graph, always in the same memory.

    Arguments are those of :meth:`deadgcn.GCN.forward`. The weights may change between passes. ``activations``
    are L tensors ``[R, N, d]``, the post-activations of the last forward pass, before dropout.
    """

    def __init__(self, model: "GCN", x: Tensor, adj: Tensor) -> None:
        self.model, self.adj, self.num_nodes = model, adj, len(x)
        dense = x.detach().to_dense()
        if dense.count_nonzero() >= SPARSE_BELOW * dense.numel():
            self._features = dense.expand(len(model.seeds), *x.shape)
        else:
            self._features = SparseFeatures.from_dense(dense)
        width = model.weights[0].shape[1] if model.num_layers else 0
        # One block, which goes back to the system when it is freed. Two more than the activations are enough
        # for everything between the layers.
        memory = model.head_weight.new_empty(2 + model.num_layers, len(model.seeds), len(x), width)
        self._product, self._down, *self.activations = memory
        self._pre: list[Tensor] = []  # pre-activations, kept where the activation is a function
        self._inputs: list[Tensor | SparseFeatures] = []  # of each layer and the head
        self._masks: list[Tensor | None] = []  # dropout of each activation

    @torch.no_grad()
    def forward(self) -> Tensor:
        """Return the logits ``[R, N, C]``, with dropout if the model is in training mode."""
        model, h = self.model, self._first_input()
        self._inputs, self._masks, self._pre = [h], [], []
        for layer, post in enumerate(self.activations):
            weight, bias = model.convolution(layer)
            _times_transposed(h, weight, self._product)  # h Wᵀ, [R, N, d]
            sparse_product(self.adj, self._product, post)
            if bias is not None:
                post += bias[:, None]
            self._activate_(post)
            mask = model.dropout_mask(post, model.dropout)
            h = post if mask is None else post * mask  # [R, N, d]
            self._inputs.append(h)
            self._masks.append(mask)
        return _times_transposed(h, model.head_weight).add_(model.head_bias[:, None])

    def _first_input(self) -> Tensor | SparseFeatures:
        """The features, with dropout; it draws a number for each non-zero only where they are sparse."""
        model, h = self.model, self._features
        values = h.matrices[0].values().expand(len(model.seeds), -1) if isinstance(h, SparseFeatures) else h
        mask = model.dropout_mask(values, model.input_dropout)
        if mask is None:
            return h
        return h.times(mask) if isinstance(h, SparseFeatures) else h * mask

    def _activate_(self, pre: Tensor) -> None:
        if self.model.own_act:
            self._pre.append(pre.clone())
            pre.copy_(_own_activations(pre, self.model.own_act))
        elif self.model.slope:
            F.leaky_relu_(pre, self.model.slope)
        else:
            pre.relu_()

    @torch.no_grad()
    def backward(self, grad: Tensor, nodes: Tensor, of_activations: Sequence[Tensor] = ()) -> list[Tensor]:
        """Return the gradients of ``model.parameters()`` at the weights of the last forward pass.

        ``grad [R, n, C]`` is the gradient of the logits of ``nodes [n]``; that of other nodes' logits is 0.
        ``of_activations`` are gradients ``[R, N, d]`` that reach each activation from elsewhere, if any.
        """
        model, h = self.model, self._inputs[-1]
        if isinstance(h, SparseFeatures):  # depth 0
            everywhere = grad.new_zeros(len(grad), self.num_nodes, grad.shape[2]).index_copy_(1, nodes, grad)
            return [_weight_gradient(everywhere, h), grad.sum(1)]
        head = [torch.bmm(grad.mT, h[:, nodes]), grad.sum(1)]  # [R, C, d], [R, C]
        if not self.activations:
            return head
        down = self._down.zero_().index_copy_(1, nodes, torch.bmm(grad, model.head_weight))  # [R, N, d]
        weights, biases = [], []
        for layer in reversed(range(model.num_layers)):
            if self._masks[layer] is not None:
                down *= self._masks[layer]
            if of_activations:
                down += of_activations[layer]
            self._activation_backward_(layer, down)
            sparse_product(self.adj, down, self._product)  # Â is symmetric: no transpose
            weights.insert(0, _weight_gradient(self._product, self._inputs[layer]))
            biases.insert(0, down.sum(1))
            if layer > 0:
                torch.bmm(self._product, model.weights[layer], out=down)
        return [*head, *weights, *(biases if len(model.biases) else [])]

    def _activation_backward_(self, layer: int, grad: Tensor) -> None:
        """Turn the gradient ``[R, N, d]`` of an activation into that of its pre-activation, in place."""
        post, slope = self.activations[layer], self.model.slope
        if self.model.own_act:
            grad.copy_(_own_gradient(self._pre[layer], self.model.own_act, grad))
        elif slope:
            torch.ops.aten.leaky_relu_backward.grad_input(grad, post, slope, True, grad_input=grad)
        else:
            torch.ops.aten.threshold_backward.grad_input(grad, post, 0, grad_input=grad)


class Network(torch.autograd.Function):
    """The same passes as one step of autograd, with respect to the parameters and through the activations."""

    @staticmethod
    def forward(ctx, model: "GCN", x: Tensor, adj: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
        """Return the logits ``[R, N, C]`` and the L activations ``[R, N, d]``."""
        ctx.passes = Passes(model, x, adj)
        logits = ctx.passes.forward()
        # Copies: an output that is also kept for the backward pass would never be freed.
        return logits, *(post.clone() for post in ctx.passes.activations)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor, *of_activations: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of forward's arguments."""
        nodes = torch.arange(grad.shape[1], device=grad.device)
        gradients = ctx.passes.backward(grad, nodes, of_activations)
        return None, None, None, *gradients


def _times_transposed(h: Tensor | SparseFeatures, weight: Tensor, out: Tensor | None = None) -> Tensor:
    """Return ``h Wᵀ`` of all runs, ``[R, N, d_out]``."""
    if isinstance(h, SparseFeatures):
        return sparse_product(h.matrices, weight.mT.contiguous(), out)
    return torch.bmm(h, weight.mT, out=out)


def _weight_gradient(grad: Tensor, h: Tensor | SparseFeatures) -> Tensor:
    """Return the gradient ``[R, d_out, d_in]`` of W, given that of ``h Wᵀ``, ``[R, N, d_out]``."""
    return sparse_product(h.transposed, grad).mT if isinstance(h, SparseFeatures) else torch.bmm(grad.mT, h)


def _own_activations(pre: Tensor, act: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply a function to each run's pre-activations ``[R, N, d]``, with a check of what it returns."""
    before, name = pre._version, getattr(act, "__name__", repr(act))
    posts = [act(z) for z in pre.unbind()]
    if pre._version != before:
        raise ValueError(f"act must leave its argument as it is, but {name} overwrites it")
    for post in posts:
        if not torch.is_tensor(post) or (post.shape, post.dtype) != (pre.shape[1:], pre.dtype):
            expected, found = (f"{list(t.shape)} of {t.dtype}" for t in (pre[0], torch.as_tensor(post)))
            raise ValueError(f"act must return {expected} here, but {name} returned {found}")
    return torch.stack(posts)


def _own_gradient(pre: Tensor, act: Callable[[Tensor], Tensor], grad: Tensor) -> Tensor:
    """Multiply a gradient ``[R, N, d]`` of the activations by their derivative at ``pre``, by autograd."""
    with torch.enable_grad():
        leaf = pre.requires_grad_()
        return torch.autograd.grad(_own_activations(leaf, act), leaf, grad)[0]
