"""R plain graph convolutional networks of any depth, side by side on one graph."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch_geometric.nn.resolver import activation_resolver

from deadgcn.gcn.engine import Passes
from deadgcn.gcn.initialization import initial, initial_head


class GCN(nn.Module):
    r"""R independent graph convolutional networks (Kipf & Welling 2017) with one linear head each.

    .. math:: H_l = \sigma(\hat A H_{l-1} W_l^\top + b_l), \quad
              \mathrm{logits} = H_L W_{\mathrm{head}}^\top + b_{\mathrm{head}}

    For ``num_layers >= 1`` each run is exactly ``torch_geometric.nn.GCN(..., jk="last")``; depth 0 is the
    head on the raw features. Biases start from 0, the head's weights are Kaiming-uniform (fan-in, ReLU). Each
    run draws from a generator of its own, so the first layers are the same at any depth.

    Args:
        in_channels, hidden_channels, out_channels, num_layers: F, d, C and L.
        act: a name that PyTorch Geometric resolves, such as ``"relu"`` or ``"elu"``, or a differentiable
            function of one run's pre-activations ``[N, d]``.
        negative_slope: of ``"leaky_relu"``.
        bias: whether the convolutions have one (the head always has).
        dropout, input_dropout: on each activation and on the features, from each run's own generator.
        init: of the convolutions' weights and the head's: see :mod:`deadgcn.gcn.initialization`.
        seeds: one per run, so R = ``len(seeds)``.

    Raises ``ValueError`` for an unknown activation or init, a negative depth, or no seed.

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
        init: str = "glorot",
        seeds: Sequence[int] = (0,),
    ) -> None:
        super().__init__()
        if num_layers < 0 or not len(seeds):
            raise ValueError(f"need num_layers >= 0 and a seed, but {num_layers} and {seeds!r} were passed")
        self.num_layers = num_layers
        self.slope = {"relu": 0.0, "leaky_relu": negative_slope}.get(act)  # None: another activation
        self.backward_slope = self.slope  # at inputs below 0; differs in one intervention
        self.own_act = activation_resolver(act) if self.slope is None else None
        self.dropout, self.input_dropout = dropout, input_dropout
        self.seeds = tuple(int(seed) for seed in seeds)
        self.generators = [torch.Generator().manual_seed(seed) for seed in self.seeds]
        widths = [in_channels] + [hidden_channels] * num_layers
        pairs = list(zip(widths[1:], widths, strict=False))  # (d_out, d_in) of each convolution
        drawn = [[initial(init, *pair, i, g) for g in self.generators] for i, pair in enumerate(pairs)]
        self.weights = nn.ParameterList(map(torch.stack, drawn))  # L times [R, d_out, d_in]
        self.biases = nn.ParameterList([torch.zeros(len(seeds), d) for d, _ in pairs] if bias else [])
        heads = [initial_head(init, out_channels, widths[-1], num_layers, g) for g in self.generators]
        self.head_weight = nn.Parameter(torch.stack(heads))  # [R, C, d]
        self.head_bias = nn.Parameter(torch.zeros(len(seeds), out_channels))  # [R, C]

    def forward(self, x: Tensor, adj: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return logits ``[R, N, C]`` and the L post-activations ``[R, N, d]`` (before dropout).

        All runs share the features ``x [N, F]``, dense or sparse CSR, and ``adj [N, N]``, sparse CSR and
        symmetric (:func:`deadgcn.normalized_adjacency`). Raises ``ValueError`` for shapes that do not fit.
        Autograd does not see it; gradients are those of :meth:`deadgcn.gcn.engine.Passes.backward`.
        """
        features = [*self.weights, self.head_weight][0].shape[-1]
        if x.dim() != 2 or x.shape[1] != features or tuple(adj.shape) != (len(x), len(x)):
            shapes = f"{list(x.shape)} and {list(adj.shape)}"
            raise ValueError(f"x must be [N, {features}] and adj [N, N], but {shapes} were passed")
        passes = Passes(self, x, adj)
        return passes.forward(), passes.activations

    def convolution(self, layer: int) -> tuple[Tensor, Tensor | None]:
        """Weights ``[R, d_out, d_in]`` and biases ``[R, d_out]`` (or None) of one hidden layer."""
        return self.weights[layer], self.biases[layer] if len(self.biases) else None

    def dropout_mask(self, h: Tensor, p: float) -> Tensor | None:
        """What dropout multiplies ``[R, ...]`` by, each run's from its own generator; None for 1."""
        if not (self.training and p):
            return None
        masks = [torch.empty(h.shape[1:]).bernoulli_(1 - p, generator=g) for g in self.generators]
        return torch.stack(masks).to(h).div_(1 - p)

    def run_state_dict(self, run: int) -> dict[str, Tensor]:
        """Copies of one run's parameters under the names of ``torch_geometric.nn.GCN(..., jk="last")``."""
        named = [(f"convs.{layer}.lin.weight", weight) for layer, weight in enumerate(self.weights)]
        named += [(f"convs.{layer}.bias", bias) for layer, bias in enumerate(self.biases)]
        named += [("lin.weight", self.head_weight), ("lin.bias", self.head_bias)]
        return {name: values[run].detach().clone() for name, values in named}
