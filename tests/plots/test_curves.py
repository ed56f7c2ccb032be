import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from scipy.stats import gmean

from deadgcn.plots.curves import plot_vs_layer, plot_vs_num_layers
from deadgcn.plots.style import METHOD_COLORS, share_legend
from deadgcn.stats.estimates import summarize

METHODS, DEPTHS, SEEDS = ("ReLU", "ReLU + pruning", "LeakyReLU"), (0, 5, 10), (0, 1, 2, 3)


def make_table(measures: list[str], **keys) -> pd.DataFrame:
    """Every combination of the keys, in random order, with random measures between 0 and 1."""
    index = pd.MultiIndex.from_product([METHODS, *keys.values(), SEEDS], names=["method", *keys, "seed"])
    numbers = np.random.default_rng(0).random((len(index), len(measures)))
    return pd.DataFrame(numbers, index, measures).reset_index().sample(frac=1, random_state=0)


RUNS = make_table(["test_acc", "dead_fraction", "zero_fraction"], num_layers=DEPTHS)
LAYERS = make_table(["norm"], layer=range(1, 10)).assign(norm=lambda table: 10 ** (24 * table["norm"] - 22))


def curves(ax) -> dict[str, np.ndarray]:
    """What the thick lines go through, by colour."""
    lines = [line for line in ax.lines if len(line.get_xdata()) > 2 and line.get_linewidth() > 0.6]
    return {to_hex(line.get_color()): np.asarray(line.get_ydata(), float) for line in lines}


def test_curves_over_depth_are_the_summarized_means_and_intervals_and_all_runs():
    ax, summary = plot_vs_num_layers(RUNS, "test_acc"), summarize(RUNS, "test_acc").sort_values("num_layers")
    (dots,) = [drawn for drawn in ax.collections if isinstance(drawn, PathCollection)]
    assert sorted(dots.get_offsets()[:, 1]) == sorted(RUNS["test_acc"])
    bars = [drawn.get_segments() for drawn in ax.collections if drawn is not dots]
    for method, segments in zip(METHODS, bars, strict=True):
        expected = summary[summary["method"] == method]
        np.testing.assert_allclose(curves(ax)[METHOD_COLORS[method].lower()], expected["mean"])
        ends = np.array([segment[:, 1] for segment in segments], dtype=float)
        np.testing.assert_allclose(ends, expected[["low", "high"]])
    assert len({*dots.get_offsets()[:, 0]}) == len(METHODS) * len(DEPTHS)  # side by side
    plot_vs_num_layers(RUNS.query("num_layers == 5 and seed == 0"), "test_acc").figure.canvas.draw()


def test_quantities_differ_in_dashes():
    ax = plot_vs_num_layers(RUNS, ("dead_fraction", "zero_fraction"))
    lines = [line for line in ax.lines if len(line.get_xdata()) > 2 and line.get_linestyle() != "None"]
    styles = {(line.get_color(), line.get_linestyle()) for line in lines}
    assert len(styles) == 2 * len(METHODS) and len({style for _, style in styles}) == 2


def test_curves_over_layers_are_geometric_or_arithmetic_means_over_runs():
    fig, axes = plt.subplots(1, 2, sharex=True, sharey=True)
    for ax, log in ((axes[0], True), (axes[1], True), (None, False)):
        ax = plot_vs_layer(LAYERS, "norm", ax=ax, log=log)
        assert {ax.get_xscale(), ax.get_yscale()} == {"log" if log else "linear"}
        means = LAYERS.groupby(["method", "layer"])["norm"].agg(gmean if log else "mean")
        for method in METHODS:
            np.testing.assert_allclose(curves(ax)[METHOD_COLORS[method].lower()], means[method])
        thin = [line.get_ydata().tolist() for line in ax.lines if line.get_linewidth() < 0.6]
        expected = LAYERS.sort_values("layer").groupby(["method", "seed"])["norm"].agg(list)
        assert sorted(thin) == sorted(expected)
    share_legend(fig)
    fig.canvas.draw()


def test_zeros_have_no_place_on_a_log_axis():
    """Layer 7 has one zero of four, 8 two, 5 three, 9 four: means need half of the runs."""
    zero = LAYERS["seed"] < LAYERS["layer"].map({5: 3, 7: 1, 8: 2, 9: 4}).fillna(0)
    table = LAYERS.assign(norm=LAYERS["norm"].mask(zero, 0))
    mean = curves(plot_vs_layer(table, "norm"))[METHOD_COLORS["ReLU"].lower()]
    assert np.flatnonzero(np.isnan(mean)).tolist() == [4, 8]
    left = table.query("method == 'ReLU' and layer == 8 and seed >= 2")["norm"]
    assert mean[7] == pytest.approx(left.prod() ** 0.5)
    plot_vs_layer(table.assign(norm=0.0), "norm").figure.canvas.draw()


def test_bad_choices_are_refused():
    with pytest.raises(ValueError, match="num_layers"):
        plot_vs_num_layers(pd.concat([RUNS, RUNS]), "test_acc")
