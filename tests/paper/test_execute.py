import errno
import hashlib
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import execute
import pytest
from execute import plan, resolve_dataset
from filelock import FileLock
from parameters import ParameterError
from tiny_project import PAPER, PARAMETERS, WRITE, call, contents, write_file, write_notebook

NOISE = """import sys, time, warnings
for step in range(3):
    print('step', step, flush=True)
    time.sleep(0.1)
    print(f'\\r{step}/3', end='', file=sys.stderr, flush=True)
warnings.warn('look here', stacklevel=1)
output_dir, input_dir"""
LIST = "import os\nos.listdir()"


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A project in which 01_ok was run twice, and what it left each time."""
    root = tmp_path_factory.mktemp("executed")
    parameters = f"{PARAMETERS}\ninput_dir = '.'"
    path = write_notebook(root / "notebooks" / "01_ok.ipynb", WRITE, NOISE, LIST, parameters=parameters)
    source, left = path.read_bytes(), []
    other = {"results/Cora/other.csv": hashlib.sha256(b"of another notebook").hexdigest()}
    write_file(root / "out" / "results" / "Cora" / "other.csv", "of another notebook")
    write_file(root / "out" / "settings.yaml", "lr: 0.0005")
    record = {"files": other, "machine": {"system": "another"}}
    write_file(root / "out" / "results" / "Cora" / "provenance" / "02_other.json", json.dumps(record))
    for _ in range(2):
        assert call(root, "--set", "lr: 5e-4", "--output-dir", "out") == 0
        left.append(contents(root / "out"))
    assert path.read_bytes() == source
    return root, left


def test_a_run_leaves_its_files_and_a_rerun_the_same_bytes(executed):
    _, (first, second) = executed
    record = "results/Cora/provenance/01_ok.json"
    tables = {"results/Cora/ok.csv", "results/Cora/other.csv", "results/Cora/provenance/02_other.json"}
    assert first.keys() == {*tables, "report/notebooks/01_ok.ipynb", record, "settings.yaml"}
    assert first["results/Cora/ok.csv"] == b"[2, 4] 0.0005 3"
    settings = {"depths": [2, 4], "lr": 0.0005, "epochs": 3, "input_dir": "out"}
    assert json.loads(first[record])["settings"] == settings
    assert first == second


def test_the_executed_notebook_names_no_absolute_folder_time_or_process(executed):
    root, (left, _) = executed
    text = left["report/notebooks/01_ok.ipynb"].decode()
    cells = json.loads(text)["cells"]
    absent = (str(root), "stage", "ipykernel_", "papermill", "UserWarning")
    assert not [word for word in absent if word in text]
    parameters = "".join(cells[2]["source"]).splitlines()
    assert {'output_dir = "out"', 'input_dir = "out"', "lr = 0.0005"} <= {*parameters}
    printed, value = cells[4]["outputs"]
    assert "".join(printed["text"]) == "step 0\nstep 1\nstep 2\n"
    assert value["data"]["text/plain"] == ["('out', 'out')"]
    assert cells[5]["outputs"][0]["data"]["text/plain"] == ["['01_ok.ipynb']"]  # its own folder


FAILURES = {
    "def broken(*_, **__): raise OSError\nget_ipython().showtraceback = broken\n1 / 0": "OSError",
    "raise ValueError('too\\nbad')": "ValueError: too",
    "import sys; sys.exit(0)": "sys.exit",
    "import os; os._exit(0)": "DeadKernelError",
}


@pytest.mark.parametrize("source", FAILURES)
def test_a_failed_run_changes_no_output_and_stops_the_rest(tmp_path, capsys, source):
    write_notebook(tmp_path / "notebooks" / "01_fails.ipynb", WRITE, source, "'never'")
    write_notebook(tmp_path / "notebooks" / "02_beside.ipynb", "import time; time.sleep(6)")
    write_notebook(tmp_path / "notebooks" / "03_next.ipynb", "open('started', 'w')")
    write_file(tmp_path / "out" / "results" / "Cora" / "ok.csv", "earlier")
    assert call(tmp_path, "--output-dir", "out", stems=("01_fails", "02_beside", "03_next")) == 1
    said = capsys.readouterr().err
    failed = tmp_path / "build" / "failed" / "01_fails.ipynb"
    assert "01_fails" in said and FAILURES[source] in said and str(failed) in said
    left = contents(tmp_path / "out")
    assert left.pop("results/Cora/ok.csv") == b"earlier" and all("02_beside" in name for name in left)
    never = json.loads(failed.read_text())["cells"][-1]
    assert never["source"] == ["'never'"] and never["execution_count"] is None
    assert not (tmp_path / "notebooks" / "started").exists()


MEET = """from pathlib import Path
import time
Path('{own}').touch()
while not Path('{other}').exists():
    time.sleep(0.1)"""


def test_two_run_side_by_side_and_one_that_reads_tables_waits_for_them(tmp_path, capsys):
    for stem, own, other in (("01_one", "a", "b"), ("02_other", "b", "a")):
        write_notebook(tmp_path / "notebooks" / f"{stem}.ipynb", MEET.format(own=own, other=other))
    reads = "assert Path('..', input_dir, 'report', 'notebooks', '02_other.ipynb').exists()"
    path = tmp_path / "notebooks" / "10_reads.ipynb"
    write_notebook(path, "from pathlib import Path", reads, parameters="input_dir = '.'")
    assert call(tmp_path, "--output-dir", "out", stems=("01_one", "02_other", "10_reads")) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("10_reads")


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
    one, two = (project / "notebooks" / name for name in ("01_ok.ipynb", "02_other.ipynb"))
    mine = write_file(project / "mine.yaml", "lr: 5e-4\nepochs: 5\n")
    place, given, _ = plan([one, two], [], [], Path("out"))
    assert place == project / "out"
    assert given[one] == {"depths": [2, 4], "lr": 0.2, "epochs": 4, "output_dir": "out/.stage/01_ok"}
    assert given[two] == {"num_seeds": 6, "lr": 0.3, "dataset": "SyntheticCora", "input_dir": "out"}
    _, given, told = plan([one], [mine], ["epochs: 9", "{epochs: 9}"], Path("out"))
    assert given[one]["lr"] == 5e-4 and given[one]["epochs"] == 9
    assert told == {"lr": 5e-4, "epochs": 9}
    _, given, _ = plan([two], [], ["{dataset: CiteSeer, input_dir: in}"], None)
    assert given[two] == {"num_seeds": 6, "lr": 0.3, "dataset": "CiteSeer", "input_dir": "in"}


def test_the_default_folder_depends_on_the_settings_only(project):
    plans = [plan([project / "notebooks" / "01_ok.ipynb"], [], [x], None) for x in ("", "lr: 1", "{lr:   1}")]
    plain, one, same = (place for place, *_ in plans)
    assert plain.parent == project / "build" and plain != one == same


def test_a_changed_run_leaves_a_file_of_its_settings_with_which_it_can_be_repeated(project):
    more = write_file(project / "more.yaml", "epochs: 8\ndepths: [2]\n")
    assert call(project, "-f", str(more), "--set", "{epochs: 9, lr: 5e-4}", "--set", "") == 0
    (folder,) = project.glob("build/run-*")
    repeat, *lines = (folder / "settings.yaml").read_text().splitlines()
    assert lines == ["epochs: 9", "depths: [2]", "lr: 0.0005"]
    place = folder.relative_to(project)
    command = f"notebooks/01_ok.ipynb -f {place}/settings.yaml --output-dir {place}"
    assert repeat == f"# python paper {command}"
    before = contents(folder)
    assert call(project, "-f", str(folder / "settings.yaml")) == 0
    assert contents(folder) == before and list(project.glob("build/run-*")) == [folder]


def test_a_folder_takes_runs_of_one_setting_only(project, capsys):
    """The data set, and how many processes train, may differ; the project's own are of the defaults."""
    other = ["--output-dir", "out", "--set"]
    assert call(project, *other, "epochs: 9") == 0
    made = contents(project / "out")
    for asked in ([*other, "lr: 1"], [*other, "{epochs: 9, lr: 1}"], ["--output-dir", "out"]):
        assert call(project, *asked) == 2
        said = capsys.readouterr().err
        assert str(project / "out") in said and '{"epochs": 9}' in said
    assert call(project, "--output-dir", ".", "--set", "lr: 1") == 2
    assert contents(project / "out") == made and not (project / "results").exists()
    file = write_file(project / "own.yaml", "{epochs: 9, dataset: CiteSeer}")
    assert call(project, "--output-dir", "out", "-f", str(file), stems=("01_ok", "02_other")) == 0
    assert call(project, "--output-dir", ".") == 0
    write_file(project / "out" / "settings.yaml", "[damaged")
    assert call(project, *other, "epochs: 9") == 2 and "settings.yaml" in capsys.readouterr().err


