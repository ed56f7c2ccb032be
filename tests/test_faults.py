"""Kills, full disks, runs side by side and odd settings, on whole copies of the project."""

import contextlib
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import execute
import pytest
import torch
from checkout import ROOT, SET, Checkout, clean_environment

from deadgcn.data.synthetic import synthetic_cora

pytestmark = pytest.mark.faults
STUDY = "03_depth"  # trains a grid and draws it
TABLE = "depth_runs.csv"  # which it writes
# The module and the line after which a run is stored, and a figure.
TRAINING = "experiments/parallel.py", "store(folder, key, result)"
DRAWING = "plots/style.py", 'Path(folder, f"{name}.png").write_bytes(to_png(fig, dpi=150))'


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """What the study leaves when nothing happens to it."""
    copy = Checkout(tmp_path_factory.mktemp("undisturbed"))
    status, text = copy.make(STUDY)
    assert status == 0, text
    assert any(name.endswith(TABLE) for name in copy.outputs())
    return copy


@pytest.fixture
def copy(tmp_path):
    copy = Checkout(tmp_path)
    yield copy
    _kill(copy.processes())


@pytest.fixture
def trained(copy, undisturbed):
    """A copy with the cache of the undisturbed one."""
    shutil.copytree(undisturbed.root / ".cache", copy.root / ".cache")
    return copy


def _edit(copy, module, pattern, replacement):
    path = copy.root / "deadgcn" / module
    source, count = re.subn(pattern, replacement, path.read_text(), flags=re.M)
    assert count == 1
    path.write_text(source)


def _hold(copy, module, line):
    """Return a file; while it exists, the copy waits after that line, so that no kill comes too late."""
    held = copy.root / "held"
    held.touch()
    wait = f"while __import__('os').path.exists({str(held)!r}): __import__('time').sleep(0.01)"
    _edit(copy, module, rf"^( *)({re.escape(line)})$", rf"\1\2\n\1{wait}")
    return held


def _kill(numbers):
    for number in numbers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


def test_killed_while_training_it_goes_on_and_ends_with_the_same_bytes(copy, undisturbed):
    """In worker processes, which must not outlive their kernel; their number changes no number."""
    _edit(copy, "experiments/parallel.py", r"^(WORTH_A_PROCESS =) \w+", r"\1 1")
    held = _hold(copy, *TRAINING)
    setting = SET.replace("n_jobs: 1", "n_jobs: 2")
    process = copy.start(STUDY, setting=setting)
    copy.wait_until(copy.runs, process)
    _kill([number for number, line in copy.processes().items() if "popen_loky" not in line])
    process.communicate(timeout=300)
    copy.wait_for_the_end()
    kept = copy.runs()
    assert 0 < len(kept) < len(undisturbed.runs()) and copy.outputs() == {}
    held.unlink()
    status, text = copy.make(STUDY, setting=setting)
    assert status == 0, text
    now = copy.runs()
    assert {path: now[path] for path in kept} == kept and len(now) == len(undisturbed.runs())
    made, expected = copy.outputs(), undisturbed.outputs()
    assert made.keys() == expected.keys()
    tables = [name for name in made if name.endswith((".csv", ".png", ".gz"))]
    assert len(tables) > 5 and all(made[name] == expected[name] for name in tables)


def test_killed_while_drawing_it_leaves_nothing_and_starts_again(trained, undisturbed):
    held = _hold(trained, *DRAWING)
    process = trained.start(STUDY)
    trained.wait_until(lambda: [png for stage in trained.stages() for png in stage.rglob("*.png")], process)
    _kill(trained.processes())
    process.communicate(timeout=300)
    trained.wait_for_the_end()
    assert trained.outputs() == {}
    held.unlink()
    status, text = trained.make(STUDY)
    assert status == 0, text
    assert trained.outputs() == undisturbed.outputs() and not trained.stages()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_no_process_and_no_output(copy, number):
    _hold(copy, *TRAINING)
    process = copy.start(STUDY)
    copy.wait_until(lambda: any("ipykernel" in line for line in copy.processes().values()), process)
    (own,) = [n for n, line in copy.processes().items() if "python -I paper " in line]
    os.kill(own, number)
    text, _ = process.communicate(timeout=300)
    assert process.returncode == 2 and "error: interrupted" in text and "Traceback" not in text
    copy.wait_for_the_end()
    assert copy.outputs() == {} and not copy.stages()


# Starts a command as a shell does: in the terminal's foreground, and its first process is not a session's.
SHELL = """
import os, signal, subprocess, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
process = subprocess.Popen(sys.argv[1:], process_group=0)
os.tcsetpgrp(0, process.pid)
print("status", process.wait(), flush=True)
"""


class Terminal:
    """A command in a terminal of its own."""

    def __init__(self, folder, *command):
        self.text, self.closed = "", False
        self.leader, self.terminal = pty.fork()
        if not self.leader:
            os.chdir(folder)
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs ignore it
            os.execve(sys.executable, [sys.executable, "-c", SHELL, *command], clean_environment())

    def read(self, seconds=0.05):
        """What has been shown since the last call."""
        start = len(self.text)
        while not self.closed and select.select([self.terminal], [], [], seconds)[0]:
            try:
                self.text += os.read(self.terminal, 65_536).decode(errors="replace")
            except OSError:  # all have closed it
                self.closed = True
        return self.text[start:]

    def interrupt(self):
        """Press Ctrl-C; return what is shown from then on, and the status."""
        self.read()
        os.write(self.terminal, b"\x03")
        text, deadline = "", time.monotonic() + 60
        while not (ended := re.search(r"^status (-?\d+)", text, flags=re.M)):
            assert time.monotonic() < deadline, text
            text += self.read()
        time.sleep(1)  # what outlives the command can still write
        text += self.read()
        os.waitpid(self.leader, 0)
        os.close(self.terminal)
        return text.replace("\r\n", "\n"), int(ended[1])


