import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_project import PARAMETERS, WRITE, call, contents, fake_data, write_file, write_notebook

from deadgcn.paper import execute
from deadgcn.paper.notebook import RunError


@pytest.fixture
def project(tmp_path):
    """Two notebooks with different parameters, and the files in params/."""
    write_notebook(tmp_path / "notebooks" / "01_ok.ipynb", WRITE)
    write_notebook(tmp_path / "notebooks" / "02_other.ipynb", parameters="num_points = 5\nlr = 0.1")
    write_file(tmp_path / "params" / "common.yaml", "lr: 0.3\nnum_points: 6\n")
    write_file(tmp_path / "params" / "01_ok.yaml", "lr: 0.2\nepochs: 4\noutput_dir: build/interactive\n")
    return tmp_path


@pytest.fixture
def fake_run(monkeypatch):
    """Replace the kernel: note the jobs, and write what 01_ok would."""
    started = []

    def run(job, timeout=None):
        started.append(job)
        text = json.dumps(job.given)
        write_file(job.output_dir / "results" / job.dataset / "own.csv", text)
        return {f"results/{job.dataset}/own.csv": hashlib.sha256(text.encode()).hexdigest()}

    monkeypatch.setattr(execute, "run", run)
    return started


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("depth: [3]", "--set: no notebook knows depth (given as [3]); the nearest known name is depths"),
        (
            "lr: true",
            "--set: lr must be a number such as 0.1, but True was given; YAML reads on, off, yes and no as "
            "true and false",
        ),
        ("epochs: 2.0", "--set: epochs must be a whole number such as 3, but 2.0 was given; write 2"),
        ("depths: 3", "--set: depths must be a list, but 3 was given; write depths: [3]"),
        ("{lr: 1, lr: 2}", "--set cannot be read as YAML: lr is given twice (line 1); give it once"),
        ("lr", "--set must be a YAML mapping such as 'depths: [2, 4, 64]', but is 'lr'"),
        ("null", "--set must be a YAML mapping such as 'depths: [2, 4, 64]', but is empty"),
        ("output_dir: x", "--set: output_dir is not for setting; use --output-dir DIR"),
    ],
)
def test_a_bad_setting_is_refused_before_anything_starts(project, fake_run, capsys, text, message):
    before = contents(project)
    assert call(project, "--set", text) == 2
    assert capsys.readouterr() == ("", f"error: {message}\n")
    assert fake_run == [] and contents(project) == before


def test_every_notebook_is_checked_before_the_first_starts(project, fake_run, capsys):
    write_file(project / "params" / "02_other.yaml", "num_points: many\n")
    assert call(project, stems=("01_ok", "02_other")) == 2
    assert "params/02_other.yaml: num_points must be a whole number" in capsys.readouterr().err
    write_file(project / "params" / "02_other.yaml", "epochs: 5\n")  # known to 01_ok only
    assert call(project, stems=("01_ok", "02_other")) == 2
    assert "params/02_other.yaml: 02_other does not know epochs" in capsys.readouterr().err
    write_file(project / "params" / "common.yaml", "rate: 5\n")
    assert call(project) == 2
    assert "params/common.yaml: no notebook knows rate" in capsys.readouterr().err
    assert call(project, stems=("03_none",)) == 2
    assert "03_none.ipynb cannot be read" in capsys.readouterr().err
    assert fake_run == []


def test_later_settings_win_and_each_notebook_gets_what_it_knows(project):
    first, second = (project / "notebooks" / name for name in ("01_ok.ipynb", "02_other.ipynb"))
    mine = write_file(project / "mine.yaml", "lr: 5e-4\nepochs: 5\n")
    yours = write_file(project / "yours.yaml", "epochs: 6\nnum_points: 7\n")
    given = [job.given for job in execute.plan([first, second], [mine, yours], [], Path("out"))]
    assert given == [{"lr": 0.0005, "epochs": 6}, {"num_points": 7, "lr": 0.0005}]
    job = execute.plan([first, first], [mine], ["epochs: 8", "epochs: 9"], Path("out"))
    assert [(one.given, one.output_dir) for one in job] == [({"lr": 0.0005, "epochs": 9}, project / "out")]
    assert execute.plan([first], [], [], Path("out"))[0].given == {"lr": 0.2, "epochs": 4}
    with pytest.raises(execute.ParameterError, match="all notebooks must lie in one folder"):
        execute.plan([first, project / "elsewhere" / "01_ok.ipynb"], [], [], None)


def test_the_default_folder_depends_on_the_settings_only(project):
    path = project / "notebooks" / "01_ok.ipynb"
    mine = write_file(project / "mine.yaml", "lr: 1\n")

    def folder(files=(), texts=()):
        return execute.plan([path], list(files), list(texts), None)[0].output_dir

    assert folder().parent == project / "build" and folder().name.startswith("run-")
    assert folder(texts=["lr: 1"]) == folder(texts=["{lr:   1}"]) == folder(files=[mine])
    assert len({folder(), folder(texts=["lr: 1"]), folder(texts=["lr: 2"])}) == 3


