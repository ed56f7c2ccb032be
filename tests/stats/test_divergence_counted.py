"""Runs that diverged are counted in tables and in the verdict."""

import numpy as np
import pandas as pd
import pytest

from deadgcn.stats.claims import MEASURES
from deadgcn.stats.estimates import paired_difference, probability_of_improvement, share_above, summarize
from deadgcn.stats.inference import wilson_interval
from deadgcn.stats.verdict import cells, verdict

NEVER = pd.NA
RELU, PRUNED, LEAKY = "ReLU", "ReLU + pruning", "LeakyReLU"


def make_runs(diverged_at=None, **accuracies) -> pd.DataFrame:
    """One row per run at depth 5; the seed is the place in the list; `diverged_at[method, seed]` an epoch."""
    rows = [
        {"method": method, "num_layers": 5, "seed": seed, "test_acc": value}
        for method, values in accuracies.items()
        for seed, value in enumerate(values)
    ]
    epochs = [(diverged_at or {}).get((row["method"], row["seed"]), NEVER) for row in rows]
    return pd.DataFrame(rows).assign(diverged_epoch=pd.array(epochs, dtype="Int64"))


@pytest.fixture
def runs() -> pd.DataFrame:
    """Of arm a, run 1 was lost without a model, run 2 after it had one; of arm b run 0 was lost likewise."""
    lost = {("a", 1): 0, ("a", 2): 7, ("b", 0): 4}
    return make_runs(lost, a=[1.0, np.nan, 3.0, 5.0], b=[2.0, 1.0, 1.0, 1.0])


@pytest.mark.parametrize("statistic", ["mean", "iqm"])
def test_summaries_count_runs_that_diverged_beside_the_values_used(runs, statistic):
    table = summarize(runs, "test_acc", statistic=statistic)
    assert list(table)[:5] == ["method", "num_layers", "n", "n_diverged", "mean"]
    assert table[["n", "n_diverged"]].to_numpy().tolist() == [[3, 2], [4, 1]]
    assert table["mean"][0] == 3.0
    assert type(table["n_diverged"].tolist()[0]) is int


def test_geometric_means_count_zeros_and_diverged_runs_apart():
    runs = make_runs({("a", 0): 3}, a=[np.nan, 0.0, 2.0, 8.0])
    (row,) = summarize(runs, "test_acc", log=True).to_dict("records")
    assert [row[name] for name in ("n", "n_diverged", "n_zero")] == [2, 1, 1]
    assert row["mean"] == pytest.approx(4)


def test_tables_that_do_not_say_have_no_such_column(runs):
    plain = runs.drop(columns="diverged_epoch")
    for function, arguments in (
        (summarize, ()),
        (paired_difference, ("a", "b")),
        (probability_of_improvement, ("a", "b")),
        (share_above, (1.5,)),
    ):
        assert "n_diverged" not in function(plain, "test_acc", *arguments)
        assert "n_diverged" in function(runs, "test_acc", *arguments)


def test_values_that_are_not_finite_are_missing():
    runs = make_runs(a=[np.inf, 1.0, 3.0], b=[1.0, -np.inf, 2.0])
    table = summarize(runs, "test_acc")
    assert table[["n", "mean"]].to_numpy().tolist() == [[2, 2.0], [2, 1.5]]
    assert paired_difference(runs, "test_acc", "a", "b").loc[0, ["n", "difference"]].tolist() == [1, 1.0]
    found = probability_of_improvement(runs, "test_acc", "a", "b").loc[0, ["n", "probability"]]
    assert found.tolist() == [1, 1.0]
    shares = share_above(runs, "test_acc", 0.5)
    assert shares[["n", "share"]].to_numpy().tolist() == [[2, 1.0], [2, 1.0]]


def test_pairs_count_when_either_run_diverged(runs):
    (row,) = paired_difference(runs, "test_acc", "a", "b").to_dict("records")
    assert (row["n"], row["n_diverged"]) == (3, 3)  # seeds 0, 1 and 2; all but seed 1 have both values
    assert row["difference"] == pytest.approx((-1 + 2 + 4) / 3)
    (row,) = probability_of_improvement(runs, "test_acc", "a", "b").to_dict("records")
    assert (row["n"], row["n_diverged"], row["probability"]) == (3, 3, 2 / 3)
    both = runs.assign(diverged_epoch=[0, NEVER, NEVER, NEVER] * 2)
    assert paired_difference(both, "test_acc", "a", "b")["n_diverged"].tolist() == [1]  # one pair, not two


def test_a_run_lost_without_a_model_is_not_above():
    runs = make_runs({("a", 0): 0, ("a", 1): 9}, a=[np.nan, 4.0, 1.0, np.nan, 3.0])  # one is just missing
    (row,) = share_above(runs, "test_acc", 2).to_dict("records")
    assert (row["n"], row["n_diverged"], row["share"]) == (4, 2, 0.5)
    assert (row["low"], row["high"]) == wilson_interval(2, 4)


