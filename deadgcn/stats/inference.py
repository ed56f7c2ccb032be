"""Intervals, tests and power for a sample of numbers, one per run or per pair of runs, by scipy.

Intervals are Student's t under 20 runs or where a sample has no variance, and BCa bootstrap intervals above
(bias-corrected and accelerated, Efron 1987: they follow the skew of what a sample holds).
"""

import warnings
from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy import stats
from scipy.special import stdtr, stdtrit

ROUNDING = 1e-12  # numbers that differ by less than this share of their size differ by rounding only
BOOTSTRAP_FROM = 20  # runs
RESAMPLES = 4_999
TRIMMED = 0.25  # at each end, of the interquartile mean


def difference(values: np.ndarray) -> np.ndarray:
    """Values ``[n, 1]`` as they are, or differences within pairs ``[n, 2]``, rid of mere rounding."""
    sample = values[:, 0] - values[:, 1:].sum(axis=1)
    alike = len(sample) > 0 and np.ptp(sample) <= ROUNDING * np.abs(values).max()
    return np.full_like(sample, sample[0]) if alike else sample


def location(sample: np.ndarray, statistic: Literal["mean", "iqm"], axis: int = -1) -> np.ndarray:
    """Mean, or interquartile mean: that of the middle half (Agarwal et al. 2021, arXiv 2108.13264)."""
    return sample.mean(axis) if statistic == "mean" else stats.trim_mean(sample, TRIMMED, axis)


def interval(
    sample: np.ndarray, statistic: Literal["mean", "iqm"] = "mean", confidence: float = 0.95
) -> tuple[float, float]:
    """Interval of the location of a sample ``[n]``; missing for n < 2.

    Bootstrapped with the same random numbers for the same n, so that it does not depend on other samples.
    """
    if len(sample) < 2:
        return np.nan, np.nan
    if not np.ptp(sample):
        return sample[0], sample[0]
    if len(sample) < BOOTSTRAP_FROM:
        return _t_interval(sample, statistic, confidence)
    options = {"method": "BCa", "n_resamples": RESAMPLES, "confidence_level": confidence}
    # A statistic that hardly varies: scipy divides 0 by 0 and warns; mended below.
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        found = stats.bootstrap(
            (np.sort(sample),),  # resampling goes by position: the order of rows must not matter
            lambda x, axis: location(x, statistic, axis),
            rng=np.random.default_rng(0),
            **options,
        )
    low, high = found.confidence_interval
    if np.isnan([low, high]).any():
        tails = (1 - confidence) / 2, (1 + confidence) / 2
        low, high = np.quantile(found.bootstrap_distribution, tails)
    return float(low), float(high)


def _t_interval(sample: np.ndarray, statistic: str, confidence: float) -> tuple[float, float]:
    """Student's t; of the interquartile mean Tukey and McLaughlin's (1963), from the winsorised deviation."""
    n = len(sample)
    cut = int(TRIMMED * n) if statistic == "iqm" else 0
    ordered = np.sort(sample)
    kept = ordered[cut : n - cut]
    std = np.clip(ordered, kept[0], kept[-1]).std(ddof=1) * n / len(kept)
    # Student's t distribution from scipy.special: the numbers of scipy.stats, in a tenth of the time.
    half = stdtrit(len(kept) - 1, (1 + confidence) / 2) * std / np.sqrt(n)
    return float(kept.mean() - half), float(kept.mean() + half)


def p_value(sample: np.ndarray) -> float:
    """P-value of the two-sided t test of mean 0: paired, where the sample is one of differences.

    Without variance, which t cannot cope with, it is the sign test's: 1 if all numbers are 0, else 2 / 2^n.
    Missing for n < 2.
    """
    if len(sample) < 2:
        return np.nan
    if not np.ptp(sample):
        return 2.0 ** (1 - len(sample)) if sample[0] else 1.0
    t = sample.mean() / sample.std(ddof=1) * np.sqrt(len(sample))
    return float(2 * stdtr(len(sample) - 1, -abs(t)))


