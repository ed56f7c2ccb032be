"""R plain graph convolutional networks of any depth, side by side on one graph.

For autograd and measuring; the training loop makes the same passes by :class:`deadgcn.gcn.engine.Workspace`.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from deadgcn.config import ACTS
from deadgcn.gcn.activations import own_activations
from deadgcn.gcn.engine import SparseFeatures, layer_backward_, layer_forward

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
        act: ``"relu"``, ``"leaky_relu"``, or a differentiable function of one run's pre-activations
            ``[N, d]`` that returns as many numbers and leaves its argument as it is.
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
        act: str | Callable[[Tensor], Tensor] = "relu",
        negative_slope: float = 0.8,
        bias: bool = True,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        seeds: Sequence[int] = (0,),
    ) -> None:
        super().__init__()
        if act not in ACTS and not callable(act):
            raise ValueError(f"act must be one of {', '.join(ACTS)}, or a function, but {act!r} was passed")
        if num_layers < 0 or not len(seeds):
            raise ValueError(f"need num_layers >= 0 and a seed, but {num_layers} and {seeds!r} were passed")
        self.num_layers = num_layers
        self.own_act = act if callable(act) else None
        self.slope = 1.0 if self.own_act else {"relu": 0.0, "leaky_relu": negative_slope}[act]
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
                (:func:`deadgcn.data.graphs.normalized_adjacency`).
        """
        if x.dim() != 2 or tuple(adj.shape) != (len(x), len(x)):
            raise ValueError(
                f"x must be [N, F] and adj [N, N], but {list(x.shape)} and {list(adj.shape)} came"
            )
        h, activations = self.first_input(x), []
        for layer in range(self.num_layers):
            h = _Layer.apply(h, *self.convolution(layer), adj, self.slope)  # [R, N, d]
            if self.own_act:
                h = own_activations(h, self.own_act)
            activations.append(h)
            if (mask := self.dropout_mask(h, self.dropout)) is not None:
                h = h * mask
        return _Layer.apply(h, self.head_weight, self.head_bias, None, 1.0), activations

    def convolution(self, layer: int) -> tuple[Tensor, Tensor | None]:
        """Weights ``[R, d_out, d_in]`` and biases ``[R, d_out]`` (or None) of one hidden layer."""
        return self.weights[layer], self.biases[layer] if len(self.biases) else None

    def first_input(self, x: Tensor) -> Tensor | SparseFeatures:
        """What the first layer multiplies: sparse features, kept for the next call, or ``[R, N, F]``.

        Dropout draws a number for each non-zero of sparse features: to a zero it makes no difference.
        """
        if x.requires_grad:
            h = x.to_dense().expand(len(self.seeds), *x.shape)
        else:
            h = self._kept_features(x)
        if not (self.training and self.input_dropout):
            return h
        if isinstance(h, SparseFeatures):
            values = h.matrices[0].values()
            return h.times(self.dropout_mask(values.expand(len(self.seeds), -1), self.input_dropout))
        return h * self.dropout_mask(h, self.input_dropout)

    def _kept_features(self, x: Tensor) -> Tensor | SparseFeatures:
        cache = self._features_cache
        if cache is None or cache[0] is not x or cache[1] != x._version:
            dense = x.detach().to_dense()
            if dense.count_nonzero() < SPARSE_BELOW * dense.numel():
                features = SparseFeatures.from_dense(dense)
            else:
                features = dense.expand(len(self.seeds), *x.shape)
            self._features_cache = cache = (x, x._version, features)
        return cache[2]

    def dropout_mask(self, h: Tensor, p: float) -> Tensor | None:
        """What dropout multiplies ``[R, N, d]`` by, each run's from its own generator; None for 1."""
        if not (self.training and p):
            return None
        masks = [torch.empty(h.shape[1:]).bernoulli_(1 - p, generator=g) for g in self.generators]
        return torch.stack(masks).to(h).div_(1 - p)

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
    """One layer of all runs for autograd. Keeps only its input and output."""

    @staticmethod
    def forward(ctx, h, weight, bias, adj, slope):
        post = layer_forward(h, weight, bias, adj, slope)
        ctx.features = h if isinstance(h, SparseFeatures) else None
        ctx.save_for_backward(None if ctx.features else h, weight, adj, post)
        ctx.slope, ctx.has_bias = slope, bias is not None
        return post

    @staticmethod
    def backward(ctx, grad):
        h, weight, adj, post = ctx.saved_tensors
        h = ctx.features or h
        product, of_weight, of_bias = layer_backward_(grad.clone(), h, adj, post, ctx.slope)
        of_h = torch.bmm(product, weight) if ctx.needs_input_grad[0] else None  # [R, N, d_in]
        return of_h, of_weight, of_bias if ctx.has_bias else None, None, None
