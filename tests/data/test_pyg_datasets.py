"""Graphs of PyTorch Geometric's collection by name; one that it generates, and one from files made here."""

import hashlib

import numpy as np
import pytest
import torch
import torch_geometric.datasets
from torch_geometric.utils import is_undirected

from deadgcn.config import Config
from deadgcn.data import graphs as data
from deadgcn.data.graphs import DataError, DataUnavailableError, load_graph, resolve_dataset
from deadgcn.data.pyg import split
from deadgcn.experiments.grid import grid, run_grid

NAME = "WebKB-Cornell"


@pytest.fixture
def webkb(root):
    """The text files that PyTorch Geometric would download for it: 6 nodes, 2 classes, directed edges."""
    raw = root / NAME / "cornell" / "raw"
    raw.mkdir(parents=True)
    nodes = "\n".join(f"{i}\t{i % 2},1,{i // 3}\t{i // 3}" for i in range(6))
    (raw / "out1_node_feature_label.txt").write_text(f"node_id\tfeature\tlabel\n{nodes}\n")
    (raw / "out1_graph_edges.txt").write_text("a\tb\n0\t1\n1\t2\n3\t4\n4\t5\n2\t3\n")
    for i in range(10):
        masks = {
            f"{part}_mask": np.eye(3)[np.arange(6) % 3][:, k]
            for k, part in enumerate(("train", "val", "test"))
        }
        masks = masks if i == 0 else {name: 1 - mask for name, mask in masks.items()}
        np.savez(raw / f"cornell_split_0.6_0.2_{i}.npz", **masks)
    return root


def test_files_are_read_as_pyg_reads_them_with_both_directions_and_the_first_split(webkb):
    graph = load_graph(NAME, webkb)
    theirs = torch_geometric.datasets.WebKB(str(webkb / NAME), "Cornell")[0]
    assert torch.equal(graph.x, theirs.x) and torch.equal(graph.y, theirs.y)
    assert graph.x.tolist()[5] == [1, 1, 1] and graph.y.tolist() == [0, 0, 0, 1, 1, 1]
    assert theirs.num_edges == 5 and graph.num_edges == 10 and is_undirected(graph.edge_index)
    assert graph.train_mask.tolist() == [True, False, False] * 2 and graph.val_mask.dim() == 1


def test_files_are_recorded_at_first_and_checked_ever_after(webkb, monkeypatch):
    assert resolve_dataset(NAME, webkb) == NAME
    lines = (webkb / NAME / "SHA256SUMS").read_text().splitlines()
    edges = webkb / NAME / "cornell" / "raw" / "out1_graph_edges.txt"
    assert f"{hashlib.sha256(edges.read_bytes()).hexdigest()}  cornell/raw/out1_graph_edges.txt" in lines
    assert any("processed" in line for line in lines)
    load_graph(NAME, webkb)
    (processed,) = (webkb / NAME).rglob("data.pt")
    processed.write_bytes(processed.read_bytes()[:-1] + b"x")
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was opened"))
    for function in (resolve_dataset, load_graph):
        with pytest.raises(DataError, match=r"data.pt is not as it was when WebKB-Cornell was first used"):
            function(NAME, webkb)


def test_a_file_that_came_later_or_went_is_noticed(webkb):
    resolve_dataset(NAME, webkb)
    (extra := webkb / NAME / "new.pt").write_bytes(b"")
    with pytest.raises(DataError, match=r"new.pt .* of no such file"):
        resolve_dataset(NAME, webkb)
    extra.unlink()
    next((webkb / NAME).rglob("data.pt")).unlink()
    with pytest.raises(DataError, match=r"data.pt .* found no file"):
        resolve_dataset(NAME, webkb)


def test_without_files_and_network_it_says_so_and_leaves_nothing(root, monkeypatch):
    def refuse(*_, **__):
        raise OSError("no network here")

    monkeypatch.setattr(torch_geometric.datasets.Actor, "download", refuse)
    with pytest.raises(DataUnavailableError, match=r"Actor is not available: .*no network here"):
        resolve_dataset("Actor", root)
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("name", ["Karate", "KarateClub-x", "Amazon", "karate", "FakeDataset", "Actor-../x"])
def test_names_that_pyg_does_not_know_or_that_are_random_are_refused(name):
    with pytest.raises(ValueError, match=r"must be one of Cora, .*Amazon-Photo"):
        Config(dataset=name)


def test_a_name_that_the_class_does_not_know_is_refused(root):
    with pytest.raises(DataError, match="WebKB of PyTorch Geometric has no data set named 'Oxford'"):
        resolve_dataset("WebKB-Oxford", root)


def test_the_split_is_fixed_and_its_sizes_are_those_of_the_rule():
    y = torch.arange(7).repeat_interleave(100)
    train, val, test = split(y)
    assert y[train].bincount().tolist() == [20] * 7 and val.sum() == 210 and test.sum() == 350
    assert not (train & val).any() and (train | val | test).all()
    assert all(map(torch.equal, split(y), (train, val, test)))
    few, val, test = split(torch.tensor([0, 0, 0, 1, 1, 1]))
    assert few.sum() == 2 and val.sum() == 2 and test.sum() == 2
    given = torch.tensor([True, False, False, False])
    assert [mask.sum().item() for mask in split(torch.tensor([0, 1, 0, 1]), given)] == [1, 1, 2]


def test_the_karate_club_trains(monkeypatch, root):
    monkeypatch.setattr(data, "PROJECT", root)
    configs = grid(["ReLU"], dataset="KarateClub", num_layers=2, hidden_channels=4, epochs=60, lr=0.05)
    tables = run_grid(configs, n_jobs=1, cache=None)
    graph = load_graph("KarateClub")
    assert graph.train_mask.sum() == 4 and graph.val_mask.sum() == 15 and graph.test_mask.sum() == 15
    assert tables.runs["test_acc"][0] > graph.y.bincount().max().item() / 34
