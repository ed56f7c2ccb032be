"""What a notebook may be told: its parameters, read and checked before anything starts. Imports no torch."""

import ast
import difflib
import json
import math
import re
import reprlib
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from deadgcn.config import DATASETS, Config, Int, check_dataset

LEGAL = {bool: "true or false", int: "a whole number", float: "a number", str: "text", dict: "a mapping"}
# A few lines of YAML can stand for a value whose full text would fill the memory.
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60
_SHORT.maxlevel = 2
show = _SHORT.repr


class ParameterError(ValueError):
    """A parameter that no notebook knows, a value of the wrong type, or a file that cannot be read."""


class Settings(NamedTuple):
    """One mapping of parameter values and where it came from, for messages."""

    source: str
    values: dict[str, Any]


def _distinct(values: list[int]) -> list[int]:
    if len(set(values)) < len(values):
        raise ValueError("every number must occur once")
    return values


def _ascending(values: list[int]) -> list[int]:
    if values != sorted(values):
        raise ValueError("numbers must be in ascending order")
    return values


def _some_layers(values: list[int]) -> list[int]:
    if max(values) == 0:
        raise ValueError("must hold a number above 0")
    return values


def _jobs(value: int) -> int:
    if value == 0:
        raise ValueError("must be a positive number of processes, or -1 for one per core")
    return value


def scheduler_address(value: str) -> str:
    """The address of a Dask scheduler, or an empty text; ValueError for any other."""
    if value and not re.fullmatch(r"(tcp|tls)://([\w.-]+|\[[\da-fA-F:.]+\]):\d{1,5}", value, re.ASCII):
        raise ValueError("must be an address such as tcp://host:8786, or empty for this machine")
    return value


Layers = Seeds = Annotated[Int, Field(ge=1, le=10_000)]
Power = Annotated[Int, Field(ge=1, le=100_000)]
Depths = Annotated[
    list[Annotated[Int, Field(ge=0, le=10_000)]],
    *(Field(min_length=1), AfterValidator(_distinct), AfterValidator(_some_layers)),
]
LayerLists = Annotated[list[Layers], Field(min_length=1), AfterValidator(_distinct)]
Powers = Annotated[list[Power], Field(min_length=1), AfterValidator(_distinct), AfterValidator(_ascending)]


class Ranges(Config, extra="ignore"):
    """What is legal for the notebooks' parameters, beside a run's own settings."""

    dataset: Annotated[str, BeforeValidator(partial(check_dataset, legal=("auto", *DATASETS)))] = "auto"
    depths: Depths | None = None
    walk_depths: LayerLists | None = None
    option_depths: LayerLists | None = None
    projected_depths: LayerLists | None = None
    num_layers: Layers = 1
    example_num_layers: Layers = 1
    num_seeds: Seeds = 1
    num_seeds_deep: Seeds = 1
    num_seeds_walk: Seeds = 1
    num_seeds_options: Seeds = 1
    powers: Powers | None = None
    n_jobs: Annotated[Int, Field(ge=-1024, le=1024), AfterValidator(_jobs)] = -1
    scheduler: Annotated[str, AfterValidator(scheduler_address)] = ""


