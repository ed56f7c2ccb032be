"""The notebooks: their form, and that all of them run on tiny settings."""

import ast
import hashlib
import json
import re
import statistics
from pathlib import Path

import pandas as pd
import pytest
from ruamel.yaml import YAML

from deadgcn.paper import execute
from deadgcn.paper.parameters import read_defaults

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
EXECUTED = sorted((ROOT / "report").rglob("*.ipynb"))
TABLES = ("data_facts", "recipe", "recipe_gaps", "distribution", "table1", "paired_difference", "improvement")
TABLES += ("pruning_smoothing", "smoothing_comparisons", "verdict", "verdict_cells", "correlation", "power")
RUNS = {"depth": 2 * 3 * 2, "pruning": 4 * 3 * 2, "smoothing": 6 * 2, "recipe": 3 * 2}

each_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)


def cells(notebook, kind):
    every = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [cell | {"source": "".join(cell["source"])} for cell in every if cell["cell_type"] == kind]


def settings(path):
    return YAML(typ="safe", pure=True).load(path)


def nodes(notebook, kind):
    """All nodes of one kind in the syntax trees of a notebook's code cells; magics are not parsed."""
    trees = [ast.parse(cell["source"]) for cell in cells(notebook, "code")]
    return [node for tree in trees for node in ast.walk(tree) if isinstance(node, kind)]


def lengths(notebook):
    return [sum(map(bool, map(str.strip, cell["source"].split("\n")))) for cell in cells(notebook, "code")]


def calls(notebook, name):
    return [node for node in nodes(notebook, ast.Call) if ast.unparse(node.func) == name]


def published(notebook):
    """The names of the figures that a notebook publishes."""
    return [call.args[1].value for call in calls(notebook, "dg.publish")]


@each_notebook
def test_sources_hold_no_outputs(notebook):
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells(notebook, "code"))


@each_notebook
def test_parameters_are_those_of_params_and_explained(notebook):
    defaults = read_defaults(notebook)
    common = settings(ROOT / "params" / "common.yaml")
    own = settings(ROOT / "params" / f"{notebook.stem}.yaml")
    assert defaults == {name: value for name, value in common.items() if name in defaults} | own
    (cell,) = [c for c in cells(notebook, "code") if "parameters" in c["metadata"].get("tags", ())]
    assert all("  # " in line for line in cell["source"].split("\n"))


def test_every_shared_parameter_is_known_to_some_notebook():
    known = {name for notebook in NOTEBOOKS for name in read_defaults(notebook)}
    for path in (ROOT / "params" / "common.yaml", *(ROOT / "params" / "profiles").glob("*.yaml")):
        assert settings(path).keys() <= known


@each_notebook
def test_cells_are_short_and_define_nothing(notebook):
    assert statistics.median(lengths(notebook)) <= 6 and max(lengths(notebook)) <= 16
    assert not nodes(notebook, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Try))


def test_all_notebooks_together_are_short():
    assert sum(sum(lengths(notebook)) for notebook in NOTEBOOKS) <= 1_100


@each_notebook
def test_the_package_is_imported_by_its_face(notebook):
    assert not any((node.module or "").startswith("deadgcn") for node in nodes(notebook, ast.ImportFrom))
    names = [alias for node in nodes(notebook, ast.Import) for alias in node.names]
    assert {(a.name, a.asname) for a in names if a.name.startswith("deadgcn")} <= {("deadgcn", "dg")}


@each_notebook
def test_code_writes_no_prose(notebook):
    if notebook.stem == execute.REPORT:  # which fills numbers into its text
        return
    assert not {node.id for node in nodes(notebook, ast.Name)} & {"Markdown", "print"}
    for text in nodes(notebook, ast.JoinedStr):
        assert not re.search(
            r"[.;:] ?$|[.;] ",
            "".join(p.value for p in text.values if hasattr(p, "value") and isinstance(p.value, str)),
        )


@each_notebook
def test_ids_of_cells_are_not_random(notebook):
    ids = [cell["id"] for kind in ("code", "markdown") for cell in cells(notebook, kind)]
    assert len(set(ids)) == len(ids) and not any(re.fullmatch(r"[0-9a-f-]{8,}", name) for name in ids)


