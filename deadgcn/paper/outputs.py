"""What a run leaves: a scrubbed notebook, files moved together, and a record of where they come from."""

import hashlib
import json
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

PACKAGES = ("torch", "torch-geometric", "numpy", "scipy", "pandas", "matplotlib", "seaborn")
NOT_KEPT = (".gz", ".pth")  # as in .gitignore


class RunError(RuntimeError):
    """A notebook that did not run to its end, data that cannot be had, or results that were edited."""


def scrub(path: Path, source: Path, folders: dict[Path, str]) -> None:
    """Rewrite an executed notebook so that an equal run gives equal bytes.

    Times, ids that `source` does not have, progress bars and live controls go; the absolute paths `folders`
    are replaced by what they are mapped to.
    """
    import nbformat  # slow to import, and a refused parameter needs none

    nb = nbformat.read(path, as_version=4)
    ids = {cell.get("id") for cell in json.loads(source.read_text(encoding="utf-8"))["cells"]}
    nb.metadata.get("language_info", {}).pop("version", None)
    for name in ("papermill", "widgets"):
        nb.metadata.pop(name, None)
    for number, cell in enumerate(nb.cells):
        cell.id = cell.id if cell.id in ids else f"cell-{number}"
        for name in ("papermill", "execution"):
            cell.metadata.pop(name, None)
        if cell.cell_type == "code":
            cell.outputs = _settled(cell.outputs)
    text = nbformat.writes(nb)
    for folder, shown in folders.items():
        text = text.replace(json.dumps(str(folder), ensure_ascii=False)[1:-1], shown)
    path.write_text(text + "\n", encoding="utf-8")


def _settled(outputs: list[Any]) -> list[Any]:
    """Join printed text, which arrives in pieces of any size, and drop progress bars and live controls."""
    settled = []
    for printed, group in groupby(outputs, key=lambda output: output.output_type == "stream"):
        pieces = list(group)
        for piece in pieces if not printed else []:
            piece.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
            settled.append(piece)
        for name in ("stdout", "stderr") if printed else ():
            same = [piece for piece in pieces if piece.name == name]
            lines = "".join(piece.text for piece in same).split("\n")
            text = "\n".join(line for line in lines if "\r" not in line)
            if text.strip():
                same[0].text = re.sub(r"\S*/ipykernel_\d+/\d+\.py", "cell", text)
                settled.append(same[0])
    return settled


@contextmanager
def alone(stage: Path, folders: list[Path]) -> Iterator[None]:
    """Hold a lock beside `stage`, remove what killed runs left, and see whether `folders` can be written to.

    Raises OSError.
    """
    stage.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(stage.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print("another run writes to this folder; waiting for it to end", flush=True)
        lock.acquire()
    try:
        shutil.rmtree(stage, ignore_errors=True)
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
            for part in folder.rglob(".*.part"):
                part.unlink()
        yield
    finally:
        lock.release()


def move(stage: Path, target: Path) -> None:
    """Move all files: first beside their places, where a full disk does no harm, then by renaming.

    An executed notebook comes last. Raises OSError.
    """
    files = sorted((path for path in stage.rglob("*") if path.is_file()), key=lambda p: p.suffix == ".ipynb")
    places = [target / path.relative_to(stage) for path in files]
    parts = [place.with_name(f".{place.name}.part") for place in places]
    try:
        for path, part in zip(files, parts, strict=True):
            part.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(path, part)
        for part, place in zip(parts, places, strict=True):
            os.replace(part, place)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


def record(stage: Path, dataset: str, notebook: str, settings: dict[str, Any]) -> None:
    """Write results/<dataset>/provenance/<notebook>.json: settings, machine, SHA-256 of each kept file."""
    names = sorted(str(path.relative_to(stage)) for path in stage.rglob("*") if path.is_file())
    made = {name: _sha256(stage / name) for name in names if not name.endswith(NOT_KEPT)}
    path = stage / "results" / dataset / "provenance" / f"{notebook}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"notebook": notebook, "settings": settings, "machine": machine(), "files": made}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def machine() -> dict[str, str]:
    """What decides the last bits of a number: processor, system and versions."""
    cpuinfo = Path("/proc/cpuinfo")
    named = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text() if cpuinfo.exists() else "", re.M)
    known = {"processor": named[1] if named else platform.processor(), "python": platform.python_version()}
    known["system"] = f"{platform.system()} {platform.machine()}"
    return known | {name: version(name) for name in PACKAGES}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check_tables(folder: Path) -> None:
    """Raise RunError for a table below `folder`/results that is not as its provenance recorded it."""
    for path in sorted((folder / "results").glob("**/provenance/*.json")):
        results = path.parents[1]  # of a data set, or what is kept of a profile's
        remedy = f"make {'profiles' if 'profiles' in results.parts else 'figures'} DATASET={results.name}"
        try:
            files = json.loads(path.read_text(encoding="utf-8"))["files"].items()
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise RunError(f"{path} is damaged ({error!r}); {remedy} makes it again") from error
        tables = {results / Path(name).name: sha for name, sha in files if name.startswith("results/")}
        for table, recorded in tables.items():
            if table.is_file() and _sha256(table) != recorded:
                raise RunError(f"{table} is not as {path.stem} made it; {remedy} makes it again")
