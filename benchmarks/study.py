"""Work from end to end: a grid from the call to its tables, and `make figures`.

`make figures` runs from nothing and from finished runs, in a scratch copy of the project, so that neither its
results nor its finished runs are touched.
"""

import contextlib
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import psutil
from joblib.externals.loky import get_reusable_executor
from processes import CORES, timed, workers

import deadgcn as dg
from deadgcn.experiments.grid import SEEDS_PER_CHUNK

# Ten seconds and a minute on two cores. Each has whole chunks: the last axis is the seeds.
GRIDS = {"small": {"num_layers": 10, "seed": range(10)}, "large": {"num_layers": [10, 20], "seed": range(20)}}
KINDS = {"training": "popen_loky", "notebooks": "ipykernel", "rest": ""}  # a word of their commands


def overhead(grids: dict[str, dict] = GRIDS, repetitions: int = 3) -> dict[str, pd.DataFrame]:
    """Return the table `overhead`, a row per grid and repetition; the two ways to train take turns.

    `seconds` is that of `dg.run_grid` in a fresh process: workers' start, data, measures, tables included.
    `engine_seconds` is what warm workers spend in `dg.train` with the same chunks, divided by the cores.
    `chunk_alone` and `chunk_together` are the first chunk's, while other cores idle and while they train.
    """
    rows, size = [], SEEDS_PER_CHUNK["cpu"]
    for name, axes in grids.items():
        configs = dg.grid(dg.METHODS, **axes)
        work = [(timed, dg.train, configs[i : i + size], None, "cpu") for i in range(0, len(configs), size)]
        with workers() as pool:
            for worker in pool:
                worker.submit(*work[0]).result()  # the first training is slower
            for repetition in range(repetitions):
                with workers() as (fresh, *_):
                    seconds = fresh.submit(_run_grid, configs).result()
                alone = pool[0].submit(*work[0]).result()[0]
                futures = [pool[number % CORES].submit(*each) for number, each in enumerate(work)]
                times = [future.result()[0] for future in futures]
                rows.append([name, repetition, seconds, sum(times) / CORES, alone, times[0]])
                print(f"{name} grid: {seconds:.1f} s, in the engine {sum(times) / CORES:.1f} s", flush=True)
    columns = ["grid", "repetition", "seconds", "engine_seconds", "chunk_alone", "chunk_together"]
    return {"overhead": pd.DataFrame(rows, columns=columns)}


def _run_grid(configs: list[dg.Config]) -> float:
    seconds, _ = timed(dg.run_grid, configs, -1, None, "cpu")
    get_reusable_executor(reuse=True).shutdown()  # this process would wait minutes for its workers to end
    return seconds


def measure(project: Path = dg.PROJECT) -> dict[str, pd.DataFrame]:
    """Return `study`, a row per time, `minutes`, a row per notebook and time, and `timeline`.

    `timeline` has a row per 5 seconds of the first run. Raises RuntimeError if the command fails.
    """
    rows, minutes, timelines = [], [], []
    with tempfile.TemporaryDirectory(prefix="study-") as folder:
        copy = Path(folder, "project")
        shutil.copytree(project, copy, ignore=shutil.ignore_patterns(".*", "__pycache__", "build"))
        for what in ("cold", "cached"):
            seconds, (printed, samples) = timed(_execute, copy)
            trained = len(list((copy / ".cache").rglob("*.run"))) - sum(row["runs_trained"] for row in rows)
            rows.append({"what": what, "seconds": seconds, "runs_trained": trained})
            told = re.findall(r"(\d\d_\w+) +([\d.]+) min$", printed, flags=re.M)  # maybe after a bar
            minutes += [{"what": what, "notebook": name, "minutes": float(taken)} for name, taken in told]
            print(f"{what}: {seconds:.0f} s, {trained} runs trained", flush=True)
            timelines.append(_cores_busy(samples))
    return {"study": pd.DataFrame(rows), "minutes": pd.DataFrame(minutes), "timeline": timelines[0]}


def _execute(copy: Path) -> tuple[str, list[list[float]]]:
    """Run all notebooks; return what was printed, and samples for :func:`_cores_busy`."""
    notebooks = sorted((copy / "notebooks").glob("[0-9]*.ipynb"))
    command = [sys.executable, copy / "paper", *notebooks, "--output-dir", "."]
    # The copy's package goes first; the environment is taken as it is, or that would be lost.
    env = os.environ | {"PYTHONPATH": str(copy), "PAPER_ENVIRONMENT": "own"}
    out = copy.with_name("out")
    with out.open("w") as file:
        process = psutil.Popen(command, cwd=copy, stdout=file, stderr=file, env=env)
        samples = _sample(process)  # until it ends
    if process.returncode:
        raise RuntimeError(f"the study's exit status is {process.returncode}: {out.read_text()[-2000:]}")
    return out.read_text(), samples


def _sample(command: psutil.Popen) -> list[list[float]]:
    """Until the command ends, note each second the time and the CPU seconds so far of each of `KINDS`."""
    start, used, samples = time.monotonic(), {}, []
    while command.poll() is None:
        for process in [command, *command.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):  # it has just ended; what it used stays
                words, times = " ".join(process.cmdline()), process.cpu_times()
                kind = next(kind for kind, word in KINDS.items() if word in words)
                used[process] = kind, times.user + times.system
        sums = [sum(seconds for of, seconds in used.values() if of == kind) for kind in KINDS]
        samples.append([time.monotonic() - start, *sums])
        psutil.wait_procs([command], timeout=1)
    return samples


def _cores_busy(samples: list[list[float]]) -> pd.DataFrame:
    sums = pd.DataFrame(samples, columns=["second", *KINDS])
    sums = sums.groupby(sums["second"] // 5).last()
    more = sums.diff().fillna(sums)  # the first row's sums began at 0
    busy = more[list(KINDS)].div(more["second"], axis=0)
    return sums[["second"]].join(busy)
