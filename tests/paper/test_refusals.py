"""Bad parameters are refused with status 2 and a sentence that names them, before a kernel starts."""

import subprocess
import sys

import execute
import pytest
from tiny_project import PAPER, contents, write_file, write_notebook

from deadgcn.config import show

NOTEBOOK = PAPER.parent / "notebooks" / "03_depth.ipynb"
ILLEGAL = {
    "depths": "[-1] [1000000] [5,5] [0] [] [deep] [2.5] [yes] [null] [[2]] 5 [4,2]",
    "num_layers": "0 1000000",
    "first_seed": "-1 1.5 [0] none 10000000000",
    "num_seeds": f"0 -3 1e5 1000000000 [1,2] two 1.0 {'9' * 4000}",
    "epochs": "0 1 on true 1:30",
    "lr": "0 -1e-3 fast off .inf .nan null {a:b} 2024-01-01",
    "weight_decay": "-5e-4",
    "weight_decay_on": "last",
    "dropout": "1 -0.1",
    "hidden_channels": "0 1 33 70000",
    "deeper_depths": "[2] [2,3,4] [3,2] [0,2]",
    "normalize_features": "1",
    "save_checkpoints": "'no'",
    "powers": "[4,2] [0,1] [10,10] 2-30 {5:10} [2024-01-01] [1000000000]",
    "n_jobs": "0 1000000 all",
    "scheduler": "host:8786 8786 tcp://host",
    "dataset": "../../etc [Cora,CiteSeer] -h ''",
    "depth": "[2]",
    "output_dir": "/tmp",
}
BOMB = "\n".join(
    ["depths: &a0 [1]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30))]
)
UNREADABLE = ["depths: [2,4", "a: b: c", "lr: !!python/name:os.system", "lr: *nowhere", "{lr: 1, lr: 2}"]
UNREADABLE += ["words", "[lr, 2]", "lr: 2024-13-01", "lr: !!int x", "lr: 1\n---\nlr: 2", "\0"]
UNREADABLE += ["{" * 300, "[" * 300, BOMB]


@pytest.fixture
def nothing_starts(monkeypatch):
    for name in ("run", "resolve_dataset"):
        monkeypatch.setattr(execute, name, lambda *_: pytest.fail("something was started"))


def refusal(capsys, *arguments):
    assert execute.main([*map(str, arguments)]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith("error: ")
    assert len(shown.err) < 2000
    return shown.err


@pytest.mark.parametrize("name", ILLEGAL)
def test_an_illegal_value_is_refused_and_named(name, nothing_starts, capsys):
    for value in ILLEGAL[name].split():
        said = refusal(capsys, NOTEBOOK, "--set", f"{name}: {value}")
        assert "--set" in said and (name in said or value == "1"), said


@pytest.mark.parametrize("text", UNREADABLE, ids=lambda text: text[:12])
def test_what_is_no_mapping_is_refused(text, nothing_starts, capsys):
    assert "--set" in refusal(capsys, NOTEBOOK, "--set", text)


def test_a_parameter_of_other_notebooks_only_is_refused_and_those_of_a_file_are_not(nothing_starts, capsys):
    notebook = NOTEBOOK.with_name("05_smoothing.ipynb")
    said = refusal(capsys, notebook, "--set", "depths: [2, 4]")
    assert "depths" in said and "num_layers" in said
    assert "Errno" not in refusal(capsys, NOTEBOOK.with_name("03.ipynb"))


def test_a_file_is_named(tmp_path, nothing_starts, capsys):
    for text in ("num_seeds: 0", "depth: [3]", "[1]", "a: b: c"):
        path = write_file(tmp_path / "mine.yaml", text)
        assert f"-f {path}" in refusal(capsys, NOTEBOOK, "-f", path)
    said = refusal(capsys, NOTEBOOK, "-f", tmp_path / "none.yaml")
    assert "none.yaml" in said and "mine.yaml" in said


def test_two_values_of_a_name_are_refused(nothing_starts, capsys):
    said = refusal(capsys, NOTEBOOK, "--set", "dataset: Cora", "--set", "dataset: CiteSeer")
    assert "'Cora' and 'CiteSeer'" in said


@pytest.mark.parametrize(
    "name", ["Cora\nepochs: 3", "Cora: 1", "[Cora]", "'Cora'", "null: 1", "", " ", "../Cora"]
)
def test_a_data_set_is_one_plain_name_and_no_yaml(name, nothing_starts, capsys):
    said = refusal(capsys, NOTEBOOK, "--dataset", name)
    assert "dataset" in said and show(name) in said
    assert "Cora" in refusal(capsys, NOTEBOOK, "--dataset", "Cora", "--set", "dataset: CiteSeer")


def test_depths_of_interventions_that_coincide_are_refused(nothing_starts, capsys):
    notebook = NOTEBOOK.with_name("07_interventions.ipynb")
    said = refusal(capsys, notebook, "--set", "{example_num_layers: 6, deeper_depths: [4, 6]}")
    assert "[4, 6]" in said and "is 6" in said


def test_the_files_of_params_are_checked_for_every_notebook_first(tmp_path, nothing_starts, capsys):
    first, second = (write_notebook(tmp_path / "notebooks" / f"0{n}_x.ipynb") for n in (1, 2))
    own, common = tmp_path / "params" / "02_x.yaml", tmp_path / "params" / "common.yaml"
    for path, text in ((own, "epochs: many"), (own, "num_seeds: 3"), (common, "rate: 5")):
        write_file(path, text)
        assert f"params/{path.name}" in refusal(capsys, first, second)
    write_file(common, "")
    write_file(own, "")
    assert "03_none" in refusal(capsys, first, tmp_path / "notebooks" / "03_none.ipynb")


def test_the_command_itself_makes_nothing_and_needs_no_torch(tmp_path):
    notebook = write_notebook(tmp_path / "notebooks" / "01_ok.ipynb")
    command = [sys.executable, "-X", "importtime", PAPER, str(notebook)]
    options = ["--set", "depths: [-1]", "--output-dir", "out"]
    before = contents(tmp_path)
    done = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stdout == "" and "depths.0" in done.stderr.splitlines()[-1]
    imported = {line.split("|")[2].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert "ruamel" in imported and not imported & {"torch", "papermill", "pandas", "nbformat"}
    assert contents(tmp_path) == before
