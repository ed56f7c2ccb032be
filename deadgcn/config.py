"""One run's settings, validated. Imports no torch, so that bad settings are refused at once."""

import difflib
import io
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from reprlib import Repr
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)

PROJECT = Path(__file__).resolve().parents[1]  # the folder of notebooks/, params/, data/ and .cache/
if not (PROJECT / "notebooks").is_dir():  # installed without them: data/ and .cache/ of the caller's folder
    PROJECT = Path.cwd()
DATASETS = ("Cora", "CiteSeer", "PubMed", "SyntheticCora")
METHODS = {"ReLU": {}, "ReLU + pruning": {"strip": True}, "LeakyReLU": {"act": "leaky_relu"}}
# Activations that PyTorch Geometric knows by these names: one number in, one out, nothing drawn or learned.
ACTS = ("relu", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "tanh", "sigmoid", "softplus")

# What is done to neurons instead of stripping all dead ones; deadgcn/gcn/interventions.py defines them.
CHOOSING_WEIGHTS = ("partial", "sham", "most positive", "random negative", "rescale", "reset moments")
WITH_DOSE = ("partial", "leaky gradient", "silence", "freeze")
INTERVENTIONS = tuple(dict.fromkeys(("none", *CHOOSING_WEIGHTS, "bias shift", *WITH_DOSE)))

_short = Repr()
_short.maxlevel, _short.maxother = 2, 60  # of nested lists, and for a class's path
show = _short.repr


class ParameterError(ValueError):
    """A setting or parameter that is unknown or not legal, or a file of them that cannot be read."""


@cache
def check_label(label: str) -> str:
    """The label. Raises ``ValueError`` if a CSV file would not give it back: "None", "1.0", "a\\rb"."""
    import pandas as pd  # slow to import

    text = pd.DataFrame({"label": [label]}).to_csv(index=False)
    if pd.read_csv(io.StringIO(text))["label"].tolist() != [label]:
        rule = "text that a CSV file gives back, no number and no word for nothing"
        raise ValueError(f"a label must be {rule}, but {label!r} was passed")
    return label


