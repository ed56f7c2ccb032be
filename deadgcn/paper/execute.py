"""Run notebooks by papermill: parameters are checked first, outputs move into place when all is well.

    python -m deadgcn.paper.execute NOTEBOOK ... [-f FILE] [--set 'depths: [2, 4]'] [--output-dir DIR]

Exit status: 0 if all ran, 1 if one failed, 2 for a refused parameter, 130 for Ctrl-C.
"""

import argparse
import functools
import hashlib
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from deadgcn.paper import parameters
from deadgcn.paper.outputs import RunError, alone, check_tables, move, record, scrub
from deadgcn.paper.parameters import ParameterError, Settings

REPORT = "09_report"  # becomes report.html; its executed copy is not kept


@dataclass(frozen=True)
class Job:
    """One notebook and what it is given; figures/, results/ and report/ are below `output_dir`."""

    notebook: Path
    output_dir: Path
    defaults: dict[str, Any]
    given: dict[str, Any]

    @property
    def root(self) -> Path:
        """The project: the folder of notebooks/, params/ and build/."""
        return self.notebook.parents[1]

    @property
    def stage(self) -> Path:
        """Where the notebook writes; whoever holds the lock beside it may use and remove it."""
        return self.root / "build" / "stage" / _digest(str(self.output_dir))

    @property
    def dataset(self) -> str:
        """Name of the data set; Cora's outputs are kept in git."""
        return self.given.get("dataset", "Cora")

    @property
    def report(self) -> Path:
        """Where reports go, below `output_dir`."""
        return Path("report") if self.dataset == "Cora" else Path("report", self.dataset)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:8]


def plan(notebooks: list[Path], files: list[Path], texts: list[str], output_dir: Path | None) -> list[Job]:
    """One job per notebook; `files` are those of `-f`, `texts` those of `--set`, later ones win.

    Raises ParameterError, or RunError for a data set that cannot be had.
    """
    notebooks = list(dict.fromkeys(path.resolve() for path in notebooks))
    folder, root = notebooks[0].parents[:2]
    defaults = {path: parameters.read_defaults(path) for path in {*notebooks, *folder.glob("*.ipynb")}}
    told = [parameters.load_settings(path, f"-f {path}") for path in files]
    told += [parameters.parse_settings("--set", text) for text in texts]
    for layer in told:
        if layer.source == "--set" and not layer.values:
            raise ParameterError("--set must be a mapping such as 'depths: [2, 4]', but is empty")
        if "output_dir" in layer.values:
            raise ParameterError(f"{layer.source}: output_dir cannot be set; use --output-dir DIR")
    common = _params(root, "common")
    for layer in (common, *told):
        parameters.check_names(layer, {*chain.from_iterable(defaults.values())}, "no notebook knows")
    changed = {name: value for layer in told for name, value in layer.values.items()}
    place = Path(os.path.normpath(root / (output_dir or f"build/run-{_digest(changed)}")))
    jobs = []
    for path in notebooks:
        own = _params(root, path.stem)
        parameters.check_names(own, defaults[path], f"{path.stem} does not know")
        given = parameters.check_values(defaults[path], [common, own, *told])
        for name in {"output_dir", "input_dir"} - changed.keys():
            given.pop(name, None)  # ours to choose; params/ only repeats the notebook's default
        jobs.append(Job(path, place, defaults[path], given))
    for job in jobs:
        if asked := job.given.get("dataset", job.defaults.get("dataset")):
            job.given["dataset"] = resolve_dataset(asked)
    return jobs


def _params(root: Path, name: str) -> Settings:
    path = root / "params" / f"{name}.yaml"
    return parameters.load_settings(path, f"params/{name}.yaml") if path.exists() else Settings(name, {})


@functools.cache
def resolve_dataset(asked: str) -> str:
    """The data set's name, "auto" resolved, once `deadgcn.data` has fetched and checked its files."""
    command = [sys.executable, "-I", "-m", "deadgcn.data.graphs", asked]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().split("\n")[-1].removeprefix("error: ")
        raise (ParameterError if done.returncode == 2 else RunError)(f"dataset {asked}: {reason}")
    name = re.match(r"[\w.-]+", done.stdout)[0]
    if asked == "auto" and name != "Cora":
        print(f"Cora cannot be had: {name}, its synthetic twin, is used, and every title says so", flush=True)
    return name


