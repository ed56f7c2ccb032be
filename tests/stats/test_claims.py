"""What is compared for each claim, by hand; the rule itself is in test_rule."""

import io

import numpy as np
import pandas as pd
import pytest
from stats.oracle import LEAKY, MEASURES, PRUNED, RELU, THREE, make_constant_, make_layers, make_runs

import deadgcn as dg
from deadgcn.stats.claims import CELL

CLAIMS = [f"C{number}" for number in range(1, 11)]


def judged(runs=None, layers=None, deep=None) -> pd.DataFrame:
    tables = [] if runs is None else [dg.core_comparisons(runs, layers)]
    tables += [] if deep is None else [dg.very_deep_comparisons(deep)]
    return dg.judge(pd.concat(tables, ignore_index=True))


def statuses(cells: pd.DataFrame) -> dict[str, str]:
    return dg.verdict(cells).set_index("claim")["status"].to_dict()


@pytest.fixture(scope="module")
def layers() -> pd.DataFrame:
    return make_layers()


@pytest.fixture(scope="module")
def cells(layers) -> pd.DataFrame:
    return judged(make_runs(), layers, make_layers(depths=(8,), seeds=10))


def test_what_is_true_of_made_up_runs_is_replicated_and_what_is_false_is_not(cells):
    found = statuses(cells)
    assert list(found) == CLAIMS
    assert {found[claim] for claim in CLAIMS if claim not in ("C5", "C6")} == {"replicated"}
    assert found["C5"] == "not replicated"  # pruning is above LeakyReLU in these runs
    assert found["C6"] != "replicated"  # both methods have the same spread
    row, of_claim = dg.verdict(cells).set_index("claim").loc["C3"], cells[cells["claim"] == "C3"]
    least = of_claim.loc[of_claim["p_value"].idxmax()]
    assert (row["decisive_cell"], row["decisive_estimate"]) == (least["cell"], least["estimate"])
    about_layers = cells["claim"].isin(["C1", "C2", "C7", "C8", "C9", "C10"])
    assert (cells["constant"][about_layers] == 0).all() and cells["constant"][~about_layers].isna().all()


def test_effects_smaller_than_the_margin_are_not_replicated():
    found = statuses(judged(make_runs((0.4, 0.4, 0.4)), make_layers(1, 0), make_layers(1, depths=(8,))))
    assert {found[claim] for claim in ("C1", "C2", "C3", "C4", "C5", "C7", "C10")} == {"not replicated"}


def test_one_seed_decides_nothing():
    cells = judged(make_runs(seeds=1), make_layers(seeds=1), make_layers(seeds=1, depths=(8,)))
    assert set(cells["claim"]) == set(CLAIMS)
    assert set(cells["answer"]) == {"open"} and set(statuses(cells).values()) == {"undecided"}
    assert dg.power(cells)[["for_margin", "for_effect"]].isna().all(axis=None)


def test_the_order_of_rows_and_a_round_trip_through_a_file_change_nothing(cells, layers):
    core = dg.core_comparisons(*(table.sample(frac=1, random_state=0) for table in (make_runs(), layers)))
    deep = dg.very_deep_comparisons(make_layers(depths=(8,), seeds=10).sample(frac=1, random_state=0))
    assert list(deep) == list(core) == [*CELL, "seed", "value", "constant"]
    deep = pd.read_csv(io.StringIO(deep.to_csv(index=False)))
    again = dg.judge(pd.concat([core, deep], ignore_index=True).sample(frac=1, random_state=0))
    again, expected = (table.sort_values(CELL, ignore_index=True) for table in (again, cells))
    pd.testing.assert_frame_equal(again, expected, rtol=1e-12)


def test_death_and_smoothing_are_compared_where_neither_layer_is_constant(cells, layers):
    changed = layers.copy()
    make_constant_(changed, (changed["layer"] <= 2) & (changed["method"] == RELU))
    make_constant_(changed, (changed["layer"] == 3) & (changed["method"] == PRUNED))
    few = judged(make_runs(), changed).query("claim in ['C1', 'C2', 'C10']")
    depth = few["cell"].str.extract(r"(\d+) layers")[0].astype(int)
    assert few["constant"].tolist() == pytest.approx((3 / depth).tolist())
    assert ((few["answer"] == "not measurable") == (depth == 5)).all()
    assert (few["answer"][depth > 5] == "for").all()  # the absurd values of constant layers do not count
    assert statuses(few) == {"C1": "not measurable", "C2": "not measurable", "C10": "replicated"}
    assert dg.verdict(few).set_index("claim")["decisive_constant"]["C1"] == pytest.approx(3 / 5)


