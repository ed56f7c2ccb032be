"""What is drawn are the numbers of `summarize`, and every run."""

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
    """Every combination of the keys, with random measures between 0 and 1."""
    index = pd.MultiIndex.from_product([METHODS, *keys.values(), SEEDS], names=["method", *keys, "seed"])
    numbers = np.random.default_rng(0).random((len(index), len(measures)))
    return pd.DataFrame(numbers, index, measures).reset_index()


@pytest.fixture
def runs():
    table = make_table(["test_acc", "dead_fraction", "zero_fraction"], num_layers=DEPTHS)
    table.loc[table["num_layers"] == 0, ["dead_fraction", "zero_fraction"]] = np.nan
    return table


@pytest.fixture
def layers():
    table = make_table(["dirichlet_energy"], layer=range(1, 33))
    return table.assign(dirichlet_energy=10 ** (24 * table["dirichlet_energy"] - 22))


@pytest.fixture
def epochs():
    return make_table(["val_acc"], num_layers=DEPTHS, epoch=range(6))


def lines_of(ax, width=1.1):
    """The lines of means, which are thick; legends also have lines, without data."""
    return [line for line in ax.lines if line.get_linewidth() > width and len(line.get_xdata())]


def legend_of(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def bars_of(ax):
    return [np.array([path[:, 1] for path in bars[2][0].get_segments()]) for bars in ax.containers]


@pytest.mark.parametrize("numbers", [4, 25])  # Student's t, and BCa
def test_curves_over_depth_are_the_summarized_means_and_intervals(runs, numbers):
    copies = [runs.assign(seed=runs["seed"] + 4 * k, test_acc=runs["test_acc"] ** (k + 1)) for k in range(7)]
    runs = pd.concat(copies).query(f"seed < {numbers}")
    ax, summary = plot_vs_num_layers(runs, "test_acc"), summarize(runs, "test_acc")
    for method, line, ends in zip(METHODS, lines_of(ax), bars_of(ax), strict=True):
        expected = summary[summary["method"] == method]
        np.testing.assert_allclose(line.get_ydata(), expected["mean"], rtol=1e-12)
        np.testing.assert_allclose(ends, expected[["low", "high"]], rtol=1e-12)
        assert to_hex(line.get_color()).upper() == METHOD_COLORS[method]
    assert legend_of(ax) == list(METHODS) and ax.get_xticks().tolist() == list(DEPTHS)


def test_every_run_is_a_dot_next_to_its_own_arm(runs):
    shuffled = runs.sample(frac=1, random_state=0).set_index(np.zeros(len(runs), int))
    dots = np.concatenate(
        [
            dots.get_offsets()
            for dots in plot_vs_num_layers(shuffled).collections
            if len(dots.get_offsets()) > 1
        ]
    )
    assert sorted(dots[:, 1]) == sorted(runs["test_acc"])
    arm = {y: method for method, y in zip(runs["method"], runs["test_acc"], strict=True)}
    seed = {y: seed for seed, y in zip(runs["seed"], runs["test_acc"], strict=True)}
    at_five = sorted(dot for dot in dots.tolist() if abs(dot[0] - 5) < 2)
    expected = [(method, number) for method in METHODS for number in SEEDS]  # side by side, by seed
    assert [(arm[y], seed[y]) for _, y in at_five] == expected


def test_equal_runs_one_run_and_one_depth_can_be_drawn(runs):
    equal = pd.concat([runs.assign(test_acc=0.316, seed=runs["seed"] + 4 * k) for k in range(6)])
    for ends in bars_of(plot_vs_num_layers(equal)):
        np.testing.assert_allclose(ends, 0.316, rtol=1e-12)
    ax = plt.subplots()[1]
    assert plot_vs_num_layers(runs.query("num_layers == 5 and seed == 0"), ax=ax) is ax
    assert ax.get_xticks().tolist() == [5]


def test_quantities_differ_by_dashes_and_leave_out_what_is_missing(runs):
    ax = plot_vs_num_layers(runs, ("dead_fraction", "zero_fraction"))
    dead, zero = lines_of(ax)[:3], lines_of(ax)[3:]
    assert all(len(line.get_xdata()) == 2 for line in dead + zero)
    for one, other in zip(dead, zero, strict=True):
        assert (one.get_color(), one.get_marker()) == (other.get_color(), other.get_marker())
        assert one.get_linestyle() == "-" != other.get_linestyle()
    assert legend_of(ax) == [*METHODS, "dead fraction", "zero fraction"]


def test_curves_over_layers_are_geometric_or_arithmetic_means_over_runs(layers):
    fig, axes = plt.subplots(1, 2, sharex=True, sharey=True)  # the second finds logarithmic axes
    for ax, log in ((axes[0], True), (axes[1], True), (None, False)):
        ax = plot_vs_layer(layers, "dirichlet_energy", ax=ax, log=log)
        assert {ax.get_xscale(), ax.get_yscale()} == {"log" if log else "linear"}
        summary = summarize(layers, "dirichlet_energy", by=("method", "layer"), log=log)
        for method, line in zip(METHODS, lines_of(ax), strict=True):
            expected = summary.loc[summary["method"] == method, "mean"]
            np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-12)
        thin = [line.get_ydata().tolist() for line in ax.lines if line.get_linewidth() < 0.6]
        expected = layers.sort_values("layer").groupby(["method", "seed"])["dirichlet_energy"].agg(list)
        assert sorted(thin) == sorted(expected)
    share_legend(fig)
    fig.canvas.draw()


