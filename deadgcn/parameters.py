"""What a notebook may be told: its parameters, read and checked before anything starts. Imports no torch."""

import ast
import difflib
import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError

from .config import Config

LEGAL = {bool: "true or false", int: "a whole number", float: "a number", str: "text", dict: "a mapping"}


class ParameterError(ValueError):
    """A parameter that no notebook knows, a value of the wrong type, or a file that cannot be read."""


class Settings(NamedTuple):
    """One mapping of parameter values and where it came from, for messages."""

    source: str
    values: dict[str, Any]


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


def parse_settings(source: str, text: str) -> Settings:
    """The YAML mapping in `text`; nothing at all counts as an empty mapping.

    Raises ParameterError, naming `source`, for other YAML, for what is not YAML, and for a key given twice.
    """
    try:
        values = yaml.load(text, _UniqueKeys)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: an impossible date such as 2024-13-01
        raise ParameterError(f"{source} cannot be read as YAML: {' '.join(str(error).split())}") from error
    if values is not None and not isinstance(values, dict):
        raise ParameterError(
            f"{source} must be a YAML mapping such as 'depths: [2, 4, 64]', but is {values!r}"
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
        raise ParameterError(f"{name} must be a list, but {value!r} was given; write {name}: [{value}]")
    checked = _finite_number(value) if kind is float else value
    if type(checked) is kind:  # not isinstance: True is no whole number
        return checked
    raise ParameterError(f"{name} must be {LEGAL[kind]} such as {default!r}, but {value!r} was given")


def _finite_number(value: Any) -> float | None:
    try:
        number = float(value) if type(value) in (int, float, str) else math.nan
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def check_ranges(given: dict[str, Any]) -> None:
    """Raise ParameterError for a value that no run can have, before any is trained."""
    for name in (name for name in given if name.startswith("num_seeds")):
        if given[name] < 1:
            raise ParameterError(f"{name} must be at least 1, but {given[name]} was given")
    depths = given.get("depths", [1])
    if max(depths, default=0) < 1:
        raise ParameterError(f"depths must hold a number above 0, but {depths} was given")
    own = {name: value for name, value in given.items() if name in Config.model_fields and name != "dataset"}
    for settings in (own, *({"num_layers": depth} for depth in depths)):
        try:
            Config(**settings)
        except ValidationError as error:
            first = error.errors()[0]
            name, value = ".".join(map(str, first["loc"])) or "the combination", first["input"]
            raise ParameterError(f"{name}: {first['msg']}, but {value!r} was given") from error


def check_names(settings: Settings, known: set[str], who: str) -> None:
    """Raise ParameterError for the first name that is not among the known ones, with the nearest that is."""
    for name, value in settings.values.items():
        if name not in known:
            nearest = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0)
            hint = f"the nearest known name is {nearest[0]}" if nearest else "there are no parameters"
            raise ParameterError(f"{settings.source}: {who} {name} (given as {value!r}); {hint}")


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
