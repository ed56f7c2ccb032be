"""Notebook parameters from notebooks and YAML, checked before a kernel starts. Imports no torch."""

import ast
import json
from pathlib import Path
from typing import Any

from pydantic import create_model
from ruamel.yaml import YAML

from deadgcn.config import ParameterError, show, unknown
from deadgcn.parameters import Parameters


def read_defaults(notebook: Path) -> dict[str, Any]:
    """Names and defaults in the cell tagged `parameters`, if there is one. Raises ParameterError."""
    if not notebook.is_file():
        raise ParameterError(f"{notebook} does not exist; notebooks are named as notebooks/03_depth.ipynb")
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
    faults = [unknown(name, values[name], defaults) for name in values if name not in defaults][:3]
    own = {name: (type(v), None) for name, v in defaults.items() if name not in Parameters.model_fields}
    try:
        checked = None if faults else create_model("Parameters", __base__=Parameters, **own)(**values)
    except ParameterError as error:
        faults = str(error).splitlines()
    if faults:
        raise ParameterError("\n".join(f"{source}: {fault}" for fault in faults))
    return {name: getattr(checked, name) for name in values}


def _read_yaml(source: str, text: str) -> dict[str, Any]:
    try:
        values = YAML(typ="safe", pure=True).load(text) or {}
    except Exception as error:  # ruamel also lets errors of int() and datetime pass
        raise ParameterError(f"{source} cannot be read as YAML: {error}") from error
    if not isinstance(values, dict):
        raise ParameterError(f"{source} must be a mapping such as 'depths: [2, 4]', but is {show(values)}")
    return {str(name): value for name, value in values.items()}
