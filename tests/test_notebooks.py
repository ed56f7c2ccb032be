"""The notebooks: how they are written, and that they run from end to end on tiny settings."""

import ast
import json
import re
from pathlib import Path

import pandas as pd
import pytest
import yaml

from deadgcn.experiments import files
from deadgcn.paper import execute
from deadgcn.paper.parameters import load_settings, read_defaults

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
STUDIES = ["01_data", "02_depth", "03_pruning", "04_smoothing", "05_ablations", "06_recipe"]
STUDIES += ["07_change_it", "08_verdict", "09_report"]
FIGURES = {
    "01_data": ["classes", "degrees", "propagation"],
    "02_depth": [
        *("accuracy_vs_depth", "training_curves", "dead_vs_depth", "dead_by_layer"),
        *("accuracy_distribution", "published_depth"),
    ],
    "03_pruning": ["revival", "activations", "accuracy", "dead_and_zero", "paired_difference"],
    "04_smoothing": [
        *("smoothing_trained", "smoothing_init", "retold", "retold_without_graph"),
        *("smoothing_ratios", "death_smoothing_gradient", "projections"),
    ],
    "05_ablations": ["ablation_walk", "ablation_options"],
    "06_recipe": ["recipe"],
    "07_change_it": ["own_arms"],
    "08_verdict": ["verdict", "correlation"],
}

each_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)


def cells_of(notebook, kind=None):
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if kind in (None, cell["cell_type"])]


def test_all_are_there():
    assert [path.stem for path in NOTEBOOKS] == STUDIES


@each_notebook
def test_sources_carry_no_outputs(notebook):
    assert all(not c["outputs"] and c["execution_count"] is None for c in cells_of(notebook, "code"))


@each_notebook
def test_parameters_are_those_of_params(notebook):
    defaults = read_defaults(notebook)
    common = load_settings(ROOT / "params" / "common.yaml", "common").values
    own = load_settings(ROOT / "params" / f"{notebook.stem}.yaml", notebook.stem).values
    assert defaults == {name: value for name, value in common.items() if name in defaults} | own


@each_notebook
def test_each_parameter_is_explained(notebook):
    (cell,) = [c for c in cells_of(notebook, "code") if "parameters" in c["metadata"].get("tags", ())]
    assert all("  # " in line for line in cell["source"])


def test_every_shared_parameter_is_known_to_some_notebook():
    known = {name for notebook in NOTEBOOKS for name in read_defaults(notebook)}
    for path in (ROOT / "params" / "common.yaml", *(ROOT / "params" / "profiles").glob("*.yaml")):
        assert set(yaml.safe_load(path.read_text())) <= known


@each_notebook
def test_cells_are_short_and_define_nothing(notebook):
    assert 20 <= len(cells_of(notebook)) <= 35
    for cell in cells_of(notebook, "code"):
        source = "".join(cell["source"])
        assert len(cell["source"]) <= 20
        kinds = {type(node) for node in ast.walk(ast.parse(source))}  # also refuses shell and magic lines
        assert not kinds & {ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Try}


@each_notebook
def test_it_says_what_it_reads_and_writes(notebook):
    first = "".join(cells_of(notebook)[0]["source"]).lower()
    assert all(f"{word} " in first for word in ("reads", "writes", "takes"))


