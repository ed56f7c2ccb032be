"""The README's numbers: its blocks between markers, written from the results in the working tree.

python -m deadgcn.paper.readme        (make readme; make figures ends with it)
"""

import json
import re
import sys
from pathlib import Path

import pandas as pd

from deadgcn.data.graphs import PROJECT
from deadgcn.experiments import files
from deadgcn.experiments.grid import METHODS
from deadgcn.paper import benchmark
from deadgcn.paper.benchmark import table

DEEP = 20  # graph convolutions from which the paper calls networks deep (its claim C3)
VERDICTS = {
    "Cora": "results/Cora",
    "Cora, more seeds": "results/profiles/full/Cora",
    "CiteSeer": "results/CiteSeer",
}


def finding(root: Path) -> str:
    """The result in one sentence, and in a second one what the sentence leaves out."""
    runs, chance = _runs(root, "Cora"), _fact(root, "Cora", "majority class among test nodes")
    gains = pd.read_csv(root / "results/Cora/paired_difference.csv")
    gains = gains.query("method == 'ReLU + pruning' and baseline == 'ReLU' and quantity == 'test_acc'")
    gains = gains[gains["num_layers"] >= DEEP]
    low, high = 100 * gains["difference"].min(), 100 * gains["difference"].max()
    depths = f"{gains['num_layers'].min()} to {gains['num_layers'].max()} layers on Cora"
    accurate = f"{low:.1f} to {high:.1f} percentage points more accurate on average"
    if low <= 0:
        accurate = f"{low:+.1f} to {high:+.1f} percentage points more accurate (so not everywhere)"
    means = runs.groupby(["num_layers", "method"])["test_acc"].mean().unstack()
    lost = means.index[(means[["ReLU", "ReLU + pruning"]] < chance).all(axis=1)]
    dead = _status(root, "Cora", "C1")
    published = "less dead, as published" if dead == "replicated" else f"less dead ({dead})"
    first = (
        f"**Reviving dead neurons makes deep ReLU graph convolutional networks {published}, and, at "
        f"{depths}, {accurate}; it does not make them work.**"
    )
    if not len(lost):
        return first.replace("; it does not make them work", "")
    learning = [str(depth) for depth in lost if means.loc[depth, "LeakyReLU"] > chance]
    leaky = f", while LeakyReLU networks of the same shape still beat that at {_listed(learning)}"
    return (
        f"{first} On Cora, from {lost.min()} layers on, they are on average below the accuracy of always "
        f"answering the largest class, with or without revival{leaky * bool(learning)}. The conclusion that "
        f"dying neurons and over-smoothing are directly linked: {_status(root, 'Cora', 'C10')} on Cora, "
        f"{_status(root, 'CiteSeer', 'C10')} on CiteSeer."
    )


def results(root: Path) -> str:
    """A row per result, with the command that makes it again."""
    rows = []
    for dataset, option in (("Cora", ""), ("CiteSeer", " DATASET=CiteSeer")):
        runs, command = _runs(root, dataset), f"make figures{option} NOTEBOOKS=notebooks/03_pruning.ipynb"
        for depth in sorted({10, 20, 30} & set(runs["num_layers"])):
            rows.append(_arms(f"test accuracy, {dataset}", runs, depth, "test_acc", command))
        for depth in sorted({10, 30} & set(runs["num_layers"])):
            rows.append(_arms(f"dead neurons, {dataset}", runs, depth, "dead_fraction", command))
    deep = pd.read_csv(root / "results/Cora/smoothing_runs.csv").query("adjacency == 'normalized'")
    command = "make figures NOTEBOOKS=notebooks/04_smoothing.ipynb"
    rows.append(_arms("dead neurons, Cora", deep, deep["num_layers"].max(), "dead_fraction", command))
    known = pd.read_csv(root / "results/profiles/kipf/Cora/recipe.csv").query("quantity == 'test_acc'")
    ours, theirs = (f"{row.mean:.3f} ± {row.std:.3f}" for row in known.head(2).itertuples())
    told = f"{ours} (PyG's own: {theirs})"
    rows.append(
        ["test accuracy by the standard recipe, Cora", 2, known["n"].max(), told, "", "", "`make profiles`"]
    )
    return table(["", "layers", "runs", *METHODS, "command"], rows)


def minutes(root: Path) -> str:
    """How long the two commands take."""
    taken = {what: f"{value / 60:.0f}" for what, value in _study(root)["seconds"].items()}
    tests = pd.read_csv(root / "results/bench/tests.csv")["seconds"].median() / 60
    return (
        f"On {_machine(root)}, `make figures` takes {taken['cold']} minutes the first time and "
        f"{taken['cached']} once its networks are in `.cache/`; `make test` takes {tests:.0f}."
    )


def notebooks(root: Path) -> str:
    """A row per notebook: its question, and the minutes that it takes when they run in their order."""
    taken = pd.read_csv(root / "results/bench/minutes.csv")
    taken = taken.pivot_table("minutes", "notebook", "what", aggfunc="median")
    rows = []
    for path in sorted((root / "notebooks").glob("[0-9]*.ipynb")):
        text = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"])
        question = re.search(r"\*\*Question\.\*\* (.*?\?)", text)
        links = f"[{path.stem}](notebooks/{path.name}) ([executed](report/notebooks/{path.name}))"
        asked = question[1] if question else "The report: all of it as one paper."
        rows.append([links, asked, *(f"{taken.loc[path.stem, what]:.1f}" for what in ("cold", "cached"))])
    return table(["notebook", "question", "minutes", "again"], rows)


