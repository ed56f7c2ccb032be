"""Files that are whole or not there: written beside their place, and moved into it in one step."""

import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

PART = ".part"  # the end of names that nobody but the writer looks at


def write(path: Path, content: bytes) -> None:
    """Put `content` in the place of a file. Raises OSError that names it; then the old file is as it was."""
    part = _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        os.replace(part, path)
    except OSError as error:  # a full disk does not say by itself which file it was
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        _remove(part)


def move(moves: Mapping[Path, Path]) -> None:
    """Move files, source -> target, on whatever file system they are: all of them, or none if one fails.

    What can fail happens first, beside the targets; the last step only renames. Raises OSError.
    """
    parts = {target: _beside(target) for target in moves.values()}
    try:
        for source, target in moves.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_dir():
                raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
            _rename_or_copy(source, parts[target])
        for target, part in parts.items():
            os.replace(part, target)
    finally:
        for part in parts.values():
            _remove(part)


def _rename_or_copy(source: Path, target: Path) -> None:
    try:
        os.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        try:
            shutil.copyfile(source, target)
        except OSError as full:
            raise OSError(full.errno, full.strerror, str(target)) from full


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}{PART}")


def _remove(part: Path) -> None:
    try:
        part.unlink(missing_ok=True)
    except OSError:  # its folder is none, or may not be written to: then there is nothing to remove
        if part.exists():
            raise
