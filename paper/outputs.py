"""What a run leaves: scrubbed notebooks, and a record of where each file comes from."""

import errno
import hashlib
import json
import os
import platform
import re
from collections.abc import Collection
from importlib.metadata import version
from pathlib import Path
from typing import Any

from parameters import read_yaml

from deadgcn.config import PROJECT, ParameterError

STAGE = ".stage"  # below the outputs' root, so that a rename moves files into place
PACKAGES = ("torch", "torch-geometric", "numpy", "scipy", "pandas", "matplotlib", "seaborn")
MADE = (".png", ".csv", ".json", ".ipynb", ".html", ".gz", ".pth")  # by notebooks
KINDS = ("figures", "results", "report")
FREE = {"dataset", "n_jobs", "scheduler"}  # settings that runs in one folder need not share
SUMS = "SHA256SUMS"
NOT_KEPT = (".gz", ".pth")  # as in .gitignore
CPUINFO = Path("/proc/cpuinfo")
# Many processors share a model name, such as "AMD EPYC"; the other fields tell them apart.
CPU = ("model name", "cpu family", "model", "stepping", "CPU implementer", "CPU part")


class RunError(RuntimeError):
    """A notebook that did not run to its end, or a table that was edited."""


def check_settings(place: Path, root: Path, told: dict[str, Any]) -> None:
    """Raise ParameterError if the outputs in a folder are of other settings, but for the data set.

    Tables of different settings would be read as one study. The project's own are those of the defaults.
    """
    kept, path = told, place / "settings.yaml"
    if place != root and os.path.lexists(path) and not path.is_file():  # a pipe would be waited for
        raise ParameterError(f"{path} must be a file of settings, but is none; remove it")
    if path.exists() and place != root:
        kept = read_yaml(str(path), path.read_bytes())
    elif place == root or any(place.glob("results/*/provenance")):
        kept = {}
    one, other = ({name: v for name, v in each.items() if name not in FREE} for each in (kept, told))
    if one != other:
        texts = [json.dumps(each) if each else "the defaults" for each in (one, other)]
        here = (
            f"{place} has outputs of {texts[0]}, and this run is of {texts[1]}; choose another --output-dir"
        )
        raise ParameterError(f"{here}, or the same settings (-f {path})" if one else here)


def check_places(root: Path, paths: Collection[Path] = ()) -> None:
    """Make folders for outputs; raise OSError for what is there, but no file of a run can be written to.

    `paths` are those of the files, below `root`, if they are known.
    """
    targets = [root / path for path in paths]
    folders = [PROJECT / ".cache", *(root / kind for kind in KINDS), *(path.parent for path in targets)]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    there = [path for kind in KINDS for path in (root / kind).rglob("*")]
    for path in [*folders, *there, *targets]:
        folder = path.is_dir()
        if folder and not os.access(path, os.W_OK | os.X_OK):
            raise OSError(errno.EACCES, "nothing can be written there", str(path))
        if folder and (path.suffix in MADE or path in targets):
            raise OSError(errno.EISDIR, "a folder is in the place of a file", str(path))
        if not folder and not path.is_file() and os.path.lexists(path):
            raise OSError(errno.EEXIST, "is neither a file nor a folder", str(path))


def scrub(nb: Any, root: Path) -> str:
    """Remove what differs between equal runs: times, ids, stderr, live controls, the path of the project.

    `nb` is an executed notebook, as nbformat reads it. Returns the text of its file.
    """
    import nbformat  # slow to import

    nb.metadata = {"kernelspec": nb.metadata.get("kernelspec", {})}
    for number, cell in enumerate(nb.cells):
        cell.id = f"cell-{number}"
        cell.metadata = {"tags": cell.metadata.get("tags", [])}
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
            for data in (output.get("data", output) for output in cell.outputs):
                data.pop("application/vnd.jupyter.widget-view+json", None)
                for kind in data.keys() & {"text", "text/plain"}:  # not in pictures
                    data[kind] = data[kind].replace(f"{root}/", "")
    # Of the report only the page is kept.
    text = nbformat.writes(nb) + "\n"
    text = re.sub(rf"/{re.escape(STAGE)}/\w+", "", text)
    text = text.replace("](../", "](../../")  # it is a folder further down than its source
    return text.replace("(11_report.ipynb)", "(../report.html)")


