"""The tables of README.md, written from the results: `make readme`."""

import json
import re
import sys
from collections.abc import Iterable

import pandas as pd
from outputs import RunError, check_tables

from deadgcn.config import PROJECT

RESULTS = PROJECT / "results"
GRAPHS = ["Cora", "CiteSeer"]
CELLS = [("test_acc", "ReLU"), ("test_acc", "ReLU + pruning"), ("test_acc", "LeakyReLU")]
CELLS += [("dead_fraction", "ReLU"), ("dead_fraction", "ReLU + pruning")]


def results() -> str:
    """Test accuracy and dead fraction of the best models, mean ± standard deviation over runs."""
    runs = pd.concat(pd.read_csv(RESULTS / graph / "pruning_runs.csv") for graph in GRAPHS)
    groups = runs.query("num_layers in [10, 20, 30]").groupby(["dataset", "num_layers", "method"])
    cells = groups[["test_acc", "dead_fraction"]].agg(
        lambda each: f"{round(each.mean(), 9):.3f} ± {each.std():.3f}"
    )
    rows = cells.unstack()[CELLS].loc[GRAPHS].reset_index()
    head = ["accuracy: ReLU", "ReLU + pruning", "LeakyReLU", "dead: ReLU", "ReLU + pruning"]
    return table(["graph", "layers", *head], rows.itertuples(index=False))


def notebooks() -> str:
    """One row per notebook: its question, and its minutes in the first run, in which two run at a time."""
    timed = pd.read_csv(RESULTS / "bench" / "minutes.csv").query("what == 'cold'")
    minutes = timed.groupby("notebook")["minutes"].median().map(lambda m: f"{m:.1f}" if m else "< 0.1")
    rows = []
    for path in sorted(PROJECT.glob("notebooks/[0-9]*.ipynb")):
        opening = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"])
        question = re.search(r"\*\*Question\.\*\* (.*?\?)", opening, flags=re.S)[1]
        executed = "report.html" if path.stem == "11_report" else f"notebooks/{path.name}"
        links = f"[{path.stem}](notebooks/{path.name}) ([executed](report/{executed}))"
        rows.append([links, question, minutes.get(path.stem, "–")])
    return table(["notebook", "question", "minutes, two at a time"], rows)


def study() -> str:
    """Minutes of `make figures`: as measured, and on more cores by a model.

    In the model, networks train on all cores, and then two notebooks at a time do all the rest.
    """
    names = "study", "timeline", "machine"
    runs, busy, machines = (pd.read_csv(RESULTS / "bench" / f"{name}.csv") for name in names)
    cores = machines.set_index("section").loc["study", "cores"]
    cold, cached = runs.set_index("what").loc[["cold", "cached"]].itertuples()
    busy = busy.query("code == 'now'")
    seconds = busy["second"].diff().fillna(busy["second"])
    training, *others = (seconds @ busy[kind] / 60 for kind in busy.columns.drop(["second", "code"]))
    model = {f"{more} (model)": f"{training / more + sum(others) / 2:.0f}" for more in (8, 16)}
    rows = [[f"from nothing, {cold.runs_trained:,} networks", f"{cold.seconds / 60:.0f}", *model.values()]]
    rows += [["again", f"{cached.seconds / 60:.1f}", "–", "–"]]
    return table(["`make figures`", f"{cores} cores", *model], rows)


def verdict() -> str:
    """One row per claim: its status on each graph."""
    rows = pd.read_csv(RESULTS / "Cora" / "verdict.csv", index_col="claim")[["statement"]]
    for graph in GRAPHS:
        rows[graph] = pd.read_csv(RESULTS / graph / "verdict.csv", index_col="claim")["status"]
    return table(["", "claim", *GRAPHS], rows.itertuples())


def table(head: Iterable, rows: Iterable[Iterable]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---" for _ in head], *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def fill(text: str, blocks: dict[str, str]) -> str:
    """Replace what stands between each block's markers. Raises ValueError unless they are there once."""
    for name, block in blocks.items():
        markers = rf"(<!-- {name} -->).*?(<!-- /{name} -->)"
        text, count = re.subn(markers, rf"\1\n{block}\n\2", text, flags=re.S)
        if count != 1:
            raise ValueError(f"<!-- {name} --> … <!-- /{name} --> must be there once, but is {count} times")
    return text


def render(text: str) -> str:
    """Return README's text with its tables as the results have them. Raises RunError if those were edited."""
    check_tables(PROJECT)
    return fill(text, {name: show() for name, show in BLOCKS.items()})


BLOCKS = {each.__name__: each for each in (results, study, notebooks, verdict)}

if __name__ == "__main__":
    README = PROJECT / "README.md"
    try:
        text = render(README.read_text(encoding="utf-8"))
    except RunError as error:
        sys.exit(f"error: {error}")
    README.write_text(text, encoding="utf-8")
