import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

from deadgcn.plots.curves import plot_training_curves, plot_vs_layer, plot_vs_num_layers
from deadgcn.plots.style import METHOD_COLORS, depth_colors, share_legend
from deadgcn.stats.estimates import summarize

METHODS, DEPTHS, SEEDS = ("ReLU", "ReLU + pruning", "LeakyReLU"), (0, 5, 10), (0, 1, 2, 3)


def make_table(measures: list[str], **keys) -> pd.DataFrame:
    """Every combination of the keys, in random order, with random measures between 0 and 1."""
    index = pd.MultiIndex.from_product([METHODS, *keys.values(), SEEDS], names=["method", *keys, "seed"])
    numbers = np.random.default_rng(0).random((len(index), len(measures)))
    return pd.DataFrame(numbers, index, measures).reset_index().sample(frac=1, random_state=0)


RUNS = make_table(["test_acc", "dead_fraction", "zero_fraction"], num_layers=DEPTHS)
LAYERS = make_table(["norm"], layer=range(1, 10)).assign(norm=lambda table: 10 ** (24 * table["norm"] - 22))
EPOCHS = make_table(["val_acc"], num_layers=DEPTHS, epoch=range(6))


def lines_of(ax):
    return {line.get_label(): line for line in ax.lines if line.get_label()[0] != "_"}


def test_curves_over_depth_are_the_summarized_means_and_intervals_and_all_runs():
    ax, summary = plot_vs_num_layers(RUNS), summarize(RUNS, "test_acc")
    for method, bars, dots in zip(METHODS, ax.collections[::2], ax.collections[1::2], strict=True):
        line, expected = lines_of(ax)[method], summary[summary["method"] == method].sort_values("num_layers")
        np.testing.assert_array_equal(line.get_ydata(), expected["mean"])
        ends = [segment[:, 1] for segment in bars.get_segments()]
        np.testing.assert_array_equal(ends, expected[["low", "high"]])
        assert sorted(dots.get_offsets()[:, 1]) == sorted(RUNS.loc[RUNS["method"] == method, "test_acc"])
        assert to_hex(line.get_color()).upper() == METHOD_COLORS[method]
    places = [line.get_xdata()[0] for line in lines_of(ax).values()]
    assert places == sorted(set(places)) and list(lines_of(ax)) == list(METHODS)  # side by side
    plot_vs_num_layers(RUNS.query("num_layers == 5 and seed == 0")).figure.canvas.draw()


def test_quantities_differ_in_line_style():
    ax = plot_vs_num_layers(RUNS, ("dead_fraction", "zero_fraction"))
    for one, other in zip(ax.lines[:3], ax.lines[4:7], strict=True):
        assert one.get_color() == other.get_color() and one.get_linestyle() == "-" != other.get_linestyle()
    assert list(lines_of(ax)) == [*METHODS, "dead fraction", "zero fraction"]


def test_curves_over_layers_are_geometric_or_arithmetic_means_over_runs():
    fig, axes = plt.subplots(1, 2, sharex=True, sharey=True)
    for ax, log in ((axes[0], True), (axes[1], True), (None, False)):
        ax = plot_vs_layer(LAYERS, "norm", ax=ax, log=log)
        assert {ax.get_xscale(), ax.get_yscale()} == {"log" if log else "linear"}
        summary = summarize(LAYERS, "norm", by=("method", "layer"), log=log).sort_values("layer")
        for method, line in lines_of(ax).items():
            np.testing.assert_array_equal(line.get_ydata(), summary.loc[summary["method"] == method, "mean"])
        thin = [line.get_ydata().tolist() for line in ax.lines if line.get_linewidth() < 0.6]
        expected = LAYERS.sort_values("layer").groupby(["method", "seed"])["norm"].agg(list)
        assert sorted(thin) == sorted(expected)
    share_legend(fig)
    fig.canvas.draw()


def test_zeros_have_no_place_on_a_log_axis():
    """Layer 7 has one zero of four, 8 two, 5 three, 9 four: means need half of the runs."""
    zero = LAYERS["seed"] < LAYERS["layer"].map({5: 3, 7: 1, 8: 2, 9: 4}).fillna(0)
    table = LAYERS.assign(norm=LAYERS["norm"].mask(zero, 0))
    mean = lines_of(plot_vs_layer(table, "norm"))["ReLU"].get_ydata()
    assert np.flatnonzero(np.isnan(mean)).tolist() == [4, 8]
    left = table.query("method == 'ReLU' and layer == 8 and seed >= 2")["norm"]
    assert mean[7] == pytest.approx(left.prod() ** 0.5)
    plot_vs_layer(table.assign(norm=0.0), "norm").figure.canvas.draw()


def test_training_curves_are_means_with_bands_in_a_colour_per_depth():
    ax = plot_training_curves(EPOCHS, method="LeakyReLU", majority=0.316)
    arm = EPOCHS.query("method == 'LeakyReLU'")
    summary = summarize(arm, "val_acc", by=["num_layers", "epoch"]).sort_values("epoch")
    for depth, band in zip(DEPTHS, ax.collections, strict=True):
        line, expected = lines_of(ax)[str(depth)], summary[summary["num_layers"] == depth]
        np.testing.assert_array_equal(line.get_ydata(), expected["mean"])
        assert {*band.get_paths()[0].vertices[:, 1]} == {*expected["low"], *expected["high"]}
        assert to_hex(line.get_color()) == depth_colors(DEPTHS)[depth]
    assert list(lines_of(ax)) == ["0", "5", "10", "majority class"]
    assert list(lines_of(ax)["majority class"].get_ydata()) == [0.316, 0.316]


def test_bad_choices_are_named():
    with pytest.raises(ValueError, match=r"test_acc.*'foo'"):
        plot_vs_num_layers(RUNS, "foo")
    with pytest.raises(ValueError, match=r"method.*'LeakyReLU'.*'relu'"):
        plot_training_curves(EPOCHS, method="relu")
    with pytest.raises(ValueError, match="several"):
        plot_training_curves(EPOCHS)
