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
    """SHA-256 by file name, from a text file as ``sha256sum`` writes it. Empty if there is no such file."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return {name: sha256 for sha256, name in re.findall(r"^([0-9a-f]{64}) [ *](.+)$", text, re.M)}


def check_files(expected: dict[Path, str]) -> None:
    """Raise ``DataError`` unless all files are there and have the expected SHA-256."""
    for path, checksum in expected.items():
        found = pooch.file_hash(path) if path.is_file() else "(no file)"
        if found != checksum:
            wrong = f"expected SHA-256 {checksum}, found {found}"
            raise DataError(f"{path} was not opened: {wrong}; restore it, or delete its data set's folder.")
