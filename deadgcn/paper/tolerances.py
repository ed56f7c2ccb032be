"""Which differences between two machines' numbers mean something.

Rounding differs between processors, and training amplifies it. 120 runs on Cora (three arms at 5, 10, 20 and
30 layers, seeds 0 to 9) were made again with MKL's portable products in place of its AVX2 ones, and again
with torch's portable loops; 18 of 128 layers with the former. Beside the evidence:

- Untrained networks: measures within 3e-5 of themselves, gradients 2e-3; at 128 layers 3e-4 and 6e-3.
- 5 layers: at most 2 of an arm's 10 runs had another test accuracy, by at most 0.005. But the best epoch may
  jump (by 58 in one run), and the dead fraction with it (by 0.09).
- From 20 layers on most runs ended elsewhere: test accuracies by up to 0.27, after the last epoch 0.44, dead
  fractions by up to 0.38. These differences spread up to 1.4 times as wide as the seeds do, which is what
  independent runs would do. For such runs, one by one, only gross bounds can be stated.
- Means over seeds stayed: of 20,000 means of paired differences none was beyond 6.4 standard errors, which is
  Student's t for ten seeds; no estimate or end of an interval moved by more than 2 half-widths.
- With ten seeds a verdict's answer nevertheless changed in 1 and 4 of 36 comparisons, from open to for.

Hence, where two cells are not equal:

================================  ==========================================================================
keys, counts, texts               none; a changed status or answer of the verdict is a difference
untrained networks, data          1e-3 of the number, gradients 0.02; where there are no seeds, also 1e-6
trained runs (rows with a seed)   the mean over a cell's seeds of the paired differences, each relative to its
                                  larger number: p > 1e-6 by Student's t, or below 1e-4; missing in one of
                                  the two: up to half of the seeds. One seed says nothing about a mean
and each run in ``*_runs.csv``    accuracy up to 5 layers: 0.05. Other accuracies, and fractions after the
                                  last epoch: as far beyond what the evidence's seeds range over as twice that
                                  range, or 0.05
estimates, their ends and std     4 half-widths of the wider interval; of logarithms for ratios and geometric
                                  means. Those of other runs (an exact zero more or less) are not compared
p-values, seeds needed, repeats   not compared: they follow from these, or are one network's path
================================  ==========================================================================
"""

import numpy as np
import pandas as pd
from pandas.api.types import is_float_dtype, is_numeric_dtype
from scipy import stats

RELATIVE, ABSOLUTE = 1e-3, 1e-6
GRADIENT = 0.02  # relative too: where a pre-activation of 0 changes sides, the gradient jumps
NO_MOVE = 1e-4  # of a mean, relative
MISSING = 0.5  # share of a cell's seeds that may be missing in one of the two only
CHANCE = 1e-6  # of one mean of paired differences; the whole study has about 60,000
SHALLOW, SINGLE, RANGES = 5, 0.05, 2  # layers, and bounds of single runs
BOUNDED = ("_acc", "_acc_last", "_fraction_last")  # fractions of the best model jump with its epoch
HALF_WIDTHS = 4

# Whole numbers and texts name their row, but for results; other numbers are results, but for settings.
RESULTS = ("best_epoch", "diverged_epoch", "num_stripped", "n", "nodes", "answer", "status", "readings")
SETTINGS = ("step", "amount", "dead_threshold")
COUNTS = ("n", "n_diverged", "nodes")
CENTRES = ("mean", "estimate", "difference", "test_acc", "probability", "correlation", "share")
# What follows from other cells: of the verdict, `answer` says it cell by cell.
FOLLOWS = ("for", "open", "against", "n_zero", "share_of_layers", "place")
FOLLOWS += ("interquartile mean", "above majority")
FOLLOWS_FILES = ("power.csv", "table1.csv")
FOLLOWS_FILES += ("revival.csv", "activations.csv", "projections.csv")  # single networks, looked at

TEXTS, UNTRAINED, RUNS = "keys, counts and texts", "untrained networks, data", "trained runs"
ESTIMATES, FOLLOWING = "estimates", "what follows from them"
KINDS = (TEXTS, UNTRAINED, RUNS, ESTIMATES, FOLLOWING)
EQUAL, WITHIN, OUTSIDE, SKIPPED = STATES = ("equal", "within tolerance", "outside", "not compared")


def is_key(column: str, table: pd.DataFrame) -> bool:
    """Whether a column names the rows of its table."""
    result = is_float_dtype(table[column]) or column in RESULTS or "diverged" in column
    return column in SETTINGS or not (result or follows(column, table))


def follows(column: str, table: pd.DataFrame) -> bool:
    """Whether a column holds what other columns or tables say already."""
    in_words = not is_numeric_dtype(table[column]) and table[column].astype(str).str.contains(" ± ").any()
    return column.split(", ")[-1] in FOLLOWS or column.startswith(("p_", "decisive_")) or in_words


