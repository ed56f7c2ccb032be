import base64
import io

import pytest
import torch
from IPython.display import display as real_display
from matplotlib import pyplot as plt
from PIL import Image

from deadgcn import exploring
from deadgcn.notebook import WIDGET


@pytest.fixture
def shown(monkeypatch):
    """What `explore` displays, and the controls that it makes."""
    bundles, boxes, real_box = [], [], exploring.widgets.VBox
    monkeypatch.setattr(exploring, "display", lambda bundle, **options: bundles.append((bundle, options)))
    monkeypatch.setattr(
        exploring.widgets, "VBox", lambda children: boxes.append(real_box(children)) or boxes[-1]
    )
    return bundles, boxes


def draw(**chosen):
    fig, ax = plt.subplots(figsize=(1, 1))
    ax.text(0, 0, str(chosen))
    return fig, f'a "picture" of {chosen["arm"]}, {chosen["layer"]}'


def test_one_output_holds_controls_and_picture(shown):
    exploring.explore(draw, {"arm": ["ReLU", "other"], "layer": range(1, 31)}, layer=3)
    ((bundle, options),), (box,) = shown
    assert bundle[WIDGET]["model_id"] == box.model_id
    assert Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))).size == (120, 120)
    alt = 'a "picture" of ReLU, 3'
    assert bundle["text/plain"] == alt and options["metadata"] == {"image/png": {"alt": alt}}
    (arm, layer), image = box.children[0].children, box.children[1]
    assert bundle["image/png"] in image.value and 'alt="a &quot;picture&quot; of ReLU, 3"' in image.value
    layer.value = 4
    arm.value = "other"
    assert "of other, 4" in image.value and bundle["image/png"] not in image.value
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
