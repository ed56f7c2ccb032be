"""Estimates, intervals and tests from tidy tables of runs.

A table has one row per run (or per run and layer). Methods are compared in pairs of runs with the same seed, which
start from the same weights. Values that are not finite are missing: they are left out and not counted in n. The
results have one row per group, in order of first appearance, and start with the columns of `by`.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

Columns = str | Sequence[str]
Statistic = Literal["mean", "iqm"]
LOCATION = {"mean": np.mean, "iqm": partial(stats.trim_mean, proportiontocut=0.25)}
RUNS, DEPTHS = ("method", "num_layers"), ("num_layers",)
ROUNDING = 1e-12  # numbers that differ by less than this share of their size are equal up to rounding
BOOTSTRAP_FROM, RESAMPLES = 20, 4_999


def summarize(
    table: pd.DataFrame,
    value: Columns,
    by: Columns = RUNS,
    log: bool = False,
    confidence: float = 0.95,
    statistic: Statistic = "mean",
) -> pd.DataFrame:
    """Mean of `value` in each group: n, mean, std (n - 1 in the denominator) and the interval low, high.

    Several values give a block of rows each, named in a first column `quantity`. Statistic "iqm" is the interquartile
    mean (Agarwal et al. 2021, arXiv 2108.13264). With `log`: the geometric mean, and std as a factor; n_zero counts
    the exact zeros, which are left out. n_diverged counts runs with a `diverged_epoch`, if the table has that column.

    Raises ValueError for an unknown column, two rows of one run in a group, or a negative number with `log`.
    """
    if not isinstance(value, str):
        blocks = {name: summarize(table, name, by, log, confidence, statistic) for name in value}
        return pd.concat(blocks, names=["quantity", None]).reset_index("quantity").reset_index(drop=True)
    by = _check_columns(table, value, by, log)
    numbers = table[by].assign(number=_complete(table[[value]], log)[value])
    numbers = numbers.assign(**_flags(log, table[[value]], table))
    return _per_group(numbers, by, partial(_estimate, log=log, confidence=confidence, statistic=statistic))


def pair_by_seed(
    table: pd.DataFrame, value: str, method: str, baseline: str, by: Columns = DEPTHS, log: bool = False
) -> pd.DataFrame:
    """Pair the runs of two methods by seed: the one place where differences are taken.

    One row per group and seed: the columns of `by`, seed, method and baseline (`value` under each, with `log` its
    logarithm), number (their difference) and win (1 if `method` is larger, 0.5 for a tie, else 0). If the differences
    of a group are equal up to rounding they are made equal, because a t test would find them significant.

    Raises ValueError as `summarize` does, for an unknown method, and for a seed that only one of the two has.
    """
    by = _check_columns(table, value, [*_as_list(by), "method", "seed"], log)[:-2]
    for role, name in (("method", method), ("baseline", baseline)):
        if name not in (legal := list(table["method"].unique())):
            raise ValueError(f"{role} must be one of {legal}, but {name!r} was passed")
    table = table[table["method"].isin([method, baseline])]
    table = table.assign(_group=table.groupby(by, sort=False, dropna=False).ngroup())
    arms = [
        table[table["method"] == name].set_index(["_group", "seed"]).sort_index()
        for name in (method, baseline)
    ]
    if lonely := list(arms[0].index.symmetric_difference(arms[1].index).unique("seed")):
        raise ValueError(
            f"{method!r} and {baseline!r} must have the same seeds, but only one of them has {lonely}"
        )
    raw = pd.concat([arm[value] for arm in arms], axis=1, keys=["method", "baseline"])
    values = _complete(raw, log)
    number = values["method"] - values["baseline"]
    groups, size = number.groupby("_group"), values.abs().max(axis=1).groupby("_group").transform("max")
    alike = groups.transform("max") - groups.transform("min") <= ROUNDING * size
    win = (np.sign(number) + 1) / 2
    number = number.mask(alike & number.notna(), groups.transform("first"))
    pairs = arms[0][by].assign(**values, number=number, win=win, **_flags(log, raw, *arms))
    return pairs.reset_index("seed").reset_index(drop=True)


def paired_difference(
    table: pd.DataFrame,
    value: str,
    method: str,
    baseline: str,
    by: Columns = DEPTHS,
    log: bool = False,
    confidence: float = 0.95,
    margin: float | None = None,
) -> pd.DataFrame:
    """Mean of `value` under `method` minus under `baseline`, in pairs with the same seed.

    Columns: `by`, method, baseline, n (pairs), difference, std, low, high, p_value (paired t test), p_holm (corrected
    for the number of rows) and, with `margin`, p_equivalent. With `log`, difference is a ratio, std and margin are
    factors. n_diverged and n_zero count pairs, as in `summarize`. Raises ValueError as `pair_by_seed` does.
    """
    if margin is not None and not margin > (1 if log else 0):
        raise ValueError(f"margin must be above 0 (above 1 with log), but {margin!r} was passed")

    def compare(pairs: pd.DataFrame) -> dict:
        row = {"method": method, "baseline": baseline, **_estimate(pairs, log, confidence, "mean")}
        row["p_value"] = row["p_holm"] = p_value(pairs["number"])
        if margin is not None:
            row["p_equivalent"] = p_equivalent(pairs["number"], np.log(margin) if log else margin)
        return row

    table = _per_group(pair_by_seed(table, value, method, baseline, by, log), by, compare)
    return table.rename(columns={"mean": "difference"}).assign(p_holm=holm(table["p_holm"]))


def probability_of_improvement(
    table: pd.DataFrame,
    value: str,
    method: str,
    baseline: str,
    by: Columns = DEPTHS,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Share of pairs in which `method` has the larger `value`, a tie counting half (after Agarwal et al. 2021).

    Columns: `by`, method, baseline, n, probability, and Wilson's interval (1927) low, high.
    """
    pairs = pair_by_seed(table, value, method, baseline, by).drop(columns=["method", "baseline"])
    shares = _per_group(pairs, by, partial(_share, column="win", name="probability", confidence=confidence))
    for column, name in (("baseline", baseline), ("method", method)):
        shares.insert(len(_as_list(by)), column, name)
    return shares


