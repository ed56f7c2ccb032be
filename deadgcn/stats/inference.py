"""Intervals, tests and Holm's correction for a sample of numbers, one per run or per pair of runs."""

import warnings
from collections.abc import Callable, Sequence
from functools import cache, partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import DescrStatsW

LOCATION = {"mean": np.mean, "iqm": partial(stats.trim_mean, proportiontocut=0.25)}
BOOTSTRAP_FROM, RESAMPLES, SEED = 20, 4_999, 0
ROUNDING = 1e-12  # numbers that differ by less than this share of their size are equal up to rounding


def interval(sample: Sequence[float], statistic: str = "mean") -> tuple[float, float]:
    """95 % interval low, high of the mean (or "iqm", interquartile mean) of ``[n]``; missing for n < 2.

    Student's t under 20 values (interquartile mean: Tukey and McLaughlin 1963), from 20 on the bias-corrected
    and accelerated bootstrap (BCa, Efron 1987), which follows skewed samples.

    >>> [round(end, 3) for end in interval([1.0, 2.0, 3.0])]  # 2 ± 4.303 / sqrt(3)
    [-0.484, 4.484]
    """
    if statistic not in LOCATION:
        raise ValueError(f"statistic must be mean or iqm, but {statistic!r} was passed")
    sample = finite(sample)
    n, locate, cut = len(sample), LOCATION[statistic], len(sample) // 4 if statistic == "iqm" else 0
    if n < 2:
        low = high = np.nan
    elif not np.ptp(sample):
        low = high = locate(sample)
    elif n >= BOOTSTRAP_FROM:
        low, high = _bootstrap(sample, locate)
    elif cut:
        low, high = stats.mstats.trimmed_mean_ci(sample, (cut / n, cut / n))
    else:
        low, high = stats.t.interval(0.95, n - 1, sample.mean(), stats.sem(sample))
    return float(low), float(high)


def mean_tests(sample: Sequence[float], margin: float = np.nan) -> tuple[float, float]:
    """P-values of t tests that the mean is 0, and not in (-margin, margin) (TOST, Schuirmann 1987).

    Without variance both are sign tests. Missing for n < 2.
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


def seeds_needed(std: float, effect: float, alpha: float = 0.05) -> float:
    """Pairs that a two-sided t test needs for a power of 0.8, if differences have mean `effect` and `std`."""
    if np.isnan([std, effect]).any() or effect == 0:
        return np.nan
    if std == 0:
        return 2.0
    # One-sided at half the level: the other tail adds nothing to a power of 0.8, and scipy may fail on it.
    test = {"effect_size": abs(effect) / std, "alpha": alpha / 2, "alternative": "larger"}
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


def _bootstrap(sample: np.ndarray, locate: Callable) -> tuple[float, float]:
    located = locate(sample[_resampled(len(sample), RESAMPLES, SEED)], axis=-1)  # [resamples]
    drawn = SimpleNamespace(bootstrap_distribution=located)  # scipy would draw them again for each sample
    # If most values are equal, scipy warns of 0 / 0 and returns NaN: take the bootstrap's percentiles.
    ignored = warnings.catch_warnings(action="ignore", category=stats.DegenerateDataWarning)
    with ignored, np.errstate(invalid="ignore"):
        ends = stats.bootstrap((sample,), locate, n_resamples=0, bootstrap_result=drawn).confidence_interval
    return np.quantile(located, [0.025, 0.975]) if np.isnan(ends).any() else ends


@cache
def _resampled(n: int, resamples: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, n, (resamples, n))
