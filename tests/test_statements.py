"""What the prose says about Cora, held to the committed tables; 11 and README repeat what 01 to 10 say."""

from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[1]
PRUNED, LEAKY = "ReLU + pruning", "LeakyReLU"
ARMS, RELUS, DEEP = ["ReLU", PRUNED, LEAKY], ["ReLU", PRUNED], [20, 25, 30]
OURS, HEAD, PYG = "ours, two layers", "PyG, with our head", "PyG, two convolutions"
BY_NEIGHBOURS = ["rayleigh_quotient", "distance_to_limit"]
BY_LIKENESS = ["relative_distance_to_mean", "mean_average_distance"]


@cache
def read(name, *index, folder="results/Cora", where=""):
    table = pd.read_csv(ROOT / folder / f"{name}.csv")
    table = table.query(where) if where else table
    return table.set_index(list(index)).sort_index() if index else table


figure = partial(read, folder="figures/Cora")
kipf = partial(read, folder="results/profiles/kipf/Cora")
published = partial(read, folder="results/published")


@cache
def means():
    runs = read("pruning_runs").groupby(["num_layers", "method"])
    assert runs.size().eq(30).all()
    return runs.mean(numeric_only=True).unstack()


def majority():
    return read("data_facts", "fact")["value"]["majority class among test nodes"]


def gains(method=PRUNED, baseline="ReLU", quantity="test_acc"):
    where = f"method == '{method}' and baseline == '{baseline}' and quantity == '{quantity}'"
    return read("paired_difference", "num_layers", where=where)


def ratios(stage, scale="ratio"):
    return read("smoothing_ratios", "measure", where=f"scale == '{scale}' and stage == '{stage}'")


def around(rows, value=0):
    """Whether every interval contains the value."""
    return ((rows["low"] < value) & (value < rows["high"])).all()


def significant(rows):
    return list(rows.index[rows["p_holm"] <= 0.05])


def test_01_the_graph():
    facts, shares, nodes = read("data_facts", "fact")["value"], figure("classes"), figure("degrees", "degree")
    # "140 of the 2,708 nodes have a label in training: 20 in each class, although classes differ in size"
    assert facts["nodes"] == 2708 and facts["classes"] == 7 and np.ptp(shares["training"]) < 1e-12
    assert all(shares[part].max() > 4 * shares[part].min() for part in ("all", "validation", "test"))
    # "319 of the 1,000 test nodes"; homophily "0.81"; "most nodes have few neighbours and a few nodes many"
    assert majority() == shares["test"].max() == 0.319 and round(facts["edge homophily"], 2) == 0.81
    assert nodes["nodes"].loc[:5].sum() > 0.8 * facts["nodes"] and 0 < nodes["nodes"].loc[50:].sum() < 10
    left = figure("propagation", "power").rename(columns={"distance to the limit": "outside"})
    # "many propagations to halve; most ... much faster"; "0.3 % outside ... still 67 % ... hardly changed"
    assert facts["second eigenvalue"] ** 100 > 0.5 > left["outside"][32] / left["outside"][1]
    assert left.loc[1024, ["outside", "distance to mean"]].round(3).tolist() == [0.003, 0.665]
    assert abs(left["Dirichlet energy"][1024] / left["Dirichlet energy"][1] - 1) < 0.1


