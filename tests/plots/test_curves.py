import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot as plt
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from scipy.stats import gmean

from deadgcn.plots.curves import error_bar, plot_vs_layer, plot_vs_num_layers
from deadgcn.plots.style import METHOD_STYLES, share_legend
from deadgcn.stats.estimates import summarize
from deadgcn.stats.inference import interval

METHODS, DEPTHS, SEEDS = ("ReLU", "ReLU + pruning", "LeakyReLU"), (0, 5, 10), (0, 1, 2, 3, 4)


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
        np.testing.assert_allclose(curves(ax)[METHOD_STYLES[method]["color"].lower()], expected["mean"])
        ends = np.array([segment[:, 1] for segment in segments], dtype=float)
        np.testing.assert_allclose(ends, expected[["low", "high"]].clip(0, 1))
    assert len({*dots.get_offsets()[:, 0]}) == len(METHODS) * len(DEPTHS)  # side by side
    plot_vs_num_layers(RUNS.query("num_layers == 5 and seed == 0"), "test_acc").figure.canvas.draw()


def dots_of(depths: list[int], num_methods: int) -> np.ndarray:
    """Where the dots of one run per method and depth are, ``[depths, methods]``."""
    index = pd.MultiIndex.from_product([depths, range(num_methods)], names=["num_layers", "method"])
    runs = pd.DataFrame({"test_acc": 0.5, "seed": 0}, index).reset_index().astype({"method": str})
    ax = plot_vs_num_layers(runs, "test_acc")
    (dots,) = [drawn for drawn in ax.collections if isinstance(drawn, PathCollection)]
    plt.close(ax.figure)
    return np.sort(dots.get_offsets()[:, 0]).reshape(len(depths), num_methods)


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(st.lists(st.integers(0, 1000), min_size=1, max_size=8, unique=True), st.integers(1, 7))
def test_methods_stand_apart_and_close_to_their_depth(depths, num_methods):
    depths = np.sort(depths)
    places = dots_of(depths.tolist(), num_methods)
    gaps = np.diff([0, *depths])
    off = np.abs(places - depths[:, None]).max()
    assert off <= 0.15 * min(gaps[gaps > 0], default=1)  # no nearer to another depth, or to one below 0
    assert off <= 0.03 * (depths[-1] - depths[0] or 1)
    assert (np.diff(places) > 0).all()
    np.testing.assert_allclose(places.mean(1), depths, atol=1e-9)


def test_places_at_the_depths_of_the_study():
    np.testing.assert_allclose(dots_of([0, 5, 10, 15, 20, 25, 30], 3)[1], [4.5, 5, 5.5])
    np.testing.assert_allclose(dots_of([2, 6], 3), [[1.92, 2, 2.08], [5.92, 6, 6.08]])


@settings(deadline=None, derandomize=True, database=None)
@given(
    st.lists(st.integers(0, 1000), min_size=1, max_size=12),
    st.sampled_from(["val_acc", "dead_fraction_last"]),
)
def test_drawn_intervals_of_shares_hold_the_mean_and_no_more_than_shares(numbers, column):
    sample = pd.Series(numbers) / 1000
    low, high = error_bar(column)(sample)
    if len(sample) < 5:
        assert np.isnan([low, high]).all()
    else:
        assert 0 <= low <= sample.mean() <= high <= 1 + 1e-15
        inside = np.clip(interval(sample), 0, 1)
        np.testing.assert_allclose([low, high], inside, atol=1e-12)


def test_other_intervals_are_not_cut():
    sample = pd.Series([0.1, 0.1, 0.1, 0.1, 5.0])
    for columns in (["train_loss"], ["test_acc", "train_loss"]):
        np.testing.assert_allclose(error_bar(*columns)(sample), interval(sample))
    assert interval(sample)[0] < 0 < 1 < interval(sample)[1]
    assert np.isnan(error_bar("train_loss")(sample[1:])).all()


def test_few_runs_have_no_bars():
    ax = plot_vs_num_layers(RUNS.query("seed < 4"), "test_acc")
    bars = [drawn.get_segments() for drawn in ax.collections if not isinstance(drawn, PathCollection)]
    assert not any(np.isfinite(segment).all() for segments in bars for segment in segments if len(segment))


def test_a_depth_and_a_layer_are_whole_numbers_on_the_axis():
    layers = RUNS.query("num_layers == 5").assign(layer=3)
    one_depth = plot_vs_num_layers(RUNS.query("num_layers == 5"), ["dead_fraction", "zero_fraction"])
    for ax in (one_depth, plot_vs_layer(layers, "dead_fraction", log=False)):
        low, high = ax.get_xlim()
        assert all(tick == round(tick) for tick in ax.get_xticks() if low <= tick <= high)
    assert {line.get_marker() for line in one_depth.lines} > {"o"}  # lines of one point show nothing else


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
            np.testing.assert_allclose(curves(ax)[METHOD_STYLES[method]["color"].lower()], means[method])
        thin = [line.get_ydata().tolist() for line in ax.lines if line.get_linewidth() < 0.6]
        expected = LAYERS.sort_values("layer").groupby(["method", "seed"])["norm"].agg(list)
        assert sorted(thin) == sorted(expected)
    share_legend(fig)
    fig.canvas.draw()


def test_zeros_have_no_place_on_a_log_axis():
    """Layer 7 has one zero of five, 8 two, 5 three, 9 four: means need half of the runs."""
    zero = LAYERS["seed"] < LAYERS["layer"].map({5: 3, 7: 1, 8: 2, 9: 4}).fillna(0)
    table = LAYERS.assign(norm=LAYERS["norm"].mask(zero, 0))
    mean = curves(plot_vs_layer(table, "norm"))[METHOD_STYLES["ReLU"]["color"].lower()]
    assert np.flatnonzero(np.isnan(mean)).tolist() == [4, 8]
    left = table.query("method == 'ReLU' and layer == 8 and seed >= 2")["norm"]
    assert mean[7] == pytest.approx(left.prod() ** (1 / 3))
    plot_vs_layer(table.assign(norm=0.0), "norm").figure.canvas.draw()


def test_bad_choices_are_refused():
    with pytest.raises(ValueError, match="num_layers"):
        plot_vs_num_layers(pd.concat([RUNS, RUNS]), "test_acc")
