import pytest
import torch
from torch_geometric.nn import GCN

from deadgcn.data.synthetic import synthetic_cora


@pytest.mark.parametrize("seed", [0, 1])
def test_twin_has_coras_statistics(seed):
    graph = synthetic_cora(seed=seed)
    assert graph.x.shape == (2708, 1433) and graph.x.dtype == torch.float32
    assert set(graph.x.unique().tolist()) == {0.0, 1.0}
    words = graph.x.sum(1)
    assert words.mean().item() == pytest.approx(18.17, abs=0.3)  # three standard errors of 5.5 / sqrt(2708)
    assert words.std().item() == pytest.approx(5.5, abs=0.3)
    assert graph.y.bincount().tolist() == [351, 217, 418, 818, 426, 298, 180]
    assert graph.y[graph.train_mask].bincount().tolist() == [20] * 7
    row, col = graph.edge_index
    assert len(row) == pytest.approx(2 * 5278, rel=0.02)
    assert (graph.y[row] == graph.y[col]).double().mean().item() == pytest.approx(0.81, abs=0.02)


def test_twin_follows_its_seed():
    graph, again, other = (synthetic_cora(300, seed) for seed in (3, 3, 4))
    for key in ("x", "edge_index"):
        assert again[key].equal(graph[key]) and not other[key].equal(graph[key])


@pytest.mark.parametrize("num_nodes", [200, 1639, 3000])
def test_any_size_is_in_proportion_and_its_edges_are_simple_and_reach_every_node(num_nodes):
    graph = synthetic_cora(num_nodes)
    (row, col), shares = graph.edge_index, torch.tensor([351, 217, 418, 818, 426, 298, 180]) / 2708
    edges = set(zip(row.tolist(), col.tolist(), strict=True))
    assert len(edges) == len(row) == pytest.approx(2 * 5278 * num_nodes / 2708, rel=0.1)
    assert all(a != b and (b, a) in edges for a, b in edges)
    assert set(row.tolist()) == set(range(num_nodes))
    assert (graph.y.bincount() - shares * num_nodes).abs().max() < 1


@pytest.mark.parametrize("num_nodes", [199, 0, -5, 300.0, "300", True])
def test_size_must_be_a_whole_number_from_200(num_nodes):
    with pytest.raises(ValueError, match=f"num_nodes .*200.*{num_nodes!r}"):
        synthetic_cora(num_nodes)


def accuracy(model, graph, *inputs):
    """Test accuracy after a short training."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02, weight_decay=5e-4)
    for _ in range(50):
        optimizer.zero_grad()
        logits = model(*inputs)
        torch.nn.functional.cross_entropy(logits[graph.train_mask], graph.y[graph.train_mask]).backward()
        optimizer.step()
    return (logits.argmax(1) == graph.y)[graph.test_mask].float().mean().item()


def test_edges_and_words_tell_as_much_as_coras():  # 0.81 and 0.48
    graph = synthetic_cora()
    torch.manual_seed(0)
    model = GCN(1433, 16, num_layers=2, out_channels=7)
    assert 0.75 <= accuracy(model, graph, graph.x, graph.edge_index) <= 0.87
    assert 0.40 <= accuracy(torch.nn.Linear(1433, 7), graph, graph.x) <= 0.60
