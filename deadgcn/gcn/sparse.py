"""Sparse products of one matrix with every run's block ``[m, d]``, one run after another.

One product of width R * d would be faster on some machines, but its bits may depend on R.
"""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class SparseFeatures(NamedTuple):
    """Features as CSR matrices, with their transposes: one for all runs, or one per run."""

    matrices: list[Tensor]  # 1 or R times CSR [N, F]
    transposed: list[Tensor]  # of each of them: CSR [F, N]

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
        return cls(matrices, [_transposed(matrix) for matrix in matrices])


def sparse_product(matrix: Tensor | Sequence[Tensor], h: Tensor, out: Tensor | None = None) -> Tensor:
    """Return a sparse CSR matrix ``[n, m]`` times every run's ``h``, ``[R, m, d] -> [R, n, d]``.

    Args:
        matrix: one matrix for all runs, or a sequence of one or of R. With 32-bit indices the matrix library
            takes it as it is; others it copies at each product.
        h: ``[R, m, d]``.
        out: memory for the result, or None to allocate it.
    """
    matrices = [matrix] if isinstance(matrix, Tensor) else list(matrix)
    if out is None:
        out = h.new_empty(h.shape[0], matrices[0].shape[0], h.shape[2])  # [R, n, d]
    if h.is_cuda and len(matrices) == 1:  # a kernel for each run would cost more than one wide product
        wide = matrices[0] @ h.transpose(0, 1).reshape(h.shape[1], -1)  # [n, R * d]
        return out.copy_(wide.view(-1, h.shape[0], h.shape[2]).transpose(0, 1))
    own = matrices if len(matrices) > 1 else matrices * len(h)
    for one, source, target in zip(own, h, out, strict=True):
        torch.addmm(target, one, source, beta=0, out=target)  # beta=0: no zero-filling
    return out


def _transposed(matrix: Tensor) -> Tensor:
    by_column = matrix.to_sparse_csc()  # the same memory, read as CSR, is the transpose
    return _csr(by_column.ccol_indices(), by_column.row_indices(), by_column.values(), matrix.shape[::-1])


def _csr(starts: Tensor, columns: Tensor, values: Tensor, shape: Sequence[int]) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse (CSR tensor support|invariant checks)", UserWarning)
        return torch.sparse_csr_tensor(starts.int(), columns.int(), values, tuple(shape))
