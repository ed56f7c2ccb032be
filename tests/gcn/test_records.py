import numpy as np
import pytest
import torch
import torch_geometric
from torch.nn.functional import cross_entropy

from deadgcn.config import Config
from deadgcn.gcn.engine import Passes
from deadgcn.gcn.model import GCN
from deadgcn.gcn.records import LAYER_COLUMNS, measure
from deadgcn.gcn.smoothing import all_measures
from deadgcn.gcn.training import train

SEEDS = (3, 0, 7)
SMOOTHING = LAYER_COLUMNS[:-3]  # the others are dead_fraction, zero_fraction and gradient_norm


def network(graph, num_layers, seeds=SEEDS, **options):
    model = GCN(graph.num_features, 16, 7, num_layers, seeds=seeds, **options)
    with torch.no_grad():
        for bias in (*model.biases, model.head_bias):
            bias.copy_(0.1 * torch.randn(bias.shape[1:], generator=torch.Generator().manual_seed(1)))
    return model


def autograd_norms(state, graph, num_layers, act):
    """Norm of each layer's weight gradient in PyTorch Geometric's own network, loss of the training nodes."""
    slope = {"negative_slope": 0.8} if act == "leaky_relu" else None
    width = state["lin.weight"].shape[1]
    model = torch_geometric.nn.GCN(
        graph.num_features, width, num_layers, 7, jk="last", act=act, act_kwargs=slope
    )
    model.load_state_dict(state)
    logits = model(graph.x, graph.edge_index)
    cross_entropy(logits[graph.train_mask], graph.y[graph.train_mask]).backward()
    return [conv.lin.weight.grad.double().norm().item() for conv in model.convs]


@pytest.mark.parametrize("act", ["relu", "leaky_relu"])
@pytest.mark.parametrize("num_layers", [1, 4])
def test_gradient_norms_are_those_of_autograd(num_layers, act, twin, twin_adj):
    model = network(twin, num_layers, act=act)
    norms = measure(Passes(model, twin.x, twin_adj), twin, 1.0)["layers"]["gradient_norm"]
    assert norms.shape == (3, num_layers) and (norms > 0).all()
    for run in range(3):
        expected = autograd_norms(model.run_state_dict(run), twin, num_layers, act)
        assert norms[run].tolist() == pytest.approx(expected, rel=1e-4)


def test_tiny_gradients_do_not_vanish(twin, twin_adj):
    model = network(twin, 2)
    with torch.no_grad():
        model.head_weight.mul_(1e-25)  # float32 squares of the gradients are 0
    norms = measure(Passes(model, twin.x, twin_adj), twin, 1.0)["layers"]["gradient_norm"]
    expected = autograd_norms(model.run_state_dict(0), twin, 2, "relu")
    assert 0 < max(expected) < 1e-23
    assert norms[0].tolist() == pytest.approx(expected, rel=1e-4, abs=0)