class _UniqueKeys(yaml.SafeLoader):
    """PyYAML keeps the last of two equal keys without a word; this loader refuses them."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.YAMLError(
                    f"{key.value} is given twice (line {key.start_mark.line + 1}); give it once"
                )
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else None)
        return super().construct_mapping(node, deep)


def _plain_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    """YAML 1.1 takes 010 for eight and 1:30 for ninety, which nobody who writes them expects."""
    if ":" in node.value or (node.value.lstrip("+-").startswith("0") and node.value.lstrip("+-") != "0"):
        raise yaml.YAMLError(f"{node.value} is no plain whole number (line {node.start_mark.line + 1})")
    return loader.construct_yaml_int(node)


_UniqueKeys.add_constructor("tag:yaml.org,2002:int", _plain_int)


def parse_settings(source: str, text: str) -> Settings:
    """The YAML mapping in `text`; nothing at all counts as an empty mapping.

    Raises ParameterError, naming `source`, for other YAML, for what is not YAML, and for a key given twice.
    """
    try:
        values = yaml.load(text, _UniqueKeys)
    # An impossible date such as 2024-13-01, a tag such as !!int on text, a thousand nested brackets.
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ParameterError(f"{source} cannot be read as YAML: {reason}") from error
    if values is not None and not isinstance(values, dict):
        raise ParameterError(
            f"{source} must be a YAML mapping such as 'depths: [2, 4, 64]', but is {show(values)}"
        )
    return Settings(source, {str(name): value for name, value in (values or {}).items()})


def load_settings(path: Path, source: str) -> Settings:
    """The YAML mapping in a file; see `parse_settings`."""
    try:
        return parse_settings(source, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ParameterError(f"{source} cannot be read: {error}") from error


def read_defaults(notebook: Path) -> dict[str, Any]:
    """Names and default values in the cell tagged `parameters`: plain lines `name = literal  # help`.

    A notebook without such a cell has no parameters. Raises ParameterError for a file that is not a
    notebook and for any other line in that cell.
    """
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", ())]
        lines = ast.parse("".join(tagged[0]["source"]) if tagged else "").body
    except OSError as error:
        raise ParameterError(f"{notebook} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, SyntaxError) as error:
        raise ParameterError(f"{notebook} must be a notebook with readable parameters: {error!r}") from error
    return dict(_default(notebook, line) for line in lines)


def _default(notebook: Path, line: ast.stmt) -> tuple[str, Any]:
    message = f"{notebook.name}: parameters must be lines 'name = literal', but one is {ast.unparse(line)!r}"
    try:
        (target,) = line.targets
        name, value = target.id, ast.literal_eval(line.value)
        if value is None or type(value) is list or type(value) in LEGAL:
            return name, value
    except (AttributeError, TypeError, ValueError) as error:
        raise ParameterError(message) from error
    raise ParameterError(message)


def check_value(name: str, value: Any, default: Any) -> Any:
    """The value, if its type is that of the default; a default of None takes anything.

    A whole number, or text such as 5e-4 (which YAML takes for text), will do for a float and becomes one.
    Raises ParameterError otherwise.
    """
    kind = type(default)
    if default is None:
        return value
    if kind is list and isinstance(value, list) and default:
        sample = next((item for item in default if isinstance(item, float)), default[0])
        return [check_value(f"{name}[{place}]", item, sample) for place, item in enumerate(value)]
    if kind is list and not isinstance(value, list):
        shown = show(value)
        raise ParameterError(f"{name} must be a list, but {shown} was given; write {name}: [{shown}]")
    checked = _finite_number(value) if kind is float else value
    if type(checked) is kind:  # not isinstance: True is no whole number
        return checked
    message = f"{name} must be {LEGAL[kind]} such as {default!r}, but {show(value)} was given"
    if type(value) is bool:
        message += "; YAML reads on, off, yes and no as true and false"
    elif kind is int and (number := _finite_number(value)) is not None and number.is_integer():
        message += f"; write {number:.0f}"
    raise ParameterError(message)


def _finite_number(value: Any) -> float | None:
    try:
        number = float(value) if type(value) in (int, float, str) else math.nan
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def check_ranges(given: dict[str, Any], layers: list[Settings]) -> None:
    """Raise ParameterError, with the layer that it came from, for a value that no notebook can work with."""
    try:
        Ranges(**given)
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Value error, ").replace("Input should", "must")
        if not first["loc"]:
            raise ParameterError(f"the settings do not go together: {message}") from error
        name, *place = first["loc"]
        source = next(layer.source for layer in reversed(layers) if name in layer.values)
        what = f"{name}{''.join(f'[{number}]' for number in place)}"
        raise ParameterError(f"{source}: {what}: {message}, but {show(first['input'])} was given") from error


def check_names(settings: Settings, known: set[str], who: str) -> None:
    """Raise ParameterError for the first name that is not among the known ones, with the nearest that is."""
    for name, value in settings.values.items():
        if name not in known:
            nearest = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0)
            hint = f"the nearest known name is {nearest[0]}" if nearest else "there are no parameters"
            raise ParameterError(f"{settings.source}: {who} {_plain(name)} (given as {show(value)}); {hint}")


def _plain(name: str) -> str:
    return name if len(name) < 60 and name.isprintable() else show(name)


def resolve(defaults: dict[str, Any], layers: list[Settings]) -> dict[str, Any]:
    """The checked values that the layers give to this notebook's parameters, later ones winning.

    Names that the notebook does not know are left out. The order is that of the defaults.
    """
    given = {}
    for layer in layers:
        for name in (name for name in layer.values if name in defaults):
            try:
                given[name] = check_value(name, layer.values[name], defaults[name])
            except ParameterError as error:
                raise ParameterError(f"{layer.source}: {error}") from error
    return {name: given[name] for name in defaults if name in given}
