"""Citation graphs with their public split, checked by checksums, and a synthetic twin that needs no files."""

from __future__ import annotations

import argparse
import hashlib
import http.client
import os
import re
import sys
import tempfile
import urllib.request
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from deadgcn.config import DATASETS, PROJECT, check_dataset

# torch and PyTorch Geometric take seconds to import and checking files needs neither: imported where used.
if TYPE_CHECKING:
    from torch import Tensor
    from torch_geometric.data import Data

SHARED = PROJECT.parent / "shared" / "data"  # copies for machines without network: SHARED/<name>/raw
BASE_URL = "https://raw.githubusercontent.com/kimiyoung/planetoid/master/data"  # the only one asked
LARGEST = 2**26  # bytes read of one file at most
RAW_PARTS = ("x", "tx", "allx", "y", "ty", "ally", "graph", "test.index")
SHA256 = {
    "ind.cora.x": "23cfa55d91c6f624233f5eb7b6e3f141f1bd2b2ae39608a63cf5d084bb27baab",
    "ind.cora.tx": "b9afbaa4a400df991f6f02ef677e1e44da55ffc04801fd02f9e673987829226a",
    "ind.cora.allx": "9419ba2f26f5c35243db64aba110e0f35a04851609e0dc5433450676ca6b8543",
    "ind.cora.y": "94465c14eb53e04ca262198dcbb2521ee8af60fb3f3d546cd6ca24a511b0e7d1",
    "ind.cora.ty": "41f5ac76596a1699cc33f53084a2419e92961c42bb75f36fc38e616d348532ad",
    "ind.cora.ally": "2b998f5cc7fedc86e7f97ca2498f47a1ffc1462c29e2d578b23bf3f62b6e7d71",
    "ind.cora.graph": "58f13302f39dde8852dad6fe6d15b89b077b6d7f837626bce671ef80344b383d",
    "ind.cora.test.index": "297ce89af2b51a6a194181c7dbe1796c6a1cf9cd9349a88383b1b1e227867875",
    "ind.citeseer.x": "d20de19150741e555de0ed037195630fc194114ebc7fd72ced62810148aa22f6",
    "ind.citeseer.tx": "539a8906a2da97628d212f2fdd668c109a8b3f0d36574b59e5d3fd5b5303da21",
    "ind.citeseer.allx": "2ac30345d95c9ec933a817ee0bdd6a5f077f8c184a20e696910192d534414668",
    "ind.citeseer.y": "8ba87e515d8e3ee3cf52f6d2c5b86aa73f11ecad825a808455209ec26cd54924",
    "ind.citeseer.ty": "55e5bd1ba1e733a04598753ad1a8d57957f4b8f89e74519f41f4f4938767e4ce",
    "ind.citeseer.ally": "f704b2d986dde6c2669934de1f3ae5696a6cf9455c0f6b2646a2d135ea0a1c95",
    "ind.citeseer.graph": "d79a4ef9d3e7169aee8946145f6b7306e35bc79bffad26346cfb94e10e9912a7",
    "ind.citeseer.test.index": "2af990671580b6b2df5d158d1038f8292e30c9cd821b5453f399659b25b723d4",
}


class DataError(RuntimeError):
    """A data set is damaged, or there is nothing to check it against."""


class DataUnavailableError(DataError):
    """A data set is not on this machine and cannot be downloaded."""