def share_above(
    table: pd.DataFrame, value: str, threshold: float, by: Columns = RUNS, confidence: float = 0.95
) -> pd.DataFrame:
    """Share of runs with `value` above `threshold`: `by`, n, share, and Wilson's interval (1927) low, high."""
    by = _check_columns(table, value, by)
    above = (table[value] > threshold).where(np.isfinite(table[value]))
    return _per_group(
        table[by].assign(above=above),
        by,
        partial(_share, column="above", name="share", confidence=confidence),
    )


def rank_correlation(x: Sequence[float], y: Sequence[float], confidence: float = 0.95) -> dict[str, float]:
    """Spearman's correlation of two samples ``[n]``: n, correlation, and the interval low, high (for n > 3).

    The interval is by Fisher's z with the variance of Bonett and Wright (2000). Pairs with a missing value are left
    out; the correlation with a constant is missing.
    """
    pairs = pd.DataFrame({"x": np.asarray(x, float), "y": np.asarray(y, float)}).dropna()
    n, rho, half = len(pairs), np.nan, np.nan
    if (pairs.nunique() > 1).all():
        rho = float(stats.spearmanr(pairs["x"], pairs["y"]).statistic)
    if n > 3:
        half = stats.norm.ppf((1 + confidence) / 2) * np.sqrt((1 + rho**2 / 2) / (n - 3))
    with np.errstate(divide="ignore"):  # arctanh(1) is infinite; tanh turns it back into 1
        low, high = np.tanh(np.arctanh(rho) + np.array([-half, half]))
    return {"n": n, "correlation": rho, "low": float(low), "high": float(high)}


