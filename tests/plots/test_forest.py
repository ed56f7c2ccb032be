import numpy as np
import pandas as pd
import pytest

from deadgcn.plots.forest import ANSWER_COLORS, ANSWER_MARKERS, plot_forest

ROWS = pd.DataFrame(
    [["a", 0.5, 0.25, 1, "for"], ["b", 2, 1, 4, "open"], ["a", 0.7, 0.6, 0.8, "against"]],
    columns=["line", "estimate", "low", "high", "answer"],
    index=[7, 7, 9],
)


def test_each_label_has_a_line_and_each_row_its_interval_colour_and_marker():
    look = {"hue": "answer", "colors": ANSWER_COLORS, "markers": ANSWER_MARKERS}
    ax = plot_forest(ROWS, "line", hollow=ROWS["answer"] == "against", **look)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["a", "b"] and ax.yaxis_inverted()
    for row, line in zip(ROWS.itertuples(), ax.lines, strict=False):
        assert line.get_xdata().tolist() == [row.low, row.estimate, row.high]
        assert line.get_color() == ANSWER_COLORS[row.answer]
        assert line.get_marker() == ANSWER_MARKERS[row.answer]
        assert line.get_markerfacecolor() == ("white" if row.answer == "against" else line.get_color())
    first, other, second = (line.get_ydata()[0] for line in ax.lines[:3])
    assert first < second < other
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(ANSWER_COLORS)


@pytest.mark.parametrize(("log", "at"), [(False, 0), (True, 1)])
@pytest.mark.parametrize("factor", [1, 1e6])
def test_the_line_of_no_effect(log, at, factor):
    rows = ROWS.assign(high=ROWS["high"] * factor)
    ax = plot_forest(rows, "line", hue="answer", colors=ANSWER_COLORS, log=log)
    assert ax.lines[-1].get_xdata()[0] == at and ax.get_xscale() == ("log" if log else "linear")
    ax.figure.canvas.draw()


@pytest.mark.parametrize("log", [False, True])
def test_under_five_runs_a_mark_stays_and_its_interval_is_left_out(log):
    ax = plot_forest(ROWS.assign(n=[5, 4, 20]), "line", hue="answer", colors=ANSWER_COLORS, log=log)
    drawn = [line.get_xdata() for line in ax.lines[:3]]
    assert drawn[0].tolist() == [0.25, 0.5, 1] and drawn[2].tolist() == [0.6, 0.7, 0.8]
    assert np.isnan(drawn[1]).tolist() == [True, False, True] and drawn[1][1] == 2
    ax.figure.canvas.draw()