def study(seeds=10) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Runs at depth 20 and layers of one depth, in which pruning is better and more dissimilar by far."""
    rng, runs, layers = np.random.default_rng(0), [], []
    for seed in range(seeds):
        for arm, level in ((RELU, 0.2), (PRUNED, 0.6), (LEAKY, 0.4)):
            key = {"method": arm, "seed": seed, "diverged_epoch": np.nan}
            names = ("test_acc", "dead_fraction", "zero_fraction")
            values = {f"{n}{s}": level + rng.normal(scale=0.01) for n in names for s in ("", "_last")}
            runs.append({**key, "num_layers": 20, **values})
            for adjacency in ("normalized", "identity"):
                for stage in ("init", "best", "last"):
                    for layer in range(1, 5):
                        more = level if (stage, adjacency) != ("init", "identity") else 0.3
                        row = {"adjacency": adjacency, "stage": stage, "layer": layer, "dead_fraction": level}
                        row |= {name: more * layer for names in MEASURES.values() for name in names}
                        layers.append({**key, **row})
    return pd.DataFrame(runs), pd.DataFrame(layers)


def lose(table: pd.DataFrame, arm: str, seeds: int) -> pd.DataFrame:
    """The first seeds of an arm diverged, after a best model was kept."""
    gone = (table["method"] == arm) & (table["seed"] < seeds)
    lasts = [name for name in table if name.endswith("_last")]
    table = table.assign(diverged_epoch=table["diverged_epoch"].mask(gone, 50.0))
    return table.assign(**table[lasts].mask(gone))


def test_the_verdict_leaves_out_pairs_with_a_run_that_diverged_and_counts_them():
    runs, layers = study()
    c3 = cells(lose(runs, RELU, 3), layers).query("claim == 'C3'")
    assert c3[["n", "n_diverged"]].to_numpy().tolist() == [[7, 3], [7, 3]]  # the best model's, too
    wide = runs[runs["seed"] >= 3].pivot(index="seed", columns="method", values="test_acc")
    assert c3["estimate"].iloc[0] == pytest.approx((wide[PRUNED] - wide[RELU]).mean())
    assert set(c3["answer"]) == {"for"}
    c5 = cells(lose(runs, LEAKY, 2), layers).query("claim == 'C5'")
    assert set(c5["n"]) == {8} and set(c5["n_diverged"]) == {2}
    c6 = cells(lose(runs, RELU, 3), layers).query("claim == 'C6'")
    assert set(c6["n"]) == {7} and np.isfinite(c6["estimate"]).all()


@pytest.mark.parametrize(("lost", "status"), [(0, "replicated"), (4, "replicated"), (5, "undecided")])
def test_a_cell_that_lost_as_many_pairs_as_it_kept_is_open(lost, status):
    runs, layers = study()
    row = verdict(cells(lose(runs, PRUNED, lost), layers)).set_index("claim").loc["C3"]
    assert row["status"] == status
    assert (row["n_diverged"], row["decisive_n_diverged"], row["decisive_n"]) == (lost, lost, 10 - lost)
    assert (row["for"], row["open"]) == ((2, 0) if status == "replicated" else (0, 2))


def test_very_deep_networks_are_paired_without_those_that_diverged():
    runs, layers = study()
    control = layers["adjacency"] == "identity"
    damaged = pd.concat([lose(lose(layers[~control], PRUNED, 2), LEAKY, 1), lose(layers[control], RELU, 3)])
    judged = cells(runs, damaged).set_index(["claim", "reading", "cell", "quantity"])[["n", "n_diverged"]]
    assert set(judged.loc["C7"].itertuples(index=False, name=None)) == {(8, 2)}
    assert set(judged.loc["C8"].itertuples(index=False, name=None)) == {(10, 0)}  # untrained
    lost = judged.loc["C9"].reset_index().groupby(["cell"])[["n", "n_diverged"]].first()
    assert lost.loc["ReLU + pruning, last layer / middle half"].tolist() == [8, 2]
    assert lost.loc["ReLU, last layer / middle half"].tolist() == [10, 0]
    assert lost.loc["LeakyReLU, last layer / middle half"].tolist() == [9, 1]
    c10 = judged.loc["C10"].reset_index().groupby("cell")[["n", "n_diverged"]].first()
    assert c10.loc["ReLU + pruning / ReLU"].tolist() == [8, 2]
    assert c10.loc["ReLU + pruning / ReLU, with / without graph"].tolist() == [7, 3]  # seeds 0, 1 in both


def test_when_everything_diverged_every_trained_claim_is_open():
    runs, layers = study(3)
    lost = [
        pd.concat([lose(table, arm, 3)[table["method"] == arm] for arm in (RELU, PRUNED, LEAKY)])
        for table in (runs, layers)
    ]
    judged = cells(*lost)
    assert set(judged.loc[judged["claim"] != "C8", "answer"]) == {"open"}
    assert set(verdict(judged).query("claim != 'C8'")["n_diverged"]) == {3}
