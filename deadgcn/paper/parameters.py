"""Notebook parameters: names, types and ranges, checked before a kernel starts. Imports no torch."""

import ast
import difflib
import json
import re
import reprlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, Field, ValidationError, create_model
from ruamel.yaml import YAML, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent

from deadgcn.config import Config

# A short text of YAML can describe a value whose full repr is endless.
_SHORT = reprlib.Repr()
_SHORT.maxlevel = 2
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60
show = _SHORT.repr
MAX_DEPTH = 5  # of YAML: aliases and nesting can make a short text take for ever


class ParameterError(ValueError):
    """An unknown parameter, a value that is not legal, or a file of parameters that cannot be read."""


class Settings(NamedTuple):
    """Parameter values and where they come from: a file, or `--set`."""

    source: str
    values: dict[str, Any]


def _must(rule: str, holds: Callable[[Any], bool]) -> AfterValidator:
    def check(value: Any) -> Any:
        if not holds(value):
            raise ValueError(f"must {rule}, but {show(value)} was given")
        return value

    return AfterValidator(check)


Count = Annotated[int, Field(ge=1, le=10_000)]
Power = Annotated[int, Field(ge=1, le=100_000)]
Depth = Annotated[int, Field(ge=0, le=10_000)]
SOME, DISTINCT = Field(min_length=1), _must("hold every number once", lambda v: len(set(v)) == len(v))
Depths = Annotated[list[Depth], SOME, DISTINCT, _must("hold a number above 0", any)]
Counts = Annotated[list[Count], SOME, DISTINCT]
Powers = Annotated[list[Power], SOME, DISTINCT, _must("be in ascending order", lambda v: v == sorted(v))]
Jobs = Annotated[int, Field(ge=-1024, le=1024), _must("be a number of processes, or -1 for all cores", bool)]
ADDRESS = re.compile(r"((tcp|tls)://([\w.-]+|\[[\da-fA-F:.]+\]):\d{1,5})?", re.ASCII)
Address = Annotated[str, _must("be an address such as tcp://host:8786, or empty", ADDRESS.fullmatch)]
Name = Annotated[str, _must("be the name of a data set", re.compile(r"[A-Za-z][\w.-]*", re.ASCII).fullmatch)]


class Parameters(Config, strict=True):
    """What notebooks may be given: a run's settings, and these. The defaults are the notebooks' own."""

    dataset: Name = None  # whether there is such a data set is for `execute` to ask
    depths: Depths = None  # graph convolutions; 0 is the linear head alone
    num_layers: Count = None  # of the very deep networks
    example_num_layers: Count = None
    walk_depths: Counts = None  # of the walk from the paper's text to its code
    option_depths: Counts = None  # of the stripping's options
    projected_depths: Counts = None
    num_seeds: Count = None  # runs of each arm, from seed 0
    num_seeds_deep: Count = None  # at num_layers
    num_seeds_walk: Count = None
    num_seeds_options: Count = None
    powers: Powers = None  # of the normalised adjacency
    save_checkpoints: bool = None
    n_jobs: Jobs = None  # processes; -1 is one per core
    scheduler: Address = None  # of Dask; empty is this machine
    output_dir: str = None
    input_dir: str = None


def parse_settings(source: str, text: str) -> Settings:
    """Read a YAML 1.2 mapping; an empty text is an empty one. Raises ParameterError, naming `source`.

    >>> parse_settings("--set", "{lr: 5e-4, depths: [2, 4]}").values
    {'lr': 0.0005, 'depths': [2, 4]}
    """
    yaml = YAML(typ="safe", pure=True)
    try:
        depth = 0
        for event in yaml.parse(text):
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            if depth > MAX_DEPTH or isinstance(event, AliasEvent):
                raise YAMLError(f"aliases (*name) and more than {MAX_DEPTH} nested brackets are not taken")
        values = yaml.load(text)
    except (YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        reason = " ".join(str(getattr(error, "problem", None) or error).split())[:300]
        raise ParameterError(f"{source} cannot be read as YAML: {reason}") from error
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise ParameterError(f"{source} must be a mapping such as 'depths: [2, 4]', but is {show(values)}")
    return Settings(source, {str(name): value for name, value in values.items()})


def load_settings(path: Path, source: str) -> Settings:
    """Read a YAML file; see `parse_settings`."""
    try:
        return parse_settings(source, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ParameterError(f"{source} cannot be read: {error}") from error


def read_defaults(notebook: Path) -> dict[str, Any]:
    """Names and defaults in the cell tagged `parameters`, whose lines are `name = literal  # help`.

    A notebook without such a cell has none. Raises ParameterError for a file that is not a notebook and for
    any other line in that cell.
    """
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", ())]
        lines = ast.parse("".join(tagged[0]["source"])).body if tagged else []
        return {line.targets[0].id: ast.literal_eval(line.value) for line in lines}
    except OSError as error:
        raise ParameterError(f"{notebook} cannot be read: {error.strerror}") from error
    except (ValueError, LookupError, TypeError, AttributeError, SyntaxError) as error:
        rule = "must be a notebook whose parameters are lines such as 'lr = 0.1'"
        raise ParameterError(f"{notebook} {rule}, but gave {error!r}") from error


def check_names(settings: Settings, known: Iterable[str], who: str) -> None:
    """Raise ParameterError for a name that is not known, with the nearest name if one is near."""
    for name, value in settings.values.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"
            shown = name if name.isidentifier() and len(name) < 60 else show(name)
            raise ParameterError(f"{settings.source}: {who} {shown} (given as {show(value)}); {hint}")


def check_values(defaults: dict[str, Any], layers: list[Settings]) -> dict[str, Any]:
    """The values that a notebook with these defaults is given; later layers win.

    Names that it does not know are left out. A name that :class:`Parameters` does not have (the notebook is
    the reader's own) must have the type of its default. Raises ParameterError with source, name and value.
    """
    given = {name: s.values[name] for s in layers for name in defaults if name in s.values}
    own = [name for name in defaults if name not in Parameters.model_fields and name[0] != "_"]
    fields = {name: (Any if defaults[name] is None else type(defaults[name]), None) for name in own}
    try:
        checked = create_model("Parameters", __base__=Parameters, **fields)(**given)
    except ValidationError as error:
        raise ParameterError(_sentence(error.errors()[0], layers)) from error
    return {name: getattr(checked, name) for name in defaults if name in given}


def _sentence(error: dict[str, Any], layers: list[Settings]) -> str:
    message = re.sub(r"^\w+ should", "must", error["msg"].removeprefix("Value error, "))
    if not error["loc"]:
        return f"the parameters do not go together: {message}"
    name, *places = error["loc"]
    source = next(layer.source for layer in reversed(layers) if name in layer.values)
    value = "" if error["type"] == "value_error" else f", but {show(error['input'])} was given"
    return f"{source}: {name}{''.join(f'[{place}]' for place in places)} {message}{value}"