def test_02_two_layers():
    gaps = read("recipe_gaps", "ours minus")
    # "cannot be told from PyG's layers with our head"; "half a percentage point less" than PyG's own network
    assert around(gaps.loc[HEAD]) and (gaps.loc[PYG, "high"] < 0).all()
    assert gaps.loc[PYG, "difference"].between(-0.006, -0.004).all()
    standard, ours = (table("recipe", "quantity", "method").loc["test_acc"] for table in (kipf, read))
    mean, theirs = standard["mean"], published("kipf_welling", "dataset")["test_acc"]
    # "100 seeds"; "close to 81.5 %. With the head, about three points lower, and they cannot be told apart"
    assert theirs["Cora"] == 0.815 and theirs["CiteSeer"] == 0.703 and (standard["n"] == 100).all()
    assert abs(mean[PYG] - 0.815) < 0.005 and (mean[PYG] - mean[[OURS, HEAD]]).between(0.025, 0.035).all()
    assert around(kipf("recipe_gaps", "ours minus", where="quantity == 'test_acc'").loc[[HEAD]])
    # "their architecture loses two points"; "two points below the published number", which ours is
    assert 0.015 < mean[PYG] - ours["mean"][PYG] < 0.025 and 0.015 < 0.815 - ours["mean"][OURS] < 0.025
    # "under both recipes that layer costs accuracy"; "the head costs more under their recipe"
    assert all(table["high"][HEAD] < table["low"][PYG] for table in (ours, standard))
    assert mean[PYG] - mean[HEAD] > 2 * (ours["mean"][PYG] - ours["mean"][HEAD])


def test_03_and_04_accuracy_against_depth():
    best, last, line = means()["test_acc"][ARMS], means()["test_acc_last"][ARMS], majority()
    depth = read("depth_runs").groupby(["num_layers", "method"])["test_acc"].mean().unstack()
    pd.testing.assert_frame_equal(depth[["ReLU", LEAKY]], best[["ReLU", LEAKY]])  # the runs of 03 are in 04
    # "most accurate at 5 layers, and much less so at 30"; "start near 0.47 ... and peak near 0.76"
    assert (best.idxmax() == 5).all() and (best.loc[30] < 0.6 * best.loc[5]).all()
    assert best.loc[0].between(0.46, 0.48).all() and best.loc[5].between(0.75, 0.78).all()
    # "ReLU with and without pruning fall below the majority-class line by 20 layers"
    assert (best.loc[:15] > line).all(axis=None) and (last.loc[:10] > line).all(axis=None)
    assert (best.loc[20:, RELUS] < line).all(axis=None) and (last.loc[20:, RELUS] < line).all(axis=None)
    # "LeakyReLU stays above it at every depth, though at 30 layers it is little more than half of ... 5"
    assert (best[LEAKY] > line).all() and 0.5 < best.loc[30, LEAKY] / best.loc[5, LEAKY] < 0.6
    # "ReLU networks lose it first"; "LeakyReLU stays above 0.7 up to 20 layers", above the line "before 30"
    assert (best.loc[10:, LEAKY] > best.loc[10:, RELUS].max(axis=1)).all()
    assert best.loc[5:20, LEAKY].min() > 0.7 and (last.loc[:25, LEAKY] > line).all()


def test_03_runs_training_and_death():
    shares = read("distribution", "quantity", "method", "num_layers")["share"]
    # "ReLU at 15 layers, LeakyReLU at 30, and for the last models also at 25. In all other rows ..."
    mixed = shares[shares.between(0.1, 0.9, inclusive="neither")]
    assert list(mixed["test_acc"].index) == [(LEAKY, 30), ("ReLU", 15)]
    assert list(mixed["test_acc_last"].index) == [(LEAKY, 25), (LEAKY, 30), ("ReLU", 15)]
    assert (shares["test_acc", "ReLU"][DEEP] == 0).all()  # "all below it from 20 layers on"
    curves = figure("training_curves", "quantity", "method", "epoch", "num_layers")["mean"]
    loss = curves["train_loss", "ReLU", 99]
    # "5 layers fit the training nodes almost perfectly. Those of 30 layers do hardly better than guessing"
    assert loss[5] < 0.01 and 0.9 * np.log(7) < loss[30] < np.log(7)
    dead, accuracy = means()["dead_fraction_last"], means()["test_acc_last"]["ReLU"]
    # "5 % of the ReLU neurons are dead at 5 layers and 48 % at 30. LeakyReLU has no dead neurons"
    assert dead["ReLU"].round(2)[[5, 30]].tolist() == [0.05, 0.48] and (dead[LEAKY].dropna() < 1e-3).all()
    # "accuracy falls while death rises"; "a third ... in the second half ... are dead before training"
    assert dead["ReLU"].loc[5:].is_monotonic_increasing and accuracy.loc[5:25].is_monotonic_decreasing
    assert abs(figure("dead_by_layer", "stage", "layer")["mean"]["init"].loc[16:].mean() - 1 / 3) < 0.04


