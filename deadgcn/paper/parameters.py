"""Notebook parameters: names, types and ranges, checked before a kernel starts. Imports no torch."""

import ast
import difflib
import json
from pathlib import Path
from reprlib import Repr
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, create_model
from ruamel.yaml import YAML

from deadgcn.config import Config

_short = Repr()
_short.maxlevel = 2  # of nested lists
show = _short.repr


class ParameterError(ValueError):
    """An unknown parameter, a value that is not legal, or a file of parameters that cannot be read."""


def _ascending(values: list[int]) -> list[int]:
    if values != sorted(set(values)) or values[-1] < 1:
        raise ValueError("should be different numbers in ascending order, the last one above 0")
    return values


Count = Annotated[int, Field(ge=1, le=10_000)]
Depth = Annotated[int, Field(ge=0, le=10_000)]  # 0 is the linear head alone
Counts = Annotated[list[Count], Field(min_length=1), AfterValidator(_ascending)]
Depths = Annotated[list[Depth], Field(min_length=1), AfterValidator(_ascending)]


class Parameters(Config, strict=True):
    """What notebooks may be given: a run's settings, and these. The defaults are the notebooks' own."""

    hidden_channels: Annotated[int, Field(ge=2, le=65_536, multiple_of=2)] = None  # 08 pairs them
    dataset: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]*$")] = None
    depths: Depths = None
    num_layers: Count = None  # of the very deep networks
    example_num_layers: Count = None
    first_seed: Annotated[int, Field(ge=0, le=10**9)] = None
    num_seeds: Count = None  # runs of each arm, from first_seed
    num_seeds_deep: Count = None  # at num_layers
    num_seeds_pairs: Count = None  # of the main interventions
    num_seeds_more: Count = None  # of the others
    num_seeds_others: Count = None  # of the arms that a recipe is compared with
    deeper_depths: Annotated[Counts, Field(min_length=2, max_length=2)] = None  # with fewer weights decayed
    search_depths: Counts = None
    epochs_alive: Count = None
    powers: Counts = None  # of the normalised adjacency
    save_checkpoints: bool = None
    n_jobs: Literal[-1] | Annotated[int, Field(ge=1, le=1024)] = None
    scheduler: Annotated[str, Field(pattern=r"^((tcp|tls)://[^\s/]+:\d{1,5})?$")] = None  # empty: no Dask
    output_dir: str = None
    input_dir: str = None


def read_defaults(notebook: Path) -> dict[str, Any]:
    """Names and defaults in the cell tagged `parameters`, if there is one. Raises ParameterError."""
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", ())]
        lines = ast.parse("".join(tagged[0]["source"])).body if tagged else []
        return {line.targets[0].id: ast.literal_eval(line.value) for line in lines}
    except Exception as error:  # a file that is not such a notebook can cause almost any
        rule = "must be a notebook whose parameters are lines such as 'lr = 0.1'"
        raise ParameterError(f"{notebook} {rule}: {error!r}") from error


def check(source: str, text: str, defaults: dict[str, Any]) -> dict[str, Any]:
    """Read a YAML 1.2 mapping whose names `defaults` must have, and check the values.

    A name that `Parameters` does not have must have the type of its default. Raises ParameterError.
    """
    values = _read_yaml(source, text)
    for name in values.keys() - defaults:
        near = difflib.get_close_matches(name, defaults, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(defaults))}"
        raise ParameterError(f"{source}: unknown parameter {show(name)} = {show(values[name])}; {hint}")
    own = {name: (type(v), None) for name, v in defaults.items() if name not in Parameters.model_fields}
    try:
        checked = create_model("Parameters", __base__=Parameters, **own)(**values)
    except ValidationError as invalid:
        form = "{}: {} = {}: {}".format
        errors = [(".".join(map(str, e["loc"])), show(e["input"]), e["msg"]) for e in invalid.errors()]
        raise ParameterError("\n".join(form(source, *error) for error in errors)) from invalid
    return {name: getattr(checked, name) for name in values}


def _read_yaml(source: str, text: str) -> dict[str, Any]:
    try:
        values = YAML(typ="safe", pure=True).load(text) or {}
    except Exception as error:  # ruamel also lets errors of int() and datetime pass
        raise ParameterError(f"{source} cannot be read as YAML: {error}") from error
    if not isinstance(values, dict):
        raise ParameterError(f"{source} must be a mapping such as 'depths: [2, 4]', but is {show(values)}")
    return {str(name): value for name, value in values.items()}
