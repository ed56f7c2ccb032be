"""Graphs with their public splits. Files are checked before they are opened."""

import re
from pathlib import Path

import pooch

RECORD = "SHA256SUMS"  # checksums of a folder's files, as `sha256sum` writes them


class DataError(RuntimeError):
    """A data set is damaged, cannot be used here, or has no known checksum."""


class DataUnavailableError(DataError):
    """A data set is not on this machine and cannot be downloaded."""


def read_checksums(path: Path) -> dict[str, str]:
    """SHA-256 by file name, from a text file as ``sha256sum`` writes it. Empty if there is no such file.

    Raises ``DataError`` for a file that cannot be read, or that has any other line.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise OSError("it is no file")
        lines = path.read_text(encoding="utf-8-sig").splitlines() if path.exists() else []
    except (OSError, UnicodeError) as error:
        raise DataError(f"{path} cannot be read ({error}); restore or delete it.") from error
    found = {line: re.fullmatch(r"([0-9a-fA-F]{64}) [ *](.+)", line) for line in lines if line.strip()}
    if strange := [line for line, parts in found.items() if not parts]:
        rule = "a SHA-256 (64 digits), two spaces and a file's name, as `sha256sum` writes it"
        raise DataError(f"a line of {path} must be {rule}, but is {strange[0][:100]!r}.")
    pairs = {(str(Path(parts[2])), parts[1].lower()) for parts in found.values()}
    if len(pairs) > len(dict(pairs)):
        raise DataError(f"{path} has two checksums for one file; delete the wrong line.")
    return dict(pairs)


def check_files(expected: dict[Path, str]) -> None:
    """Raise ``DataError`` unless all files are there and have the expected SHA-256."""
    for path, checksum in expected.items():
        try:
            found = pooch.file_hash(path) if path.is_file() else "(no file)"
        except OSError as error:
            found = f"(it cannot be read: {error.strerror})"
        if found != checksum:
            wrong = f"expected SHA-256 {checksum}, found {found}"
            raise DataError(f"{path} was not opened: {wrong}; restore it, or delete its data set's folder.")
