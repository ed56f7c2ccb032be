"""What a config means on a graph, and a saved run's network built again."""

import numpy as np
import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.transforms import NormalizeFeatures

from deadgcn.config import Config
from deadgcn.experiments.measure import measure
from deadgcn.experiments.tables import Tables, load_model
from deadgcn.gcn.build import as_seen, build, on_device
from deadgcn.gcn.records import LAYER_COLUMNS
from deadgcn.gcn.training import train

SMALL = {"num_layers": 3, "hidden_channels": 8, "epochs": 8}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"normalize_features": True},
        {"propagation": 0.0},
        {"strip": True, "dropout": 0.5, "input_dropout": 0.5},
        {"act": "leaky_relu", "negative_slope": 0.3, "bias": False},
        {"act": "elu"},
        {"propagation": 0.25, "init": "looks_linear"},
        {"intervention": "silence", "dose": 0.5},
    ],
)
def test_pygs_model_of_a_run_has_all_its_recorded_numbers(settings, twin, tmp_path):
    """From the tables and from a file; its measures are those of the tables of layers."""
    config = Config(seed=4, **(SMALL | settings))
    (result,) = train([config], twin)
    tables = Tables.from_results([config], [result])
    for model in (tables.model(), load_model(tables.save_checkpoints(tmp_path)[0])):
        correct = (model(twin.x, twin.edge_index).argmax(1) == twin.y).double()
        for name, mask in (("val_acc", twin.val_mask), ("test_acc", twin.test_mask)):
            assert correct[mask].mean().item() == pytest.approx(result["run"][name], abs=1e-6)
        for name, values in measure(model, twin)[LAYER_COLUMNS].items():
            np.testing.assert_allclose(values, result["best"][name], rtol=2e-4, err_msg=name)


def test_the_networks_are_those_of_the_settings(twin):
    config = Config(num_layers=2, hidden_channels=5, bias=False, dropout=0.1, input_dropout=0.2, act="tanh")
    model = build([config, config.model_copy(update={"seed": 7})], twin)
    assert [tuple(p.shape) for p in model.parameters()] == [(2, 7, 5), (2, 7), (2, 5, 1433), (2, 5, 5)]
    assert (model.seeds, model.dropout, model.input_dropout) == ((0, 7), 0.1, 0.2)
    z = torch.randn(4, 5)
    assert torch.equal(model.own_act(z), z.tanh())


def test_normalized_features_are_pygs(twin):
    graph = twin.clone()
    graph.x[5] = 0  # a node without words
    graph.x[9] *= 3
    seen, _ = as_seen(graph, True, 1.0)
    assert seen.x.sum(1).tolist() == pytest.approx((graph.x.sum(1) > 0).float().tolist(), abs=1e-6)
    assert graph.x[9].max() == 3  # the caller's features stay
    assert torch.equal(seen.x, NormalizeFeatures()(graph).x)


@pytest.mark.parametrize("share", [0, 0.25, 1])
def test_a_share_of_the_graph_by_hand(share):
    """Nodes 0 and 1 have an edge, so each averages over both; node 2 is alone."""
    graph = Data(torch.eye(3), torch.tensor([[0, 1], [1, 0]]))
    half = share / 2
    expected = [[1 - half, half, 0], [half, 1 - half, 0], [0, 0, 1]]
    torch.testing.assert_close(as_seen(graph, False, share)[1].to_dense(), torch.tensor(expected))


def test_reordered_nodes_are_the_same_graph(twin):
    graph, adj, structure = on_device(twin, torch.device("cpu"), False, 1.0)
    plain, plain_adj = as_seen(twin, False, 1.0)
    order = torch.cdist(graph.x, plain.x).argmin(1)  # the old number of each node, by its words
    assert len(order.unique()) == twin.num_nodes and not torch.equal(order, order.sort().values)
    for name in ("x", "y", "train_mask", "val_mask", "test_mask"):
        assert torch.equal(graph[name], plain[name][order])
    assert torch.equal(adj.to_dense(), plain_adj.to_dense()[order][:, order])
    assert torch.equal(structure.ends.bincount(), (adj.to_dense() > 0).sum(1) - 1)


def test_the_first_layers_gain_scales_its_weights_only(twin):
    plain, scaled = (
        build([Config(num_layers=2, seed=s, first_gain=gain) for s in (0, 3)], twin) for gain in (1, 0.1)
    )
    torch.testing.assert_close(scaled.weights[0], 0.1 * plain.weights[0])
    assert torch.equal(scaled.weights[1], plain.weights[1]) and torch.equal(
        scaled.head_weight, plain.head_weight
    )
    depth_0 = [build([Config(num_layers=0, first_gain=gain)], twin).head_weight for gain in (1, 0.1)]
    assert torch.equal(*depth_0)
