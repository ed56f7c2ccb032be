"""Graphs of one's own: what is legal, the split that is made, the name, and what the cache knows them by."""

import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.utils import is_undirected

from deadgcn.data.graphs import DataError, load_graph
from deadgcn.data.own import Content, checked, complete, normalized_adjacency
from deadgcn.experiments import grid as module
from deadgcn.experiments.grid import grid, run_grid

SMALL = {"epochs": 3, "hidden_channels": 4, "num_layers": 2}


def six(**changes):
    """A path through six nodes of two classes; each third node trains, validates or tests."""
    parts = torch.arange(6) % 3
    data = {"x": torch.arange(12.0).view(6, 2), "y": torch.tensor([0, 0, 0, 1, 1, 1])}
    data |= {"edge_index": torch.stack([torch.arange(5), torch.arange(1, 6)])}
    data |= {f"{name}_mask": parts == part for part, name in enumerate(("train", "val", "test"))}
    return Data(**{key: value for key, value in (data | changes).items() if value is not None})


def test_what_training_needs_is_kept_and_edges_get_both_directions():
    graph = checked(six(x=torch.eye(6).to_sparse(), edge_attr=torch.ones(5, 1), name="mine"))
    assert set(graph.keys()) == {"x", "y", "edge_index", "train_mask", "val_mask", "test_mask"}
    assert torch.equal(graph.x, torch.eye(6)) and graph.num_edges == 10 and is_undirected(graph.edge_index)
    assert torch.equal(graph.train_mask, six().train_mask)
    learned = six(x=torch.eye(6).requires_grad_())
    assert not checked(learned).x.requires_grad
    assert Content.of(learned) == Content.of(six(x=torch.eye(6)))
    double = checked(
        six(x=torch.eye(6, dtype=torch.float64), y=six().y.int(), edge_index=six().edge_index.int())
    )
    assert double.x.dtype == torch.float32 and double.y.dtype == double.edge_index.dtype == torch.int64


