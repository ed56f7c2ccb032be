"""Strict papermill: unknown or ill-typed parameters, or a notebook that did not run to its end, are errors.

    python -m deadgcn.paper.execute NOTEBOOK [NOTEBOOK ...] [-f FILE] [--set 'depths: [2, 4]'] [--output-dir DIR]

Everything is checked before the first kernel starts, a failed run overwrites nothing, and a notebook whose
inputs and outputs are as its last run left them is not run again.
"""

import os
import sys

if __name__ == "__main__" and not sys.flags.isolated:
    # Neither the caller's folder nor PYTHONPATH may decide what is imported from here on.
    os.execv(sys.executable, [sys.executable, "-I", *sys.orig_argv[1:]])

import argparse
import hashlib
import importlib.metadata
import json
import platform
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from deadgcn.experiments import files
from deadgcn.paper import parameters, provenance
from deadgcn.paper.notebook import Job, RunError, run
from deadgcn.paper.parameters import ParameterError, Settings

PACKAGE = Path(__file__).parents[1]
VERSIONS = ("torch", "torch-geometric", "seaborn")  # a new version of these may change numbers or pictures


def plan(notebooks: list[Path], files: list[Path], texts: list[str], output_dir: Path | None) -> list[Job]:
    """One job per notebook, with everything checked that can be checked without starting anything.

    `files` and `texts` are what `-f` and `--set` gave. Raises ParameterError.
    """
    notebooks = list(dict.fromkeys(path.resolve() for path in notebooks))
    folder = notebooks[0].parent
    if stray := [path for path in notebooks if path.parent != folder]:
        raise ParameterError(f"all notebooks must lie in one folder, but {stray[0]} is not in {folder}")
    defaults = {
        path: parameters.read_defaults(path) for path in [*notebooks, *sorted(folder.glob("*.ipynb"))]
    }
    told = [parameters.load_settings(path, f"-f {path}") for path in files]
    told += [parameters.parse_settings("--set", text) for text in texts]
    if empty := [layer.source for layer in told if layer.source == "--set" and not layer.values]:
        raise ParameterError(f"{empty[0]} must be a YAML mapping such as 'depths: [2, 4, 64]', but is empty")
    common = _params(folder.parent, "common")
    known = {name for values in defaults.values() for name in values}
    for layer in [common, *told]:
        parameters.check_names(layer, known, "no notebook knows")
    for layer in told:
        if "output_dir" in layer.values:
            raise ParameterError(f"{layer.source}: output_dir is not for setting; use --output-dir DIR")
    resolved = {}
    for path in notebooks:
        own = _params(folder.parent, path.stem)
        parameters.check_names(own, set(defaults[path]), f"{path.stem} does not know")
        resolved[path] = parameters.resolve(defaults[path], [common, own, *told])
        parameters.check_ranges(resolved[path], [common, own, *told])
    if output_dir is None:
        settings = {name: value for layer in told for name, value in layer.values.items()}
        output_dir = Path("build", "run-" + digest(settings)[:8])
    output_dir = Path(os.path.normpath(folder.parent / output_dir))
    # Folders are ours to choose; what params/ says of them only repeats the notebook's defaults.
    chosen = {"output_dir", "input_dir"} - {name for layer in told for name in layer.values}
    return [
        Job(path, output_dir, defaults[path], {n: value for n, value in given.items() if n not in chosen})
        for path, given in resolved.items()
    ]


def _params(root: Path, name: str) -> Settings:
    path = root / "params" / f"{name}.yaml"
    source = f"params/{name}.yaml"
    return parameters.load_settings(path, source) if path.exists() else Settings(source, {})


def choose_datasets(jobs: list[Job]) -> list[Job]:
    """The jobs with the data set's real name in place of `auto`; raises RunError if a set cannot be had."""
    asked = [job.given.get("dataset", job.defaults.get("dataset")) for job in jobs]
    names = {name: _resolve_dataset(name) for name in dict.fromkeys(asked) if name is not None}
    return [
        replace(job, dataset=names[name], given=job.given | {"dataset": names[name]})
        if name in names
        else job
        for job, name in zip(jobs, asked, strict=True)
    ]


def _resolve_dataset(asked: str) -> str:
    from deadgcn.data.graphs import DataError, resolve_dataset

    try:
        name = resolve_dataset(asked)
    except (DataError, ValueError) as error:
        raise RunError(str(error)) from error
    if asked == "auto" and name != "Cora":
        print(f"Cora cannot be had, so {name}, a synthetic twin, is used; every title and path says so.")
    return name


