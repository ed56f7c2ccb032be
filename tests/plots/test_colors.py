"""Figures can be read in grey, with colour-blind eyes, and at the size in which they are printed."""

from itertools import combinations

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb

from deadgcn.plots.curves import (
    METHOD_COLORS,
    METHOD_STYLES,
    OTHER_COLORS,
    OTHER_MARKERS,
    depth_colors,
    set_style,
)
from deadgcn.plots.forest import ANSWER_COLORS, ANSWER_MARKERS
from deadgcn.plots.titles import DETAIL, FINDING

# Machado, Oliveira and Fernandes 2009: linear RGB as seen without one of the three kinds of cone.
VISION = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.01182, 0.04294, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.3039],
    ],
}
XYZ = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]


def lab(color, vision="normal"):
    """CIE L*a*b* of a colour: L* is lightness from 0 to 100, and distances are those that are seen."""
    rgb = np.array(to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = np.array(XYZ) @ np.clip(np.array(VISION[vision]) @ linear, 0, 1) / [0.95047, 1, 1.08883]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def smallest(distance, colors):
    return min(distance(*pair) for pair in combinations(colors, 2))


def test_lightness_and_distance_are_those_of_the_textbook():
    np.testing.assert_allclose([lab("white"), lab("black")], [[100, 0, 0], [0, 0, 0]], atol=0.02)
    np.testing.assert_allclose(lab("red"), [53.24, 80.09, 67.20], atol=0.05)
    assert np.linalg.norm(lab("red", "deuteranopia") - lab("#A08C00", "deuteranopia")) < 20  # hard to tell


@pytest.mark.parametrize("colors", [METHOD_COLORS.values(), ANSWER_COLORS.values()], ids=["arms", "answers"])
def test_arms_and_answers_differ_in_lightness(colors):
    assert smallest(lambda a, b: abs(lab(a)[0] - lab(b)[0]), colors) > 15


@pytest.mark.parametrize("vision", VISION)
def test_colours_differ_for_every_kind_of_eye(vision):
    def seen(a, b):
        return np.linalg.norm(lab(a, vision) - lab(b, vision))

    assert smallest(seen, METHOD_COLORS.values()) > 50
    assert smallest(seen, ANSWER_COLORS.values()) > 18
    assert smallest(seen, [*METHOD_COLORS.values(), *OTHER_COLORS]) > 15


def test_what_colour_may_not_tell_the_markers_do():
    markers = [style["marker"] for style in METHOD_STYLES.values()] + list(OTHER_MARKERS)
    assert len(set(markers)) == len(markers) and len(OTHER_MARKERS) >= len(OTHER_COLORS)
    assert len(set(ANSWER_MARKERS.values())) == len(ANSWER_COLORS)


@pytest.mark.parametrize("number", [2, 7, 9])
def test_depths_get_darker_in_even_steps_and_are_seen_on_white(number):
    lightness = [lab(color)[0] for color in depth_colors(range(number)).values()]
    steps = -np.diff(lightness)
    assert steps.min() > 0.7 * steps.max() > 0 and lightness[0] < 82 and lightness[-1] > 5
    assert list(depth_colors([30, 5])) == [5, 30]  # light to dark by depth, whatever the order given


def test_type_is_large_enough_in_print():
    with plt.rc_context():
        set_style()
        names = [
            name for name in plt.rcParams if name.endswith(("labelsize", "titlesize", "legend.fontsize"))
        ]
        sizes = [plt.rcParams[name] for name in ("font.size", *names)]
        assert min(size for size in sizes if not isinstance(size, str)) >= 7
        assert 3.5 <= plt.rcParams["figure.figsize"][0] <= 7
    assert min(FINDING["fontsize"], DETAIL["fontsize"]) >= 7