def judge(
    name: str, column: str, evidence: pd.DataFrame, rerun: pd.DataFrame, runs: pd.Series
) -> tuple[pd.Series, pd.Series, dict[str, str]]:
    """The rules for another machine, for one column of two tables with the same rows.

    Returns the kind of each cell; whether it is near (True, False or "not compared"); and those groups of
    runs, named as in `runs`, whose mean moved, with words for it.
    """
    x, y = evidence[column], rerun[column]
    bounds, moved = _bounds(column, evidence), {}
    if follows(column, evidence):
        return pd.Series(FOLLOWING, x.index), pd.Series(SKIPPED, x.index), moved
    if column in COUNTS or not (is_numeric_dtype(x) and is_numeric_dtype(y)):
        kind, near = TEXTS, pd.Series(False, x.index)
    elif bounds:
        kind, near = ESTIMATES, _near_estimates(column, evidence, rerun, *bounds)
    elif "seed" in evidence:
        kind, moved = RUNS, _moved_means(x, y, runs)
        near = _near_runs(name, column, evidence, y, runs) & ~runs.isin(list(moved))
    else:
        kind, near = UNTRAINED, _close(x, y, RELATIVE, ABSOLUTE)
    kinds = pd.Series(kind, x.index)
    if kind in (ESTIMATES, RUNS) and "stage" in evidence:
        init = evidence["stage"] == "init"
        gradient = evidence.get("quantity", pd.Series(column, x.index)) == "gradient_norm"
        tolerance = np.where(gradient, GRADIENT, RELATIVE)
        kinds, near = kinds.mask(init, UNTRAINED), near.mask(init, _close(x, y, tolerance))
        moved = {cell: text for cell, text in moved.items() if cell in set(runs[~init])}
    if {"n", "n_zero"} <= {*evidence}:  # of another number of runs: those without an exact zero
        others = (evidence[["n", "n_zero"]].fillna(0) != rerun[["n", "n_zero"]].fillna(0)).any(axis=1)
        near = near.astype(object).mask(others & (kinds != UNTRAINED), SKIPPED)
    return kinds, near, moved


def _close(x: pd.Series, y: pd.Series, relative: float | np.ndarray, absolute: float = 0) -> pd.Series:
    return ((y - x).abs() <= relative * x.abs() + absolute) | (x.isna() & y.isna())


def _moved_means(x: pd.Series, y: pd.Series, runs: pd.Series) -> dict[str, str]:
    """Groups of runs whose mean paired difference is not chance, or most of which are missing in one only."""
    larger = np.maximum(x.abs(), y.abs())
    columns = {"was": x, "now": y, "relative": ((y - x) / larger.where(larger > 0, 1)).astype(float)}
    grouped = pd.DataFrame(columns | {"one_only": x.isna() != y.isna()}).groupby(runs.to_numpy(), sort=False)
    groups = grouped.mean().assign(n=grouped["relative"].count())
    groups["error"] = grouped["relative"].std() / np.sqrt(groups["n"])
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * stats.t.sf(groups["relative"].abs() / groups["error"], groups["n"] - 1)
    moved = ((groups["relative"].abs() > NO_MOVE) & (p <= CHANCE)) | (groups["one_only"] > MISSING)
    return {
        cell: f"the mean over seeds is {group.was:.6g} in the evidence, {group.now:.6g} in the rerun; "
        f"that of {group.n:.0f} paired relative differences {group.relative:.2g} ± {group.error:.1g} (s.e.)"
        for cell, group in groups[moved].iterrows()
    }


def _near_runs(name: str, column: str, evidence: pd.DataFrame, y: pd.Series, runs: pd.Series) -> pd.Series:
    x = evidence[column]
    if not name.endswith("_runs.csv") or not column.endswith(BOUNDED):
        return pd.Series(True, x.index)
    grouped = x.groupby(runs.to_numpy())
    low, high = grouped.transform("min"), grouped.transform("max")
    slack = np.maximum(RANGES * (high - low), SINGLE)
    near = y.between(low - slack, high + slack) | x.isna() | y.isna()
    shallow = (evidence.get("num_layers", np.inf) <= SHALLOW) & ("_acc" in column)
    return near.mask(shallow, (y - x).abs() <= SINGLE)


def _bounds(column: str, table: pd.DataFrame) -> tuple[str, str] | None:
    """The columns that hold the ends of a column's interval, if it has one or is one of them."""
    stem = column.removesuffix("_low").removesuffix("_high")
    if f"{stem}_low" in table:
        return f"{stem}_low", f"{stem}_high"
    return ("low", "high") if "low" in table and column in (*CENTRES, "std", "low", "high") else None


def _near_estimates(
    column: str, evidence: pd.DataFrame, rerun: pd.DataFrame, low: str, high: str
) -> pd.Series:
    x, y = evidence[column], rerun[column]
    ratios = evidence.get("scale", pd.Series("", x.index)) == "ratio"
    factors = evidence["n_zero"].notna() if "n_zero" in evidence else ratios | ("share_of_layers" in evidence)
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = [t[[low, high]].apply(pd.to_numeric, errors="coerce") for t in (evidence, rerun)]
        widths = [(t[high] - t[low]).mask(factors, np.log(t[high] / t[low])) for t in ends]
        logged = factors & ~(ratios & (column == "std"))  # the verdict's std is that of logarithms already
        moved = (y - x).abs().mask(logged, np.log(y / x).abs())
    slack = np.where(factors, 0, ABSOLUTE)  # where no run differs from another, an interval has no width
    return moved <= HALF_WIDTHS / 2 * np.fmax(*widths).fillna(0) + slack
