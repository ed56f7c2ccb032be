"""Arms can be told apart in grey and by their markers; what is published is complete, and equal each time."""

import io
import types
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from PIL import Image

from deadgcn.plots import style
from deadgcn.plots.forest import ANSWER_COLORS, ANSWER_MARKERS
from deadgcn.plots.style import METHOD_COLORS, METHOD_STYLES, depth_colors, line_styles, publish, share_legend

DATA = pd.DataFrame({"x": [0.1, 1 / 3], "y": ["a", "b"]})


def lightness(color):
    """CIE L*, from 0 (black) to 100 (white)."""
    rgb = np.array(to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return 116 * np.cbrt(linear @ [0.2126, 0.7152, 0.0722]) - 16


def a_figure():
    fig, ax = plt.subplots(figsize=(2, 1))
    ax.plot([0, 1], [0, 1], color=METHOD_COLORS["LeakyReLU"])
    return fig


@pytest.mark.parametrize("colors", [METHOD_COLORS.values(), ANSWER_COLORS.values()], ids=["arms", "answers"])
def test_arms_and_answers_differ_in_lightness(colors):
    assert min(abs(lightness(a) - lightness(b)) for a, b in combinations(colors, 2)) > 15


def test_depths_get_darker_in_even_steps_whatever_their_order():
    colors = depth_colors([30, 0, 5, 10])
    steps = -np.diff([lightness(color) for color in colors.values()])
    assert list(colors) == [0, 5, 10, 30] and steps.min() > 0.7 * steps.max() > 0


def test_each_level_has_its_own_look_and_arms_keep_theirs():
    names = pd.Series(["He", "LeakyReLU", "zero", "ReLU", "He"], name="method")
    look = line_styles(names)
    assert look["hue_order"] == ["ReLU", "LeakyReLU", "He", "zero"]
    assert len(set(look["palette"].values())) == len(set(look["markers"].values())) == 4
    for part in ("palette", "markers", "dashes"):
        assert line_styles(names[:2])[part]["LeakyReLU"] == look[part]["LeakyReLU"]
    assert len({style["linestyle"] for style in METHOD_STYLES.values()}) == len(METHOD_STYLES)
    assert len(set(ANSWER_MARKERS.values())) == len(ANSWER_MARKERS)


@pytest.mark.parametrize("side", ["below", "right"])
def test_panels_share_one_legend_and_their_outer_labels(side):
    fig, axes = plt.subplots(2, 2, sharex=True, sharey="row")
    for ax in axes.flat:
        ax.plot([0, 1], label="arm")
        ax.set(xlabel="x", ylabel="y")
        ax.legend()
    share_legend(fig, side)
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["arm"]
    assert [ax.get_legend() for ax in axes.flat] == [None] * 4
    assert [ax.get_ylabel() for ax in axes.flat] == ["y", "", "y", ""]
    assert [ax.get_xlabel() for ax in axes.flat] == ["", "", "x", "x"]
    with pytest.raises(ValueError, match="fig"):
        share_legend(plt.figure())
    with pytest.raises(ValueError, match="'left'"):
        share_legend(fig, "left")


def test_published_files_are_equal_each_time_and_hold_all_digits(tmp_path):
    one, two = tmp_path / "new" / "one", tmp_path / "new" / "two"
    for folder in (one, two, two):  # drawn anew, and over what is there
        publish(a_figure(), "line", DATA, "A line.", folder)
    contents = {file.name: file.read_bytes() for file in one.iterdir()}
    assert contents == {file.name: file.read_bytes() for file in two.iterdir()}
    assert sorted(contents) == ["line.csv", "line.png"] and b"atplotlib" not in contents["line.png"]
    pd.testing.assert_frame_equal(pd.read_csv(one / "line.csv"), DATA, check_exact=True)
    with Image.open(one / "line.png") as saved:
        assert saved.mode == "P" and saved.info["dpi"] == pytest.approx((150, 150), abs=0.1)
        colors = {color for _, color in saved.convert("RGB").getcolors()}
    assert (255, 255, 255) in colors
    assert min(np.abs(np.array(c) - 255 * np.array(to_rgb("#E69F00"))).max() for c in colors) < 3


REFUSED = [{"name": "a/b"}, {"name": ""}, {"name": ".."}, {"alt": " "}, {"data": None}, {"folder": "file"}]


@pytest.mark.parametrize("change", REFUSED)
def test_a_refused_figure_leaves_what_was_there(tmp_path, change):
    (tmp_path / "file").write_text("x")
    publish(a_figure(), "line", DATA, "A line.", tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    arguments = {"name": "line", "data": DATA[:1], "alt": "Another.", "folder": ""} | change
    arguments["folder"] = tmp_path / arguments["folder"]
    (name,) = change
    error = {"data": AttributeError, "folder": FileExistsError}.get(name, ValueError)
    with pytest.raises(error, match=name if error is ValueError else None):
        publish(a_figure(), **arguments)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_figures_are_shown_with_their_alt_text_and_closed(tmp_path, monkeypatch, capsys):
    publish(a_figure(), "line", DATA, "A line.", tmp_path)
    assert capsys.readouterr().out == "A line.\n" and not plt.get_fignums()  # plain Python
    shown = []
    monkeypatch.setattr(style, "get_ipython", lambda: types.SimpleNamespace())
    monkeypatch.setattr(style, "display", lambda bundle, **options: shown.append((bundle, options)))
    publish(a_figure(), "line", DATA, "A line.", tmp_path)
    ((bundle, options),) = shown
    assert bundle["text/plain"] == options["metadata"]["image/png"]["alt"] == "A line."
    with Image.open(io.BytesIO(bundle["image/png"])) as picture, Image.open(tmp_path / "line.png") as saved:
        assert picture.width == pytest.approx(saved.width / 1.5, abs=2)