def p_equivalent(sample: np.ndarray, margin: float) -> float:
    """P-value of the hypothesis that the mean lies outside (-margin, margin): TOST (Schuirmann 1987).

    The larger of two one-sided t tests, or of sign tests without variance; missing for n < 2. Raises
    ValueError unless margin > 0.
    """
    if not margin > 0:
        raise ValueError(f"margin must be above 0 (above 1 for ratios), but {margin!r} was passed")
    if len(sample) < 2:
        return np.nan
    inside = margin - abs(sample.mean())
    if not np.ptp(sample):
        return 2.0 ** -len(sample) if inside > 0 else 1.0
    return float(stdtr(len(sample) - 1, -inside / sample.std(ddof=1) * np.sqrt(len(sample))))


def wilson_interval(successes: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share (1927); `successes` may hold halves, n = 0 gives missing."""
    if n == 0:
        return np.nan, np.nan
    z, share = stats.norm.ppf((1 + confidence) / 2), successes / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    # Exact at the ends, which rounding would miss.
    return float(centre - half) if share > 0 else 0.0, float(centre + half) if share < 1 else 1.0


def holm(p_values: Sequence[float]) -> np.ndarray:
    """P-values corrected for their number (Holm 1979); a missing one stays missing and is not counted.

    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    adjusted = np.array(p_values, dtype=float)
    order = np.argsort(adjusted)[: np.count_nonzero(~np.isnan(adjusted))]  # missing ones are sorted last
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(adjusted[order] * factors))
    return adjusted


def seeds_needed(std: float, effect: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """Pairs that a two-sided paired t test needs to find a mean difference `effect` with this power.

    `std` is that of the paired differences, in the units of `effect`. At least 2; missing where either
    is, or where the effect is 0.
    """
    if not (np.isfinite(std) and np.isfinite(effect)) or effect == 0:
        return np.nan
    low, high = 1, 2  # powers too small and large enough, once doubled to it
    while _power(high, std, effect, alpha) < power:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _power(middle, std, effect, alpha) >= power else (middle, high)
    return float(high)


def _power(n: int, std: float, effect: float, alpha: float) -> float:
    if std == 0:
        return 1.0
    critical, shift = stats.t.ppf(1 - alpha / 2, n - 1), abs(effect) / std * np.sqrt(n)
    if shift > 30:  # the noncentral t loses its digits, and the noise of the mean no longer matters
        return stats.chi2.cdf((n - 1) * (shift / critical) ** 2, n - 1)
    # The far tail is nothing beyond 5, where scipy may give a missing value.
    return stats.nct.sf(critical, n - 1, shift) + (stats.nct.cdf(-critical, n - 1, shift) if shift < 5 else 0)


def rank_correlation(x: Sequence[float], y: Sequence[float], confidence: float = 0.95) -> dict[str, float]:
    """Spearman's correlation of two samples ``[n]``, and its interval by Fisher's z (Bonett & Wright 2000).

    Pairs with a missing value are left out. Missing where one of the two does not vary, its interval for
    n < 4.
    """
    pairs = np.stack([x, y], axis=1).astype(float)
    pairs = pairs[~np.isnan(pairs).any(axis=1)]
    n, rho, half = len(pairs), np.nan, np.nan
    if n > 1 and np.ptp(pairs, axis=0).all():
        rho = float(stats.spearmanr(*pairs.T).statistic)
    if n > 3:
        half = stats.norm.ppf((1 + confidence) / 2) * np.sqrt((1 + rho**2 / 2) / (n - 3))
    with np.errstate(divide="ignore"):  # of a perfect correlation: tanh brings it back
        centre = np.arctanh(rho)
    low, high = float(np.tanh(centre - half)), float(np.tanh(centre + half))
    return {"n": n, "correlation": rho, "low": low, "high": high}
