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
    """Return what was stored under this key, or None; a damaged entry is reported on stderr."""
    path = _path(folder, key)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    checksum, saved = content[:32], content[32:]
    intact = checksum == hashlib.sha256(saved).digest()
    entry = torch.load(io.BytesIO(saved), weights_only=True) if intact else {}
    if entry.get("key") != key:  # damaged, or the entry of another run
        print(f"{path} is damaged; this run is trained again", file=sys.stderr)
        return None
    value = entry["value"]
    state = {name: part for name, part in value.items() if name == "best_state"}  # stays tensors
    return _convert(value, torch.Tensor, torch.Tensor.numpy) | state


def store(folder: Path, key: str, value: dict) -> None:
    """Store a dictionary of numbers and of dictionaries of numbers, arrays or tensors."""
    torch.save({"key": key, "value": _convert(value, np.ndarray, torch.tensor)}, buffer := io.BytesIO())
    content = buffer.getvalue()
    write(_path(folder, key), hashlib.sha256(content).digest() + content)


def write(path: Path, content: bytes) -> None:
    """Write a file atomically, creating its folder."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        part.write_bytes(content)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _path(folder: Path, key: str) -> Path:
    name = hashlib.sha256(key.encode()).hexdigest()
    return folder / "runs" / name[:2] / f"{name}.run"


def _convert(value: Any, kind: type, conversion: Callable) -> Any:
    """Convert all values of one type in nested dictionaries."""
    if isinstance(value, dict):
        return {name: _convert(part, kind, conversion) for name, part in value.items()}
    return conversion(value) if isinstance(value, kind) else value
