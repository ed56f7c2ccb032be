import math
from functools import partial

import numpy as np
import pandas as pd
import pytest
import scipy.stats

import deadgcn as dg
from deadgcn.stats.estimates import pair_by_seed

T_2 = 4.302652729911275  # 97.5 % quantile of Student's t with 2 degrees of freedom, from a printed table
Z = 1.959963984540054  # of the normal distribution
HALF = T_2 / math.sqrt(3)  # of the interval of three values with a standard deviation of 1


def make_runs(diverged=(), **values_by_method) -> pd.DataFrame:
    """One row per run at depth 5; the seed is the place in the list. `diverged` lists (method, seed)."""
    parts = [pd.DataFrame({"method": m, "test_acc": x}) for m, x in values_by_method.items()]
    runs = pd.concat([part.assign(num_layers=5, seed=part.index) for part in parts], ignore_index=True)
    if diverged:
        lost = [run in diverged for run in zip(runs["method"], runs["seed"], strict=True)]
        runs["diverged_epoch"] = np.where(lost, 3, np.nan)
    return runs


def test_summarize_by_hand():
    (row,) = dg.summarize(make_runs(ReLU=[1.0, 2.0, 3.0]), "test_acc").to_dict("records")
    assert list(row) == ["method", "num_layers", "n", "mean", "std", "low", "high"]
    assert list(row.values()) == ["ReLU", 5, 3, 2, 1, pytest.approx(2 - HALF), pytest.approx(2 + HALF)]


def test_groups_keep_their_order_and_depend_on_their_own_numbers_only():
    a, b, c = np.random.default_rng(2).exponential(size=(3, 30))
    alone = dg.summarize(make_runs(a=a), "test_acc").to_numpy().tolist()
    for runs in (make_runs(b=b, a=a), make_runs(c=c[:5], a=a), make_runs(b=b, c=c, a=a)):
        table = dg.summarize(runs, "test_acc")
        assert table["method"].tolist() == list(runs["method"].unique())
        assert table[table["method"] == "a"].to_numpy().tolist() == alone
        shuffled = dg.summarize(runs.sample(frac=1, random_state=0), "test_acc").set_index("method")
        pd.testing.assert_frame_equal(shuffled.loc[table["method"]].reset_index(), table, rtol=0, atol=0)


def test_missing_values_are_left_out_and_not_counted():
    runs = make_runs(a=[1.0, np.nan, 3.0, np.inf], one=[7.0, np.nan], none=[np.nan])
    table = dg.summarize(runs, "test_acc")
    assert table["n"].tolist() == [2, 1, 0] and table["mean"].tolist()[:2] == [2, 7]
    assert table.loc[1:, ["std", "low", "high"]].isna().all(axis=None) and np.isnan(table["mean"][2])


def test_several_values_make_one_block_each():
    runs = make_runs(ReLU=[1.0, 3.0], LeakyReLU=[5.0, 5.0]).assign(val_acc=0.5)
    table = dg.summarize(runs, ("val_acc", "test_acc"))
    assert table["quantity"].tolist() == ["val_acc"] * 2 + ["test_acc"] * 2
    last = table[2:].drop(columns="quantity").reset_index(drop=True)
    pd.testing.assert_frame_equal(last, dg.summarize(runs, "test_acc"))


def test_paired_difference_by_hand():
    runs = make_runs(ReLU=[1.0, 5.0, 9.0], pruned=[2.0, 7.0, 12.0])  # differences 1, 2, 3
    (row,) = dg.paired_difference(runs, "test_acc", "pruned", "ReLU").to_dict("records")
    assert list(row) == "num_layers method baseline n difference std low high p_value p_holm".split()
    assert list(row.values())[:6] == [5, "pruned", "ReLU", 3, 2, 1]
    assert [row["low"], row["high"]] == pytest.approx([2 - HALF, 2 + HALF])
    assert row["p_value"] == pytest.approx(0.0741799, abs=1e-7)  # t = 2 * sqrt(3): 1 - t / sqrt(t^2 + 2)
    (back,) = dg.paired_difference(runs, "test_acc", "ReLU", "pruned").to_dict("records")
    assert (back["difference"], back["high"]) == (-2, pytest.approx(-row["low"]))


def test_paired_ratios_by_hand():
    runs = make_runs(a=[2e-20, 4e-10, 8.0, 0.0, 3.0], b=[1e-20, 1e-10, 1.0, 5.0, np.nan])  # ratios 2, 4, 8
    row = dg.paired_difference(runs, "test_acc", "a", "b", log=True, margin=2.0**5).iloc[0]
    assert (row["n"], row["n_zero"], row["difference"]) == (3, 1, pytest.approx(4))
    assert row[["std", "low", "high"]].tolist() == pytest.approx([2, 4 * 2**-HALF, 4 * 2**HALF])
    assert row["p_equivalent"] == pytest.approx((1 - math.sqrt(27 / 29)) / 2)  # of 1, 2, 3 with margin 5


