"""Other graphs of PyTorch Geometric by name, such as "KarateClub", "Actor" or "Amazon-Photo".

A name is that of a class in `torch_geometric.datasets`, and after a hyphen the one argument that it needs.
PyG's code downloads without asking who answers, and may open pickles, which can run code. Here servers must
have a valid certificate, and pickles are opened only if the user has recorded their checksums before.
"""

import inspect
import os
import re
import ssl
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from unittest.mock import patch

import pooch
from torch_geometric import datasets
from torch_geometric.data import Data
from torch_geometric.io import read_planetoid_data

from deadgcn.config import DATASETS
from deadgcn.data import RECORD, DataError, DataUnavailableError, check_files, own, read_checksums

_refused: ContextVar[list | None] = ContextVar("refused", default=None)  # pickles; None: all are allowed
_verified = cache(ssl.create_default_context)


def _look_at_pickle(event: str, names: tuple) -> None:
    if event == "pickle.find_class" and _refused.get() is not None:
        _refused.get().append(names)
        raise DataError(f"a pickle was not opened, because it names {names}")


sys.addaudithook(_look_at_pickle)  # Python's own; it sees every library's unpickling


def ensure(name: str, folder: Path) -> None:
    """Let PyTorch Geometric download the files and record their checksums, or check those on record.

    Raises ``ValueError`` for an unknown name, ``DataUnavailableError`` if the data set cannot be obtained,
    and ``DataError`` if it cannot be used, comes as pickles without a record, or has changed since.
    """
    if not known(name) or not re.fullmatch(r"[\w.-]+", name):
        legal = f"{', '.join(DATASETS)}, auto (in notebooks), a .pt file, or one of PyG's, as Amazon-Photo"
        raise ValueError(f"dataset must be one of {legal}, but {name!r} was passed")
    if name == "KarateClub":
        return
    if strange := [path for path in folder.rglob("*") if not path.is_file() and not path.is_dir()]:
        raise DataError(
            f"{strange[0]} is neither a file nor a folder; remove it."
        )  # a pipe would be waited for
    if trusted := (folder / RECORD).exists():
        recorded = {folder / file: checksum for file, checksum in read_checksums(folder / RECORD).items()}
        check_files(dict.fromkeys(_files(folder), "(not recorded)") | recorded)
        if any("processed" in path.parts for path in recorded):  # else the user recorded the raw files
            return
    with _guarded(name, folder, trusted):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".part-") as part:
            # A folder that is there was put there by the user.
            fresh = folder if folder.exists() else Path(part, name)
            own.checked(_read(name, fresh), name=name)  # what cannot be used is not kept
            lines = [f"{pooch.file_hash(path)}  {path.relative_to(fresh)}\n" for path in _files(fresh)]
            (fresh / RECORD).write_text("".join(lines), encoding="utf-8")
            if fresh != folder:
                os.rename(fresh, folder)


def known(name: str) -> bool:
    """Whether PyTorch Geometric has a data set of this name, of which files are kept, or the karate club."""
    kind = getattr(datasets, name.partition("-")[0], None)
    if not inspect.isclass(kind) or kind is datasets.Planetoid:  # those are Cora, CiteSeer and PubMed
        return False
    return kind is datasets.KarateClub or "root" in inspect.signature(kind).parameters


def load(name: str, folder: Path) -> Data:
    """The graph, Cora's and its like included, from files that were checked before. Raises ``DataError``."""
    with _guarded(name, folder, trusted=True):
        return read_planetoid_data(str(folder / "raw"), name) if name in DATASETS else _read(name, folder)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != RECORD)


def _read(name: str, folder: Path) -> Data:
    kind, _, given = name.partition("-")
    options = {} if kind == "KarateClub" else {"root": str(folder)}
    parameters = inspect.signature(getattr(datasets, kind)).parameters.values()
    needed = [one for one in parameters if one.default is one.empty and one.name != "root"]
    if len(needed) != bool(given):
        raise ValueError(f"{kind} needs {', '.join(one.name for one in needed) or 'nothing'} after a hyphen")
    options |= {one.name: one.annotation(given) for one in needed}  # a text or a number
    dataset = getattr(datasets, kind)(**options)
    if len(dataset) != 1:
        raise DataError(f"{name} cannot be used: it has {len(dataset)} graphs")
    return dataset[0]


@contextmanager
def _guarded(name: str, folder: Path, trusted: bool) -> Iterator[None]:
    """One boundary: whatever fails inside becomes one sentence. Unless trusted, nothing is unpickled."""
    token = _refused.set(None if trusted else [])
    try:
        with patch.object(ssl, "_create_unverified_context", _verified):
            yield
    except Exception as error:  # an unknown name or a malformed file can raise almost anything in PyG
        if isinstance(error, DataError) and not _refused.get():
            raise
        reason = " ".join(re.sub(r"\.part-\w+/", "", f"{type(error).__name__} {error}").split())[:300]
        kind, _, given = name.partition("-")
        remedy = f"put its raw files below {folder}, or delete that folder to download them again"
        if given:
            remedy = f"if PyTorch Geometric's documentation of {kind} knows the name {given!r}, {remedy}"
        if _refused.get():
            reason = "its files are pickles, which can run code when they are opened"
            remedy = f"if you trust them, put them below {folder} with their checksums in {RECORD}"
        sort = DataUnavailableError if isinstance(error, OSError) else DataError
        raise sort(f"{name} cannot be obtained or read ({reason}); {remedy}.") from error
    finally:
        _refused.reset(token)
