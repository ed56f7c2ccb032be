import hashlib
import json

import pytest
from tiny_project import PARAMETERS, WRITE, call, contents, fake_data, write_file, write_notebook

from deadgcn.paper import execute, notebook, report
from deadgcn.paper.notebook import Job

NOISE = (
    "import sys, time, warnings\n"
    "for step in range(3):\n"
    "    print('step', step, flush=True)\n"
    "    time.sleep(0.1)\n"
    "for step in range(3):\n"
    "    print(f'\\r{step}/3', end='', file=sys.stderr, flush=True)\n"
    "    print(f'\\r{step} of 3', end='', flush=True)\n"
    "    time.sleep(0.1)\n"
    "print('\\nended')\n"
    "print(file=sys.stderr)\n"
    "warnings.warn('look here', stacklevel=1)\n"
    "output_dir"
)
LIST = "import os\nos.listdir()"
# A PNG of one pixel.
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A project in which 01_ok was executed twice, with what it left each time."""
    root = tmp_path_factory.mktemp("executed")
    parameters = PARAMETERS + "\ninput_dir = 'build/interactive'"
    path = write_notebook(root / "notebooks" / "01_ok.ipynb", WRITE, NOISE, LIST, parameters=parameters)
    source, left = path.read_bytes(), []
    for _ in range(2):
        assert execute.main([str(path), "--set", "lr: 5e-4", "--output-dir", "out", "--force"]) == 0
        left.append(contents(root / "out"))
    assert path.read_bytes() == source
    return root, left


def test_a_run_leaves_its_files_and_a_stamp_and_nothing_else(executed):
    root, (left, _) = executed
    record = "results/Cora/provenance/01_ok.json"
    assert left.keys() == {"results/Cora/ok.csv", "report/notebooks/01_ok.ipynb", record}
    assert left["results/Cora/ok.csv"] == b"[2, 4] 0.0005 3"
    (stamp,) = (root / "build" / "stamps").glob("*/01_ok.json")
    assert json.loads(stamp.read_text())["outputs"] == {
        name: hashlib.sha256(content).hexdigest() for name, content in left.items()
    }
    assert {path.suffix for path in (root / "build" / "stage").iterdir()} == {".lock", ""}
    assert list((root / "build" / "stage").glob("*/*")) == []


def test_a_rerun_gives_the_same_bytes(executed):
    _, (first, second) = executed
    assert first == second


def test_the_executed_notebook_names_no_folder_time_or_process(executed):
    root, (left, _) = executed
    text = left["report/notebooks/01_ok.ipynb"].decode()
    cells = json.loads(text)["cells"]
    assert str(root) not in text and "ipykernel_" not in text and "papermill" not in text
    assert [cell["id"] for cell in cells] == [
        "head",
        "cell0",
        "injected-parameters",
        "cell1",
        "cell2",
        "cell3",
    ]
    assert "".join(cells[2]["source"]).splitlines() == [
        "# Parameters",
        "output_dir = 'build/interactive'",
        "input_dir = 'build/interactive'",
        "lr = 0.0005",
    ]
    shown = [(output.get("name"), "".join(output.get("text", ""))) for output in cells[4]["outputs"]]
    assert shown[0] == ("stdout", "step 0\nstep 1\nstep 2\nended\n")
    assert shown[1][0] == "stderr" and shown[1][1].startswith("cell:11: UserWarning: look here")
    assert cells[4]["outputs"][2]["data"]["text/plain"] == ["'build/interactive'"]


def test_a_notebook_runs_in_its_own_folder_and_finds_nothing_else_there(executed):
    _, (left, _) = executed
    cells = json.loads(left["report/notebooks/01_ok.ipynb"])["cells"]
    assert cells[5]["outputs"][0]["data"]["text/plain"] == ["['01_ok.ipynb']"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "raise ValueError('too\\nbad')",
            "01_fails: cell [4] ended with ValueError: too bad; what ran, and a log, are in build/failed/",
        ),
        (
            "import sys; sys.exit(0)",
            "01_fails: cell [4] ended with SystemExit: 0; what ran, and a log, are in",
        ),
        ("import time; time.sleep(60)", "01_fails: cell [4] ended with CellTimeoutError: A cell timed out"),
        ("import os; os.kill(os.getpid(), 9)", "01_fails: cell [4] ended with DeadKernelError: Kernel died"),
        ("import os; os._exit(0)", "01_fails: cell [4] ended with DeadKernelError: Kernel died"),
    ],
    ids=["error", "exit", "timeout", "killed", "ended"],
)
def test_a_failed_run_changes_no_output_and_stops_the_rest(
    tmp_path, capsys, fake_run_of_others, source, message
):
    write = WRITE + "\nprint('printed before')"
    write_notebook(tmp_path / "notebooks" / "01_fails.ipynb", write, source, "'never'")
    write_notebook(tmp_path / "notebooks" / "02_next.ipynb")
    write_file(tmp_path / "out" / "results" / "Cora" / "ok.csv", "earlier")
    options = ["--output-dir", "out", "--timeout", "2"]
    assert call(tmp_path, *options, stems=("01_fails", "02_next")) == 1
    assert f"error: {message}" in capsys.readouterr().err
    assert contents(tmp_path / "out") == {"results/Cora/ok.csv": b"earlier"}
    assert list((tmp_path / "build" / "stage").glob("*/*")) == []
    assert not (tmp_path / "build" / "stamps").exists()
    (folder,) = (tmp_path / "build" / "failed").iterdir()
    kept = json.loads((folder / "01_fails.ipynb").read_text())
    assert [cell["execution_count"] for cell in kept["cells"] if cell["cell_type"] == "code"][-1] is None
    log = (folder / "log.txt").read_text()
    assert "printed before" in log and message.split(";")[0] in log
    assert fake_run_of_others == []


@pytest.fixture
def fake_run_of_others(monkeypatch):
    """Run 01_fails for real and only note the others."""
    started, real = [], execute.run

    def run(job, timeout=None):
        return real(job, timeout) if job.notebook.stem == "01_fails" else started.append(job)

    monkeypatch.setattr(execute, "run", run)
    return started


def test_the_report_becomes_a_page_without_code(tmp_path, monkeypatch):
    fake_data(monkeypatch, lambda name: name)
    figure = f"{{'image/png': '{PIXEL}'}}"
    show = f"display({figure}, raw=True, metadata={{'image/png': {{'alt': 'one \"dot\"'}}}}); secret = 7"
    parameters = PARAMETERS + "\ndataset = 'auto'"
    write_notebook(tmp_path / "notebooks" / "09_report.ipynb", show, parameters=parameters)
    options = ["--output-dir", "out", "--set", "dataset: CiteSeer"]
    assert call(tmp_path, *options, stems=("09_report",)) == 0
    made = contents(tmp_path / "out")
    assert made.keys() == {
        "report/CiteSeer/notebooks/09_report.ipynb",
        "report/CiteSeer/report.html",
        "results/CiteSeer/provenance/09_report.json",
    }
    page = made["report/CiteSeer/report.html"].decode()
    assert "<title>The title (CiteSeer)</title>" in page
    assert "secret" not in page and PIXEL in page and "alt='one \"dot\"'" in page
    assert "require.min.js" not in page and "mermaid" not in page.split("</head>")[1]
    (stamp,) = (tmp_path / "build" / "stamps").glob("*/09_report.json")
    assert json.loads(stamp.read_text())["outputs"].keys() == made.keys()
    again = report.render(tmp_path / "out" / "report/CiteSeer/notebooks/09_report.ipynb", " (CiteSeer)")
    assert again == page


def test_two_runs_at_the_same_time_do_not_meet(tmp_path, monkeypatch):
    """The first run starts the second before it writes; each must end with its own files."""
    path = write_notebook(tmp_path / "notebooks" / "01_ok.ipynb")
    jobs = [Job(path, tmp_path / name, {}, {}, dataset=name) for name in ("a", "b")]
    stages = []

    def fake_execute(job, stage, executed, timeout):
        stages.append(stage)
        if job is jobs[0]:
            notebook.run(jobs[1])
        write_file(stage / "results" / "x.csv", job.dataset)
        executed.write_text(job.notebook.read_text())

    monkeypatch.setattr(notebook, "_execute", fake_execute)
    notebook.run(jobs[0])
    assert len(set(stages)) == 2 and not any(stage.exists() for stage in stages)
    assert [(tmp_path / name / "results" / "x.csv").read_text() for name in ("a", "b")] == ["a", "b"]


def test_a_cell_that_never_ran_is_a_failure():
    import nbformat.v4 as v4

    def code(count, source="1"):
        return v4.new_code_cell(source, execution_count=count)

    empty, text = code(None, "  \n"), v4.new_markdown_cell("text")
    assert notebook.failure(v4.new_notebook(cells=[code(1), empty, text, code(2)])) is None
    halted = v4.new_notebook(cells=[code(1), code(2), code(None)])
    assert notebook.failure(halted) == "cell [2] ended with no error, but the cells after it did not run"
    assert notebook.failure(halted, "DeadKernelError: Kernel died") == (
        "cell [2] ended with DeadKernelError: Kernel died"
    )


def test_of_controls_the_text_remains(tmp_path):
    import nbformat.v4 as v4

    bundle = {notebook.WIDGET: {"model_id": "random"}, "text/plain": "controls"}
    settled = notebook.settle([v4.new_output("display_data", bundle), v4.new_output("error")], tmp_path)
    assert settled[0].data == {"text/plain": "controls"} and settled[1].output_type == "error"