def run(job: Job, timeout: int | None = None) -> None:
    """Execute a notebook in a fresh folder, then move all that it made to its place below `output_dir`.

    `timeout` is in seconds for one cell. Raises RunError, with `output_dir` as it was and what ran in
    build/failed, if the notebook did not run to its end.
    """
    executed = job.stage / job.report / "notebooks" / job.notebook.name
    try:
        executed.parent.mkdir(parents=True)
        if problem := _papermill(job, executed, timeout):
            failed = job.root / "build" / "failed" / job.notebook.stem
            failed.mkdir(parents=True, exist_ok=True)
            shutil.copy(executed, failed)
            (failed / "reason.txt").write_text(f"{problem}\n", encoding="utf-8")
            raise RunError(f"{job.notebook.stem}: {problem}; what ran is in {failed}")
        scrub(executed, job.notebook, {job.stage: str(job.defaults.get("output_dir")), job.root: "."})
        if job.notebook.stem == REPORT:
            from deadgcn.paper.report import render  # nbconvert is slow to import

            page = render(executed, "" if job.dataset == "Cora" else f" ({job.dataset})")
            (job.stage / job.report / "report.html").write_text(page, encoding="utf-8")
            executed.unlink()
        record(job.stage, job.dataset, job.notebook.stem, job.given)
        move(job.stage, job.output_dir)
    finally:
        shutil.rmtree(job.stage, ignore_errors=True)


def _papermill(job: Job, executed: Path, timeout: int | None) -> str:
    """Run the notebook; returns which cell failed and why, or an empty text."""
    import nbformat
    import papermill
    from papermill.exceptions import PapermillException, PapermillExecutionError
    from traitlets.config import Config

    logging.getLogger("papermill").setLevel(logging.ERROR)  # it overlooks parameters, then warns of them
    folders = {"output_dir": str(job.stage), "input_dir": str(job.output_dir)}
    values = {name: value for name, value in (folders | job.given).items() if name in job.defaults}
    problem = ""
    # Kernels that start side by side race for TCP ports; sockets in folders of their own cannot meet.
    with tempfile.TemporaryDirectory(prefix="kernel-") as own:
        files = {"connection_file": f"{own}/kernel.json", "ip": f"{own}/socket"}
        try:
            papermill.execute_notebook(
                *(str(job.notebook), str(executed), values),
                kernel_name="python3",  # whatever name the notebook has stored
                language="python",
                cwd=job.notebook.parent,
                progress_bar=False,
                stdout_file=sys.stderr,  # in a kernel, that is where progress bars go
                stderr_file=sys.stderr,
                execution_timeout=timeout,
                config=Config(KernelManager={"transport": "ipc", **files}),
            )
        except PapermillExecutionError:
            pass  # the cell says it better
        except (PapermillException, RuntimeError, TimeoutError) as error:  # of the kernel, or --timeout
            problem = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    cells = [cell for cell in nbformat.read(executed, as_version=4).cells if cell.cell_type == "code"]
    begun = [cell for cell in cells if cell.metadata.papermill.start_time]
    errors = [output for cell in begun[-1:] for output in cell.outputs if output.output_type == "error"]
    if errors and not problem:  # papermill takes sys.exit(0) for success, and so goes on to here
        problem = f"{errors[0].ename}: {' '.join(errors[0].evalue.split())}"
    return f"code cell {len(begun)} ended with {problem}" if problem else ""


def main(argv: list[str] | None = None) -> int:
    """Run the notebooks named on the command line and return the exit status."""
    parser = argparse.ArgumentParser("python -m deadgcn.paper.execute")
    add = parser.add_argument
    add("notebooks", nargs="+", type=Path, metavar="NOTEBOOK")
    add("-f", dest="files", action="append", default=[], type=Path, metavar="FILE", help="YAML of parameters")
    add("--set", dest="texts", action="append", default=[], metavar="YAML", help="such as 'depths: [2, 4]'")
    add("--output-dir", type=Path, metavar="DIR", help="root for outputs (default: a folder below build/)")
    add("--timeout", type=int, metavar="S", help="seconds that one cell may take (default: no limit)")
    args = parser.parse_args(argv)
    try:
        jobs = plan(args.notebooks, args.files, args.texts, args.output_dir)
        kinds = (f"figures/{jobs[0].dataset}", f"results/{jobs[0].dataset}", jobs[0].report)
        print(f"outputs go to {os.path.relpath(jobs[0].output_dir, jobs[0].root)}/", flush=True)
        with alone(jobs[0].stage, [jobs[0].output_dir / kind for kind in kinds]):
            for job in jobs:
                start = time.monotonic()
                if "input_dir" in job.defaults:
                    check_tables(job.root / job.given.get("input_dir", job.output_dir))
                run(job, args.timeout)
                print(f"{job.notebook.stem:<16}{(time.monotonic() - start) / 60:.1f} min", flush=True)
    except (ParameterError, RunError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ParameterError) else 1
    except KeyboardInterrupt:
        print("error: interrupted; the notebook that was running left nothing behind", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGHUP):  # as Ctrl-C: the kernel must not be left behind
        if signal.getsignal(number) != signal.SIG_IGN:  # as it is under nohup
            signal.signal(number, signal.default_int_handler)
    sys.exit(main())
