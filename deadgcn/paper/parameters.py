"""Notebook parameters: names, types and ranges, checked before a kernel starts. Imports no torch."""

import ast
import difflib
import json
from collections.abc import Iterable
from pathlib import Path
from reprlib import repr as show  # shortens
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, Field, ValidationError, create_model
from ruamel.yaml import YAML
from ruamel.yaml.events import AliasEvent

from deadgcn.config import Config


class ParameterError(ValueError):
    """An unknown parameter, a value that is not legal, or a file of parameters that cannot be read."""


class Settings(NamedTuple):
    """Parameter values and where they come from: a file, or `--set`."""

    source: str
    values: dict[str, Any]


def _ascending(values: list[int]) -> list[int]:
    if values != sorted(set(values)) or values[-1] < 1:
        raise ValueError("should be different numbers in ascending order, the last one above 0")
    return values


def _processes(value: int) -> int:
    if value == 0:
        raise ValueError("should be a number of processes, or -1 for one per core")
    return value


Count = Annotated[int, Field(ge=1, le=10_000)]
Depth = Annotated[int, Field(ge=0, le=10_000)]  # 0 is the linear head alone
Counts = Annotated[list[Count], Field(min_length=1), AfterValidator(_ascending)]
Depths = Annotated[list[Depth], Field(min_length=1), AfterValidator(_ascending)]


class Parameters(Config, strict=True):
    """What notebooks may be given: a run's settings, and these. The defaults are the notebooks' own."""

    dataset: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]*$")] = None
    depths: Depths = None
    num_layers: Count = None  # of the very deep networks
    example_num_layers: Count = None
    walk_depths: Counts = None  # of the walk from the paper's text to its code
    option_depths: Counts = None  # of the stripping's options
    projected_depths: Counts = None
    num_seeds: Count = None  # runs of each arm, from seed 0
    num_seeds_deep: Count = None  # at num_layers
    num_seeds_walk: Count = None
    num_seeds_options: Count = None
    powers: Counts = None  # of the normalised adjacency
    save_checkpoints: bool = None
    n_jobs: Annotated[int, Field(ge=-1, le=1024), AfterValidator(_processes)] = None
    scheduler: Annotated[str, Field(pattern=r"^((tcp|tls)://[^\s/]+:\d{1,5})?$")] = None  # empty: no Dask
    output_dir: str = None
    input_dir: str = None


def parse_settings(text: str, source: str) -> Settings:
    """Read a YAML 1.2 mapping; an empty text is an empty one. Raises ParameterError, naming `source`.

    >>> parse_settings("{lr: 5e-4, depths: [2, 4]}", "--set").values
    {'lr': 0.0005, 'depths': [2, 4]}
    """
    try:
        yaml = YAML(typ="safe", pure=True)
        if any(isinstance(event, AliasEvent) for event in yaml.parse(text)):
            raise ValueError("aliases are not taken")  # a short text of them can describe an endless value
        values = yaml.load(text)
    except Exception as error:  # ruamel also lets errors of int() and datetime pass
        reason = getattr(error, "problem", None) or error
        raise ParameterError(f"{source} cannot be read as YAML: {' '.join(str(reason).split())}") from error
    if not isinstance(values or {}, dict):
        raise ParameterError(f"{source} must be a mapping such as 'depths: [2, 4]', but is {show(values)}")
    return Settings(source, {str(name): value for name, value in (values or {}).items()})


def load_settings(path: Path, source: str) -> Settings:
    """Read a YAML file; see `parse_settings`."""
    return parse_settings(path.read_text(encoding="utf-8", errors="replace"), source)


def read_defaults(notebook: Path) -> dict[str, Any]:
    """Names and defaults in the cell tagged `parameters`, if there is one. Raises ParameterError."""
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", ())]
        lines = ast.parse("".join(tagged[0]["source"])).body if tagged else []
        return {line.targets[0].id: ast.literal_eval(line.value) for line in lines}
    except Exception as error:  # whatever a file that is not such a notebook causes
        rule = "must be a notebook whose parameters are lines such as 'lr = 0.1'"
        raise ParameterError(f"{notebook} {rule}: {error!r}") from error


def check_names(settings: Settings, known: Iterable[str]) -> None:
    """Raise ParameterError for a name that is not known, with the nearest name if one is near."""
    for name, value in settings.values.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"
            raise ParameterError(f"{settings.source}: unknown parameter {show(name)} = {show(value)}; {hint}")


def check_values(defaults: dict[str, Any], layers: list[Settings]) -> dict[str, Any]:
    """The values that a notebook with these defaults is given; later layers win.

    Names that it does not know are left out. A name that :class:`Parameters` does not have (the notebook is
    the reader's own) must have the type of its default. Raises ParameterError.
    """
    sources = {name: layer.source for layer in layers for name in layer.values}
    told = {name: value for layer in layers for name, value in layer.values.items()}
    given = {name: told[name] for name in defaults if name in told}
    own = {name: (type(v), None) for name, v in defaults.items() if name not in Parameters.model_fields}
    try:
        checked = create_model("Parameters", __base__=Parameters, **own)(**given)
    except ValidationError as invalid:
        error = invalid.errors()[0]
        name = ".".join(map(str, error["loc"])) or "parameters together"
        source = sources.get(name.split(".")[0], "all settings")
        raise ParameterError(f"{source}: {name} = {show(error['input'])}: {error['msg']}") from invalid
    return {name: getattr(checked, name) for name in given}
