"""Estimates, intervals and tests from tidy tables of runs.

A table has one row per run (or per run and layer). Methods are compared in pairs of runs with the same seed,
which start from the same weights. Values that are not finite are missing: they are left out and not counted
in n. Results have one row per group, in order of first appearance, and start with the columns of `by`.
"""

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from deadgcn.config import Config
from deadgcn.stats.inference import ALPHA, FACTOR, MARGIN, finite, holm, interval, mean_tests

Columns = str | Sequence[str]
RUNS, DEPTHS = ("method", "num_layers"), ("num_layers",)


def summarize(table: pd.DataFrame, value: Columns, by: Columns = RUNS) -> pd.DataFrame:
    """Mean of `value` in each group: n, mean, std (n - 1 in the denominator), and 95 % interval low, high.

    n_diverged counts runs with a `diverged_epoch`. Several values give blocks of rows, named in `quantity`.
    """
    if not isinstance(value, str):
        blocks = {name: summarize(table, name, by) for name in value}
        return pd.concat(blocks, names=["quantity", None]).reset_index("quantity").reset_index(drop=True)
    check_rows(table, [value], [*_as_list(by), "seed"])
    return _per_group(table, by, lambda group: _estimate(group, value))


def pair_by_seed(
    table: pd.DataFrame, value: str, method: str, baseline: str, by: Columns = DEPTHS, log: bool = False
) -> pd.DataFrame:
    """Pair the runs of two methods by seed. All paired comparisons start here.

    One row per group and seed: the columns of `by`, seed, method and baseline (`value` under each), number
    (their difference, or with `log` that of their logarithms), win (1 if `method` is larger, 0.5 for a tie,
    else 0), zero and constant (if either is). Raises ValueError for a seed that only one method has.
    """
    keys = [*_as_list(by), "seed"]
    check_rows(table, [value], ["method", *keys])
    if log and (table[value] < 0).any():
        raise ValueError(f"with log, {value} must be at least 0, but {table[value].min()} was passed")
    if unknown := {method, baseline} - (legal := set(table["method"])):
        raise ValueError(f"method and baseline must be among {legal}, but {unknown} was passed")
    first, second = (table[table["method"] == name].set_index(keys) for name in (method, baseline))
    if lonely := list(first.index.symmetric_difference(second.index)):
        raise ValueError(f"{method!r} and {baseline!r} must share seeds, but not so at {keys} = {lonely}")
    pairs = pd.concat([first[value], second[value]], axis=1, keys=["method", "baseline"])
    pairs = pairs.where(np.isfinite(pairs).all(axis=1))
    numbers = np.log(pairs.where(pairs > 0)) if log else pairs
    wins = (np.sign(pairs["method"] - pairs["baseline"]) + 1) / 2
    number, zero = numbers["method"] - numbers["baseline"], (pairs == 0).any(axis=1)
    pairs = pairs.assign(number=number, win=wins, zero=zero)
    if "diverged_epoch" in table:
        pairs["diverged_epoch"] = first["diverged_epoch"].fillna(second["diverged_epoch"])
    if "constant" in table:
        pairs["constant"] = (first["constant"] == 1) | (second["constant"] == 1)
    return pairs.reset_index()


def paired_difference(
    table: pd.DataFrame,
    value: str,
    method: str,
    baseline: str,
    by: Columns = DEPTHS,
    log: bool = False,
    margin: float | None = None,
) -> pd.DataFrame:
    """Mean of `value` under `method` minus under `baseline`, in pairs with the same seed.

    Columns after `by`: method, baseline, n (pairs), difference, std, low, high, p_value (paired t test),
    p_holm (corrected for the number of rows) and, with `margin`, p_equivalent. n_diverged and n_zero count
    pairs. With `log`, difference is a ratio; std and margin are factors. Both must have the same seeds.

    A table of layers, unless `by` names them, gives a pair's mean over the layers that are constant in
    neither run; the column `constant` is the share of the others.
    """
    if margin is not None and not margin > (1 if log else 0):
        raise ValueError(f"margin must be above 0 (above 1 with log), but {margin!r} was passed")
    bound = np.nan if margin is None else np.log(margin) if log else margin

    def describe(pairs: pd.DataFrame) -> dict:
        p_value, p_equivalent = mean_tests(pairs["number"], bound)
        tests = {"p_value": p_value, "p_holm": np.nan, "p_equivalent": p_equivalent}
        shared = {"constant": pairs["constant"].mean()} if layered else {}
        return {"method": method, "baseline": baseline} | _estimate(pairs, "number", log=log) | tests | shared

    layered = "layer" in table and "layer" not in _as_list(by)
    pairs = pair_by_seed(table, value, method, baseline, [*_as_list(by), *["layer"] * layered], log)
    rows = _per_group(over_layers(pairs, by) if layered else pairs, by, describe)
    rows = rows.rename(columns={"mean": "difference"}).assign(p_holm=holm(rows["p_value"]))
    return rows.drop(columns="p_equivalent") if margin is None else rows


