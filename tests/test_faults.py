"""Kills, damage, full disks and runs side by side, on whole copies of the project: `make test-faults`."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import time

import pytest
from checkout import SET, Checkout

pytestmark = pytest.mark.faults
STUDY = ("02_depth",)
KILLS = 15


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The outputs of a study that nothing happened to, made by one process, and how long it took."""
    copy, start = Checkout(tmp_path_factory.mktemp("undisturbed")), time.monotonic()
    status, text = copy.make(*STUDY)
    assert status == 0, text
    assert len(copy.runs()) == 2 * 2 * 2  # arms, depths, seeds
    return copy.outputs(), time.monotonic() - start


@pytest.fixture
def copy(tmp_path):
    copy = Checkout(tmp_path)
    yield copy
    for number, _ in copy.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


def test_killed_at_random_moments_it_ends_with_the_same_bytes(copy, undisturbed):
    expected, seconds = undisturbed
    moments, kept, attempts = random.Random(0), {}, 0
    while attempts < KILLS:
        process = copy.start(*STUDY)
        time.sleep(moments.uniform(0.2, 0.6 * seconds))
        if process.poll() is not None:
            assert process.returncode == 0
            shutil.rmtree(copy.root / "build")  # it came through: everything again, from finished runs
            continue
        attempts += 1
        victims = copy.processes()
        if attempts % 3 == 0 and victims:  # one process only, whichever it is
            victims = [moments.choice(victims)]
        elif attempts % 3 == 1:
            os.killpg(process.pid, signal.SIGKILL)
        for number, _ in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        process.communicate(timeout=120)
        copy.wait_for_the_end()
        now = copy.runs()
        assert {path: now.get(path) for path in kept} == kept  # nothing finished was trained again
        kept = now
        made = copy.outputs()
        assert {name: expected[name] for name in made if not name.endswith(".part")} == {
            name: content for name, content in made.items() if not name.endswith(".part")
        }
    status, text = copy.make(*STUDY)
    assert status == 0, text
    assert copy.outputs() == expected
    assert list((copy.root / "build" / "stage").glob("*/*")) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interruption_leaves_no_process_and_no_output(copy, number):
    process = copy.start(*STUDY)
    while not any("ipykernel" in line for _, line in copy.processes()):
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(1)
    (own,) = [n for n, line in copy.processes() if "deadgcn.paper.execute" in line]
    os.kill(own, number)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 2 and "error: interrupted" in text and "Traceback" not in text
    copy.wait_for_the_end()
    assert copy.outputs() == {} and list((copy.root / "build" / "stage").glob("*/*")) == []


def test_workers_do_not_outlive_a_kernel_that_is_killed(copy):
    module = copy.root / "deadgcn" / "experiments.py"
    module.write_text(module.read_text().replace("WORTH_A_PROCESS = 20_000", "WORTH_A_PROCESS = 1"))
    long = SET.replace("n_jobs: 1", "n_jobs: 2").replace("epochs: 6", "epochs: 100000")
    process = copy.start(*STUDY, setting=long)
    while sum("popen_loky" in line for _, line in copy.processes()) < 2:
        assert process.poll() is None
        time.sleep(0.1)
    time.sleep(5)  # they import torch, and then train for hours
    for number, line in copy.processes():
        if "popen_loky" not in line:
            os.kill(number, signal.SIGKILL)
    process.communicate(timeout=60)
    copy.wait_for_the_end()


def test_two_at_once_both_end_right(copy, undisturbed):
    same = [copy.start(*STUDY) for _ in range(2)]
    other = copy.start(*STUDY, setting=SET.replace("num_seeds: 2", "num_seeds: 1"))
    texts = [process.communicate(timeout=300)[0] for process in (*same, other)]
    assert [process.returncode for process in (*same, other)] == [0, 0, 0], texts
    assert sorted("another run writes to" in text for text in texts) == [False, False, True]
    assert sorted(text.count("up to date") for text in texts) == [0, 0, 1]
    folders = {len(list(folder.rglob("*"))): folder for folder in (copy.root / "build").glob("run-*")}
    assert len(list((copy.root / "build").glob("run-*"))) == 2
    for folder in folders.values():
        made = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        record = json.loads(made["results/SyntheticCora/provenance/02_depth.json"])
        if record["settings"]["num_seeds"] == 2:
            assert made == undisturbed[0]
    assert list(copy.root.rglob("*.part")) == []