@pytest.mark.parametrize(
    "notebook",
    [*NOTEBOOKS, *sorted((ROOT / "report").rglob("*.ipynb"))],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_links_lead_somewhere(notebook):
    text = "".join("".join(cell["source"]) for cell in cells_of(notebook))
    for target in re.findall(r"\]\(([\w./-]*[/.][\w./-]+)\)", text):  # also those that code puts together
        assert (notebook.parent / target).exists(), target


def test_each_notebook_names_the_next():
    texts = ["".join("".join(cell["source"]) for cell in cells_of(path, "markdown")) for path in NOTEBOOKS]
    named = [re.findall(r"Next: \[\d\d, [^]]+\]\((.+?)\)", text) for text in texts]
    assert named == [*([path.name] for path in NOTEBOOKS[1:]), []]


def evidence():
    """Digests of everything that only the default run may write."""
    paths = [p for kind in ("figures", "results", "report") for p in (ROOT / kind).rglob("*") if p.is_file()]
    return {path: files.sha256(path) for path in paths}


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """Every notebook run once with the smoke profile, as `make smoke` does."""
    folder, before = tmp_path_factory.mktemp("smoke"), evidence()
    profile = ROOT / "params" / "profiles" / "smoke.yaml"
    arguments = [*map(str, NOTEBOOKS), "-f", str(profile), "--output-dir", str(folder), "--force"]
    assert execute.main(arguments) == 0
    assert evidence() == before
    (figures,) = (folder / "figures").iterdir()
    return folder, figures.name


@pytest.mark.parametrize("study", FIGURES)
def test_figures_come_with_their_numbers(smoke, study):
    folder, dataset = smoke
    for name in FIGURES[study]:
        for kind in ("png", "pdf", "csv"):
            assert (folder / "figures" / dataset / f"{name}.{kind}").stat().st_size > 0
        assert len(pd.read_csv(folder / "figures" / dataset / f"{name}.csv"))


def test_no_figure_is_made_that_is_not_listed(smoke):
    folder, dataset = smoke
    made = {path.stem for path in (folder / "figures" / dataset).iterdir()}
    assert made == {name for names in FIGURES.values() for name in names}


def test_results_are_complete(smoke):
    folder, dataset = smoke
    results = folder / "results" / dataset
    for prefix, runs in (("depth", 2 * 3 * 2), ("pruning", 4 * 3 * 2), ("smoothing", 6 * 2)):
        assert len(pd.read_csv(results / f"{prefix}_runs.csv")) == runs
        assert len(pd.read_csv(results / f"{prefix}_epochs.csv.gz")) == 8 * runs
        assert len(json.loads((results / f"{prefix}_metrics.json").read_text())["runs"]) == runs
    assert (
        len(list((results / "checkpoints").glob("*.pth"))) == 7
    )  # six of 128 layers' stand-ins, one example


def test_executed_notebooks_have_no_errors_no_warnings_and_no_paths(smoke):
    folder, _ = smoke
    executed = sorted(folder.glob("report/**/*.ipynb"))
    assert [path.stem for path in executed] == STUDIES
    for path in executed:
        outputs = [output for cell in cells_of(path, "code") for output in cell["outputs"]]
        assert [o for o in outputs if o["output_type"] == "error" or o.get("name") == "stderr"] == []
        assert str(ROOT) not in path.read_text() and str(folder) not in path.read_text()
        assert "application/vnd.jupyter.widget" not in path.read_text()  # ids of controls are random


def test_every_picture_has_an_alternative_text(smoke):
    folder, _ = smoke
    for path in folder.glob("report/**/*.ipynb"):
        for cell in cells_of(path, "code"):
            pictures = [o for o in cell["outputs"] if "image/png" in o.get("data", {})]
            assert all(len(o["metadata"]["image/png"]["alt"]) > 20 for o in pictures)


def test_the_report_shows_all_figures_and_no_code(smoke):
    folder, _ = smoke
    (page,) = folder.glob("report/**/report.html")
    text = page.read_text()
    assert text.count("<img ") == text.count('alt="') == 14
    assert "read_csv" not in text and "Abstract" in text


@each_notebook
def test_every_figure_has_a_title_that_names_the_data_set(notebook):
    for cell in cells_of(notebook, "code"):
        tree = ast.parse("".join(cell["source"]))
        calls = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Call)]
        if any(call.startswith("save_figure(") for call in calls):
            titles = [
                call for call in calls if re.match(r"(add_title|(fig|ax)\.(set_title|suptitle|set))\(", call)
            ]
            assert any("{dataset}" in title for title in titles), calls