def test_other_notebooks_need_not_be_whole(project):
    write_file(project / "notebooks" / "Untitled.ipynb", "")
    write_notebook(project / "notebooks" / "mine.ipynb", parameters="lr: str = 'high'\ncolour: str = 'red'")
    file = write_file(project / "own.yaml", "{lr: 0.5, colour: blue}")
    _, given, _ = plan([project / "notebooks" / "01_ok.ipynb"], [file], [], None)
    assert next(iter(given.values()))["lr"] == 0.5
    _, given, _ = plan([project / "notebooks" / "mine.ipynb"], [file], [], None)
    assert next(iter(given.values()))["colour"] == "blue"


def _fifo(path):
    os.mkfifo(path)


def _dangling(path):
    path.symlink_to("nowhere")


IN_THE_WAY = [("figures/Cora/a.png", Path.mkdir), ("results/Cora/ok.csv", Path.mkdir), (".lock", Path.mkdir)]
IN_THE_WAY += [("report/notebooks", _dangling), ("results/Cora/ok.csv", _fifo), ("figures", Path.touch)]


@pytest.mark.parametrize(("name", "make"), IN_THE_WAY)
def test_what_is_in_the_way_is_named_before_a_kernel_starts(tmp_path, monkeypatch, capsys, name, make):
    monkeypatch.setattr(execute, "execute", lambda *_: pytest.fail("a kernel was started"))
    write_notebook(tmp_path / "notebooks" / "01_ok.ipynb", WRITE)
    (tmp_path / "out" / name).parent.mkdir(parents=True)
    make(tmp_path / "out" / name)
    assert call(tmp_path, "--output-dir", "out") == 2
    assert str(tmp_path / "out" / name) in capsys.readouterr().err