def compare(
    runs: pd.DataFrame,
    layers: pd.DataFrame,
    pairs: Sequence[tuple[str, str]],
    outcomes: Sequence[str],
    by: Columns = DEPTHS,
) -> pd.DataFrame:
    """`paired_difference` of each pair (method, baseline) in each outcome, with `outcome` and `answer`.

    Columns of `runs` are compared by differences with the margin `MARGIN`; others, of `layers`, by ratios
    with the margin `FACTOR`. Only seeds that both methods have count; groups without any are left out.
    """
    rows = []
    for (method, baseline), outcome in product(pairs, outcomes):
        ratio = outcome not in runs
        table = layers if ratio else runs
        both = table[table["method"].isin([method, baseline])]
        both = both[both.groupby([*_as_list(by), "seed"])["method"].transform("nunique") == 2]
        if len(both):
            margin = FACTOR if ratio else MARGIN
            found = paired_difference(both, outcome, method, baseline, by, ratio, margin)
            rows.append(found.assign(outcome=outcome, answer=answer(found)))
    if not rows:
        raise ValueError(f"pairs must be methods that share seeds in some group, but {pairs} was passed")
    return pd.concat(rows, ignore_index=True)


def answer(rows: pd.DataFrame, p: str = "p_value") -> pd.Series:
    """What each row of `paired_difference` with a margin shows: "more", "less", "no difference" or "open".

    An effect shown to be below the margin (p_equivalent <= 0.05) is "no difference", also if it differs from
    zero. It is "not measurable" if more than half of the pairs of layers are constant. `p` may be "p_holm".
    Rows with `n_zero`, which come from `log`, are ratios.
    """
    no_effect = rows["n_zero"].notna() if "n_zero" in rows else 0  # 1 for ratios
    small, clear = rows["p_equivalent"].fillna(1) <= ALPHA, rows[p].fillna(1) <= ALPHA
    lost = rows["constant"].round(9) > 0.5 if "constant" in rows else small & False
    shown = [lost, small, clear & (rows["difference"] > no_effect), clear & (rows["difference"] < no_effect)]
    names = ["not measurable", "no difference", "more", "less"]
    return pd.Series(np.select(shown, names, "open"), rows.index)


def over_layers(pairs: pd.DataFrame, by: Columns = ()) -> pd.DataFrame:
    """From pairs of layers to pairs of runs: means over the pairs of layers that are not constant.

    Columns: those of `by`, seed, number, win, zero (in any layer) and constant (share of layers left out).
    """
    kept = pairs.assign(**{name: pairs[name].mask(pairs["constant"]) for name in ("number", "win")})
    how = {"number": "mean", "win": "mean", "zero": "any", "constant": "mean"}
    return kept.groupby([*_as_list(by), "seed"], sort=False).agg(how).reset_index()


def share_above(table: pd.DataFrame, value: str, threshold: float, by: Columns = RUNS) -> pd.DataFrame:
    """Share of runs with `value` above `threshold`: n, share, Wilson's 95 % interval (1927) low, high."""
    check_rows(table, [value], [*_as_list(by), "seed"])
    above = (table[value] > threshold).where(np.isfinite(table[value]))
    return _per_group(table.assign(above=above), by, lambda group: _share(group["above"]))


def check_rows(table: pd.DataFrame, values: Sequence[str], keys: Sequence[str]) -> None:
    """Raise ValueError if a column is missing, or if a run (a combination of `keys`) has several rows."""
    if missing := [name for name in (*values, *keys) if name not in table]:
        raise ValueError(f"columns must be among {list(table)}, but {missing} was passed")
    if (repeated := table.duplicated(keys)).any():
        run = table.loc[repeated, keys].iloc[0]
        rows = table[(table[list(keys)] == run).all(axis=1)]
        names = [*Config.model_fields, "stage", "layer", "epoch"]
        differing = [name for name in names if name in rows and rows[name].nunique() > 1]
        found = f"{run.to_dict()} has several, which differ in {differing}; name those in `by`"
        raise ValueError(f"a run must have one row for each {', '.join(keys)}, but {found}")


def _as_list(by: Columns) -> list[str]:
    return [by] if isinstance(by, str) else list(by)


def _per_group(table: pd.DataFrame, by: Columns, describe: Callable[[pd.DataFrame], dict]) -> pd.DataFrame:
    groups = table.groupby(_as_list(by), sort=False, dropna=False)
    return pd.DataFrame([dict(zip(_as_list(by), key, strict=True)) | describe(x) for key, x in groups])


def _estimate(group: pd.DataFrame, value: str, log: bool = False) -> dict:
    sample = finite(group[value])
    row, (low, high) = {"n": len(sample)}, interval(sample)
    if "diverged_epoch" in group:
        row["n_diverged"] = group["diverged_epoch"].count()
    if log:
        row["n_zero"] = group["zero"].sum()
    mean = sample.mean() if len(sample) else np.nan
    numbers = {"mean": mean, "std": pd.Series(sample).std(), "low": low, "high": high}
    return row | {name: np.exp(number) if log else number for name, number in numbers.items()}


def _share(hits: pd.Series) -> dict[str, float]:
    n, share = hits.count(), hits.mean()
    low, high = proportion_confint(hits.sum(), n, method="wilson") if n else (np.nan, np.nan)
    # Exact at the ends, where statsmodels rounds: an error bar must not end inside of its mark.
    return {"n": n, "share": share, "low": low if share != 0 else 0.0, "high": high if share != 1 else 1.0}
