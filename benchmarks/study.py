"""How long a user waits: for the study, cold, from finished runs and with one more depth; for the tests.

The study happens in a scratch copy of the project, by the command of `make figures`, so that neither the
evidence nor the finished runs of this project are touched.
"""

import re
import resource
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import yaml
from processes import timed

from deadgcn.data.graphs import resolve_dataset

PROJECT = Path(__file__).resolve().parents[1]
PARTS = ("params", "notebooks", "deadgcn", "data", "results/published", "results/profiles", "results/bench")
PARTS += ("pyproject.toml",)


def measure(
    project: Path = PROJECT,
    cached_repetitions: int = 1,
    longer_repetitions: int = 1,
    options: Sequence[str] = (),
) -> dict[str, pd.DataFrame]:
    """Run all notebooks of a copy of the project; return the tables `study`, one row per time, and `minutes`.

    `peak_mib` is the memory of the largest process up to then; `minutes` has a row per notebook and time.
    `options` are more of the command line. Raises RuntimeError if the copy's own package is not what runs.
    """
    if project == PROJECT:
        resolve_dataset("auto")  # the copy takes the data from here
    depths = yaml.safe_load((project / "params" / "02_depth.yaml").read_text(encoding="utf-8"))["depths"]
    step = depths[-1] - depths[-2] if len(depths) > 1 else 1
    longer = ["--set", f"depths: {[*depths, depths[-1] + step]}"]
    rows, minutes = [], []
    with tempfile.TemporaryDirectory(prefix="study-") as folder:
        copy = Path(folder, "project")
        for part in PARTS:
            _copy(project / part, copy / part)
        python = _own_python(copy)
        for what, repetitions, more in (
            ("cold", 1, []),
            ("cached", cached_repetitions, []),
            ("one more depth", longer_repetitions, longer),
        ):
            for repetition in range(repetitions):
                before = _finished_runs(copy)
                seconds, printed = timed(_execute, python, copy, [*options, *more])
                trained, key = _finished_runs(copy) - before, {"what": what, "repetition": repetition}
                peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**10
                rows.append({**key, "seconds": seconds, "runs_trained": trained, "peak_mib": peak})
                told = re.findall(r"^(\d\d_\w+) +([\d.]+) min$", printed, flags=re.M)
                minutes += [{**key, "notebook": name, "minutes": float(taken)} for name, taken in told]
                print(f"{what}: {seconds:.0f} s, {trained} runs trained", flush=True)
    return {"study": pd.DataFrame(rows), "minutes": pd.DataFrame(minutes)}


def measure_tests(project: Path = PROJECT) -> dict[str, pd.DataFrame]:
    """Run `make test`; return the table `tests`: seconds, and how many passed. RuntimeError if any failed."""
    options = {"cwd": project, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    seconds, done = timed(subprocess.run, ["make", "test"], **options, check=False)
    if done.returncode:
        raise RuntimeError(f"make test ended with {done.returncode}: {done.stdout[-2000:]}")
    passed = int(re.search(r"(\d+) passed", done.stdout)[1])
    return {"tests": pd.DataFrame([{"seconds": seconds, "passed": passed}])}


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    elif source.exists():
        shutil.copy(source, target)


def _own_python(copy: Path) -> Path:
    """A Python that finds the copy's package first, and all else where this one does; so do its kernels."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(copy / ".venv")], check=True)
    (site,) = (copy / ".venv").glob("lib/python*/site-packages")
    (site / "copy.pth").write_text(f"{copy}\n{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    (copy / ".venv" / "share").symlink_to(Path(sys.prefix, "share"))  # nbconvert's templates
    python = copy / ".venv" / "bin" / "python"
    command = [str(python), "-I", "-c", "import deadgcn; print(deadgcn.__file__)"]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    if not Path(found).is_relative_to(copy):
        raise RuntimeError(f"the study's copy must import its own package, but {found} was found")
    return python


def _execute(python: Path, copy: Path, options: Sequence[str]) -> str:
    notebooks = [str(path) for path in sorted((copy / "notebooks").glob("[0-9]*.ipynb"))]
    # Cached runs are what is timed, not the stamps that spare a notebook altogether.
    command = ["-I", "-m", "deadgcn.paper.execute", *notebooks, "--output-dir", ".", "--force", *options]
    done = subprocess.run([str(python), *command], cwd=copy, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the study's command ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def _finished_runs(copy: Path) -> int:
    """Entries in the copy's cache, one per run."""
    return len(list((copy / ".cache").rglob("*.run")))
