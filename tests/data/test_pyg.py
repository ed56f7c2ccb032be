"""Graphs of PyTorch Geometric's collection by name; one that it generates, and one from files made here."""

import gc
import hashlib
import io
import os
import pickle
import ssl
from pathlib import Path

import numpy as np
import pytest
import torch
import torch_geometric.datasets
from torch_geometric.utils import is_undirected

from deadgcn.config import Config
from deadgcn.data.graphs import DataError, DataUnavailableError, load_graph, resolve_dataset
from deadgcn.gcn.training import train

NAME = "WebKB-Cornell"
EDGES = "0\t1\n1\t2\n3\t4\n4\t5\n2\t3\n"  # directed


def write_webkb(root, *, first=0, y=(0, 0, 0, 1, 1, 1), edges=EDGES, parts=(0, 1, 2) * 2):
    """The text files that PyTorch Geometric would download: 6 nodes and ten splits."""
    raw = root / NAME / "cornell" / "raw"
    raw.mkdir(parents=True)
    nodes = "\n".join(f"{i}\t{i % 2 or first},1,{i // 3}\t{y[i]}" for i in range(6))
    (raw / "out1_node_feature_label.txt").write_text(f"node_id\tfeature\tlabel\n{nodes}\n")
    (raw / "out1_graph_edges.txt").write_text(f"a\tb\n{edges}")
    for i in range(10):
        own = np.roll(parts, i)
        masks = {f"{part}_mask": np.equal(own, k) for k, part in enumerate(("train", "val", "test"))}
        np.savez(raw / f"cornell_split_0.6_0.2_{i}.npz", **{key: mask * 1 for key, mask in masks.items()})


def test_files_are_read_as_pyg_reads_them_with_both_directions_and_the_first_split(root):
    write_webkb(root)
    graph = load_graph(NAME, root)
    theirs = torch_geometric.datasets.WebKB(str(root / NAME), "Cornell")[0]
    assert torch.equal(graph.x, theirs.x) and torch.equal(graph.y, theirs.y)
    assert graph.x.tolist()[5] == [1, 1, 1] and graph.y.tolist() == [0, 0, 0, 1, 1, 1]
    assert theirs.num_edges == 5 and graph.num_edges == 10 and is_undirected(graph.edge_index)
    assert graph.train_mask.tolist() == [True, False, False] * 2 and graph.val_mask.dim() == 1


def test_each_column_of_the_masks_is_a_split(root):
    write_webkb(root, parts=[0, 1, 2, 0, 1, 2])
    for split in (0, 1):
        graph, theirs = (
            load_graph(NAME, root, split),
            torch_geometric.datasets.WebKB(str(root / NAME), "Cornell"),
        )
        assert torch.equal(graph.val_mask, theirs[0].val_mask[:, split])
    with pytest.raises(DataError, match=r"split .* 9, .*10"):
        load_graph(NAME, root, split=10)


def test_files_are_recorded_at_first_and_checked_ever_after(root, monkeypatch):
    write_webkb(root)
    assert resolve_dataset(NAME, root) == NAME
    lines = (root / NAME / "SHA256SUMS").read_text().splitlines()
    edges = root / NAME / "cornell" / "raw" / "out1_graph_edges.txt"
    assert f"{hashlib.sha256(edges.read_bytes()).hexdigest()}  cornell/raw/out1_graph_edges.txt" in lines
    load_graph(NAME, root)
    (processed,) = (root / NAME).rglob("data.pt")
    processed.write_bytes(processed.read_bytes()[:-1] + b"x")
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was opened"))
    for function in (resolve_dataset, load_graph):
        with pytest.raises(DataError, match=r"data.pt"):
            function(NAME, root)
    processed.unlink()
    with pytest.raises(DataError, match=r"data.pt .*\(no file\)"):
        resolve_dataset(NAME, root)