def test_04_one_network_and_published_numbers():
    # "stripping alone revives all but one of the dead neurons of this layer"; "with pruning none is dead"
    neurons = figure("activations", "network").drop(columns=["bin", "class", "nodes"])
    dead = (neurons.groupby("network").max() == 0).sum(axis=1)
    assert dead["trained"] > 5 and dead["then stripped"] == 1 and dead["trained with pruning"] == 0
    table, files = (published(name, "num_layers", "method") for name in ("table1", "result_files"))
    # "the largest gaps are those of LeakyReLU at 20 layers and more, where our best models are better"
    largest = (means()["test_acc"][ARMS].stack() - table["test_acc"]).sort_values(key=abs).tail(3)
    assert set(largest.index) == {(depth, LEAKY) for depth in DEEP} and (largest > 0).all()
    # "at 30 layers the table puts pruning ahead of LeakyReLU, the files say the reverse", and so do ours
    assert table["test_acc"][30, PRUNED] > table["test_acc"][30, LEAKY]
    for accuracy in (files["test_acc_last"].unstack(), means()["test_acc"], means()["test_acc_last"]):
        assert accuracy.loc[30, PRUNED] < accuracy.loc[30, LEAKY]


def test_04_what_pruning_changes():
    rows = figure("dead_and_zero", "quantity", "method", "num_layers")
    # "pruning lowers the dead fraction at every depth", "in best and in last models"; so the zero fraction
    for name in ("dead_fraction", "dead_fraction_last", "zero_fraction", "zero_fraction_last"):
        assert (rows.loc[(name, PRUNED), "high"] < rows.loc[(name, "ReLU"), "low"]).all()
    plain, pruned = (rows.loc[("dead_fraction_last", arm), "mean"] for arm in RELUS)
    # "up to 10 layers hardly any neuron stays dead. At 20 layers and more ... still more than half"
    assert (pruned.loc[:10] < 0.01).all() and (pruned.loc[20:] > 0.5 * plain.loc[20:]).all()
    plain, pruned = (rows.loc[("dead_fraction", arm), "mean"] for arm in RELUS)
    # "almost complete at 10 layers ... and much smaller at 30"; "near 0 up to 10 layers"
    assert pruned[10] / plain[10] < 0.06 and pruned[30] / plain[30] > 0.75 and pruned.loc[:10].max() <= 0.011
    # "rises to about 0.4 at 20 layers and stays there. With pruning ... to about 0.3 to 0.4"
    assert plain[DEEP].between(0.38, 0.45).all() and pruned[DEEP].between(0.25, 0.4).all()

    rows, last = gains(), gains(quantity="test_acc_last")
    # "differs from ReLU at 10 and 20 layers; with the last models at 10, 20, 25 and 30"
    assert significant(rows) == [10, 20] and significant(last) == [10, 20, 25, 30]
    # "nowhere less accurate. At 5 layers the difference is shown to be too small to matter"
    assert all((table["high"] >= 0).all() and table["p_equivalent"][5] <= 0.05 for table in (rows, last))
    code, text = rows["difference"], gains("Pruning as in the text")["difference"]
    # "at 30 layers ... not significant"; "by one to two percentage points" (README)
    assert around(rows.loc[[30]]) and set((100 * code[DEEP]).round()) == {1, 2} and min(code.loc[5:]) > 0
    # "largest at 10 layers for the code's rule and at 20 layers for the text's", which "gains more" there
    assert code.idxmax() == 10 and text.idxmax() == 20 and text[20] > code[20] and min(text.loc[5:]) > 0
    against = gains(baseline=LEAKY).loc[5:]
    # "against LeakyReLU pruning loses at every depth"
    assert (against["high"] < 0).all() and significant(against) == list(against.index)
    direct = [gains("Pruning as in the text", PRUNED, quantity) for quantity in ("test_acc", "test_acc_last")]
    # "the rules differ at 20 layers by the best models, where the text's gains more, and nowhere by the last"
    assert significant(direct[0]) == [20] and direct[0]["low"][20] > 0 and significant(direct[1]) == []
    shares, others = means()["constant_fraction_last"], means()["dead_fraction_varying_last"]
    # "at 20 layers and more, many layers are constant. In the other layers pruning removes a larger part"
    assert (shares.loc[20:, RELUS] > 0.4).all(axis=None)
    left = [
        table.loc[20:, PRUNED] / table.loc[20:, "ReLU"] for table in (others, means()["dead_fraction_last"])
    ]
    assert (left[0] < left[1]).all()


