"""How long `make figures` takes: from nothing, from finished runs, and with one more depth.

It runs in a scratch copy of the project, so that neither its results nor its finished runs are touched.
"""

import contextlib
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import psutil
from processes import timed

import deadgcn as dg
from deadgcn.paper.execute import AT_ONCE

PARTS = ("params", "notebooks", "deadgcn", "data", "results/published", "results/profiles", "results/bench")
KINDS = {
    "training": "popen_loky",
    "notebooks": "ipykernel",
    "rest": "",
}  # of processes: a word of their command
LONGER = ("--set", "depths: [0, 5, 10, 15, 20, 25, 30, 35]")


def measure(project: Path = dg.PROJECT, longer: Sequence[str] = LONGER) -> dict[str, pd.DataFrame]:
    """Return `study`, a row per time, `minutes`, a row per notebook and time, and `timeline`.

    `peak_mib` is the memory of the largest process so far. `timeline` has a row per 5 seconds of the first
    run; `what` is "before" where notebooks run one after another (AT_ONCE is 1), else "after". `longer` are
    the options that add a depth. Raises RuntimeError if the command fails.
    """
    rows, minutes, timelines = [], [], []
    with tempfile.TemporaryDirectory(prefix="study-") as folder:
        copy = Path(folder, "project")
        python = _copy(project, copy)
        for what, options in (("cold", ()), ("cached", ()), ("one more depth", longer)):
            before = len(list((copy / ".cache").rglob("*.run")))
            seconds, (printed, samples) = timed(_execute, python, copy, options)
            trained = len(list((copy / ".cache").rglob("*.run"))) - before
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**10
            rows.append({"what": what, "seconds": seconds, "runs_trained": trained, "peak_mib": peak})
            told = re.findall(r"^(\d\d_\w+) +([\d.]+) min$", printed, flags=re.M)
            minutes += [{"what": what, "notebook": name, "minutes": float(taken)} for name, taken in told]
            print(f"{what}: {seconds:.0f} s, {trained} runs trained", flush=True)
            timelines.append(_cores_busy(samples))
    return {"study": pd.DataFrame(rows), "minutes": pd.DataFrame(minutes), "timeline": timelines[0]}


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


def _execute(python: Path, copy: Path, options: Sequence[str]) -> tuple[str, list[list[float]]]:
    """Run all notebooks; return what was printed, and samples for :func:`_cores_busy`."""
    notebooks = sorted((copy / "notebooks").glob("[0-9]*.ipynb"))
    command = [python, "-I", "-m", "deadgcn.paper.execute", *notebooks, "--output-dir", ".", *options]
    pipes, samples = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}, []
    with subprocess.Popen(command, cwd=copy, **pipes) as process:
        threading.Thread(target=_sample, args=(process, samples)).start()
        printed, errors = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the study ended with exit status {process.returncode}: {errors[-2000:]}")
    return printed, samples


def _sample(command: subprocess.Popen, samples: list[list[float]]) -> None:
    """Note the time every second, and the CPU seconds so far of each of `KINDS`, until the command ends."""
    start, used, parent = time.monotonic(), {}, psutil.Process(command.pid)
    while command.poll() is None:
        with contextlib.suppress(psutil.Error):  # a process has just ended
            for process in [parent, *parent.children(recursive=True)]:
                words, times = " ".join(process.cmdline()), process.cpu_times()
                kind = next(kind for kind, word in KINDS.items() if word in words)
                used[process] = kind, times.user + times.system  # stays when the process has ended
        sums = [sum(seconds for of, seconds in used.values() if of == kind) for kind in KINDS]
        samples.append([time.monotonic() - start, *sums])
        time.sleep(1)


def _cores_busy(samples: list[list[float]]) -> pd.DataFrame:
    sums = pd.DataFrame(samples, columns=["second", *KINDS])
    sums = sums.groupby(sums["second"] // 5).last()
    more = sums.diff().fillna(sums)  # the first row's sums began at 0
    busy = more[list(KINDS)].div(more["second"], axis=0)
    return sums[["second"]].join(busy).assign(what="before" if AT_ONCE == 1 else "after")
