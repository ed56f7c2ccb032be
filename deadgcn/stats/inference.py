"""Interval, tests and Holm's correction for a sample of numbers, one per run or per pair of runs."""

import warnings
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.power import TTestPower

LOCATION = {"mean": np.mean, "iqm": partial(stats.trim_mean, proportiontocut=0.25)}
BOOTSTRAP_FROM, RESAMPLES, SEED = 20, 4_999, 0
ROUNDING = 1e-12  # numbers that differ by less than this share of their size are equal up to rounding


def interval(
    sample: Sequence[float], statistic: str = "mean", confidence: float = 0.95
) -> tuple[float, float]:
    """Interval low, high of the mean (or interquartile mean) of a sample ``[n]``; missing for n < 2.

    Student's t under 20 values (interquartile mean: Tukey and McLaughlin 1963), from 20 on the bias-corrected
    and accelerated bootstrap (BCa, Efron 1987), which follows skewed samples and depends on the sample only.

    >>> [round(end, 3) for end in interval([1.0, 2.0, 3.0])]  # 2 ± 4.303 / sqrt(3)
    [-0.484, 4.484]
    """
    if statistic not in LOCATION or not 0 < confidence < 1:
        got = f"{statistic!r} and {confidence!r} were passed"
        raise ValueError(f"statistic must be mean or iqm and confidence between 0 and 1, but {got}")
    sample = finite(sample)
    n, cut = len(sample), len(sample) // 4 if statistic == "iqm" else 0
    if n < 2 or not np.ptp(sample):
        low = high = LOCATION[statistic](sample) if n > 1 else np.nan
    elif n >= BOOTSTRAP_FROM:
        low, high = _bca(sample, LOCATION[statistic], confidence)
    elif cut:
        low, high = stats.mstats.trimmed_mean_ci(sample, (cut / n, cut / n), alpha=1 - confidence)
    else:
        low, high = stats.t.interval(confidence, n - 1, sample.mean(), stats.sem(sample))
    return float(low), float(high)


def mean_tests(sample: Sequence[float], margin: float = np.nan) -> tuple[float, float]:
    """P-values of two t tests: that the mean is 0, and that it is not in (-margin, margin).

    The second is the larger p-value of two one-sided tests (TOST, Schuirmann 1987). For a sample without
    variance, both are sign tests. Missing for n < 2.
    """
    sample = finite(sample)
    if len(sample) < 2:
        return np.nan, np.nan
    if not np.ptp(sample):
        same_sign = 2.0 ** -len(sample)
        return 2 * same_sign if sample[0] else 1.0, same_sign if abs(sample[0]) < margin else 1.0
    bounds = {"two-sided": 0, "greater": -margin, "less": margin}
    p = {side: float(stats.ttest_1samp(sample, x, alternative=side).pvalue) for side, x in bounds.items()}
    return p["two-sided"], max(p["greater"], p["less"])


def log_ratio_of_spreads(pairs: pd.DataFrame) -> pd.Series:
    """Jackknife pseudo-values of the log ratio r of two columns' standard deviations (Miller 1968).

    For row i of n: n r - (n - 1) r_i, where r_i is the ratio without row i. Their mean estimates r, and they
    can be tested like any sample. Missing where a number is missing or a standard deviation is 0.
    """
    both = pairs.dropna()
    stds = pd.DataFrame({"all": both.std(), **{row: both.drop(row).std() for row in both.index}})
    first, second = np.log(stds.where(stds > ROUNDING)).to_numpy()
    ratios = pd.Series(first - second, stds.columns)
    return (len(both) * ratios["all"] - (len(both) - 1) * ratios.drop("all")).reindex(pairs.index)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """P-values corrected for their number (Holm 1979); missing ones stay missing and are not counted."""
    adjusted = np.array(p_values, dtype=float)
    order = np.argsort(adjusted)[: np.count_nonzero(~np.isnan(adjusted))]  # missing ones are sorted last
    # Not statsmodels' multipletests, which collects garbage on each call: half a second beside torch.
    stepwise = adjusted[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(stepwise))
    return adjusted


def seeds_needed(std: float, effect: float, alpha: float = 0.05) -> float:
    """Pairs that a two-sided paired t test needs to find a mean difference `effect` with a power of 0.8.

    `std` is that of the differences. At least 2; missing if either is, and for an effect of 0.
    """
    if np.isnan([std, effect]).any() or effect == 0:
        return np.nan
    if std == 0:
        return 2.0
    # One-sided at half the level: the other tail adds nothing to a power of 0.8, and scipy may fail on it.
    test = {"effect_size": abs(effect) / std, "alpha": alpha / 2, "alternative": "larger"}
    if TTestPower().power(nobs=2, **test) >= 0.8:
        return 2.0
    return float(np.ceil(TTestPower().solve_power(power=0.8, **test)))


def _bca(sample: np.ndarray, statistic: Callable, confidence: float) -> np.ndarray:
    options = {"n_resamples": RESAMPLES, "confidence_level": confidence, "rng": np.random.default_rng(SEED)}
    # If most values are equal, scipy warns of 0 / 0 and returns NaN: take the bootstrap's percentiles then.
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        found = stats.bootstrap((sample,), statistic, **options)
    percentiles = np.quantile(found.bootstrap_distribution, [(1 - confidence) / 2, (1 + confidence) / 2])
    return percentiles if np.isnan(found.confidence_interval).any() else found.confidence_interval


def finite(sample: Sequence[float]) -> np.ndarray:
    """The finite numbers of a sample, sorted, so that no result depends on the order of rows."""
    sample = np.sort(np.asarray(sample, dtype=float))
    return sample[np.isfinite(sample)]
