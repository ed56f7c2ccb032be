"""The claims and their verdict: by hand, and computed again by other code."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from deadgcn.stats.claims import STATEMENTS
from deadgcn.stats.inference import holm
from deadgcn.stats.verdict import cells, power, verdict

ARMS = ["ReLU", "ReLU + pruning", "LeakyReLU"]
MEASURES = ["dirichlet_energy", "distance_to_mean", "rayleigh_quotient", "distance_to_limit"]


def make_runs(effect, seeds=30, noise=0.01, depths=(5, 10, 15, 20, 25, 30)):
    """Runs whose means by arm are `effect[column][arm]`, with noise that pairs have partly in common."""
    rng, rows = np.random.default_rng(0), []
    for depth in (0, *depths):
        for seed in range(seeds):
            shared = rng.normal(scale=noise)
            for arm in ARMS:
                row = {"method": arm, "num_layers": depth, "seed": seed}
                for column, means in effect.items():
                    for suffix in ("", "_last"):
                        row[column + suffix] = means[arm] + shared + rng.normal(scale=noise)
                rows.append(row)
    return pd.DataFrame(rows)


def make_layers(ratio, dead=0.1, seeds=10, num_layers=8):
    """Layers in which pruning multiplies each measure by `ratio[adjacency]` and lowers death by `dead`."""
    rng, rows = np.random.default_rng(1), []
    for adjacency, factor in ratio.items():
        for seed in range(seeds):
            for stage in ("init", "best", "last"):
                for layer in range(1, num_layers + 1):
                    for arm in ARMS:
                        pruned = arm == "ReLU + pruning" and stage != "init"
                        row = {"adjacency": adjacency, "method": arm, "seed": seed, "stage": stage}
                        row |= {"layer": layer, "dead_fraction": 0.5 - dead * pruned + rng.normal(scale=0.01)}
                        size = (factor if pruned else 1) * (3 if arm == "LeakyReLU" else 1)
                        size *= 10 if layer == num_layers else 1
                        row |= {name: size * np.exp(rng.normal(scale=0.02)) for name in MEASURES}
                        rows.append(row)
    return pd.DataFrame(rows)


ALL_TRUE = {
    "dead_fraction": dict(zip(ARMS, (0.4, 0.2, 0.0), strict=True)),
    "zero_fraction": dict(zip(ARMS, (0.6, 0.4, 0.0), strict=True)),
    "test_acc": dict(zip(ARMS, (0.3, 0.5, 0.4), strict=True)),
}


@pytest.fixture(scope="module")
def judged():
    return cells(make_runs(ALL_TRUE), make_layers({"normalized": 2.0, "identity": 1.0}))


def statuses(judged):
    return verdict(judged).set_index("claim")["status"]


def test_what_is_true_of_made_up_runs_is_replicated_and_what_is_false_is_not(judged):
    found = statuses(judged)
    assert list(found.index) == list(STATEMENTS)
    for claim in ("C1", "C2", "C3", "C4", "C7", "C8", "C9", "C10"):
        assert found[claim] == "replicated", claim
    assert found["C5"] == "not replicated"  # pruning is above LeakyReLU in these runs
    assert found["C6"] != "replicated"  # both arms have the same spread


def test_effects_smaller_than_the_margin_are_not_replicated():
    equal = {column: dict.fromkeys(ARMS, 0.4) for column in ALL_TRUE}
    judged = cells(make_runs(equal), make_layers({"normalized": 1.0, "identity": 1.0}, dead=0))
    found = statuses(judged)
    for claim in ("C1", "C2", "C3", "C4", "C5", "C7", "C10"):
        assert found[claim] == "not replicated", claim


def test_too_much_noise_leaves_a_claim_undecided():
    noisy = cells(make_runs(ALL_TRUE, seeds=5, noise=2.0), make_layers({"normalized": 2.0, "identity": 1.0}))
    assert set(statuses(noisy)[["C1", "C2", "C3", "C4", "C5"]]) == {"undecided"}


def test_an_effect_that_networks_without_a_graph_share_is_no_link():
    same = cells(make_runs(ALL_TRUE), make_layers({"normalized": 2.0, "identity": 2.0}))
    assert statuses(same)["C10"] == "not replicated"


def test_readings_that_disagree_leave_a_claim_undecided(judged):
    turned = judged.copy()
    of_last = (turned["claim"] == "C3") & (turned["reading"] == "last model")
    turned.loc[of_last, "answer"] = "against"
    row = verdict(turned).set_index("claim").loc["C3"]
    assert row["status"] == "undecided"
    assert row["readings"] == "best model: replicated; last model: not replicated"


def test_one_seed_decides_nothing():
    judged = cells(make_runs(ALL_TRUE, seeds=1), make_layers({"normalized": 2.0, "identity": 1.0}, seeds=1))
    assert set(judged["answer"]) == {"open"} and set(statuses(judged)) == {"undecided"}
    assert power(judged)[["for_margin", "for_effect"]].isna().all(axis=None)


def test_few_depths_do():
    judged = cells(make_runs(ALL_TRUE, depths=(2, 6)), make_layers({"normalized": 2.0, "identity": 1.0}))
    assert set(judged["claim"]) == set(STATEMENTS)


def test_a_difference_again_by_other_code(judged):
    runs = make_runs(ALL_TRUE)
    ours = judged[(judged["claim"] == "C3") & (judged["reading"] == "last model")]
    p_values = []
    for depth, row in zip((20, 25, 30), ours.to_dict("records"), strict=True):
        at = runs[runs["num_layers"] == depth]
        a, b = (at.loc[at["method"] == arm, "test_acc_last"].to_numpy() for arm in (ARMS[1], ARMS[0]))
        rng = np.random.default_rng(0)
        again = scipy.stats.bootstrap(
            (np.sort(a - b),), np.mean, n_resamples=4_999, rng=rng
        ).confidence_interval
        found = row["estimate"], row["low"], row["high"]
        assert found == pytest.approx(((a - b).mean(), *again), rel=1e-9)
        p_values.append(scipy.stats.ttest_rel(a, b).pvalue)
    assert ours["p_holm"].tolist() == pytest.approx(holm(p_values).tolist())


def test_a_ratio_over_layers_by_hand():
    layers = make_layers({"normalized": 2.0, "identity": 1.0})
    judged = cells(make_runs(ALL_TRUE), layers)
    c10 = judged[(judged["claim"] == "C10") & (judged["reading"] == "last model")].set_index("cell")
    at = layers[(layers["stage"] == "last") & (layers["adjacency"] == "normalized")]
    logs = np.log(at.pivot(index=["seed", "layer"], columns="method", values="rayleigh_quotient"))
    per_seed = (logs[ARMS[1]] - logs[ARMS[0]]).groupby("seed").mean()
    row = c10.loc["ReLU + pruning / ReLU"].iloc[0]
    assert row["estimate"] == pytest.approx(np.exp(per_seed.mean()))
    t = scipy.stats.t.interval(0.95, 9, per_seed.mean(), scipy.stats.sem(per_seed))
    assert (row["low"], row["high"]) == pytest.approx(np.exp(t))


def test_consistently_counts_layers_and_ties_by_half():
    layers = make_layers({"normalized": 2.0, "identity": 1.0}, num_layers=4)
    pruned = (layers["method"] == ARMS[1]) & (layers["layer"] == 1)
    layers.loc[pruned, MEASURES] = 1e-9  # below in one layer of four
    both = layers["layer"] == 2
    layers.loc[both, MEASURES] = 1.0  # equal in another
    c7 = cells(make_runs(ALL_TRUE), layers).query("claim == 'C7'")
    assert c7["estimate"].tolist() == pytest.approx([0.625 - 0.95] * 8)
    assert set(c7["answer"]) == {"against"}


def test_exact_zeros_are_left_out_of_ratios():
    layers = make_layers({"normalized": 2.0, "identity": 1.0})
    dead = (layers["seed"] == 3) & (layers["layer"] == 8) & (layers["stage"] == "init")
    layers.loc[dead, "dirichlet_energy"] = 0.0
    c8 = cells(make_runs(ALL_TRUE), layers).query("claim == 'C8'").set_index("quantity")
    assert c8.loc["dirichlet_energy", "n"] == 9 and c8.loc["distance_to_mean", "n"] == 10


def test_the_spread_of_accuracy():
    runs = make_runs(ALL_TRUE)
    for column in ("test_acc", "test_acc_last"):
        wide = runs["method"] == "ReLU"
        mean = runs.loc[wide, column].mean()
        runs.loc[wide, column] = mean + 4 * (runs.loc[wide, column] - mean)
    c6 = cells(runs, make_layers({"normalized": 2.0, "identity": 1.0})).query("claim == 'C6'")
    assert c6["estimate"].between(0.15, 0.4).all() and set(c6["answer"]) == {"for"}


def test_power_asks_for_more_seeds_where_noise_is_larger(judged):
    needed = power(judged).set_index(["claim", "reading"])
    noisy = cells(make_runs(ALL_TRUE, noise=0.05), make_layers({"normalized": 2.0, "identity": 1.0}))
    noisy = power(noisy).set_index(["claim", "reading"])
    assert (noisy.loc["C3", "for_margin"] > 5 * needed.loc["C3", "for_margin"]).all()
