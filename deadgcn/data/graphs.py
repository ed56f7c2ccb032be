"""Citation graphs with their public split, checked by SHA-256, and a synthetic graph that needs no files."""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from deadgcn.config import DATASETS, PROJECT
from deadgcn.data import DataError, DataUnavailableError, pyg, read_checksums

# torch and PyTorch Geometric take seconds to import, so they are imported only where they are used.
if TYPE_CHECKING:
    from torch import Tensor
    from torch_geometric.data import Data

SHARED = PROJECT.parent / "shared" / "data"  # copies for machines without network: SHARED/<name>/raw
BASE_URL = "https://raw.githubusercontent.com/kimiyoung/planetoid/master/data"
RAW_PARTS = ("x", "tx", "allx", "y", "ty", "ally", "graph", "test.index")
SHA256 = read_checksums(Path(__file__).with_name("sha256.txt"))  # of Cora and CiteSeer


def check_name(name: str, auto: bool = False) -> None:
    """Raise ``ValueError`` unless the data set is known. With ``auto``, "auto" is legal too."""
    legal = ("auto", *DATASETS) if auto else DATASETS
    well_formed = isinstance(name, str) and re.fullmatch(r"[A-Z]\w*(-[\w.]+)?", name)
    if name not in legal and not (well_formed and pyg.is_known(name)):
        raise ValueError(
            f"dataset must be one of {', '.join(legal)}, or a data set of PyTorch Geometric, such as "
            f"Amazon-Photo, but {name!r} was passed."
        )


def load_graph(
    name: str, root: str | Path | None = None, *, num_nodes: int | None = None, seed: int = 0
) -> Data:
    """Graph with its public split; Cora, CiteSeer and PubMed exactly as PyG's ``Planetoid`` returns them.

    ``x [N, F]`` holds the raw features as dense float32, ``y [N]`` the classes, ``edge_index [2, E]`` both
    directions of each edge, and ``train_mask``, ``val_mask`` and ``test_mask [N]`` the split.

    Raw files are in ``root/name/raw`` (``root``: the project's ``data/``), else copied from ``shared/data/``
    beside the project, else downloaded. They are pickles: their SHA-256 is checked before any is opened.
    "SyntheticCora" is generated, with ``num_nodes`` from 200 and any ``seed``. For every other name see
    :mod:`deadgcn.data.pyg`.

    Raises ``ValueError`` for an unknown name or an illegal size or seed, ``DataUnavailableError`` if files
    cannot be obtained, ``DataError`` if one is damaged or the graph cannot be trained on.
    """
    check_name(name)
    if name == "SyntheticCora":
        from deadgcn.data.synthetic import NUM_NODES, synthetic_cora

        return synthetic_cora(NUM_NODES if num_nodes is None else num_nodes, seed)
    if num_nodes is not None or seed != 0:
        given = f"num_nodes={num_nodes} and seed={seed}"
        raise ValueError(f"num_nodes and seed are for 'SyntheticCora' only, but {given} came with {name!r}.")
    if name not in DATASETS:
        return pyg.load(name, Path(root or PROJECT / "data"))
    from torch_geometric.io import read_planetoid_data

    with tempfile.TemporaryDirectory(prefix="deadgcn-") as folder:  # private copies of the checked bytes
        for file, content in _raw_files(name, root).items():
            Path(folder, file).write_bytes(content)
        return read_planetoid_data(folder, name)


def resolve_dataset(name: str, root: str | Path | None = None) -> str:
    """Name of the data set to use, once its files are in place and checked. Opens none of them.

    "auto" stands for "Cora", or for "SyntheticCora" if Cora's files cannot be obtained; a damaged file is an
    error even then. Raises as :func:`load_graph` does.
    """
    check_name(name, auto=True)
    if name == "auto":
        try:
            return resolve_dataset("Cora", root)
        except DataUnavailableError:
            return "SyntheticCora"
    if name not in DATASETS:
        pyg.ensure(name, Path(root or PROJECT / "data"))
    elif name != "SyntheticCora":
        _raw_files(name, root)
    return name


