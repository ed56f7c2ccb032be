"""Sparse products of one matrix with every run's block ``[m, d]``, one run after another.

One product of width R * d would be faster on some machines, but its bits may depend on R.
"""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

BLOCK = 4096  # nodes whose gradients fit the processor's cache


class SparseFeatures(NamedTuple):
    """Features as CSR matrices, with their transposes: one for all runs, or one per run."""

    matrices: list[Tensor]  # 1 or R times CSR [N, F]
    transposed: list[list[Tensor]]  # of each of them: CSR [F, n] of each block of n nodes

    @classmethod
    def from_dense(cls, x: Tensor) -> "SparseFeatures":
        """Return the features ``[N, F]`` in sparse form, the same for all runs."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse (CSR tensor support|invariant checks)", UserWarning)
            matrix = x.to_sparse_csr()
        return cls._from_csr([_csr(matrix.crow_indices(), matrix.col_indices(), matrix.values(), x.shape)])

    def times(self, masks: Tensor) -> "SparseFeatures":
        """Multiply the non-zeros by each run's own mask ``[R, nnz]``, as dropout does."""
        (matrix,) = self.matrices
        indices = matrix.crow_indices(), matrix.col_indices()
        values = (matrix.values() * masks).unbind()
        return self._from_csr([_csr(*indices, v, matrix.shape) for v in values])

    @classmethod
    def _from_csr(cls, matrices: list[Tensor]) -> "SparseFeatures":
        starts = range(0, matrices[0].shape[0], BLOCK)
        return cls(matrices, [[_transposed(matrix, start) for start in starts] for matrix in matrices])

    def product(self, weight: Tensor, out: Tensor | None = None) -> Tensor:
        """Return X times every run's weight, ``[R, F, d] -> [R, N, d]``."""
        return sparse_product(self.matrices, weight, out)

    def transposed_product(self, grad: Tensor) -> Tensor:
        """Return ``Xᵀ`` times every run's gradient, ``[R, N, d] -> [R, F, d]``, block by block."""
        out = grad.new_empty(len(grad), self.matrices[0].shape[1], grad.shape[2])  # [R, F, d]
        blocks = zip(*self.transposed, strict=True)
        for number, (block, rows) in enumerate(zip(blocks, grad.split(BLOCK, dim=1), strict=True)):
            sparse_product(block, rows, out, beta=min(number, 1))
        return out


def sparse_product(
    matrix: Tensor | Sequence[Tensor], h: Tensor, out: Tensor | None = None, beta: int = 0
) -> Tensor:
    """Return a sparse CSR matrix ``[n, m]`` times every run's ``h``, ``[R, m, d] -> [R, n, d]``.

    Args:
        matrix: one matrix for all runs, or a sequence of one or of R. With 32-bit indices the matrix library
            takes it as it is; others it copies at each product.
        h: ``[R, m, d]``.
        out: memory for the result, or None to allocate it.
        beta: 1 adds the product to ``out``; 0 overwrites it.
    """
    matrices = [matrix] if isinstance(matrix, Tensor) else list(matrix)
    if out is None:
        out = h.new_empty(h.shape[0], matrices[0].shape[0], h.shape[2])  # [R, n, d]
    if h.is_cuda and len(matrices) == 1:  # a kernel for each run would cost more than one wide product
        wide = matrices[0] @ h.transpose(0, 1).reshape(h.shape[1], -1)  # [n, R * d]
        product = wide.view(-1, h.shape[0], h.shape[2]).transpose(0, 1)
        return out.add_(product) if beta else out.copy_(product)
    own = matrices if len(matrices) > 1 else matrices * len(h)
    for one, source, target in zip(own, h, out, strict=True):
        torch.addmm(target, one, source, beta=beta, out=target)  # beta=0: no zero-filling
    return out


def _transposed(matrix: Tensor, start: int) -> Tensor:
    """Transpose a block of rows of a CSR matrix: CSR ``[F, n]``."""
    stop = min(start + BLOCK, matrix.shape[0])
    starts = matrix.crow_indices()[start : stop + 1]
    inside = slice(int(starts[0]), int(starts[-1]))
    columns, values = matrix.col_indices()[inside], matrix.values()[inside]
    rows = _csr(starts - starts[0], columns, values, (stop - start, matrix.shape[1]))
    by_column = rows.to_sparse_csc()  # the same memory, read as CSR, is the transpose
    return _csr(by_column.ccol_indices(), by_column.row_indices(), by_column.values(), rows.shape[::-1])


def _csr(starts: Tensor, columns: Tensor, values: Tensor, shape: Sequence[int]) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse (CSR tensor support|invariant checks)", UserWarning)
        return torch.sparse_csr_tensor(starts.int(), columns.int(), values, tuple(shape))
