"""The claims and their verdict: by hand, and computed again by other code."""

import io

import numpy as np
import pandas as pd
import pytest
import scipy.stats

import deadgcn as dg
from deadgcn.stats.claims import CELL

CLAIMS = [f"C{number}" for number in range(1, 11)]
ARMS = RELU, PRUNED, LEAKY = ["ReLU", "ReLU + pruning", "LeakyReLU"]
MEASURES = ["dirichlet_energy", "distance_to_mean", "rayleigh_quotient", "distance_to_limit"]
MEANS = {"dead_fraction": (0.4, 0.2, 0.0), "zero_fraction": (0.6, 0.4, 0.0), "test_acc": (0.3, 0.5, 0.4)}
LINK = {"normalized": 2.0, "identity": 1.0}  # with a graph pruning doubles each measure


def make_runs(means=MEANS, seeds=12, noise=0.01, depths=(5, 10, 20, 30)) -> pd.DataFrame:
    """Runs whose means by method are `means[column]`, with noise that pairs have partly in common."""
    axes = {"num_layers": [0, *depths], "seed": range(seeds), "method": range(3)}
    runs = pd.MultiIndex.from_product(axes.values(), names=axes).to_frame(index=False)
    rng = np.random.default_rng(2)
    shared = np.repeat(rng.normal(scale=noise, size=len(runs) // 3), 3)
    for name, value in means.items():
        for column in (name, f"{name}_last"):
            runs[column] = np.take(value, runs["method"]) + shared + rng.normal(scale=noise, size=len(runs))
    return runs.assign(method=np.take(ARMS, runs["method"]))


def make_layers(ratio=LINK, dead=0.1, seeds=10, num_layers=8) -> pd.DataFrame:
    """Layers in which pruning multiplies each measure by `ratio[adjacency]` and lowers death by `dead`."""
    axes = {"adjacency": list(ratio), "method": ARMS, "num_layers": [num_layers], "seed": range(seeds)}
    axes |= {"stage": ["init", "best", "last"], "layer": range(1, num_layers + 1)}
    layers = pd.MultiIndex.from_product(axes.values(), names=axes).to_frame(index=False)
    rng, pruned = np.random.default_rng(1), (layers["method"] == PRUNED) & (layers["stage"] != "init")
    size = np.where(pruned, layers["adjacency"].map(ratio), 1) * np.where(layers["method"] == LEAKY, 3, 1)
    size = size * np.where(layers["layer"] == num_layers, 10, 1)
    layers["dead_fraction"] = 0.5 - dead * pruned + rng.normal(scale=0.01, size=len(layers))
    for measure in MEASURES:
        layers[measure] = size * np.exp(rng.normal(scale=0.02, size=len(layers)))
    return layers


def judged(runs=None, layers=None) -> pd.DataFrame:
    tables = [] if runs is None else [dg.core_comparisons(runs)]
    tables += [] if layers is None else [dg.very_deep_comparisons(layers)]
    return dg.judge(pd.concat(tables, ignore_index=True))


def statuses(cells: pd.DataFrame) -> dict[str, str]:
    return dg.verdict(cells).set_index("claim")["status"].to_dict()


@pytest.fixture(scope="module")
def cells() -> pd.DataFrame:
    return judged(make_runs(), make_layers())


def test_what_is_true_of_made_up_runs_is_replicated_and_what_is_false_is_not(cells):
    found = statuses(cells)
    assert list(found) == CLAIMS
    assert {found[claim] for claim in ("C1", "C2", "C3", "C4", "C7", "C8", "C9", "C10")} == {"replicated"}
    assert found["C5"] == "not replicated"  # pruning is above LeakyReLU in these runs
    assert found["C6"] != "replicated"  # both methods have the same spread
    row, of_claim = dg.verdict(cells).set_index("claim").loc["C3"], cells[cells["claim"] == "C3"]
    least = of_claim.loc[of_claim["p_holm"].idxmax()]
    assert (row["decisive_cell"], row["decisive_estimate"]) == (least["cell"], least["estimate"])


def test_effects_smaller_than_the_margin_are_not_replicated():
    equal = make_runs(dict.fromkeys(MEANS, (0.4, 0.4, 0.4)))
    found = statuses(judged(equal, make_layers({"normalized": 1.0, "identity": 1.0}, dead=0)))
    assert {found[claim] for claim in ("C1", "C2", "C3", "C4", "C5", "C7", "C10")} == {"not replicated"}
    without_graph_too = make_layers({"normalized": 2.0, "identity": 2.0})
    assert statuses(judged(layers=without_graph_too))["C10"] == "not replicated"


@pytest.mark.parametrize(
    ("values", "claimed", "answer"),
    [
        ([0.03, 0.04, 0.05, 0.06], "more", "for"),
        ([0.03, 0.04, 0.05, 0.06], "less", "against"),
        ([0.001, 0.002, 0.003, 0.004], "more", "for"),  # tiny, but clear
        ([0.001, -0.002, 0.003, -0.004], "more", "against"),  # smaller than the margin
        ([0.5, -0.4, 0.3, 0.1], "more", "open"),
        ([0.03], "more", "open"),
        ([np.nan, np.nan], "more", "open"),
    ],
)
def test_a_single_cell_by_the_rule(values, claimed, answer):
    key = dict(zip(CELL, ("C4", "best model", "cell", "test_acc", "difference", claimed), strict=True))
    row = dg.judge(pd.DataFrame({"value": values, "seed": range(len(values))}).assign(**key)).iloc[0]
    assert (row["answer"], row["n"]) == (answer, np.isfinite(values).sum())


def test_readings_that_disagree_leave_a_claim_undecided(cells):
    of_last = (cells["claim"] == "C3") & (cells["reading"] == "last model")
    changed = cells.assign(answer=cells["answer"].mask(of_last, "against"))
    row = dg.verdict(changed).set_index("claim").loc["C3"]
    assert row["status"] == "undecided"
    assert row["readings"] == "best model: replicated; last model: not replicated"
    assert (row["for"], row["open"], row["against"]) == (2, 0, 2)


def test_one_seed_decides_nothing():
    cells = judged(make_runs(seeds=1), make_layers(seeds=1))
    assert set(cells["claim"]) == set(CLAIMS)
    assert set(cells["answer"]) == {"open"} and set(statuses(cells).values()) == {"undecided"}
    assert dg.power(cells)[["for_margin", "for_effect"]].isna().all(axis=None)


def test_the_order_of_rows_and_a_round_trip_through_a_file_change_nothing(cells):
    core = dg.core_comparisons(make_runs().sample(frac=1, random_state=0))
    deep = dg.very_deep_comparisons(make_layers().sample(frac=1, random_state=0))
    assert list(deep) == [*CELL, "seed", "value"]
    deep = pd.read_csv(io.StringIO(deep.to_csv(index=False)))
    again = dg.judge(pd.concat([core, deep], ignore_index=True).sample(frac=1, random_state=0))
    again, expected = (table.sort_values(CELL, ignore_index=True) for table in (again, cells))
    pd.testing.assert_frame_equal(again, expected, rtol=1e-12)


def test_ratios_over_layers_again_by_other_code(cells):
    layers = make_layers()
    c10 = cells.query("claim == 'C10' and reading == 'last model'").set_index(["quantity", "cell"])
    samples = {}
    for adjacency, table in layers[layers["stage"] == "last"].groupby("adjacency"):
        logs = np.log(table.pivot(index=["seed", "layer"], columns="method", values="rayleigh_quotient"))
        samples[adjacency] = (logs[PRUNED] - logs[RELU]).groupby("seed").mean()
    effect, without = samples["normalized"], samples["identity"]
    for cell, sample in (("", effect), (", with / without graph", effect - without)):
        row = c10.loc["rayleigh_quotient", f"{PRUNED} / {RELU}{cell}"]
        ends = scipy.stats.t.interval(0.95, 9, sample.mean(), scipy.stats.sem(sample))
        expected = np.exp([sample.mean(), *ends])
        np.testing.assert_allclose(row[["estimate", "low", "high"]].astype(float), expected)


def test_consistently_counts_layers_and_ties_by_half():
    layers = make_layers(num_layers=4)
    pruned = (layers["method"] == PRUNED) & (layers["layer"] == 1)
    layers.loc[pruned, MEASURES] = 0.0  # below in one layer of four
    layers.loc[layers["layer"] == 2, MEASURES] = 1.0  # equal in another
    c7 = judged(layers=layers).query("claim == 'C7'")
    assert c7["estimate"].tolist() == pytest.approx([0.625 - 0.95] * 8)
    assert set(c7["answer"]) == {"against"} and c7["p_equivalent"].isna().all()


def test_the_rise_compares_the_last_layer_with_the_middle_half():
    layers = make_layers().assign(**dict.fromkeys(MEASURES, 1.0))
    layers.loc[layers["layer"].isin([1, 2]), MEASURES] = 77.0  # outside of the middle half, 3 to 6
    layers.loc[layers["layer"].isin([3, 4]), MEASURES] = 4.0  # geometric mean of the middle half: 2
    layers.loc[layers["layer"] == 8, MEASURES] = 6.0
    assert judged(layers=layers).query("claim == 'C9'")["estimate"].tolist() == pytest.approx([3.0] * 12)


def test_the_spread_of_accuracy():
    runs, wide = make_runs(), make_runs()["method"] == RELU
    for column in ("test_acc", "test_acc_last"):
        mean = runs.loc[wide, column].mean()
        runs.loc[wide, column] = mean + 4 * (runs.loc[wide, column] - mean)
    c6 = judged(runs).query("claim == 'C6'")
    assert c6["estimate"].between(0.15, 0.4).all() and set(c6["answer"]) == {"for"}


def test_power_asks_for_more_seeds_where_noise_is_larger(cells):
    tables = (cells, judged(make_runs(noise=0.05)))
    needed, noisy = (dg.power(table).set_index(["claim", "reading"]) for table in tables)
    assert (noisy.loc["C3", "for_margin"] > 5 * needed.loc["C3", "for_margin"]).all()
    assert (needed.loc["C3", ["cells", "n"]] == [2, 12]).all(axis=None)
