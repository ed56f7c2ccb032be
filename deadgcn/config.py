"""One run's settings, validated. Imports no torch, so that bad settings are refused at once."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

PROJECT = Path(__file__).resolve().parents[1]  # the folder of notebooks/, params/, data/ and .cache/
DATASETS = ("Cora", "CiteSeer", "PubMed", "SyntheticCora")
# Activations that PyTorch Geometric knows by these names: one number in, one out, nothing drawn or learned.
ACTS = ("relu", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "tanh", "sigmoid", "softplus")


def _number(value: Any) -> Any:
    """Refuse booleans and unwrap numpy scalars; text such as "5e-4" passes on to pydantic."""
    if isinstance(value, bool):
        raise ValueError(f"must be a number, but {value!r} was passed")
    return value.item() if hasattr(value, "item") else value


def _dataset_name(name: Any) -> str:
    """The name, if it is written as names of data sets are; :func:`deadgcn.load_graph` knows which exist."""
    if isinstance(name, str) and re.fullmatch(r"[A-Z]\w*(-[\w.]+)?", name):
        return name
    raise ValueError(
        f"must be one of {', '.join(DATASETS)}, or a data set of PyTorch Geometric such as Amazon-Photo, "
        f"but {name!r} was passed"
    )


def _known_act(act: Any) -> str | Callable:
    """The activation: one of :data:`ACTS`, or a function that has no parameters to train."""
    if (isinstance(act, str) and act in ACTS) or (callable(act) and not isinstance(act, type)):
        if not any(True for _ in getattr(act, "parameters", tuple)()):
            return act
    raise ValueError(
        f"must be one of {', '.join(ACTS)}, or a function without parameters, but {act!r} was passed"
    )


def _act_as_text(act: str | Callable) -> str:
    return act if isinstance(act, str) else getattr(act, "__name__", repr(act))


Int = Annotated[int, BeforeValidator(_number)]
Float = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Act = Annotated[Any, BeforeValidator(_known_act), PlainSerializer(_act_as_text, return_type=str)]


class Config(BaseModel):
    """Settings of one run: one network, trained from one seed.

    Defaults are those of the paper's experiments. Where its text and its code differ, the default is the
    code's, which made the numbers, and the comment gives the text's value.

    Raises:
        pydantic.ValidationError: an unknown name, a wrong type or a value out of range.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)

    dataset: Annotated[str, BeforeValidator(_dataset_name)] = "Cora"
    method: str = Field("ReLU", min_length=1)  # the arm's label in tables and figures; changes no number
    num_layers: Int = Field(10, ge=0, le=10_000)  # graph convolutions; 0 is the linear head alone
    seed: Int = Field(0, ge=0, lt=2**63)  # the original set none

    adjacency: Literal["normalized", "identity"] = "normalized"  # identity: a network without a graph
    normalize_features: bool = Field(False, strict=True)  # each row by its sum; the paper's are raw 0/1 words
    hidden_channels: Int = Field(32, ge=1, le=65_536)
    act: Act = "relu"  # one of ACTS, or a function of pre-activations [N, d]
    negative_slope: Float = Field(0.8, gt=0, lt=1)  # of leaky_relu
    bias: bool = Field(True, strict=True)  # the convolutions' biases
    dropout: Float = Field(0.0, ge=0, lt=1)  # after each activation; the paper uses none
    input_dropout: Float = Field(0.0, ge=0, lt=1)  # on the features; the paper uses none

    lr: Float = Field(0.005, gt=0)
    weight_decay: Float = Field(5e-4, ge=0)  # L2
    weight_decay_on: Literal["all", "first"] = "all"  # "first": the first layer's only
    epochs: Int = Field(100, ge=1, le=1_000_000)

    strip: bool = Field(False, strict=True)  # synaptic stripping after an epoch ("pruning" in the paper)
    amount: Float = Field(0.1, gt=0, le=1)  # share of a dead neuron's candidate weights
    among: Literal["negative", "all"] = "negative"  # candidates; "all" is the original's `prune_all`
    rounding: Literal["floor", "ceil"] = "floor"  # text: ceil
    replacement: Literal["zero", "normal", "he"] = "zero"
    death_nodes: Literal["all", "val"] = "all"  # nodes on which death is judged; text: val
    dead_threshold: Float = Field(1.0, gt=0, le=1)  # share of those nodes that must be exactly 0
    warmup: Int = Field(1, ge=0)  # first epoch (from 0) that may be best or be stripped; text: 0
    strip_every: Int = Field(1, ge=1)  # gates both, as in the original's code
    best_kept: Literal["before strip", "after strip"] = "before strip"  # of its epoch; the text does not say

    @model_validator(mode="after")
    def _some_epoch_counts(self) -> "Config":
        if not any(self.counts(epoch) for epoch in range(self.warmup, self.epochs)):
            raise ValueError(
                f"no epoch would be evaluated: warmup={self.warmup} and strip_every={self.strip_every} "
                f"need more than epochs={self.epochs}"
            )
        return self

    def counts(self, epoch: int) -> bool:
        """Whether the model of this epoch (from 0) may be kept as best and is then stripped."""
        return epoch >= self.warmup and epoch % self.strip_every == 0
