import io
import types

import pytest
import torch
from IPython.display import display as real_display
from matplotlib import pyplot as plt
from PIL import Image

from deadgcn.paper.notebook import WIDGET
from deadgcn.plots import exploring


@pytest.fixture
def shown(monkeypatch):
    """What `explore` displays and updates, and the controls that it makes."""
    bundles, boxes, real_box = [], [], exploring.widgets.HBox

    def make_box(children, layout):
        boxes.append(real_box(children, layout=layout))
        return boxes[-1]

    def show(bundle, **options):
        bundles.append((bundle, options))
        return types.SimpleNamespace(update=show)

    monkeypatch.setattr(exploring, "display", show)
    monkeypatch.setattr(exploring.widgets, "HBox", make_box)
    return bundles, boxes


def draw(**chosen):
    fig, ax = plt.subplots(figsize=(1, 1))
    ax.text(0, 0, str(chosen))
    return fig, f'a "picture" of {chosen["arm"]}, {chosen["layer"]}'


def test_controls_redraw_the_picture_above_them(shown):
    exploring.explore(draw, {"arm": ["ReLU", "other"], "layer": range(1, 31)}, layer=3)
    bundles, (box,) = shown
    (picture, options), (controls, _) = bundles
    assert Image.open(io.BytesIO(picture["image/png"])).size == (120, 120)
    assert picture["text/plain"] == 'a "picture" of ReLU, 3'
    assert options["metadata"] == {"image/png": {"alt": 'a "picture" of ReLU, 3'}} and options["display_id"]
    assert controls[WIDGET]["model_id"] == box.model_id
    assert controls["text/plain"] == "Controls, while a kernel runs: arm, layer"
    arm, layer = box.children
    layer.value = 4
    arm.value = "other"
    assert [bundle["text/plain"] for bundle, _ in bundles[2:]] == [
        'a "picture" of ReLU, 4',
        'a "picture" of other, 4',
    ]
    assert bundles[3][0]["image/png"] != picture["image/png"]
    assert plt.get_fignums() == []


def test_impossible_choices_are_refused(shown):
    for choices, first, message in (
        ({"arm": ["ReLU"], "layer": [1]}, {"layer": 2}, r"layer must begin with one of \[1\], but 2"),
        ({"arm": ["ReLU"], "layer": []}, {}, r"layer must begin with one of \[\], but None"),
        ({"arm": ["ReLU"], "layer": [1]}, {"seed": 2}, r"seed must begin with one of \[\], but 2"),
    ):
        with pytest.raises(ValueError, match=message):
            exploring.explore(draw, choices, **first)
    assert shown == ([], [])


@pytest.mark.parametrize("show", [exploring.show_layer_activations, exploring.show_layer_projection])
def test_a_layer_is_shown_with_what_it_is(show):
    posts = [torch.ones(4, 3), torch.eye(4)[:, :3]]
    known = {"ReLU": posts, "lost": None}
    for method, text in (("ReLU", "ReLU, 2 layers, seed 1, untrained, layer 2"), ("lost", "diverged")):
        fig, alt = show(
            lambda **run: known[run["method"]],
            torch.tensor([0, 1, 0, 1]),
            layer=2,
            method=method,
            num_layers=2,
            seed=1,
            trained=False,
        )
        assert text in alt
        plt.close(fig)


def test_what_is_displayed_is_what_front_ends_read(capsys):
    """Without any front end the text alone is printed."""
    assert exploring.display is real_display
    exploring.explore(draw, {"arm": ["ReLU"], "layer": [1]})
    assert 'a "picture" of ReLU, 1' in capsys.readouterr().out