class Touch(str):
    """Unpickling one of these creates the file of that name."""

    def __reduce__(self):
        return Path.touch, (Path(str(self)),)


def test_a_pickle_is_opened_only_if_its_checksum_was_recorded_before(root, tmp_path):
    raw = root / "BA2MotifDataset" / "raw"
    raw.mkdir(parents=True)
    (raw / "BA-2motif.pkl").write_bytes(pickle.dumps(Touch(tmp_path / "witness")))
    with pytest.raises(DataError, match=r"BA2MotifDataset .*pickles.* SHA256SUMS"):
        resolve_dataset("BA2MotifDataset", root)
    assert not (tmp_path / "witness").exists() and not (raw.parent / "SHA256SUMS").exists()
    line = f"{hashlib.sha256((raw / 'BA-2motif.pkl').read_bytes()).hexdigest()}  raw/BA-2motif.pkl\n"
    (raw.parent / "SHA256SUMS").write_text(line)
    with pytest.raises(DataError, match="BA2MotifDataset"):  # it is no data set, but was opened
        resolve_dataset("BA2MotifDataset", root)
    assert (tmp_path / "witness").exists()
    pickle.loads(pickle.dumps(Touch(tmp_path / "another")))  # the caller's own pickles are not looked at
    assert (tmp_path / "another").exists()


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # PyTorch Geometric leaves it open
def test_arrays_of_objects_are_pickles_too(root):
    file = root / "FacebookPagePage" / "raw" / "facebook.npz"
    file.parent.mkdir(parents=True)
    edges, y = np.array([[0, 1], [1, 2], [2, 3], [3, 4], [4, 5]]), np.array([0, 0, 0, 1, 1, 1])
    np.savez(file, edges=edges, target=y, features=np.eye(6, dtype=np.float32).astype(object))
    with pytest.raises(DataError, match="pickles"):
        resolve_dataset("FacebookPagePage", root)
    np.savez(file, edges=edges, target=y, features=np.eye(6, dtype=np.float32))
    assert load_graph("FacebookPagePage", root).x.equal(torch.eye(6))
    gc.collect()


def test_raw_files_with_recorded_checksums_are_read_and_the_rest_is_recorded(root):
    write_webkb(root)
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest().upper()} *./{path.relative_to(root / NAME)}\r\n"
        for path in (root / NAME).rglob("*")
        if path.is_file()
    ]
    (root / NAME / "SHA256SUMS").write_text("".join(lines), newline="")
    for _ in range(2):
        assert load_graph(NAME, root).num_nodes == 6
    assert len((root / NAME / "SHA256SUMS").read_text().splitlines()) > len(lines)


def test_a_pipe_among_raw_files_is_named_and_not_waited_for(root):
    write_webkb(root)
    (pipe := root / NAME / "cornell" / "raw" / "out1_graph_edges.txt").unlink()
    os.mkfifo(pipe)
    with pytest.raises(DataError, match=str(pipe)):
        resolve_dataset(NAME, root)


def test_a_name_with_hyphens_and_an_argument_that_is_a_number(root):
    raw = root / "HeterophilousGraphDataset-Roman-empire" / "roman_empire" / "raw"
    raw.mkdir(parents=True)
    masks = np.zeros((10, 6), dtype=bool)
    parts = {f"{part}_masks": masks.copy() for part in ("train", "val", "test")}
    for i, part in enumerate(parts.values()):
        part[:, i::3] = True
    edges, y = np.array([[0, 1], [1, 2], [3, 4], [4, 5]]), np.array([0, 0, 0, 1, 1, 1])
    np.savez(raw / "roman_empire.npz", node_features=np.eye(6), node_labels=y, edges=edges, **parts)
    assert load_graph("HeterophilousGraphDataset-Roman-empire", root).test_mask.tolist() == [0, 0, 1] * 2
    raw = root / "MixHopSyntheticDataset-0.5" / "0.5" / "raw"
    raw.mkdir(parents=True)
    np.save(raw / "ind.n5000-h0.5-c10.allx.npy", np.eye(6))
    np.save(raw / "ind.n5000-h0.5-c10.ally.npy", np.eye(2)[y])
    (raw / "ind.n5000-h0.5-c10.graph").write_bytes(pickle.dumps({0: [1, 2], 1: [0], 2: [0, 3], 3: [2]}))
    with pytest.raises(DataError, match=r"MixHopSyntheticDataset-0\.5"):  # its split is for 5,000 nodes
        load_graph("MixHopSyntheticDataset-0.5", root)