def test_a_dead_layer_lets_no_gradient_through(twin, twin_adj):
    model = network(twin, 4)
    with torch.no_grad():
        model.biases[1][1] = -1e6  # of the second run: its second layer is dead
        model.biases[2][1] = 1.0  # what follows it sees a constant
    layers = measure(Passes(model, twin.x, twin_adj), twin, 1.0)["layers"]
    assert layers["dead_fraction"][1, :3].tolist() == [0, 1, 0]
    # None reaches the dead layer and the one below it; the third's input is 0, so is its weight's gradient.
    assert (layers["gradient_norm"][1] == 0).tolist() == [True, True, True, False]
    assert autograd_norms(model.run_state_dict(1), twin, 4, "relu")[:3] == [0, 0, 0]
    assert (layers["gradient_norm"][[0, 2]] > 0).all()
    missing = {name: np.isnan(layers[name][1]).tolist() for name in SMOOTHING}
    sizes = ("dirichlet_energy", "distance_to_mean", "norm", "normalized_dirichlet_energy")
    assert missing == {name: [False, name not in sizes, False, False] for name in SMOOTHING}


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"num_layers": 0}], ids=str)
def test_measures_are_those_of_the_models_activations(options, twin, twin_adj):
    model = network(twin, **{"num_layers": 3, **options})
    measured = measure(Passes(model, twin.x, twin_adj), twin, 0.9)
    logits, activations = model(twin.x, twin_adj)
    correct = (logits.argmax(-1) == twin.y).double()
    for name, mask in (("val_acc", twin.val_mask), ("test_acc", twin.test_mask)):
        assert measured[name].tolist() == pytest.approx(correct[:, mask].mean(1).tolist(), abs=1e-6)
    assert tuple(measured["layers"]) == LAYER_COLUMNS
    assert {values.shape for values in measured["layers"].values()} == {(3, model.num_layers)}
    for layer, post in enumerate(activations):
        found = {name: values[:, layer] for name, values in measured["layers"].items()}
        for name, values in all_measures(post, twin.edge_index).items():
            assert np.array_equal(found[name], values.numpy(), equal_nan=True), name
        zeros = (post == 0).double()  # [R, N, d]
        np.testing.assert_allclose(found["zero_fraction"], zeros.mean((1, 2)))
        np.testing.assert_allclose(found["dead_fraction"], (zeros.mean(1) >= 0.9).double().mean(1))


@pytest.mark.parametrize("num_layers", [0, 3])
def test_every_column_is_there_at_every_stage(num_layers, twin):
    (result,) = train([Config(num_layers=num_layers, epochs=3, hidden_channels=8)], twin)
    stages = ("init", "best", "last")
    assert set(result["layers"]) == {(stage, name) for stage in stages for name in LAYER_COLUMNS}
    assert {values.shape for values in result["layers"].values()} == {(num_layers,)}
    assert {values.dtype for values in result["layers"].values()} == {np.dtype("float64")}


def test_training_reports_the_measures_of_its_best_state(twin, twin_adj):
    """Without weight decay in the gradient, and on the graph's own edges, whatever the order of its nodes."""
    config = Config(num_layers=4, epochs=6, hidden_channels=8, weight_decay=0.5, dropout=0.3)
    (result,) = train([config], twin)
    model = GCN(twin.num_features, 8, 7, 4)
    model.load_run_state_dict(0, result["best_state"])
    for layer, post in enumerate(model(twin.x, twin_adj)[1]):
        for name, value in all_measures(post[0], twin.edge_index).items():
            found = result["layers"]["best", name][layer]
            assert found == pytest.approx(value.item(), rel=1e-4, abs=1e-6, nan_ok=True), (name, layer)
    expected = autograd_norms(result["best_state"], twin, 4, "relu")
    assert result["layers"]["best", "gradient_norm"].tolist() == pytest.approx(expected, rel=1e-4)
    assert min(expected) > 0


def test_measuring_leaves_dropout_out_and_draws_nothing(twin, twin_adj):
    plain, dropping = network(twin, 3), network(twin, 3, dropout=0.5, input_dropout=0.5)
    before = [generator.get_state() for generator in dropping.generators]
    expected, found = (measure(Passes(m, twin.x, twin_adj), twin, 1.0) for m in (plain, dropping.train()))
    for name, values in expected["layers"].items():
        assert np.array_equal(values, found["layers"][name], equal_nan=True), name
    assert all(map(torch.equal, before, (generator.get_state() for generator in dropping.generators)))


def test_measures_see_the_graph_even_where_the_network_does_not(twin):
    settings = {"num_layers": 2, "epochs": 2, "hidden_channels": 8}
    (result,) = train([Config(adjacency="identity", **settings)], twin)
    model = GCN(twin.num_features, 8, 7, 2)  # seed 0, as the run's
    first = torch.relu(twin.x @ model.run_state_dict(0)["convs.0.lin.weight"].T)
    for name, value in all_measures(first, twin.edge_index).items():
        assert result["layers"]["init", name][0] == pytest.approx(value.item(), rel=1e-4), name
