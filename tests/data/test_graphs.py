import re
import shutil

import pytest
import torch
from torch_geometric.datasets import Planetoid

from deadgcn.data import graphs as data
from deadgcn.data.graphs import DataError, load_graph, resolve_dataset
from deadgcn.data.own import normalized_adjacency
from deadgcn.data.synthetic import synthetic_cora

REAL_SHARED = data.SHARED  # before `offline` replaces it
pytestmark = pytest.mark.usefixtures("offline")


def real_root(name, root):
    """A fresh root with the real raw files of a data set."""
    for folder in (data.PROJECT / "data" / name / "raw", REAL_SHARED / name / "raw"):
        if len(list(folder.glob(f"ind.{name.lower()}.*"))) == len(data.RAW_PARTS):
            shutil.copytree(folder, root / name / "raw")
            return root
    pytest.skip(f"the raw files of {name} are not on this machine")


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


@pytest.mark.parametrize("function", [load_graph, resolve_dataset])
@pytest.mark.parametrize(
    "name",
    ["cora", "", "Karate", "KarateClub-x", "Amazon", "FakeDataset", "Actor-../x", "WebKB-../x"],
)
def test_unknown_names_are_refused(function, name, root):
    with pytest.raises((ValueError, DataError), match=re.escape(name or "''")):
        function(name, root)
    assert not list(root.glob("*"))


def test_auto_is_refused_where_it_means_nothing(root):
    with pytest.raises(ValueError, match="'auto'"):
        load_graph("auto", root)


def test_twin_is_loaded_by_name_without_files(root):
    assert load_graph("SyntheticCora", root).num_nodes == 2708
    assert not root.exists()


PATH = [[2, 0, 1, 1], [1, 1, 2, 0]]  # 0 - 1 - 2; node 3 is isolated


def test_normalized_adjacency_by_hand():
    adjacency = normalized_adjacency(torch.tensor(PATH), 4)
    off = 6**-0.5  # degrees with self-loops are 2, 3, 2, 1
    expected = [[1 / 2, off, 0, 0], [off, 1 / 3, off, 0], [0, off, 1 / 2, 0], [0, 0, 0, 1]]
    assert adjacency.layout == torch.sparse_csr and adjacency.dtype == torch.float32
    assert adjacency.crow_indices().tolist() == [0, 2, 5, 7, 8]
    assert adjacency.col_indices().tolist() == [0, 1, 0, 1, 2, 1, 2, 3]
    torch.testing.assert_close(adjacency.to_dense(), torch.tensor(expected))


def test_normalized_adjacency_is_the_dense_formula_and_symmetric():
    edges = synthetic_cora(200).edge_index
    with_loops = torch.eye(200, dtype=torch.float64)
    with_loops[edges[0], edges[1]] = 1
    scale = with_loops.sum(1).rsqrt().diag()
    repeated = torch.cat([edges, edges[:, :9], edges[:, :9].flip(0), torch.tensor([[3], [3]])], dim=1)
    for given in (edges, repeated):  # duplicates and self-loops count once
        adjacency = normalized_adjacency(given, 200).to_dense()
        torch.testing.assert_close(adjacency, (scale @ with_loops @ scale).float())
        assert adjacency.equal(adjacency.T)
    assert normalized_adjacency(edges[:, :0], 3).to_dense().equal(torch.eye(3))


def test_normalized_adjacency_refuses_one_way_edges_and_unknown_nodes():
    with pytest.raises(ValueError, match=r"edge_index .*both directions"):
        normalized_adjacency(torch.tensor([[0, 1, 1], [1, 0, 2]]), 3)
    with pytest.raises(ValueError, match=r"edge_index.* 0 to 1.* 0 to 2"):
        normalized_adjacency(torch.tensor(PATH), 2)
