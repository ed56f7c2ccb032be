"""Kills, full disks, runs side by side and odd settings, on whole copies of the project."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from checkout import ROOT, SET, Checkout

from deadgcn.paper import execute

pytestmark = pytest.mark.faults
STUDY = "03_depth"  # trains a grid and draws it
TABLE = "depth_runs.csv"  # which it writes
# The module and the line after which a run is stored, and a figure.
TRAINING = "experiments/parallel.py", "store(self.folder, key, result)"
DRAWING = "plots/style.py", '(folder / f"{name}.png").write_bytes(to_png(fig, dpi=150))'


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
    (own,) = [n for n, line in copy.processes().items() if "deadgcn.paper.execute" in line]
    os.kill(own, number)
    text, _ = process.communicate(timeout=300)
    assert process.returncode == 2 and "error: interrupted" in text and "Traceback" not in text
    copy.wait_for_the_end()
    assert copy.outputs() == {} and not copy.stages()


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
    command = [copy.root / ".venv" / "bin" / "python", "-I", "-m", "deadgcn.paper.execute"]
    command += [f"notebooks/{STUDY}.ipynb", "--set", SET, "--output-dir", "out"]
    with small_disk(copy.root / place, "64k"):
        done = subprocess.run(command, cwd=copy.root, capture_output=True, text=True, check=False)
        assert done.returncode in (1, 2) and "No space left on device" in done.stderr, done.stderr
        left = [path for path in copy.root.glob("out/**/*") if path.is_file()]
        assert [path for path in left if path.name != ".lock"] == []


def test_odd_settings_run_to_the_end(tmp_path):
    """One layer, one seed, two neurons, no weight decay: tables and figures must cope with it."""
    ones = "num_layers example_num_layers num_seeds num_seeds_deep num_seeds_pairs num_seeds_more"
    settings = dict.fromkeys([*ones.split(), "num_seeds_others"], 1) | {"dataset": "SyntheticCora"}
    settings |= {"epochs": 2, "epochs_alive": 2, "hidden_channels": 2, "weight_decay": 0.0}
    settings |= {"deeper_depths": [2, 3]} | {name: [1] for name in ("depths", "powers", "search_depths")}
    notebooks = sorted(map(str, Path(ROOT, "notebooks").glob("[0-9]*.ipynb")))
    assert execute.main([*notebooks, "--set", json.dumps(settings), "--output-dir", str(tmp_path)]) == 0
    assert "SyntheticCora" in (tmp_path / "report" / "SyntheticCora" / "report.html").read_text()
