"""Run notebooks with papermill: check the parameters first, move the outputs into place together.

    python paper NOTEBOOK ... [-f FILE] [--set 'depths: [2, 4]'] [--dataset NAME] [--output-dir DIR]

Exit status: 0 if all ran, 1 if one failed or what is printed cannot be written, 2 for a refused parameter,
data set or file, 130 for Ctrl-C.
"""

import argparse
import contextlib
import functools
import json
import logging
import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from kernel import execute, kill_kernels
from outputs import STAGE, RunError, check_made, check_places, check_settings, check_tables, record, scrub
from parameters import check, read_defaults

from deadgcn.config import ParameterError, label_of, show
from deadgcn.experiments.cache import lock

REPORT = "11_report"  # its page is kept, not the executed notebook


def plan(
    notebooks: list[Path], files: list[Path], texts: list[str], place: Path | None
) -> tuple[Path, dict, dict]:
    """Check all parameters; return the root of the outputs, the parameters of each notebook, and those told.

    Later settings win: params/common.yaml, params/<notebook>.yaml, `files` (`-f`), `texts` (`--set`).
    Raises ParameterError, or OSError for a file that cannot be read.
    """
    notebooks = [path.resolve() for path in notebooks]
    folder, root = notebooks[0].parents[:2]
    defaults, known, told = {path: read_defaults(path) for path in notebooks}, {}, {}
    for path in sorted({*folder.glob("*.ipynb")} - {*notebooks}):  # a file may be meant for several runs
        with contextlib.suppress(ParameterError, OSError):  # what is not asked for may be damaged
            known |= read_defaults(path)
    known |= {name: value for values in defaults.values() for name, value in values.items()}
    for path in files:
        if not path.exists():
            beside = ", ".join(sorted(str(other) for other in path.parent.glob("*.yaml")))
            raise ParameterError(f"-f {path}: there is no such file; in its folder are {beside or 'none'}")
        told |= check(f"-f {path}", path.read_bytes(), known)
    own, asked_before = {name for path in notebooks for name in defaults[path]}, {}
    for text in texts:
        asked = check("--set", text, known)
        for name in asked.keys() & asked_before.keys():
            if asked[name] != asked_before[name]:
                both = f"{show(asked_before[name])} and {show(asked[name])}"
                raise ParameterError(f"--set: {name} is given twice, as {both} (DATASET=... gives dataset)")
        asked_before |= asked
        if lost := asked.keys() - own:
            here = f"no notebook to run has {', '.join(sorted(lost))}; they have {', '.join(sorted(own))}"
            raise ParameterError(f"--set: {here}")
        told |= asked
    if "output_dir" in told:
        raise ParameterError("-f and --set cannot set output_dir; use --output-dir DIR")
    place = root / (place or f"build/run-{zlib.crc32(json.dumps(told, sort_keys=True).encode()):08x}")
    check_settings(place, root, told)
    seen = os.path.relpath(place, root)  # parameters are relative to the project
    common, given = _params(root, "common", known), {}
    for path in notebooks:
        folders = {"output_dir": f"{seen}/{STAGE}/{path.stem}", "input_dir": seen}
        values = defaults[path] | common | _params(root, path.stem, defaults[path]) | folders | told
        given[path] = {name: values[name] for name in defaults[path] if values[name] is not ...}
    for values in given.values():
        if (depth := values.get("example_num_layers")) in (deeper := values.get("deeper_depths", ())):
            raise ParameterError(f"example_num_layers must not be in deeper_depths {deeper}, but is {depth}")
        if "dataset" in values:
            values["dataset"] = resolve_dataset(values["dataset"])
    return place, given, told


def _params(root: Path, name: str, known: dict[str, Any]) -> dict[str, Any]:
    path = root / "params" / f"{name}.yaml"
    return check(f"params/{name}.yaml", path.read_bytes(), known) if path.exists() else {}


@functools.cache
def resolve_dataset(asked: str) -> str:
    """The data set's name, "auto" resolved, after its files were fetched and checked; imports no torch."""
    command = [sys.executable, "-I", Path(__file__).with_name("fetch.py"), asked]
    # It does not hear Ctrl-C, but is killed then.
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, process_group=0)
    if done.returncode:  # it has said why
        raise ParameterError(f"the data set {asked} cannot be used")
    name = done.stdout.removesuffix(" is ready.\n")
    if asked == "auto" and name != "Cora":
        print(f"Cora's files cannot be obtained: {name}, a generated twin, is used and named everywhere")
    return name


