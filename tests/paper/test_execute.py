import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny_project import PARAMETERS, WRITE, call, contents, write_file, write_notebook

from deadgcn.paper import execute
from deadgcn.paper.execute import RunError, plan, resolve_dataset
from deadgcn.paper.parameters import ParameterError

NOISE = """import sys, time, warnings
for step in range(3):
    print('step', step, flush=True)
    time.sleep(0.1)
    print(f'\\r{step}/3', end='', file=sys.stderr, flush=True)
print(file=sys.stderr)
warnings.warn('look here', stacklevel=1)
output_dir, input_dir"""
LIST = "import os\nos.listdir()"


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A project in which 01_ok was run twice, and what it left each time."""
    root = tmp_path_factory.mktemp("executed")
    path = write_notebook(
        root / "notebooks" / "01_ok.ipynb", WRITE, NOISE, LIST, parameters=f"{PARAMETERS}\ninput_dir = '.'"
    )
    source, left = path.read_bytes(), []
    for _ in range(2):
        assert call(root, "--set", "lr: 5e-4", "--output-dir", "out") == 0
        left.append(contents(root / "out"))
    assert path.read_bytes() == source
    return root, left


def test_a_run_leaves_its_files_and_a_rerun_the_same_bytes(executed):
    root, (first, second) = executed
    record = "results/Cora/provenance/01_ok.json"
    assert first.keys() == {"results/Cora/ok.csv", "report/notebooks/01_ok.ipynb", record}
    assert first["results/Cora/ok.csv"] == b"[2, 4] 0.0005 3"
    assert json.loads(first[record])["settings"] == {"lr": 0.0005}
    assert first == second
    assert {path.suffix for path in (root / "build").rglob("*")} == {"", ".lock"}


def test_the_executed_notebook_names_no_folder_time_or_process(executed):
    root, (left, _) = executed
    text = left["report/notebooks/01_ok.ipynb"].decode()
    cells = json.loads(text)["cells"]
    assert str(root) not in text and "ipykernel_" not in text and "papermill" not in text
    assert [cell["id"] for cell in cells] == ["head", "cell0", "cell-2", "cell1", "cell2", "cell3"]
    parameters = "".join(cells[2]["source"]).splitlines()
    assert {*parameters[1:]} == {'output_dir = "build/interactive"', 'input_dir = "./out"', "lr = 0.0005"}
    shown = [(output.get("name"), "".join(output.get("text", ""))) for output in cells[4]["outputs"]]
    assert shown[0] == ("stdout", "step 0\nstep 1\nstep 2\n")
    assert shown[1][0] == "stderr" and "look here" in shown[1][1] and "\r" not in shown[1][1]


def test_a_notebook_runs_in_its_own_folder(executed):
    cells = json.loads(executed[1][0]["report/notebooks/01_ok.ipynb"])["cells"]
    assert cells[5]["outputs"][0]["data"]["text/plain"] == ["['01_ok.ipynb']"]


FAILURES = {
    "raise ValueError('too\\nbad')": "ValueError: too bad",
    "import sys; sys.exit(0)": "SystemExit: 0",
    "import time; time.sleep(60)": "CellTimeoutError",
    "import os; os._exit(0)": "DeadKernelError",
}


@pytest.mark.parametrize("source", FAILURES)
def test_a_failed_run_changes_no_output_and_stops_the_rest(tmp_path, capsys, source):
    write_notebook(tmp_path / "notebooks" / "01_fails.ipynb", WRITE, source, "'never'")
    write_notebook(tmp_path / "notebooks" / "02_next.ipynb", "open('started', 'w')")
    write_file(tmp_path / "out" / "results" / "Cora" / "ok.csv", "earlier")
    assert call(tmp_path, "--output-dir", "out", "--timeout", "2", stems=("01_fails", "02_next")) == 1
    said = capsys.readouterr().err
    assert "01_fails" in said and "cell 4" in said and FAILURES[source] in said
    assert contents(tmp_path / "out") == {"results/Cora/ok.csv": b"earlier"}
    assert not list((tmp_path / "build" / "stage").glob("*/*"))
    failed = tmp_path / "build" / "failed" / "01_fails"
    assert FAILURES[source] in (failed / "reason.txt").read_text()
    cells = json.loads((failed / "01_fails.ipynb").read_text())["cells"]
    assert cells[-1]["source"] == ["'never'"] and cells[-1]["execution_count"] is None
    assert not (tmp_path / "notebooks" / "started").exists()


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Two notebooks with different parameters, files in params/, and no data sets."""
    monkeypatch.setattr(execute, "resolve_dataset", {"auto": "SyntheticCora", "CiteSeer": "CiteSeer"}.get)
    write_notebook(tmp_path / "notebooks" / "01_ok.ipynb")
    own = "num_seeds = 5\nlr = 0.1\ninput_dir = '.'\ndataset = 'auto'"
    write_notebook(tmp_path / "notebooks" / "02_other.ipynb", parameters=own)
    write_file(tmp_path / "params" / "common.yaml", "lr: 0.3\nnum_seeds: 6\noutput_dir: build/notebook\n")
    write_file(tmp_path / "params" / "01_ok.yaml", "lr: 0.2\nepochs: 4\n")
    write_file(tmp_path / "params" / "02_other.yaml", "input_dir: .\n")
    return tmp_path


