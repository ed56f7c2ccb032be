"""Products of sparse matrices with the dense ones of many runs, always with the same bits for a run."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from deadgcn.data.own import csr_matrix

BLOCK = 4096  # nodes whose gradients a product with transposed features reads at a time, to fit the cache


class SparseFeatures(NamedTuple):
    """Features as CSR matrices, with their transposes in blocks: one for all runs, or one per run."""

    matrices: list[Tensor]  # 1 or R times CSR [N, F]
    transposed: list[list[Tensor]]  # for each block of n nodes: 1 or R times CSR [F, n]

    @classmethod
    def of(cls, csr: Tensor, values: Iterable[Tensor]) -> "SparseFeatures":
        """One matrix for each of ``values``, which stand at the non-zeros of a CSR tensor ``[N, F]``."""
        matrices = [csr_matrix(csr.crow_indices(), csr.col_indices(), v, csr.shape) for v in values]
        size = len(csr) if csr.is_cuda else BLOCK
        return cls(matrices, [[_transposed(m, i, size) for m in matrices] for i in range(0, len(csr), size)])

    def transposed_product(self, h: Tensor) -> Tensor:
        """Return the transposes times ``h [R, N, d]``: ``[R, F, d]``."""
        total, size = None, self.transposed[0][0].shape[1]
        for block, part in zip(self.transposed, h.split(size, 1), strict=True):
            total = sparse_product(block, part, total, add=total is not None)
        return total


def sparse_product(
    matrices: Sequence[Tensor], h: Tensor, out: Tensor | None = None, add: bool = False
) -> Tensor:
    """Return CSR matrices ``[n, m]``, one for all runs or one per run, times ``h [R, m, d]``: ``[R, n, d]``.

    It is written to ``out``, or added to it. Runs are multiplied one after another: one product of width
    R * d would be faster on some machines, but its bits may depend on R.
    """
    if out is None:
        out = h.new_empty(h.shape[0], matrices[0].shape[0], h.shape[2])  # [R, n, d]
    if h.is_cuda and len(matrices) == 1:  # a kernel for each run would cost more than one wide product
        wide = matrices[0] @ h.transpose(0, 1).reshape(h.shape[1], -1)  # [n, R * d]
        wide = wide.view(-1, h.shape[0], h.shape[2]).transpose(0, 1)
        return out.add_(wide) if add else out.copy_(wide)
    own = matrices if len(matrices) > 1 else [matrices[0]] * len(h)
    for one, source, target in zip(own, h, out, strict=True):
        torch.addmm(target, one, source, beta=float(add), out=target)  # beta=0: no zero-filling
    return out


def _transposed(csr: Tensor, first: int, size: int) -> Tensor:
    """The transpose, CSR ``[F, n]``, of at most ``size`` rows of ``csr [N, F]``."""
    starts = csr.crow_indices()[first : first + size + 1]
    own = slice(int(starts[0]), int(starts[-1]))
    shape = len(starts) - 1, csr.shape[1]
    block = csr_matrix(starts - starts[0], csr.col_indices()[own], csr.values()[own], shape).to_sparse_csc()
    # Its memory, read as CSR, is the transpose.
    return csr_matrix(block.ccol_indices(), block.row_indices(), block.values(), shape[::-1])
