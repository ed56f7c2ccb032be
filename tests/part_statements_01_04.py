"""What the prose of 01 to 04 says about Cora, held against the committed tables."""

from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[1]
KIPF = ROOT / "results" / "profiles" / "kipf" / "Cora"
ARMS = ["ReLU", "ReLU + pruning", "LeakyReLU"]


def results(name):
    return pd.read_csv(ROOT / "results" / "Cora" / f"{name}.csv")


def figure(name):
    return pd.read_csv(ROOT / "figures" / "Cora" / f"{name}.csv")


def facts():
    return results("data_facts").set_index("fact")["value"]


def majority():
    return facts()["majority class among test nodes"]


def means(prefix, quantity):
    """Mean over the runs, a row per depth and a column per method."""
    return results(f"{prefix}_runs").groupby(["num_layers", "method"])[quantity].mean().unstack()


def differences(arm, baseline, quantity):
    table = results("paired_difference")
    chosen = (table["method"] == arm) & (table["baseline"] == baseline) & (table["quantity"] == quantity)
    return table[chosen].set_index("num_layers")


# 01_data


def test_classes_are_balanced_in_training_only():
    """20 in each class, although the classes differ in size. The largest class holds 319 of the 1,000 ..."""
    shares = figure("classes")
    assert np.ptp(shares["training"]) < 1e-12
    assert all(shares[part].max() > 4 * shares[part].min() for part in ("all", "validation", "test"))
    assert majority() == shares["test"].max() == 0.319


def test_most_nodes_have_few_neighbours():
    """Most nodes have few neighbours and a few nodes have many."""
    degrees = figure("degrees")
    few = degrees.loc[degrees["degree"] <= 5, "nodes"].sum()
    many = degrees.loc[degrees["degree"] >= 50, "nodes"].sum()
    assert few > 0.8 * facts()["nodes"] and 0 < many < 10


def test_neighbours_mostly_share_a_class():
    """On Cora it is 0.81: averaging over neighbours mostly averages within a class."""
    assert round(facts()["edge homophily"], 2) == 0.81


def test_the_measures_of_smoothing_do_not_vanish():
    """Only 0.3 % of the signal lies outside the limit. Yet the distance to mean is still 67 % ..."""
    first, last = figure("propagation").iloc[0], figure("propagation").iloc[-1]
    assert last["power"] == 1024 and round(last["distance to the limit"], 3) == 0.003
    assert round(last["distance to mean"], 2) == 0.67
    assert abs(last["Dirichlet energy"] / first["Dirichlet energy"] - 1) < 0.1  # "has hardly changed"


# 02_recipe


def test_our_network_is_that_of_pyg_with_our_head():
    """Cannot be told from PyG's layers with our head ... about half a percentage point less accurate ..."""
    table = results("recipe_gaps")
    alike = table[table["ours minus"] == "PyG, with our head"]
    apart = table[table["ours minus"] == "PyG, two convolutions"]
    assert (alike["low"] < 0).all() and (alike["high"] > 0).all()
    assert (apart["high"] < 0).all() and apart["difference"].between(-0.006, -0.004).all()


def test_the_standard_recipe():
    """PyG's two convolutions come close to the published 81.5 % ... about three points lower ..."""
    kipf = pd.read_csv(KIPF / "recipe.csv").query("quantity == 'test_acc'").set_index("method")["mean"]
    gap = pd.read_csv(KIPF / "recipe_gaps.csv").query("quantity == 'test_acc'").set_index("ours minus")
    assert abs(kipf["PyG, two convolutions"] - 0.815) < 0.005
    assert gap.loc["PyG, with our head", "low"] < 0 < gap.loc["PyG, with our head", "high"]
    heads = kipf[["ours, two layers", "PyG, with our head"]]
    assert (kipf["PyG, two convolutions"] - heads).between(0.025, 0.035).all()


def test_the_head_costs_accuracy_under_both_recipes():
    """Under both recipes that layer costs accuracy on Cora. The head costs more under this recipe ..."""
    costs = []
    for folder in (ROOT / "results" / "Cora", KIPF):
        table = pd.read_csv(folder / "recipe.csv").query("quantity == 'test_acc'").set_index("method")
        assert table.loc["PyG, with our head", "high"] < table.loc["PyG, two convolutions", "low"]
        costs.append(table.loc["PyG, two convolutions", "mean"] - table.loc["PyG, with our head", "mean"])
    assert costs[1] > 2 * costs[0]


# 03_depth


def test_accuracy_against_depth():
    """Both arms are most accurate at 5 layers. The mean of the best ReLU models falls below ..."""
    best = means("depth", "test_acc")
    assert (best.idxmax() == 5).all()
    assert best.index[best["ReLU"] < majority()].tolist() == [20, 25, 30]
    assert (best["LeakyReLU"] > majority()).all()
    assert 0.5 < best["LeakyReLU"][30] / best["LeakyReLU"][5] < 0.6  # "little more than half"


def test_where_runs_fall_into_two_groups():
    """ReLU at 15 layers, LeakyReLU at 30, and for the last models also at 25 ... In all other rows ..."""
    table = results("distribution")
    mixed = table[table["share"].between(0.1, 0.9, inclusive="neither")]
    found = mixed.groupby(["quantity", "method"])["num_layers"].apply(list).to_dict()
    assert found == {
        ("test_acc", "ReLU"): [15],
        ("test_acc", "LeakyReLU"): [30],
        ("test_acc_last", "ReLU"): [15],
        ("test_acc_last", "LeakyReLU"): [25, 30],
    }


