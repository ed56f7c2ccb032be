"""The tables and the figure of docs/benchmark.md, from the CSV files of results/bench."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from outputs import check_sums
from readme import fill, table

import deadgcn as dg
from deadgcn.plots.style import to_png

RUNS = {"before": "before: one notebook after another", "now": "now: two notebooks side by side"}


def write(results: Path, document: Path) -> None:
    """Write what the document shows of the sections that have been measured, and timeline.png beside it."""
    check_sums(results)
    rows = {path.stem: pd.read_csv(path) for path in results.glob("*.csv")}
    blocks = {block: show(rows[name]) for block, (name, show) in SHOWN.items() if name in rows}
    document.write_text(fill(document.read_text(encoding="utf-8"), blocks), encoding="utf-8")
    if "timeline" in rows:
        cores = rows["machine"].set_index("section")["cores"]["study"]
        document.with_name("timeline.png").write_bytes(draw_timeline(rows["timeline"], cores))


def comparison(rows: pd.DataFrame) -> str:
    """A row per arm and contender: milliseconds, and ratios to the engine's in the same repetition.

    Where a contender is faster than the engine, it is bold.
    """
    rows = with_ratios(rows)
    groups = rows.groupby(["method", "contender", "num_layers"], sort=False)
    cells = groups.apply(_cell, include_groups=False).unstack()
    cells.columns = [f"{depth} layers" for depth in cells]
    compiled = rows[rows["contender"].str.contains("compiled|JAX")].groupby(["method", "contender"])
    seconds = compiled["compile_seconds"].max().map("at most {:.0f} s".format)
    cells["compilation"] = seconds.reindex(cells.index, fill_value="–")
    return table(["arm", "contender", *cells], cells.fillna("–").to_records())


def with_ratios(rows: pd.DataFrame) -> pd.DataFrame:
    """The timings with a column `ratio`: to the engine's in the same repetition."""
    same = ["method", "num_layers", "repetition"]
    engine = rows[rows["contender"] == "this engine"].set_index(same)["ms"].rename("of_engine")
    return rows.join(engine, on=same).eval("ratio = ms / of_engine")


def _cell(rows: pd.DataFrame) -> str:
    ms, ratio = rows["ms"].median(), rows["ratio"]
    if (ratio == 1).all():  # the engine itself
        return f"{ms:.2f}"
    text = f"{ms:.2f} ({_spread(ratio)})"
    return f"**{text}**" if ratio.median() < 1 else text


def _spread(ratio: pd.Series) -> str:
    return f"{ratio.median():.2f}×; {ratio.min():.2f}–{ratio.max():.2f}"


def overhead(rows: pd.DataFrame) -> str:
    """A row per grid: seconds from call to tables and in the engine, their ratio, and that of a chunk's."""
    rows = rows.eval("ratio = seconds / engine_seconds").eval("slower = chunk_together / chunk_alone")
    lines = []
    for grid, part in rows.groupby("grid", sort=False):
        seconds = (f"{part[name].median():.1f}" for name in ("seconds", "engine_seconds"))
        lines.append([grid, *seconds, _spread(part["ratio"]), _spread(part["slower"])])
    return table(["grid", "seconds", "of these in the engine", "ratio", "a chunk beside others"], lines)


def growth(rows: pd.DataFrame) -> str:
    """A row per code and axis: exponents of time and memory, by least squares on logarithms."""
    lines = []
    for (axis, code), part in rows.groupby(["axis", "code"]):
        medians = part.groupby(axis)[["seconds_per_epoch", "peak_mib"]].median()
        exponents = [np.polyfit(np.log(medians.index), np.log(medians[name]), 1)[0] for name in medians]
        ends = medians.index[0], medians.index[-1]
        lines.append([axis, *ends, code, *(f"{value:.2f}" for value in exponents)])
    return table(["size", "from", "to", "code", "time", "memory"], lines)


def profile(rows: pd.DataFrame) -> str:
    """A row per depth and code: milliseconds per layer and run of an epoch and its products, and measuring.

    Measuring is in a training of 100 epochs; the shares are with and without its first evaluation, an epoch's
    worth, which the training itself needs.
    """
    rows = rows.query("axis == 'num_layers'").eval("layer_runs = num_layers * num_runs")
    rows = rows.eval("training = measuring + 99 * seconds_per_epoch")
    rows = rows.eval("share = measuring / training").eval("more = (measuring - seconds_per_epoch) / training")
    lines = []
    for (depth, code), part in rows.groupby(["num_layers", "code"]):
        times = 1000 * part[["seconds_per_epoch", "dense", "sparse", "measuring"]]
        *ms, measuring = times.div(part["layer_runs"], axis=0).median()
        shares = (f"{part[name].median():.1%}" for name in ("share", "more"))
        lines.append([depth, code, *(f"{each:.3f}" for each in ms), f"{measuring:.2f}", *shares])
    parts = ["epoch", "dense products", "sparse products", "measuring"]
    return table(["layers", "code", *parts, "share", "without the first evaluation"], lines)


def nodes(rows: pd.DataFrame) -> str:
    """A row per number of nodes and code: nanoseconds per node.

    Of an epoch and its products also per layer and run, then of one product with the graph.
    """
    rows = rows.query("axis == 'num_nodes'").eval("layer_runs = num_layers * num_runs")
    lines = []
    for (count, code), part in rows.groupby(["num_nodes", "code"]):
        epoch = part[["seconds_per_epoch", "dense", "sparse"]].div(part["layer_runs"], axis=0).median()
        ns = 1e9 / count * pd.concat([epoch, part[["product", "product_own"]].median()])
        lines.append([count, code, *ns.map("{:.0f}".format)])
    parts = ["epoch", "dense products", "sparse products", "one product with the graph"]
    return table(["nodes", "code", *parts, "each node instead of its neighbours"], lines)


def machine(rows: pd.DataFrame) -> str:
    """A row per section of the benchmark."""
    names = ["section", "processor", "cores", "python", "torch", "torch-geometric"]
    return table(names, rows[names].itertuples(index=False))


def timeline(rows: pd.DataFrame) -> str:
    """The figure, with the time and the mean of the cores as a text for readers who do not see it."""
    texts = []
    for code, run in rows.groupby("code"):
        busy = run.drop(columns=["code", "second"]).sum(axis=1).mean()
        texts.append(f"{RUNS[code]}, {busy:.1f} for {run['second'].max() / 60:.0f} minutes")
    return f"![Cores busy during the first run: {'; '.join(texts)}](timeline.png)"


def draw_timeline(rows: pd.DataFrame, cores: int) -> bytes:
    """Draw how many cores each kind of process keeps busy, stacked, with a panel per run; return a PNG."""
    dg.set_style()
    runs, kinds = rows.groupby("code"), rows.columns.drop(["code", "second"])
    fig, axes = plt.subplots(len(runs), sharex=True, figsize=(7, 1 + 1.5 * len(runs)), squeeze=False)
    for ax, (code, run) in zip(axes.flat, runs, strict=True):
        ax.stackplot(run["second"] / 60, run[kinds].T, labels=kinds, colors=dg.OTHER_COLORS, linewidth=0)
        ax.set(title=RUNS[code], xlabel="minutes", ylabel="cores busy", ylim=(0, cores))
        ax.legend()
    dg.share_legend(fig)
    png = to_png(fig, dpi=150)
    plt.close(fig)
    return png


# Each block of the document: the CSV file and the function.
SHOWN = {each.__name__: (each.__name__, each) for each in (comparison, overhead, growth, timeline, machine)}
SHOWN |= {"profile": ("growth", profile), "nodes": ("growth", nodes)}
