"""The tables of docs/benchmark.md, from the CSV files of results/bench."""

import numpy as np
import pandas as pd
from readme import table


def comparison(rows: pd.DataFrame) -> str:
    """A row per arm and contender: milliseconds, and ratios to the engine's in the same repetition.

    Where a contender is faster than the engine, it is bold.
    """
    same = ["method", "num_layers", "repetition"]
    engine = rows[rows["contender"] == "this engine"].set_index(same)["ms"].rename("of_engine")
    rows = rows.join(engine, on=same).eval("ratio = ms / of_engine")
    groups = rows.groupby(["method", "contender", "num_layers"], sort=False)
    cells = groups.apply(_cell, include_groups=False).unstack()
    cells.columns = [f"{depth} layers" for depth in cells]
    seconds = rows.groupby(["method", "contender"])["compile_seconds"].max().reindex(cells.index)
    cells["compilation"] = seconds.map("at most {:.0f} s".format).where(seconds.notna(), "–")
    return table(["arm", "contender", *cells], cells.fillna("–").to_records())


def _cell(rows: pd.DataFrame) -> str:
    ms, ratio = rows["ms"].median(), rows["ratio"]
    if (ratio == 1).all():  # the engine itself
        return f"{ms:.2f}"
    text = f"{ms:.2f} ({ratio.median():.2f}×; {ratio.min():.2f}–{ratio.max():.2f})"
    return f"**{text}**" if ratio.median() < 1 else text


def growth(rows: pd.DataFrame) -> str:
    """A row per axis: exponents of time and memory, by least squares on logarithms."""
    lines = []
    for axis, part in rows.groupby("axis", sort=False):
        medians = part.groupby("value")[["seconds_per_epoch", "peak_mib"]].median()
        exponents = [np.polyfit(np.log(medians.index), np.log(medians[name]), 1)[0] for name in medians]
        lines.append([axis, medians.index[0], medians.index[-1], *(f"{value:.2f}" for value in exponents)])
    return table(["size", "from", "to", "time", "memory"], lines)


def study(rows: pd.DataFrame) -> str:
    """A row per kind of run: minutes and networks trained."""
    rows = rows.replace({"what": {"cold": "from nothing", "cached": "again, from finished runs"}})
    lines = [[row.what, f"{row.seconds / 60:.0f}", f"{row.runs_trained:,}"] for row in rows.itertuples()]
    return table(["", "minutes", "networks trained"], lines)


def machine(rows: pd.DataFrame) -> str:
    """A row per section of the benchmark."""
    return table(list(rows), rows.itertuples(index=False))
