"""Files that are whole or not there: written beside their place, and moved into it in one step."""

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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


@contextmanager
def locked(path: Path, waiting: str) -> Iterator[None]:
    """Hold the lock of that name; while another process has it, print the text and wait.

    The system takes the lock from a process that is killed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(waiting, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def refuse_unwritable(folder: Path) -> None:
    """Raise OSError if files cannot be put into a folder, which need not exist; nothing is written."""
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    number = errno.ENOTDIR if not nearest.is_dir() else errno.EACCES
    if not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)):
        raise OSError(number, os.strerror(number), str(nearest))


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