def load_graph(
    name: str, root: str | Path | None = None, *, num_nodes: int | None = None, seed: int = 0
) -> Data:
    """Graph ``name`` with its public split; those of ``DATASETS`` exactly as PyG's ``Planetoid`` gives them.

    ``x [N, F]`` holds the raw features as dense float32 (0/1 words; PubMed's are weights), ``y [N]`` the
    classes, ``edge_index [2, E]`` both directions of each edge; the masks ``train_mask``, ``val_mask`` and
    ``test_mask`` are ``[N]``.

    The raw files (https://github.com/kimiyoung/planetoid) are pickles: each call checks the SHA-256 of all of
    them before it opens one, and no processed copies are kept. They lie in ``root/name/raw`` (``root`` is the
    project's ``data/`` by default); missing ones are copied from ``shared/data/`` beside the project, else
    downloaded. "SyntheticCora" is generated, with any ``num_nodes`` from 200 and any ``seed``. For others see
    :mod:`deadgcn.data.pyg`.

    Raises ``ValueError`` for an unknown name, a size that is too small, or a size or seed for a real graph;
    ``DataUnavailableError`` if files cannot be had; ``DataError`` if one is damaged or has no known checksum.
    """
    _check_name(name, DATASETS)
    if name == "SyntheticCora":
        from deadgcn.data.synthetic import NUM_NODES, synthetic_cora

        return synthetic_cora(NUM_NODES if num_nodes is None else num_nodes, seed)
    if num_nodes is not None or seed != 0:
        raise ValueError(
            f"num_nodes and seed are for 'SyntheticCora' only, but num_nodes={num_nodes} and seed={seed} "
            f"were passed with {name!r}, which has one size and no randomness."
        )
    if name not in DATASETS:
        from deadgcn.data import pyg as pyg_datasets

        return pyg_datasets.load(name, _root(root))
    from torch_geometric.io import read_planetoid_data

    # What is opened is a copy of the very bytes that were checked, in a folder that nobody else writes to.
    with tempfile.TemporaryDirectory(prefix="deadgcn-") as folder:
        for file, content in _checked_raw_files(name, root).items():
            Path(folder, file).write_bytes(content)
        return read_planetoid_data(folder, name)


def resolve_dataset(name: str, root: str | Path | None = None) -> str:
    """Name of the data set to use, once its raw files are in place and whole; opens none of them.

    "auto" stands for "Cora", or for "SyntheticCora" where Cora's files cannot be had; a damaged one is an
    error even then. Raises as ``load_graph`` does.
    """
    _check_name(name, ("auto", *DATASETS))
    if name == "auto":
        try:
            return resolve_dataset("Cora", root)
        except DataUnavailableError:
            return "SyntheticCora"
    if name not in DATASETS:
        from deadgcn.data import pyg as pyg_datasets

        pyg_datasets.ensure(name, _root(root))
    elif name != "SyntheticCora":
        _checked_raw_files(name, root)
    return name


def normalized_adjacency(edge_index: Tensor, num_nodes: int) -> Tensor:
    r"""Symmetrically normalised adjacency :math:`D^{-1/2} (A + I) D^{-1/2}`, a float32 CSR tensor ``[N, N]``.

    :math:`A` is the 0/1 adjacency of ``edge_index [2, E]``, :math:`I` the self-loops where it has none, and
    :math:`D` the diagonal of the row sums of :math:`A + I` (Kipf & Welling 2017, arXiv 1609.02907). The
    result equals its transpose bit for bit. Raises ``ValueError`` if an edge has no reverse or a node is out
    of range.
    """
    import torch
    from torch_geometric.nn.conv.gcn_conv import gcn_norm
    from torch_geometric.utils import coalesce, is_undirected

    if edge_index.numel() and not 0 <= int(edge_index.min()) <= int(edge_index.max()) < num_nodes:
        raise ValueError(
            f"edge_index must name nodes from 0 to {num_nodes - 1}, "
            f"but it spans {int(edge_index.min())} to {int(edge_index.max())}."
        )
    edge_index = coalesce(edge_index, num_nodes=num_nodes)
    if not is_undirected(edge_index, num_nodes=num_nodes):
        raise ValueError(
            "edge_index must hold both directions of every edge, but some edge has no reverse; "
            "torch_geometric.utils.to_undirected adds them."
        )
    edge_index, weight = gcn_norm(edge_index, None, num_nodes)
    (row, col), weight = coalesce(edge_index, weight, num_nodes)  # gcn_norm puts the self-loops last
    starts = torch.bincount(row + 1, minlength=num_nodes + 1).cumsum(0)  # [N + 1]
    # 32-bit indices, because the matrix library would otherwise make them so at every product.
    starts, col = starts.int(), col.int()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta state", UserWarning)
        return torch.sparse_csr_tensor(starts, col, weight, (num_nodes, num_nodes), check_invariants=False)


