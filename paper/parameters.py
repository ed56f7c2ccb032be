"""Notebook parameters from notebooks and YAML, checked before a kernel starts. Imports no torch."""

import ast
import json
import re
from pathlib import Path
from typing import Any

from pydantic import create_model
from ruamel.yaml import YAML
from ruamel.yaml.resolver import VersionedResolver

from deadgcn.config import ParameterError, show, unknown
from deadgcn.parameters import Parameters

# What is not text, in the core schema of YAML 1.2. ruamel.yaml also takes 1_000, 0b1, dates, << and =.
SCALARS = {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+",
    "float": r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
}
CORE = [(f"tag:yaml.org,2002:{tag}", re.compile(rf"(?:{text})\Z")) for tag, text in SCALARS.items()]


class _Resolver(VersionedResolver):
    versioned_resolver = property(lambda self: {None: CORE})  # whatever the first character


def read_defaults(notebook: Path) -> dict[str, Any]:
    """Names and defaults in the cell tagged `parameters`, if there is one. Raises ParameterError.

    The default of a parameter that has no literal, or one that JSON does not have, is `...`.
    """
    if not notebook.is_file():
        raise ParameterError(f"{notebook} does not exist; notebooks are named as notebooks/03_depth.ipynb")
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", ())]
        code = "".join(tagged[0]["source"]) if tagged else ""
        lines = ast.parse(re.sub(r"^\s*[%!].*", "", code, flags=re.M)).body  # without IPython's own
    except Exception as error:  # a file that is not such a notebook can cause almost any
        rule = "must be a notebook whose parameters are lines such as 'lr = 0.1'"
        raise ParameterError(f"{notebook} {rule}: {error!r}") from error
    defaults = {}
    for line in lines:
        if isinstance(line, ast.Assign | ast.AnnAssign):
            targets = line.targets if isinstance(line, ast.Assign) else [line.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            defaults |= dict.fromkeys(names, _literal(line))
    return defaults


def _literal(line: ast.Assign | ast.AnnAssign) -> Any:
    try:
        value = ast.literal_eval(line.value)
        if json.loads(json.dumps(value)) != value:
            return ...
    except (TypeError, ValueError):
        return ...
    decimal = isinstance(line, ast.AnnAssign) and ast.unparse(line.annotation) == "float"
    return float(value) if decimal and type(value) is int else value


def check(source: str, text: str | bytes, defaults: dict[str, Any]) -> dict[str, Any]:
    """Read a YAML 1.2 mapping whose names `defaults` must have, and check the values.

    A name that `Parameters` does not have must have the type of its default. Raises ParameterError.
    """
    values = read_yaml(source, text)
    faults = [unknown(name, values[name], defaults) for name in values if name not in defaults][:3]
    own = {name: v for name, v in defaults.items() if name not in Parameters.model_fields}
    types = {name: (Any if v in (None, ...) else type(v), None) for name, v in own.items()}
    try:
        checked = None if faults else create_model("Parameters", __base__=Parameters, **types)(**values)
    except ParameterError as error:
        faults = str(error).splitlines()
    if faults:
        raise ParameterError("\n".join(f"{source}: {fault}" for fault in faults))
    return {name: getattr(checked, name) for name in values}


def read_yaml(source: str, text: str | bytes) -> dict[str, Any]:
    """Read a mapping of plain data by the rules of YAML 1.2. Raises ParameterError."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Resolver = _Resolver
    try:
        values = yaml.load(text.decode("utf-8-sig") if isinstance(text, bytes) else text)
        _check_plain(values, set())
    except Exception as error:  # ruamel also lets errors of int() and datetime pass
        raise ParameterError(f"{source} cannot be read as YAML: {error}") from error
    if not isinstance(values, dict | None):
        raise ParameterError(f"{source} must be a mapping such as 'depths: [2, 4]', but is {show(values)}")
    return values or {}


def _check_plain(value: Any, seen: set[int]) -> None:
    """Raise ValueError for what is not plain data, which has the type of a tag or refers to itself."""
    if isinstance(value, list | dict):
        if id(value) in seen:
            raise ValueError(f"{show(value)} must be written out instead of named by an alias")
        seen.add(id(value))
        for each in [*value, *(value.values() if isinstance(value, dict) else ())]:
            _check_plain(each, seen)
        if unnamed := [name for name in value if isinstance(value, dict) and not isinstance(name, str)]:
            raise ValueError(f"the name {show(unnamed[0])} must be text")
    elif not isinstance(value, str | int | float | None):
        raise ValueError(f"{show(value)} must be text, a number, a list or a mapping")
