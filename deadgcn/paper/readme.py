"""README's tables, written from the results: `python -m deadgcn.paper.readme`, or `make readme`."""

import json
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from deadgcn.config import PROJECT

GRAPHS = ("Cora", "CiteSeer")
VERDICTS = {"Cora": "Cora", "Cora, more seeds": "profiles/full/Cora", "CiteSeer": "CiteSeer"}


def results(root: Path) -> str:
    """Test accuracy and dead fraction of the best models, mean ± standard deviation over runs."""
    rows = []
    for graph in GRAPHS:
        runs = pd.read_csv(root / "results" / graph / "pruning_runs.csv").groupby(["num_layers", "method"])
        mean, std = runs.mean(numeric_only=True), runs.std(numeric_only=True)
        for depth in (10, 20, 30):
            cells = [("test_acc", "ReLU"), ("test_acc", "ReLU + pruning"), ("test_acc", "LeakyReLU")]
            cells += [("dead_fraction", "ReLU"), ("dead_fraction", "ReLU + pruning")]
            numbers = [(mean.loc[(depth, arm), name], std.loc[(depth, arm), name]) for name, arm in cells]
            rows.append([graph, depth, *(f"{center:.3f} ± {spread:.3f}" for center, spread in numbers)])
    accuracy = ["accuracy: ReLU", "ReLU + pruning", "LeakyReLU"]
    return table(["graph", "layers", *accuracy, "dead: ReLU", "ReLU + pruning"], rows)


def notebooks(root: Path) -> str:
    """One row per notebook: its question, and the minutes of its first run after those before it."""
    minutes = pd.read_csv(root / "results" / "bench" / "minutes.csv").query("what == 'cold'")
    minutes = minutes.groupby("notebook")["minutes"].median()
    rows = []
    for path in sorted((root / "notebooks").glob("[0-9]*.ipynb")):
        first = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"])
        question = re.search(r"\*\*Question\.\*\* (.*?\?)", first, flags=re.S)[1]
        executed = "report.html" if path.stem == "09_report" else f"notebooks/{path.name}"
        links = f"[{path.stem}](notebooks/{path.name}) ([executed](report/{executed}))"
        rows.append([links, question, f"{minutes[path.stem]:.1f}" if path.stem in minutes else "–"])
    return table(["notebook", "question", "minutes"], rows)


def verdict(root: Path) -> str:
    """One row per claim: its status on each graph."""
    paths = {name: root / "results" / folder / "verdict.csv" for name, folder in VERDICTS.items()}
    tables = {name: pd.read_csv(path, index_col="claim") for name, path in paths.items()}
    claims = tables["Cora"]["statement"].items()
    rows = [[key, text, *(each.loc[key, "status"] for each in tables.values())] for key, text in claims]
    return table(["", "claim", *tables], rows)


def table(head: Iterable, rows: Iterable[Iterable]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---" for _ in head], *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def fill(text: str, blocks: dict[str, str]) -> str:
    """Return the text with each block in place of what stands between its markers.

    Raises ValueError if a pair of markers is missing or there twice.

    >>> fill("<!-- a -->old<!-- /a -->", {"a": "new"}).split()
    ['<!--', 'a', '-->', 'new', '<!--', '/a', '-->']
    """
    for name, block in blocks.items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        parts = re.split(f"({begin}|{end})", text)
        if parts[1::2] != [begin, end]:
            raise ValueError(f"the text must hold {begin} and then {end}, once each")
        text = f"{parts[0]}{begin}\n{block}\n{end}{parts[4]}"
    return text


def render(text: str, root: Path = PROJECT) -> str:
    """Return README's text with its tables as the results below `root` have them."""
    return fill(text, {block.__name__: block(root) for block in (results, notebooks, verdict)})


if __name__ == "__main__":
    readme = PROJECT / "README.md"
    try:
        new = render(readme.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f"error: README.md is unchanged: {error}")
    part = readme.with_suffix(".part")
    part.write_text(new, encoding="utf-8")
    os.replace(part, readme)