def interval(
    sample: Sequence[float], statistic: Statistic = "mean", confidence: float = 0.95
) -> tuple[float, float]:
    """Interval of the mean (or interquartile mean) of a sample ``[n]``: low and high, missing for n < 2.

    Student's t under 20 values (for the interquartile mean by Tukey and McLaughlin 1963), from 20 the bias-corrected
    and accelerated bootstrap (BCa, Efron 1987), which follows skewed samples. Its random numbers depend on n only.

    >>> [round(end, 3) for end in interval([1.0, 2.0, 3.0])]  # 2 ± 4.303 / sqrt(3)
    [-0.484, 4.484]
    """
    if statistic not in LOCATION or not 0 < confidence < 1:
        raise ValueError(
            f"statistic must be one of {list(LOCATION)} and confidence between 0 and 1, but {statistic!r} and "
            f"{confidence!r} were passed"
        )
    sample = np.sort(_finite(sample))  # resampling goes by position, and the order of rows must not matter
    if not _varies(sample):
        return (sample[0], sample[0]) if len(sample) > 1 else (np.nan, np.nan)
    n = len(sample)
    if n < BOOTSTRAP_FROM:
        cut = n // 4 / n if statistic == "iqm" else 0
        if cut:
            ends = stats.mstats.trimmed_mean_ci(sample, (cut, cut), alpha=1 - confidence)
        else:
            ends = stats.t.interval(confidence, n - 1, sample.mean(), stats.sem(sample))
        return float(ends[0]), float(ends[1])
    # Where most values are equal, scipy divides 0 by 0 and warns; the bootstrap's percentiles replace the result.
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        options = {"n_resamples": RESAMPLES, "confidence_level": confidence, "rng": np.random.default_rng(0)}
        found = stats.bootstrap((sample,), LOCATION[statistic], **options)
    ends = found.confidence_interval
    if np.isnan(ends).any():
        ends = np.quantile(found.bootstrap_distribution, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(ends[0]), float(ends[1])


def p_value(sample: Sequence[float]) -> float:
    """P-value of the t test of mean 0, or of the sign test for a sample without variance; missing for n < 2."""
    sample = _finite(sample)
    if len(sample) < 2:
        return np.nan
    if not _varies(sample):
        return 2.0 ** (1 - len(sample)) if sample[0] else 1.0
    return float(stats.ttest_1samp(sample, 0).pvalue)


def p_equivalent(sample: Sequence[float], margin: float) -> float:
    """P-value of the hypothesis that the mean is not in (-margin, margin): two one-sided tests (Schuirmann 1987).

    Sign tests for a sample without variance; missing for n < 2.
    """
    sample = _finite(sample)
    if len(sample) < 2:
        return np.nan
    if not _varies(sample):
        return 2.0 ** -len(sample) if abs(sample[0]) < margin else 1.0
    above = stats.ttest_1samp(sample, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(sample, margin, alternative="less").pvalue
    return float(max(above, below))


def holm(p_values: Sequence[float]) -> np.ndarray:
    """P-values corrected for their number (Holm 1979); missing ones stay missing and are not counted.

    >>> holm([0.01, 0.04, np.nan, 0.03]).round(3).tolist()
    [0.03, 0.06, nan, 0.06]
    """
    adjusted = np.array(p_values, dtype=float)
    if (given := ~np.isnan(adjusted)).any():
        adjusted[given] = multipletests(adjusted[given], method="holm")[1]
    return adjusted


def _as_list(by: Columns) -> list[str]:
    return [by] if isinstance(by, str) else list(by)


def _finite(sample: Sequence[float]) -> np.ndarray:
    sample = np.asarray(sample, dtype=float)
    return sample[np.isfinite(sample)]


def _varies(sample: np.ndarray) -> bool:
    return len(sample) > 1 and np.ptp(sample) > ROUNDING * np.abs(sample).max()


def _complete(values: pd.DataFrame, log: bool) -> pd.DataFrame:
    """Rows with a value that is not finite (with `log`: or zero) are made missing; with `log`, logarithms."""
    values = values.astype(float)
    usable = np.isfinite(values) & (values > 0 if log else True)
    values = values.where(usable.all(axis=1))
    return np.log(values) if log else values


def _flags(log: bool, values: pd.DataFrame, *tables: pd.DataFrame) -> dict[str, pd.Series]:
    """Which runs or pairs to count: `diverged`, if the tables say so, and with `log` `zero`."""
    flags = {}
    if all("diverged_epoch" in table for table in tables):
        flags["diverged"] = pd.concat([table["diverged_epoch"].notna() for table in tables], axis=1).any(
            axis=1
        )
    if log:
        flags["zero"] = (values == 0).any(axis=1) & np.isfinite(values.astype(float)).all(axis=1)
    return flags


def _per_group(table: pd.DataFrame, by: Columns, describe: Callable[[pd.DataFrame], dict]) -> pd.DataFrame:
    by = _as_list(by)
    groups = table.groupby(by, sort=False, dropna=False)
    return pd.DataFrame([dict(zip(by, key, strict=True)) | describe(group) for key, group in groups])


def _estimate(group: pd.DataFrame, log: bool, confidence: float, statistic: str) -> dict[str, float]:
    sample = _finite(group["number"])
    counts = {"n": len(sample)}
    counts |= {f"n_{flag}": int(group[flag].sum()) for flag in ("diverged", "zero") if flag in group}
    low, high = interval(sample, statistic, confidence)
    varies = _varies(sample)
    mean = LOCATION[statistic](sample) if varies else sample[0] if len(sample) else np.nan
    std = sample.std(ddof=1) if varies else 0.0 if len(sample) > 1 else np.nan
    numbers = {"mean": mean, "std": std, "low": low, "high": high}
    return counts | {name: float(np.exp(number) if log else number) for name, number in numbers.items()}


def _share(group: pd.DataFrame, column: str, name: str, confidence: float) -> dict[str, float]:
    hits = group[column].dropna().astype(float)
    n, share, low, high = len(hits), hits.mean(), np.nan, np.nan
    if n:
        low, high = proportion_confint(hits.sum(), n, alpha=1 - confidence, method="wilson")
        low, high = (
            (low if share > 0 else 0.0),
            (high if share < 1 else 1.0),
        )  # statsmodels is off by rounding
    return {"n": n, name: share, "low": float(low), "high": float(high)}


def _check_columns(table: pd.DataFrame, value: str, by: Columns, log: bool = False) -> list[str]:
    by = _as_list(by)
    for name in [value, *by]:
        if name not in table:
            raise ValueError(f"value and by must be columns, of {list(table)}, but {name!r} was passed")
    if log and (table[value] < 0).any():
        raise ValueError(f"with log, {value} must be >= 0, but its smallest value is {table[value].min()}")
    keys = [*by, "seed"]
    if "seed" in table and table.duplicated(keys).any():
        run = table.loc[table.duplicated(keys), keys].iloc[0].to_dict()
        raise ValueError(
            f"a run must have one row in each group, but {run} has several: by must tell them apart"
        )
    return by