def inputs(job: Job) -> dict[str, str]:
    """Digests, by name, of everything that the notebook's outputs depend on: contents, never file times."""
    read = [job.notebook, *PACKAGE.rglob("*.*")]
    for folder in ("published", "profiles", "bench"):
        read += (job.root / "results" / folder).rglob("*")
    if job.input_dir is not None:
        read += (job.input_dir / "results").glob("*/verdict.csv")  # the report compares the graphs
        for kind in ("figures", "results"):
            read += (job.input_dir / kind / job.dataset).rglob("*")
    versions = {name: importlib.metadata.version(name) for name in VERSIONS}
    return {
        **{os.path.relpath(path, job.root): files.sha256(path) for path in read if path.is_file()},
        "settings": digest([job.given, job.dataset]),
        "versions": digest([platform.python_version(), versions]),
    }


def stamp_path(job: Job) -> Path:
    """The file that says which inputs led to which outputs, per outputs' root, data set and notebook."""
    key = digest([os.path.relpath(job.output_dir, job.root), job.dataset])[:8]
    return job.root / "build" / "stamps" / key / f"{job.notebook.stem}.json"


def stamp(job: Job, found: dict[str, str], made: dict[str, str]) -> dict[str, Any]:
    """What the stamp holds: a digest of the inputs found before the run, and the files made with theirs.

    A notebook that reads the folder it writes to does not count its own files as inputs.
    """
    own = {os.path.relpath(job.output_dir / name, job.root) for name in made}
    return {"inputs": digest({name: found[name] for name in found.keys() - own}), "outputs": made}


def is_up_to_date(job: Job, found: dict[str, str]) -> bool:
    """Whether the inputs are those of the last successful run and its files are still as it made them."""
    try:
        last = json.loads(stamp_path(job).read_text(encoding="utf-8"))
        made = {job.output_dir / name: recorded for name, recorded in last["outputs"].items()}
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return False  # none yet, or damaged: running again is always right
    return last == stamp(job, found, last["outputs"]) and all(
        path.is_file() and files.sha256(path) == recorded for path, recorded in made.items()
    )


def execute(job: Job, force: bool = False, timeout: int | None = None) -> None:
    """Run one notebook unless it is up to date, and leave a stamp; one printed line says which."""
    found, start = inputs(job), time.monotonic()
    if not force and is_up_to_date(job, found):
        print(f"{job.notebook.stem}: up to date", flush=True)
        return
    for folder in (Path("figures", job.dataset), Path("results", job.dataset), job.report):
        files.refuse_unwritable(job.output_dir / folder)
    if job.input_dir is not None:
        provenance.check(job.input_dir, job.dataset)
    text = json.dumps(stamp(job, found, run(job, timeout)), indent=1)
    files.write(stamp_path(job), text.encode() + b"\n")
    print(f"{job.notebook.stem:<16}{(time.monotonic() - start) / 60:.1f} min", flush=True)


def tidy(job: Job) -> None:
    """Remove what killed runs into the same folder left; only for whoever holds that folder's lock."""
    shutil.rmtree(job.stages, ignore_errors=True)
    for kind in ("figures", "results", "report"):
        for part in (job.output_dir / kind).rglob(f".*{files.PART}"):
            part.unlink(missing_ok=True)


def digest(value: Any) -> str:
    """SHA-256 of a value made of mappings, lists, texts and numbers; the order of keys does not count."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def main(argv: list[str] | None = None) -> int:
    """Run the notebooks named on the command line; the exit status is 2 for a refusal, 1 for a failed run."""
    args = _parser().parse_args(argv)
    try:
        if args.timeout is not None and args.timeout < 1:
            raise ParameterError(f"--timeout must be at least 1 second, but {args.timeout} was given")
        jobs = plan(args.notebooks, args.file, args.set, args.output_dir)
        where = os.path.relpath(jobs[0].output_dir, jobs[0].root)
        print(f"outputs go to {where}/", flush=True)
        waiting = f"another run writes to {where}/; waiting for it to end"
        with files.locked(jobs[0].stages.with_suffix(".lock"), waiting):
            tidy(jobs[0])
            for job in choose_datasets(jobs):
                execute(job, args.force, args.timeout)
    except (ParameterError, RunError, provenance.DamagedError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ParameterError) else 1
    except KeyboardInterrupt:
        print("error: interrupted; the notebook that was running left nothing behind", file=sys.stderr)
        return 130
    print(f"figures, tables and executed notebooks are in {where}/{{figures,results,report}}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deadgcn.paper.execute", description=__doc__.splitlines()[0]
    )
    add = parser.add_argument
    add("notebooks", nargs="+", type=Path, metavar="NOTEBOOK")
    add(
        "-f",
        dest="file",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="YAML file of parameters",
    )
    add("--set", action="append", default=[], metavar="YAML", help="parameters, such as 'depths: [2, 4, 64]'")
    add("--output-dir", type=Path, metavar="DIR", help="root for outputs (default: a folder below build/)")
    add("--force", action="store_true", help="run even what is up to date")
    add("--timeout", type=int, metavar="S", help="seconds that one cell may take (default: no limit)")
    return parser


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGHUP):  # as Ctrl-C: the kernel must not be left behind
        if signal.getsignal(number) != signal.SIG_IGN:  # as it is under nohup
            signal.signal(number, _interrupt)
    sys.exit(main())
