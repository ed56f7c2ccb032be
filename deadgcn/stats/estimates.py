"""Estimates with uncertainty from per-run rows, paired by seed.

Tables are tidy: a row per run (or run and layer, or run and epoch), its key columns before the measured ones.
Where a table has `diverged_epoch`, each function counts the runs that diverged (of a pair: either run) in a
column `n_diverged` after n. Values that are not finite count as missing. Intervals, tests and their sources
are those of :mod:`deadgcn.stats.inference`.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import pandas as pd

from deadgcn.stats.inference import (
    difference,
    holm,
    interval,
    location,
    p_equivalent,
    p_value,
    wilson_interval,
)


def summarize(
    table: pd.DataFrame,
    value: str | Sequence[str],
    by: str | Sequence[str] = ("method", "num_layers"),
    log: bool = False,
    confidence: float = 0.95,
    statistic: Literal["mean", "iqm"] = "mean",
) -> pd.DataFrame:
    """Mean of `value` over the runs of each group, with its interval.

    One row per group in order of first appearance: the columns of `by`, then n, mean, std (n - 1 in the
    denominator), low and high. Missing values are left out and not counted in n; std, low and high are
    missing for n < 2. A run that diverged is in n if it has a value all the same, as that of a best model
    kept before. Several values give a block of rows each, told apart by a first column `quantity`.

    With `statistic` "iqm", `mean` is the interquartile mean: that of the middle half of the runs (Agarwal et
    al. 2021, arXiv 2108.13264). Under 20 runs its interval is Tukey and McLaughlin's t for trimmed means.

    With `log`, for quantities that span orders of magnitude: the geometric mean, the geometric standard
    deviation (a factor), and the interval of the mean logarithm, exponentiated. An exact zero (a layer whose
    neurons are all dead) has no logarithm: it is left out and counted in the column n_zero, so a row with
    n_zero > 0 describes its other runs only.

    Raises ValueError for unknown columns, for negative numbers under `log`, and where a group holds a seed
    twice, because n would then count runs that were not made.
    """
    if statistic not in ("mean", "iqm"):
        raise ValueError(f"statistic must be 'mean' or 'iqm', but {statistic!r} was passed")
    if not isinstance(value, str):
        blocks = {name: summarize(table, name, by, log, confidence, statistic) for name in value}
        return pd.concat(blocks, names=["quantity", None]).reset_index("quantity").reset_index(drop=True)
    by = [by] if isinstance(by, str) else list(by)
    _check_numbers(table, value, by, log, confidence)
    _check_each_run_once(table, by)
    rows = []
    for key, group in table.groupby(by, sort=False, dropna=False):
        logged, counts = _logged(group[value].to_numpy(float)[:, None], log, _lost(group))
        rows.append(dict(zip(by, key, strict=True)) | counts | _estimate(logged, log, confidence, statistic))
    return pd.DataFrame(rows)


def paired_difference(
    table: pd.DataFrame,
    value: str,
    method: str,
    baseline: str,
    by: str | Sequence[str] = ("num_layers",),
    log: bool = False,
    confidence: float = 0.95,
    margin: float | None = None,
) -> pd.DataFrame:
    """Mean of `value` under `method` minus under `baseline`, seed by seed.

    One row per group in order of first appearance: the columns of `by`, then method, baseline, n (pairs),
    difference, std, low and high (interval of the mean difference), p_value (two-sided paired t test) and
    p_holm, corrected for the number of rows. A pair with a missing value is left out. With `margin`,
    p_equivalent tests the hypothesis that the mean difference lies outside (-margin, margin).

    With `log`, `difference` is a ratio: the exponential of the mean log difference, with std and margin
    factors, and a pair with an exact zero is left out and counted in n_zero.

    Raises ValueError as `summarize` does, and for a seed that only one of the two methods has.
    """
    if margin is not None and not margin > log:  # True counts as 1
        raise ValueError(f"margin must be above 0 (above 1 for ratios), but {margin!r} was passed")
    by = [by] if isinstance(by, str) else list(by)
    rows = []
    for where, pairs, lost in _pairs(table, value, method, baseline, by, log, confidence):
        pairs, counts = _logged(pairs, log, lost)
        numbers = _estimate(pairs, log, confidence, "mean")
        numbers = {"difference" if name == "mean" else name: number for name, number in numbers.items()}
        row = where | {"method": method, "baseline": baseline} | counts | numbers
        row["p_value"] = p_value(difference(pairs))
        if margin is not None:
            row["p_equivalent"] = p_equivalent(difference(pairs), np.log(margin) if log else margin)
        rows.append(row)
    frame = pd.DataFrame(rows)
    frame.insert(frame.columns.get_loc("p_value") + 1, "p_holm", holm(frame["p_value"]))
    return frame


def probability_of_improvement(
    table: pd.DataFrame,
    value: str,
    method: str,
    baseline: str,
    by: str | Sequence[str] = ("num_layers",),
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Share of seeds with which `value` is larger under `method` than under `baseline`; a tie counts half.

    (Agarwal et al. 2021, arXiv 2108.13264, compare every run with every other; here runs are paired.) One row
    per group: the columns of `by`, method, baseline, n, probability, and Wilson's interval low, high.
    """
    by, rows = [by] if isinstance(by, str) else list(by), []
    for where, pairs, lost in _pairs(table, value, method, baseline, by, False, confidence):
        pairs, counts = _logged(pairs, False, lost)
        wins = (np.sign(pairs[:, 0] - pairs[:, 1]) + 1).sum() / 2
        low, high = wilson_interval(wins, len(pairs), confidence)
        share = wins / len(pairs) if len(pairs) else np.nan
        numbers = counts | {"probability": share, "low": low, "high": high}
        rows.append(where | {"method": method, "baseline": baseline} | numbers)
    return pd.DataFrame(rows)


