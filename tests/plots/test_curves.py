import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex, to_rgb

from deadgcn.plots import curves as figures
from deadgcn.plots.curves import METHOD_COLORS, METHOD_STYLES, OTHER_COLORS
from deadgcn.plots.legends import share_legend
from deadgcn.stats.estimates import summarize

METHODS, DEPTHS, SEEDS = ("ReLU", "ReLU + pruning", "LeakyReLU"), (0, 5, 10), (0, 1, 2, 3)


@pytest.fixture(autouse=True)
def clean_figures():
    with plt.rc_context():
        figures.set_style()
        yield
        plt.close("all")


def make_table(keys: dict, measures: list[str], seed: int) -> pd.DataFrame:
    """Every combination of the keys, with random measures between 0 and 1."""
    index = pd.MultiIndex.from_product(keys.values(), names=keys)
    numbers = np.random.default_rng(seed).random((len(index), len(measures)))
    return pd.DataFrame(numbers, index, measures).reset_index()


@pytest.fixture
def runs() -> pd.DataFrame:
    keys = {"method": METHODS, "num_layers": DEPTHS, "seed": SEEDS}
    table = make_table(keys, ["test_acc", "dead_fraction", "zero_fraction"], seed=0)
    table.loc[table["num_layers"] == 0, ["dead_fraction", "zero_fraction"]] = np.nan
    return table


@pytest.fixture
def layers() -> pd.DataFrame:
    keys = {"method": METHODS, "seed": SEEDS, "layer": range(1, 33)}
    table = make_table(keys, ["dirichlet_energy"], seed=1)
    return table.assign(dirichlet_energy=10 ** (24 * table["dirichlet_energy"] - 22))


@pytest.fixture
def epochs() -> pd.DataFrame:
    keys = {"method": METHODS, "num_layers": DEPTHS, "seed": SEEDS, "epoch": range(6)}
    return make_table(keys, ["val_acc"], seed=2)


def thick(ax) -> list:
    return [line for line in ax.lines if line.get_linewidth() > 1]


def faint(ax) -> list:
    return [line for line in ax.lines if line.get_linewidth() < 0.6]


def legend_of(ax) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def contents(folder) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_lines_over_depth_are_the_summarized_means_and_intervals(runs):
    ax = figures.plot_vs_num_layers(runs, "test_acc")
    summary = summarize(runs, "test_acc")
    for method, line, bars in zip(METHODS, thick(ax), ax.collections[::2], strict=True):
        expected = summary[summary["method"] == method]
        np.testing.assert_array_equal(line.get_ydata(), expected["mean"])
        ends = np.array([path[:, 1] for path in bars.get_segments()])
        np.testing.assert_array_equal(ends, expected[["low", "high"]])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("number of graph convolutions", "test accuracy")
    assert ax.get_xticks().tolist() == list(DEPTHS)
    assert legend_of(ax) == list(METHODS)


def test_every_run_is_a_dot_next_to_its_own_arm(runs):
    shuffled = runs.sample(frac=1, random_state=0).set_index(np.zeros(len(runs), int))
    ax = figures.plot_vs_num_layers(shuffled, "test_acc")
    dots = [np.asarray(dots.get_offsets()) for dots in ax.collections[1::2]]
    for method, arm in zip(METHODS, dots, strict=True):
        assert sorted(arm[:, 1]) == sorted(runs.loc[runs["method"] == method, "test_acc"])
    places = [sorted(arm[abs(arm[:, 0] - 5) < 2, 0]) for arm in dots]
    assert places[0][-1] < places[1][0] and places[1][-1] < places[2][0]  # side by side at depth 5
    gaps = [np.diff(place) for place in places]
    assert min(gaps[0]) > 0 and np.allclose(gaps[0], gaps[2])  # each seed has its own place, the same in all


def test_chance_is_a_labelled_line(runs, epochs):
    over_depth = figures.plot_vs_num_layers(runs, chance=0.319)
    for ax in (over_depth, figures.plot_training_curves(epochs, method="ReLU", chance=0.319)):
        assert ax.lines[-1].get_ydata() == [0.319, 0.319]
        assert ax.lines[-1].get_linestyle() == "--"
        assert legend_of(ax)[-1].split() == ["majority", "class"]


def test_two_quantities_differ_by_line_style_and_leave_out_undefined_depths(runs):
    ax = figures.plot_vs_num_layers(runs, ("dead_fraction", "zero_fraction"))
    lines = thick(ax)
    assert len(lines) == 6 and all(len(line.get_xdata()) == 2 for line in lines)
    for dead, zero in zip(lines[::2], lines[1::2], strict=True):
        assert dead.get_color() == zero.get_color() and dead.get_marker() == zero.get_marker()
        assert dead.get_linestyle() == "-" and zero.get_linestyle() != "-"
    assert legend_of(ax) == [*METHODS, "dead fraction", "zero fraction"]
    assert ax.get_ylabel() == "dead fraction, zero fraction"
    assert ax.get_xticks().tolist() == [5, 10]


