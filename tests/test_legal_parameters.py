"""What the check of parameters accepts every notebook runs: drawn settings of every kind, on tiny networks.

A notebook's cells run in this process, because a kernel takes longer to start than they take.
"""

import ast
import contextlib
import json

import execute
import nbformat
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from parameters import read_defaults
from test_notebooks import NOTEBOOKS, calls
from torch_geometric.data import Data

from deadgcn.config import ACTS
from deadgcn.data import graphs
from deadgcn.experiments import parallel

pytestmark = [pytest.mark.faults, pytest.mark.filterwarnings("ignore:Glyph .* missing from font")]
TINY = {"max_examples": 2, "derandomize": True, "database": None, "deadline": None}
TINY |= {"suppress_health_check": list(HealthCheck), "phases": [Phase.generate]}  # shrinking takes minutes
READERS = ("10_verdict", "11_report")
PARAMETERS = {path.stem: read_defaults(path) for path in NOTEBOOKS}


def nodes(classes, number=30, **other):
    """A graph whose first nodes form a path and whose last are isolated."""
    path = torch.arange(number - 4)
    x = torch.rand(number, 5, generator=torch.Generator().manual_seed(0))
    graph = Data(x=x, y=torch.arange(number) % classes, edge_index=torch.stack([path[:-1], path[1:]]))
    return Data(**graph.to_dict() | other)


def only(*chosen):
    return torch.arange(30).unsqueeze(0).eq(torch.tensor(chosen).unsqueeze(1)).any(0)


