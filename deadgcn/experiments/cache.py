"""A cache of finished runs on disk: one file per run, with a checksum, written atomically.

A file holds a SHA-256 (of the key and what follows), a line of JSON (numbers, and the arrays' names in their
order), and the arrays in the safetensors format. Reading it cannot run code.
"""

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
import sys
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from joblib import cpu_count
from safetensors import numpy as safetensors


def load(folder: Path, key: str) -> dict[str, dict] | None:
    """Return what was stored under this key, or None; a damaged entry is reported on stderr."""
    path = _path(folder, key)
    if not os.path.lexists(path):
        return None
    try:  # a pipe in its place would be waited for
        content = path.read_bytes() if path.is_file() else b""
    except OSError:
        content = b""
    checksum, saved = content[:32], content[32:]
    if checksum != _checksum(key, saved):
        print(f"{path} is damaged; this run is trained again", file=sys.stderr)  # or it is another run's
        return None
    header, _, saved = saved.partition(b"\n")
    numbers, names = json.loads(header)
    result, arrays = {"run": numbers}, safetensors.load(saved)
    for part, name in names:
        result.setdefault(part, {})[name] = arrays[f"{part}/{name}"]
    return result


def store(folder: Path, key: str, result: Mapping[str, Mapping]) -> None:
    """Store the numbers in ``result["run"]``, and its other dictionaries, of arrays or tensors, as arrays."""
    names = [(part, name) for part in result if part != "run" for name in result[part]]
    arrays = {f"{part}/{name}": np.ascontiguousarray(result[part][name]) for part, name in names}
    saved = json.dumps([result["run"], names]).encode() + b"\n" + safetensors.save(arrays)
    if (path := _path(folder, key)).is_dir() and not path.is_symlink():  # damage of another sort
        shutil.rmtree(path)
    write(path, _checksum(key, saved) + saved)


def claim(folder: Path, key: str) -> AbstractContextManager:
    """A lock, held while something is computed and stored; a killed process lets go of it."""
    place = _path(folder, key).parent.with_suffix(".lock")  # few files: some keys share one
    place.parent.mkdir(parents=True, exist_ok=True)
    return lock(place)


def core(folder: Path) -> AbstractContextManager:
    """One of as many locks as there are cores, held: more processes at once would be slower together."""
    while True:
        with contextlib.suppress(Timeout):
            return lock(folder / f"core-{secrets.randbelow(cpu_count())}.lock", timeout=0.02)


def lock(path: Path, timeout: float = -1) -> AbstractContextManager:
    """A lock on a file, held; a warning in place of it where the disk knows no locks."""
    try:
        return FileLock(path, fallback_to_soft=False).acquire(timeout=timeout)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK):  # as on some network file systems
            raise
        warnings.warn(f"{path} cannot be locked ({error.strerror}); run nothing else there", stacklevel=2)
        return contextlib.nullcontext()


def write(path: Path, content: bytes) -> None:
    """Write a file atomically, creating its folder."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        part.write_bytes(content)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _checksum(key: str, saved: bytes) -> bytes:
    return hashlib.sha256(key.encode() + b"\n" + saved).digest()


def _path(folder: Path, key: str) -> Path:
    name = hashlib.sha256(key.encode()).hexdigest()
    return folder / "runs" / name[:2] / f"{name}.run"