def share_above(
    table: pd.DataFrame,
    value: str,
    threshold: float,
    by: str | Sequence[str] = ("method", "num_layers"),
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Share of runs whose `value` is above `threshold`: columns of `by`, n, share, Wilson's low and high.

    A run that diverged and has no value has not learned: it counts in n, as one that is not above. A value
    that is missing without that (a dead fraction at depth 0) is left out.
    """
    by = [by] if isinstance(by, str) else list(by)
    _check_numbers(table, value, by, False, confidence)
    _check_each_run_once(table, by)
    rows = []
    for key, group in table.groupby(by, sort=False, dropna=False):
        sample = group[value].to_numpy(float)
        finite = np.isfinite(sample)
        n, above = int((finite | diverged(group)).sum()), int((sample[finite] > threshold).sum())
        low, high = wilson_interval(above, n, confidence)
        numbers = {"share": above / n if n else np.nan, "low": low, "high": high}
        rows.append(dict(zip(by, key, strict=True)) | {"n": n} | _lost(group) | numbers)
    return pd.DataFrame(rows)


def diverged(table: pd.DataFrame) -> pd.Series:
    """Whether each row is of a run that diverged: False everywhere if the table does not say."""
    return table.get("diverged_epoch", pd.Series(np.nan, table.index)).notna()


def _pairs(
    table: pd.DataFrame,
    value: str,
    method: str,
    baseline: str,
    by: list[str],
    log: bool,
    confidence: float,
) -> Iterator[tuple[dict, np.ndarray, dict[str, int]]]:
    """Yield each group's key, its values ``[n, 2]`` under method and baseline by seed, and `_lost`."""
    _check_numbers(table, value, [*by, "method", "seed"], log, confidence)
    for role, name in (("method", method), ("baseline", baseline)):
        if name not in (legal := list(table["method"].unique())):
            raise ValueError(f"{role} must be one of {legal}, but {name!r} was passed")
    table = table[table["method"].isin([method, baseline])]
    _check_each_run_once(table, [*by, "method"])
    for key, group in table.groupby(by, sort=False, dropna=False):
        where = dict(zip(by, key, strict=True))
        arms = group.set_index("seed").sort_index()
        one, other = (arms.loc[arms["method"] == name, value] for name in (method, baseline))
        if lonely := list(one.index.symmetric_difference(other.index)):
            raise ValueError(f"{method!r} and {baseline!r} must share seeds, but {lonely} at {where} do not")
        yield where, np.stack([one, other], axis=1).astype(float), _lost(group)


def _lost(group: pd.DataFrame) -> dict[str, int]:
    """Count the runs of a group that diverged, or the pairs that share a seed; nothing if not known."""
    gone = group[diverged(group)]
    number = gone["seed"].nunique() if "seed" in gone else len(gone)
    return {"n_diverged": number} if "diverged_epoch" in group else {}


def _logged(values: np.ndarray, log: bool, lost: dict[str, int]) -> tuple[np.ndarray, dict[str, int]]:
    """Drop rows with a value that is not finite, with log those with a zero and take logarithms; count."""
    values = values[np.isfinite(values).all(axis=1)]
    positive = (values > 0).all(axis=1)
    values, zeros = (np.log(values[positive]), {"n_zero": int((~positive).sum())}) if log else (values, {})
    return values, {"n": len(values)} | lost | zeros


def _estimate(values: np.ndarray, log: bool, confidence: float, statistic: str) -> dict[str, float]:
    """Estimate the location of values [n, 1], or of the differences within pairs [n, 2]."""
    sample = difference(values)
    n, varies = len(sample), len(sample) > 1 and np.ptp(sample) > 0
    place = location(sample, statistic) if varies else sample[0] if n else np.nan
    std = sample.std(ddof=1) if varies else 0.0 if n > 1 else np.nan
    low, high = interval(sample, statistic, confidence)
    numbers = {"mean": place, "std": std, "low": low, "high": high}
    return {name: float(np.exp(number) if log else number) for name, number in numbers.items()}


def _check_numbers(table: pd.DataFrame, value: str, by: list[str], log: bool, confidence: float) -> None:
    for name in [value, *by]:
        if name not in table:
            raise ValueError(f"value and by must be among the columns {list(table)}, but {name!r} was passed")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, but {confidence!r} was passed")
    negative = table[table[value] < 0] if log else table[:0]
    if len(negative):
        where = negative.iloc[0][by].to_dict()
        raise ValueError(f"log=True needs {value} >= 0, but it is {negative.iloc[0][value]} at {where}")


def _check_each_run_once(table: pd.DataFrame, keys: list[str]) -> None:
    keys, apart = [*keys, "seed"], []
    if "seed" not in table or not table.duplicated(keys).any():
        return
    repeated = table[table.duplicated(keys, keep=False)]
    # Key columns come first in a table, so they are found before the measures that differ along with them.
    for column in repeated.columns.drop(keys):
        if (repeated.groupby(keys + apart, dropna=False)[column].nunique(dropna=False) > 1).any():
            apart.append(column)
    remedy = f"put {apart} into by, or choose one value of each" if apart else "drop the copies"
    raise ValueError(f"a run must have one row, but {repeated.iloc[0][keys].to_dict()} has several: {remedy}")