def test_pairs_are_matched_by_seed_whatever_the_order_of_rows():
    a, b = np.random.default_rng(5).random((2, 25))
    runs = make_runs(a=a, b=b)
    expected = dg.paired_difference(runs, "test_acc", "b", "a", margin=0.1)
    assert expected["p_value"][0] == pytest.approx(scipy.stats.ttest_rel(b, a).pvalue)
    found = dg.paired_difference(runs.sample(frac=1, random_state=0), "test_acc", "b", "a", margin=0.1)
    pd.testing.assert_frame_equal(found, expected, rtol=0, atol=0)
    swapped = runs.assign(seed=[*range(25), *reversed(range(25))])
    assert dg.paired_difference(swapped, "test_acc", "b", "a")["std"][0] != expected["std"][0]


def test_differences_that_are_equal_up_to_rounding_have_no_variance():
    assert 0.3 - 0.2 != 0.2 - 0.1  # in the last bits: a t test would make that p = 1e-16
    row = dg.paired_difference(make_runs(a=[0.3, 0.2], b=[0.2, 0.1]), "test_acc", "a", "b").iloc[0]
    assert row["low"] == row["difference"] == row["high"] == pytest.approx(0.1)
    assert row["p_value"] == 0.5  # the sign test's: two equal signs


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ({"value": "foo"}, "foo"),
        ({"by": ("method", "depth")}, "depth"),
        ({"method": "c"}, "'c'"),
        ({"baseline": "c"}, "'c'"),
        ({"margin": -0.1}, "-0.1"),
        ({"margin": 0.5, "log": True}, "0.5"),
        ({"log": True}, "-2.0"),
    ],
)
def test_a_bad_choice_is_named(bad, named):
    arguments = {"value": "test_acc", "method": "a", "baseline": "b", **bad}
    with pytest.raises(ValueError, match=named):
        dg.paired_difference(make_runs(a=[1.0, -2.0], b=[3.0, 4.0]), **arguments)


def test_seeds_of_one_method_only_and_seeds_with_two_runs_are_refused():
    with pytest.raises(ValueError, match=r"'a' and 'b' .*seed.*2"):
        dg.paired_difference(make_runs(a=[1.0, 2.0, 3.0], b=[1.0, 2.0]), "test_acc", "a", "b")
    runs = make_runs(a=[1.0, 2.0], b=[3.0, 4.0])
    both = pd.concat([runs.assign(dataset="Cora"), runs.assign(dataset="CiteSeer")])
    for estimate in (dg.summarize, partial(dg.paired_difference, method="a", baseline="b")):
        with pytest.raises(ValueError, match="'seed': 0"):
            estimate(both, "test_acc")
    assert len(dg.paired_difference(both, "test_acc", "a", "b", by=("dataset", "num_layers"))) == 2


def test_runs_and_pairs_that_diverged_are_counted():
    lost = {("a", 1), ("a", 2), ("b", 0), ("b", 2)}
    runs = make_runs(lost, a=[1.0, np.nan, 3.0, 5.0], b=[2.0, 1.0, 1.0, 1.0])
    table = dg.summarize(runs, "test_acc")
    assert list(table)[2:4] == ["n", "n_diverged"]
    assert table[["n", "n_diverged"]].to_numpy().tolist() == [[3, 2], [4, 2]]
    (row,) = dg.paired_difference(runs, "test_acc", "a", "b").to_dict("records")
    assert (row["n"], row["n_diverged"], row["difference"]) == (3, 3, pytest.approx(5 / 3))


def test_shares_and_wilsons_interval_by_hand():
    runs = make_runs(a=[1.0, 2, 3, 4, np.nan], b=[1.0, 1, 5, 1, 0], c=[0.0, 0, 0, 0, 0])
    table = dg.share_above(runs, "test_acc", 1, by="method")
    assert table[["method", "n", "share"]].to_numpy().tolist() == [["a", 4, 0.75], ["b", 5, 0.2], ["c", 5, 0]]
    for end in table.loc[0, ["low", "high"]]:  # Wilson's interval ends where this holds
        assert abs(end - 0.75) == pytest.approx(Z * math.sqrt(end * (1 - end) / 4))
    assert table.loc[2, ["low", "high"]].tolist() == [0, pytest.approx(Z**2 / (5 + Z**2))]
    assert dg.share_above(runs, "test_acc", -1, by="method")["high"].tolist() == [1, 1, 1]
    assert dg.share_above(runs.assign(test_acc=np.nan), "test_acc", 1)["share"].isna().all()