def normalized_adjacency(edge_index: Tensor, num_nodes: int) -> Tensor:
    r"""Symmetrically normalised adjacency :math:`D^{-1/2} (A + I) D^{-1/2}`, a float32 CSR tensor ``[N, N]``.

    :math:`A` is the 0/1 adjacency of ``edge_index [2, E]``, :math:`I` adds the self-loops that it lacks, and
    :math:`D` holds the row sums of :math:`A + I` (Kipf & Welling 2017, arXiv 1609.02907). The result equals
    its transpose bit for bit. Raises ``ValueError`` if an edge has no reverse or a node is out of range.

    >>> import torch
    >>> normalized_adjacency(torch.tensor([[0, 1], [1, 0]]), 3).to_dense()  # one edge, one isolated node
    tensor([[0.5000, 0.5000, 0.0000],
            [0.5000, 0.5000, 0.0000],
            [0.0000, 0.0000, 1.0000]])
    """
    import torch
    from torch_geometric.nn.conv.gcn_conv import gcn_norm
    from torch_geometric.utils import coalesce, is_undirected

    if edge_index.numel() and not 0 <= int(edge_index.min()) <= int(edge_index.max()) < num_nodes:
        span = f"{int(edge_index.min())} to {int(edge_index.max())}"
        raise ValueError(f"edge_index must name nodes from 0 to {num_nodes - 1}, but it spans {span}.")
    edge_index = coalesce(edge_index, num_nodes=num_nodes)
    if not is_undirected(edge_index, num_nodes=num_nodes):
        raise ValueError("edge_index must hold both directions of every edge; PyG's to_undirected adds them.")
    edge_index, weight = gcn_norm(edge_index, None, num_nodes)
    (row, col), weight = coalesce(edge_index, weight, num_nodes)  # gcn_norm puts the self-loops last
    starts = torch.bincount(row + 1, minlength=num_nodes + 1).cumsum(0)  # [N + 1]
    # With 64-bit indices, MKL would convert them to 32 bits in every product.
    starts, col = starts.int(), col.int()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta state", UserWarning)
        return torch.sparse_csr_tensor(starts, col, weight, (num_nodes, num_nodes), check_invariants=False)


def _raw_files(name: str, root: str | Path | None) -> dict[str, bytes]:
    """Contents of all raw files of a data set by file name, checked. Obtains the missing ones."""
    raw = Path(root or PROJECT / "data", name, "raw")
    known = read_checksums(raw / "SHA256SUMS") | SHA256  # PubMed's are recorded by the user
    paths = [raw / f"ind.{name.lower()}.{part}" for part in RAW_PARTS]
    contents = {}
    # Present files first: damage must be reported even if another file cannot be obtained.
    for path in sorted(paths, key=lambda path: not path.exists()):
        expected = known.get(path.name, "not known")
        if not path.exists():
            _obtain(path, SHARED / name / "raw" / path.name, expected)
        contents[path.name] = path.read_bytes()
        found = hashlib.sha256(contents[path.name]).hexdigest()
        if found != expected:
            record = f"record its SHA-256 in {raw / 'SHA256SUMS'} if you trust it"
            remedy = "delete it and run again" if path.name in known else record
            raise DataError(f"{path} was not opened: expected SHA-256 {expected}, found {found}; {remedy}.")
    return contents


def _obtain(path: Path, shared: Path, expected: str) -> None:
    """Copy or download one raw file. It gets its name only if its checksum is right."""
    import pooch
    from requests import RequestException

    url, download = f"{BASE_URL}/{path.name}", pooch.HTTPDownloader(timeout=10)
    if shared.exists():
        url, download = str(shared), lambda url, target, _: shutil.copyfile(url, target)
    pooch.get_logger().setLevel("WARNING")
    try:
        pooch.retrieve(url, expected, path.name, path.parent, downloader=download)
    except RequestException as error:
        raise DataUnavailableError(
            f"{path} (SHA-256 {expected}) is not available: {shared} does not exist, and {url} cannot be "
            f"downloaded ({error}); connect to the network, or use 'SyntheticCora'."
        ) from error
    except ValueError as error:  # pooch names both checksums
        raise DataError(f"{url} was not used: {error} Put a correct copy at {path}.") from error


def main(argv: list[str] | None = None) -> None:
    """Obtain and check one data set, and print where it is; exit status 2 for an unknown name."""
    parser = argparse.ArgumentParser(prog="python -m deadgcn.data.graphs", description=main.__doc__)
    parser.add_argument("name", help=f"auto, {', '.join(DATASETS)}, or a data set of PyTorch Geometric")
    try:
        name = resolve_dataset(parser.parse_args(argv).name)
    except (DataError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, ValueError) else 1)
    print(f"{name} is ready. Its files, if it needs any, are in {PROJECT / 'data' / name}.")


if __name__ == "__main__":
    main()