GRAPHS = {
    "plain": nodes(2),
    "zeros": nodes(2, x=torch.zeros(30, 3)),
    "ones": nodes(3, x=torch.ones(30, 1)),
    "large": nodes(2, x=torch.full((30, 1), 1e15) * torch.arange(30)[:, None]),
    "complete": nodes(2, edge_index=torch.combinations(torch.arange(30)).T),
    "manyclasses": nodes(20, number=60),
    "unmasked": nodes(3, train_mask=only(0, 1, 2)),
    "onenode": nodes(2, train_mask=only(0, 1), val_mask=only(2), test_mask=only(3)),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An empty folder for graphs and the cache; notebooks run without a kernel."""
    folder = tmp_path_factory.mktemp("legal")
    for name, graph in GRAPHS.items():
        torch.save(graph, folder / f"{name}.pt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execute, "execute", run_cells)
        patch.setattr(execute, "resolve_dataset", graphs.resolve_dataset)
        patch.setattr(parallel, "PROJECT", folder)
        yield folder


def run_cells(notebook, given):
    """Run a notebook's cells; what the last lines show becomes their outputs."""
    nb, shown = nbformat.read(notebook, 4), []
    names = {"display": lambda data, raw: shown.append(data)}
    for cell in [cell for cell in nb.cells if cell.cell_type == "code"]:
        if "parameters" in cell.metadata.get("tags", ()):
            names |= given
            continue
        lines, place = ast.parse(cell.source).body, f"{notebook.name} {cell.id}"
        last = lines.pop().value if isinstance(lines[-1], ast.Expr) else ast.parse("''", mode="eval").body
        exec(compile(ast.Module(lines, []), place, "exec"), names)
        value = eval(compile(ast.Expression(last), place, "eval"), names)
        html = getattr(value, "_repr_html_", str)
        data = shown.pop() if shown else {"text/plain": repr(value), "text/html": html()}
        cell.outputs = [nbformat.v4.new_output("execute_result", data)]
    return nb


def run(stems, told, folder):
    """Run notebooks with what they know of the parameters `told`, and check that they leave their figures."""
    told = told | ({"dataset": str(folder / told["dataset"])} if told["dataset"].endswith(".pt") else {})
    known = {name: value for name, value in told.items() if any(name in PARAMETERS[stem] for stem in stems)}
    number = len(list(folder.iterdir()))
    notebooks = [path for path in NOTEBOOKS if path.stem in stems]
    place, given, _ = execute.plan(notebooks, [], [json.dumps(known)], folder / f"run-{number}")
    with contextlib.chdir(notebooks[0].parent):
        for notebook in notebooks:
            execute.run(notebook, given[notebook], place)
            made = {path.name for path in place.glob("figures/*/*")}
            figures = {call.args[1].value for call in calls(notebook, "dg.publish")}
            assert {f"{name}.{end}" for name in figures for end in ("png", "csv")} <= made
            assert list(place.glob(f"results/*/provenance/{notebook.stem}.json"))
    return place


def ascending(smallest, most=4):
    depths = st.lists(st.integers(smallest, 6), min_size=1, max_size=most, unique=True).map(sorted)
    return st.sampled_from([[1], [12], [20, 25]]) | depths.filter(lambda values: values[-1] > 0)


LABELS = ["half", "élan 日本", "<b>x</b>", "a,b", 'q"q', "a | b", "1st", "x" * 40, "ELU", "Swish", "method"]
LABELS += ["Half the weights", "strip", "../x", "{x}", "{{ x }}", "%s", "#", "**x**", "\\alpha", "SGC", "a_b"]
RATES = st.sampled_from([0.005, 1e30, 1e6, 10.0, 1e-12, 1e-30])  # of the large ones networks diverge
SHARES = st.sampled_from([1e-9, 0.5, 1.0])
SETTINGS = st.one_of(
    st.builds(dict, strip=st.just(True), amount=SHARES, death_nodes=st.sampled_from(["all", "val"])),
    st.builds(dict, act=st.sampled_from(ACTS), bias=st.booleans(), hidden_channels=st.integers(1, 5)),
    st.builds(dict, intervention=st.sampled_from(["sham", "most positive", "rescale", "bias shift"])),
    st.builds(dict, intervention=st.sampled_from(["partial", "silence", "freeze"]), dose=SHARES),
    st.builds(dict, init=st.sampled_from(["he", "orthogonal"]), first_gain=st.sampled_from([1e-30, 1e30])),
    st.builds(dict, propagation=st.sampled_from([0.0, 0.5]), normalize_features=st.booleans()),
    st.builds(dict, epochs=st.integers(2, 8), warmup=st.integers(0, 1), lr=RATES),
)
FEW = st.integers(1, 3) | st.just(6)
LEGAL = {
    "dataset": st.sampled_from(["KarateClub", *(f"{name}.pt" for name in GRAPHS)]),
    "arms": st.dictionaries(st.sampled_from(LABELS), SETTINGS, max_size=3),
    "depths": ascending(0),
    "search_depths": ascending(1, most=2),
    "deeper_depths": st.sampled_from([[4, 7], [1, 9]]),
    "num_layers": st.integers(1, 6),
    "example_num_layers": st.sampled_from([2, 3, 5, 6]),
    "first_seed": st.sampled_from([1000, 0, 10**9]),
    **dict.fromkeys(["num_seeds", "num_seeds_deep", "num_seeds_pairs", "num_seeds_more"], FEW),
    "num_seeds_others": FEW,
    "epochs": st.integers(2, 8),
    "epochs_alive": st.integers(2, 8),
    "powers": st.sampled_from([[1], [1, 2, 3], [5, 64], [1000]]),
    "hidden_channels": st.sampled_from([2, 4, 32]),
    "lr": RATES,
    "weight_decay": st.sampled_from([0.0, 5e-4, 1e3, 1e30]),
    "weight_decay_on": st.sampled_from(["all", "first"]),
    "dropout": st.sampled_from([0.0, 0.5, 0.99]),
    "normalize_features": st.booleans(),
    "save_checkpoints": st.booleans(),
    "n_jobs": st.just(1),
}
drawn = st.fixed_dictionaries(LEGAL)


def test_every_parameter_is_drawn():
    known = {name for defaults in PARAMETERS.values() for name in defaults}
    assert known - LEGAL.keys() == {"split", "scheduler", "input_dir", "output_dir"}


@pytest.mark.parametrize("stem", [stem for stem in PARAMETERS if stem not in READERS])
@settings(**TINY)
@given(told=drawn)
def test_a_notebook_runs_with_what_is_legal(stem, folder, told):
    run([stem], told, folder)


@settings(**TINY | {"max_examples": 1})
@given(told=drawn)
def test_the_verdict_and_the_report_can_be_made_of_what_is_legal(folder, told):
    place = run([stem for stem in PARAMETERS if stem != "09_change_it"], told, folder)
    assert list(place.glob("report/**/report.html"))


# Each of these ended in an error once.
DIVERGED = {
    "lr": 1e30,
    "epochs": 3,
    "num_seeds": 1,
    "num_seeds_deep": 1,
    "example_num_layers": 1,
    "depths": [1],
}


@pytest.mark.parametrize(
    ("stem", "told"),
    [
        ("01_data", {"dataset": "zeros.pt", "powers": [1, 4]}),
        ("01_data", {"dataset": "complete.pt", "powers": [1, 1024]}),
        ("01_data", {"dataset": "plain.pt", "powers": [10_000]}),
        ("02_recipe", {"num_seeds": 1, "epochs": 2}),
        ("04_pruning", DIVERGED),
        ("05_smoothing", DIVERGED | {"num_layers": 1}),
        (
            "08_alive",
            {"dataset": "ones.pt", "depths": [2], "search_depths": [2], "num_seeds": 1, "epochs": 2},
        ),
    ],
)
def test_a_notebook_runs_with_what_once_was_too_much(stem, told, folder):
    run([stem], {"dataset": "KarateClub", "n_jobs": 1} | told, folder)
