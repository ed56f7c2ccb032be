"""Forward and backward passes of all runs' networks, by hand, in memory that is allocated once.

Autograd, with a function for each product, makes training more than 10 % slower. Everything is
``[R, N, d]``, contiguous, so that every operation works on one run's block at a time: it fits the processor's
cache, and a run's bits do not depend on its neighbours. (They can at width 1, where the matrix library
multiplies one run by another routine than many.)
"""

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
        self.model, self.adj, self.num_nodes = model, [adj], len(x)
        dense = x.detach().to_dense()
        if dense.count_nonzero() >= SPARSE_BELOW * dense.numel():
            self._features = dense.expand(len(model.seeds), *x.shape)
        else:
            csr = dense.to_sparse_csr()
            self._features = SparseFeatures.of(csr, [csr.values()])
        width = model.weights[0].shape[1] if model.num_layers else 0
        # One block, which goes back to the system when it is freed. Two more than the activations are enough
        # for everything between the layers.
        memory = model.head_weight.new_empty(2 + model.num_layers, len(model.seeds), len(x), width)
        self._product, self._down, *self.activations = memory
        self._inputs: list[Tensor | SparseFeatures] = []  # of each layer and the head
        self._masks: list[Tensor | None] = []  # dropout of each activation
        self._own: list[tuple[Tensor, Tensor]] = []  # arguments and results of activations left to autograd

    @torch.no_grad()
    def forward(self) -> Tensor:
        """Return the logits ``[R, N, C]``, with dropout if the model is in training mode."""
        model, h = self.model, self._first_input()
        self._inputs, self._masks, self._own = [h], [], []
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
        if isinstance(h, Tensor):
            mask = model.dropout_mask(h, model.input_dropout)
            return h if mask is None else h * mask
        (csr,) = h.matrices
        mask = model.dropout_mask(csr.values().expand(len(model.seeds), -1), model.input_dropout)
        return h if mask is None else SparseFeatures.of(csr, csr.values() * mask)

    def _activate_(self, pre: Tensor) -> None:
        act = self.model.own_act
        if act:
            with torch.enable_grad():
                leaf = pre.clone().requires_grad_()
                # Run by run, because it may look at all nodes; on copies, because it may overwrite them.
                posts = [act(z.clone()) for z in leaf.unbind()]
                for post in posts:
                    found = f"a {type(post).__name__}"
                    if torch.is_tensor(post):
                        found = f"{list(post.shape)} of {post.dtype}{' without' * (not post.requires_grad)}"
                    legal = f"{list(pre[0].shape)} of {pre.dtype}"
                    if found != legal:
                        name = getattr(act, "__name__", act)
                        raise ValueError(
                            f"act must return {legal} with a gradient, but {name} returned {found}"
                        )
                post = torch.stack(posts)
            self._own.append((leaf, post))
            pre.copy_(post)
        elif self.model.slope:
            F.leaky_relu_(pre, self.model.slope)
        else:
            pre.relu_()

    def pre_activation(self, layer: int) -> Tensor:
        """Compute a layer's pre-activations ``[R, N, d]`` again, from the inputs of the last forward pass."""
        weight, bias = self.model.convolution(layer)
        pre = sparse_product(self.adj, _times_transposed(self._inputs[layer], weight))
        return pre if bias is None else pre + bias[:, None]

    @torch.no_grad()
    def backward(self, grad: Tensor, nodes: Tensor) -> list[Tensor]:
        """Return the gradients of ``model.parameters()`` at the weights of the last forward pass.

        ``grad [R, n, C]`` is the gradient of the logits of ``nodes [n]``; that of other nodes' logits is 0.
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
            self._activation_backward_(layer, down)
            sparse_product(self.adj, down, self._product)  # Â is symmetric: no transpose
            weights.insert(0, _weight_gradient(self._product, self._inputs[layer]))
            biases.insert(0, down.sum(1))
            if layer > 0:
                torch.bmm(self._product, model.weights[layer], out=down)
        return [*head, *weights, *(biases if len(model.biases) else [])]

    def _activation_backward_(self, layer: int, grad: Tensor) -> None:
        """Turn the gradient ``[R, N, d]`` of an activation into that of its pre-activation, in place."""
        post, slope = self.activations[layer], self.model.backward_slope
        if self.model.own_act:
            pre, own = self._own[layer]
            grad.copy_(torch.autograd.grad(own, pre, grad, retain_graph=True)[0])
        elif slope:
            torch.ops.aten.leaky_relu_backward.grad_input(grad, post, slope, True, grad_input=grad)
        else:
            torch.ops.aten.threshold_backward.grad_input(grad, post, 0, grad_input=grad)


def _times_transposed(h: Tensor | SparseFeatures, weight: Tensor, out: Tensor | None = None) -> Tensor:
    """Return ``h Wᵀ`` of all runs, ``[R, N, d_out]``."""
    if isinstance(h, SparseFeatures):
        return sparse_product(h.matrices, weight.mT.contiguous(), out)
    return torch.bmm(h, weight.mT, out=out)


def _weight_gradient(grad: Tensor, h: Tensor | SparseFeatures) -> Tensor:
    """Return the gradient ``[R, d_out, d_in]`` of W, given that of ``h Wᵀ``, ``[R, N, d_out]``."""
    return h.transposed_product(grad).mT if isinstance(h, SparseFeatures) else torch.bmm(grad.mT, h)
