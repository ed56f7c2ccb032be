"""What is recorded of a network, against PyTorch Geometric's network with the same weights."""

import numpy as np
import pytest
import torch
from gcn.oracle import gradient_norms, network, pyg_network

from deadgcn.gcn.engine import Passes
from deadgcn.gcn.records import LAYER_COLUMNS, accuracy, measure

SMOOTHING = LAYER_COLUMNS[:-3]  # the others are dead_fraction, zero_fraction and gradient_norm
SIZES = ("dirichlet_energy", "distance_to_mean", "norm", "normalized_dirichlet_energy")


def autograd_norms(state, graph, act="relu"):
    return gradient_norms(pyg_network(state, act), graph, graph.x, graph.edge_index)


@pytest.mark.parametrize(("act", "num_layers"), [("relu", 1), ("relu", 4), ("leaky_relu", 4), ("elu", 2)])
@pytest.mark.parametrize("scale", [1, 1e-25])  # at which float32 squares of the gradients are 0
def test_gradient_norms_are_those_of_autograd(scale, act, num_layers, twin, twin_adj):
    model = network(twin, num_layers, act=act)
    with torch.no_grad():
        model.head_weight.mul_(scale)
    norms = measure(Passes(model, twin.x, twin_adj), twin, 1.0)["layers"]["gradient_norm"]
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
    layers = measure(Passes(model, twin.x, twin_adj), twin, 1.0)["layers"]
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
    expected, found = (measure(Passes(m, twin.x, twin_adj), twin, 1.0) for m in (plain, dropping.train()))
    for name, values in expected["layers"].items():
        assert np.array_equal(values, found["layers"][name], equal_nan=True), name
    assert all(map(torch.equal, before, (generator.get_state() for generator in dropping.generators)))


def test_logits_that_are_not_finite_are_no_answers():
    y, nodes = torch.tensor([0, 1]), torch.tensor([0])
    logits = torch.zeros(4, 2, 3)
    logits[1, 0, 0], logits[2, 1, 2], logits[3, 0, 1] = torch.nan, torch.inf, 1.0
    assert accuracy(logits, y, nodes).nan_to_num(-1).tolist() == [1, -1, -1, 0]