def test_a_tuned_recipe_loses_less():
    """The plain GCN that Chen et al. tuned ... still has 0.603 at 32 layers, where ours is far below ..."""
    published = pd.read_csv(ROOT / "results" / "published" / "deep.csv", dtype={"reference": str})
    tuned = published.query("method == 'GCN' and tuned == 'yes' and num_layers == 32")["test_acc"].item()
    assert tuned == 0.603 and means("depth", "test_acc")["ReLU"][30] < majority() - 0.1


def test_deep_networks_fail_on_the_training_nodes():
    """ReLU networks of 5 layers learn the training nodes by heart. Those of 30 layers hardly do better ..."""
    curves = figure("training_curves").query("quantity == 'train_loss' and epoch == 99 and method == 'ReLU'")
    loss = curves.set_index("num_layers")["mean"]
    assert loss[5] < 0.01 and 0.9 * np.log(7) < loss[30] < np.log(7)


def test_dead_neurons_against_depth():
    """5 % of the ReLU neurons are dead at 5 layers and 48 % at 30. LeakyReLU has no dead neurons."""
    dead, accuracy = means("depth", "dead_fraction_last"), means("depth", "test_acc_last")["ReLU"]
    assert dead["ReLU"].round(2)[[5, 30]].tolist() == [0.05, 0.48]
    assert (dead["LeakyReLU"].dropna() < 1e-3).all()
    assert dead["ReLU"].loc[5:].is_monotonic_increasing and accuracy.loc[5:25].is_monotonic_decreasing


def test_death_precedes_training():
    """A third of the neurons in the second half of the layers are dead before training."""
    by_layer = figure("dead_by_layer").query("stage == 'init' and layer > 15")
    assert abs(by_layer["mean"].mean() - 1 / 3) < 0.04


# 04_pruning


def test_one_neuron_is_revived_by_several_steps():
    """It takes several steps until this neuron fires again, and then at very few of the nodes."""
    fires = figure("revival")["share of nodes that fire"]
    assert len(fires) > 3 and (fires[:-1] == 0).all() and 0 < fires.iloc[-1] < 0.01


def test_stripping_alone_wakes_a_layer():
    """Stripping alone wakes all but one of the dead neurons of this layer ... none is dead."""
    layers = figure("activations").drop(columns=["bin", "class", "nodes"]).groupby("network").max()
    dead = (layers == 0).sum(axis=1)
    assert dead["trained"] > 5 and dead["then stripped"] == 1 and dead["trained with pruning"] == 0


def test_the_largest_gaps_to_the_published_table():
    """The largest gaps are those of LeakyReLU at 20 layers and more, where our best models are more ..."""
    published = pd.read_csv(ROOT / "results" / "published" / "table1.csv")
    gap = means("pruning", "test_acc")[ARMS] - published.pivot(
        index="num_layers", columns="method", values="test_acc"
    )
    largest = gap.stack().sort_values(key=abs).tail(3)
    assert sorted(largest.index) == [(depth, "LeakyReLU") for depth in (20, 25, 30)] and (largest > 0).all()


def test_which_arms_stay_above_the_majority_class():
    """Only LeakyReLU stays above the majority class beyond 15 layers (best models). At 20 layers ..."""
    above = means("pruning", "test_acc")[ARMS] > majority()
    assert above["LeakyReLU"].all() and not above.loc[20:, ["ReLU", "ReLU + pruning"]].any(axis=None)


def test_pruning_lowers_the_dead_fraction():
    """At every depth. Up to 10 layers hardly any neuron stays dead. At 20 layers and more, most ..."""
    dead = (
        figure("dead_and_zero").query("quantity == 'dead_fraction_last'").set_index(["num_layers", "method"])
    )
    plain, pruned = (dead.xs(arm, level="method") for arm in ARMS[:2])
    assert (pruned["high"] < plain["low"]).all()
    assert (pruned["mean"].loc[:10] < 0.01).all()
    assert (pruned["mean"].loc[20:] > 0.5 * plain["mean"].loc[20:]).all()


def test_where_pruning_changes_accuracy():
    """Differs from ReLU at 10 and 20 layers ...; with the last models at 10, 20, 25 and 30. ..."""
    for quantity, depths in {"test_acc": [10, 20], "test_acc_last": [10, 20, 25, 30]}.items():
        table = differences("ReLU + pruning", "ReLU", quantity)
        assert table.index[table["p_holm"] <= 0.05].tolist() == depths
        assert (table["high"] >= 0).all()
        assert table.loc[5, "p_equivalent"] <= 0.05  # "too small to matter"


def test_pruning_loses_to_leaky_relu():
    """Against LeakyReLU (best models), pruning loses at every depth above 0."""
    table = differences("ReLU + pruning", "LeakyReLU", "test_acc").loc[5:]
    assert (table["high"] < 0).all() and (table["p_holm"] <= 0.05).all()


def test_where_pruning_is_more_often_better():
    """More likely than not the better of its pair at 10, 20 and 25 layers ... Nowhere ... worse."""
    table = results("improvement").query("quantity == 'test_acc'").set_index("num_layers")
    assert table.index[table["low"] > 0.5].tolist() == [10, 20, 25]
    assert (table["high"] > 0.5).all()
