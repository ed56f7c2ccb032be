"""The tables and the figure of docs/benchmark.md, from the CSV files of results/bench."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from readme import fill, table

import deadgcn as dg
from deadgcn.plots.style import to_png

RUNS = {"before": "one notebook after another", "after": "two notebooks side by side"}


def write(results: Path, document: Path) -> None:
    """Write what the document shows of the sections that have been measured, and timeline.png beside it."""
    rows = {name: pd.read_csv(results / f"{name}.csv") for name in measured(results)}
    blocks = {name: SHOWN[name](rows[name]) for name in rows}
    document.write_text(fill(document.read_text(encoding="utf-8"), blocks), encoding="utf-8")
    if "timeline" in rows:
        cores = rows["machine"].set_index("section")["cores"]["study"]
        document.with_name("timeline.png").write_bytes(draw_timeline(rows["timeline"], cores))


def measured(results: Path) -> list[str]:
    """The sections that have a CSV file."""
    return [name for name in SHOWN if (results / f"{name}.csv").exists()]


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
    text = f"{ms:.2f} ({_spread(ratio)})"
    return f"**{text}**" if ratio.median() < 1 else text


def _spread(ratio: pd.Series) -> str:
    return f"{ratio.median():.2f}×; {ratio.min():.2f}–{ratio.max():.2f}"


def overhead(rows: pd.DataFrame) -> str:
    """A row per grid: seconds from call to tables and in the engine, and their ratio in one repetition."""
    groups = rows.eval("ratio = seconds / engine_seconds").groupby("grid", sort=False)
    lines = [
        [grid, f"{part.seconds.median():.1f}", f"{part.engine_seconds.median():.1f}", _spread(part["ratio"])]
        for grid, part in groups
    ]
    return table(["grid", "seconds", "of these in the engine", "ratio"], lines)


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


def timeline(rows: pd.DataFrame) -> str:
    """The figure, with the time and the mean of the cores as a text for readers who do not see it."""
    texts = []
    for what, run in rows.groupby("what", sort=False):
        busy = run.drop(columns=["what", "second"]).sum(axis=1).mean()
        texts.append(f"{RUNS[what]}, {busy:.1f} for {run['second'].max() / 60:.0f} minutes")
    return f"![Cores busy during the first run: {'; '.join(texts)}](timeline.png)"


def draw_timeline(rows: pd.DataFrame, cores: int) -> bytes:
    """Draw how many cores each kind of process keeps busy, stacked, with a panel per run; return a PNG."""
    dg.set_style()
    runs, kinds = rows.groupby("what", sort=False), rows.columns.drop(["what", "second"])
    fig, axes = plt.subplots(len(runs), sharex=True, figsize=(7, 1 + 1.5 * len(runs)), squeeze=False)
    for ax, (what, run) in zip(axes.flat, runs, strict=True):
        ax.stackplot(run["second"] / 60, run[kinds].T, labels=kinds, colors=dg.OTHER_COLORS, linewidth=0)
        ax.set(title=RUNS[what], xlabel="minutes", ylabel="cores busy", ylim=(0, cores))
        ax.legend()
    dg.share_legend(fig)
    png = to_png(fig, dpi=150)
    plt.close(fig)
    return png


SHOWN = {each.__name__: each for each in (comparison, overhead, growth, study, timeline, machine)}
