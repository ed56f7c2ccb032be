"""R plain graph convolutional networks of any depth, side by side on one graph.

Activations are ``[R, N, d]``, contiguous, so that every operation works on one run's block at a time: it
fits the processor's cache, and a run's bits cannot depend on its neighbours. (They can at width 1, where the
matrix library multiplies one run by another routine than many.)
"""

import math
import warnings
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SPARSE_BELOW = 0.25  # features with a smaller share of non-zeros are multiplied as a sparse matrix


class GCN(nn.Module):
    r"""R independent graph convolutional networks (Kipf & Welling 2017) with one linear head each.

    .. math:: H_l = \sigma(\hat A H_{l-1} W_l^\top + b_l), \quad
              \mathrm{logits} = H_L W_{\mathrm{head}}^\top + b_{\mathrm{head}}

    For ``num_layers >= 1`` each run is exactly ``torch_geometric.nn.GCN(..., jk="last")``; depth 0 is the
    head on the raw features. Convolutions start from Glorot-uniform weights and zero biases, the head from
    Kaiming-uniform weights (fan-in, ReLU) and a zero bias. Each run draws them from a generator of its own,
    so they depend on its seed alone, and the first layers are the same at any depth.

    Args:
        in_channels, hidden_channels, out_channels: F, d and C.
        num_layers: L, the number of graph convolutions, 0 or more.
        act: ``"relu"`` or ``"leaky_relu"``.
        negative_slope: of ``"leaky_relu"``.
        bias: whether the convolutions have one (the head always has).
        dropout: on each activation, while training; drawn from each run's own generator.
        input_dropout: the same for the features.
        seeds: one per run, so R = ``len(seeds)``.

    >>> model = GCN(4, 8, 3, num_layers=2, seeds=(0, 1))
    >>> logits, activations = model(torch.rand(5, 4), torch.eye(5).to_sparse_csr())
    >>> logits.shape, [tuple(a.shape) for a in activations]
    (torch.Size([2, 5, 3]), [(2, 5, 8), (2, 5, 8)])
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        out_channels: int,
        num_layers: int,
        *,
        act: Literal["relu", "leaky_relu"] = "relu",
        negative_slope: float = 0.8,
        bias: bool = True,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        seeds: Sequence[int] = (0,),
    ) -> None:
        super().__init__()
        if act not in ("relu", "leaky_relu"):
            raise ValueError(f"act must be 'relu' or 'leaky_relu', but {act!r} was passed")
        if num_layers < 0 or not len(seeds):
            raise ValueError(f"need num_layers >= 0 and a seed, but {num_layers} and {seeds!r} were passed")
        self.num_layers = num_layers
        self.slope = 0.0 if act == "relu" else negative_slope
        self.dropout, self.input_dropout = dropout, input_dropout
        self.seeds = tuple(int(seed) for seed in seeds)
        self.generators = [torch.Generator().manual_seed(seed) for seed in self.seeds]
        widths = [in_channels] + [hidden_channels] * num_layers
        pairs = list(zip(widths[1:], widths, strict=False))  # (d_out, d_in) of each convolution
        self.weights = nn.ParameterList([self._glorot(*pair) for pair in pairs])  # L times [R, d_out, d_in]
        self.biases = nn.ParameterList([torch.zeros(len(seeds), d) for d, _ in pairs] if bias else [])
        bound = math.sqrt(6 / widths[-1])
        self.head_weight = nn.Parameter(self._uniform(out_channels, widths[-1], bound))  # [R, C, d]
        self.head_bias = nn.Parameter(torch.zeros(len(seeds), out_channels))  # [R, C]
        self._features_cache: tuple | None = None

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_features_cache": None}  # torch cannot copy sparse CSR tensors

    def _glorot(self, d_out: int, d_in: int) -> Tensor:
        return self._uniform(d_out, d_in, math.sqrt(6 / (d_in + d_out)))

    def _uniform(self, d_out: int, d_in: int, bound: float) -> Tensor:
        draws = [torch.empty(d_out, d_in).uniform_(-bound, bound, generator=g) for g in self.generators]
        return torch.stack(draws)  # [R, d_out, d_in]

    def forward(self, x: Tensor, adj: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return logits ``[R, N, C]`` and the L post-activations ``[R, N, d]`` (before dropout).

        Args:
            x: features ``[N, F]`` shared by all runs, dense or sparse CSR. Mostly-zero features are
                multiplied as a sparse matrix, which is kept for the next call.
            adj: normalised adjacency ``[N, N]``, sparse CSR and symmetric
                (:func:`deadgcn.data.normalized_adjacency`).
        """
        if x.dim() != 2 or tuple(adj.shape) != (len(x), len(x)):
            raise ValueError(
                f"x must be [N, F] and adj [N, N], but {list(x.shape)} and {list(adj.shape)} came"
            )
        h, transposed = self._features(x)
        activations = []
        for layer, weight in enumerate(self.weights):
            bias = self.biases[layer] if len(self.biases) else None
            post = _Layer.apply(h, transposed, weight, bias, adj, self.slope)  # [R, N, d]
            activations.append(post)
            h, transposed = self._drop(post, self.dropout), None
        return _Layer.apply(h, transposed, self.head_weight, self.head_bias, None, 1.0), activations

    def _features(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the first product's input: sparse ``[N, F]`` with its transpose, or ``[R, N, F]``."""
        if x.requires_grad or (self.training and self.input_dropout):
            return self._drop(x.to_dense().expand(len(self.seeds), *x.shape), self.input_dropout), None
        cache = self._features_cache
        if cache is None or cache[0] is not x or cache[1] != x._version:
            dense = x.detach().to_dense()
            if dense.count_nonzero() < SPARSE_BELOW * dense.numel():
                features = _to_csr(dense), _to_csr(dense.T)
            else:
                features = dense.expand(len(self.seeds), *x.shape), None
            self._features_cache = cache = (x, x._version, features)
        return cache[2]

    def _drop(self, h: Tensor, p: float) -> Tensor:
        """Dropout of ``[R, N, d]``, each run's mask from its own generator."""
        if not (self.training and p):
            return h
        masks = [torch.empty(h.shape[1:]).bernoulli_(1 - p, generator=g) for g in self.generators]
        return h * torch.stack(masks).to(h).div_(1 - p)

    def run_state_dict(self, run: int) -> dict[str, Tensor]:
        """Copies of one run's parameters under the names of ``torch_geometric.nn.GCN(..., jk="last")``."""
        return {name: values[run].detach().clone() for name, values in self._named_runs()}

    def load_run_state_dict(self, run: int, state: dict[str, Tensor]) -> None:
        """Copy one run's parameters in, the inverse of :meth:`run_state_dict`.

        Raises:
            ValueError: names or shapes that do not fit this network; nothing is changed then.
        """
        expected = {name: tuple(values.shape[1:]) for name, values in self._named_runs()}
        given = {name: tuple(values.shape) for name, values in state.items()}
        if given != expected:
            wrong = sorted(set(given.items()) ^ set(expected.items()))
            raise ValueError(f"state does not fit this network; it differs in {wrong[:4]}")
        with torch.no_grad():
            for name, values in self._named_runs():
                values[run].copy_(state[name])

    def _named_runs(self) -> list[tuple[str, Tensor]]:
        named = [(f"convs.{layer}.lin.weight", weight) for layer, weight in enumerate(self.weights)]
        named += [(f"convs.{layer}.bias", bias) for layer, bias in enumerate(self.biases)]
        return [*named, ("lin.weight", self.head_weight), ("lin.bias", self.head_bias)]


class _Layer(torch.autograd.Function):
    """``act(Â h Wᵀ + b)`` for all runs; without ``adj`` a linear layer. Keeps only its input and output.

    ``h`` is ``[R, N, d_in]``, or features shared by all runs as a sparse ``[N, d_in]`` with its transpose.
    """

    @staticmethod
    def forward(ctx, h, transposed, weight, bias, adj, slope):
        if transposed is None:
            post = torch.bmm(h, weight.mT)  # [R, N, d_out]
        else:
            post = _sparse_product(h, weight.mT.contiguous())  # [R, N, d_out]
        if adj is not None:
            post = _sparse_product(adj, post)
        if bias is not None:
            post += bias[:, None]
        if slope != 1:
            post = post.relu_() if slope == 0 else F.leaky_relu_(post, slope)
        ctx.save_for_backward(h, transposed, weight, adj, post)
        ctx.slope, ctx.has_bias = slope, bias is not None
        return post

    @staticmethod
    def backward(ctx, grad):
        h, transposed, weight, adj, post = ctx.saved_tensors
        if ctx.slope == 0:
            grad = torch.ops.aten.threshold_backward(grad, post, 0)
        elif ctx.slope != 1:
            grad = torch.ops.aten.leaky_relu_backward(grad, post, ctx.slope, True)
        grad_bias = grad.sum(1) if ctx.has_bias else None  # [R, d_out]
        if adj is not None:
            grad = _sparse_product(adj, grad)  # Â is symmetric: no transpose
        if transposed is None:
            grad_weight = torch.bmm(grad.mT, h)  # [R, d_out, d_in]
        else:
            grad_weight = _sparse_product(transposed, grad).mT
        grad_h = torch.bmm(grad, weight) if ctx.needs_input_grad[0] else None  # [R, N, d_in]
        return grad_h, None, grad_weight, grad_bias, None, None


def _to_csr(dense: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse (CSR tensor support|invariant checks)", UserWarning)
        return dense.to_sparse_csr()


def _sparse_product(matrix: Tensor, h: Tensor) -> Tensor:
    """Product of one sparse CSR matrix ``[n, m]`` with every run's ``h``, ``[R, m, d] -> [R, n, d]``."""
    if h.is_cuda:  # there, starting a kernel for each run would cost more than the copies of a wide product
        return _wide_sparse_product(matrix, h)
    out = h.new_empty(h.shape[0], matrix.shape[0], h.shape[2])  # [R, n, d]
    for source, target in zip(h.contiguous(), out, strict=True):
        torch.addmm(target, matrix, source, beta=0, out=target)  # beta=0: no zero-filling
    return out


def _wide_sparse_product(matrix: Tensor, h: Tensor) -> Tensor:
    """The same as one product of width R * d, whose bits may depend on R."""
    wide = matrix @ h.transpose(0, 1).reshape(h.shape[1], -1)  # [n, R * d]
    return wide.view(-1, h.shape[0], h.shape[2]).transpose(0, 1).contiguous()  # [R, n, d]
