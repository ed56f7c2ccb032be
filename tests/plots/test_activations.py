import types

import numpy as np
import pytest
import torch
from ipywidgets import HBox
from matplotlib import pyplot as plt

from deadgcn.plots import activations
from deadgcn.plots.activations import bin_nodes, plot_activations, plot_projection, project

# Four nodes of two classes; neuron 1 is dead, neuron 2 silent in class 0.
POST = torch.tensor([[1.0, 0, 0], [8.0, 0, 4.0], [3.0, 0, 0], [2.0, 0, 0]])
CLASSES = torch.tensor([0, 1, 0, 1])


def test_bins_hold_nodes_of_one_class_and_average_them():
    bins = bin_nodes(POST, CLASSES, max_rows=2)
    assert bins.to_numpy().tolist() == [[0, 2, 2, 0, 0], [1, 2, 5, 0, 2]]
    assert bin_nodes(POST, CLASSES)["nodes"].tolist() == [1, 1, 1, 1]
    y = torch.arange(700).remainder(7).where(torch.arange(700) < 300, 3)
    for rows in (7, 50, 200):
        bins = bin_nodes(torch.ones(700, 2), y, rows)
        assert len(bins) <= rows and bins.groupby("class")["nodes"].sum().tolist() == y.bincount().tolist()


def test_dead_columns_are_empty_and_marked():
    ax = plt.subplots()[1]
    plot_activations(bin_nodes(POST, CLASSES, max_rows=2), ax, order=np.array([2, 0, 1]))
    assert ax.collections[0].get_array().mask.tolist() == [[True, False, True], [False, False, True]]
    assert ax.collections[1].get_offsets()[:, 0].tolist() == [2.5]
    plot_activations(bin_nodes(torch.zeros(4, 3), CLASSES), ax)  # a silent layer has no largest value


def test_projection_of_points_on_two_axes():
    """Nodes at (±3, 0) and (0, ±1), tiny and far from 0: 90 % of the variance is on the first axis."""
    plane = torch.tensor([[3.0, 0], [-3.0, 0], [0, 1], [0, -1]])
    post = torch.nn.functional.pad(plane, (1, 0)) * 2.0**-70 + torch.tensor([2.0**-66, 0, 0])
    points, measures = project(post, torch.tensor([0, 0, 1, 1]))
    assert [*measures.values()] == pytest.approx([0.9, 0, 5**0.5 * 2.0**-70], abs=1e-30)
    assert points["x"].abs().tolist() == pytest.approx([3 / 5**0.5] * 2 + [0] * 2, abs=1e-9)
    assert points["y"].abs().tolist() == pytest.approx([0] * 2 + [1 / 5**0.5] * 2, abs=1e-9)


def test_projection_draws_every_class_in_proportion():
    y = torch.tensor([0] * 900 + [1] * 100)
    post = torch.rand(1000, 4, generator=torch.Generator().manual_seed(0))
    points, _ = project(post, y, most=100)
    assert abs(points["class"].sum() - 10) <= 1 and len(points["node"].unique()) == 100
    assert y[points["node"].tolist()].tolist() == points["class"].tolist()


def test_a_legend_of_many_classes_does_not_fill_the_figure():
    fig, axes = plt.subplots(1, 2, figsize=(7, 3.2), layout="constrained")
    for ax, classes in zip(axes, (7, 70), strict=True):
        plot_projection(*project(torch.rand(140, 3), torch.arange(140) % classes), ax)
    fig.canvas.draw()  # matplotlib warns of axes without a size
    assert axes[0].get_legend() and not axes[1].get_legend()


def test_projection_of_nodes_that_are_all_alike():
    points, measures = project(torch.full((4, 3), 7.0), CLASSES)
    assert np.isnan(measures["line"]) and np.isnan(measures["classes"]) and measures["spread"] == 0
    plot_projection(points, measures, plt.subplots()[1]).figure.canvas.draw()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_projection_of_a_network_that_diverged(value):
    post = POST.index_fill(1, torch.tensor([1]), value)
    points, measures = project(post, CLASSES)
    assert np.isnan([*measures.values()]).all() and len(points) == 4
    plot_projection(points, measures, plt.subplots()[1]).figure.canvas.draw()


def test_a_slider_redraws_the_picture(monkeypatch):
    shown, sliders = [], []
    monkeypatch.setattr(activations, "HBox", lambda children: sliders.extend(children) or HBox(children))
    handle = types.SimpleNamespace(update=shown.append)
    monkeypatch.setattr(activations, "display", lambda output, **options: shown.append(output) or handle)

    monkeypatch.setattr(activations, "activations", lambda model, graph: [torch.ones(4, 3), POST])

    def model(method, seed):
        return f"{method} {seed}"

    choices = {"method": ["ReLU", "other"], "seed": [0, 1], "layer": [1, 2]}
    activations.explore(model, types.SimpleNamespace(y=CLASSES), choices, layer=2)
    picture, controls = shown
    assert "seed 0, layer 2: 1 of 3 neurons dead" in picture.alt and picture.data.startswith(b"\x89PNG")
    assert any("widget-view" in kind for kind in controls)
    sliders[2].value = 1
    sliders[0].value = "other"
    texts = [output.alt.partition("method ")[2] for output in shown[2:]]
    assert texts == [f"{name}, seed 0, layer 1: 0 of 3 neurons dead." for name in ("ReLU", "other")]
    assert not plt.get_fignums()
