"""What a figure's title says: the finding in bold, and in a smaller line under it what is drawn."""

from matplotlib import pyplot as plt
from matplotlib.text import Annotation

FINDING = {"fontsize": 9, "fontweight": "bold"}
DETAIL = {"fontsize": 7.5, "color": "0.25"}


def add_title(fig: plt.Figure, finding: str, detail: str) -> None:
    """Write the finding over the figure, flush left, and under it what is drawn: data set, n, interval.

    Both are wrapped at the figure's width. Call it last, before the figure is saved: the panels make room.
    """
    above, below = (_wrap(fig, *line) for line in ((finding, FINDING), (detail, DETAIL)))
    # Empty lines keep the room of the second text, because a figure has one title with one size of type.
    rows = above + "\n " * (below.count("\n") + 1)
    heading = fig.suptitle(rows, x=0.01, ha="left", linespacing=1.25, **FINDING)
    place = {
        "xycoords": heading,
        "va": "bottom",
        "linespacing": 1.25 * FINDING["fontsize"] / DETAIL["fontsize"],
    }
    fig.add_artist(Annotation(below, (0, 0), **place, **DETAIL))


def _wrap(fig: plt.Figure, text: str, look: dict) -> str:
    """Break the text where its width, as measured by matplotlib, would be more than 98 % of the figure's."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        probe = fig.text(0, 0, longer, **look)
        fits = probe.get_window_extent().width <= 0.98 * fig.bbox.width
        probe.remove()
        lines = [*lines[:-1], longer] if fits or not lines[-1] else [*lines, word]
    return "\n".join(lines)
