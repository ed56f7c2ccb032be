"""What is recorded of a network, against PyTorch Geometric's network with the same weights."""

import numpy as np
import pytest
import torch
from gcn.oracle import gradient_norms, network, pyg_network

from deadgcn.gcn.embeddings import Graph
from deadgcn.gcn.engine import Passes
from deadgcn.gcn.model import GCN
from deadgcn.gcn.records import LAYER_COLUMNS, accuracy, balanced_accuracy, measure, result

SMOOTHING = LAYER_COLUMNS[: LAYER_COLUMNS.index("constant")]
SIZES = ("dirichlet_energy", "distance_to_mean", "norm", "normalized_dirichlet_energy")


def autograd_norms(state, graph, act="relu"):
    return gradient_norms(pyg_network(state, act), graph, graph.x, graph.edge_index)


def measured(model, graph, adj):
    structure = Graph(graph.edge_index, graph.num_nodes)
    return measure(Passes(model, graph.x, adj), graph, structure, 1.0)[1]


@pytest.mark.parametrize(("act", "num_layers"), [("relu", 1), ("relu", 4), ("leaky_relu", 4), ("elu", 2)])
@pytest.mark.parametrize("scale", [1, 1e-25])  # at which float32 squares of the gradients are 0
def test_gradient_norms_are_those_of_autograd(scale, act, num_layers, twin, twin_adj):
    model = network(twin, num_layers, act=act)
    with torch.no_grad():
        model.head_weight.mul_(scale)
    layers = measured(model, twin, twin_adj)["layers"]
    norms, sizes = layers["gradient_norm"], torch.stack([w.double().norm(dim=(1, 2)) for w in model.weights])
    np.testing.assert_allclose(layers["weight_norm"], sizes.T.detach(), rtol=1e-6)
    assert norms.shape == (3, num_layers)
    for run in range(3):
        expected = autograd_norms(model.run_state_dict(run), twin, act)
        assert 0 < min(expected) and max(expected) < scale
        assert norms[run].tolist() == pytest.approx(expected, rel=1e-4, abs=0)


def test_a_dead_layer_lets_no_gradient_through(twin, twin_adj):
    model = network(twin, 4)
    with torch.no_grad():
        model.biases[1][1] = -1e6  # of the second run: its second layer is dead
        model.biases[2][1] = 1.0  # what follows it sees a constant
    layers = measured(model, twin, twin_adj)["layers"]
    assert layers["dead_fraction"][1, :3].tolist() == [0, 1, 0]
    # None reaches the dead layer and the one below it; the third's input is 0, so is its weight's gradient.
    assert (layers["gradient_norm"][1] == 0).tolist() == [True, True, True, False]
    assert autograd_norms(model.run_state_dict(1), twin)[:3] == [0, 0, 0]
    assert (layers["gradient_norm"][[0, 2]] > 0).all()
    missing = {name: np.isnan(layers[name][1]).tolist() for name in SMOOTHING}
    assert missing == {name: [False, name not in SIZES, False, False] for name in SMOOTHING}


def test_measuring_leaves_dropout_out_and_draws_nothing(twin, twin_adj):
    plain, dropping = network(twin, 3), network(twin, 3, dropout=0.5, input_dropout=0.5)
    before = [generator.get_state() for generator in dropping.generators]
    expected, found = (measured(m, twin, twin_adj) for m in (plain, dropping.train()))
    for name, values in expected["layers"].items():
        assert np.array_equal(values, found["layers"][name], equal_nan=True), name
    assert all(map(torch.equal, before, (generator.get_state() for generator in dropping.generators)))


def test_constant_layers_are_counted_and_left_out_of_varying_means(twin, twin_adj):
    """Run 0 is as drawn. In run 1 the second layer of four is 0, so the third is its bias."""
    model = network(twin, 4)
    with torch.no_grad():
        model.biases[1][1] = -1e6
        model.biases[2][1] = 1.0
        model.weights[3][2] = torch.nan  # run 2 has diverged
    found = measured(model, twin, twin_adj)
    assert found["layers"]["constant"][:2].tolist() == [[0, 0, 0, 0], [0, 1, 1, 0]]
    assert found["layers"]["constant"][2, :3].tolist() == [0, 0, 0]
    assert np.isnan(found["layers"]["constant"][2, 3])
    never = torch.full((3,), -1)
    stages = dict.fromkeys(("init", "best", "last"), found)
    for run, layers in enumerate(found["layers"]["dead_fraction"]):
        numbers = result(run, model, {}, stages, never, never)["run"]
        varying = [layers.mean(), layers[[0, 3]].mean(), layers[:3].mean()][run]
        for suffix in ("", "_last"):
            assert numbers[f"constant_fraction{suffix}"] == pytest.approx([0, 0.5, np.nan][run], nan_ok=True)
            assert numbers[f"dead_fraction_varying{suffix}"] == pytest.approx(varying)
            assert numbers[f"dead_fraction{suffix}"] == pytest.approx(layers.mean(), nan_ok=True)


@pytest.mark.parametrize(("apart", "constant"), [(0, 1), (1e-2, 1), (1.0, 0)])
def test_nearly_equal_embeddings_are_constant(apart, constant, twin):
    """Of 300 nodes one differs by a share, so the relative distance to the mean is a 17th of that."""
    graph = twin.clone()
    graph.x = torch.ones(twin.num_nodes, 2)
    graph.x[0] += apart
    model = GCN(2, 4, 7, 1)
    model.weights[0].data.fill_(1.0)
    adj = torch.eye(twin.num_nodes).to_sparse_csr()
    assert measured(model, graph, adj)["layers"]["constant"].tolist() == [[constant]]


def test_balanced_accuracy_by_hand():
    y, nodes = torch.tensor([0, 0, 0, 0, 2, 2, 1, 1]), torch.arange(6)  # nodes of classes 0 and 2
    answers = torch.tensor([[0, 0, 0, 0, 0, 0, 1, 1], [0, 1, 1, 1, 2, 1, 1, 1], [2] * 8, [1] * 8])
    logits = torch.nn.functional.one_hot(answers, 3).float()
    expected = [1 / 2, (1 / 4 + 1 / 2) / 2, 1 / 2, 0]
    assert balanced_accuracy(logits, y, nodes).tolist() == pytest.approx(expected)
    assert accuracy(logits, y, nodes).tolist() == pytest.approx([4 / 6, 2 / 6, 2 / 6, 0])
    logits[1, 7, 0] = torch.inf
    assert balanced_accuracy(logits, y, nodes).isnan().tolist() == [False, True, False, False]


def test_logits_that_are_not_finite_are_no_answers():
    y, nodes = torch.tensor([0, 1]), torch.tensor([0])
    logits = torch.zeros(4, 2, 3)
    logits[1, 0, 0], logits[2, 1, 2], logits[3, 0, 1] = torch.nan, torch.inf, 1.0
    assert accuracy(logits, y, nodes).nan_to_num(-1).tolist() == [1, -1, -1, 0]
