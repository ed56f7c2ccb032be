"""What `make bench` measured, in words, from its CSV files alone."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

ENGINE = "this engine"
AXES = {
    "num_runs": "runs",
    "num_layers": "layers",
    "hidden_channels": "channels",
    "num_nodes": "nodes",
}


def read_tables(folder: Path) -> dict[str, pd.DataFrame]:
    """All tables of the folder by name; those not measured yet are missing."""
    return {path.stem: pd.read_csv(path) for path in sorted(folder.glob("*.csv"))}


def render(tables: dict[str, pd.DataFrame]) -> str:
    """Markdown for what is measured."""
    if "comparison" not in tables:
        return "Not measured yet: `make bench` does it."
    writers = {"limit": _limit, "breakdown": _breakdown, "growth": _growth, "measures": _measures}
    lines = [write(tables) for name, write in writers.items() if name in tables]
    bullets = "\n".join(f"- {line}" for line in [*lines, _machine(tables["machine"])])
    return f"{_introduction(tables)}\n\n{_comparison(tables)}\n\n{bullets}"


def table(head: list[str], rows: Iterable[list]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def paired_ratios(comparison: pd.DataFrame) -> pd.DataFrame:
    """Each contender's time as a multiple of the engine's in the same repetition.

    Index ``(method, num_layers, repetition)``, one column per contender.
    """
    wide = comparison.pivot(index=["method", "num_layers", "repetition"], columns="contender", values="ms")
    return wide.drop(columns=ENGINE).div(wide[ENGINE], axis=0)


def _introduction(tables: dict[str, pd.DataFrame]) -> str:
    repetitions = tables["comparison"].groupby("num_layers")["repetition"].nunique()
    fewest, most = repetitions.min(), repetitions.max()
    times = f"{most}" if fewest == most else f"{fewest} to {most}"
    return (
        f"Milliseconds per run, layer and epoch, evaluation included: the median of {times} repetitions "
        "([all of them](results/bench/comparison.csv)), and in brackets how many times the engine's time "
        "that is, taken within each repetition (median; range)."
    )


def _comparison(tables: dict[str, pd.DataFrame]) -> str:
    comparison = tables["comparison"]
    ratios, ms = paired_ratios(comparison), comparison.groupby(["num_layers", "method", "contender"])["ms"]
    contenders = [name for name in comparison["contender"].unique() if name != ENGINE]
    contenders.sort(key=["careful loop", "careful loop, processes", "plain loop"].index)
    rows = []
    for num_layers, method in ms.median().unstack("contender").index:
        cells = [str(num_layers), method, _digits(ms.median()[num_layers, method, ENGINE])]
        for name in contenders:
            ratio = ratios.loc[(method, num_layers), name]
            cells.append(f"{_digits(ms.median()[num_layers, method, name])} ({_spread(ratio, '×')})")
        limit = tables["limit"].set_index(["method", "num_layers"])
        rows.append([*cells, f"{limit.loc[(method, num_layers), 'multiple']:.1f}"])
    return table(["layers", "arm", ENGINE, *contenders, "engine / limit"], rows)


def _limit(tables: dict[str, pd.DataFrame]) -> str:
    row = tables["limit"].iloc[0]
    return (
        "The limit is the time of an epoch's products alone, at the rates that single products reach with "
        f"every core busy: {row['dense_gflops_per_core']:.0f} GFLOP/s per core for large dense ones and "
        f"{row['sparse_gflops_per_core']:.0f} for Â times 32 columns."
    )


def _breakdown(tables: dict[str, pd.DataFrame]) -> str:
    shares = tables["breakdown"].groupby(["num_layers", "method", "kind"])["share"].median()
    num_layers, method = shares.index[0][:2]
    largest = shares[num_layers, method].sort_values(ascending=False).head(4)
    parts = ", ".join(f"{kind} {100 * share:.0f} %" for kind, share in largest.items())
    return f"Where the time goes at {num_layers} layers ({method}): {parts}."


def _growth(tables: dict[str, pd.DataFrame]) -> str:
    growth, slopes = tables["growth"], tables["growth_exponents"].set_index("axis")
    told = [
        f"{AXES[axis]} {row['time_exponent']:.2f} and {row['memory_exponent']:.2f}"
        for axis, row in slopes.iterrows()
    ]
    largest = growth[growth["axis"] == "num_layers"]
    text = f"Growth exponents of an epoch's time and of peak memory: {'; '.join(told)}."
    if largest.empty:
        return text
    deepest = largest[largest["value"] == largest["value"].max()].median(numeric_only=True)
    return (
        f"{text} Networks of {deepest['value']:.0f} layers peak at {deepest['peak_mib']:,.0f} MiB, where "
        f"their activations, weights and moments need {deepest['needed_mib']:,.0f} and the graph's features "
        f"{deepest['graph_mib']:,.0f}."
    )


def _measures(tables: dict[str, pd.DataFrame]) -> str:
    measures = tables["measures"]
    ratio = measures["loop_seconds"] / measures["ours_seconds"]
    ratio = ratio.groupby(measures["measure"], sort=False).median()
    told = " and ".join(f"{name.replace('_', ' ')} {value:,.0f}×" for name, value in ratio.items())
    return (
        f"Measures of {measures['num_layers'].max()} layers against Python loops over edges or nodes: {told} "
        f"as fast, equal within {measures['largest_difference'].max():.0e}."
    )


def _machine(machine: pd.DataFrame) -> str:
    known = machine.drop(columns="section").drop_duplicates()
    told = [
        f"{row['cpu']}, {row['cores']} cores, Python {row['python']}, torch {row['torch']}, "
        f"PyTorch Geometric {row['torch_geometric']}"
        for _, row in known.iterrows()
    ]
    if len(told) > 1:  # sections that were measured on different machines or versions
        groups = machine.groupby(list(known.columns), sort=False)["section"].agg(", ".join)
        told = [f"{text} ({sections})" for text, sections in zip(told, groups, strict=True)]
    return f"Measured on {'; '.join(told)}."


def _digits(value: float) -> str:
    return f"{value:#.2g}" if value < 10 else f"{value:.0f}"


def _spread(values: pd.Series, unit: str) -> str:
    low, middle, high = (f"{x:.1f}" for x in (values.min(), values.median(), values.max()))
    return f"{middle}{unit}; {low}–{high}"
