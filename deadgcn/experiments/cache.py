"""A cache of finished runs on disk: one file per run, with a checksum, written atomically."""

import hashlib
import io
import os
import secrets
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch


def load(folder: Path, key: str) -> dict | None:
    """Return what was stored under this key, or None; a damaged entry is reported on stderr."""
    path = _path(folder, key)
    if not path.is_file():
        return None
    content = path.read_bytes()
    checksum, saved = content[:32], content[32:]
    if checksum == hashlib.sha256(saved).digest():
        entry = torch.load(io.BytesIO(saved), weights_only=True)
        if entry["key"] == key:
            return entry["value"]
    print(f"{path} is damaged; this run is trained again", file=sys.stderr)  # or is the entry of another run
    return None


def store(folder: Path, key: str, value: dict) -> None:
    """Store nested dictionaries of numbers, tensors and arrays; arrays come back as tensors."""
    torch.save({"key": key, "value": _to_tensors(value)}, buffer := io.BytesIO())
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


def _to_tensors(value: Any) -> Any:
    """Turn arrays in nested dictionaries into tensors, which are loaded without running code."""
    if isinstance(value, dict):
        return {name: _to_tensors(part) for name, part in value.items()}
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value