def verdict(root: Path) -> str:
    """The status of every claim, on each graph."""
    tables = {
        name: pd.read_csv(root / path / "verdict.csv", index_col="claim") for name, path in VERDICTS.items()
    }
    rows = [
        [
            claim,
            statement,
            *(
                f"**{table.loc[claim, 'status']}**"
                if table.loc[claim, "status"] != "undecided"
                else "undecided"
                for table in tables.values()
            ),
        ]
        for claim, statement in tables["Cora"]["statement"].items()
    ]
    return table(["", "claim", *tables], rows)


def compute(root: Path) -> str:
    """Hardware, time and memory of whole studies."""
    study = _study(root)
    rows = [
        [label, *(f"{value:,.0f}" for value in (at["seconds"] / 60, at["runs_trained"]))]
        for what, label in (
            ("cold", "`make figures`, from nothing"),
            ("cached", "again, from finished runs"),
            ("one more depth", "with one more depth"),
        )
        for at in [study.loc[what]]
    ]
    for name, label in (
        ("full", "`make profiles`: more seeds, beyond `make figures`"),
        ("kipf", "the standard recipe"),
    ):
        kept = pd.read_csv(root / f"results/profiles/{name}/Cora/time.csv").iloc[0]
        rows.append([label, kept["minutes"], f"{kept['runs_trained']:,.0f}"])
    measured = f"Measured on {_machine(root)}, without a GPU; the largest process took "
    measured += f"{study['peak_mib'].max() / 2**10:.1f} GiB."
    return f"{measured}\n\n{table(['', 'minutes', 'networks trained'], rows)}"


def graphs(root: Path) -> str:
    """What the graphs are like, from the tables of 01_data."""
    facts = {
        name: pd.read_csv(root / "results" / name / "data_facts.csv", index_col="fact")["value"]
        for name in ("Cora", "CiteSeer")
    }
    shown = {
        "nodes": ",.0f",
        "undirected edges": ",.0f",
        "features (words)": ",.0f",
        "classes": ".0f",
        "isolated nodes": ".0f",
        "edge homophily": ".2f",
        "majority class among test nodes": ".3f",
    }
    rows = [[fact, *(format(values[fact], how) for values in facts.values())] for fact, how in shown.items()]
    return table(["", *facts], rows)


def bench(root: Path) -> str:
    """What the benchmark measured, in words."""
    return benchmark.render(benchmark.read_tables(root / "results" / "bench"))


BLOCKS = (finding, results, minutes, notebooks, verdict, compute, bench, graphs)


def put_into(text: str, name: str, block: str) -> str:
    """Return the text with the block between its markers; ValueError unless each is there once, in order."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"README must hold {begin} and, after it, {end}, once each, but it does not")
    before, rest = text.split(begin)
    return f"{before}{begin}\n{block}\n{end}{rest.split(end)[1]}"


def render(text: str, root: Path = PROJECT) -> str:
    """Return README's text with every block as the results below `root` have it."""
    for block in BLOCKS:
        text = put_into(text, block.__name__, block(root))
    return text


def main() -> int:
    """Write README anew; 1 and a sentence if a result that it quotes is missing."""
    path = PROJECT / "README.md"
    try:
        new = render(old := path.read_text(encoding="utf-8"), PROJECT)
    except (FileNotFoundError, ValueError) as error:
        print(f"README.md stays as it is: {error}", file=sys.stderr)
        return 1
    if new != old:
        files.write(path, new.encode())
    print(f"README.md {'says' if new == old else 'now says'} what the results say")
    return 0


def _runs(root: Path, dataset: str) -> pd.DataFrame:
    return pd.read_csv(root / "results" / dataset / "pruning_runs.csv")


def _fact(root: Path, dataset: str, name: str) -> float:
    return pd.read_csv(root / "results" / dataset / "data_facts.csv", index_col="fact").loc[name, "value"]


def _status(root: Path, name: str, claim: str) -> str:
    return pd.read_csv(root / VERDICTS[name] / "verdict.csv", index_col="claim").loc[claim, "status"]


def _study(root: Path) -> pd.DataFrame:
    """What was measured of whole runs: from nothing, again, and with one more depth."""
    return pd.read_csv(root / "results/bench/study.csv").groupby("what").median(numeric_only=True)


def _machine(root: Path) -> str:
    machine = pd.read_csv(root / "results/bench/machine.csv", index_col="section").loc["study"]
    return f"{machine['cores']} cores of a machine with {machine['cpu']}"


def _arms(what: str, runs: pd.DataFrame, depth: int, column: str, command: str) -> list:
    """A row of the table of results: mean ± standard deviation over the runs of each arm."""
    at = runs[runs["num_layers"] == depth].groupby("method")[column]
    cells = [f"{at.mean()[method]:.3f} ± {at.std()[method]:.3f}" for method in METHODS]
    return [what, depth, at.count().max(), *cells, f"`{command}`"]


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), *words[-1:]]) if len(words) > 1 else "".join(words)


if __name__ == "__main__":
    sys.exit(main())
