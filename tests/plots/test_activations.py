import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt

from deadgcn.data.graphs import load_graph
from deadgcn.experiments.grid import grid, run_grid
from deadgcn.gcn.neurons import dead_fraction
from deadgcn.plots.activations import activations_of, bin_nodes, plot_activations, plot_projection, project

# Four nodes of two classes; neuron 1 is dead, neuron 2 silent in class 0.
POST = torch.tensor([[1.0, 0, 0], [8.0, 0, 4.0], [3.0, 0, 0], [2.0, 0, 0]])
CLASSES = torch.tensor([0, 1, 0, 1])


@pytest.fixture(scope="module")
def trained():
    settings = dict(dataset="SyntheticCora", num_layers=3, hidden_channels=8, epochs=3)
    arms = {"ReLU": {}, "alone": {"act": "leaky_relu", "adjacency": "identity", "normalize_features": True}}
    tables = run_grid(grid(arms, seed=[0, 1], **settings), n_jobs=1, cache=None)
    return tables, activations_of(tables, load_graph("SyntheticCora"))


@pytest.mark.parametrize("method", ["ReLU", "alone"])
def test_activations_are_those_that_training_measured(trained, method):
    tables, activations = trained
    for stage, state in (("best", True), ("init", False)):
        posts = activations(method=method, seed=1, trained=state)
        of_run = (tables.layers["method"] == method) & (tables.layers["seed"] == 1)
        rows = tables.layers[of_run & (tables.layers["stage"] == stage)]
        assert [post.norm().item() for post in posts] == pytest.approx(rows["norm"].tolist(), rel=1e-6)
        assert [dead_fraction(post).item() for post in posts] == rows["dead_fraction"].tolist()


def test_a_run_must_be_named_and_one_that_diverged_at_once_has_nothing(trained):
    tables, activations = trained
    with pytest.raises(ValueError, match=r"names 2 of 4"):
        activations(method="ReLU")
    tables.runs.loc[0, "best_epoch"] = None
    lost = activations_of(tables, load_graph("SyntheticCora"))
    assert lost(method="ReLU", seed=0) is None
    assert len(lost(method="ReLU", seed=0, trained=False)) == 3


def test_bins_hold_nodes_of_one_class_and_average_them():
    bins = bin_nodes(POST, CLASSES, max_rows=2)
    assert bins.to_numpy().tolist() == [[0, 2, 2, 0, 0], [1, 2, 5, 0, 2]]
    assert bin_nodes(POST, CLASSES)["nodes"].tolist() == [1, 1, 1, 1]
    with pytest.raises(ValueError, match="at least 2, one per class, but 1"):
        bin_nodes(POST, CLASSES, max_rows=1)


@pytest.mark.parametrize("rows", [7, 50, 200])
def test_bins_are_no_more_than_asked_and_lose_no_node(rows):
    y = torch.arange(700).remainder(7).where(torch.arange(700) < 300, 3)
    bins = bin_nodes(torch.ones(700, 2), y, rows)
    assert len(bins) <= rows and bins.groupby("class")["nodes"].sum().tolist() == y.bincount().tolist()


def test_dead_columns_are_empty_and_marked():
    bins = bin_nodes(POST, CLASSES, max_rows=2)
    fig, ax = plt.subplots()
    plot_activations(bins, ax, order=np.array([2, 0, 1]))
    image, marks = ax.collections[:2]
    assert image.get_array().mask.tolist() == [[True, False, True], [False, False, True]]
    assert marks.get_offsets()[:, 0].tolist() == [2]
    plot_activations(bin_nodes(torch.zeros(4, 3), CLASSES), ax)  # a silent layer has no largest value
    plt.close(fig)


def test_projection_of_points_on_two_axes():
    """Nodes at (±3, 0) and (0, ±1), tiny and far from 0: 90 % of the variance is on the first axis."""
    plane = torch.tensor([[3.0, 0], [-3.0, 0], [0, 1], [0, -1]])
    post = torch.nn.functional.pad(plane, (1, 0)) * 2.0**-70 + torch.tensor([2.0**-66, 0, 0])
    points, measures = project(post, torch.tensor([0, 0, 1, 1]))
    assert measures == pytest.approx(
        {"line": 0.9, "classes": 0, "spread": 5**0.5 * 2.0**-70}, abs=1e-9, rel=1e-9
    )
    assert points["x"].abs().tolist() == pytest.approx([3 / 5**0.5] * 2 + [0] * 2, abs=1e-9)
    assert points["y"].abs().tolist() == pytest.approx([0] * 2 + [1 / 5**0.5] * 2, abs=1e-9)


def test_projection_draws_every_class_in_proportion():
    y = torch.tensor([0] * 900 + [1] * 100)
    post = torch.rand(1000, 4, generator=torch.Generator().manual_seed(0))
    points, _ = project(post, y, most=100)
    assert abs(points["class"].sum() - 10) <= 1 and len(points["node"].unique()) == 100
    assert y[points["node"].tolist()].tolist() == points["class"].tolist()


@pytest.mark.parametrize("value", [0.0, 7.0, torch.nan])
def test_projection_of_nodes_that_are_all_alike(value):
    points, measures = project(torch.full((4, 3), value), CLASSES)
    assert np.isnan(measures["line"]) and np.isnan(measures["classes"])
    fig, ax = plt.subplots()
    assert plot_projection(points, measures, ax).get_xlabel().startswith("all nodes alike")
    plt.close(fig)
