"""Statements of notebook 09 and of README about Cora's default run, each against the committed tables."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
CORA, FIGURES = ROOT / "results" / "Cora", ROOT / "figures" / "Cora"
ARMS = ["ReLU", "ReLU + pruning", "LeakyReLU"]
DEEP = [20, 25, 30]


def table(name, folder=CORA, **options):
    return pd.read_csv(folder / f"{name}.csv", **options)


@pytest.fixture(scope="module")
def means():
    runs = table("pruning_runs")
    assert runs[runs["method"].isin(ARMS)].groupby(["num_layers", "method"]).size().eq(30).all()
    return runs.groupby(["num_layers", "method"]).mean(numeric_only=True).unstack()


@pytest.fixture(scope="module")
def majority():
    return table("data_facts", index_col="fact")["value"]["majority class among test nodes"]


@pytest.fixture(scope="module")
def gains():
    gains = table("paired_difference").query("baseline == 'ReLU' and quantity == 'test_acc'")
    return gains.set_index(["method", "num_layers"])


@pytest.fixture(scope="module")
def ratios():
    ratios = table("smoothing_ratios").query("adjacency == 'normalized' and method == 'ReLU + pruning'")
    return ratios.set_index(["stage", "measure"])


@pytest.fixture(scope="module")
def status():
    return table("verdict", index_col="claim")["status"]


# Accuracy


def test_pruning_makes_deep_networks_slightly_more_accurate(gains):
    """README: by one to two percentage points."""
    points = 100 * gains.loc["ReLU + pruning", "difference"][DEEP]
    assert set(points.round()) == {1, 2}


def test_deep_relu_networks_are_below_the_majority_class_and_leaky_ones_above(means, majority):
    assert (means.loc[DEEP, "test_acc"][["ReLU", "ReLU + pruning"]] < majority).all(axis=None)
    assert (means.loc[DEEP, "test_acc"]["LeakyReLU"] > majority).all()
    last = means.loc[DEEP, "test_acc_last"]
    assert (last[["ReLU", "ReLU + pruning"]] < majority).all(axis=None)


def test_relu_falls_below_the_majority_class_between_15_and_20_layers(means, majority):
    """The picture in README; LeakyReLU is above it up to 25 layers in the last models, too."""
    for arm in ARMS[:2]:
        assert means.loc[15, ("test_acc", arm)] > majority > means.loc[20, ("test_acc", arm)]
    assert (means.loc[:25, ("test_acc_last", "LeakyReLU")] > majority).all()


def test_every_arm_is_most_accurate_at_5_layers_and_relu_loses_accuracy_first(means):
    acc = means["test_acc"][ARMS]
    assert (acc.idxmax() == 5).all() and (acc.loc[30] < 0.6 * acc.loc[5]).all()
    assert (acc["LeakyReLU"].loc[10:] > acc[ARMS[:2]].loc[10:].max(axis=1)).all()


def test_all_arms_start_near_047_and_peak_near_076(means):
    """The alternative text of the figure of accuracy."""
    assert means.loc[0, "test_acc"][ARMS].between(0.46, 0.48).all()
    assert means.loc[5, "test_acc"][ARMS].between(0.75, 0.78).all()
    assert (means.loc[5:20, "test_acc"]["LeakyReLU"] > 0.7).all()


def test_runs_split_at_15_layers_with_relu_and_at_30_with_leaky_relu():
    shares = table("distribution").query("quantity == 'test_acc'")
    shares = shares.set_index(["method", "num_layers"])["share"]
    split = shares[shares.between(0.1, 0.9)]
    assert list(split.index) == [("ReLU", 15), ("LeakyReLU", 30)]
    assert (shares["ReLU"][DEEP] == 0).all()


def test_the_original_s_table_and_files_disagree_at_30_layers_and_ours_agree_with_the_files(means):
    published, files = (
        table(name, ROOT / "results/published").query("num_layers == 30").set_index("method")
        for name in ("table1", "result_files")
    )
    assert published["test_acc"]["ReLU + pruning"] > published["test_acc"]["LeakyReLU"]
    assert files["test_acc_last"]["ReLU + pruning"] < files["test_acc_last"]["LeakyReLU"]
    for name in ("test_acc", "test_acc_last"):
        assert means.loc[30, (name, "ReLU + pruning")] < means.loc[30, (name, "LeakyReLU")]


def test_gcnii_is_far_above_other_published_networks_at_64_layers():
    deep = table("deep", ROOT / "results/published").query("num_layers == 64").set_index("method")["test_acc"]
    assert deep["GCNII"] == 0.855 and (deep.drop("GCNII") < 0.5).all()


def test_the_standard_recipe_has_100_runs():
    runs = table("recipe", ROOT / "results/profiles/kipf/Cora")["n"]
    assert (runs == 100).all()


def test_our_network_is_as_accurate_as_pyg_s_with_our_head_and_below_its_own():
    gaps = table("recipe_gaps").query("quantity == 'test_acc'").set_index("ours minus")
    same, own = gaps.loc["PyG, with our head"], gaps.loc["PyG, two convolutions"]
    assert same["low"] < 0 < same["high"] and abs(same["difference"]) < 0.001
    assert -0.01 < own["difference"] < 0 and own["high"] < 0


# Dead neurons, and what pruning gains


def test_pruning_lowers_the_dead_and_the_zero_fraction_at_every_depth(means):
    hidden = means.loc[5:]
    for name in ("dead_fraction", "dead_fraction_last", "zero_fraction", "zero_fraction_last"):
        assert (hidden[name]["ReLU + pruning"] < hidden[name]["ReLU"]).all()


def test_the_reduction_is_almost_complete_at_10_layers_and_smaller_at_30(means):
    dead = means["dead_fraction"]
    kept = dead["ReLU + pruning"] / dead["ReLU"]
    assert kept[10] < 0.06 and kept[30] > 0.75
    assert dead["ReLU"][DEEP].between(0.38, 0.45).all() and (dead["ReLU + pruning"][[5, 10]] <= 0.011).all()
    assert dead["ReLU + pruning"][DEEP].between(0.25, 0.4).all()


def test_gains_are_significant_at_10_and_20_layers_and_not_at_30(gains):
    pruned = gains.loc["ReLU + pruning"]
    assert (pruned.loc[[10, 20], "p_holm"] <= 0.05).all() and pruned.loc[30, "p_holm"] > 0.05
    assert pruned.loc[30, "low"] < 0 < pruned.loc[30, "high"]
    assert (pruned["difference"].loc[5:] > 0).all() and pruned["difference"].idxmax() == 10


def test_the_text_s_rule_gains_more_at_20_layers(gains):
    text = gains.loc["Pruning as in the text", "difference"]
    assert text[20] > gains.loc["ReLU + pruning", "difference"][20] and text.idxmax() == 20


def test_no_step_between_text_and_code_is_significant():
    walk = table("ablation").query("section == 'walk' and step == step")
    steps = walk.query("quantity == 'gain'")
    assert len(steps) == 15 and (steps["p_holm"] > 0.05).all() and steps["step"].nunique() == 5
    protocols = walk.query("quantity in ('test_acc', 'test_acc_last')")
    assert protocols["to"].nunique() == 6 and (protocols["difference"] > 0).all()


# Over-smoothing


def test_size_divided_out_nothing_is_significant_in_best_models_and_everything_in_last_ones(ratios):
    measures = ratios[ratios["kind"] == "size divided out"]
    assert len(measures.loc["last"]) == len(measures.loc["best"]) == 7
    assert (measures.loc["best", "p_holm"] > 0.05).all() and (measures.loc["last", "p_holm"] <= 0.05).all()


def test_measures_disagree_about_the_direction(ratios):
    """Above 1 is less smooth by the quotient and the distance; below 1 is more alike by the angles."""
    last = ratios.loc["last", "estimate"]
    assert 1 < last["rayleigh_quotient"] < 1.25 and 1 < last["distance_to_limit"] < 1.25
    assert last["mean_average_distance"] < 1 and last["relative_distance_to_mean"] < 1


def test_the_raw_measures_are_lower_with_pruning_but_not_significantly(ratios):
    raw = ratios.loc["best"].loc[["dirichlet_energy", "distance_to_mean"]]
    assert (raw["estimate"] < 1).all() and (raw["p_holm"] > 0.05).all()


def curves(name, measure):
    """The lines of a figure: a row per layer, a column per arm."""
    return table(name, FIGURES).pivot(index="layer", columns="method", values=measure)


@pytest.mark.parametrize("measure", ["dirichlet_energy", "distance_to_mean"])
def test_the_curves_of_the_raw_measures_follow_the_norm(measure):
    norm, raw = curves("smoothing_trained", "norm"), curves("smoothing_trained", measure)
    for arm in ARMS:
        assert np.corrcoef(np.log(norm[arm]), np.log(raw[arm]))[0, 1] > 0.95


@pytest.mark.parametrize("measure", ["dirichlet_energy", "distance_to_mean"])
def test_untrained_the_raw_measures_shrink_with_depth_and_least_with_leaky_relu(measure):
    raw = curves("smoothing_init", measure)
    left = raw.iloc[-1] / raw.iloc[0]
    assert (left < 1e-3).all() and left["LeakyReLU"] > 1e3 * left["ReLU"]


@pytest.fixture(scope="module")
def summary():
    return table("smoothing_summary").query("stage == 'last'").set_index(["adjacency", "method"])


def test_most_layers_are_almost_constant_in_last_models(summary):
    assert (summary.loc["normalized", "constant"] > 0.85).all()


def test_as_many_neurons_are_dead_without_a_graph(summary):
    dead = summary["dead_fraction"].unstack("adjacency").loc["ReLU"]
    assert abs(dead["normalized"] - dead["identity"]) < 0.02 and dead.between(0.45, 0.55).all()


def test_the_gradient_is_0_in_most_layers_with_leaky_relu_too(summary):
    assert (summary.loc["normalized", "no_gradient"] > 0.7).all()
    assert summary.loc[("normalized", "LeakyReLU"), "dead_fraction"] == 0


# The verdict


def test_the_claims_that_the_text_names(status):
    assert (status[["C1", "C2", "C5", "C8"]] == "replicated").all()
    assert (status[["C4", "C7"]] == "not replicated").all()
    assert (status[["C3", "C6", "C9", "C10"]] == "undecided").all()


def test_c3_depends_on_the_model():
    readings = table("verdict", index_col="claim").loc["C3", "readings"]
    assert readings == "best model: undecided; last model: replicated"


def test_c10_is_supported_by_last_models_within_the_margin_and_contradicted_by_best_ones():
    assert table("verdict", index_col="claim").loc["C10", "readings"] == (
        "best model: not replicated; last model: replicated"
    )
    cells = table("verdict_cells").query("claim == 'C10' and reading == 'last model' and scale == 'ratio'")
    assert (cells["answer"] == "for").all() and (cells["p_equivalent"] <= 0.05).all()


def test_the_verdicts_on_other_graphs_and_with_more_seeds(status):
    columns = {"Cora": status}
    for name, folder in {"CiteSeer": "CiteSeer", "more": "profiles/full/Cora"}.items():
        columns[name] = table("verdict", ROOT / "results" / folder, index_col="claim")["status"]
    same = pd.DataFrame(columns).nunique(axis=1) == 1
    assert list(same.index[same]) == ["C1", "C2", "C4", "C5", "C8"]
    assert columns["CiteSeer"]["C10"] == "not replicated"  # README


# README and docs


def test_times_in_readme():
    """Half an hour the first time, minutes from then on."""
    seconds = table("study", ROOT / "results/bench").set_index("what")["seconds"]
    assert 20 * 60 < seconds["cold"] < 40 * 60 and seconds["cached"] < 10 * 60
    assert re.search(r"about half an hour on two cores", (ROOT / "README.md").read_text(encoding="utf-8"))
