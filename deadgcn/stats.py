"""Estimates with uncertainty from per-run rows, paired by seed.

Tables are tidy: a row per run (or run and layer, or run and epoch), its key columns before the measured ones.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

# Numbers that differ by less than this share of their size differ by rounding only.
ROUNDING = 1e-12


def summarize(
    table: pd.DataFrame,
    value: str | Sequence[str],
    by: str | Sequence[str] = ("method", "num_layers"),
    log: bool = False,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Mean of `value` over the runs of each group, with Student's t interval.

    One row per group in order of first appearance: the columns of `by`, then n, mean, std (n - 1 in the
    denominator), low and high. Missing values are left out and not counted in n; std, low and high are
    missing for n < 2. Several values give a block of rows each, told apart by a first column `quantity`.

    With `log`, for quantities that span orders of magnitude: the geometric mean, the geometric standard
    deviation (a factor), and the interval of the mean logarithm, exponentiated. An exact zero (a layer whose
    neurons are all dead) has no logarithm: it is left out and counted in the column n_zero, so a row with
    n_zero > 0 describes its other runs only.

    Raises ValueError for unknown columns, for negative numbers under `log`, and where a group holds a seed
    twice, because n would then count runs that were not made.
    """
    if not isinstance(value, str):
        blocks = {name: summarize(table, name, by, log, confidence) for name in value}
        return pd.concat(blocks, names=["quantity", None]).reset_index("quantity").reset_index(drop=True)
    by = [by] if isinstance(by, str) else list(by)
    _check_numbers(table, value, by, log, confidence)
    _check_each_run_once(table, by)
    groups = table.groupby(by, sort=False, dropna=False)[value]
    estimates = ((key, _estimate(sample.to_numpy(float)[:, None], log, confidence)) for key, sample in groups)
    return pd.DataFrame([dict(zip(by, key, strict=True)) | numbers for key, (numbers, _) in estimates])


def paired_difference(
    table: pd.DataFrame,
    value: str,
    method: str,
    baseline: str,
    by: str | Sequence[str] = ("num_layers",),
    log: bool = False,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Mean of `value` under `method` minus under `baseline`, seed by seed.

    One row per group in order of first appearance: the columns of `by`, then method, baseline, n (pairs),
    difference, std, low and high (Student's t interval of the mean difference), and p_value: the two-sided
    paired t test of scipy.stats.ttest_rel, not corrected for the number of rows, missing for n < 2 and where
    all differences are equal. A pair with a missing value is left out.

    With `log`, `difference` is a ratio: the exponential of the mean log difference, with std a factor, and a
    pair with an exact zero is left out and counted in n_zero.

    Raises ValueError as `summarize` does, and for a seed that only one of the two methods has.
    """
    by = [by] if isinstance(by, str) else list(by)
    _check_numbers(table, value, [*by, "method", "seed"], log, confidence)
    for role, name in (("method", method), ("baseline", baseline)):
        if name not in (legal := list(table["method"].unique())):
            raise ValueError(f"{role} must be one of {legal}, but {name!r} was passed")
    table, rows = table[table["method"].isin([method, baseline])], []
    _check_each_run_once(table, [*by, "method"])
    for key, group in table.groupby(by, sort=False, dropna=False):
        where = dict(zip(by, key, strict=True))
        arms = group.set_index("seed").sort_index()
        one, other = (arms.loc[arms["method"] == name, value] for name in (method, baseline))
        if lonely := list(one.index.symmetric_difference(other.index)):
            raise ValueError(f"{method!r} and {baseline!r} must share seeds, but {lonely} at {where} do not")
        estimate, p_value = _estimate(np.stack([one, other], axis=1).astype(float), log, confidence)
        estimate = {"difference" if name == "mean" else name: number for name, number in estimate.items()}
        rows.append(where | {"method": method, "baseline": baseline} | estimate | {"p_value": p_value})
    return pd.DataFrame(rows)


def _estimate(values: np.ndarray, log: bool, confidence: float) -> tuple[dict[str, float], float]:
    """Estimate the mean of values [n, 1] or of differences within pairs [n, 2], and test it against 0."""
    values, counts = values[~np.isnan(values).any(axis=1)], {}
    if log:
        positive = (values > 0).all(axis=1)
        values, counts = np.log(values[positive]), {"n_zero": int((~positive).sum())}
    sample = values[:, 0] - values[:, 1:].sum(axis=1)
    n, mean = len(sample), sample.mean() if len(sample) else np.nan
    std = half = p_value = np.nan
    if n > 1:
        varies = np.ptp(sample) > ROUNDING * np.abs(values).max()
        std = sample.std(ddof=1) if varies else 0.0
        # Student's t distribution from scipy.special: the numbers of scipy.stats, in a tenth of the time.
        half = stdtrit(n - 1, (1 + confidence) / 2) * std / np.sqrt(n)
        p_value = 2 * stdtr(n - 1, -abs(mean) / std * np.sqrt(n)) if varies else np.nan
    numbers = {"mean": mean, "std": std, "low": mean - half, "high": mean + half}
    scaled = {name: float(np.exp(number) if log else number) for name, number in numbers.items()}
    return {"n": n} | counts | scaled, float(p_value)


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
