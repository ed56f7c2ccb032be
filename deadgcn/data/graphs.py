"""Citation graphs with their public split, checked by SHA-256, and a synthetic graph that needs no files.

torch and PyTorch Geometric take seconds to import, so they are imported only where they are used.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pooch
from requests import RequestException

from deadgcn.config import DATASETS, PROJECT, check_label, label_of
from deadgcn.data import RECORD, DataError, DataUnavailableError, check_files, read_checksums

if TYPE_CHECKING:
    from torch_geometric.data import Data


SHARED = PROJECT.parent / "shared" / "data"  # copies for machines without network: SHARED/<name>/raw
BASE_URL = "https://raw.githubusercontent.com/kimiyoung/planetoid/master/data"
RAW_PARTS = ("x", "tx", "allx", "y", "ty", "ally", "graph", "test.index")
SHA256 = read_checksums(Path(__file__).with_name("sha256.txt"))  # of Cora and CiteSeer


def load_graph(name: str, root: str | Path | None = None, split: int = 0) -> Data:
    """Graph with its public split; Cora, CiteSeer and PubMed exactly as PyG's ``Planetoid`` returns them.

    ``x [N, F]`` holds the raw features as dense float32, ``y [N]`` the classes, ``edge_index [2, E]`` both
    directions of each edge, and ``train_mask``, ``val_mask`` and ``test_mask [N]`` the split: of masks
    ``[N, S]`` the column ``split``, or what :func:`deadgcn.data.own.complete` makes if there is none.

    Raw files are in ``root/name/raw`` (``root``: the project's ``data/``), else copied from ``shared/data/``
    beside the project, else downloaded. They are pickles: their SHA-256 is checked before any is opened.
    "SyntheticCora" is generated. A name that ends with ".pt" is a file (relative to the project) with a PyG
    ``Data`` saved by ``torch.save``, which is read without running code. For other names see
    :mod:`deadgcn.data.pyg`. Raises ``ValueError`` for an unknown name, ``DataUnavailableError`` if files
    cannot be obtained, and ``DataError`` if one is damaged or the graph cannot be trained on.
    """
    from deadgcn.data import own, pyg
    from deadgcn.data.synthetic import synthetic_cora

    name = str(name)
    folder = _ensure(name, root)
    if name == "SyntheticCora":
        graph = synthetic_cora()
    else:
        graph = read_graph(name) if name.endswith(".pt") else pyg.load(name, folder)
    return own.checked(graph, split, name)


def read_graph(path: str | Path) -> Data:
    """A graph, unchecked, from a file (relative to the project) of one's own; nothing in it is run."""
    import torch
    from torch_geometric.data import Data, data, storage

    # For good: the context for a time would also take away what PyTorch Geometric has added itself.
    torch.serialization.add_safe_globals(
        [Data, data.DataEdgeAttr, data.DataTensorAttr, storage.GlobalStorage]
    )
    path = PROJECT / path
    try:
        if zipfile.is_zipfile(path) and (damaged := zipfile.ZipFile(path).testzip()):
            raise ValueError(f"the checksum of {damaged} does not match")  # torch.load does not look at it
        graph = torch.load(path, weights_only=True)
    except Exception as error:  # torch.load can raise almost anything on a corrupt file
        fault = f"{type(error).__name__}; it may hold tensors and numbers only"
        raise DataError(f"{path} cannot be read as a PyG Data saved by torch.save ({fault})") from error
    if not isinstance(graph, Data):
        raise DataError(f"{path} must hold a PyG Data, but holds a {type(graph).__name__}")
    return graph


def resolve_dataset(name: str, root: str | Path | None = None) -> str:
    """Name of the data set to use, once its files are in place and checked. Opens none of them.

    "auto" stands for "Cora", or for "SyntheticCora" if Cora's files cannot be obtained; a damaged file is an
    error even then. A ".pt" file must be there, and its name must not be another data set's. Raises as
    :func:`load_graph` does.
    """
    if (name := str(name)) != "auto":
        _ensure(name, root)
        return name
    try:
        return resolve_dataset("Cora", root)
    except DataUnavailableError:
        return "SyntheticCora"


def _ensure(name: str, root: str | Path | None) -> Path:
    """Obtain the data set's files if they are missing, check them if not, and return their folder."""
    folder = Path(root or PROJECT / "data", name)
    if name.endswith(".pt"):
        check_name(label_of(name))
        if not (PROJECT / name).is_file():
            raise DataUnavailableError(f"there is no file {PROJECT / name}")
    elif name not in DATASETS:
        from deadgcn.data import pyg

        pyg.ensure(name, folder)
    elif name != "SyntheticCora":
        _ensure_planetoid(name, folder / "raw")
    return folder


def check_name(name: str) -> None:
    """Raise ``ValueError`` unless a graph of one's own may have this name."""
    from deadgcn.data import pyg

    if name in DATASETS or pyg.known(name) or not re.fullmatch(r"[A-Za-z][\w.-]*", name):
        rule = "a letter, then letters, digits, '_', '.' or '-', and not the name of another data set"
        raise ValueError(f"the name of a graph of your own must be {rule}, but {name!r} was passed")
    check_label(name)


def _ensure_planetoid(name: str, raw: Path) -> None:
    known = read_checksums(raw / RECORD) | SHA256  # PubMed's are recorded by the user
    files = [raw / f"ind.{name.lower()}.{part}" for part in RAW_PARTS]
    expected = {path: known.get(path.name, f"(not known; record it in {raw / RECORD})") for path in files}
    missing = [path for path in files if not path.exists()]
    # Before any download: damage must be reported even if another file is not available.
    check_files({path: expected[path] for path in files if path not in missing})
    for path in missing:
        source, fetch = f"{BASE_URL}/{path.name}", pooch.HTTPDownloader(timeout=10)
        if (copy := SHARED / name / "raw" / path.name).exists():
            source, fetch = str(copy), lambda origin, target, _: shutil.copyfile(origin, target)
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        try:  # the file gets its name only if its checksum is right
            raw.mkdir(parents=True, exist_ok=True)
            fetch(source, str(part), None)
            if (found := pooch.file_hash(part)) != expected[path]:
                wrong = f"expected SHA-256 {expected[path]}, found {found}"
                raise DataError(f"{source} was not used: {wrong}; put a correct copy at {path}.")
            os.replace(part, path)
        except DataError:
            raise
        except Exception as error:  # an unusual proxy or answer can raise almost anything
            if isinstance(error, OSError) and not isinstance(error, RequestException):
                raise DataError(f"{path} cannot be written from {source}: {error}.") from error
            raise DataUnavailableError(
                f"{path} (SHA-256 {expected[path]}) does not exist, and {source} cannot be downloaded "
                f"({error}); connect to the network, or use 'SyntheticCora'."
            ) from error
        finally:
            part.unlink(missing_ok=True)
