"""Graphs of PyTorch Geometric's collection by name; one that it generates, and one from files made here."""

import hashlib

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
