"""Other graphs of PyTorch Geometric by name, such as "KarateClub", "Actor" or "Amazon-Photo".

A name is that of a class in `torch_geometric.datasets`, and after a hyphen the class's `name` argument.
"""

import os
import re
import tempfile
from pathlib import Path

import pooch
from torch_geometric import datasets
from torch_geometric.data import Data, Dataset

from deadgcn.config import DATASETS
from deadgcn.data import RECORD, DataError, DataUnavailableError, check_files, read_checksums


def ensure(name: str, folder: Path) -> None:
    """Let PyTorch Geometric download the files and record their checksums, or check those on record.

    Raises ``ValueError`` for an unknown name, ``DataUnavailableError`` if the data set cannot be obtained,
    and ``DataError`` if a file has changed since its first use.
    """
    if not known(name) or not re.fullmatch(r"[\w.-]+", name):
        legal = (
            f"{', '.join(DATASETS)}, auto (in notebooks), a .pt file, or one of PyG's, such as Amazon-Photo"
        )
        raise ValueError(f"dataset must be one of {legal}, but {name!r} was passed")
    if name == "KarateClub":
        return
    if (folder / RECORD).exists():
        recorded = {folder / file: checksum for file, checksum in read_checksums(folder / RECORD).items()}
        check_files(dict.fromkeys(_files(folder), "(not recorded)") | recorded)
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".part-") as part:
        # A folder that is there was put there by the user.
        fresh = folder if folder.exists() else Path(part, name)
        _construct(name, fresh)
        lines = [f"{pooch.file_hash(path)}  {path.relative_to(fresh)}\n" for path in _files(fresh)]
        (fresh / RECORD).write_text("".join(lines), encoding="utf-8")
        if fresh != folder:
            os.rename(fresh, folder)


def known(name: str) -> bool:
    """Whether PyTorch Geometric has a data set of this name."""
    kind = name.partition("-")[0]
    return kind in datasets.__all__ and not kind.startswith("Fake")


def load(name: str, folder: Path) -> Data:
    """The graph as PyTorch Geometric has it. Call :func:`ensure` first, which checks the files in the folder.

    Raises as :func:`ensure` does, and ``DataError`` if the data set has several graphs.
    """
    dataset = _construct(name, folder)
    if len(dataset) != 1:
        raise DataError(f"{name} cannot be used: it has {len(dataset)} graphs")
    return dataset[0]


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != RECORD)


def _construct(name: str, folder: Path) -> Dataset:
    kind, _, variant = name.partition("-")
    options = {"name": variant} if variant else {}
    if kind != "KarateClub":
        options["root"] = str(folder)
    try:
        return getattr(datasets, kind)(**options)
    except OSError as error:
        raise DataUnavailableError(f"{name} is not there and cannot be downloaded: {error}") from error
    except Exception as error:  # an unknown name or a malformed file can raise almost anything in PyG
        raise DataError(f"PyTorch Geometric cannot load {name!r}: {error!r}") from error