def test_one_run_and_uneven_depths_can_be_drawn_on_given_axes(runs):
    one = runs[(runs["num_layers"] == 5) & (runs["seed"] == 0)]
    assert figures.plot_vs_num_layers(one).get_xticks().tolist() == [5]
    uneven, ax = runs.replace({"num_layers": {0: 1, 5: 2, 10: 128}}), plt.subplots()[1]
    assert figures.plot_vs_num_layers(uneven, ax=ax) is ax and 2 not in ax.get_xticks()


def test_lines_over_layers_are_geometric_or_arithmetic_means_over_faint_runs(layers):
    ax = figures.plot_vs_layer(layers, "dirichlet_energy")
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("layer", "Dirichlet energy")
    assert len(faint(ax)) == len(METHODS) * len(SEEDS)
    summary = summarize(layers, "dirichlet_energy", by=("method", "layer"), log=True)
    for method, line in zip(METHODS, thick(ax), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), summary.loc[summary["method"] == method, "mean"])
    run = layers[(layers["method"] == "ReLU") & (layers["seed"] == 0)]
    np.testing.assert_array_equal(faint(ax)[0].get_ydata(), run["dirichlet_energy"])
    ax = figures.plot_vs_layer(layers, "dirichlet_energy", log=False)
    assert (ax.get_xscale(), ax.get_yscale()) == ("linear", "linear")
    first = layers[(layers["method"] == "ReLU") & (layers["layer"] == 1)]
    assert thick(ax)[0].get_ydata()[0] == pytest.approx(first["dirichlet_energy"].mean())


def test_zeros_leave_gaps_on_a_log_axis(layers):
    dead = (layers["layer"] == 9) | (layers["layer"] == 7) & (layers["seed"] == 0)
    dead |= (layers["layer"] == 5) & (layers["seed"] > 0)  # more than half
    layers.loc[dead & (layers["method"] == "ReLU"), "dirichlet_energy"] = 0
    ax = figures.plot_vs_layer(layers, "dirichlet_energy")
    assert np.flatnonzero(np.isnan(faint(ax)[0].get_ydata())).tolist() == [6, 8]
    assert np.flatnonzero(np.isnan(thick(ax)[0].get_ydata())).tolist() == [4, 8]
    ax.figure.canvas.draw()
    figures.plot_vs_layer(layers.assign(dirichlet_energy=0.0), "dirichlet_energy").figure.canvas.draw()


def test_training_curves_have_one_ordered_colour_per_depth(epochs):
    ax = figures.plot_training_curves(epochs, method="LeakyReLU")
    assert legend_of(ax) == ["0", "5", "10"]
    arm = epochs[epochs["method"] == "LeakyReLU"]
    for depth, band in zip(DEPTHS, ax.collections, strict=True):
        interval = summarize(arm[arm["num_layers"] == depth], "val_acc", by="epoch")
        edges = {tuple(vertex) for vertex in band.get_paths()[0].vertices.tolist()}
        assert edges >= {*zip(interval["epoch"], interval["low"], strict=True)}
        assert edges >= {*zip(interval["epoch"], interval["high"], strict=True)}
    assert len(thick(figures.plot_training_curves(arm))) == len(DEPTHS)  # nothing to choose
    for depth, line in zip(DEPTHS, thick(ax), strict=True):
        means = arm[arm["num_layers"] == depth].groupby("epoch")["val_acc"].mean()
        np.testing.assert_allclose(line.get_ydata(), means, rtol=1e-12)
    greens = [to_rgb(line.get_color())[1] for line in thick(ax)]  # most of what is seen as lightness
    assert greens == sorted(greens, reverse=True) and len(set(greens)) == len(DEPTHS)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "validation accuracy")


@pytest.mark.parametrize("method", [None, "relu"])
def test_training_curves_need_one_arm(epochs, method):
    with pytest.raises(ValueError, match=rf"method must be one of .*'LeakyReLU'\], but {method!r} was"):
        figures.plot_training_curves(epochs, method=method)


def test_an_arm_looks_the_same_in_every_figure(runs, layers):
    depth, layer = figures.plot_vs_num_layers, figures.plot_vs_layer
    for table, plot, y in ((runs, depth, "test_acc"), (layers, layer, "dirichlet_energy")):
        for methods in (METHODS, METHODS[::-1], METHODS[1:]):
            ax = plot(pd.concat([table[table["method"] == method] for method in methods]), y)
            order = [method for method in METHODS if method in methods]
            assert [line.get_color() for line in thick(ax)] == [METHOD_COLORS[method] for method in order]
            assert [line.get_marker() for line in thick(ax)] == [METHOD_STYLES[m]["marker"] for m in order]
            assert legend_of(ax) == order
    for part in ("color", "marker", "linestyle"):
        assert len({style[part] for style in METHOD_STYLES.values()}) == len(METHODS)