def test_a_failure_while_files_are_moved_overwrites_none(tmp_path, capsys):
    late = "from pathlib import Path\nPath('../out/results/Cora/ok.csv/x').mkdir(parents=True)"
    early = WRITE.replace("'ok.csv'", "'early.csv'").replace(
        "mkdir(parents=True)", "mkdir(parents=True, exist_ok=True)"
    )
    write_notebook(tmp_path / "notebooks" / "01_ok.ipynb", WRITE, early, late)
    write_file(tmp_path / "out" / "results" / "Cora" / "early.csv", "earlier")
    assert call(tmp_path, "--output-dir", "out") == 2
    assert str(tmp_path / "out" / "results" / "Cora" / "ok.csv") in capsys.readouterr().err
    assert contents(tmp_path / "out") == {"results/Cora/early.csv": b"earlier"}


def test_a_data_set_that_does_not_exist_is_refused(capfd):
    with pytest.raises(ParameterError, match="Nowhere"):
        resolve_dataset("Nowhere")
    assert "Nowhere" in capfd.readouterr().err


def test_the_report_becomes_a_page_in_place_of_its_notebook(project, monkeypatch):
    fake = SimpleNamespace(render=lambda nb: nb.cells[0].source)
    monkeypatch.setitem(sys.modules, "report", fake)
    write_notebook(project / "notebooks" / "11_report.ipynb", parameters="dataset = 'auto'")
    assert call(project, "--output-dir", "out", stems=("11_report",)) == 0
    names = contents(project / "out")
    assert names.pop("report/SyntheticCora/report.html") == b"Text\n\n# The title\n"
    assert [*names] == ["results/SyntheticCora/provenance/11_report.json"]


def test_a_notebook_that_reads_tables_refuses_edited_ones(tmp_path, capsys):
    write_notebook(tmp_path / "notebooks" / "01_ok.ipynb", WRITE)
    write_notebook(tmp_path / "notebooks" / "08_reads.ipynb", parameters="input_dir = '.'")
    assert call(tmp_path, "--output-dir", "out") == 0
    table = write_file(tmp_path / "out" / "results" / "Cora" / "ok.csv", "edited")
    assert call(tmp_path, "--output-dir", "out", stems=("08_reads",)) == 1
    assert str(table) in capsys.readouterr().err