def test_damaged_runs_are_trained_again_and_nothing_else_changes(copy, undisturbed):
    assert copy.make(*STUDY)[0] == 0
    entries = sorted(copy.runs())
    contents = [path.read_bytes() for path in entries]
    entries[0].write_bytes(contents[0][:100])
    entries[1].write_bytes(os.urandom(5000))
    entries[2].write_bytes(b"")
    entries[3].write_bytes(contents[4])  # whole, but another run's
    flipped = bytearray(contents[5])
    flipped[len(flipped) // 2] ^= 1
    entries[5].write_bytes(flipped)
    (copy.root / "build").rename(copy.root / "old")
    status, text = copy.make(*STUDY)
    assert status == 0 and text.count("is damaged") >= 5, text
    assert copy.outputs() == undisturbed[0]
    assert [path.read_bytes() for path in entries] == contents


@pytest.mark.parametrize("damage", ["half", "edited"])
def test_a_damaged_table_is_made_again_by_the_same_command(copy, undisturbed, damage):
    assert copy.make(*STUDY)[0] == 0
    (path,) = (copy.root / "build").glob("run-*/results/*/depth_runs.csv")
    text = path.read_text()
    path.write_text(text[: len(text) // 2] if damage == "half" else text.replace("0.", "0.9", 1))
    assert copy.make(*STUDY)[0] == 0
    assert copy.outputs() == undisturbed[0]


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


@pytest.mark.parametrize(
    ("place", "size"),
    [("build/stage", "16k"), ("build/stage", "400k"), (".cache", "64k"), (".cache", "200k"), ("out", "64k")],
)
def test_a_full_disk_is_named_and_costs_nothing_that_was_there(copy, place, size):
    script = [
        "-I",
        "-m",
        "deadgcn.paper.execute",
        "notebooks/02_depth.ipynb",
        "--set",
        SET,
        "--output-dir",
        "out",
    ]

    def run():
        command = [copy.root / ".venv" / "bin" / "python", *script]
        return subprocess.run(command, cwd=copy.root, capture_output=True, text=True, check=False)

    with small_disk(copy.root / place, size):
        done = run()
        assert done.returncode == 1, (done.stdout, done.stderr)
        assert "No space left on device" in done.stderr or "disk full" in done.stderr, done.stderr
        assert not [p for p in (copy.root / "out").rglob("*") if p.is_file() and "failed" not in str(p)]


def test_a_folder_that_cannot_be_written_to_is_named_before_anything_runs(copy):
    (copy.root / "out").mkdir()
    (copy.root / "out" / "figures").write_text("a file in the place of the folder")
    options = ["notebooks/02_depth.ipynb", "--set", SET, "--output-dir", "out"]
    command = [copy.root / ".venv" / "bin" / "python", "-I", "-m", "deadgcn.paper.execute", *options]
    done = subprocess.run(command, cwd=copy.root, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Not a directory" in done.stderr and "out/figures" in done.stderr
    assert copy.runs() == {} and [p.name for p in (copy.root / "out").iterdir()] == ["figures"]


def test_the_number_of_processes_changes_no_number(copy, undisturbed):
    experiments = copy.root / "deadgcn" / "experiments.py"
    source = experiments.read_text()
    assert "WORTH_A_PROCESS = 20_000" in source
    experiments.write_text(source.replace("WORTH_A_PROCESS = 20_000", "WORTH_A_PROCESS = 1"))
    status, text = copy.make(*STUDY, setting=SET.replace("n_jobs: 1", "n_jobs: 3"))
    assert status == 0, text
    made, expected = copy.outputs(), undisturbed[0]
    assert made.keys() == expected.keys()
    compared = [
        name for name in made if name.startswith(("figures/", "results/")) and "provenance" not in name
    ]
    assert len(compared) > 20 and all(made[name] == expected[name] for name in compared)