def test_other_labels_take_the_next_colours(runs):
    variant = runs[runs["method"] == "ReLU"]
    runs = pd.concat([variant.assign(method="He"), variant, variant.assign(method="zero")])
    lines = thick(figures.plot_vs_num_layers(runs))
    assert [to_hex(line.get_color()).upper() for line in lines] == ["#000000", *OTHER_COLORS[:2]]
    assert len({line.get_marker() for line in lines}) == 3


def test_panels_share_one_legend_and_their_outer_labels(runs):
    fig, axes = plt.subplots(1, 2, sharey=True, layout="constrained")
    for ax, y in zip(axes, ["dead_fraction", "zero_fraction"], strict=True):
        figures.plot_vs_num_layers(runs, y, ax=ax)
    share_legend(fig)
    assert [ax.get_legend() for ax in axes] == [None, None]
    assert [text.get_text() for text in fig.legends[0].get_texts()] == list(METHODS)
    assert [ax.get_ylabel() for ax in axes] == ["dead fraction", ""]
    with pytest.raises(ValueError, match=r"side must be one of .*'left'"):
        share_legend(fig, "left")


@pytest.mark.parametrize("y", ["foo", "method", "seed", "num_layers", "empty"])
def test_bad_y_is_named(runs, y):
    with pytest.raises(ValueError, match=rf"y must be one of \['test_acc'.*'zero_fraction'\], but '{y}' was"):
        figures.plot_vs_num_layers(runs.assign(empty=np.nan), y)


def test_other_bad_choices_are_named(runs, layers):
    with pytest.raises(ValueError, match=r"hue must be one of \['method',.*\], but 'arm' was passed"):
        figures.plot_vs_layer(layers, "dirichlet_energy", hue="arm")
    with pytest.raises(ValueError, match="y must be one to 3 columns, but"):
        figures.plot_vs_num_layers(runs, ["test_acc"] * 4)
    with pytest.raises(ValueError, match=r"put \['stage'\] into by, or choose one"):
        stages = pd.concat([layers.assign(stage=stage) for stage in ("init", "last")])
        figures.plot_vs_layer(stages, "dirichlet_energy")


def test_saved_bytes_are_the_same_for_the_same_figure(runs, tmp_path):
    summary, one, two = summarize(runs, "test_acc"), tmp_path / "new" / "one", tmp_path / "new" / "two"
    for folder in (one, two, two):  # a figure drawn anew, and over what is there
        fig = figures.plot_vs_num_layers(runs, chance=0.3).figure
        path = figures.save_figure(fig, "depth", summary, folder)
        assert path == folder / "depth.png"
    figures.save_figure(fig, "depth", summary, two)  # the same object again
    saved = contents(one)
    assert sorted(saved) == ["depth.csv", "depth.pdf", "depth.png"] and saved == contents(two)
    for name in ("depth.png", "depth.pdf"):
        assert b"atplotlib" not in saved[name] and b"CreationDate" not in saved[name]


def test_saved_numbers_are_exact(runs, tmp_path):
    summary = summarize(runs, ("dead_fraction", "zero_fraction"))
    figures.save_figure(plt.figure(), "numbers", summary, tmp_path)
    assert contents(tmp_path)["numbers.csv"].startswith(b"quantity,method,num_layers,n,mean,std,low,high\n")
    read = pd.read_csv(tmp_path / "numbers.csv")
    pd.testing.assert_frame_equal(read, summary, check_exact=True, check_dtype=False)


def test_a_failed_save_leaves_what_was_there(tmp_path):
    figures.save_figure(plt.figure(), "a", pd.DataFrame({"x": [1]}), tmp_path)
    before = contents(tmp_path)
    with pytest.raises(AttributeError):
        figures.save_figure(plt.figure(figsize=(1, 1)), "a", None, tmp_path)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["a/b", "..\\a", ""])
def test_names_with_a_folder_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match="name must be a file name without a folder, but"):
        figures.save_figure(plt.figure(), name, pd.DataFrame(), tmp_path)
    assert not contents(tmp_path)


def test_shown_figures_carry_their_alt_text_and_are_closed(monkeypatch):
    shown = []
    monkeypatch.setattr(figures, "display", lambda fig, metadata: shown.append((fig, metadata)))
    fig = plt.figure()
    figures.show_figure(fig, "Accuracy falls.")
    assert shown == [(fig, {"image/png": {"alt": "Accuracy falls."}})]
    assert not plt.fignum_exists(fig.number)
