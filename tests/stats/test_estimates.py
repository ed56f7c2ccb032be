import numpy as np
import pandas as pd
import pytest
import scipy.stats

from deadgcn.stats.estimates import paired_difference, probability_of_improvement, share_above, summarize
from deadgcn.stats.inference import wilson_interval

T_2 = 4.302652729911275  # 97.5 % quantile of Student's t with 2 degrees of freedom, from a printed table


def make_runs(**values_by_method) -> pd.DataFrame:
    """One row per run at depth 5; the seed is the place in the list."""
    rows = [
        {"method": method, "num_layers": 5, "seed": seed, "test_acc": value}
        for method, values in values_by_method.items()
        for seed, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_summarize_by_hand():
    (row,) = summarize(make_runs(ReLU=[1.0, 2.0, 3.0]), "test_acc").to_dict("records")
    assert list(row) == ["method", "num_layers", "n", "mean", "std", "low", "high"]
    assert (row["method"], row["num_layers"], row["n"], row["mean"], row["std"]) == ("ReLU", 5, 3, 2.0, 1.0)
    assert row["low"] == pytest.approx(2 - T_2 / np.sqrt(3))
    assert row["high"] == pytest.approx(2 + T_2 / np.sqrt(3))


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
def test_summarize_agrees_with_scipy(confidence):
    rng = np.random.default_rng(0)
    runs = make_runs(ReLU=rng.normal(size=10), LeakyReLU=rng.normal(size=7))
    table = summarize(runs, "test_acc", by="method", confidence=confidence).set_index("method")
    for method, values in runs.groupby("method")["test_acc"]:
        interval = scipy.stats.t.interval(
            confidence, len(values) - 1, loc=values.mean(), scale=scipy.stats.sem(values)
        )
        assert table.loc[method, ["low", "high"]].tolist() == pytest.approx(interval, rel=1e-12)


def test_summarize_keeps_the_order_of_first_appearance():
    runs = make_runs(ReLU=[1.0], LeakyReLU=[2.0], A=[3.0])
    assert summarize(runs, "test_acc")["method"].tolist() == ["ReLU", "LeakyReLU", "A"]


def test_missing_values_are_left_out_and_not_counted():
    runs = make_runs(ReLU=[1.0, np.nan, 3.0], one=[7.0, np.nan], none=[np.nan])
    table = summarize(runs, "test_acc")
    assert table["n"].tolist() == [2, 1, 0]
    assert table["mean"].tolist()[:2] == [2.0, 7.0] and np.isnan(table["mean"][2])
    assert table.loc[1:, ["std", "low", "high"]].isna().all(axis=None)


def test_no_variance_makes_the_interval_a_point():
    # The mean of three times 0.1 is not exactly 0.1, so a naive standard deviation is 1e-17 instead of 0.
    (row,) = summarize(make_runs(ReLU=[0.1, 0.1, 0.1]), "test_acc").to_dict("records")
    assert row["std"] == 0 and row["low"] == row["mean"] == row["high"] == pytest.approx(0.1)


def test_log_gives_the_geometric_mean_by_hand():
    (row,) = summarize(make_runs(ReLU=[1e-22, 1e-20, 1e-18]), "test_acc", log=True).to_dict("records")
    assert row["mean"] == pytest.approx(1e-20)
    assert row["std"] == pytest.approx(100)
    assert row["low"] == pytest.approx(1e-20 * 100 ** (-T_2 / np.sqrt(3)))
    assert row["high"] == pytest.approx(1e-20 * 100 ** (T_2 / np.sqrt(3)))


def test_log_counts_exact_zeros():
    runs = make_runs(ReLU=[0.0, 2.0, 8.0, np.nan], dead=[0.0, 0.0])
    table = summarize(runs, "test_acc", log=True)
    assert table[["n", "n_zero"]].to_numpy().tolist() == [[2, 1], [0, 2]]
    assert table["mean"][0] == pytest.approx(4) and np.isnan(table["mean"][1])
    assert "n_zero" not in summarize(runs, "test_acc")


def test_log_refuses_negative_numbers():
    with pytest.raises(ValueError, match=r"test_acc >= 0, but it is -2.0 at .*'ReLU', 'num_layers': 5"):
        summarize(make_runs(ReLU=[1.0, -2.0]), "test_acc", log=True)


def test_several_values_make_one_block_each():
    runs = make_runs(ReLU=[1.0, 3.0], LeakyReLU=[5.0, 5.0]).assign(val_acc=0.5)
    table = summarize(runs, ("val_acc", "test_acc"))
    assert table["quantity"].tolist() == ["val_acc"] * 2 + ["test_acc"] * 2
    assert table["mean"].tolist() == [0.5, 0.5, 2.0, 5.0]
    pd.testing.assert_frame_equal(
        table[2:].drop(columns="quantity").reset_index(drop=True), summarize(runs, "test_acc")
    )


def test_a_run_counted_twice_is_refused_with_the_columns_that_tell_its_rows_apart():
    layers = pd.DataFrame(
        [
            {"method": "ReLU", "num_layers": 2, "seed": 0, "stage": stage, "layer": layer, "norm": layer / 3}
            for stage in ("init", "last")
            for layer in (1, 2)
        ]
    )
    with pytest.raises(ValueError, match=r"'seed': 0\} has several: put \['stage', 'layer'\] into by"):
        summarize(layers, "norm")
    with pytest.raises(ValueError, match=r"put \['stage'\] into by"):
        summarize(layers, "norm", by=("method", "layer"))
    assert len(summarize(layers, "norm", by=("method", "stage", "layer"))) == 4
    with pytest.raises(ValueError, match="drop the copies"):
        summarize(pd.concat([layers, layers]), "norm", by=("method", "stage", "layer"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"value": "foo"}, "must be among the columns .*'test_acc'.*, but 'foo' was passed"),
        ({"value": "test_acc", "by": ("method", "depth")}, "but 'depth' was passed"),
        ({"value": "test_acc", "confidence": 95}, "confidence must be between 0 and 1, but 95 was passed"),
        ({"value": "test_acc", "statistic": "median"}, "must be 'mean' or 'iqm', but 'median' was passed"),
    ],
)
def test_summarize_names_the_bad_choice(arguments, message):
    with pytest.raises(ValueError, match=message):
        summarize(make_runs(ReLU=[1.0]), **arguments)


def test_paired_difference_by_hand():
    runs = make_runs(ReLU=[1.0, 5.0, 9.0], pruned=[2.0, 7.0, 12.0])  # differences 1, 2, 3
    (row,) = paired_difference(runs, "test_acc", "pruned", "ReLU").to_dict("records")
    columns = "num_layers method baseline n difference std low high p_value p_holm"
    assert list(row) == columns.split()
    assert (row["method"], row["baseline"], row["n"]) == ("pruned", "ReLU", 3)
    assert (row["difference"], row["std"]) == (2.0, 1.0)
    assert row["low"] == pytest.approx(2 - T_2 / np.sqrt(3))
    assert row["p_value"] == pytest.approx(0.0741799, abs=1e-7)  # t = 2 * sqrt(3): 1 - t / sqrt(t^2 + 2)
    (back,) = paired_difference(runs, "test_acc", "ReLU", "pruned").to_dict("records")
    assert (back["difference"], back["high"]) == (-2.0, pytest.approx(-row["low"]))


def test_paired_difference_agrees_with_scipy_at_every_depth():
    rng = np.random.default_rng(1)
    depths = [make_runs(a=rng.normal(size=8), b=rng.normal(size=8)).assign(num_layers=d) for d in (30, 5)]
    table = paired_difference(pd.concat(depths), "test_acc", "a", "b")
    assert table["num_layers"].tolist() == [30, 5]
    for p_value, runs in zip(table["p_value"], depths, strict=True):
        a, b = (runs.loc[runs["method"] == name, "test_acc"].to_numpy() for name in "ab")
        assert p_value == pytest.approx(scipy.stats.ttest_rel(a, b).pvalue, rel=1e-10)


def test_pairs_are_matched_by_seed_whatever_the_order_of_rows():
    runs = make_runs(a=[1.0, 5.0, 9.0], b=[2.5, 7.0, 12.0])
    expected = paired_difference(runs, "test_acc", "b", "a")
    for order in range(10):
        shuffled = runs.sample(frac=1, random_state=order)
        pd.testing.assert_frame_equal(
            paired_difference(shuffled, "test_acc", "b", "a"), expected, rtol=0, atol=0
        )
    swapped = runs.assign(seed=[0, 1, 2, 1, 0, 2])
    assert paired_difference(swapped, "test_acc", "b", "a")["std"][0] > 2 * expected["std"][0]


def test_paired_ratio_under_log():
    runs = make_runs(a=[2.0, 8e-20, 0.0, 3.0], b=[1.0, 1e-20, 5.0, np.nan])  # ratios 2 and 8
    (row,) = paired_difference(runs, "test_acc", "a", "b", log=True).to_dict("records")
    assert (row["n"], row["n_zero"]) == (2, 1)
    assert row["difference"] == pytest.approx(4)
    assert row["std"] == pytest.approx(4 ** (1 / np.sqrt(2)))  # the logarithms differ by log 4
    logs = np.log([2.0, 8e-20]), np.log([1.0, 1e-20])
    assert row["p_value"] == pytest.approx(scipy.stats.ttest_rel(*logs).pvalue)


def test_equal_differences_have_a_point_for_an_interval_and_the_sign_tests_p_value():
    assert 0.3 - 0.2 != 0.2 - 0.1  # in the last bits: a t test would make that p = 1e-16
    runs = make_runs(a=[0.3, 0.2], b=[0.2, 0.1])
    (row,) = paired_difference(runs, "test_acc", "a", "b").to_dict("records")
    assert row["std"] == 0 and row["low"] == row["difference"] == row["high"] == pytest.approx(0.1)
    assert row["p_value"] == 0.5  # the sign test's: two equal signs


def test_one_pair_and_no_pair():
    runs = make_runs(a=[1.0, np.nan], b=[3.0, 4.0])
    (row,) = paired_difference(runs, "test_acc", "a", "b").to_dict("records")
    assert (row["n"], row["difference"]) == (1, -2.0)
    assert all(np.isnan(row[name]) for name in ("std", "low", "high", "p_value"))
    (row,) = paired_difference(runs.assign(test_acc=np.nan), "test_acc", "a", "b").to_dict("records")
    assert row["n"] == 0 and np.isnan(row["difference"])


def test_seeds_of_one_arm_only_are_named():
    runs = make_runs(a=[1.0, 2.0, 3.0], b=[1.0])
    with pytest.raises(ValueError, match=r"'a' and 'b' must share seeds, but \[1, 2\] at .*5\} do not"):
        paired_difference(runs, "test_acc", "a", "b")


def test_repeated_pairs_are_refused_with_the_columns_that_tell_them_apart():
    runs = make_runs(a=[1.0, 2.0], b=[3.0, 4.0])
    both = pd.concat([runs.assign(dataset="Cora"), runs.assign(dataset="CiteSeer")])
    both = both[["dataset", *runs.columns]]
    with pytest.raises(ValueError, match=r"put \['dataset'\] into by"):
        paired_difference(both, "test_acc", "a", "b")
    assert len(paired_difference(both, "test_acc", "a", "b", by=("dataset", "num_layers"))) == 2


@pytest.mark.parametrize(("method", "baseline", "role"), [("c", "a", "method"), ("a", "c", "baseline")])
def test_unknown_methods_are_named(method, baseline, role):
    runs = make_runs(a=[1.0], b=[2.0])
    with pytest.raises(ValueError, match=rf"{role} must be one of \['a', 'b'\], but 'c' was passed"):
        paired_difference(runs, "test_acc", method, baseline)


def test_summarize_with_interquartile_means():
    powers = 2.0 ** np.array([90, 3, 4, 1, 5, 6, 8, -70])  # exponents worked by hand in test_inference.py
    table = summarize(make_runs(ReLU=powers), "test_acc", log=True, statistic="iqm")
    assert table.loc[0, ["mean", "low"]].tolist() == pytest.approx([2**4.5, 2 ** (4.5 - 3.182446305284263)])


@pytest.mark.parametrize("n", [10, 30])
def test_the_interval_of_a_group_depends_on_its_own_numbers_only(n):
    a, b, c = np.random.default_rng(2).exponential(size=(3, n))
    alone = summarize(make_runs(a=a), "test_acc").to_numpy().tolist()
    for runs in (make_runs(a=a, b=b), make_runs(c=c[:5], a=a), make_runs(b=b, c=c, a=a)):
        table = summarize(runs, "test_acc")
        assert table[table["method"] == "a"].to_numpy().tolist() == alone
        assert table["low"].nunique() == len(table)


def test_energies_as_ratios_by_hand():
    runs = make_runs(a=[2e-20, 4e-10, 8.0], b=[1e-20, 1e-10, 1.0])  # ratios 2, 4, 8
    row = paired_difference(runs, "test_acc", "a", "b", log=True, margin=2.0**5).iloc[0]
    assert row[["low", "high"]].tolist() == pytest.approx([4 * 2 ** (x * T_2 / np.sqrt(3)) for x in (-1, 1)])
    assert row["p_equivalent"] == pytest.approx((1 - np.sqrt(27 / 29)) / 2)  # of 1, 2, 3 with margin 5


def test_holm_counts_the_rows_returned():
    gaps = {5: [1.0, 2, 3], 10: [0.0, 0, 0], 15: [np.nan, np.nan, 1], 20: [-1.0, -1, -1]}
    runs = [make_runs(a=gap, b=np.zeros(3)).assign(num_layers=d) for d, gap in gaps.items()]
    for count, expected in (4, [0.2225397, 1, np.nan, 0.5]), (1, [0.0741799]):
        table = paired_difference(pd.concat(runs[:count]), "test_acc", "a", "b")
        assert table["p_holm"].tolist() == pytest.approx(expected, rel=1e-6, nan_ok=True)


def test_shares_by_hand():
    runs = make_runs(a=[1.0, 2, 3, 4, np.nan], b=[1.0, 1, 5, 1, 0])  # a tie, won, lost, won
    (found,) = probability_of_improvement(runs, "test_acc", "a", "b", confidence=0.9).to_numpy().tolist()
    assert found == [5, "a", "b", 4, 2.5 / 4, *wilson_interval(2.5, 4, 0.9)]
    found = share_above(runs, "test_acc", 1, by="method").to_numpy().tolist()  # strictly
    assert found == [["a", 4, 0.75, *wilson_interval(3, 4)], ["b", 5, 0.2, *wilson_interval(1, 5)]]


@pytest.mark.parametrize("bad", [{"margin": -0.1}, {"margin": 0.5, "log": True}, {"margin": 0, "log": True}])
def test_a_margin_that_holds_nothing_is_refused(bad):
    with pytest.raises(ValueError, match=rf"margin must be above .*, but {bad['margin']} was passed"):
        paired_difference(make_runs(a=[1.0, 3], b=[2.0, 1]), "test_acc", "a", "b", **bad)
