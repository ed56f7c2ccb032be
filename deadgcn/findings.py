"""Words for the findings in titles, from intervals: where there is none, nothing is said."""

import pandas as pd


def depths_where(holds: pd.Series) -> str:
    """Say at which depths, the index, something holds: "at 5 and 15 layers", or "at no depth".

    >>> depths_where(pd.Series({5: False, 10: True, 15: True}))
    'from 10 layers on'
    """
    holds = holds.sort_index()
    depths = holds.index[holds].tolist()
    if not depths:
        return "at no depth"
    if len(depths) == len(holds) > 1:
        return "at every depth"
    if holds.iloc[-len(depths) :].all() and len(depths) > 1:
        return f"from {depths[0]} layer{'s' * (depths[0] != 1)} on"
    words = " and ".join(filter(None, [", ".join(map(str, depths[:-1])), str(depths[-1])]))
    return f"at {words} layer{'s' * (depths != [1])}"


def below_line(summary: pd.DataFrame, line: float) -> str:
    """Say for each method at which depths its interval lies below the line: "ReLU from 20 layers on".

    Args:
        summary: rows of :func:`deadgcn.stats.summarize` for one quantity, by method and num_layers.

    Methods without any interval (one seed, all runs diverged) are left out; the text may be empty.
    """
    known = summary.dropna(subset="high").set_index("num_layers")
    by_method = known["high"].lt(line).groupby(known["method"], sort=False)
    return ", ".join(f"{method} {depths_where(holds)}" for method, holds in by_method)


def compared(low: float, high: float, words: tuple[str, str, str], zero: float = 0) -> str:
    """Choose among the words for an interval below zero, one that holds it, and one above it.

    An interval that is not known gives "". For ratios, `zero` is 1.
    """
    below, open_, above = words
    if pd.isna(low) or pd.isna(high):
        return ""
    return below if high < zero else above if low > zero else open_
