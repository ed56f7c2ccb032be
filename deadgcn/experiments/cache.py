"""Finished runs on disk: a file for each, found by the text of everything that its numbers depend on.

A file is believed if its checksum fits and its key is the one asked for. So damage of any kind, or an entry
in the place of another, means that the run is trained again. Nothing is unpickled but tensors and plain
numbers, and these only once the checksum fits.
"""

import hashlib
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deadgcn.experiments import files


def load(folder: Path, key: str) -> dict | None:
    """What was stored under this key, or None; a damaged file is as good as none, and a line says so."""
    path = _path(folder, key)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return _read(content, key)
    except Exception as error:  # whatever it is that somebody else's file makes torch say
        # The carriage return makes it a line of progress: shown, but not kept in executed notebooks.
        print(f"{path} is damaged ({error}); this run is trained again\r", file=sys.stderr)
        return None


def store(folder: Path, key: str, value: dict) -> None:
    """Keep a dictionary of numbers, or of dictionaries of arrays, tensors and numbers. Raises OSError."""
    tensors = {name: _as_tensors(part) for name, part in value.items()}
    torch.save({"key": key, "value": tensors}, buffer := io.BytesIO())
    content = buffer.getvalue()
    files.write(_path(folder, key), hashlib.sha256(content).digest() + content)


def _read(content: bytes, key: str) -> dict:
    if content[:32] != hashlib.sha256(content[32:]).digest():
        raise ValueError("its checksum does not fit")
    found = torch.load(io.BytesIO(content[32:]), weights_only=True)
    if found["key"] != key:
        raise ValueError("it is that of another run")
    return {name: _as_arrays(name, part) for name, part in found["value"].items()}


def _path(folder: Path, key: str) -> Path:
    name = hashlib.sha256(key.encode()).hexdigest()
    return folder / "runs" / name[:2] / f"{name}.run"


def _as_tensors(part: Any) -> Any:
    if isinstance(part, dict):
        return {name: _as_tensors(value) for name, value in part.items()}
    # A copy, because a view is saved with all that it is a view of.
    return torch.from_numpy(part.copy()) if isinstance(part, np.ndarray) else part


def _as_arrays(name: str, part: Any) -> Any:
    """Undo `_as_tensors`: of what a run holds only its parameters are tensors."""
    if name == "best_state" or not isinstance(part, dict):
        return part
    return {key: value.numpy() if torch.is_tensor(value) else value for key, value in part.items()}