def _check_name(name: str, legal: tuple[str, ...]) -> None:
    try:
        check_dataset(name, legal)
    except ValueError as error:
        raise ValueError(f"The data set {error}, but {name!r} was passed.") from error


def _root(root: str | Path | None) -> Path:
    return Path(PROJECT / "data" if root is None else root)


def _raw_folder(name: str, root: str | Path | None) -> Path:
    return _root(root) / name / "raw"


def _checked_raw_files(name: str, root: str | Path | None) -> dict[str, bytes]:
    """A data set's raw files, by name, all of them in place and known to be whole."""
    raw = _raw_folder(name, root)
    sums = raw / "SHA256SUMS"  # the user's own record, for a data set whose checksums are not known here
    recorded = re.findall(r"^([0-9a-f]{64}) [ *](\S+)$", sums.read_text() if sums.is_file() else "", re.M)
    expected = {file: sha256 for sha256, file in recorded} | SHA256
    paths = [raw / f"ind.{name.lower()}.{part}" for part in RAW_PARTS]
    # Damage must be reported even where another file cannot be had, so what is there is checked first.
    present = {path: path.read_bytes() for path in paths if path.exists()}
    for path, content in present.items():
        _check(path, content, path, expected.get(path.name))
    missing = [path for path in paths if path not in present]
    obtained = {path: _obtain(path, name, expected.get(path.name)) for path in missing}
    return {path.name: content for path, content in (present | obtained).items()}


def _check(source: Path | str, content: bytes, path: Path, expected: str | None) -> None:
    found = hashlib.sha256(content).hexdigest()
    if expected is None:
        raise DataError(
            f"{source} was not opened: it is a pickle with SHA-256 {found}, and no expected one is known; "
            f"record those you trust in {path.parent / 'SHA256SUMS'}, as sha256sum prints them."
        )
    if found != expected:
        remedy = "delete it and run again" if source == path else f"put a whole copy at {path}"
        raise DataError(
            f"{source} is damaged and was not opened: expected SHA-256 {expected}, found {found} "
            f"({len(content)} bytes); {remedy}."
        )


def _obtain(path: Path, name: str, expected: str | None) -> bytes:
    """Copy or download one raw file, which gets its name only when it is whole, and return what it holds."""
    copy, url = SHARED / name / "raw" / path.name, f"{BASE_URL}/{path.name}"
    if copy.exists():
        source, content = copy, copy.read_bytes()
    else:
        source, content = url, _download(url, path, name, expected)
    _check(source, content, path, expected)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".part-") as folder:
        part = Path(folder) / path.name
        part.write_bytes(content)
        os.replace(part, path)
    return content


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: object) -> None:
        return None  # a redirection is then an error


def _download(url: str, path: Path, name: str, expected: str | None) -> bytes:
    try:
        with urllib.request.build_opener(_NoRedirects).open(url, timeout=10) as response:
            return response.read(LARGEST)  # what is longer fails its checksum
    except (OSError, http.client.HTTPException) as error:
        raise DataUnavailableError(
            f"{name} is not available: {path} (expected SHA-256 {expected or 'not known'}) is missing, "
            f"so is a copy in {SHARED / name / 'raw'}, and {url} cannot be downloaded ({error}); "
            "connect to the network, put the file in place, or use 'SyntheticCora', which needs none."
        ) from error


def main(argv: list[str] | None = None) -> int:
    """Fetch and check one data set, and say in one line where it is."""
    parser = argparse.ArgumentParser(prog="python -m deadgcn.data.graphs", description=main.__doc__)
    parser.add_argument("name", help=f"auto, {', '.join(DATASETS)}, or PyTorch Geometric's")
    try:
        name = resolve_dataset(parser.parse_args(argv).name)
    except (DataError, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    if name in ("SyntheticCora", "KarateClub"):
        print(f"{name} is generated when it is loaded and needs no files.")
    else:
        print(f"{name}: the files in {_raw_folder(name, None).parent} match their SHA-256 checksums.")
    return 0


if __name__ == "__main__":
    from deadgcn.data.graphs import main as run  # whose exceptions are those that other modules raise

    sys.exit(run())