def test_answers_of_paired_differences():
    values = {"more": 0.5, "less": -0.5, "small": 0.01}
    noise = np.array([-1, 0, 0, 1]) / 1000
    tables = [make_runs(a=1 + x + noise, b=np.ones(4)).assign(case=name) for name, x in values.items()]
    tables.append(make_runs(a=[0.0, 9.0, 1.0, 5.0], b=np.ones(4)).assign(case="noisy"))
    tables.append(make_runs(a=[2.0], b=[1.0]).assign(case="one"))
    rows = dg.paired_difference(pd.concat(tables), "test_acc", "a", "b", by="case", margin=0.1)
    assert dg.answer(rows).tolist() == ["more", "less", "no difference", "open", "open"]
    assert rows["p_value"][2] <= 0.05  # differs from 0, and yet below the margin
    ratios = dg.paired_difference(
        pd.concat(tables[:3]), "test_acc", "a", "b", by="case", log=True, margin=1.1
    )
    assert (ratios["difference"] > 0).all()
    assert dg.answer(ratios).tolist() == ["more", "less", "no difference"]
    both = pd.concat([rows, ratios], ignore_index=True)
    assert dg.answer(both).tolist() == [*dg.answer(rows), *dg.answer(ratios)]


def test_answers_with_and_without_holm():
    rows = pd.DataFrame({"difference": [1.0, -1.0], "p_value": 0.04, "p_holm": 0.08, "p_equivalent": np.nan})
    assert dg.answer(rows).tolist() == ["more", "less"]
    assert dg.answer(rows, p="p_holm").tolist() == ["open", "open"]


def test_a_pair_is_constant_if_either_layer_is():
    runs = make_runs(a=[1.0, 2.0, 3.0], b=[1.0, 2.0, 3.0])
    runs["constant"] = [False, True, False, False, False, True]
    assert pair_by_seed(runs, "test_acc", "a", "b")["constant"].tolist() == [False, True, True]


def test_layers_are_paired_and_averaged_where_neither_is_constant():
    values = {"a": [[2.0, 8.0, 4.0], [3.0, 3.0, 9.0]], "b": [[1.0, 2.0, 2.0], [1.0, 1.0, 3.0]]}
    rows = [
        {"method": method, "seed": seed, "layer": layer, "x": x, "num_layers": 3, "constant": 0.0}
        for method, runs in values.items()
        for seed, run in enumerate(runs)
        for layer, x in enumerate(run)
    ]
    layers = pd.DataFrame(rows)
    layers.loc[(layers["method"] == "b") & (layers["seed"] == 0) & (layers["layer"] == 1), "constant"] = 1.0
    (row,) = dg.paired_difference(layers, "x", "a", "b", log=True, margin=1.25).to_dict("records")
    assert row["difference"] == pytest.approx((2 * 3) ** 0.5)  # seed 0: 2 and 2; seed 1: 3, 3 and 3
    assert (row["n"], row["constant"]) == (2, pytest.approx(1 / 6))
    (row,) = dg.paired_difference(layers, "x", "a", "b", margin=0.02).to_dict("records")
    assert row["difference"] == pytest.approx(((1 + 2) / 2 + (2 + 2 + 6) / 3) / 2)
    lost = dg.paired_difference(layers.assign(constant=layers["layer"] > 0), "x", "a", "b", margin=0.02)
    assert dg.answer(lost).tolist() == ["not measurable"]
    by_layer = dg.paired_difference(layers, "x", "a", "b", by="layer", log=True)
    assert by_layer["n"].tolist() == [2, 2, 2] and "constant" not in by_layer


def test_arms_are_compared_with_the_studys_margins_over_common_seeds():
    runs = pd.concat([make_runs(a=[0.5, 0.61, 0.72], b=[0.4, 0.5, 0.6]).assign(regime=r) for r in ("x", "y")])
    runs = runs[(runs["regime"] == "x") | (runs["method"] == "a")]  # in y there is nothing to compare
    extra = runs[runs["method"] == "b"].iloc[:1].assign(seed=99)  # a seed that only b has
    runs = pd.concat([runs, extra], ignore_index=True)
    layers = runs.drop(columns="test_acc").assign(
        layer=1, constant=0.0, norm=np.where(runs["method"] == "a", 2.0, 1.0)
    )
    found = dg.compare(runs, layers, [("a", "b"), ("b", "a")], ["test_acc", "norm"], by="regime")
    assert found["outcome"].tolist() == ["test_acc", "norm"] * 2 and set(found["regime"]) == {"x"}
    assert found["difference"].tolist() == pytest.approx([0.11, 2, -0.11, 0.5]) and set(found["n"]) == {3}
    assert found["answer"].tolist()[::2] == ["more", "less"]


def test_rows_that_differ_in_a_setting_are_told_by_its_name():
    table = pd.DataFrame({"method": "a", "num_layers": 2, "seed": 0, "split": [0, 1], "test_acc": [0.5, 0.6]})
    with pytest.raises(ValueError, match="'split'"):
        dg.summarize(table, "test_acc")
    with pytest.raises(ValueError, match="'stage'"):
        dg.summarize(table.rename(columns={"split": "stage"}), "test_acc")
    assert len(dg.summarize(table, "test_acc", by=["split", "method"])) == 2
