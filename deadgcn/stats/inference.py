"""Intervals, tests and Holm's correction for a sample of numbers, one per run or per pair of runs."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import DescrStatsW

ALPHA = 0.05
MARGIN, FACTOR = 0.02, 1.25  # effects below are too small to matter: differences of shares, and ratios
ROUNDING = 1e-12  # numbers that differ by less than this share of their size are equal up to rounding


def interval(sample: Sequence[float]) -> tuple[float, float]:
    """95 % interval low, high of the mean of ``[n]`` by Student's t; missing for n < 2.

    It excludes 0 exactly if `mean_tests` gives p <= 0.05, unless all values are equal: then it is a point.

    >>> [round(end, 3) for end in interval([1.0, 2.0, 3.0])]  # 2 ± 4.303 / sqrt(3)
    [-0.484, 4.484]
    """
    sample = finite(sample)
    if len(sample) < 2:
        return np.nan, np.nan
    if not np.ptp(sample):
        return float(sample[0]), float(sample[0])
    low, high = stats.t.interval(1 - ALPHA, len(sample) - 1, sample.mean(), stats.sem(sample))
    return float(low), float(high)


def mean_tests(sample: Sequence[float], margin: float = np.nan) -> tuple[float, float]:
    """P-values of t tests that the mean is 0, and not in (-margin, margin) (TOST, Schuirmann 1987).

    For equal values, which have no t, both are sign tests. Missing for n < 2.
    """
    sample = finite(sample)
    if len(sample) < 2:
        return np.nan, np.nan
    if not np.ptp(sample):
        same_sign = 2.0 ** -len(sample)
        return 2 * same_sign if sample[0] else 1.0, same_sign if abs(sample[0]) < margin else 1.0
    tests = DescrStatsW(sample)
    return float(tests.ttest_mean()[1]), float(tests.ttost_mean(-margin, margin)[0])


def log_ratio_of_spreads(pairs: pd.DataFrame) -> pd.Series:
    """Jackknife pseudo-values of the log ratio r of two columns' standard deviations (Miller 1968).

    For row i of n: n r - (n - 1) r_i, where r_i leaves out row i. Missing where a standard deviation is 0.
    """
    both = pairs.dropna()
    stds = pd.DataFrame({"all": both.std(), **{row: both.drop(row).std() for row in both.index}})
    ratios = np.log(stds.where(stds > ROUNDING)).diff(-1).iloc[0]
    return (len(both) * ratios["all"] - (len(both) - 1) * ratios.drop("all")).reindex(pairs.index)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """P-values corrected for their number (Holm 1979); missing ones stay missing and are not counted."""
    # Not statsmodels' multipletests, which collects garbage on each call: half a second beside torch.
    p = pd.Series(np.asarray(p_values, dtype=float)).sort_values()
    return (p * p.rank(ascending=False, method="max")).cummax().clip(upper=1).sort_index().to_numpy()


def seeds_needed(std: float, effect: float) -> float:
    """Pairs that a two-sided t test needs for a power of 0.8, if differences have mean `effect` and `std`."""
    if np.isnan([std, effect]).any() or abs(effect) <= ROUNDING * std:
        return np.nan
    if std == 0:
        return 2.0
    # One-sided at half the level: the other tail adds nothing to a power of 0.8, and scipy may fail on it.
    test = {"effect_size": abs(effect) / std, "alpha": ALPHA / 2, "alternative": "larger"}
    if TTestPower().power(nobs=2, **test) >= 0.8:
        return 2.0
    return float(np.ceil(TTestPower().solve_power(power=0.8, **test)))


def finite(sample: Sequence[float]) -> np.ndarray:
    """The finite numbers of a sample, sorted, so that no result depends on the order of rows.

    Numbers equal up to rounding are made equal: a t test would find their mean significant.
    """
    sample = np.sort(np.asarray(sample, dtype=float))
    sample = sample[np.isfinite(sample)]
    equal = len(sample) and np.ptp(sample) <= ROUNDING * np.abs(sample).max()
    return np.full_like(sample, sample[0]) if equal else sample
