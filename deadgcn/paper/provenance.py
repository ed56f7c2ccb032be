"""Where results come from: for each notebook a file that says on what machine it ran and what it made.

It lies beside the results, in results/<data set>/provenance/<notebook>.json, and is never compared itself:
machines differ. The checksums in it tell a table that a run left from one that was damaged or edited since.
"""

import json
import platform
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from deadgcn.experiments import files

PACKAGES = ("torch", "torch-geometric", "numpy", "scipy", "pandas", "matplotlib", "seaborn")


class DamagedError(RuntimeError):
    """A result that is not as its run left it."""


def machine() -> dict[str, str]:
    """What decides the last bits of a number: processor, system, and the versions of Python and libraries."""
    return {
        "processor": _processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        named = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(encoding="utf-8"), flags=re.M)
        if named:
            return named[1]
    return platform.processor() or "unknown"


def path_of(stem: str, dataset: str) -> Path:
    """Place of a notebook's file, relative to the outputs' root."""
    return Path("results", dataset, "provenance", f"{stem}.json")


def record(stem: str, settings: dict[str, Any], made: dict[str, str]) -> bytes:
    """Contents of a notebook's file; `made` holds the SHA-256 of each file by its path below the root."""
    text = json.dumps({"notebook": stem, "settings": settings, "machine": machine(), "files": made}, indent=1)
    return text.encode() + b"\n"


def check(folder: Path, dataset: str) -> None:
    """Check a data set's tables and figures below `folder`, an outputs' root, against their runs' records.

    So are other data sets' verdicts, which the report compares. Files that are not there are not missed:
    checkpoints are not kept everywhere. Raises DamagedError for the first that is not as its run left it.
    """
    for path in sorted((folder / "results").glob("**/provenance/*.json")):
        results = path.parents[1]
        kept = results.parent != folder / "results"
        for file, recorded in _files(path, folder):
            read = dataset == results.name or file.name == "verdict.csv"
            if read and file.is_file() and files.sha256(file) != recorded:
                remedy = f"make {'profiles' if kept else 'figures'} DATASET={results.name}"
                raise DamagedError(
                    f"{file} is not as {path.stem} left it (expected SHA-256 {recorded}): it was damaged or "
                    f"edited; {remedy} makes it again"
                )


def _files(path: Path, folder: Path) -> Iterator[tuple[Path, str]]:
    """The files of a record, where they lie: kept results of a profile are beside it, without the rest."""
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))["files"].items()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"{path} is damaged ({error!r}); make figures makes it again") from error
    results = path.parents[1]  # results/<data set>, or results/profiles/<profile>/<data set>
    own = results.parent == folder / "results"
    for name, recorded in listed:
        prefix = f"results/{results.name}/"
        if name.startswith(prefix):
            yield results / name.removeprefix(prefix), recorded
        elif own:
            yield folder / name, recorded
