"""The measures of any PyTorch model on a graph, layer by layer."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import pandas as pd
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch_geometric.data import Data
from torch_geometric.utils import to_undirected

from deadgcn.data.own import checked_edges, is_numeric, mask_of
from deadgcn.gcn.embeddings import Graph
from deadgcn.gcn.records import LAYER_COLUMNS, layer_measures

# Activations by their names in torch, whether a module, a function or a method calls them.
ACTIVATIONS = """relu relu6 leaky_relu elu selu celu gelu silu mish tanh sigmoid softplus prelu rrelu hardtanh
    hardswish hardsigmoid hardshrink softshrink tanhshrink softsign logsigmoid threshold""".split()


def measure(
    model: nn.Module,
    data: Data,
    modules: Sequence[nn.Module] = (),
    forward: Callable[[], Tensor] | None = None,
    split: int = 0,
) -> pd.DataFrame:
    """Measure every layer of a model, in one evaluation without dropout: a row per layer.

    A layer is what an activation function returns, if it has a row per node: ReLU and its like, be they
    modules, functions (``F.relu(h)``) or methods (``h.relu()``, ``h.clamp(min=0)``). A sigmoid or tanh within
    a formula, such as ``h * h.sigmoid()``, counts too, and what ``torch.where`` returns does not; look at the
    column weights. With ``modules``, layers are what these return instead; if the model marks tensors with
    :func:`layer`, these.

    Args:
        model: computes the logits ``[N, C]`` as ``model(data.x, data.edge_index)``. It is not changed.
        data: a graph. Its edges count in both directions.
        modules: parts of the model, such as blocks or normalisations, in place of activation functions.
        forward: computes the logits if the model takes other arguments, such as an ``adj_t``.
        split: which column of masks ``[N, S]``.

    Columns: layer (from 1), name, weights (names of the parameters of two or more dimensions that were used
    since the layer before: of several layers, if some were not found), channels, and those of
    ``Tables.layers``. There ``weight_norm`` and ``gradient_norm`` are norms of these weights, and of the
    gradient of the cross-entropy of ``data.train_mask`` (missing without it) with respect to them. Raises
    ``ValueError`` if no layer is found, or the logits do not fit.
    """
    if not isinstance(data, Data) or data.edge_index is None:
        found = data if isinstance(data, Data) else f"a {type(data).__name__}"
        rule = "ToSparseTensor(remove_edge_index=False) keeps it"
        raise ValueError(f"data must be a PyG Data with edge_index ({rule}), but is {found}")
    modules = [modules] if isinstance(modules, nn.Module) else list(modules)
    if strange := [each for each in [model, *modules] if not isinstance(each, nn.Module)]:
        raise ValueError(f"model and modules must be PyTorch modules, but {strange[0]!r} was passed")
    edges = to_undirected(checked_edges(data.edge_index, data.num_nodes), num_nodes=data.num_nodes)
    mask = mask_of(data, "train_mask", split) if "train_mask" in data and "y" in data else None
    if mask is not None:
        y, legal = data.y, f"[{data.num_nodes}] of integers from 0"
        if not is_numeric(y) or y.is_floating_point() or y.shape != mask.shape or (y[mask] < 0).any():
            raise ValueError(f"y must be one class per node, {legal} at nodes that train, but is {y!r}")
    logits, recorder = _evaluate(model, data, modules, forward)
    if not (layers := recorder.layers(only_marked=bool(modules))):
        raise ValueError(
            "no activation [N, d] was found; give modules=[...], or mark layers with dg.layer(h)"
        )
    weights = list(dict.fromkeys(w for _, _, own in layers for w in own if w.requires_grad))
    gradients = dict.fromkeys(weights)
    if mask is not None:
        shape, classes = getattr(logits, "shape", None), int(data.y.max()) + 1
        if shape is None or len(shape) != 2 or len(logits) != data.num_nodes or shape[1] < classes:
            legal = f"[{data.num_nodes}, at least {classes}]"
            raise ValueError(f"the model must return logits {legal}, but returned {shape or type(logits)}")
        with _gradients():
            loss = nn.functional.cross_entropy(logits[mask], data.y[mask])
            if weights and loss.requires_grad:  # not if all are frozen
                found = torch.autograd.grad(loss, weights, allow_unused=True)
                gradients = dict(zip(weights, found, strict=True))
    names = {parameter: name for name, parameter in model.named_parameters()}
    structure, rows = Graph(edges, data.num_nodes), []
    for number, (name, post, own) in enumerate(layers, start=1):
        measured = layer_measures(post, structure) | {
            "weight_norm": _norm(own),
            "gradient_norm": _norm([gradients.get(weight) for weight in own]),
        }
        columns = {column: float(measured[column]) for column in LAYER_COLUMNS}
        told = ", ".join(names.get(weight, "?") for weight in own)
        rows.append({"layer": number, "name": name, "weights": told, "channels": post.shape[1], **columns})
    return pd.DataFrame(rows)


def activations(
    model: nn.Module,
    data: Data,
    modules: Sequence[nn.Module] = (),
    forward: Callable[[], Tensor] | None = None,
) -> list[Tensor]:
    """The activations ``[N, d]`` of every layer that :func:`measure` would measure, with its arguments."""
    _, recorder = _evaluate(model, data, modules, forward)
    return [post for _, post, _ in recorder.layers(only_marked=bool(modules))]


def _evaluate(
    model: nn.Module, data: Data, modules: Sequence[nn.Module], forward: Callable | None
) -> tuple[Any, "_Recorder"]:
    with _recording(model, modules, data.num_nodes) as recorder:
        try:
            return (forward() if forward else model(data.x, data.edge_index)), recorder
        except TypeError as error:
            error.add_note("called as model(data.x, data.edge_index); for other arguments give forward=...")
            raise


def layer(h: Tensor, name: str = "layer") -> Tensor:
    """Mark ``h [N, d]``, within a model's forward pass, as a layer for :func:`measure`, and return it.

    It is for what no activation function returns: a residual sum, or a formula such as ``h * h.sigmoid()``.
    """
    for recorder in _Recorder.active:
        recorder.record(name, h, marked=True)
    return h


class _Recorder(TorchFunctionMode):
    """Sees every call of torch: activations, marked tensors, and the weights used before them."""

    active: ClassVar[list["_Recorder"]] = []

    def __init__(self, num_nodes: int) -> None:
        super().__init__()
        self.num_nodes = num_nodes
        self.seen: list[tuple[str, Tensor, list[Tensor], bool]] = []  # name, activations, weights, marked
        self.weights: list[Tensor] = []  # used since the last of them

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        name, given = getattr(func, "__name__", "").rstrip("_"), [*args, *(kwargs or {}).values()]
        if name != "__get":  # asking for a shape or device is no use of a weight
            self.weights += [p for p in given if isinstance(p, nn.Parameter) and p.dim() > 1]
        out = func(*args, **(kwargs or {}))
        if name in ACTIVATIONS or (name in ("clamp", "clamp_min") and _is_relu(*args[1:], **(kwargs or {}))):
            self.record(name, out)
        return out

    def record(self, name: str, post: Any, marked: bool = False) -> None:
        """Take a layer if it has a row per node, with a copy, because the model may overwrite it."""
        if torch.is_tensor(post) and post.dim() == 2 and len(post) == self.num_nodes:
            self.seen.append((name, post.detach().clone(), self.weights, marked))
            self.weights = []

    def layers(self, only_marked: bool) -> list[tuple[str, Tensor, list[Tensor]]]:
        """Names, activations ``[N, d]`` and weights: of the marked ones, if there are any, else of all."""
        only_marked |= any(marked for *_, marked in self.seen)
        layers, weights = [], []
        for name, post, own, marked in self.seen:
            weights += own
            if marked or not only_marked:
                layers.append((name, post, list(dict.fromkeys(weights))))
                weights = []
        return layers


def _is_relu(min: Any = None, max: Any = None, **_: Any) -> bool:
    """Whether clamping with these bounds, under torch's names, is what ReLU does."""
    return not torch.is_tensor(min) and min == 0 and max is None


@contextmanager
def _recording(model: nn.Module, modules: Sequence[nn.Module], num_nodes: int) -> Iterator[_Recorder]:
    """Record in evaluation mode; afterwards hooks are gone and every module is in the mode it was in."""
    names = {module: name for name, module in model.named_modules()}
    modes = {module: module.training for module in names}
    recorder = _Recorder(num_nodes)
    hooks = [
        module.register_forward_hook(lambda own, _, out: recorder.record(names.get(own, "module"), out, True))
        for module in modules
    ]
    _Recorder.active.append(recorder)
    try:
        model.eval()
        with _gradients(), recorder:
            yield recorder
    finally:
        _Recorder.active.remove(recorder)
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def _gradients() -> Iterator[None]:
    """Let autograd work, whatever mode the caller is in."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def _norm(tensors: Sequence[Tensor | None]) -> float:
    """Root of the sum of squares of all entries; missing if there are none."""
    norms = [torch.linalg.vector_norm(t.detach(), dtype=torch.float64) for t in tensors if t is not None]
    return float(torch.stack(norms).norm()) if norms else float("nan")
