"""Nonsense is refused in one sentence that names it, before anything is trained or started."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from deadgcn.data.graphs import load_graph
from deadgcn.experiments import grid as experiments
from deadgcn.experiments.grid import grid, run_grid
from deadgcn.paper import execute, notebook
from deadgcn.paper.parameters import ParameterError

ROOT = Path(execute.__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

# What the command and the notebooks are told, as YAML, and what the answer must name.
SETTINGS = {
    "depths: [-1]": "depths[0]: must be greater than or equal to 0, but -1",
    "depths: [1000000]": "depths[0]: must be less than or equal to 10000, but 1000000",
    "depths: [5, 5]": "depths: every number must occur once, but [5, 5]",
    "depths: [0]": "depths: must hold a number above 0, but [0]",
    "depths: []": "depths: List should have at least 1 item",
    "depths: [2, deep]": "depths[1] must be a whole number such as 0, but 'deep'",
    "depths: [2.5]": "depths[0] must be a whole number such as 0, but 2.5",
    "depths: [2, 1e1]": "depths[1] must be a whole number such as 0, but '1e1' was given; write 10",
    "depths: [yes]": "depths[0] must be a whole number such as 0, but True",
    "depths: [null]": "depths[0] must be a whole number such as 0, but None",
    "depths: [[2]]": "depths[0] must be a whole number such as 0, but [2]",
    "depths: [2024-01-01]": "depths[0] must be a whole number such as 0, but datetime.date(2024, 1, 1)",
    "depths: 5": "depths must be a list, but 5 was given; write depths: [5]",
    "depths: {5: 10}": "depths must be a list, but {5: 10}",
    "depths: 2-30": "depths must be a list, but '2-30'",
    "depths: [2,4": "cannot be read as YAML",
    "depths: [2, 4]]": "cannot be read as YAML",
    "depths: !!python/name:os.system": "cannot be read as YAML",
    "depths: *nowhere": "cannot be read as YAML",
    "{depths: [2], depths: [4]}": "depths is given twice",
    "depth: [2]": "no notebook knows depth (given as [2]); the nearest known name is depths",
    "Depths: [2]": "no notebook knows Depths (given as [2]); the nearest known name is depths",
    "num_layer: 2": "the nearest known name is num_layers",
    "output_dir: /tmp": "output_dir is not for setting",
    "walk_depths: [0, 10]": "walk_depths[0]: must be greater than or equal to 1, but 0",
    "option_depths: [10, 10]": "option_depths: every number must occur once",
    "num_layers: 0": "num_layers: must be greater than or equal to 1, but 0",
    "num_layers: 1000000": "num_layers: must be less than or equal to 10000, but 1000000",
    "example_num_layers: -1": "example_num_layers: must be greater than or equal to 1, but -1",
    "num_seeds: 0": "num_seeds: must be greater than or equal to 1, but 0",
    "num_seeds: -3": "num_seeds: must be greater than or equal to 1, but -3",
    "num_seeds: 1e5": "num_seeds must be a whole number such as 30, but '1e5' was given; write 100000",
    "num_seeds: 1000000000": "num_seeds: must be less than or equal to 10000",
    "num_seeds: [1, 2]": "num_seeds must be a whole number such as 30, but [1, 2]",
    "num_seeds_deep: 0": "num_seeds_deep: must be greater than or equal to 1, but 0",
    "num_seeds_walk: 0": "num_seeds_walk: must be greater than or equal to 1, but 0",
    "num_seeds_options: two": "num_seeds_options must be a whole number such as 15, but 'two'",
    "hidden_channels: 0": "hidden_channels: must be greater than or equal to 1, but 0",
    "hidden_channels: 3.2": "hidden_channels must be a whole number such as 32, but 3.2",
    "hidden_channels: 100000": "hidden_channels: must be less than or equal to 65536, but 100000",
    "epochs: 0": "epochs: must be greater than or equal to 1, but 0",
    "epochs: 1": "no epoch would be evaluated: warmup=1 and strip_every=1 need more than epochs=1",
    "epochs: on": "epochs must be a whole number such as 100, but True",
    "epochs: 1:30": "--set cannot be read as YAML: 1:30 is no plain whole number (line 1)",
    "num_seeds: 010": "--set cannot be read as YAML: 010 is no plain whole number (line 1)",
    "lr: 0": "lr: must be greater than 0, but 0.0",
    "lr: -1e-3": "lr: must be greater than 0, but -0.001",
    "lr: fast": "lr must be a number such as 0.005, but 'fast'",
    "lr: off": "lr must be a number such as 0.005, but False",
    "lr: .inf": "lr must be a number such as 0.005, but inf",
    "lr: .nan": "lr must be a number such as 0.005, but nan",
    "lr: 1e999": "lr must be a number such as 0.005, but '1e999'",
    "lr:": "lr must be a number such as 0.005, but None",
    "weight_decay: -5e-4": "weight_decay: must be greater than or equal to 0, but -0.0005",
    "weight_decay_on: last": "weight_decay_on: must be 'all' or 'first', but 'last'",
    "dropout: 1": "dropout: must be less than 1, but 1.0",
    "dropout: -0.1": "dropout: must be greater than or equal to 0, but -0.1",
    "normalize_features: 1": "normalize_features must be true or false such as False, but 1",
    "save_checkpoints: 'no'": "save_checkpoints must be true or false such as True, but 'no'",
    "n_jobs: 0": "n_jobs: must be a positive number of processes, or -1 for one per core, but 0",
    "n_jobs: 1000000": "n_jobs: must be less than or equal to 1024, but 1000000",
    "scheduler: host:8786": "scheduler: must be an address such as tcp://host:8786, or empty for",
    "scheduler: 8786": "scheduler must be text such as '', but 8786",
    "n_jobs: all": "n_jobs must be a whole number such as -1, but 'all'",
    "powers: [4, 2]": "powers: numbers must be in ascending order, but [4, 2]",
    "powers: [0, 1]": "powers[0]: must be greater than or equal to 1, but 0",
    "powers: [1000000000]": "powers[0]: must be less than or equal to 100000",
    "dataset: Coral": "or a data set of PyTorch Geometric, such as Amazon-Photo, but 'Coral'",
    "dataset: ../../etc": "dataset: must be one of auto, Cora, ",
    "dataset: [Cora, CiteSeer]": "dataset must be text such as 'auto', but ['Cora', 'CiteSeer']",
    "just words": "must be a YAML mapping such as 'depths: [2, 4, 64]', but is 'just words'",
    "[depths, 2]": "must be a YAML mapping",
    "null": "must be a YAML mapping such as 'depths: [2, 4, 64]', but is empty",
    "? [a, b]": "cannot be read as YAML",
    "a: b: c": "cannot be read as YAML",
    "lr: 2024-13-01": "cannot be read as YAML",
    "{" * 5000: "cannot be read as YAML",
}

# What a caller in Python passes to `grid`, beside the method ReLU.
AXES = [
    ({"num_layers": [-1]}, "num_layers"),
    ({"num_layers": [10**6]}, "num_layers"),
    ({"num_layers": [2, 2]}, "passed twice"),
    ({"num_layers": [2, "deep"]}, "num_layers"),
    ({"num_layers": []}, "num_layers must have at least one entry"),
    ({"num_layers": [True]}, "num_layers"),
    ({"seed": range(0)}, "seed must have at least one entry"),
    ({"seed": [-1]}, "seed"),
    ({"hidden_channels": 0}, "hidden_channels"),
    ({"dataset": "Coral"}, "dataset"),
    ({"strip": True, "amount": 1.5}, "amount"),
    ({"strip": True, "amount": 0}, "amount"),
    ({"dead_threshold": 0}, "dead_threshold"),
    ({"dead_threshold": 2}, "dead_threshold"),
    ({"depths": [2]}, "depths"),
    ({"act": "tanh"}, "act"),
    ({"negative_slope": 1}, "negative_slope"),
    ({"lr": float("nan")}, "lr"),
    ({"epochs": 5, "strip_every": 5}, "strip_every=5"),
    ({"warmup": 100}, "warmup=100"),
]


@pytest.fixture
def nothing_starts(monkeypatch):
    """Whoever trains, asks for data or starts a kernel fails the test."""

    def forbidden(*_, **__):
        pytest.fail("something was started")

    for module, name in ((experiments, "train"), (notebook, "_papermill"), (execute, "choose_datasets")):
        monkeypatch.setattr(module, name, forbidden)


def refusal(text, capsys):
    assert execute.main([*map(str, NOTEBOOKS), "--set", text]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith("error: ") and shown.err.count("\n") == 1
    assert len(shown.err) < 700
    return shown.err


@pytest.mark.parametrize("text", SETTINGS, ids=lambda text: text[:40])
def test_a_bad_setting_is_refused_in_one_sentence(text, nothing_starts, capsys):
    assert SETTINGS[text] in refusal(text, capsys)


@pytest.mark.parametrize("seconds", ["0", "-5"])
def test_a_timeout_that_no_cell_can_keep_is_refused(seconds, nothing_starts, capsys):
    assert execute.main([str(NOTEBOOKS[2]), "--timeout", seconds]) == 2
    message = f"error: --timeout must be at least 1 second, but {seconds} was given\n"
    assert capsys.readouterr().err == message


def test_so_it_is_in_a_file_and_the_file_is_named(tmp_path, nothing_starts, capsys):
    path = tmp_path / "mine.yaml"
    path.write_text("num_seeds: 0\n")
    assert execute.main([str(NOTEBOOKS[2]), "-f", str(path)]) == 2
    message = f"error: -f {path}: num_seeds: must be greater than or equal to 1, but 0 was given\n"
    assert capsys.readouterr().err == message


@pytest.mark.parametrize(("axes", "message"), AXES, ids=str)
def test_a_bad_grid_is_refused_by_name(axes, message, nothing_starts):
    with pytest.raises((ValueError, ValidationError), match=message):
        grid(["ReLU"], **axes)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: grid(["Tanh"]), "method must be one of .*'Tanh'"),
        (lambda: grid([]), "methods must have at least one entry"),
        (lambda: grid({"": {}}), "method"),
        (lambda: run_grid([]), "configs must have at least one entry"),
        (lambda: run_grid(grid(["ReLU"]), n_jobs=0), "n_jobs must be .* but 0 was passed"),
        (lambda: run_grid(grid(["ReLU"]), n_jobs="2"), "n_jobs must be .* but '2' was passed"),
        (lambda: run_grid(grid(["ReLU"]), device="tpu"), "device must be .* but 'tpu' was passed"),
        (lambda: run_grid(2 * grid(["ReLU"])), "passed twice"),
        (lambda: load_graph("Coral"), "must be one of .* but 'Coral' was passed"),
        (lambda: load_graph("SyntheticCora", num_nodes=3), "num_nodes must be .* but 3 was passed"),
    ],
)
def test_a_bad_call_is_refused_by_name(call, message, nothing_starts):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("text", ["depths: [-1]", "lr: on", "depth: [3]", "dataset: Coral", "depths: [2,4"])
def test_the_command_refuses_with_status_two_and_makes_nothing(text, tmp_path):
    command = [sys.executable, "-m", "deadgcn.paper.execute", *map(str, NOTEBOOKS)]
    options = ["--set", text, "--output-dir", str(tmp_path / "out")]
    done = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


known = sorted(experiments.Config.model_fields | {"depths": 0, "num_seeds": 0, "powers": 0, "n_jobs": 0})
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_subnormal=False)
    | st.text()
    | st.dates()
    | st.binary()
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)
mappings = st.dictionaries(st.sampled_from(known) | st.text(), values, max_size=4)
quietly = settings(
    max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@quietly
@given(text=st.text() | mappings.map(lambda value: yaml.safe_dump(value, allow_unicode=True)))
def test_any_yaml_is_planned_or_refused(text):
    """No traceback, whatever it is, and what is planned is legal."""
    try:
        jobs = execute.plan(NOTEBOOKS, [], [text], None)
    except ParameterError as error:
        assert "\n" not in str(error) and len(str(error)) < 900
    else:
        assert all(job.given.keys() <= job.defaults.keys() for job in jobs)
        assert all(type(job.given[name]) is type(job.defaults[name]) for job in jobs for name in job.given)


@quietly
@given(content=st.binary() | st.text().map(lambda text: text.encode("utf-16")))
def test_any_file_is_planned_or_refused(content, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_bytes(content)
    try:
        execute.plan(NOTEBOOKS[:1], [path], [], None)
    except ParameterError as error:
        assert "\n" not in str(error)