FAULTS = {
    "x of no node": ({"x": None}, "x"),
    "x of one dimension": ({"x": torch.ones(6)}, r"x \[N, F\]"),
    "nan": (
        {"x": torch.ones(6, 2).where(torch.arange(12).view(6, 2) != 3, torch.nan)},
        "feature 1 of node 1 .*nan",
    ),
    "beyond float32": ({"x": torch.full((6, 2), -1e300, dtype=torch.float64)}, "float32.*-1e.300"),
    "complex": ({"x": torch.ones(6, 2, dtype=torch.complex64)}, "real numbers"),
    "y of others": ({"y": torch.arange(5) % 2}, r"y .*\[6\].*\[5\]"),
    "y one-hot": ({"y": torch.eye(6)}, r"y .*\[6, 6\]"),
    "y of floats": ({"y": torch.rand(6)}, "float32"),
    "a class below 0": ({"y": torch.tensor([-1, 0, 1, 0, 1, 1])}, r"\[-1, 0, 1\]"),
    "a class that no node has": ({"y": torch.tensor([0, 2, 2, 0, 0, 2])}, r"\[0, 2\]"),
    "one class": ({"y": torch.zeros(6, dtype=torch.long)}, r"\[0\]"),
    "edges in rows": ({"edge_index": torch.zeros(5, 2, dtype=torch.long)}, r"\[5, 2\]"),
    "an edge outside": ({"edge_index": torch.tensor([[0], [6]])}, "0 to 5.*0 to 6"),
    "self-loops only": ({"edge_index": torch.tensor([[0], [0]])}, "no edge"),
    "no edges": ({"edge_index": torch.zeros(2, 0, dtype=torch.long)}, "no edge"),
    "a mask of numbers": ({"val_mask": torch.tensor([0, 1, 0, 0, 1, 0])}, "val_mask .*int64"),
    "a mask of others": ({"val_mask": torch.ones(5, dtype=torch.bool)}, r"val_mask .*\[5\]"),
    "an empty part": ({"test_mask": torch.zeros(6, dtype=torch.bool)}, "test_mask"),
    "two parts at once": ({"test_mask": six().train_mask}, "node 0"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_not_legal_is_one_sentence(fault, tmp_path, monkeypatch):
    changes, told = FAULTS[fault]
    with pytest.raises(DataError, match=rf"MyGraph .*{told}") as error:
        run_grid(grid(["ReLU"], **SMALL), graph=six(**changes), name="MyGraph")
    assert "\n" not in str(error.value)


def test_the_split_is_fixed_and_its_sizes_are_those_of_the_rule():
    y = torch.arange(7).repeat_interleave(100)
    train_mask, val_mask, test_mask = complete(y).values()
    assert y[train_mask].bincount().tolist() == [20] * 7 and val_mask.sum() == 210
    assert (train_mask.int() + val_mask.int() + test_mask.int() == 1).all()
    assert all(map(torch.equal, complete(y).values(), (train_mask, val_mask, test_mask)))


@pytest.mark.parametrize("missing", [["train"], ["val"], ["test"], ["train", "test"], ["val", "test"]])
def test_masks_that_are_there_are_kept_and_the_others_take_other_nodes(missing):
    y = torch.arange(2).repeat(50)
    given = {key: mask for key, mask in complete(y).items() if key.removesuffix("_mask") not in missing}
    given = {key: mask & (torch.arange(100) % 4 > 0) for key, mask in given.items()}
    masks = complete(y, **given)
    assert all(torch.equal(masks[key], mask) for key, mask in given.items())
    assert all(mask.any() for mask in masks.values())
    assert (sum(mask.int() for mask in masks.values()) <= 1).all()


def test_splits_are_columns_and_each_has_its_own_runs(twin):
    graph = twin.clone()
    for key in ("train_mask", "val_mask", "test_mask"):
        graph[key] = torch.stack([twin[key], twin[key].roll(7)], 1)
    runs = run_grid(grid(["ReLU"], split=[0, 1], **SMALL), graph=graph, name="Twin", cache=None).runs
    assert runs["split"].tolist() == [0, 1] and runs["dataset"].tolist() == ["Twin", "Twin"]
    first = run_grid(grid(["ReLU"], **SMALL), graph=twin, name="Twin", cache=None).runs
    assert runs["val_acc_last"][0] == first["val_acc_last"][0] != runs["val_acc_last"][1]
    with pytest.raises(DataError, match=r"split must be 0 to 1.*2"):
        run_grid(grid(["ReLU"], split=2, **SMALL), graph=graph, name="Twin")
    with pytest.raises(DataError, match="one split only"):
        run_grid(grid(["ReLU"], split=1, **SMALL), graph=twin, name="Twin")


def test_finished_runs_are_found_by_content(twin, tmp_path, monkeypatch):
    trained, train = [], module.train
    monkeypatch.setattr(module, "train", lambda *a, **k: trained.append(1) or train(*a, **k))

    def run(graph):
        configs = grid(["ReLU"], **SMALL)
        return run_grid(configs, graph=graph, name="Twin", n_jobs=1, cache=tmp_path).runs

    first = run(twin)
    assert run(twin.clone()).equals(first) and len(trained) == 1
    other = twin.clone()
    other.x[3, 5] += 1
    assert Content.of(other).digest != Content.of(twin).digest
    run(other)
    other.test_mask[other.test_mask.nonzero()[0]] = False  # changed in place
    run(other)
    assert len(trained) == 3


@pytest.mark.parametrize("name", ["Cora", "KarateClub", "Amazon-Photo", "../up", "", "my graph", "<b>"])
def test_a_name_is_plain_and_of_no_other_data_set(twin, name):
    with pytest.raises(ValueError, match="name"):
        run_grid(grid(["ReLU"], **SMALL), graph=twin, name=name)


def test_a_graph_needs_a_name_and_a_name_a_graph(twin):
    for given in ({"graph": twin}, {"name": "MyGraph"}):
        with pytest.raises(ValueError, match="name"):
            run_grid(grid(["ReLU"], **SMALL), **given)


class Trap:
    """Runs code when a pickle of it is opened."""

    def __reduce__(self):
        return pytest.fail, ("its code ran",)


@pytest.mark.parametrize(
    "content", [b"", b"PK", {"x": torch.ones(2)}, [Trap()]], ids=["empty", "cut", "dict", "code"]
)
def test_a_file_that_holds_no_graph_is_refused_and_nothing_in_it_runs(content, tmp_path):
    path = tmp_path / "Mine.pt"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(DataError, match=r"Mine.pt"):
        load_graph(str(path))


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.bool, torch.int8])
def test_features_of_any_kind_train_as_their_numbers(kind, twin):
    graph = twin.clone()
    graph.x = twin.x.to(kind)  # words: 0 or 1
    found, expected = (
        run_grid(grid(["ReLU"], **SMALL), graph=data, name="Twin", cache=None) for data in (graph, twin)
    )
    assert found.layers.equals(expected.layers)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.ones(300, 3, dtype=torch.float8_e4m3fn)}, "real numbers"),
        ({"x": torch.ones(300, 3, device="meta")}, "real numbers"),
        ({"train_mask": torch.tensor(True)}, r"train_mask .*\[\]"),
        ({"train_mask": torch.zeros(300, 0, dtype=torch.bool)}, r"train_mask .*\[300, 0\]"),
        ({"val_mask": [True] * 300}, "val_mask .*list"),
    ],
)
def test_what_is_no_tensor_of_numbers_is_refused(change, message, twin):
    graph = Data(**twin.to_dict() | change)
    with pytest.raises(DataError, match=message):
        run_grid(grid(["ReLU"], **SMALL), graph=graph, name="Twin", cache=None)


@pytest.mark.parametrize("num_nodes", [None, "3", 3.0, 0, -1])
def test_a_number_of_nodes_that_is_none_is_refused(num_nodes, twin):
    with pytest.raises(ValueError, match=f"num_nodes .*{num_nodes}"):
        normalized_adjacency(twin.edge_index, num_nodes)