def test_zeros_have_no_place_on_a_log_axis(layers):
    """Layer 7 has one zero of four, 8 two, 5 three, 9 four: means need half of the runs."""
    zeros = {5: 3, 7: 1, 8: 2, 9: 4}
    gone = layers["seed"] < layers["layer"].map(zeros).fillna(0)
    layers.loc[gone & (layers["method"] == "ReLU"), "dirichlet_energy"] = 0
    mean = lines_of(plot_vs_layer(layers, "dirichlet_energy"))[0].get_ydata()
    assert np.flatnonzero(np.isnan(mean)).tolist() == [4, 8]
    left = layers.query("method == 'ReLU' and layer == 8 and seed >= 2")["dirichlet_energy"]
    assert mean[7] == pytest.approx(left.prod() ** 0.5)
    plot_vs_layer(layers.assign(dirichlet_energy=0.0), "dirichlet_energy").figure.canvas.draw()


def test_training_curves_are_means_with_bands_in_a_colour_per_depth(epochs):
    epochs.loc[(epochs["epoch"] == 5) & (epochs["seed"] == 0), "val_acc"] = np.inf  # counts for nothing
    ax = plot_training_curves(epochs, method="LeakyReLU", majority=0.316)
    arm = epochs[epochs["method"] == "LeakyReLU"]
    summary = summarize(arm, "val_acc", by=["num_layers", "epoch"])
    for depth, line, band in zip(DEPTHS, lines_of(ax), ax.collections, strict=True):
        expected = summary[summary["num_layers"] == depth]
        np.testing.assert_allclose(line.get_ydata(), expected["mean"], rtol=1e-12)
        edges = band.get_paths()[0].vertices[:, 1].round(12)
        assert {*edges} == {*expected["low"].round(12), *expected["high"].round(12)}
        assert to_hex(line.get_color()) == depth_colors(DEPTHS)[depth]
    assert legend_of(ax) == ["0", "5", "10", "majority class"]
    assert ax.lines[-1].get_ydata() == [0.316, 0.316]
    assert len(lines_of(plot_training_curves(arm))) == len(DEPTHS)  # nothing to choose


def test_bad_choices_are_named(runs, layers, epochs):
    with pytest.raises(ValueError, match=r"test_acc.*'foo'"):
        plot_vs_num_layers(runs, "foo")
    with pytest.raises(ValueError, match=r"method.*'arm'"):
        plot_vs_layer(layers, "dirichlet_energy", hue="arm")
    with pytest.raises(ValueError, match=r"method.*'LeakyReLU'.*'relu'"):
        plot_training_curves(epochs, method="relu")
    with pytest.raises(ValueError, match="layer, method and seed once"):
        plot_vs_layer(
            pd.concat([layers.assign(stage=stage) for stage in ("init", "last")]), "dirichlet_energy"
        )