def test_later_settings_win_and_each_notebook_gets_what_it_knows(project):
    notebooks = [project / "notebooks" / name for name in ("01_ok.ipynb", "02_other.ipynb")]
    mine = write_file(project / "mine.yaml", "lr: 5e-4\nepochs: 5\n")
    first, second = plan(notebooks, [], [], Path("out"))
    assert first.given == {"lr": 0.2, "epochs": 4} and first.output_dir == project / "out"
    assert second.given == {"num_seeds": 6, "lr": 0.3, "dataset": "SyntheticCora"}
    assert (first.dataset, second.dataset) == ("Cora", "SyntheticCora")
    (job,) = plan([notebooks[0], notebooks[0]], [mine], ["epochs: 8", "epochs: 9"], Path("out"))
    assert job.given == {"lr": 5e-4, "epochs": 9}
    (job,) = plan(notebooks[1:], [], ["{dataset: CiteSeer, input_dir: in}"], None)
    assert job.given == {"num_seeds": 6, "lr": 0.3, "dataset": "CiteSeer", "input_dir": "in"}
    assert str(job.report) == "report/CiteSeer"


def test_the_default_folder_depends_on_the_settings_only(project):
    def folder(*texts):
        return plan([project / "notebooks" / "01_ok.ipynb"], [], list(texts), None)[0].output_dir

    assert folder().parent == project / "build" and folder("lr: 1") == folder("{lr:   1}")
    assert len({folder(), folder("lr: 1"), folder("lr: 2")}) == 3


@pytest.mark.parametrize(("status", "kind"), [(1, RunError), (2, ParameterError)])
def test_a_data_set_that_cannot_be_had_is_an_error_before_anything_runs(monkeypatch, status, kind):
    def run(command, **_):
        return subprocess.CompletedProcess(command, status, "", "Traceback\nerror: PubMed is not available\n")

    monkeypatch.setattr(execute.subprocess, "run", run)
    with pytest.raises(kind, match=r"^dataset PubMed\d: PubMed is not available$"):
        resolve_dataset(f"PubMed{status}")  # answers are remembered


@pytest.mark.parametrize(
    ("dataset", "folder", "suffix"),
    [("auto", "report/SyntheticCora", " (SyntheticCora)"), ("Cora", "report", "")],
)
def test_the_report_becomes_a_page_in_place_of_its_notebook(project, monkeypatch, dataset, folder, suffix):
    monkeypatch.setattr(execute, "resolve_dataset", {"auto": "SyntheticCora", "Cora": "Cora"}.get)
    fake = SimpleNamespace(render=lambda path, suffix: f"{path.parent.name}/{path.name}{suffix}")
    monkeypatch.setitem(sys.modules, "deadgcn.paper.report", fake)
    write_notebook(project / "notebooks" / "09_report.ipynb", parameters="dataset = 'auto'")
    assert call(project, "--output-dir", "out", "--set", f"dataset: {dataset}", stems=("09_report",)) == 0
    made = contents(project / "out")
    assert made.pop(f"{folder}/report.html").decode() == f"notebooks/09_report.ipynb{suffix}"
    assert [name.split("/")[-1] for name in made] == ["09_report.json"]


def test_a_notebook_that_reads_tables_refuses_edited_ones(tmp_path, capsys):
    write_notebook(tmp_path / "notebooks" / "01_ok.ipynb", WRITE)
    reads = write_notebook(tmp_path / "notebooks" / "08_reads.ipynb", parameters="input_dir = '.'")
    assert call(tmp_path, "--output-dir", "out") == 0
    table = write_file(tmp_path / "out" / "results" / "Cora" / "ok.csv", "edited")
    reads.touch()
    assert call(tmp_path, "--output-dir", "out", stems=("08_reads",)) == 1
    assert str(table) in capsys.readouterr().err


HOLD = """
import sys, time
from pathlib import Path
from filelock import FileLock
from deadgcn.paper.execute import Job
job = Job(Path(sys.argv[1]), Path(sys.argv[2]), {}, {})
job.stage.parent.mkdir(parents=True)
with FileLock(job.stage.with_suffix(".lock")):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_command_waits_and_removes_what_a_killed_one_left(tmp_path):
    notebook = write_notebook(tmp_path / "notebooks" / "01_ok.ipynb", WRITE)
    part = write_file(tmp_path / "out" / "results" / "Cora" / ".ok.csv.part", "half")
    command = [sys.executable, "-c", HOLD, str(notebook), str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "held\n"
        command = [sys.executable, "-m", "deadgcn.paper.execute", str(notebook), "--output-dir", "out"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as second:
            lines = [second.stdout.readline() for _ in range(2)]
            assert "waiting" in lines[1] and part.exists()
            first.kill()
            assert second.wait(timeout=60) == 0
    assert not part.exists()
