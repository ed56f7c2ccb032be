"""The arithmetic of all runs' networks, forward and backward by hand, in memory that is allocated once.

Everything is ``[R, N, d]``, contiguous, so that every operation works on one run's block at a time: it fits
the processor's cache, and a run's bits cannot depend on its neighbours. (They can at width 1, where the
matrix library multiplies one run by another routine than many.)
"""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from deadgcn.gcn.activations import own_activations, own_gradient

if TYPE_CHECKING:
    from deadgcn.gcn.model import GCN


BLOCK = 4096  # nodes whose gradients fit the processor's cache


class SparseFeatures(NamedTuple):
    """Features in sparse form, the same for all runs or each run's own, and the transposes of that."""

    matrices: list[Tensor]  # 1 or R times CSR [N, F]
    transposed: list[list[Tensor]]  # of each of them: CSR [F, n] of each block of n nodes

    @classmethod
    def from_dense(cls, x: Tensor) -> "SparseFeatures":
        """Return the features ``[N, F]`` in sparse form."""
        return cls._from_csr([_quietly_csr(x)])

    def times(self, masks: Tensor) -> "SparseFeatures":
        """Multiply the non-zeros by each run's own mask ``[R, nnz]`` (dropout leaves zeros what they are)."""
        (matrix,) = self.matrices
        indices = matrix.crow_indices(), matrix.col_indices()
        values = (matrix.values() * masks).unbind()
        return self._from_csr([_csr(*indices, v, tuple(matrix.shape)) for v in values])

    @classmethod
    def _from_csr(cls, matrices: list[Tensor]) -> "SparseFeatures":
        starts = range(0, matrices[0].shape[0], BLOCK)
        return cls(matrices, [[_transposed(matrix, start) for start in starts] for matrix in matrices])

    def product(self, weight: Tensor, out: Tensor | None = None) -> Tensor:
        """Return X times every run's weight, ``[R, F, d] -> [R, N, d]``."""
        return sparse_product(self.matrices, weight, out)

    def transposed_product(self, grad: Tensor) -> Tensor:
        """Return ``Xᵀ`` times every run's ``grad``, ``[R, N, d] -> [R, F, d]``, one block after another."""
        out = grad.new_empty(len(grad), self.matrices[0].shape[1], grad.shape[2])  # [R, F, d]
        blocks = zip(*self.transposed, strict=True)
        for number, (block, rows) in enumerate(zip(blocks, grad.split(BLOCK, dim=1), strict=True)):
            sparse_product(block, rows, out, beta=min(number, 1))
        return out


class Workspace:
    """Forward and backward passes of a model's runs on one graph, always in the same memory.

    The numbers are those of ``model(x, adj)`` and autograd, which allocate every activation anew. The
    weights are read at each pass, so they may change in between.

    Args:
        model: R runs.
        x, adj: as for :meth:`GCN.forward`.

    Attributes:
        activations: L tensors ``[R, N, d]``, the post-activations of the last forward pass.
    """

    def __init__(self, model: "GCN", x: Tensor, adj: Tensor) -> None:
        self.model, self.x, self.adj = model, x, adj
        width = model.weights[0].shape[1] if model.num_layers else 0
        # One block, which goes back to the system when it is freed. Two more than the activations are enough
        # for everything between the layers.
        memory = model.head_weight.new_empty(2 + model.num_layers, len(model.seeds), len(x), width)
        self._product, self._down, *self.activations = memory
        self._pre: list[Tensor] = []  # pre-activations, where the activation is the reader's own
        self._inputs: list[Tensor | SparseFeatures] = []  # of each layer and the head
        self._masks: list[Tensor | None] = []  # dropout of each activation

    @torch.no_grad()
    def forward(self) -> Tensor:
        """Return the logits ``[R, N, C]``, with dropout if the model is in training mode."""
        model, h = self.model, self.model.first_input(self.x)
        self._inputs, self._masks, self._pre = [h], [], []
        for layer, post in enumerate(self.activations):
            layer_forward(h, *model.convolution(layer), self.adj, model.slope, self._product, post)
            if model.own_act:
                self._pre.append(post.clone())
                post.copy_(own_activations(post, model.own_act))
            mask = model.dropout_mask(post, model.dropout)
            h = post if mask is None else post * mask  # [R, N, d]
            self._inputs.append(h)
            self._masks.append(mask)
        return layer_forward(h, model.head_weight, model.head_bias)

    @torch.no_grad()
    def backward(self, grad: Tensor, nodes: Tensor) -> list[Tensor]:
        """Return the gradients of ``model.parameters()`` at the weights of the last forward pass.

        Args:
            grad: gradient of n nodes' logits, ``[R, n, C]``; that of all others is 0.
            nodes: those nodes, ``[n]``.
        """
        model, h = self.model, self._inputs[-1]
        if isinstance(h, SparseFeatures):  # depth 0
            everywhere = grad.new_zeros(len(grad), len(self.x), grad.shape[2]).index_copy_(1, nodes, grad)
            return [h.transposed_product(everywhere).mT, grad.sum(1)]
        head = [torch.bmm(grad.mT, h[:, nodes]), grad.sum(1)]  # [R, C, d], [R, C]
        if not self.activations:
            return head
        down = self._down.zero_().index_copy_(1, nodes, torch.bmm(grad, model.head_weight))  # [R, N, d]
        weights, biases = [], []
        for layer in reversed(range(model.num_layers)):
            if (mask := self._masks[layer]) is not None:
                down *= mask
            h, post = self._inputs[layer], self.activations[layer]
            if model.own_act:
                down.copy_(own_gradient(self._pre[layer], model.own_act, down))
            product, weight, bias = layer_backward_(down, h, self.adj, post, model.slope, self._product)
            weights.insert(0, weight)
            biases.insert(0, bias)
            if layer > 0:
                torch.bmm(product, model.weights[layer], out=down)
        return [*head, *weights, *(biases if len(model.biases) else [])]


