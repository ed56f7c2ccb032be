"""One notebook: run it in a fresh folder, clean it, and move its files to where they belong."""

import hashlib
import json
import logging
import os
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from deadgcn.experiments import files
from deadgcn.paper import provenance

if TYPE_CHECKING:
    from nbformat import NotebookNode

REPORT = "09_report"  # the notebook that also becomes a page
WIDGET = "application/vnd.jupyter.widget-view+json"
LOG = "log.txt"  # of what cells and kernel print; kept only of a failed run


class RunError(RuntimeError):
    """A notebook that did not run to its end, or a data set that cannot be had."""


@dataclass(frozen=True)
class Job:
    """One notebook with its checked parameters, and the folder that its files go to."""

    notebook: Path
    output_dir: Path
    defaults: dict[str, Any]
    given: dict[str, Any]
    dataset: str = "Cora"

    @property
    def root(self) -> Path:
        """The project: the folder that holds notebooks/, params/ and build/."""
        return self.notebook.parents[1]

    @property
    def stages(self) -> Path:
        """The folder of notebooks that are being run for these outputs, each in a folder of its own."""
        key = hashlib.sha256(os.path.relpath(self.output_dir, self.root).encode()).hexdigest()[:8]
        return self.root / "build" / "stage" / key

    @property
    def report(self) -> Path:
        """Where reports go, relative to the outputs' root; only Cora's need not say whose they are."""
        return Path("report") if self.dataset == "Cora" else Path("report", self.dataset)

    @property
    def input_dir(self) -> Path | None:
        """The root of the tables and figures that the notebook reads: the outputs' root unless it is set."""
        if "input_dir" not in self.defaults:
            return None
        return self.root / self.given.get("input_dir", self.output_dir)


def run(job: Job, timeout: int | None = None) -> dict[str, str]:
    """Execute the notebook in a fresh folder; once it ran to its end, move its files below `job.output_dir`.

    `timeout` is in seconds for one cell. Returns the SHA-256 of every file made, by its path relative to
    that folder. Raises RunError, and leaves that folder as it was, if the notebook did not run to its end;
    what ran, and a log, are then in a folder below build/failed.
    """
    job.stages.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=f"{job.notebook.stem}-", dir=job.stages))
    executed = stage / job.report / "notebooks" / job.notebook.name
    try:
        executed.parent.mkdir(parents=True)
        _execute(job, stage, executed, timeout)
        scrub(job, stage, executed)
        if job.notebook.stem == REPORT:
            from deadgcn.paper.report import render  # nbconvert is slow to import

            page = render(executed, "" if job.dataset == "Cora" else f" ({job.dataset})")
            (stage / job.report / "report.html").write_text(page, encoding="utf-8")
        (stage / LOG).unlink(missing_ok=True)
        made = {
            str(path.relative_to(stage)): files.sha256(path)
            for path in sorted(stage.rglob("*"))
            if path.is_file()
        }
        record = provenance.path_of(job.notebook.stem, job.dataset)
        files.write(stage / record, provenance.record(job.notebook.stem, job.given, made))
        made[str(record)] = files.sha256(stage / record)
        # The executed notebook last: it vouches for the others.
        order = sorted(made, key=lambda name: stage / name == executed)
        files.move({stage / name: job.output_dir / name for name in order})
        return made
    finally:
        shutil.rmtree(stage, ignore_errors=True)  # whatever is left is removed when the next run starts


def _execute(job: Job, stage: Path, executed: Path, timeout: int | None) -> None:
    import nbformat
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill import PapermillExecutionError

    problem = None
    try:
        _papermill(job, stage, executed, timeout)
    except PapermillExecutionError:
        pass  # the notebook's cells say it better
    except (CellTimeoutError, DeadKernelError) as error:
        problem = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        if isinstance(error, DeadKernelError):
            problem += " (killed, perhaps for want of memory, or it ended itself)"
    except RuntimeError as error:  # from the kernel's start
        raise _kept(job, stage, executed, f"the kernel did not start: {error}") from error
    try:
        problem = failure(nbformat.read(executed, as_version=4), problem)
    except ValueError as error:
        problem = f"the executed notebook is damaged; is the disk full? ({error})"
    if problem:
        raise _kept(job, stage, executed, problem)


def _kept(job: Job, stage: Path, executed: Path, problem: str) -> RunError:
    """Keep what ran and its log for reading, in a folder of its own, and return the error that says where."""
    kept = job.root / "build" / "failed" / stage.name
    parts = {path: kept / path.name for path in (executed, stage / LOG) if path.exists()}
    try:
        with (stage / LOG).open("a", encoding="utf-8") as log:
            log.write(f"\n{job.notebook.stem}: {problem}\n")
        files.move(parts)
    except OSError as error:
        return RunError(f"{job.notebook.stem}: {problem}; what ran could not be kept: {error}")
    where = os.path.relpath(kept, job.root)
    return RunError(f"{job.notebook.stem}: {problem}; what ran, and a log, are in {where}")


