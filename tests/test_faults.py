"""Kills, damage, full disks, runs side by side and odd settings, on whole copies of the project."""

import contextlib
import os
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


def _kill(numbers):
    for number in numbers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


def test_killed_while_training_it_goes_on_and_ends_with_the_same_bytes(copy, undisturbed):
    """In worker processes, which must not outlive their kernel; their number changes no number."""
    module = copy.root / "deadgcn" / "experiments" / "parallel.py"
    source = module.read_text()
    assert "WORTH_A_PROCESS = 4_000" in source
    module.write_text(source.replace("WORTH_A_PROCESS = 4_000", "WORTH_A_PROCESS = 1"))
    setting = SET.replace("n_jobs: 1", "n_jobs: 2")
    process = copy.start(STUDY, setting=setting)
    copy.wait_until(copy.runs, process)
    _kill([number for number, line in copy.processes().items() if "popen_loky" not in line])
    process.communicate(timeout=300)
    copy.wait_for_the_end()
    kept = copy.runs()
    assert kept and copy.outputs() == {}
    status, text = copy.make(STUDY, setting=setting)
    assert status == 0, text
    now = copy.runs()
    assert {path: now[path] for path in kept} == kept and len(now) == len(undisturbed.runs())
    made, expected = copy.outputs(), undisturbed.outputs()
    assert made.keys() == expected.keys()
    tables = [name for name in made if name.endswith((".csv", ".png", ".gz"))]
    assert len(tables) > 5 and all(made[name] == expected[name] for name in tables)


def test_killed_while_drawing_it_leaves_nothing_and_starts_again(trained, undisturbed):
    process = trained.start(STUDY)
    stage = trained.root / "build" / "stage"
    trained.wait_until(lambda: list(stage.rglob("*.png")), process)
    _kill(trained.processes())
    process.communicate(timeout=300)
    trained.wait_for_the_end()
    assert trained.outputs() == {}
    status, text = trained.make(STUDY)
    assert status == 0, text
    assert trained.outputs() == undisturbed.outputs() and not list(stage.glob("*/*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_no_process_and_no_output(copy, number):
    process = copy.start(STUDY)
    copy.wait_until(lambda: any("ipykernel" in line for line in copy.processes().values()), process)
    (own,) = [n for n, line in copy.processes().items() if "deadgcn.paper.execute" in line]
    os.kill(own, number)
    text, _ = process.communicate(timeout=300)
    assert process.returncode == 2 and "error: interrupted" in text and "Traceback" not in text
    copy.wait_for_the_end()
    assert copy.outputs() == {} and not list((copy.root / "build" / "stage").glob("*/*"))


def test_two_at_once_both_end_right(trained, undisturbed):
    both = [trained.start(STUDY) for _ in range(2)]
    texts = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], texts
    assert sorted("waiting" in text for text in texts) == [False, True]
    assert trained.outputs() == undisturbed.outputs()


def test_damaged_runs_are_trained_again(trained, undisturbed):
    entries = sorted(trained.runs())
    contents = [path.read_bytes() for path in entries]
    entries[0].write_bytes(contents[0][:100])
    entries[1].write_bytes(b"")
    entries[2].write_bytes(contents[3])  # whole, but another run's
    flipped = bytearray(contents[4])
    flipped[len(flipped) // 2] ^= 1
    entries[4].write_bytes(flipped)
    status, text = trained.make(STUDY)
    assert status == 0 and text.count("is damaged") == 4, text
    assert trained.outputs() == undisturbed.outputs()
    assert [path.read_bytes() for path in entries] == contents


def test_damaged_raw_data_are_named_before_anything_runs(copy):
    raw = copy.root / "data" / "Cora" / "raw" / "ind.cora.x"
    raw.parent.mkdir(parents=True)
    raw.write_bytes(b"not what was published")
    status, text = copy.make(STUDY, setting=SET.replace("SyntheticCora", "auto"))
    assert status == 2 and str(raw) in text and "Traceback" not in text
    assert copy.outputs() == {}


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


def _execute(copy):
    command = [copy.root / ".venv" / "bin" / "python", "-I", "-m", "deadgcn.paper.execute"]
    options = [f"notebooks/{STUDY}.ipynb", "--set", SET, "--output-dir", "out"]
    done = subprocess.run([*command, *options], cwd=copy.root, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize(("place", "size"), [("build/stage", "100k"), (".cache", "64k"), ("out", "64k")])
def test_a_full_disk_is_named_and_costs_nothing_that_was_there(copy, place, size):
    with small_disk(copy.root / place, size):
        status, text = _execute(copy)
        assert status == 1 and "No space left on device" in text, text
        assert not [path for path in (copy.root / "out").rglob("*") if path.is_file()]


def test_a_folder_that_cannot_be_written_to_is_named_before_anything_runs(copy):
    (copy.root / "out").mkdir()
    (copy.root / "out" / "figures").write_text("a file in the place of the folder")
    status, text = _execute(copy)
    assert status == 1 and "out/figures" in text and copy.runs() == {}


def test_odd_settings_run_to_the_end(tmp_path):
    """A depth that nobody published, one layer, one seed: tables and figures must cope with it."""
    settings = "{dataset: SyntheticCora, depths: [1], num_seeds: 1, epochs: 2, num_layers: 1, powers: [1], "
    settings += "example_num_layers: 1, num_seeds_deep: 1, walk_depths: [1], num_seeds_walk: 1, "
    settings += "option_depths: [1], num_seeds_options: 1}"
    notebooks = sorted(map(str, Path(ROOT, "notebooks").glob("0*.ipynb")))
    assert execute.main([*notebooks, "--set", settings, "--output-dir", str(tmp_path)]) == 0
    (page,) = tmp_path.glob("report/**/report.html")
    assert page.parent.name == "SyntheticCora" and "SyntheticCora" in page.read_text()
