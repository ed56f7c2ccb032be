"""Figures say how many runs diverged, and draw what there is."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from deadgcn.plots import curves as figures
from deadgcn.plots.forest import plot_forest
from deadgcn.plots.legends import run_labels, share_legend

RELU, LEAKY = "ReLU", "LeakyReLU"


@pytest.fixture(autouse=True)
def clean_figures():
    yield
    plt.close("all")


def legend_of(ax) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def depth_runs() -> pd.DataFrame:
    """Two arms at depths 0, 2 and 6 with three seeds; at 6 all of ReLU and one run of the other diverge."""
    keys = pd.MultiIndex.from_product([(RELU, LEAKY), (0, 2, 6), range(3)])
    runs = keys.to_frame(index=False, name=["method", "num_layers", "seed"])
    gone = (runs["num_layers"] == 6) & ((runs["method"] == RELU) | (runs["seed"] == 1))
    values = np.random.default_rng(0).random(len(runs))
    lost = pd.array(np.where(gone, 3, -1), dtype="Int64")
    return runs.assign(test_acc=np.where(gone, np.nan, values), diverged_epoch=lost).replace(
        {"diverged_epoch": {-1: pd.NA}}
    )


def test_legends_over_depth_say_how_many_of_an_arms_runs_diverged():
    ax = figures.plot_vs_num_layers(depth_runs())
    assert legend_of(ax) == ["ReLU (3 of 9 diverged)", "LeakyReLU (1 of 9 diverged)"]
    assert ax.get_xticks().tolist() == [0, 2, 6]
    one_arm = figures.plot_vs_num_layers(depth_runs().query("method == 'ReLU'"))
    assert one_arm.get_xlim()[1] >= 6  # the depth without any value is in sight
    sound = figures.plot_vs_num_layers(depth_runs().query("num_layers < 6"))
    assert legend_of(sound) == ["ReLU", "LeakyReLU"]


def test_runs_are_counted_once_whatever_the_number_of_their_rows():
    rows = (
        depth_runs()
        .query("num_layers == 6")
        .drop(columns="test_acc")
        .merge(pd.Series(range(1, 7), name="layer"), how="cross")
    )
    rows["norm"] = rows["layer"].where(rows["diverged_epoch"].isna()) / 2
    ax = figures.plot_vs_layer(rows, "norm")
    assert legend_of(ax) == ["ReLU (3 of 3 diverged)", "LeakyReLU (1 of 3 diverged)"]
    both = pd.concat([rows.assign(adjacency=kind) for kind in ("normalized", "identity")])
    assert run_labels(both)[LEAKY] == "LeakyReLU (2 of 6 diverged)"
    assert run_labels(both, "num_layers") == {6: "6 (8 of 12 diverged)"}


@pytest.mark.parametrize("log", [True, False])
def test_where_everything_diverged_an_empty_panel_says_so(log):
    rows = depth_runs().query("num_layers == 6").drop(columns="test_acc").assign(diverged_epoch=0)
    rows = rows.merge(pd.Series(range(1, 4), name="layer"), how="cross").assign(norm=np.nan)
    ax = figures.plot_vs_layer(rows, "norm", log=log)
    assert legend_of(ax) == ["ReLU (3 of 3 diverged)", "LeakyReLU (3 of 3 diverged)"]
    assert ax.get_xlim()[0] <= 1 and ax.get_xlim()[1] >= 3
    ax.figure.canvas.draw()
    runs = depth_runs().assign(test_acc=np.nan, diverged_epoch=0)
    ax = figures.plot_vs_num_layers(runs, chance=0.3)
    assert legend_of(ax)[:2] == ["ReLU (9 of 9 diverged)", "LeakyReLU (9 of 9 diverged)"]
    assert ax.get_xticks().tolist() == [0, 2, 6]
    ax.figure.canvas.draw()


def curves() -> pd.DataFrame:
    """Losses of depths 2 and 6: run 0 of depth 6 is infinite in epoch 1 and missing from then on."""
    keys = pd.MultiIndex.from_product([(2, 6), range(3), range(4)])
    epochs = keys.to_frame(index=False, name=["num_layers", "seed", "epoch"])
    gone = (epochs["num_layers"] == 6) & (epochs["seed"] == 0)
    loss = (epochs["seed"] + 1.0).where(~(gone & (epochs["epoch"] > 1)))
    loss = loss.mask(gone & (epochs["epoch"] == 1), np.inf)
    return epochs.assign(method=RELU, train_loss=loss, diverged_epoch=gone.map({True: 1.0, False: np.nan}))


def test_training_curves_are_means_of_what_is_finite():
    ax = figures.plot_training_curves(curves(), "train_loss")
    assert legend_of(ax) == ["2", "6 (1 of 3 diverged)"]
    assert ax.lines[1].get_ydata().tolist() == [2.0, 2.5, 2.5, 2.5]
    ax = figures.plot_training_curves(curves().assign(train_loss=np.nan, diverged_epoch=0), "train_loss")
    assert legend_of(ax) == ["2 (3 of 3 diverged)", "6 (3 of 3 diverged)"]
    ax.figure.canvas.draw()


def test_panels_with_other_losses_each_name_their_own():
    fig, axes = plt.subplots(1, 2, layout="constrained")
    for ax, table in zip(axes, (curves(), curves().assign(diverged_epoch=np.nan)), strict=True):
        figures.plot_training_curves(table, "train_loss", ax=ax)
    share_legend(fig, "right")
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["2", "6"]
    assert [[text.get_text() for text in ax.texts] for ax in axes] == [["6 (1 of 3 diverged)"], [""]]
    fig, axes = plt.subplots(1, 2, layout="constrained")
    for ax in axes:
        figures.plot_training_curves(curves(), "train_loss", ax=ax)
    share_legend(fig, "right")
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["2", "6 (1 of 3 diverged)"]
    assert not [text for ax in axes for text in ax.texts]


def test_forest_lines_say_how_many_diverged():
    rows = pd.DataFrame(
        {
            "name": ["x", "x", "y", "z", "z"],
            "estimate": [1.0, 2.0, 3.0, np.nan, np.nan],
            "n_diverged": [1, 2, 0, 3, 3],
            "kind": "k",
        }
    )
    rows = rows.assign(low=rows["estimate"] - 1, high=rows["estimate"] + 1)
    ax = plot_forest(rows, "name", hue="kind", colors={"k": "black"})
    assert [text.get_text() for text in ax.texts] == ["1, 2 diverged", "3 diverged"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["x", "y", "z"]
    lost = rows.assign(estimate=np.nan, low=np.nan, high=np.nan)
    plot_forest(lost, "name", hue="kind", colors={"k": "black"}, log=True).figure.canvas.draw()
    assert not plot_forest(rows.drop(columns="n_diverged"), "name", hue="kind", colors={"k": "black"}).texts
