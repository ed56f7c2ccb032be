"""Sparse products of one matrix with every run's block ``[m, d]``, one run after another.

One product of width R * d would be faster on some machines, but its bits may depend on R.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class SparseFeatures(NamedTuple):
    """Features as CSR matrices, with their transposes: one for all runs, or one per run."""

    matrices: list[Tensor]  # 1 or R times CSR [N, F]
    transposed: list[Tensor]  # of each of them: CSR [F, N]

    @classmethod
    def of(cls, csr: Tensor, values: Iterable[Tensor]) -> "SparseFeatures":
        """One matrix for each of ``values``, which stand at the non-zeros of a CSR tensor ``[N, F]``."""
        matrices = [_csr(csr.crow_indices(), csr.col_indices(), v, csr.shape) for v in values]
        columns = [m.to_sparse_csc() for m in matrices]  # the same memory, read as CSR, is the transpose
        transposed = [_csr(c.ccol_indices(), c.row_indices(), c.values(), c.shape[::-1]) for c in columns]
        return cls(matrices, transposed)


def sparse_product(matrices: Sequence[Tensor], h: Tensor, out: Tensor | None = None) -> Tensor:
    """Return CSR matrices ``[n, m]``, one for all runs or one per run, times every run's ``h``.

    The result is ``[R, n, d]``, in ``out`` if that is given, and ``h`` is ``[R, m, d]``. With 32-bit indices
    the matrix library takes the matrices as they are; others it copies at each product.
    """
    if out is None:
        out = h.new_empty(h.shape[0], matrices[0].shape[0], h.shape[2])  # [R, n, d]
    if h.is_cuda and len(matrices) == 1:  # a kernel for each run would cost more than one wide product
        wide = matrices[0] @ h.transpose(0, 1).reshape(h.shape[1], -1)  # [n, R * d]
        return out.copy_(wide.view(-1, h.shape[0], h.shape[2]).transpose(0, 1))
    own = matrices if len(matrices) > 1 else [matrices[0]] * len(h)
    for one, source, target in zip(own, h, out, strict=True):
        torch.addmm(target, one, source, beta=0, out=target)  # beta=0: no zero-filling
    return out


def _csr(starts: Tensor, columns: Tensor, values: Tensor, shape: Sequence[int]) -> Tensor:
    return torch.sparse_csr_tensor(starts.int(), columns.int(), values, tuple(shape), check_invariants=False)