def test_zero_matrices_are_constant_and_diverged_layers_missing(layers):
    everything = ["constant", "dead_fraction", "zero_fraction", *MEASURES]
    zero, lost = layers.copy(), layers.copy()
    one = (layers["seed"] == 4) & (layers["method"] == PRUNED)
    zero.loc[one, ["constant", "relative_distance_to_mean", "mean_average_distance"]] = 1.0, np.nan, np.nan
    lost.loc[one, everything] = np.nan
    for table, constant in ((zero, 1 / 12), (lost, 0)):
        found = judged(make_runs(), table).query("claim in ['C1', 'C10']")
        assert (found["n"] == 11).all() and (found["answer"] == "for").all()
        assert found["constant"].tolist() == pytest.approx([constant] * len(found))


@pytest.mark.parametrize("measure", [*THREE, "dead_fraction"])
def test_death_and_smoothing_are_linked_if_all_measures_agree(layers, measure):
    changed, pruned = layers.copy(), layers["method"] == PRUNED
    changed.loc[pruned, measure] = layers.loc[layers["method"] == RELU, measure].to_numpy()
    assert statuses(judged(make_runs(), changed))["C10"] == "not replicated"  # no effect at all
    away = changed["num_layers"] != 10
    changed.loc[away] = layers.loc[away]
    found = judged(make_runs(), changed).query("claim == 'C10'")
    assert (found["answer"] == "for").tolist() == (found["quantity"] != measure).tolist()


def test_the_link_is_judged_at_the_depth_nearest_to_10(layers):
    runs, far = make_runs(depths=(3, 14, 30)), make_layers(depths=(3, 14, 30), seeds=12)
    found = judged(runs, far).query("claim == 'C10'")["cell"]
    assert found.str.contains("14 layers").all() and len(found) == 8


def test_consistently_counts_layers_and_ties_by_half():
    deep = make_layers(depths=(5,), seeds=10)
    deep.loc[(deep["method"] == PRUNED) & (deep["layer"] == 1), MEASURES] = 1e-5  # below in one layer of four
    deep.loc[deep["layer"] == 2, MEASURES] = 1.0  # equal in another
    make_constant_(deep, deep["layer"] == 3)
    c7 = judged(deep=deep).query("claim == 'C7'")
    assert c7["estimate"].tolist() == pytest.approx([0.625 - 0.95] * 10)
    assert set(c7["answer"]) == {"against"} and c7["p_equivalent"].isna().all()


def test_the_rise_compares_the_last_layer_with_the_middle_half():
    deep = make_layers(depths=(8,)).assign(**dict.fromkeys(MEASURES, 1.0))
    deep.loc[deep["layer"].isin([1, 2]), MEASURES] = 77.0  # outside of the middle half, 3 to 6
    deep.loc[deep["layer"].isin([3, 4]), MEASURES] = 4.0  # geometric mean of the middle half: 2
    deep.loc[deep["layer"] == 8, MEASURES] = 6.0
    c9 = judged(deep=deep).query("claim == 'C9'")
    assert c9["estimate"].tolist() == pytest.approx([3.0] * 15)
    make_constant_(deep, (deep["layer"].isin([4, 5])) & (deep["method"] == RELU))
    make_constant_(deep, (deep["layer"] == 8) & (deep["method"] == LEAKY))
    c9 = judged(deep=deep).query("claim == 'C9'").set_index(c9["cell"].str.split(",").str[0])
    assert (
        c9.loc[RELU, "estimate"].tolist() == pytest.approx([3.0] * 5)
        and (c9.loc[RELU, "constant"] == 0.5).all()
    )
    assert (c9.loc[LEAKY, "constant"] == 1).all() and (c9.loc[LEAKY, "answer"] == "not measurable").all()


def test_the_rise_in_two_layers_compares_the_last_with_the_first():
    deep = make_layers(depths=(2,)).assign(**dict.fromkeys(MEASURES, 2.0))
    deep.loc[deep["layer"] == 2, MEASURES] = 6.0
    assert judged(deep=deep).query("claim == 'C9'")["estimate"].tolist() == pytest.approx([3.0] * 15)


def test_the_spread_of_accuracy(layers):
    runs, wide = make_runs(), make_runs()["method"] == RELU
    for column in ("test_acc", "test_acc_last"):
        mean = runs.loc[wide, column].mean()
        runs.loc[wide, column] = mean + 4 * (runs.loc[wide, column] - mean)
    c6 = judged(runs, layers).query("claim == 'C6'")
    assert c6["estimate"].between(0.15, 0.4).all() and set(c6["answer"]) == {"for"}


def test_power_asks_for_more_seeds_where_noise_is_larger(cells, layers):
    tables = (cells, judged(make_runs(noise=0.05), layers))
    needed, noisy = (dg.power(table).set_index(["claim", "reading"]) for table in tables)
    assert (noisy.loc["C3", "for_margin"] > 5 * needed.loc["C3", "for_margin"]).all()
    assert (needed.loc["C3", ["cells", "n"]] == [2, 12]).all(axis=None)