def test_05_calibration():
    signals = read("calibration").set_index("signal")
    sizeless = list(signals.columns[4:])
    smooth = {name: [m for m in sizeless[:4] if row[m] < 1e-6] for name, row in signals.iterrows()}
    # "zero is missing everywhere"; "a constant is smooth according to relative DTM and MAD"
    assert signals.loc["zero", sizeless].isna().all() and smooth["constant"] == BY_LIKENESS
    # "the Rayleigh quotient, the distance to the limit and MAD are 0 there"; the others "are not smooth"
    assert smooth["limit: √degree · v"] == [*BY_NEIGHBOURS, "mean_average_distance"]
    assert smooth["rank one: u · v"] == smooth["Gaussian"] == smooth["raw features"] == []
    assert round(signals["relative_distance_to_mean"]["limit: √degree · v"], 2) == 0.31
    assert round(signals["rayleigh_quotient"]["constant"], 3) == 0.075
    # "the two ranks and the rank-one distance detect that"; "rather smooth ... and far from rank one"
    line = signals.loc["rank one: u · v", ["stable_rank", "effective_rank", "rank_one_distance"]]
    np.testing.assert_allclose(line, [1, 1, 0], atol=1e-4)
    labels, noise = signals.loc["one-hot labels"], signals.loc["Gaussian"]
    assert labels["rayleigh_quotient"] < noise["rayleigh_quotient"] / 3 and labels["rank_one_distance"] > 0.8


def test_05_networks_that_learn():
    gained = ratios("best", "difference")
    # "stripping removes nearly all death at 10 layers, and the networks become more accurate"
    assert means()["dead_fraction"][PRUNED][10] < 0.1 * means()["dead_fraction"]["ReLU"][10]
    assert gained["low"]["test_acc"] > 0 > gained["high"]["dead_fraction"]
    for rows in (ratios("best"), ratios("last")):
        # "the same within a factor of 1.25"; MAD "varies too much"; the rank changes "by about a fifth"
        assert (rows["p_equivalent"][["distance_to_limit", "relative_distance_to_mean"]] <= 0.05).all()
        assert rows["p_equivalent"]["mean_average_distance"] > 0.05
        assert rows["low"]["effective_rank"] > 1.1 and abs(rows["estimate"]["effective_rank"] - 1.2) < 0.05
        assert "effective_rank" in significant(rows)


def test_05_very_deep_networks():
    runs = read("smoothing_runs").groupby("method").mean(numeric_only=True)
    # "no arm reaches it"; no layer is constant before training, "after the last epoch most are, in every arm"
    assert (runs[["test_acc", "test_acc_last"]] < majority()).all(axis=None)
    assert figure("smoothing_init")["relative_distance_to_mean"].min() > 0.01
    assert (runs["constant_fraction_last"] > 0.75).all()
    curves = figure("smoothing_trained", "method", "layer")
    # "mostly curves of size"; "fall over the first ..., rise ... towards the last"; "to about one percent"
    sizes = curves[["dirichlet_energy", "distance_to_mean", "norm"]]
    assert (np.log(sizes).groupby("method").corr()["norm"] > 0.95).all()
    for layer in (1, 128):
        assert (sizes.xs(layer, level="layer") > 3 * sizes.groupby("method").median()).all(axis=None)
    assert (curves["relative_distance_to_mean"].groupby("method").median() < 0.03).all()
    sizes = figure("smoothing_init", "method", "layer")[[*sizes]]
    powers = np.log10(sizes.xs(1, level="layer") / sizes.xs(128, level="layer"))
    # untrained, "energy and norm fall together"; "the size falls faster with ReLU than with LeakyReLU"
    assert (powers.sub(powers["norm"], axis=0).abs() < 0.5).all(axis=None) and powers.min(axis=None) > 3
    assert (powers.loc["ReLU"] > 3 * powers.loc[LEAKY]).all()


