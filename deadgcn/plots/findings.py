"""Words for the findings in titles and for what is seen in a figure, from summaries of runs."""

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


def depths_by_method(holds: pd.Series, table: pd.DataFrame) -> str:
    """Say the same for each method: "ReLU from 20 layers on, LeakyReLU at no depth".

    `table` has a row for each of `holds`, with method and num_layers. Leave out beforehand what is not known,
    as an interval of one seed: the text is empty where no row is left.
    """
    by_depth = pd.Series(holds.to_numpy(bool), table["num_layers"])
    by_method = by_depth.groupby(table["method"].to_numpy(), sort=False)
    return ", ".join(f"{method} {depths_where(depths)}" for method, depths in by_method)


def course(summary: pd.DataFrame, along: str = "num_layers") -> str:
    """Say how the means of each method run, for readers who do not see the figure.

    "ReLU 0.47 at 0, at most 0.76 at 5, 0.21 at 30": first, largest and last of the means by `along`. A method
    without any value (all runs diverged) is left out.
    """
    words = []
    for method, rows in summary.dropna(subset="mean").groupby("method", sort=False):
        means = rows.set_index(along)["mean"].sort_index()
        first, top, last = (
            f"{means[at]:.3g} at {at}" for at in (means.index[0], means.idxmax(), means.index[-1])
        )
        parts = [first] + [f"at most {top}"] * (top not in (first, last)) + [last] * (last != first)
        words.append(f"{method} " + ", ".join(parts))
    return "; ".join(words)


def compared(low: float, high: float, words: tuple[str, str, str], zero: float = 0) -> str:
    """Choose among the words for an interval below zero, one that holds it, and one above it.

    An interval that is not known gives "". For ratios, `zero` is 1.
    """
    below, between, above = words
    if pd.isna(low) or pd.isna(high):
        return ""
    return below if high < zero else above if low > zero else between
