"""One run's settings, validated. Imports no torch, so that bad settings are refused at once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_serializer, field_validator, model_validator

PROJECT = Path(__file__).resolve().parents[1]  # the folder of notebooks/, params/, data/ and .cache/
DATASETS = ("Cora", "CiteSeer", "PubMed", "SyntheticCora")
# Activations that PyTorch Geometric knows by these names: one number in, one out, nothing drawn or learned.
ACTS = ("relu", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "tanh", "sigmoid", "softplus")

# What is done to neurons instead of stripping all dead ones; deadgcn/gcn/interventions.py defines them.
INTERVENTIONS = ("none", "partial", "sham", "most positive", "random negative", "bias shift", "rescale")
INTERVENTIONS += ("reset moments", "leaky gradient", "silence", "freeze")


class Config(BaseModel):
    """Settings of one run: one network, trained from one seed.

    Defaults are those of the paper's experiments. Where its text and its code differ, the default is the
    code's, which made the numbers, and the comment gives the text's value. An unknown name, a wrong type or
    a value out of range raises ``pydantic.ValidationError``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    dataset: str = "Cora"  # a name that load_graph knows
    method: str = Field("ReLU", min_length=1)  # the arm's label in tables and figures; changes no number
    num_layers: int = Field(10, ge=0, le=10_000)  # graph convolutions; 0 is the linear head alone
    seed: int = Field(0, ge=0, lt=2**63)  # the original set none

    propagation: float = Field(1.0, ge=0, le=1)  # share a of the graph in (1 - a) I + a Â; 0: no graph
    normalize_features: bool = False  # each row by its sum; the paper's are raw 0/1 words
    hidden_channels: int = Field(32, ge=1, le=65_536)
    act: str | Callable = "relu"  # one of ACTS, or a function of pre-activations [N, d]
    negative_slope: float = Field(0.8, gt=0, lt=1)  # of leaky_relu
    bias: bool = True  # the convolutions' biases
    init: Literal["glorot", "he", "orthogonal", "looks_linear"] = "glorot"  # of the convolutions' weights
    first_gain: float = Field(1.0, gt=0)  # factor of the first layer's initial weights
    dropout: float = Field(0.0, ge=0, lt=1)  # after each activation; the paper uses none
    input_dropout: float = Field(0.0, ge=0, lt=1)  # on the features; the paper uses none

    lr: float = Field(0.005, gt=0)
    weight_decay: float = Field(5e-4, ge=0)  # L2
    weight_decay_on: Literal["all", "first"] = "all"  # "first": the first layer's only
    decoupled: bool = False  # weight decay outside of the gradient, as in AdamW (arXiv 1711.05101)
    epochs: int = Field(100, ge=1, le=1_000_000)

    strip: bool = False  # synaptic stripping after an epoch ("pruning" in the paper)
    amount: float = Field(0.1, gt=0, le=1)  # share of a dead neuron's candidate weights
    among: Literal["negative", "all"] = "negative"  # candidates; "all" is the original's `prune_all`
    rounding: Literal["floor", "ceil"] = "floor"  # text: ceil
    replacement: Literal["zero", "normal", "he"] = "zero"
    death_nodes: Literal["all", "val"] = "all"  # nodes on which death is judged; text: val
    dead_threshold: float = Field(1.0, gt=0, le=1)  # share of those nodes that must be exactly 0
    warmup: int = Field(1, ge=0)  # first epoch (from 0) that may be best or be stripped; text: 0
    strip_every: int = Field(1, ge=1)  # gates both, as in the original's code
    intervention: Literal[INTERVENTIONS] = "none"  # instead of strip; see gcn/interventions.py
    dose: float = Field(1.0, gt=0, le=1)  # of some interventions: the share of the neurons, or the slope
    best_kept: Literal["before strip", "after strip"] = "before strip"  # of its epoch; the text does not say

    @field_validator("*", mode="before")
    @classmethod
    def _unwrap(cls, value: Any) -> Any:
        return value.item() if hasattr(value, "item") else value  # a number of NumPy's

    @field_validator("act")
    @classmethod
    def _known_act(cls, act: str | Callable) -> str | Callable:
        trained = isinstance(act, type) or list(getattr(act, "parameters", list)())
        if trained or (isinstance(act, str) and act not in ACTS):
            legal = f"{', '.join(ACTS)}, or a function without parameters"
            raise ValueError(f"must be one of {legal}, but {act!r} was passed")
        return act

    @field_serializer("act")
    def _act_as_text(self, act: str | Callable) -> str:
        return act if isinstance(act, str) else getattr(act, "__name__", repr(act))

    @model_validator(mode="after")
    def _some_epoch_counts(self) -> "Config":
        if not any(self.counts(epoch) for epoch in range(self.warmup, self.epochs)):
            shown = f"epochs={self.epochs}, warmup={self.warmup} and strip_every={self.strip_every}"
            raise ValueError(f"at least one epoch must be evaluated, but {shown} leave none")
        return self

    @model_validator(mode="after")
    def _settings_fit(self) -> "Config":
        if self.init == "looks_linear" and self.hidden_channels % 2:
            raise ValueError(f"looks_linear needs an even hidden_channels, but got {self.hidden_channels}")
        if self.intervention != "none" and (self.strip or self.act != "relu"):
            found = f"{self.strip}, {self.act!r}"
            raise ValueError(f"{self.intervention!r} needs strip=False and act='relu', but got {found}")
        if self.intervention == "sham" and self.replacement != "zero":
            raise ValueError(f"'sham' needs replacement='zero', but got {self.replacement!r}")
        if self.intervention == "bias shift" and not self.bias:
            raise ValueError("'bias shift' needs bias=True, but got False")
        return self

    def counts(self, epoch: int) -> bool:
        """Whether the model of this epoch (from 0) may be kept as best and is then stripped."""
        return epoch >= self.warmup and epoch % self.strip_every == 0