class Config(BaseModel):
    """Settings of one run: one network, trained from one seed.

    Defaults are those of the paper's experiments. Where its text and its code differ, the default is the
    code's, which made the numbers, and the comment gives the text's value. An unknown name, a wrong type, a
    value out of range, and a setting that changes nothing beside the others raise ``ParameterError``, a
    ``ValueError``. Skip connections, normalisation layers, DropEdge and other convolutions are no settings:
    :func:`deadgcn.measure` measures a model that has them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    dataset: str = "Cora"  # a name that load_graph knows, or the one given to run_grid with a graph
    split: int = Field(0, ge=0)  # which column of masks [N, S]; the paper's graphs have one split
    method: Annotated[str, AfterValidator(check_label)] = (
        "ReLU"  # the arm's label in tables and figures; changes no number
    )
    num_layers: int = Field(10, ge=0, le=10_000)  # graph convolutions; 0 is the linear head alone
    seed: int = Field(0, ge=0, lt=2**63)  # the original set none

    propagation: float = Field(1.0, ge=0, le=1)  # share a of the graph in (1 - a) I + a Â; 0: no graph
    normalize_features: bool = False  # each row by its sum; the paper's are raw 0/1 words
    hidden_channels: int = Field(32, ge=1, le=65_536)
    act: str | Callable = "relu"  # one of ACTS, a module of torch.nn, or a function of pre-activations [N, d]
    negative_slope: float = Field(0.8, gt=0, lt=1)  # of leaky_relu
    bias: bool = True  # the convolutions' biases
    init: Literal["glorot", "he", "orthogonal", "looks_linear"] = "glorot"  # of the convolutions' weights
    first_gain: float = Field(1.0, gt=0)  # factor of the first layer's initial weights
    dropout: float = Field(0.0, ge=0, lt=1)  # after each activation; the paper uses none
    input_dropout: float = Field(0.0, ge=0, lt=1)  # on the features; the paper uses none

    lr: float = Field(0.005, gt=0, le=1e30)
    weight_decay: float = Field(5e-4, ge=0, le=1e30)  # L2
    weight_decay_on: Literal["all", "first"] = "all"  # "first": the first layer's only
    decoupled: bool = False  # weight decay outside of the gradient, as in AdamW (arXiv 1711.05101)
    epochs: int = Field(100, ge=1, le=1_000_000)

    strip: bool = False  # synaptic stripping after an epoch ("pruning" in the paper)
    amount: float = Field(0.1, gt=0, le=1)  # share of a dead neuron's candidate weights
    among: Literal["negative", "all"] = "negative"  # candidates; "all" is the original's `prune_all`
    rounding: Literal["floor", "ceil"] = "floor"  # text: ceil
    death_nodes: Literal["all", "val"] = "all"  # nodes on which death is judged; text: val
    dead_threshold: float = Field(1.0, gt=0, le=1)  # share of those nodes that must be exactly 0
    warmup: int = Field(1, ge=0)  # first epoch (from 0) that may be best or be stripped; text: 0
    intervention: Literal[INTERVENTIONS] = "none"  # instead of strip; see gcn/interventions.py
    dose: float = Field(1.0, gt=0, le=1)  # of some interventions: the share of the neurons, or the slope

    def __init__(self, **settings: Any) -> None:
        try:
            super().__init__(**settings)
        except ValidationError as invalid:
            raise ParameterError(
                "\n".join(_sentence(type(self), error) for error in invalid.errors())
            ) from None

    @field_validator("*", mode="before")
    @classmethod
    def _unwrap(cls, value: Any) -> Any:
        return value.item() if hasattr(value, "item") else value  # a number of NumPy's

    @field_validator("act", mode="before")
    @classmethod
    def _known_act(cls, act: Any) -> Any:
        if isinstance(act, str):
            spelt = {name.replace("_", ""): name for name in ACTS}  # as PyTorch Geometric reads names
            act = spelt.get(act.lower().replace("_", ""), act)
        kind = type(act).__name__  # a class is illegal, and a module that draws or learns
        illegal = isinstance(act, type) or any(part in kind for part in ("RReLU", "Dropout", "BatchNorm"))
        illegal = illegal or list(getattr(act, "parameters", list)())
        if illegal or not (act in ACTS if isinstance(act, str) else callable(act)):
            legal = f"{', '.join(ACTS)}, a function, or a module of torch.nn, made as Hardtanh() is, that"
            legal += " neither learns nor draws"
            raise ValueError(f"must be one of {legal}")
        check_label(_text_of(act))
        return act

    @field_serializer("act")
    def _act_as_text(self, act: str | Callable) -> str:
        return _text_of(act)

    @model_validator(mode="after")
    def _settings_fit(self) -> "Config":
        if self.warmup >= self.epochs:
            shown = f"epochs={self.epochs}, warmup={self.warmup}"
            raise ValueError(f"at least one epoch must be evaluated, but {shown} leave none")
        if self.init == "looks_linear" and self.hidden_channels % 2:
            raise ValueError(f"looks_linear needs an even hidden_channels, but got {self.hidden_channels}")
        if self.intervention != "none" and (self.strip or self.act != "relu"):
            given, found = f"intervention={self.intervention!r}", f"{self.strip}, {self.act!r}"
            raise ValueError(f"{given} needs strip=False and act='relu', but got {found}")
        if self.intervention == "bias shift" and not self.bias:
            raise ValueError("'bias shift' needs bias=True, but got False")
        return self

    @model_validator(mode="after")
    def _settings_matter(self) -> "Config":
        """Refuse what would give another arm's numbers under a new label."""
        by_weights = self.strip or self.intervention in CHOOSING_WEIGHTS
        rules = [
            (["negative_slope"], self.act == "leaky_relu", "act='leaky_relu'"),
            (["amount", "among", "rounding"], by_weights, "strip=True"),
            (["death_nodes"], by_weights or self.intervention == "bias shift", "strip=True"),
            (["dose"], self.intervention in WITH_DOSE, f"an intervention among {WITH_DOSE}"),
        ]
        for names, matters, need in rules:
            for name in names:
                value, default = getattr(self, name), Config.model_fields[name].default
                if not matters and value not in (default, None):
                    raise ValueError(f"{name} = {value!r}: changes nothing without {need}")
        return self


def _text_of(act: str | Callable) -> str:
    if isinstance(act, str):
        return act
    known = type(act).__module__ == "torch.nn.modules.activation"
    return repr(act) if known else f"own {getattr(act, '__name__', repr(act))}"


def label_of(dataset: str) -> str:
    """The name of a data set in tables, titles and paths: that of its file if it is one."""
    return Path(dataset).stem if dataset.endswith(".pt") else dataset


def unknown(name: str, value: Any, known: Iterable[str]) -> str:
    """A sentence about a name that is not known: a near one that was meant, or where such settings go."""
    from deadgcn.parameters import Parameters

    if near := difflib.get_close_matches(name, known, n=1, cutoff=0.75):
        hint = f"did you mean {near[0]}?"
    elif name in Config.model_fields:
        hint = f"it is a setting of arms, which are given as arms: {{label: {{{name}: {show(value)}, ...}}}}"
    elif name in Parameters.model_fields:
        hint = "it is a parameter of notebooks, not a setting of a run"
    else:
        hint = f"known are {', '.join(sorted(known))}"
        hint += " (for models with other layers there is dg.measure)" if "act" in known else ""
    return f"{name} = {show(value)}: unknown; {hint}"


def _sentence(model: type[Config], error: Any) -> str:
    name = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return unknown(name, error["input"], model.model_fields)
    message = error["msg"].removeprefix("Value error, ")
    return f"{name} = {show(error['input'])}: {message}" if name else message
