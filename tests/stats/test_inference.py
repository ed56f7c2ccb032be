import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from deadgcn.stats.inference import holm, interval, log_ratio_of_spreads, mean_tests, seeds_needed

T_2 = 4.302652729911275  # 97.5 % quantile of Student's t with 2 degrees of freedom, from a printed table
ONE_TO_THREE = np.array([1.0, 2.0, 3.0])  # mean 2, standard deviation 1, t = 2 * sqrt(3)


def p_of_t_2(t: float) -> float:
    """Probability of more than t under Student's t with 2 degrees of freedom (closed form)."""
    return (1 - t / math.sqrt(t**2 + 2)) / 2


def test_students_interval_by_hand():
    assert interval(ONE_TO_THREE) == pytest.approx((2 - T_2 / math.sqrt(3), 2 + T_2 / math.sqrt(3)))
    assert np.isnan([*interval([1.0]), *interval([]), *interval([1.0, np.nan, np.inf])]).all()


@pytest.mark.parametrize("n", [2, 30])
def test_the_interval_of_equal_values_is_a_point(n):
    low, high = interval(np.full(n, 0.1))
    assert low == high == pytest.approx(0.1)


@pytest.mark.parametrize("sample", [[0.3] * 16 + [0.1, 0.2, 0.5, 0.6], [0.0] * 29 + [1], [2.0] * 7 + [9]])
def test_the_interval_of_mostly_equal_values_is_finite(sample):
    low, high = interval(sample)
    assert low < np.mean(sample) < high


SAMPLES = st.lists(st.integers(-1000, 1000), min_size=2, max_size=40).map(lambda x: np.array(x) / 100)


@given(SAMPLES, st.integers(-10, 10))
def test_interval_and_p_value_agree(sample, shift):
    sample = sample + shift
    (low, high), (p, _) = interval(sample), mean_tests(sample)
    assert low == pytest.approx(-interval(-sample)[1]) and p == pytest.approx(mean_tests(-sample)[0])
    if np.ptp(sample) and abs(p - 0.05) > 1e-9:
        assert (p <= 0.05) == (low > 0 or high < 0)


@pytest.mark.parametrize("n", range(2, 9))
def test_equal_values_have_a_point_for_an_interval_and_need_six_of_them(n):
    assert interval(np.full(n, 0.5)) == (0.5, 0.5)
    assert (mean_tests(np.full(n, 0.5))[0] <= 0.05) == (n >= 6)


@given(SAMPLES, st.sampled_from([0.01, 0.3, 5]))
def test_equivalence_is_the_90_percent_interval_inside_of_the_margin(sample, margin):
    _, p = mean_tests(sample, margin)
    if np.ptp(sample) and abs(p - 0.05) > 1e-9:
        ends = scipy.stats.t.interval(0.9, len(sample) - 1, sample.mean(), scipy.stats.sem(sample))
        assert (p <= 0.05) == (max(np.abs(ends)) < margin)


def test_p_values_by_hand():
    p, equivalent = mean_tests(ONE_TO_THREE, 5)
    assert p == mean_tests(-ONE_TO_THREE)[0] == pytest.approx(2 * p_of_t_2(2 * math.sqrt(3)))
    assert equivalent == pytest.approx(p_of_t_2(3 * math.sqrt(3)))
    assert mean_tests(ONE_TO_THREE, 2)[1] == pytest.approx(0.5)  # the mean is on the margin
    assert mean_tests(ONE_TO_THREE, 1)[1] == pytest.approx(1 - p_of_t_2(math.sqrt(3)))
    assert mean_tests([1.0, 3.0])[0] == pytest.approx(1 - 2 / math.pi * math.atan(2))  # Cauchy, t = 2


def test_p_values_without_variance_are_those_of_sign_tests():
    assert mean_tests(np.full(5, 0.1), 0.2) == mean_tests(np.full(5, -0.1), 0.2) == (2 / 2**5, 1 / 2**5)
    assert mean_tests(np.zeros(5), 0.2) == (1, 1 / 2**5)
    assert mean_tests(np.full(5, 0.5), 0.5) == mean_tests(np.full(5, -3.0), 0.5) == (2 / 2**5, 1)
    assert np.isnan(mean_tests([1.0], 2)).all()


def test_holm_by_hand_with_ties_missing_values_and_order():
    # Four numbers: 0.01 * 4, 0.02 * 3 twice (the second would be 0.02 * 2), 0.5 * 1.
    found = holm([0.5, 0.02, np.nan, 0.01, 0.02])
    assert found == pytest.approx([0.5, 0.06, np.nan, 0.04, 0.06], nan_ok=True)
    assert holm([0.9, 0.8]).tolist() == [1, 1]
    assert holm([0.3]).tolist() == [0.3] and len(holm([])) == 0 and np.isnan(holm([np.nan, np.nan])).all()


def test_the_jackknife_of_two_spreads_by_hand():
    pairs = pd.DataFrame({"method": [0.0, 2.0, 4.0], "baseline": [0.0, 1.0, 5.0]}, index=[7, 8, 9])
    r, without = math.log(2 / math.sqrt(7)), [math.log(2 / 4), math.log(4 / 5), math.log(2 / 1)]
    expected = {seed: 3 * r - 2 * r_i for seed, r_i in zip(pairs.index, without, strict=True)}
    assert log_ratio_of_spreads(pairs).to_dict() == pytest.approx(expected)
    assert log_ratio_of_spreads(pairs[:2]).isna().all() and len(log_ratio_of_spreads(pairs[:0])) == 0
    assert log_ratio_of_spreads(pairs.assign(baseline=0.1)).isna().all()


def test_seeds_needed_against_published_and_simulated_power():
    assert [seeds_needed(1, d) for d in (0.2, 0.5, 0.8)] == [199, 34, 15]  # Cohen's small, medium and large
    assert seeds_needed(0.06, 0.03) == seeds_needed(0.06, -0.03) == 34
    assert np.isnan([seeds_needed(1, 0), seeds_needed(np.nan, 1), seeds_needed(1, np.nan)]).all()
    assert np.isnan([seeds_needed(1, 1e-16), seeds_needed(0, 0)]).all()  # no effect, up to rounding
    samples = 0.5 + np.random.default_rng(10).standard_normal((6000, 34))
    assert 0.78 < (scipy.stats.ttest_1samp(samples, 0, axis=1).pvalue <= 0.05).mean() < 0.83
    assert seeds_needed(1, 3.74) == 3
    assert seeds_needed(0, 0.1) == seeds_needed(1, 1e3) == 2