def test_10_the_verdict():
    verdict, cells = read("verdict", "claim"), read("verdict_cells", "claim", "reading")
    named = verdict.reset_index().groupby("status")["claim"].agg(" ".join).to_dict()
    # "four claims are replicated"; "two are not replicated"; "the other four are undecided"
    assert named == {"replicated": "C1 C2 C5 C8", "not replicated": "C4 C7", "undecided": "C10 C3 C6 C9"}
    # C3 "depends on the choice of model"; C10: "last models support the claim, ... best models contradict it"
    assert verdict["readings"]["C3"] == "best model: undecided; last model: replicated"
    assert verdict["readings"]["C10"] == "best model: not replicated; last model: replicated"
    answers = cells.groupby("claim")["answer"].agg(set)
    # "most of C1, C2 and C5 support their claim, those of C4 contradict it, and C3, C6, C9 and C10 are mixed"
    assert (answers[["C1", "C2", "C5"]] == {"for"}).all() and answers["C4"] == {"against"}
    assert (answers[["C3", "C6", "C9", "C10"]].map(len) > 1).all()
    # "for the last models every cell is for the claim"; "at most 1.03, and shown to be smaller than ..."
    last = cells.loc[("C10", "last model")]
    small = last[last["scale"] == "ratio"]
    assert set(last["answer"]) == {"for"} and small[["estimate", "p_equivalent"]].max().lt([1.03, 0.05]).all()


def test_10_seeds_graphs_correlation_and_time():
    seeds = read("power", "claim", "reading")["for_margin"]
    # "C3 and C6 need 70 and 76 seeds"; "C9 and C10 need hundreds or thousands in one of their readings"
    assert seeds["C3", "best model"] == 70 and seeds["C6", "best model"] == 76
    assert seeds["C9"].max() > 1000 and seeds["C10"].max() > 200
    folders = ("results/Cora", "results/profiles/full/Cora", "results/CiteSeer")
    few, many, other = (read("verdict", "claim", folder=folder)["status"] for folder in folders)
    # "C3 becomes replicated (pruning beats ReLU in deep networks) and C6 not replicated"
    assert many[few != many].to_dict() == {"C3": "replicated", "C6": "not replicated"}
    # "C1, C2, C5 and C8 are replicated and C4 is not in every column"; C10 "not replicated on CiteSeer"
    assert set(few.index[(few == many) & (few == other)]) == {"C1", "C2", "C4", "C5", "C8"}
    assert other["C10"] == "not replicated"
    rows = read("correlation", "depths")
    # "strong and positive"; "excludes zero only at 15 and 20 layers"; others "all have the other sign"
    assert rows["low"]["all"] > 0.5 and set(rows.index[rows["low"] * rows["high"] > 0]) == {"15", "20", "all"}
    relu = read("pruning_smoothing", where="method == 'ReLU'").loc[:, "dead_fraction":]
    assert (relu.corr("spearman")["dead_fraction"].drop(["dead_fraction", "rayleigh_quotient"]) < -0.5).all()

    # README: "about half an hour on two cores the first time and minutes afterwards"
    seconds = read("study", "what", folder="results/bench")["seconds"]
    assert 20 * 60 < seconds["cold"] < 40 * 60 and seconds["cached"] < 10 * 60