@each_notebook
def test_the_first_cell_says_what_it_reads_and_writes(notebook):
    first = cells(notebook, "markdown")[0]["source"].lower()
    assert all(f"| {word} |" in first for word in ("reads", "writes", "takes"))


@pytest.mark.parametrize("notebook", [*NOTEBOOKS, *EXECUTED], ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(notebook):
    text = "".join(cell["source"] for kind in ("markdown", "code") for cell in cells(notebook, kind))
    for target in re.findall(r"\]\(([\w./-]*[/.][\w./-]+)\)", text):
        assert (notebook.parent / target).exists(), target


def test_each_notebook_names_the_next():
    texts = ["".join(cell["source"] for cell in cells(path, "markdown")) for path in NOTEBOOKS]
    named = [re.findall(r"Next: \[\d\d, [^]]+\]\((.+?)\)", text) for text in texts]
    assert named == [*([path.name] for path in NOTEBOOKS[1:]), []]


def test_a_figure_has_one_source():
    names = [name for notebook in NOTEBOOKS for name in published(notebook)]
    assert len(set(names)) == len(names)


def evidence():
    """Digests of everything that only the default run may write."""
    paths = [p for kind in ("figures", "results", "report") for p in (ROOT / kind).rglob("*") if p.is_file()]
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """Folder and data set of one run of all notebooks with the smoke profile, as `make smoke` does."""
    folder, before = tmp_path_factory.mktemp("smoke"), evidence()
    profile = ROOT / "params" / "profiles" / "smoke.yaml"
    assert execute.main([*map(str, NOTEBOOKS), "-f", str(profile), "--output-dir", str(folder)]) == 0
    assert evidence() == before
    (figures,) = (folder / "figures").iterdir()
    return folder, figures.name


def executed(folder):
    return {path.stem: path for path in folder.glob("report/**/*.ipynb")}


def test_smoke_all_figures_come_with_their_numbers(smoke):
    figures = smoke[0] / "figures" / smoke[1]
    names = {name for notebook in NOTEBOOKS for name in published(notebook)}
    assert {path.name for path in figures.iterdir()} == {
        f"{n}.{kind}" for n in names for kind in ("png", "csv")
    }
    assert all(len(pd.read_csv(path)) for path in figures.glob("*.csv"))


def test_smoke_all_tables_are_there(smoke):
    results = smoke[0] / "results" / smoke[1]
    for prefix, runs in RUNS.items():
        assert len(pd.read_csv(results / f"{prefix}_runs.csv")) == runs
    assert all(len(pd.read_csv(results / f"{name}.csv")) for name in TABLES)
    assert list((results / "checkpoints").glob("*.pth"))


def test_smoke_nothing_failed_warned_or_named_a_path(smoke):
    folder, _ = smoke
    assert list(executed(folder)) == [path.stem for path in NOTEBOOKS if path.stem != execute.REPORT]
    for path in executed(folder).values():
        outputs = [output for cell in cells(path, "code") for output in cell["outputs"]]
        assert not [o for o in outputs if o["output_type"] == "error" or o.get("name") == "stderr"]
        text = path.read_text(encoding="utf-8")
        assert str(ROOT) not in text and str(folder) not in text
        assert "application/vnd.jupyter.widget" not in text  # the ids of controls are random


def test_smoke_each_figure_is_shown_once_with_an_alternative_text(smoke):
    for path in executed(smoke[0]).values():
        outputs = [output for cell in cells(path, "code") for output in cell["outputs"]]
        pictures = [output for output in outputs if "image/png" in output.get("data", {})]
        assert all(len(output["metadata"]["image/png"]["alt"]) > 20 for output in pictures)
        assert len(pictures) == len(calls(path, "dg.publish")) + len(calls(path, "dg.explore"))


def test_smoke_the_report_shows_pictures_and_no_code(smoke):
    (page,) = smoke[0].glob("report/**/report.html")
    text = page.read_text(encoding="utf-8")
    assert text.count("<img ") == text.count('alt="') > 5 and "read_csv" not in text