def _count(copy, word):
    return sum(word in line for line in copy.processes().values())


MOMENTS = {  # when Ctrl-C is pressed, by the processes that run, and for how long
    "the data set is checked": ("paper/fetch.py", 1, 0.1),
    "networks are counted": ("paper/cost.py", 1, 1),
    "a kernel starts": ("ipykernel", 1, 0),
    "two kernels run": ("ipykernel", 2, 1.5),
    "workers start": ("popen_loky", 1, 0),
    "workers train": ("popen_loky", 4, 4),
}


@pytest.mark.parametrize("way", ["make", "python"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_in_a_terminal_shows_one_line_and_leaves_no_process(copy, moment, way):
    (copy.root / ".venv" / "etc").mkdir()
    setting = "{dataset: SyntheticCora, num_seeds: 10, epochs: 300}"
    names = [f"notebooks/{name}.ipynb" for name in (STUDY, "04_pruning")]
    command = ["make", "figures", f"NOTEBOOKS={' '.join(names)}", f"SET={setting}"]
    if way == "python":
        command = [".venv/bin/python", "paper", *names, "--set", setting]
    terminal = Terminal(copy.root, *command)
    word, number, seconds = MOMENTS[moment]
    copy.wait_until(lambda: terminal.read(0) is None or _count(copy, word) >= number)
    time.sleep(seconds)
    text, status = terminal.interrupt()
    # make ends itself by the signal, of which a shell makes 130.
    assert status in ((-signal.SIGINT,) if way == "make" else (130, -signal.SIGINT)), text
    lines = [line for line in text.split("^C")[-1].splitlines() if line and not line.startswith("status")]
    own = [line for line in lines if not line.startswith("make: ***")]
    assert len(own) <= 1 and len(lines) <= 2, text
    assert all("interrupted" in line for line in own), text
    copy.wait_until(lambda: not copy.processes(), seconds=10)
    assert copy.outputs() == {} and not copy.stages()


def test_a_second_ctrl_c_does_not_disturb_the_first(copy):
    (copy.root / ".venv" / "etc").mkdir()
    terminal = Terminal(copy.root, "make", "figures", f"NOTEBOOKS=notebooks/{STUDY}.ipynb", f"SET={SET}")
    copy.wait_until(lambda: terminal.read(0) is None or _count(copy, "ipykernel"))
    os.write(terminal.terminal, b"\x03")
    time.sleep(0.2)
    text, status = terminal.interrupt()
    assert status == -signal.SIGINT and "Traceback" not in text, text
    copy.wait_until(lambda: not copy.processes(), seconds=10)


def test_two_at_once_both_end_right(trained, undisturbed):
    both = [trained.start(STUDY) for _ in range(2)]
    texts = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], texts
    assert trained.outputs() == undisturbed.outputs()


@contextlib.contextmanager
def small_disk(folder, size):
    """A disk of that size in the place of a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
    mounted = shutil.which("mount") and subprocess.run(command, capture_output=True, check=False)
    if not mounted or mounted.returncode:
        pytest.skip("only the superuser can make a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("place", [".cache", "out"])
def test_a_full_disk_is_named_and_costs_nothing_that_was_there(copy, place):
    command = [copy.root / ".venv" / "bin" / "python", "-I", "paper"]
    command += [f"notebooks/{STUDY}.ipynb", "--set", SET, "--output-dir", "out"]
    with small_disk(copy.root / place, "64k"):
        done = subprocess.run(command, cwd=copy.root, capture_output=True, text=True, check=False)
        assert done.returncode in (1, 2) and "No space left on device" in done.stderr, done.stderr
        left = [path for path in copy.root.glob("out/**/*") if path.is_file()]
        assert [path for path in left if path.name not in (".lock", "settings.yaml")] == []


def test_odd_settings_run_to_the_end_on_a_graph_of_ones_own(tmp_path):
    """One layer, one seed, two neurons, no weight decay: tables, figures and report must cope with it."""
    torch.save(synthetic_cora(300), file := tmp_path / "MyTwin.pt")
    ones = "num_layers example_num_layers num_seeds num_seeds_deep num_seeds_pairs num_seeds_more"
    settings = dict.fromkeys([*ones.split(), "num_seeds_others"], 1) | {"dataset": str(file)}
    settings |= {"epochs": 2, "epochs_alive": 2, "hidden_channels": 2, "weight_decay": 0.0}
    settings |= {"deeper_depths": [2, 3]} | {name: [1] for name in ("depths", "powers", "search_depths")}
    notebooks = sorted(map(str, Path(ROOT, "notebooks").glob("[0-9]*.ipynb")))
    assert execute.main([*notebooks, "--set", json.dumps(settings), "--output-dir", str(tmp_path)]) == 0
    assert "(MyTwin)</title>" in (tmp_path / "report" / "MyTwin" / "report.html").read_text()
