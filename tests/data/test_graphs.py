import re
import shutil

import pytest
import torch
from scipy.sparse.csgraph import connected_components
from torch_geometric.datasets import Planetoid
from torch_geometric.utils import homophily, to_scipy_sparse_matrix

from deadgcn.data import graphs as data
from deadgcn.data.graphs import check_name, load_graph, normalized_adjacency, resolve_dataset

ON_DISK = (data.PROJECT / "data", data.SHARED)
pytestmark = pytest.mark.usefixtures("offline")


def real_root(name, root):
    """A fresh root with the real raw files of a data set."""
    for folder in ON_DISK:
        files = list((folder / name / "raw").glob(f"ind.{name.lower()}.*"))
        if len(files) == len(data.RAW_PARTS):
            (root / name / "raw").mkdir(parents=True)
            for file in files:
                shutil.copyfile(file, root / name / "raw" / file.name)
            return root
    pytest.skip(f"the raw files of {name} are not on this machine")


# The real graphs


def test_cora_has_its_published_facts(root):
    graph = load_graph("Cora", real_root("Cora", root))
    assert graph.x.shape == (2708, 1433)
    assert set(graph.x.unique().tolist()) == {0.0, 1.0}
    assert graph.x.sum(1).mean().item() == pytest.approx(18.17, abs=0.005)
    assert graph.edge_index.shape == (2, 10_556)
    assert graph.y.bincount().tolist() == [351, 217, 418, 818, 426, 298, 180]
    masks = (graph.train_mask, graph.val_mask, graph.test_mask)
    assert [int(mask.sum()) for mask in masks] == [140, 500, 1000]
    assert graph.y[graph.train_mask].bincount().tolist() == [20] * 7
    assert graph.y[graph.test_mask].bincount().tolist() == [130, 91, 144, 319, 149, 103, 64]
    assert homophily(graph.edge_index, graph.y) == pytest.approx(0.810, abs=0.0005)
    assert connected_components(to_scipy_sparse_matrix(graph.edge_index))[0] == 78


def test_citeseer_has_its_published_facts(root):
    graph = load_graph("CiteSeer", real_root("CiteSeer", root))
    assert graph.x.shape == (3327, 3703)
    assert graph.edge_index.shape == (2, 2 * 4552)
    assert graph.y.bincount().tolist() == [264, 590, 668, 701, 596, 508]
    assert homophily(graph.edge_index, graph.y) == pytest.approx(0.736, abs=0.0005)


@pytest.mark.parametrize("name", ["Cora", "CiteSeer"])
def test_graph_is_planetoids_and_processed_copies_are_not_read(name, root):
    expected = Planetoid(str(real_root(name, root)), name)[0]
    processed = root / name / "processed" / "data.pt"
    assert processed.exists()
    processed.write_bytes(b"garbage")
    graph = load_graph(name, root)
    assert set(graph.keys()) == set(expected.keys())
    for key, value in expected.to_dict().items():
        assert graph[key].dtype == value.dtype
        assert graph[key].equal(value), key
    assert processed.read_bytes() == b"garbage"


# Names, sizes and seeds


@pytest.mark.parametrize("function", [check_name, load_graph, resolve_dataset])
@pytest.mark.parametrize(
    "name",
    ["cora", "", None, 3, "Karate", "KarateClub-x", "Amazon", "FakeDataset", "Actor-../x", "WebKB-../x"],
)
def test_unknown_names_are_refused(function, name):
    with pytest.raises(ValueError, match=re.escape(f"{name!r} was passed")):
        function(name)


def test_auto_is_a_name_only_where_it_is_asked_for():
    check_name("auto", auto=True)
    for function in (check_name, load_graph):
        with pytest.raises(ValueError, match="'auto'"):
            function("auto")


@pytest.mark.parametrize("settings", [{"num_nodes": 2708}, {"seed": 1}])
def test_real_graphs_have_no_size_or_seed(settings, root):
    with pytest.raises(ValueError, match="for 'SyntheticCora' only"):
        load_graph("Cora", root, **settings)


def test_twin_is_loaded_by_name_size_and_seed(root):
    graph = load_graph("SyntheticCora", root, num_nodes=300)
    other = load_graph("SyntheticCora", root, num_nodes=300, seed=1)
    assert graph.num_nodes == 300
    assert not graph.x.equal(other.x)
    assert load_graph("SyntheticCora").num_nodes == 2708
    assert not root.exists()


# The normalised adjacency of the path 0 - 1 - 2 and the isolated node 3

PATH = [[2, 0, 1, 1], [1, 1, 2, 0]]


def test_normalized_adjacency_by_hand():
    adjacency = normalized_adjacency(torch.tensor(PATH), 4)
    off = 6**-0.5  # degrees with self-loops are 2, 3, 2, 1
    expected = [[1 / 2, off, 0, 0], [off, 1 / 3, off, 0], [0, off, 1 / 2, 0], [0, 0, 0, 1]]
    assert adjacency.layout == torch.sparse_csr and adjacency.dtype == torch.float32
    assert adjacency.crow_indices().tolist() == [0, 2, 5, 7, 8]
    assert adjacency.col_indices().tolist() == [0, 1, 0, 1, 2, 1, 2, 3]
    torch.testing.assert_close(adjacency.to_dense(), torch.tensor(expected))


def test_normalized_adjacency_takes_duplicates_and_self_loops_once():
    plain = normalized_adjacency(torch.tensor(PATH), 4).to_dense()
    doubled = [[2, 0, 1, 1, 0, 3, 3], [1, 1, 2, 0, 1, 3, 3]]
    assert normalized_adjacency(torch.tensor(doubled), 4).to_dense().equal(plain)
    assert normalized_adjacency(torch.empty(2, 0, dtype=torch.long), 3).to_dense().equal(torch.eye(3))


def test_normalized_adjacency_is_the_dense_formula_and_symmetric():
    graph = load_graph("SyntheticCora", num_nodes=200)
    adjacency = normalized_adjacency(graph.edge_index, 200).to_dense()
    with_loops = torch.eye(200, dtype=torch.float64)
    with_loops[graph.edge_index[0], graph.edge_index[1]] = 1
    scale = with_loops.sum(1).rsqrt().diag()
    torch.testing.assert_close(adjacency, (scale @ with_loops @ scale).float())
    assert adjacency.equal(adjacency.T)


def test_normalized_adjacency_refuses_one_way_edges_and_unknown_nodes():
    with pytest.raises(ValueError, match="some edge has no reverse"):
        normalized_adjacency(torch.tensor([[0, 1, 1], [1, 0, 2]]), 3)
    with pytest.raises(ValueError, match="from 0 to 1, but it spans 0 to 2"):
        normalized_adjacency(torch.tensor(PATH), 2)
