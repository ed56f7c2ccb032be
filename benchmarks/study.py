"""How long `make figures` takes: from nothing, from finished runs, and with one more depth.

It runs in a scratch copy of the project, so that neither its results nor its finished runs are touched.
"""

import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from processes import timed

import deadgcn as dg

PARTS = ("params", "notebooks", "deadgcn", "data", "results/published", "results/profiles", "results/bench")
LONGER = ("--set", "depths: [0, 5, 10, 15, 20, 25, 30, 35]")


def measure(project: Path = dg.PROJECT, longer: Sequence[str] = LONGER) -> dict[str, pd.DataFrame]:
    """Return the tables `study`, a row per time, and `minutes`, a row per notebook and time.

    `peak_mib` is the memory of the largest process so far. `longer` are the options that add a depth. Raises
    RuntimeError if the command fails.
    """
    rows, minutes = [], []
    with tempfile.TemporaryDirectory(prefix="study-") as folder:
        copy = Path(folder, "project")
        python = _copy(project, copy)
        for what, options in (("cold", ()), ("cached", ()), ("one more depth", longer)):
            before = len(list((copy / ".cache").rglob("*.run")))
            seconds, printed = timed(_execute, python, copy, options)
            trained = len(list((copy / ".cache").rglob("*.run"))) - before
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**10
            rows.append({"what": what, "seconds": seconds, "runs_trained": trained, "peak_mib": peak})
            told = re.findall(r"^(\d\d_\w+) +([\d.]+) min$", printed, flags=re.M)
            minutes += [{"what": what, "notebook": name, "minutes": float(taken)} for name, taken in told]
            print(f"{what}: {seconds:.0f} s, {trained} runs trained", flush=True)
    return {"study": pd.DataFrame(rows), "minutes": pd.DataFrame(minutes)}


def _copy(project: Path, copy: Path) -> Path:
    """Copy the project; return a Python that finds the copy's package first, and the libraries after it."""
    for part in PARTS:
        if (project / part).exists():
            shutil.copytree(project / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    for path in project.glob("*.toml"):
        shutil.copy(path, copy)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(copy / ".venv")], check=True)
    (site,) = (copy / ".venv").glob("lib/python*/site-packages")
    (site / "copy.pth").write_text(f"{copy}\n{Path(pd.__file__).parents[1]}\n", encoding="utf-8")
    return copy / ".venv" / "bin" / "python"


def _execute(python: Path, copy: Path, options: Sequence[str]) -> str:
    notebooks = [str(path) for path in sorted((copy / "notebooks").glob("[0-9]*.ipynb"))]
    command = ["-I", "-m", "deadgcn.paper.execute", *notebooks, "--output-dir", ".", *options]
    done = subprocess.run([str(python), *command], cwd=copy, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the study ended with exit status {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout
