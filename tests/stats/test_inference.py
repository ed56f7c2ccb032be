import itertools
import math

import numpy as np
import pytest
import scipy.stats

from deadgcn.stats import inference
from deadgcn.stats.inference import (
    difference,
    holm,
    interval,
    location,
    p_equivalent,
    p_value,
    rank_correlation,
    seeds_needed,
    wilson_interval,
)

T_2, T_3 = 4.302652729911275, 3.182446305284263  # 97.5 % quantiles of Student's t, from a printed table
Z = 1.959963984540054  # of the normal distribution
ONE_TO_THREE = np.array([1.0, 2.0, 3.0])  # mean 2, standard deviation 1, t = 2 * sqrt(3)


def p_of_t_2(t: float) -> float:
    """Chance of more than t under Student's t with two degrees of freedom, whose integral is elementary."""
    return (1 - t / math.sqrt(t**2 + 2)) / 2


def two_modes(rng: np.random.Generator, n: int) -> np.ndarray:
    """Accuracies of n runs of which 40 % collapse; the mean is 0.5."""
    return np.where(rng.random(n) < 0.4, 0.2, 0.7) + 0.03 * rng.standard_normal(n)


def coverage(draw, truth: float, n: int, repetitions: int, statistic: str = "mean") -> float:
    rng = np.random.default_rng(0)
    found = np.array([interval(draw(rng, n), statistic) for _ in range(repetitions)])
    return np.mean((found[:, 0] <= truth) & (truth <= found[:, 1]))


def test_students_interval_by_hand():
    assert interval(ONE_TO_THREE) == pytest.approx((2 - T_2 / math.sqrt(3), 2 + T_2 / math.sqrt(3)))
    half = 0.9 / math.sqrt((1 - 0.9**2) / 2) / math.sqrt(3)  # p_of_t_2 solved for t
    assert interval(ONE_TO_THREE, confidence=0.9) == pytest.approx((2 - half, 2 + half))
    assert np.isnan(interval(ONE_TO_THREE[:1])).all() and np.isnan(interval(ONE_TO_THREE[:0])).all()


@pytest.mark.parametrize(
    ("sample", "middle", "mean"),
    [
        ([100, 1, 3, 0], [1, 3], 2),
        ([900, 3, 4, 1, 5, 6, 8, -70], [3, 4, 5, 6], 4.5),
        ([0, 0, 1, 2, 3, 4, 5, 9, 50, 60], [1, 2, 3, 4, 5, 9], 4),  # a quarter of 10 is cut down to 2
    ],
)
def test_interquartile_mean_by_hand(sample, middle, mean):
    assert np.mean(middle) == mean == location(np.array(sample, float), "iqm")
    assert location(np.array([sample, np.add(sample, 7)], float), "iqm").tolist() == [mean, mean + 7]


def test_interval_of_the_interquartile_mean_by_hand():
    sample = np.array([900.0, 3, 4, 1, 5, 6, 8, -70])
    # Winsorised 3 3 3 4 5 6 6 6: squares 14 / 7, so its std sqrt(2) times 8 / 4 and over sqrt(8) is 1.
    assert interval(sample, "iqm") == pytest.approx((4.5 - T_3, 4.5 + T_3))
    assert interval(ONE_TO_THREE, "iqm") == interval(ONE_TO_THREE)  # nothing to cut from 3


@pytest.mark.parametrize("n", [2, 19, 20, 30])
def test_no_variance_gives_a_point(n):
    for statistic in ("mean", "iqm"):
        assert interval(np.full(n, 0.1), statistic) == (0.1, 0.1)


@pytest.mark.parametrize("sample", [[0.3] * 16 + [0.1, 0.2, 0.5, 0.6], [0.0] * 29 + [1], [2.0] * 7 + [9]])
def test_an_interquartile_mean_that_hardly_varies_has_a_finite_interval(sample):
    low, high = interval(np.array(sample, float), "iqm")
    assert low == high == pytest.approx(sample[0])
    low, high = interval(np.array(sample, float), "mean")
    assert low < np.mean(sample) < high


@pytest.mark.parametrize("n", [20, 30])
@pytest.mark.parametrize("statistic", ["mean", "iqm"])
def test_bca_is_scipys(n, statistic):
    sample = np.random.default_rng(n).exponential(size=n)
    own = np.mean if statistic == "mean" else lambda x, axis: scipy.stats.trim_mean(x, 0.25, axis)
    expected = scipy.stats.bootstrap(
        (np.sort(sample),),
        own,
        method="BCa",
        n_resamples=4_999,
        confidence_level=0.9,
        rng=np.random.default_rng(0),
    )
    assert interval(sample, statistic, 0.9) == pytest.approx(tuple(expected.confidence_interval), rel=1e-12)


def test_bca_takes_over_at_twenty_runs():
    sample = np.random.default_rng(3).exponential(size=20)
    for n, by_t in ((19, True), (20, False)):
        part = sample[:n]
        t = scipy.stats.t.interval(0.95, n - 1, part.mean(), scipy.stats.sem(part))
        assert (interval(part) == pytest.approx(t, rel=1e-9)) == by_t


def test_intervals_repeat_and_follow_their_sample():
    one, other = np.random.default_rng(4).exponential(size=(2, 25))
    assert interval(one) == interval(one.copy()) != interval(other)
    assert interval(5 + 4 * one) == pytest.approx(tuple(5 + 4 * x for x in interval(one)), rel=1e-9)


def test_differences_are_rid_of_rounding_only():
    pairs = np.array([[0.3, 0.2], [0.2, 0.1]])
    assert pairs[0, 0] - pairs[0, 1] != pairs[1, 0] - pairs[1, 1]
    assert np.ptp(difference(pairs)) == 0
    assert difference(np.array([[1e-20, 0.0], [1.5e-20, 1e-20]])).tolist() == [1e-20, 1.5e-20 - 1e-20]
    assert difference(np.array([[3.0], [5.0]])).tolist() == [3, 5]


def test_coverage_of_students_interval():
    normal = coverage(lambda rng, n: rng.standard_normal(n), 0, 10, 4000)
    assert 0.938 < normal < 0.962  # 0.95 +- 3.5 standard errors; with the normal's quantile it is 0.92
    assert 0.92 < coverage(two_modes, 0.5, 10, 4000) < 0.96
    assert 0.92 < coverage(lambda rng, n: rng.standard_normal(n), 0, 10, 4000, "iqm") < 0.96


@pytest.mark.parametrize("draw", [lambda rng, n: 0.5 + rng.standard_normal(n), two_modes])
def test_coverage_of_bca(draw, monkeypatch):
    monkeypatch.setattr(inference, "RESAMPLES", 999)
    assert 0.91 < coverage(draw, 0.5, 30, 600) < 0.975


def test_coverage_of_bca_for_the_interquartile_mean(monkeypatch):
    monkeypatch.setattr(inference, "RESAMPLES", 999)
    assert 0.92 < coverage(lambda rng, n: rng.standard_normal(n), 0, 30, 400, "iqm") < 0.98
    # Exponential: twice the integral of -log(1 - u) over the middle half of u. Its mean is 1.
    truth = 2 * sum(sign * (v - v * math.log(v)) for v, sign in ((0.75, 1), (0.25, -1)))
    assert 0.91 < coverage(lambda rng, n: rng.exponential(size=n), truth, 30, 400, "iqm") < 0.98


def test_p_value_by_hand():
    assert p_value(ONE_TO_THREE) == p_value(-ONE_TO_THREE) == pytest.approx(2 * p_of_t_2(2 * math.sqrt(3)))
    assert p_value(np.array([1.0, 3.0])) == pytest.approx(1 - 2 / math.pi * math.atan(2))  # Cauchy, t = 2
    a, b = np.random.default_rng(5).normal(size=(2, 12))
    assert p_value(a - b) == pytest.approx(scipy.stats.ttest_rel(a, b).pvalue, rel=1e-10)


def test_p_values_without_variance_are_the_sign_tests():
    assert p_value(np.full(5, 0.1)) == p_value(np.full(5, -3.0)) == 2 / 2**5
    assert p_value(np.zeros(5)) == 1
    assert p_equivalent(np.full(5, -0.1), 0.2) == p_equivalent(np.zeros(5), 0.2) == 1 / 2**5
    assert p_equivalent(np.full(5, 0.5), 0.5) == p_equivalent(np.full(5, -3.0), 0.5) == 1
    assert np.isnan([p_value(np.ones(1)), p_equivalent(np.ones(1), 2)]).all()


def test_equivalence_by_hand():
    assert p_equivalent(ONE_TO_THREE, 5) == pytest.approx(p_of_t_2(3 * math.sqrt(3)))
    assert p_equivalent(ONE_TO_THREE, 2) == pytest.approx(0.5)  # the mean is on the margin
    assert p_equivalent(ONE_TO_THREE, 1) == pytest.approx(1 - p_of_t_2(math.sqrt(3)))


@pytest.mark.parametrize("margin", [0.1, 0.5, 2.0])
def test_equivalence_is_the_larger_of_scipys_one_sided_tests(margin):
    sample = np.random.default_rng(6).normal(0.3, size=15)
    above = scipy.stats.ttest_1samp(sample, -margin, alternative="greater").pvalue
    below = scipy.stats.ttest_1samp(sample, margin, alternative="less").pvalue
    assert p_equivalent(sample, margin) == pytest.approx(max(above, below), rel=1e-10)


@pytest.mark.parametrize("margin", [0, -0.02, math.nan])
def test_a_margin_must_be_above_zero(margin):
    with pytest.raises(ValueError, match=rf"margin must be above 0 .*, but {margin} was passed"):
        p_equivalent(ONE_TO_THREE, margin)


def test_equivalence_is_claimed_at_its_rate():
    rng = np.random.default_rng(7)
    samples = rng.standard_normal((4000, 20))
    for truth in (0.8, -0.8):  # on the margin
        rate = np.mean([p_equivalent(sample + truth, 0.8) <= 0.05 for sample in samples])
        assert 0.038 < rate < 0.062
    assert np.mean([p_equivalent(sample, 0.5) <= 0.05 for sample in samples.reshape(800, 100)]) > 0.99


def test_wilson_by_hand():
    for n in (7, 10, 100):  # exactly 0 and 1 at the ends, or an error bar would be drawn backwards
        assert wilson_interval(0, n) == (0, pytest.approx(Z**2 / (n + Z**2)))
        assert wilson_interval(n, n) == (pytest.approx(n / (n + Z**2)), 1)
    for successes, n in ((5, 10), (2.5, 5)):
        half = Z / 2 / math.sqrt(n + Z**2)
        assert wilson_interval(successes, n) == pytest.approx((0.5 - half, 0.5 + half))
    for end in wilson_interval(3.5, 12):  # what the interval is made of the shares of which this holds
        assert abs(end - 3.5 / 12) == pytest.approx(Z * math.sqrt(end * (1 - end) / 12))
    assert np.isnan(wilson_interval(0, 0)).all()


@pytest.mark.parametrize(("successes", "n", "confidence"), [(0, 9, 0.9), (3, 10, 0.95), (30, 30, 0.99)])
def test_wilson_agrees_with_scipy(successes, n, confidence):
    expected = scipy.stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
    assert wilson_interval(successes, n, confidence) == pytest.approx(tuple(expected))


def test_holm_by_hand_with_ties_missing_values_and_order():
    # Four numbers: 0.01 * 4, 0.02 * 3 twice (the second would be 0.02 * 2), 0.5 * 1.
    found = holm([0.5, 0.02, np.nan, 0.01, 0.02])
    assert found == pytest.approx([0.5, 0.06, np.nan, 0.04, 0.06], nan_ok=True)
    assert holm([0.9, 0.8]).tolist() == [1, 1]
    assert holm([0.3]).tolist() == [0.3] and len(holm([])) == 0 and np.isnan(holm([np.nan, np.nan])).all()


def test_holm_is_the_closed_test_by_bonferroni():
    p = np.random.default_rng(8).uniform(0, 0.3, size=6)
    for i, found in enumerate(holm(p)):
        sets = [s for k in range(1, 7) for s in itertools.combinations(range(6), k) if i in s]
        assert found == pytest.approx(max(min(1, len(s) * min(p[list(s)])) for s in sets))


@pytest.mark.parametrize("effects", [0, 3])
def test_false_positives_over_six_depths(effects):
    samples = np.random.default_rng(9).standard_normal((2000, 6, 10))
    samples[:, :effects] += 10
    p = np.array([[p_value(sample) for sample in depths] for depths in samples])
    found = np.array([holm(depths) for depths in p]) <= 0.05
    assert found[:, :effects].all()
    assert 0.035 < found[:, effects:].any(axis=1).mean() < 0.065
    assert (p[:, effects:] <= 0.05).any(axis=1).mean() > 0.1  # 1 - 0.95^6 or 1 - 0.95^3 without correction


def test_seeds_needed_against_published_and_simulated_power():
    assert [seeds_needed(1, d) for d in (0.2, 0.5, 0.8)] == [199, 34, 15]  # Cohen's small, medium and large
    assert seeds_needed(0.06, 0.03) == seeds_needed(0.06, -0.03) == 34
    assert [seeds_needed(0, 0.1), seeds_needed(1, 1e3)] == [2, 2]
    assert np.isnan([seeds_needed(1, 0), seeds_needed(np.nan, 1), seeds_needed(1, np.nan)]).all()
    samples = 0.5 + np.random.default_rng(10).standard_normal((6000, 34))
    assert 0.79 < np.mean([p_value(sample) <= 0.05 for sample in samples]) < 0.83


@pytest.mark.parametrize(("effect", "alpha", "n"), [(3.74, 0.05 / 8, 5), (15, 0.05 / 3, 3), (25, 0.01, 3)])
def test_seeds_needed_where_a_few_suffice(effect, alpha, n):
    assert seeds_needed(1, effect, alpha=alpha) == n
    for size, enough in ((n - 1, False), (n, True)):
        samples = effect + np.random.default_rng(11).standard_normal((3000, size))
        assert (np.mean([p_value(sample) <= alpha for sample in samples]) >= 0.8) == enough


def test_rank_correlation_by_hand():
    found = rank_correlation([1, 2, np.nan, 3, 4, 50], [2, 1, 9, 4, 3, 5])  # 1 - 6 * 4 / (5 * 24)
    half = Z * math.sqrt((1 + 0.8**2 / 2) / 2)
    ends = math.tanh(math.atanh(0.8) - half), math.tanh(math.atanh(0.8) + half)
    assert found == pytest.approx({"n": 5, "correlation": 0.8, "low": ends[0], "high": ends[1]})
    assert list(rank_correlation([1, 2, 3, 4], [9, 4, 1, 0]).values()) == [4, -1, -1, -1]
    assert np.isnan(list(rank_correlation([1, 1, 1, 1], [1, 2, 3, 4]).values())[1:]).all()
    assert np.isnan(list(rank_correlation([1, 2, 3], [1, 3, 2]).values())[2:]).all()
