"""The tables of docs/benchmark.md, from the CSV files of results/bench."""

import numpy as np
import pandas as pd

from deadgcn.paper.readme import table


def ratios(rows: pd.DataFrame) -> pd.DataFrame:
    """Each loop's time as a multiple of the engine's in the same repetition, one column per loop.

    The index is ``(num_layers, method, repetition)``.
    """
    wide = rows.pivot(index=["num_layers", "method", "repetition"], columns="contender", values="ms")
    return wide.drop(columns="this engine").div(wide["this engine"], axis=0)


def comparison(rows: pd.DataFrame) -> str:
    """A row per depth and arm: milliseconds, and ratios to the engine."""
    ms = rows.groupby(["num_layers", "method", "contender"])["ms"].median().unstack()
    spread = ratios(rows).groupby(["num_layers", "method"]).agg(["median", "min", "max"])
    loops = spread.columns.unique(0)
    lines = []
    for key, times in ms.iterrows():
        cells = [f"{times['this engine']:.2f}"]
        for loop in loops:
            ratio = spread.loc[key, loop]
            cells.append(f"{times[loop]:.1f} ({ratio['median']:.1f}×; {ratio['min']:.1f}–{ratio['max']:.1f})")
        lines.append([*key, *cells])
    return table(["layers", "arm", "this engine", *loops], lines)


def growth(rows: pd.DataFrame) -> str:
    """A row per axis: exponents of time and memory, by least squares on logarithms."""
    lines = []
    for axis, part in rows.groupby("axis", sort=False):
        medians = part.groupby("value")[["seconds_per_epoch", "peak_mib"]].median()
        exponents = [np.polyfit(np.log(medians.index), np.log(medians[name]), 1)[0] for name in medians]
        lines.append([axis, medians.index[0], medians.index[-1], *(f"{value:.2f}" for value in exponents)])
    return table(["size", "from", "to", "time", "memory"], lines)


def study(rows: pd.DataFrame) -> str:
    """A row per kind of run: minutes, networks trained, and the largest process up to then."""
    labels = {
        "cold": "from nothing",
        "cached": "again, from finished runs",
        "one more depth": "one more depth",
    }
    lines = [
        [labels[row.what], f"{row.seconds / 60:.0f}", f"{row.runs_trained:,}", f"{row.peak_mib / 1024:.1f}"]
        for row in rows.itertuples()
    ]
    return table(["", "minutes", "networks trained", "GiB"], lines)


def machine(rows: pd.DataFrame) -> str:
    """A row per section of the benchmark."""
    return table(list(rows), rows.itertuples(index=False))