@pytest.mark.parametrize("code", ["ENOSYS", "ENOTSUP", "ENOLCK"])
def test_where_files_cannot_be_locked_a_run_says_so_and_goes_on(project, monkeypatch, code):
    def flock(*_):
        raise OSError(getattr(errno, code), code)

    ran = []
    monkeypatch.setattr("fcntl.flock", flock)
    monkeypatch.setattr(execute, "run_all", lambda given, place: ran.append(place))
    write_file(project / "out" / ".lock", "")  # left by a command that could lock it
    with pytest.warns(UserWarning, match=str(project / "out" / ".lock")):
        assert call(project, "--output-dir", "out") == 0 and ran == [project / "out"]


def test_a_second_command_waits_and_removes_what_a_killed_one_left(tmp_path):
    notebook = write_notebook(tmp_path / "notebooks" / "01_ok.ipynb", WRITE)
    left = write_file(tmp_path / "out" / ".stage" / "old.csv", "half")
    command = [sys.executable, PAPER, str(notebook), "--output-dir", "out"]
    with FileLock(tmp_path / "out" / ".lock"):
        second = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        while not second.stdout.readline().startswith("outputs go to"):
            pass
        time.sleep(1)
        assert second.poll() is None and left.exists()
    assert second.communicate(timeout=60)[0].startswith("01_ok") and second.returncode == 0
    assert "old.csv" not in contents(tmp_path / "out")


STRANGE = {"TQDM_MININTERVAL": "x", "TORCH_LOGS": "+all", "OMP_NUM_THREADS": "x", "PYTHONWARNINGS": "error"}
STRANGE |= {
    "PYTHONDEVMODE": "1",
    "PYTHONINSPECT": "1",
    "MPLBACKEND": "pdf",
    "COLUMNS": "9",
    "TZ": "Asia/Tokyo",
}
STRANGE |= {
    "LC_ALL": "tr_TR.UTF-8",
    "ATEN_CPU_CAPABILITY": "default",
    "HOME": "/proc/none",
    "IPYTHONDIR": "/proc/x",
}
SEES = """import os, sys, locale
import matplotlib
import tqdm
list(tqdm.tqdm(range(2)))
assert matplotlib.get_configdir().startswith('{root}')
sorted(os.environ), sys.flags, os.environ['https_proxy'], locale.getlocale()"""


def test_of_the_environment_only_what_is_needed_reaches_a_notebook(tmp_path):
    notebook = write_notebook(tmp_path / "notebooks" / "01_ok.ipynb", SEES.format(root=PAPER.parent))
    command, found = [sys.executable, PAPER, str(notebook), "--output-dir", "out"], []
    for more in ({}, STRANGE):
        env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "https_proxy": "http://a:1"} | more
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0, done.stderr
        found.append(contents(tmp_path / "out"))
    assert found[0] == found[1]


@pytest.mark.faults
@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&- <&-", "| head -n 1", "> /dev/full", "2>&1 | true"])
def test_closed_streams_leave_no_traceback(tmp_path, closed):
    notebook = write_notebook(tmp_path / "notebooks" / "01_ok.ipynb", "import sys; sys.stderr.write('noise')")
    command = shlex.join([sys.executable, str(PAPER), str(notebook), "--output-dir", "out"])
    options = {"capture_output": True, "text": True, "timeout": 100, "check": False}
    done = subprocess.run(["bash", "-o", "pipefail", "-c", f"{command} {closed}"], **options)
    assert "Traceback" not in done.stderr and "ignored" not in done.stderr
    whole = closed.endswith("&-")
    if "head" not in closed:  # it may end before or after the last line
        assert (done.returncode == 0) == whole == (tmp_path / "out" / "report" / "notebooks").exists()


INTERRUPTED = """
import signal, subprocess, threading, time
from pathlib import Path
import execute

def run(*_):
    time.sleep(0.5)  # until the main thread waits
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)  # this thread gets it, not the main one
    subprocess.run(["sleep", "60"])

execute.run = run
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
execute.run_all({Path.cwd() / "one.ipynb": {}}, Path.cwd())
"""


def test_an_interrupt_counts_whichever_thread_the_system_gives_it(tmp_path):
    command = [sys.executable, "-c", INTERRUPTED]
    options = {"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": str(PAPER)}}
    done = subprocess.run(command, **options, capture_output=True, text=True, timeout=30, check=False)
    assert "KeyboardInterrupt" in done.stderr
