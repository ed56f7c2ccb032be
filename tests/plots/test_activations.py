import io
import types
from functools import partial

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from PIL import Image

from deadgcn.plots import activations, style
from deadgcn.plots.activations import (
    WIDGET,
    bin_nodes,
    draw_layer,
    explore,
    plot_activations,
    plot_projection,
    project,
)

# Four nodes of two classes; neuron 1 is dead, neuron 2 silent in class 0.
POST = torch.tensor([[1.0, 0, 0], [8.0, 0, 4.0], [3.0, 0, 0], [2.0, 0, 0]])
CLASSES = torch.tensor([0, 1, 0, 1])


def test_bins_hold_nodes_of_one_class_and_average_them():
    bins = bin_nodes(POST, CLASSES, max_rows=2)
    assert bins.to_numpy().tolist() == [[0, 2, 2, 0, 0], [1, 2, 5, 0, 2]]
    assert bin_nodes(POST, CLASSES)["nodes"].tolist() == [1, 1, 1, 1]
    with pytest.raises(ValueError, match=r"max_rows.*2.*1"):
        bin_nodes(POST, CLASSES, max_rows=1)


@pytest.mark.parametrize("rows", [7, 50, 200])
def test_bins_are_no_more_than_asked_and_lose_no_node(rows):
    y = torch.arange(700).remainder(7).where(torch.arange(700) < 300, 3)
    bins = bin_nodes(torch.ones(700, 2), y, rows)
    assert len(bins) <= rows and bins.groupby("class")["nodes"].sum().tolist() == y.bincount().tolist()


def test_dead_columns_are_empty_and_marked():
    bins = bin_nodes(POST, CLASSES, max_rows=2)
    ax = plt.subplots()[1]
    plot_activations(bins, ax, order=np.array([2, 0, 1]))
    image, marks = ax.collections[:2]
    assert image.get_array().mask.tolist() == [[True, False, True], [False, False, True]]
    assert marks.get_offsets()[:, 0].tolist() == [2]
    plot_activations(bin_nodes(torch.zeros(4, 3), CLASSES), ax)  # a silent layer has no largest value


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


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_projection_of_nodes_that_are_all_alike(value):
    points, measures = project(torch.full((4, 3), value), CLASSES)
    assert np.isnan(measures["line"]) and np.isnan(measures["classes"]) and measures["spread"] == 0
    assert plot_projection(points, measures, plt.subplots()[1]).get_xlabel().startswith("all nodes alike")


@pytest.fixture
def shown(monkeypatch):
    """What `explore` displays in a notebook, and the controls that it makes."""
    bundles, boxes, real_box = [], [], activations.widgets.HBox

    def make_box(children, layout):
        boxes.append(real_box(children, layout=layout))
        return boxes[-1]

    def show(bundle, **options):
        bundles.append((bundle, options))
        return types.SimpleNamespace(display_id="picture")

    monkeypatch.setattr(style, "get_ipython", lambda: types.SimpleNamespace())
    monkeypatch.setattr(style, "display", show)
    monkeypatch.setattr(activations, "display", show)
    monkeypatch.setattr(activations.widgets, "HBox", make_box)
    return bundles, boxes


def draw(**chosen):
    fig, ax = plt.subplots(figsize=(1, 1))
    ax.set_title(chosen["layer"])
    return fig, f"{chosen['arm']}, {chosen['layer']}"


def test_controls_redraw_the_picture_above_them(shown):
    explore(draw, {"arm": ["ReLU", "other"], "layer": range(1, 31)}, layer=3)
    bundles, (box,) = shown
    (first, options), (controls, _) = bundles
    assert Image.open(io.BytesIO(first["image/png"])).width > 50
    assert first["text/plain"] == options["metadata"]["image/png"]["alt"] == "ReLU, 3"
    assert controls[WIDGET]["model_id"] == box.model_id and box.model_id not in controls["text/plain"]
    arm, layer = box.children
    layer.value = 4
    arm.value = "other"
    assert [bundle["text/plain"] for bundle, _ in bundles[2:]] == ["ReLU, 4", "other, 4"]
    assert all(options["display_id"] == "picture" and options["update"] for _, options in bundles[2:])
    assert bundles[3][0]["image/png"] != first["image/png"] and not plt.get_fignums()


def test_without_a_kernel_the_text_is_printed(capsys):
    explore(draw, {"arm": ["ReLU"], "layer": [1]})
    assert capsys.readouterr().out == "ReLU, 1\n" and not plt.get_fignums()


@pytest.mark.parametrize(
    ("values", "first", "message"),
    [([1], {"layer": 2}, "layer.*2"), ([], {}, "layer"), ([1], {"seed": 2}, "seed")],
)
def test_impossible_choices_are_refused(shown, values, first, message):
    with pytest.raises(ValueError, match=message):
        explore(draw, {"arm": ["ReLU"], "layer": values}, **first)
    assert shown == ([], [])


def test_a_layer_of_the_chosen_network_is_drawn():
    asked = []

    def network(**run):
        asked.append(run)
        return types.SimpleNamespace(activations=[torch.ones(4, 3), POST])

    fig, alt = partial(draw_layer, network, CLASSES)(method="ReLU", seed=1, layer=2)
    assert asked == [{"method": "ReLU", "seed": 1}]
    assert "method ReLU, seed 1, layer 2" in alt and "1 of 3 neurons dead" in alt
    fig.canvas.draw()
