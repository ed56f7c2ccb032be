"""A cache of finished runs on disk: one file per run, with a checksum, written atomically."""

import hashlib
import io
import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch


def load(folder: Path, key: str) -> dict | None:
    """Return what was stored under this key, or None if there is no such entry.

    An entry is used only if its checksum and its key match; a damaged one counts as missing, and a line on
    stderr says so. Only tensors and plain values are unpickled, and only after the checksum has matched.
    """
    path = _path(folder, key)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return _decode(content, key)
    except Exception as error:  # torch.load can raise almost anything on a corrupt file
        # The carriage return marks a line of progress: executed notebooks do not keep those.
        print(f"{path} is damaged ({error}); this run is trained again\r", file=sys.stderr)
        return None


def store(folder: Path, key: str, value: dict) -> None:
    """Store a dictionary of numbers and of dictionaries of numbers, arrays or tensors. Raises OSError."""
    # Arrays are copied, because torch saves everything that a view is a view of.
    tensors = _convert(value, np.ndarray, lambda array: torch.from_numpy(array.copy()))
    torch.save({"key": key, "value": tensors}, buffer := io.BytesIO())
    content = buffer.getvalue()
    write(_path(folder, key), hashlib.sha256(content).digest() + content)


def write(path: Path, content: bytes) -> None:
    """Write a file atomically, creating its folder. Raises OSError, which leaves the old content in place."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        part.write_bytes(content)
        os.replace(part, path)
    except OSError as error:  # a full disk does not say which file it was
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        part.unlink(missing_ok=True)


def _path(folder: Path, key: str) -> Path:
    name = hashlib.sha256(key.encode()).hexdigest()
    return folder / "runs" / name[:2] / f"{name}.run"


def _decode(content: bytes, key: str) -> dict:
    checksum, saved = content[:32], content[32:]
    if checksum != hashlib.sha256(saved).digest():
        raise ValueError("its checksum does not match")
    entry = torch.load(io.BytesIO(saved), weights_only=True)
    if entry["key"] != key:
        raise ValueError("it belongs to another run")
    state = {name: part for name, part in entry["value"].items() if name == "best_state"}  # stays tensors
    return _convert(entry["value"], torch.Tensor, torch.Tensor.numpy) | state


def _convert(value: Any, kind: type, conversion: Callable) -> Any:
    """Convert all values of one type in nested dictionaries."""
    if isinstance(value, dict):
        return {name: _convert(part, kind, conversion) for name, part in value.items()}
    return conversion(value) if isinstance(value, kind) else value
