"""Dying neurons and over-smoothing in deep ReLU graph convolutional networks.

The one place where the environment of the numerical libraries is set. MKL otherwise picks its kernels by the
alignment of its operands, so that at some widths a run's last bits would depend on its place in the batch;
this must be set before MKL's first product. The number of threads is set by
:func:`deadgcn.gcn.training.use_one_thread`, because it holds for one thread and one process only.
"""

import os

os.environ.setdefault("MKL_CBWR", "AVX2,STRICT")
