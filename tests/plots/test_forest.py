import pandas as pd
import pytest
from matplotlib.colors import to_hex

from deadgcn.plots.forest import ANSWER_COLORS, ANSWER_MARKERS, plot_forest

ROWS = pd.DataFrame(
    {
        "line": ["a", "b", "a"],
        "estimate": [0.5, 2.0, 0.7],
        "low": [0.25, 1.0, 0.6],
        "high": [1.0, 4.0, 0.8],
        "answer": ["for", "open", "against"],
    },
    index=[7, 7, 9],
)


def drawn(ax):
    """Where each estimate is: (x, y), and its interval, colour, face and number of corners."""
    found = {}
    for bars, dots in zip(ax.collections[::2], ax.collections[1::2], strict=True):
        (place,), (segment,) = dots.get_offsets().tolist(), bars.get_segments()
        look = to_hex(bars.get_colors()[0]).upper(), to_hex(dots.get_facecolors()[0]).upper()
        found[place[0]] = (place[1], segment[:, 0].tolist(), *look, len(dots.get_paths()[0].vertices))
    return found


def test_each_label_has_a_line_and_each_row_its_interval_colour_and_marker():
    hollow = ROWS["answer"] == "against"
    look = {"hue": "answer", "colors": ANSWER_COLORS, "markers": ANSWER_MARKERS}
    ax = plot_forest(ROWS, "line", hollow=hollow, **look)
    found = drawn(ax)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["a", "b"]
    assert found[0.5][0] < found[0.7][0] < found[2.0][0] and ax.yaxis_inverted()  # first label on top
    for row in ROWS.itertuples():
        _, ends, color, face, _ = found[row.estimate]
        assert ends == [row.low, row.high] and color == ANSWER_COLORS[row.answer]
        assert face == ("#FFFFFF" if row.answer == "against" else color)
    assert len({corners for *_, corners in found.values()}) == 3
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(ANSWER_COLORS)


@pytest.mark.parametrize(("log", "at"), [(False, 0), (True, 1)])
def test_the_line_of_no_effect(log, at):
    ax = plot_forest(ROWS, "line", hue="answer", colors=ANSWER_COLORS, log=log)
    assert ax.lines[0].get_xdata()[0] == at and ax.get_xscale() == ("log" if log else "linear")


def test_a_colour_that_is_missing_is_named():
    with pytest.raises(ValueError, match=r"answer.*\['against', 'for'\]"):
        plot_forest(ROWS, "line", hue="answer", colors={"open": "0.5"})