def check_made(nb: Any, stage: Path, dataset: str) -> None:
    """Raise RunError for a figure or table that a line of the notebook's writes, but which is not there."""
    code = "\n".join(cell.source for cell in nb.cells if cell.cell_type == "code")
    figures = re.findall(r'^dg\.publish\(\w+, "(\w+)", .*study\.figures\)', code, flags=re.M)
    tables = re.findall(r'^\w+\.to_csv\(study\.results / "([\w.]+)"', code, flags=re.M)
    names = [f"figures/{dataset}/{name}.png" for name in figures]
    names += [f"results/{dataset}/{name}" for name in tables]
    if missing := [name for name in names if not (stage / name).is_file()]:
        raise RunError(f"the notebook ran to its end, but did not make {', '.join(missing)}")


def record(stage: Path, dataset: str, notebook: str, settings: dict[str, Any]) -> None:
    """Write results/<dataset>/provenance/<notebook>.json: settings, machine, SHA-256 of each kept file."""
    paths = [path for path in sorted(stage.rglob("*")) if path.is_file() and path.suffix not in NOT_KEPT]
    files = {str(path.relative_to(stage)): _sha256(path) for path in paths}
    settings = {name: value for name, value in settings.items() if name != "output_dir"}
    content = {"notebook": notebook, "settings": settings, "machine": machine(), "files": files}
    path = stage / "results" / dataset / "provenance" / f"{notebook}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def machine() -> dict[str, str]:
    """What decides the last bits of a number: processor, system and versions."""
    first = CPUINFO.read_text().split("\n\n")[0] if CPUINFO.exists() else ""
    fields = dict(re.findall(r"^(.+?)\s*: (.+)$", first, flags=re.M))
    processor = ", ".join(f"{name} {fields[name]}" for name in CPU if name in fields)
    system = f"{platform.system()} {platform.machine()}"
    known = {"processor": processor.removeprefix("model name "), "system": system}
    return known | {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def check_tables(folder: Path) -> None:
    """Raise RunError for what notebooks read below `folder` and is not as its record, or as none, has it."""
    listed = set()
    for path in sorted((folder / "results").glob("**/provenance/*.json")):
        own = path.parents[1]
        part = own.parent != folder / "results"  # of a profile only some tables are kept, and no figures
        for name, recorded in read_record(path)["files"].items():
            kind, of, *_ = (*Path(name).parts, "", "")
            if of != own.name and kind != "report":
                raise RunError(f"{path} is of {of}, not of {own.name}; run its notebook again")
            file = own.joinpath(*Path(name).parts[2:]) if kind == "results" else folder / name
            listed.add(file)
            if kind == "report" or (part and (kind == "figures" or not file.exists())):
                continue
            if not file.is_file():
                raise RunError(f"{file} is missing, which {path} names; run that notebook again")
            if _sha256(file) != recorded:
                raise RunError(f"{file} is not as {path.stem} made it; run that notebook again")
    tables = {*(folder / "results").glob("*/**/*.csv")}
    others = {table for name in ("bench", "published") for table in (folder / "results" / name).glob("*.csv")}
    if unknown := sorted(tables - others - listed):
        raise RunError(
            f"{unknown[0]} is in no record in {unknown[0].parent / 'provenance'}; run its notebook again"
        )
    check_sums(PROJECT / "results" / "bench")  # which 11 also reads


def read_record(path: Path) -> dict[str, Any]:
    """What `record` wrote. Raises RunError."""
    try:
        if not path.is_file():  # a pipe would be waited for
            raise OSError("it is no file")
        content = json.loads(path.read_text(encoding="utf-8"))
        if not (content["files"].keys() and content["machine"].keys()):
            raise ValueError("it names no file or no machine")
        return content
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(f"{path} is damaged ({error!r}); run its notebook again") from error


def check_sums(folder: Path) -> None:
    """Raise RunError for a CSV file that is not as SHA256SUMS beside it says."""
    from deadgcn.data import DataError, check_files, read_checksums

    try:
        known = {folder / name: recorded for name, recorded in read_checksums(folder / SUMS).items()}
        check_files(dict.fromkeys(folder.glob("*.csv"), f"(none in {folder / SUMS})") | known)
    except (DataError, OSError, ValueError) as error:
        raise RunError(f"{error} (`make bench` makes it)") from error


def write_sums(folder: Path) -> None:
    """Record the CSV files of a folder, as `sha256sum *.csv` does."""
    lines = [f"{_sha256(path)}  {path.name}\n" for path in sorted(folder.glob("*.csv"))]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
