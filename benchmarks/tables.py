"""The tables of docs/benchmark.md, from the CSV files of results/bench."""

import numpy as np
import pandas as pd
from readme import table


def comparison(rows: pd.DataFrame) -> str:
    """A row per depth and arm: milliseconds, and ratios to the engine in the same repetition."""
    keys = ["num_layers", "method"]
    wide = rows.pivot(index=[*keys, "repetition"], columns="contender", values="ms")
    ms = wide.groupby(keys).median()
    ratios = wide.drop(columns="this engine").div(wide["this engine"], axis=0)
    spread = ratios.groupby(keys).agg(["median", "min", "max"])
    lines = []
    for key, times in ms.iterrows():
        cells = [f"{times['this engine']:.2f}"]
        for loop in ratios:
            ratio = spread.loc[key, loop]
            cells.append(f"{times[loop]:.1f} ({ratio['median']:.1f}×; {ratio['min']:.1f}–{ratio['max']:.1f})")
        lines.append([*key, *cells])
    return table(["layers", "arm", "this engine", *ratios], lines)


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