@pytest.mark.parametrize(
    "name",
    """MixHopSyntheticDataset MixHopSyntheticDataset-half WebKB KarateClub-x Actor-x Planetoid-Cora BAShapes
    RandomPartitionGraphDataset StochasticBlockModelDataset-3""".split(),
)
def test_a_name_that_says_too_little_or_too_much_is_refused_before_anything_is_made(name, root):
    with pytest.raises((ValueError, DataError), match=name):
        resolve_dataset(name, root)
    assert not list(root.glob("*"))


PORTAL = b"<!DOCTYPE html><html><body>Please log in</body></html>"


@pytest.mark.parametrize("content", [b"", PORTAL, b"PK\x03\x04\x14\x00"])
@pytest.mark.parametrize(
    "name",
    "Actor WebKB-Cornell Amazon-Photo NELL PPI LINKXDataset-penn94 EmailEUCore FB15k_237 PolBlogs".split(),
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # PyG's files stay open
def test_whatever_a_server_answers_is_one_sentence_and_nothing_is_kept(name, content, root, monkeypatch):
    def answer(url, *_, context=None, **__):
        assert context.verify_mode == ssl.CERT_REQUIRED and context.check_hostname
        return io.BytesIO(content)

    monkeypatch.setattr("urllib.request.urlopen", answer)
    with pytest.raises(DataError, match=name) as caught:
        resolve_dataset(name, root)
    assert "\n" not in str(caught.value) and ".part-" not in str(caught.value)
    assert list(root.iterdir()) == []
    del caught
    gc.collect()


def test_without_files_and_network_it_says_so_and_leaves_nothing(root, monkeypatch):
    def refuse(*_, **__):
        raise OSError("no network here")

    monkeypatch.setattr(torch_geometric.datasets.Actor, "download", refuse)
    with pytest.raises(DataUnavailableError, match="no network here"):
        resolve_dataset("Actor", root)
    assert list(root.iterdir()) == []
    with pytest.raises(DataError, match="WebKB-Oxford"):  # a name that the class does not know
        resolve_dataset("WebKB-Oxford", root)


@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        ({"y": [0] * 6}, r"\[0\]"),
        ({"y": [0, 0, 2, 2, 0, 2]}, r"\[0, 2\]"),
        ({"y": [-1, 0, 1, -1, 0, 1]}, r"\[-1, 0, 1\]"),
        ({"first": "nan"}, "finite"),
        ({"first": "inf"}, "finite"),
        ({"first": "word"}, "word"),
        ({"edges": "2\t2\n"}, "edge"),
        ({"edges": "0\t6\n"}, "0 to 5"),
        ({"parts": [1, 2, 1, 2, 1, 2]}, "train_mask"),
    ],
)
def test_a_graph_that_cannot_be_trained_on_is_refused_with_the_reason(faults, reason, root):
    write_webkb(root, **faults)
    with pytest.raises(DataError, match=reason):
        load_graph(NAME, root)


def test_the_karate_club_trains():
    graph = load_graph("KarateClub")
    (result,) = train([Config(dataset="KarateClub", num_layers=2, hidden_channels=4, epochs=60, lr=0.05)])
    assert graph.train_mask.sum() == 4 and graph.val_mask.sum() == 15 and graph.test_mask.sum() == 15
    assert result["run"]["test_acc"] > graph.y.bincount().max().item() / 34
