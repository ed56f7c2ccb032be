"""Run notebooks with papermill: check the parameters first, move the outputs into place together.

    python -m deadgcn.paper.execute NOTEBOOK ... [-f FILE] [--set 'depths: [2, 4]'] [--output-dir DIR]

Exit status: 0 if all notebooks ran, 1 if one failed, 2 for a refused parameter or data set, 130 for Ctrl-C.
"""

import argparse
import functools
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

from deadgcn.paper import parameters
from deadgcn.paper.outputs import STAGE, RunError, alone, check_tables, move, record, scrub
from deadgcn.paper.parameters import ParameterError, Settings

REPORT = "09_report"  # its page is kept, not the executed notebook


def plan(
    notebooks: list[Path], files: list[Path], texts: list[str], output_dir: Path | None
) -> tuple[Path, dict[Path, dict[str, Any]]]:
    """Check all parameters; return the root of the outputs and what each notebook is given.

    Later settings win: params/common.yaml, params/<notebook>.yaml, `files` (`-f`), `texts` (`--set`).
    Raises ParameterError, or OSError for a file that cannot be read.
    """
    notebooks = [path.resolve() for path in notebooks]
    folder, root = notebooks[0].parents[:2]
    defaults = {path: parameters.read_defaults(path) for path in {*notebooks, *folder.glob("*.ipynb")}}
    told = [parameters.load_settings(path, f"-f {path}") for path in files]
    told += [parameters.parse_settings(text, "--set") for text in texts]
    changed = {name: value for layer in told for name, value in layer.values.items()}
    if "output_dir" in changed:
        raise ParameterError("-f and --set cannot set output_dir; use --output-dir DIR")
    common = _params(root, "common")
    for layer in (common, *told):
        parameters.check_names(layer, set().union(*defaults.values()))
    digest = zlib.crc32(json.dumps(changed, sort_keys=True, default=str).encode())
    place = root / (output_dir or f"build/run-{digest:08x}")
    seen = os.path.relpath(place, root)  # parameters are relative to the project
    folders = {"output_dir": f"{seen}/{STAGE}", "input_dir": seen}
    given = {}
    for path in notebooks:
        own = _params(root, path.stem)
        parameters.check_names(own, defaults[path])
        given[path] = parameters.check_values(defaults[path], [common, own, *told])
        given[path] |= {name: folders[name] for name in folders if name in defaults[path].keys() - changed}
    for path, values in given.items():
        if "dataset" in defaults[path]:
            values["dataset"] = resolve_dataset(values.get("dataset", defaults[path]["dataset"]))
    return place, given


def _params(root: Path, name: str) -> Settings:
    path = root / "params" / f"{name}.yaml"
    return parameters.load_settings(path, f"params/{name}.yaml") if path.exists() else Settings(name, {})


@functools.cache
def resolve_dataset(asked: str) -> str:
    """The data set's name, "auto" resolved, after its files were fetched and checked; imports no torch."""
    command = [sys.executable, "-I", "-m", "deadgcn.data.graphs", asked]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().split("\n")[-1].removeprefix("error: ")
        raise ParameterError(f"dataset {asked}: {reason}")
    name = done.stdout.split()[0]
    if asked == "auto" and name != "Cora":
        print(
            f"Cora's files cannot be obtained: {name}, a generated twin, is used and named everywhere",
            flush=True,
        )
    return name


def run(notebook: Path, given: dict[str, Any], output_dir: Path) -> None:
    """Execute a notebook in a fresh folder, then move its outputs to `output_dir`.

    Raises RunError if the notebook did not run to its end. Then `output_dir` is unchanged, and what ran is in
    build/failed.
    """
    stage, dataset = output_dir / STAGE, given.get("dataset", "Cora")
    report = stage / "report" / ("" if dataset == "Cora" else dataset)
    executed = report / "notebooks" / notebook.name
    shutil.rmtree(stage, ignore_errors=True)  # left by a killed run
    executed.parent.mkdir(parents=True)
    try:
        _papermill(notebook, given, executed)
        scrub(executed)
        if notebook.stem == REPORT:
            from deadgcn.paper.report import render  # nbconvert is slow to import

            page = render(executed, "" if dataset == "Cora" else f" ({dataset})")
            (report / "report.html").write_text(page, encoding="utf-8")
            executed.unlink()
        record(stage, dataset, notebook.stem, given)
        move(stage, output_dir)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _papermill(notebook: Path, given: dict[str, Any], executed: Path) -> None:
    import papermill
    from papermill.exceptions import PapermillException
    from traitlets.config import Config

    logging.getLogger("papermill").setLevel(logging.ERROR)  # it warns of parameters that it fails to parse
    # Kernels that start side by side race for TCP ports; sockets in folders of their own cannot collide.
    with tempfile.TemporaryDirectory(prefix="kernel-") as own:
        sockets = {"transport": "ipc", "connection_file": f"{own}/kernel.json", "ip": f"{own}/socket"}
        try:
            done = papermill.execute_notebook(
                *(str(notebook), str(executed), given),
                kernel_name="python3",  # not the name stored in the notebook
                language="python",
                cwd=notebook.parent,
                progress_bar=False,
                coalesce_streams=True,
                stderr_file=sys.stderr,  # progress bars and warnings
                config=Config(KernelManager=sockets),
            )
            outputs = [output for cell in done.cells for output in cell.get("outputs", ())]
            if any(output.output_type == "error" for output in outputs):  # sys.exit(0): success to papermill
                raise RuntimeError("the notebook called sys.exit")
        except (PapermillException, RuntimeError) as error:
            failed = notebook.parents[1] / "build" / "failed" / notebook.name
            failed.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(executed, failed)
            raise RunError(f"{notebook.stem}: {type(error).__name__}: {error}\nsee {failed}") from error


def main(argv: list[str] | None = None) -> int:
    """Run the notebooks named on the command line and return the exit status."""
    parser = argparse.ArgumentParser("python -m deadgcn.paper.execute")
    add = parser.add_argument
    add("notebooks", nargs="+", type=Path, metavar="NOTEBOOK")
    add("-f", dest="files", action="append", default=[], type=Path, metavar="FILE", help="YAML of parameters")
    add("--set", dest="texts", action="append", default=[], metavar="YAML", help="such as 'depths: [2, 4]'")
    add("--output-dir", type=Path, metavar="DIR", help="root of outputs (default: a folder below build/)")
    args = parser.parse_args(argv)
    try:
        place, given = plan(args.notebooks, args.files, args.texts, args.output_dir)
    except (ParameterError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"outputs go to {place}", flush=True)
    try:
        with alone(place):
            for notebook, values in given.items():
                start = time.monotonic()
                if "input_dir" in values:
                    check_tables(notebook.parents[1] / values["input_dir"])
                run(notebook, values, place)
                print(f"{notebook.stem:<16}{(time.monotonic() - start) / 60:.1f} min", flush=True)
    except (RunError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted; the running notebook's outputs were discarded", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGHUP):  # as Ctrl-C: end the kernel, remove the stage
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            signal.signal(number, signal.default_int_handler)
    sys.exit(main())