def run(notebook: Path, given: dict[str, Any], output_dir: Path) -> None:
    """Execute a notebook, move its outputs into place, print its minutes. If RunError, nothing was moved."""
    start = time.monotonic()
    stage, dataset = output_dir / STAGE / notebook.stem, label_of(given.get("dataset", "Cora"))
    report = stage / "report" / ("" if dataset == "Cora" else dataset)
    try:
        if "input_dir" in given:
            check_tables(notebook.parents[1] / given["input_dir"])
        nb = execute(notebook, given)
        check_made(nb, stage, dataset)
        page, text = report / "notebooks" / notebook.name, scrub(nb, notebook.parents[1])
        if notebook.stem == REPORT:
            from report import render  # nbconvert is slow to import

            page, text = report / "report.html", render(nb)
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(text, encoding="utf-8")
        record(stage, dataset, notebook.stem, given)
        paths = [path.relative_to(stage) for path in stage.rglob("*") if path.is_file()]
        check_places(output_dir, paths)
        for path in paths:
            os.replace(stage / path, output_dir / path)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        with contextlib.suppress(OSError):  # another one's stage is there
            stage.parent.rmdir()
    print(f"{notebook.stem:<20}{(time.monotonic() - start) / 60:.1f} min", flush=True)


def run_all(given: dict[Path, dict[str, Any]], output_dir: Path) -> None:
    """Run notebooks, two at a time, so that one trains while the other draws.

    Those that read tables (they have the parameter `input_dir`) follow, one by one. Once one has failed no
    other starts, and its error is raised when all have ended.
    """
    shutil.rmtree(output_dir / STAGE, ignore_errors=True)  # left by a killed run
    readers, stop = [path for path in given if "input_dir" in given[path]], threading.Event()
    groups = [[path for path in given if path not in readers], *([path] for path in readers)]

    def run_next(notebook: Path) -> None:
        try:
            if not stop.is_set():
                run(notebook, given[notebook], output_dir)
        except Exception:
            stop.set()
            raise

    # papermill changes the working folder while it runs a notebook: two at once must agree on it.
    with contextlib.chdir(next(iter(given)).parent), ThreadPoolExecutor(2) as pool:
        try:
            for group in groups:
                started = [pool.submit(run_next, notebook) for notebook in group]
                while wait(started, timeout=0.1).not_done:  # a signal may wake another thread
                    pass
                for one in started:
                    one.result()
        except KeyboardInterrupt:
            stop.set()
            logging.disable()  # nbclient reports each kernel's death
            threading.Thread(target=kill_kernels, daemon=True).start()
            raise


def _folder(text: str) -> Path:
    if not text:  # as of an unset variable; Path("") would be the project itself
        raise argparse.ArgumentTypeError("must name a folder, but is empty")
    return Path(text)


def main(argv: list[str] | None = None) -> int:
    """Run the notebooks named on the command line and return the exit status."""
    parser = argparse.ArgumentParser("python paper")
    add = parser.add_argument
    add("notebooks", nargs="+", type=Path, metavar="NOTEBOOK")
    add("-f", dest="files", action="append", default=[], type=Path, metavar="FILE", help="YAML of parameters")
    add("--set", dest="texts", action="append", default=[], metavar="YAML", help="such as 'depths: [2, 4]'")
    add("--dataset", metavar="NAME", help="the parameter dataset, as it is written")
    add("--output-dir", type=_folder, metavar="DIR", help="root of outputs (default: a folder below build/)")
    add("--dry", action="store_true", help="only say what would be trained, and how long that takes")
    args = parser.parse_args(argv)
    if args.dataset is not None:
        args.texts.append(json.dumps({"dataset": args.dataset}))  # a string whatever is in it
    try:
        place, given, told = plan(args.notebooks, args.files, args.texts, args.output_dir)
        asked = json.dumps({"notebooks": {str(path): values for path, values in given.items()}})
        command = [sys.executable, "-I", Path(__file__).with_name("cost.py")]
        options = {"stdout": subprocess.PIPE, "text": True, "check": False, "process_group": 0}
        done = subprocess.run(command, input=asked, **options)
        print(done.stdout, end="", flush=True)
        if done.returncode or args.dry:
            return 2 if done.returncode else 0
        print(f"outputs go to {place}; another run that writes there is waited for", flush=True)
        root = next(iter(given)).parents[1]
        check_places(place)
        with lock(place / ".lock"):
            check_settings(place, root, told)  # another command may have written there meanwhile
            if told and place != root:
                again = shlex.join(["-f", f"{place}/settings.yaml", "--output-dir", str(place)])
                lines = [f"# python paper {shlex.join(map(str, given))} {again}\n".replace(f"{root}/", "")]
                lines += [f"{name}: {json.dumps(value)}\n" for name, value in told.items()]
                (place / "settings.yaml").write_text("".join(lines), encoding="utf-8")
            run_all(given, place)
    except BrokenPipeError:
        raise  # nobody reads what is printed
    except (ParameterError, RunError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1 if isinstance(error, RunError) else 2
    except KeyboardInterrupt:
        print(
            "error: interrupted; finished training and notebooks are kept, outputs of the others are not",
            file=sys.stderr,
        )
        return 130
    return 0
