from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from IPython import display
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from PIL import Image

from deadgcn.plots.forest import ANSWER_COLORS
from deadgcn.plots.style import METHOD_STYLES, method_colors, method_styles, publish, share_legend

DATA = pd.DataFrame({"x": [0.1, 1 / 3], "y": ["a", "b"]})


def lightness(color):
    """CIE L*, from 0 (black) to 100 (white)."""
    rgb = np.array(to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return 116 * np.cbrt(linear @ [0.2126, 0.7152, 0.0722]) - 16


@pytest.mark.parametrize("colors", [method_colors(METHOD_STYLES).values(), ANSWER_COLORS.values()])
def test_arms_and_answers_differ_in_lightness(colors):
    assert min(abs(lightness(a) - lightness(b)) for a, b in combinations(colors, 2)) > 15


def test_each_level_has_its_own_look_and_arms_keep_theirs():
    names = ["He", "LeakyReLU", "zero", "ReLU"]
    styles = method_styles(names)
    assert list(styles) == ["ReLU", "LeakyReLU", "He", "zero"]
    for part in ("color", "marker"):
        assert len({style[part] for style in styles.values()}) == 4
    assert method_styles(names[:2])["LeakyReLU"] == styles["LeakyReLU"]
    many = method_styles(list("abcdefgh")).values()
    assert len({(style["color"], style["dashes"]) for style in many}) == 8  # where lines have no markers


@pytest.mark.parametrize("side", ["below", "right"])
def test_panels_share_one_legend_and_their_outer_labels(side):
    fig, axes = plt.subplots(2, 2, sharex=True, sharey="row")
    for ax in axes.flat:
        ax.plot([0, 1], label="arm")
        ax.set(xlabel="x", ylabel="y")
        ax.legend()
    share_legend(fig, side)
    assert [text.get_text() for legend in fig.legends for text in legend.get_texts()] == ["arm"]
    assert [ax.get_legend() for ax in axes.flat] == [None] * 4
    assert [ax.yaxis.label.get_visible() for ax in axes.flat] == [True, False, True, False]
    assert [ax.xaxis.label.get_visible() for ax in axes.flat] == [False, False, True, True]


def test_published_files_are_complete_equal_each_time_and_shown(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(display, "display", shown.append)
    one, two = tmp_path / "new" / "one", tmp_path / "new" / "two"
    for folder in (one, two, two):  # drawn anew, and over what is there
        fig, ax = plt.subplots(figsize=(2, 1))
        ax.plot([0, 1], [0, 1], color=METHOD_STYLES["LeakyReLU"]["color"])
        publish(fig, "line", DATA, "A line.", folder)
    assert shown[0].alt == "A line." and not plt.get_fignums()
    for file in ("line.csv", "line.png"):
        assert (one / file).read_bytes() == (two / file).read_bytes()
    pd.testing.assert_frame_equal(pd.read_csv(one / "line.csv"), DATA, rtol=1e-5)
    with Image.open(one / "line.png") as saved:
        colors = {color for _, color in saved.convert("RGB").getcolors()}
    assert min(np.abs(np.array(c) - 255 * np.array(to_rgb("#E69F00"))).max() for c in colors) < 3
