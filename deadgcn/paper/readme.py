"""README's tables, written from the results: `python -m deadgcn.paper.readme`, or `make readme`."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from deadgcn.config import PROJECT

GRAPHS = ["Cora", "CiteSeer"]
VERDICTS = {"Cora": "Cora", "Cora, more seeds": "profiles/full/Cora", "CiteSeer": "CiteSeer"}
CELLS = [("test_acc", "ReLU"), ("test_acc", "ReLU + pruning"), ("test_acc", "LeakyReLU")]
CELLS += [("dead_fraction", "ReLU"), ("dead_fraction", "ReLU + pruning")]


def results(root: Path) -> str:
    """Test accuracy and dead fraction of the best models, mean ± standard deviation over runs."""
    runs = pd.concat([pd.read_csv(root / "results" / graph / "pruning_runs.csv") for graph in GRAPHS])
    groups = runs.query("num_layers in [10, 20, 30]").groupby(["dataset", "num_layers", "method"])
    cells = groups[["test_acc", "dead_fraction"]].agg(lambda each: f"{each.mean():.3f} ± {each.std():.3f}")
    rows = cells.unstack()[CELLS].loc[GRAPHS].reset_index()
    head = ["accuracy: ReLU", "ReLU + pruning", "LeakyReLU", "dead: ReLU", "ReLU + pruning"]
    return table(["graph", "layers", *head], rows.itertuples(index=False))


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
    tables = {
        name: pd.read_csv(root / "results" / folder / "verdict.csv", index_col="claim")
        for name, folder in VERDICTS.items()
    }
    claims = tables["Cora"]["statement"].items()
    rows = [[key, text, *(each.loc[key, "status"] for each in tables.values())] for key, text in claims]
    return table(["", "claim", *tables], rows)


def table(head: Iterable, rows: Iterable[Iterable]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---" for _ in head], *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def fill(text: str, blocks: dict[str, str]) -> str:
    """Replace what stands between each block's markers. Raises ValueError unless they are there once.

    >>> fill("<!-- a -->old<!-- /a -->", {"a": "new"}).split()
    ['<!--', 'a', '-->', 'new', '<!--', '/a', '-->']
    """
    for name, block in blocks.items():
        pattern = rf"(<!-- {name} -->).*?(<!-- /{name} -->)"
        text, count = re.subn(pattern, rf"\1\n{block}\n\2", text, flags=re.S)
        if count != 1:
            raise ValueError(f"the text must hold <!-- {name} --> and then <!-- /{name} -->, once each")
    return text


def render(text: str, root: Path = PROJECT) -> str:
    """Return README's text with its tables as the results below `root` have them."""
    return fill(text, {"results": results(root), "notebooks": notebooks(root), "verdict": verdict(root)})


if __name__ == "__main__":
    readme = PROJECT / "README.md"
    readme.write_text(render(readme.read_text(encoding="utf-8")), encoding="utf-8")
