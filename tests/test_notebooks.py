"""The notebooks: their form, and that all of them run on tiny settings."""

import ast
import contextlib
import io
import re
import statistics
from pathlib import Path

import execute
import nbformat
import pandas as pd
import pytest
from parameters import read_defaults
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
BEFORE_REPORT = [path for path in NOTEBOOKS if path.stem != execute.REPORT]
EXECUTED = sorted((ROOT / "report" / "notebooks").glob("*.ipynb"))
TABLES = """data_facts recipe recipe_gaps distribution table1 paired_difference
smoothing_means smoothing_ratios weight_decay weight_decay_stripping erasure interventions silenced
graph_dose answers alive search
comparisons verdict verdict_cells power""".split()
RUNS = {"depth": 2 * 3 * 2, "pruning": (3 * 3 + 2) * 2, "smoothing": 3 * 2, "recipe": 3 * 2}
RUNS |= {"weight_decay": 12 * 3 * 2, "interventions": (5 + 7 + 12 + 5 + 3) * 2, "silenced": 10 * 2}
RUNS |= {"initialization": 16 * 2, "alive": (1 + 3) * 3 * 2}

settings = YAML(typ="safe", pure=True).load
each_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)


def cells(notebook, kind="code"):
    return [cell for cell in nbformat.read(notebook, 4).cells if cell.cell_type == kind]


def nodes(notebook, kind):
    """All nodes of one kind in the syntax trees of a notebook's code cells."""
    trees = [ast.parse(cell.source) for cell in cells(notebook)]
    return [node for tree in trees for node in ast.walk(tree) if isinstance(node, kind)]


def lengths(notebook):
    return [sum(bool(line.strip()) for line in cell.source.split("\n")) for cell in cells(notebook)]


def calls(notebook, name):
    return [node for node in nodes(notebook, ast.Call) if ast.unparse(node.func) == name]


FIGURES = [call.args[1].value for notebook in NOTEBOOKS for call in calls(notebook, "dg.publish")]


@each_notebook
def test_sources_hold_no_outputs_and_no_random_ids(notebook):
    assert all(not cell.outputs and cell.execution_count is None for cell in cells(notebook))
    ids = [cell.id for kind in ("code", "markdown") for cell in cells(notebook, kind)]
    assert len(set(ids)) == len(ids) and not any(re.fullmatch(r"[0-9a-f-]{8,}", name) for name in ids)


@each_notebook
def test_parameters_are_those_of_params_and_explained(notebook):
    defaults = read_defaults(notebook)
    common, own = (settings(ROOT / "params" / f"{stem}.yaml") for stem in ("common", notebook.stem))
    assert defaults == {name: value for name, value in common.items() if name in defaults} | own
    (cell,) = [cell for cell in cells(notebook) if "parameters" in cell.metadata.get("tags", ())]
    assert all("  # " in line for line in cell.source.split("\n"))


def test_every_shared_parameter_is_known_to_some_notebook():
    known = {name for notebook in NOTEBOOKS for name in read_defaults(notebook)}
    for path in (ROOT / "params" / "common.yaml", *(ROOT / "params" / "profiles").glob("*.yaml")):
        assert settings(path).keys() <= known


@each_notebook
def test_code_is_short_defines_nothing_and_imports_only_the_face(notebook):
    _, *others = lengths(notebook)  # the first are the parameters
    assert statistics.median(others) <= 6 and max(others) <= 16
    assert not nodes(notebook, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Try))
    assert not any((node.module or "").startswith("deadgcn") for node in nodes(notebook, ast.ImportFrom))
    names = {(alias.name, alias.asname) for node in nodes(notebook, ast.Import) for alias in node.names}
    assert {name for name in names if name[0].startswith("deadgcn")} <= {("deadgcn", "dg")}


def test_all_notebooks_together_are_short_and_a_figure_has_one_source():
    assert sum(sum(lengths(notebook)) for notebook in NOTEBOOKS) <= 1_100
    assert len(set(FIGURES)) == len(FIGURES)


@pytest.mark.parametrize("notebook", BEFORE_REPORT, ids=lambda path: path.stem)
def test_code_writes_no_prose(notebook):
    assert not {node.id for node in nodes(notebook, ast.Name)} & {"Markdown", "print"}
    for text in nodes(notebook, ast.JoinedStr):
        fixed = "".join(part.value for part in text.values if isinstance(part, ast.Constant))
        assert not re.search(r"[.;:] ?$|[.;] ", fixed)


@each_notebook
def test_the_first_cell_says_what_it_reads_and_writes(notebook):
    first = cells(notebook, "markdown")[0].source.lower()
    assert all(f"| {word} |" in first for word in ("reads", "writes", "takes"))


@pytest.mark.parametrize("notebook", [*NOTEBOOKS, *EXECUTED], ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(notebook):
    text = "".join(cell.source for cell in nbformat.read(notebook, 4).cells)
    for target in re.findall(r"\]\(([\w./-]*[/.][\w./-]+)\)", text):
        assert (notebook.parent / target).exists(), target


def evidence():
    """Everything that only the default run may write."""
    paths = [p for kind in ("figures", "results", "report") for p in (ROOT / kind).rglob("*") if p.is_file()]
    return {path: path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """Folder, data set and stderr of one run of all notebooks with the smoke profile."""
    folder, before = tmp_path_factory.mktemp("smoke"), evidence()
    profile = ROOT / "params" / "profiles" / "smoke.yaml"
    with contextlib.redirect_stderr(io.StringIO()) as told:
        status = execute.main([*map(str, NOTEBOOKS), "-f", str(profile), "--output-dir", str(folder)])
    assert status == 0, told.getvalue()
    assert evidence() == before
    return folder, next((folder / "figures").iterdir()).name, told.getvalue()


def test_smoke_all_figures_and_tables_are_there(smoke):
    drawn, results = (smoke[0] / kind / smoke[1] for kind in ("figures", "results"))
    assert {p.name for p in drawn.iterdir()} == {f"{f}.{end}" for f in FIGURES for end in ("png", "csv")}
    tables = [*drawn.glob("*.csv"), *(results / f"{name}.csv" for name in TABLES)]
    assert all(len(pd.read_csv(path)) for path in tables)
    assert {name: len(pd.read_csv(results / f"{name}_runs.csv")) for name in RUNS} == RUNS
    assert list((results / "checkpoints").glob("*.pth"))


def test_smoke_nothing_failed_warned_or_named_a_path_and_each_figure_has_an_alternative_text(smoke):
    assert "Warning" not in smoke[2] and "run/s" in smoke[2]
    executed = sorted(smoke[0].glob("report/**/*.ipynb"))
    assert [path.stem for path in executed] == [path.stem for path in BEFORE_REPORT]
    for path in executed:
        outputs = [output for cell in cells(path) for output in cell.outputs]
        assert not [o for o in outputs if o.output_type == "error"]
        text = path.read_text(encoding="utf-8")
        assert str(ROOT) not in text and "application/vnd.jupyter.widget" not in text  # their ids are random
        pictures = [output for output in outputs if "image/png" in output.get("data", {})]
        assert all(len(output.metadata["image/png"]["alt"]) > 20 for output in pictures)
        assert len(pictures) == len(calls(path, "dg.publish")) + len(calls(path, "dg.explore"))


def test_smoke_the_report_shows_pictures_and_no_code(smoke):
    (page,) = smoke[0].glob("report/**/report.html")
    text = page.read_text(encoding="utf-8")
    assert text.count("<img ") == text.count('alt="') > 5 and "read_csv" not in text