def test_a_refusal_needs_neither_torch_nor_papermill(project):
    arguments = [str(project / "notebooks" / "01_ok.ipynb"), "--set", "depth: [3]"]
    command = [sys.executable, "-X", "importtime", "-m", "deadgcn.paper.execute", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stdout == ""
    imported = {line.split("|")[2].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert "yaml" in imported and not imported & {"torch", "papermill", "pandas", "nbformat"}
    assert done.stderr.splitlines()[-1].startswith("error: --set: no notebook knows depth")


def test_the_data_set_is_resolved_once_and_named_in_every_path(project, fake_run, monkeypatch, capsys):
    asked = []
    fake_data(monkeypatch, lambda name: asked.append(name) or "SyntheticCora")
    for stem in ("01_ok", "02_other"):
        write_notebook(project / "notebooks" / f"{stem}.ipynb", parameters="dataset = 'auto'\nlr = 1.0")
    for path in (project / "params").iterdir():
        path.unlink()
    assert call(project, stems=("01_ok", "02_other")) == 0
    assert asked == ["auto"]
    assert [job.given for job in fake_run] == [{"dataset": "SyntheticCora"}] * 2
    assert fake_run[0].report == Path("report", "SyntheticCora")
    assert replace(fake_run[0], dataset="Cora").report == Path("report")
    assert "Cora cannot be had, so SyntheticCora" in capsys.readouterr().out
    assert call(project, "--set", "dataset: SyntheticCora", "--output-dir", "x") == 0  # chosen: no excuse
    assert asked == ["auto", "SyntheticCora"]
    assert "cannot be had" not in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["DataError", "ValueError"])
def test_a_data_set_that_cannot_be_had_is_an_error_and_nothing_runs(
    project, fake_run, monkeypatch, capsys, kind
):
    def resolve(name):
        raise {"DataError": module.DataError, "ValueError": ValueError}[kind](f"{name} is not available")

    module = fake_data(monkeypatch, resolve)
    write_notebook(project / "notebooks" / "02_other.ipynb", parameters="dataset = 'auto'\nnum_points = 1")
    assert call(project, "--set", "dataset: PubMed", stems=("01_ok", "02_other")) == 1
    assert capsys.readouterr().err == "error: PubMed is not available\n"
    assert fake_run == []


def test_a_notebook_runs_again_when_and_only_when_something_it_depends_on_changed(
    project, fake_run, monkeypatch, capsys
):
    package = write_file(project / "package" / "model.py", "one").parent
    monkeypatch.setattr(execute, "PACKAGE", package)
    options = ["--output-dir", "out"]

    def runs(*more):
        started = len(fake_run)
        assert call(project, *options, *more) == 0
        return len(fake_run) > started

    assert runs() and not runs()
    assert "01_ok: up to date\n" in capsys.readouterr().out
    os.utime(project / "notebooks" / "01_ok.ipynb", (1, 1))
    assert not runs()
    assert runs("--force") and not runs()
    assert runs("--set", "epochs: 8") and not runs("--set", "epochs: 8")
    assert runs() and not runs()
    for path, text in (
        (project / "notebooks" / "01_ok.ipynb", (project / "notebooks" / "01_ok.ipynb").read_text() + "\n"),
        (package / "model.py", "two"),
        (package / "new.py", ""),
        (project / "results" / "published" / "table.csv", "1,2"),
        (project / "out" / "results" / "Cora" / "own.csv", "tampered"),
    ):
        write_file(path, text)
        assert runs(), path
        assert not runs(), path
    (project / "out" / "results" / "Cora" / "own.csv").unlink()
    assert runs() and not runs()
    write_file(project / "out" / "results" / "Cora" / "others.csv", "not read by this notebook")
    assert not runs()
    monkeypatch.setattr(execute.importlib.metadata, "version", lambda name: "0.0")
    assert runs() and not runs()


def test_a_notebook_that_reads_the_outputs_depends_on_them_but_not_on_its_own(project, fake_run):
    write_notebook(project / "notebooks" / "01_ok.ipynb", parameters=PARAMETERS + "\ninput_dir = 'build/x'")
    table = write_file(project / "out" / "results" / "Cora" / "01.csv", "1")

    def runs():
        started = len(fake_run)
        assert call(project, "--output-dir", "out") == 0
        return len(fake_run) > started

    assert runs() and not runs()  # own.csv, which it wrote beside 01.csv, does not count
    assert fake_run[0].input_dir == project / "out"
    table.write_text("2")
    assert runs() and not runs()
    write_file(project / "out" / "figures" / "Cora" / "01.csv", "1")
    assert runs() and not runs()
    job = execute.plan([project / "notebooks" / "01_ok.ipynb"], [], ["input_dir: in"], None)[0]
    assert job.input_dir.resolve() == project / "in" and job.given["input_dir"] == "in"


def test_run_error_is_not_taken_for_a_refusal(project, monkeypatch, capsys):
    def run(job, timeout=None):
        raise RunError("no luck")

    monkeypatch.setattr(execute, "run", run)
    assert call(project) == 1
    assert capsys.readouterr().err == "error: no luck\n"