def _papermill(job: Job, stage: Path, executed: Path, timeout: int | None) -> None:
    import papermill
    from traitlets.config import Config

    from deadgcn.paper import kernel

    logging.getLogger("papermill").setLevel(logging.ERROR)  # it overlooks parameters and then warns of them
    folders = {"output_dir": str(stage), "input_dir": str(job.input_dir)}
    with kernel.temporary_folder() as own, (stage / LOG).open("a", encoding="utf-8") as log:
        papermill.execute_notebook(
            job.notebook,
            executed,
            {name: value for name, value in (folders | job.given).items() if name in job.defaults},
            kernel_name="python3",
            language="python",
            cwd=job.notebook.parent,
            progress_bar=False,
            stdout_file=_Both(log, sys.stderr),  # in a kernel, that is where progress bars go
            stderr_file=_Both(log, sys.stderr),
            execution_timeout=timeout,
            kernel_manager_class=kernel.Kernel,
            config=Config(kernel.settings(own, stage / LOG)),
        )


class _Both(NamedTuple):
    """Two files written to as one."""

    one: TextIO
    other: TextIO

    def write(self, text: str) -> None:
        for file in self:
            file.write(text)

    def flush(self) -> None:
        for file in self:
            file.flush()


def failure(nb: "NotebookNode", problem: str | None = None) -> str | None:
    """Which cell did not run to its end, and why; None if all did.

    `problem` is what the cells cannot tell: that the kernel died, or that time was up. Papermill takes
    sys.exit(0) for success, so each cell must have its number and no error.
    """
    code = [cell for cell in nb.cells if cell.cell_type == "code" and cell.source.strip()]
    # A kernel that dies at once does not say which cell it had begun; papermill's notes do.
    began = [cell.execution_count or cell.metadata.get("papermill", {}).get("start_time") for cell in code]
    number = max((place for place, begun in enumerate(began, 1) if begun), default=1)
    for place, cell in enumerate(code, 1):
        errors = [output for output in cell.outputs if output.output_type == "error"]
        if errors and not problem:
            number, problem = place, f"{errors[0].ename}: {' '.join(errors[0].evalue.split())}"
    if not problem and any(cell.execution_count is None for cell in code):
        problem = "no error, but the cells after it did not run"
    return f"cell [{number}] ended with {problem}" if problem else None


def scrub(job: Job, stage: Path, path: Path) -> None:
    """Rewrite an executed notebook so that an equal run gives equal bytes.

    Times, version and generated ids go; the folders it was given are replaced by the defaults of its source.
    """
    import nbformat

    nb = nbformat.v4.upgrade(nbformat.read(path, as_version=4))
    nb.metadata.pop("papermill", None)
    nb.metadata.get("language_info", {}).pop("version", None)
    nb.metadata.pop("widgets", None)  # the state of controls that no kernel answers any more
    ids = {cell.get("id") for cell in json.loads(job.notebook.read_text(encoding="utf-8"))["cells"]}
    folders = job.defaults.keys() & ({"output_dir", "input_dir"} - job.given.keys())
    for place, cell in enumerate(nb.cells):
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if "injected-parameters" in cell.metadata.get("tags", ()):
            cell.id = "injected-parameters"
            for name in folders:
                line = f"{name} = {job.defaults[name]!r}"
                cell.source = re.sub(rf"^{name} = .*$", lambda _, line=line: line, cell.source, flags=re.M)
        elif cell.id not in ids:
            cell.id = f"cell-{place}"
        if cell.cell_type == "code":
            cell.outputs = settle(cell.outputs, job.root)
    shown = json.dumps(str(stage), ensure_ascii=False)[1:-1]  # as it stands inside a JSON text
    text = nbformat.writes(nb).replace(shown, str(job.defaults.get("output_dir")))
    path.write_text(text + "\n", encoding="utf-8")


def settle(outputs: list["NotebookNode"], root: Path) -> list["NotebookNode"]:
    """Join the pieces in which printed text arrived and drop progress bars: both depend on the clock.

    Warnings lose folders and temporary files. Of controls, whose ids are random, the text remains.
    """
    from nbformat.v4 import new_output

    settled = []
    for printed, group in groupby(outputs, key=lambda output: output.output_type == "stream"):
        pieces = list(group)
        if not printed:
            for piece in pieces:
                piece.get("data", {}).pop(WIDGET, None)
            settled += pieces
            continue
        text = {}
        for name in ("stdout", "stderr"):
            lines = "".join(piece.text for piece in pieces if piece.name == name).split("\n")
            text[name] = "\n".join(line for line in lines if "\r" not in line)
        warnings = re.sub(r"\S*/ipykernel_\d+/\d+\.py", "cell", text["stderr"])
        text["stderr"] = warnings.replace(f"{root}{os.sep}", "")
        settled += [new_output("stream", name=name, text=text[name]) for name in text if text[name].strip()]
    return settled