def layer_forward(
    h: Tensor | SparseFeatures,
    weight: Tensor,
    bias: Tensor | None,
    adj: Tensor | None = None,
    slope: float = 1.0,
    product: Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Return ``act(Â h Wᵀ + b)`` of all runs, ``[R, N, d_out]``; without ``adj`` a linear layer.

    Args:
        h: ``[R, N, d_in]``, or features that all runs share.
        weight, bias: ``[R, d_out, d_in]`` and ``[R, d_out]``.
        adj: sparse CSR ``[N, N]``.
        slope: the activation's below 0: 0 is ReLU, 1 none.
        product, out: memory for ``h Wᵀ`` and for the result, both like the result; None allocates it.
    """
    if isinstance(h, SparseFeatures):
        product = h.product(weight.mT.contiguous(), product)
    else:
        product = torch.bmm(h, weight.mT, out=product)
    post = product if adj is None else sparse_product(adj, product, out)
    if bias is not None:
        post += bias[:, None]
    if slope == 0:
        post.relu_()
    elif slope != 1:
        F.leaky_relu_(post, slope)
    return post


def layer_backward_(
    grad: Tensor,
    h: Tensor | SparseFeatures,
    adj: Tensor | None,
    post: Tensor,
    slope: float,
    product: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of ``h Wᵀ``, of W and of b in :func:`layer_forward`; overwrites ``grad``.

    Args:
        grad: gradient of the result ``post``, ``[R, N, d_out]``.
        h, adj, slope: as in the forward pass.
        product: memory for the first of the three, ``[R, N, d_out]``, or None to allocate it.
    """
    if slope == 0:
        torch.ops.aten.threshold_backward.grad_input(grad, post, 0, grad_input=grad)
    elif slope != 1:
        torch.ops.aten.leaky_relu_backward.grad_input(grad, post, slope, True, grad_input=grad)
    product = grad if adj is None else sparse_product(adj, grad, product)  # Â is symmetric: no transpose
    if isinstance(h, SparseFeatures):
        grad_weight = h.transposed_product(product).mT
    else:
        grad_weight = torch.bmm(product.mT, h)
    return product, grad_weight, grad.sum(1)


def sparse_product(
    matrix: Tensor | Sequence[Tensor], h: Tensor, out: Tensor | None = None, beta: int = 0
) -> Tensor:
    """Return one sparse CSR matrix ``[n, m]`` times every run's ``h``, ``[R, m, d] -> [R, n, d]``.

    A sequence holds one matrix for all runs or one for each. With 32-bit indices the matrix library takes
    a matrix as it is; others it copies at each product. ``beta=1`` adds the product to ``out`` instead of
    writing it there.
    """
    matrices = [matrix] if isinstance(matrix, Tensor) else list(matrix)
    if out is None:
        out = h.new_empty(h.shape[0], matrices[0].shape[0], h.shape[2])  # [R, n, d]
    if h.is_cuda and len(matrices) == 1:  # a kernel for each run would cost more than copies
        product = wide_sparse_product(matrices[0], h)
        return out.add_(product) if beta else out.copy_(product)
    own = matrices if len(matrices) > 1 else matrices * len(h)
    for one, source, target in zip(own, h, out, strict=True):
        torch.addmm(target, one, source, beta=beta, out=target)  # beta=0: no zero-filling
    return out


def wide_sparse_product(matrix: Tensor, h: Tensor) -> Tensor:
    """Return the same as one product of width R * d, whose bits may depend on R; not contiguous."""
    wide = matrix @ h.transpose(0, 1).reshape(h.shape[1], -1)  # [n, R * d]
    return wide.view(-1, h.shape[0], h.shape[2]).transpose(0, 1)  # [R, n, d]


def _transposed(matrix: Tensor, start: int) -> Tensor:
    """Transpose a block of rows of a CSR matrix: CSR ``[F, n]``."""
    stop = min(start + BLOCK, matrix.shape[0])
    starts = matrix.crow_indices()[start : stop + 1]
    inside = slice(int(starts[0]), int(starts[-1]))
    rows = _csr(
        starts - starts[0],
        matrix.col_indices()[inside],
        matrix.values()[inside],
        (stop - start, matrix.shape[1]),
    )
    by_column = rows.to_sparse_csc()  # the same memory, read as CSR, is the transpose
    return _csr(by_column.ccol_indices(), by_column.row_indices(), by_column.values(), rows.shape[::-1])


def _quietly_csr(dense: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse (CSR tensor support|invariant checks)", UserWarning)
        csr = dense.to_sparse_csr()
    return _csr(csr.crow_indices(), csr.col_indices(), csr.values(), dense.shape)


def _csr(starts: Tensor, columns: Tensor, values: Tensor, shape: Sequence[int]) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse (CSR tensor support|invariant checks)", UserWarning)
        return torch.sparse_csr_tensor(starts.int(), columns.int(), values, tuple(shape))
