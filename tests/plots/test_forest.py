import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

from deadgcn.plots.forest import ANSWER_COLORS, ANSWER_MARKERS, answer_legend, plot_forest

ROWS = pd.DataFrame(
    {
        "line": ["a", "b", "a"],
        "estimate": [0.5, 2.0, 0.7],
        "low": [0.25, 1.0, 0.6],
        "high": [1.0, 4.0, 0.8],
        "answer": ["for", "open", "against"],
    }
)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_each_label_has_a_line_and_each_row_its_interval_and_colour():
    ax = plot_forest(ROWS, "line", hue="answer", colors=ANSWER_COLORS, hollow=ROWS["answer"] == "against")
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["a", "b"]
    (bars,), (dots,) = ax.collections[:1], ax.collections[1:]
    ends = [segment[:, 0].tolist() for segment in bars.get_segments()]
    assert ends == ROWS[["low", "high"]].to_numpy().tolist()
    assert dots.get_offsets()[:, 0].tolist() == ROWS["estimate"].tolist()
    first, second, third = dots.get_offsets()[:, 1]
    assert first < third < second and ax.get_ylim()[0] > ax.get_ylim()[1]  # the first label on top
    assert [to_hex(c) for c in bars.get_colors()] == [to_hex(ANSWER_COLORS[a]) for a in ROWS["answer"]]
    assert [to_hex(c) for c in dots.get_facecolors()][2] == "#ffffff"


@pytest.mark.parametrize(("log", "at"), [(False, 0), (True, 1)])
def test_the_line_of_no_effect(log, at):
    ax = plot_forest(ROWS, "line", hue="answer", colors=ANSWER_COLORS, log=log)
    assert ax.lines[0].get_xdata()[0] == at and ax.get_xscale() == ("log" if log else "linear")


def test_narrow_ratios_have_plain_ticks():
    ax = plot_forest(ROWS, "line", hue="answer", colors=ANSWER_COLORS, log=True)
    ax.figure.canvas.draw()
    low, high = ax.get_xlim()
    shown = [t.get_text() for t in ax.get_xticklabels() if low <= t.get_position()[0] <= high]
    assert {"0.5", "1", "2"} <= set(shown)


def test_a_colour_that_is_missing_is_named():
    with pytest.raises(ValueError, match=r"every value of answer, but \['against', 'for'\] are missing"):
        plot_forest(ROWS, "line", hue="answer", colors={"open": "0.5"})


def test_the_legend_names_every_answer():
    ax = plot_forest(ROWS, "line", hue="answer", colors=ANSWER_COLORS)
    answer_legend(ax.figure)
    assert len(ax.figure.legends[0].get_texts()) == len(ANSWER_COLORS) + 2


def test_each_answer_has_its_marker_at_its_own_place():
    ax = plot_forest(ROWS, "line", hue="answer", colors=ANSWER_COLORS, markers=ANSWER_MARKERS)
    shapes = {}
    for dots in ax.collections[1:]:
        for x in dots.get_offsets()[:, 0]:
            shapes[float(x)] = len(dots.get_paths()[0].vertices)
    assert sorted(shapes) == sorted(ROWS["estimate"]) and len(set(shapes.values())) == 3
