"""Titles fit on their figures, and say no more than the numbers do."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from deadgcn.plots.curves import set_style
from deadgcn.plots.findings import compared, course, depths_by_method, depths_where
from deadgcn.plots.titles import add_title

FINDING = "Best models below the majority class: ReLU from 20 layers on, LeakyReLU at no depth whatever"


@pytest.fixture(autouse=True)
def clean_figures():
    with plt.rc_context():
        set_style()
        yield
        plt.close("all")


@pytest.mark.parametrize("width", [3.5, 7])
def test_a_title_fits_above_the_panels_and_loses_no_word(width):
    fig, ax = plt.subplots(figsize=(width, 3))
    add_title(
        fig, FINDING, "Cora, n = 30 per arm and depth: mean, 95 % interval and every run, one dot for each"
    )
    fig.canvas.draw()
    (detail,) = fig.artists
    boxes = [text.get_window_extent() for text in (fig._suptitle, detail)]
    assert all(box.x0 >= 0 and box.x1 <= fig.bbox.width and box.y1 <= fig.bbox.height for box in boxes)
    assert detail.get_window_extent().y0 > ax.get_window_extent().y1
    rows = fig._suptitle.get_text().split("\n")
    empty = detail.get_text().count("\n") + 1
    assert " ".join(rows[:-empty]) == FINDING and not "".join(rows[-empty:]).strip()


@pytest.mark.parametrize(
    ("depths", "words"),
    [
        ({5: False, 10: False}, "at no depth"),
        ({5: True, 10: True}, "at every depth"),
        ({5: True}, "at 5 layers"),
        ({1: True, 5: False}, "at 1 layer"),
        ({15: True, 5: False, 10: True}, "from 10 layers on"),
        ({5: True, 10: False, 15: True, 20: False, 25: True}, "at 5, 15 and 25 layers"),
        ({5: False, 10: True}, "at 10 layers"),
    ],
)
def test_depths_in_words(depths, words):
    assert depths_where(pd.Series(depths)) == words


def test_methods_with_their_depths():
    table = pd.DataFrame({"method": ["A", "A", "B"], "num_layers": [2, 6, 2], "high": [0.1, 0.2, 0.9]})
    assert depths_by_method(table["high"] < 0.5, table) == "A at every depth, B at no depth"
    assert depths_by_method(table["high"][:0] < 0.5, table[:0]) == ""


def test_the_course_of_a_line_in_words():
    table = pd.DataFrame({"method": list("AAABC"), "num_layers": [6, 0, 2, 2, 2]})
    table["mean"] = [0.25, 0.5, 0.75, 0.125, np.nan]
    assert course(table) == "A 0.5 at 0, at most 0.75 at 2, 0.25 at 6; B 0.125 at 2"


@pytest.mark.parametrize(
    ("low", "high", "zero", "word"),
    [
        (-2, -1, 0, "below"),
        (-1, 1, 0, "open"),
        (1, 2, 0, "above"),
        (0.5, 0.9, 1, "below"),
        (np.nan, 1, 0, ""),
    ],
)
def test_an_interval_decides_the_words(low, high, zero, word):
    assert compared(low, high, ("below", "open", "above"), zero) == word
