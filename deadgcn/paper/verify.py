"""Compare a rerun's tables with the committed evidence, cell by cell, and say what differs.

    python -m deadgcn.paper.verify [DATASET] [--evidence DIR] [--rerun DIR]

Compared are the tables (CSV, JSON) below results/<dataset> and figures/<dataset>, but not checkpoints. What
the outputs' provenance calls their machine (processor, system, versions) decides how: on the same machine
every cell must be equal and every file the same bytes; on another, :mod:`deadgcn.paper.tolerances` has the rules,
which also hold where there is no provenance.

Exit status: 0 if everything is within tolerance, 1 if something is not, 2 if there is nothing to compare.
"""

import argparse
import json
import sys
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from deadgcn.config import DATASETS, PROJECT
from deadgcn.experiments.files import sha256
from deadgcn.paper.provenance import DamagedError
from deadgcn.paper.tolerances import (
    EQUAL,
    FOLLOWING,
    FOLLOWS_FILES,
    KINDS,
    OUTSIDE,
    SKIPPED,
    STATES,
    TEXTS,
    WITHIN,
    is_key,
    judge,
)

MOST_LINES, MOST_OF_A_FILE = 20, 3
VERDICT = ("status", "readings", "answer")
NOT_COMPARED = ("checkpoints", "provenance")


def read(path: Path) -> dict[str, pd.DataFrame]:
    """The tables of one file: "" of a CSV file, one for each entry of a JSON object. Raises DamagedError."""
    try:
        if path.suffix != ".json":
            return {"": pd.read_csv(path)}
        return {name: _frame(entry) for name, entry in json.loads(path.read_bytes()).items()}
    except (OSError, EOFError, zlib.error, ValueError, AttributeError) as error:
        raise DamagedError(str(error).splitlines()[0]) from error


def _frame(entry: list | dict) -> pd.DataFrame:
    if isinstance(entry, list):
        return pd.DataFrame(entry)
    return pd.DataFrame([{"name": name, "value": json.dumps(value)} for name, value in entry.items()])


def compare(name: str, evidence: pd.DataFrame, rerun: pd.DataFrame, same: bool) -> tuple[list[str], Counter]:
    """Compare two tables of the file `name`: what differs in words, and numbers of cells by (kind, state).

    Rows are paired by their keys. On the `same` machine only what is equal is within tolerance.
    """
    if not same and Path(name).name in FOLLOWS_FILES:
        return [], Counter({(FOLLOWING, SKIPPED): evidence.size})
    keys = [column for column in evidence if column in rerun and is_key(column, evidence)]
    told = [key for key in keys if len({*evidence[key].map(str), *rerun[key].map(str)}) > 1]
    one, other = (table.set_index(_labels(table, told)) for table in (evidence, rerun))
    lines = _only_in_one("column", one.columns, other.columns) + _only_in_one("row", one.index, other.index)
    rows = one.index.intersection(other.index, sort=False)
    cells = Counter({(TEXTS, OUTSIDE): len(lines), (TEXTS, EQUAL): len(rows) * len(keys)})
    columns = [column for column in one if column in other]
    one, other = one.loc[rows, columns], other.loc[rows, columns]
    runs = _labels(one, [key for key in told if key != "seed"], unique=False)  # which belong together
    for column in (column for column in columns if column not in keys):
        x, y = one[column], other[column]
        equal = (x.astype(object) == y.astype(object)) | (x.isna() & y.isna())
        kinds, near, moved = judge(name, column, one, other, runs)
        near, moved = (equal, {}) if same else (near, moved)
        states = np.select([equal, near == SKIPPED, near.isin([True])], [EQUAL, SKIPPED, WITHIN], OUTSIDE)
        cells.update(zip(kinds, states, strict=True))
        lines += [f"{cell}: {column}: {text}" for cell, text in moved.items()]
        for label in rows[(states == OUTSIDE) & ~runs.isin(list(moved)).to_numpy()]:
            line = f"{label}: {column} is {x[label]} in the evidence, {y[label]} in the rerun"
            lines.append(line + ("; the verdict differs" if column in VERDICT else ""))
    return [f"{name}: {line}" for line in lines], +cells


def _only_in_one(what: str, evidence: pd.Index, rerun: pd.Index) -> list[str]:
    entries = evidence.symmetric_difference(rerun, sort=False)
    return [f"only the {'evidence' if e in evidence else 'rerun'} has the {what} {e}" for e in entries]


def _labels(table: pd.DataFrame, keys: list[str], unique: bool = True) -> pd.Series:
    """What names each row, such as "method=ReLU, seed=0", and if `unique` its number among its namesakes."""
    label = pd.Series("", table.index)
    for key in keys:
        label = label + (", " if key != keys[0] else "") + f"{key}=" + table[key].map(str)
    again = label.groupby(label.to_numpy()).cumcount()
    label = label.where((again == 0) | (not unique), label + " #" + (again + 1).astype(str))
    return label if keys else "row" + label


def machines(root: Path, dataset: str) -> tuple[list[dict], dict[str, set[str]]]:
    """What provenance says: the machines of a data set's notebooks, and the SHA-256 of each file they made.

    Raises DamagedError.
    """
    found, sums = [], {}
    for path in sorted(Path(root, "results", dataset, "provenance").glob("*.json")):
        try:
            entry = json.loads(path.read_bytes())
            found.append(entry["machine"])
            for name, digest in entry["files"].items():
                sums.setdefault(name, set()).add(digest)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedError(f"{path.relative_to(root)} cannot be read: {error!r}") from error
    return found, sums


def tampered(root: Path, sums: dict[str, set[str]]) -> list[str]:
    """Files that are not as their run left them; what is missing is for the comparison to say."""
    here = {name: Path(root, name) for name in sums}
    changed = [name for name, path in here.items() if path.is_file() and sha256(path) not in sums[name]]
    return [f"{name} is not as its run left it" for name in changed]


def tables(root: Path, dataset: str) -> dict[str, Path]:
    """The files to compare, by their path relative to the outputs' root."""
    found = [*Path(root, "results", dataset).rglob("*"), *Path(root, "figures", dataset).glob("*.csv")]
    return {
        path.relative_to(root).as_posix(): path
        for path in sorted(found)
        if path.name.endswith((".csv", ".csv.gz", ".json")) and path.parent.name not in NOT_COMPARED
    }


def compare_files(name: str, evidence: Path, rerun: Path, same: bool) -> tuple[list[str], Counter]:
    """Compare the tables of two files, as :func:`compare` does."""
    lines, cells, parts = [], Counter(), []
    for path, whose in ((evidence, "evidence"), (rerun, "rerun")):
        try:
            parts.append(read(path))
        except DamagedError as error:
            lines.append(f"{name}: cannot be read in the {whose}: {error}")
    if lines:
        return lines, cells
    lines = [f"{name}: {line}" for line in _only_in_one("entry", *(pd.Index(list(part)) for part in parts))]
    one, other = parts
    for part in (part for part in one if part in other and (same or part != "versions")):
        told, counted = compare(f"{name}, {part}" if part else name, one[part], other[part], same)
        lines, cells = lines + told, cells + counted
    if same and not lines and evidence.read_bytes() != rerun.read_bytes():
        lines = [f"{name}: the cells are equal, the bytes are not"]
    return lines, cells


def same_machine(evidence: list[dict], rerun: list[dict]) -> tuple[bool, str]:
    """Whether all notebooks of both ran on one machine, and a sentence that says why."""
    for whose, found in (("evidence", evidence), ("rerun", rerun)):
        if not found:
            return False, f"Another machine, for all that is known: the {whose} has no provenance."
    for name in sorted({name for machine in (*evidence, *rerun) for name in machine}):
        one, other = (sorted({str(machine.get(name)) for machine in found}) for found in (evidence, rerun))
        if len({*one, *other}) > 1:
            told = f"{name} is {', '.join(one)} in the evidence, {', '.join(other)} in the rerun"
            return False, f"Another machine: {told}."
    return True, "The same machine: nothing may differ."


def _most_telling(lines: list[str]) -> list[str]:
    """What is not as its run left it, then the verdict's differences, then some of each file."""
    first = [line for line in lines if line.endswith(("its run left it", "the verdict differs"))]
    rest, of_file = [line for line in lines if line not in first], Counter()
    for line in rest:
        of_file[line.split(": ")[0]] += 1
        if of_file[line.split(": ")[0]] <= MOST_OF_A_FILE:
            first.append(line)
    return first[:MOST_LINES]


def verify(dataset: str, evidence: Path, rerun: Path) -> bool:
    """Compare one data set's tables and print what was found; True if all is within tolerance."""
    lines, known, files, cells = [], [], [], Counter()
    for root, whose in ((evidence, "evidence"), (rerun, "rerun")):
        files.append(tables(root, dataset))
        try:
            known.append(machines(root, dataset))
        except DamagedError as error:
            known.append(([], {}))
            lines.append(f"{error} (in the {whose})")
    same, why = same_machine(known[0][0], known[1][0])
    lines = tampered(evidence, known[0][1]) + lines
    lines += _only_in_one("file", *(pd.Index(list(names)) for names in files))
    for name in (name for name in files[0] if name in files[1]):
        told, counted = compare_files(name, files[0][name], files[1][name], same)
        lines, cells = lines + told, cells + counted
    print(f"{dataset}: {len(files[0])} files of the evidence, {len(files[1])} of the rerun. {why}\n")
    for line in (shown := _most_telling(lines)):
        print(f"  {line}")
    if len(lines) > len(shown):
        print(f"  and {len(lines) - len(shown)} more differences")
    counts = pd.DataFrame({s: {kind: cells[kind, s] for kind in KINDS} for s in STATES})
    print(("\n" if lines else "") + counts.loc[counts.any(axis=1)].to_string() + "\n")
    within = "equal" if same else "within tolerance"
    if lines:
        print(f"The rerun does not confirm the evidence on {dataset}; differences: {len(lines)}.")
    else:
        print(f"The rerun confirms the evidence on {dataset}: everything that was compared is {within}.")
    return not lines


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m deadgcn.paper.verify", description=__doc__.splitlines()[0]
    )
    parser.add_argument("dataset", nargs="?", default="auto", metavar="DATASET")
    parser.add_argument("--evidence", type=Path, default=PROJECT, metavar="DIR")
    parser.add_argument("--rerun", type=Path, default=PROJECT / "build/verify", metavar="DIR")
    given = parser.parse_args(arguments)
    roots = {"evidence": given.evidence, "rerun": given.rerun}
    names = [name for name in DATASETS if given.dataset in ("auto", name)]
    lacking = {name: [whose for whose, root in roots.items() if not tables(root, name)] for name in names}
    if both := [name for name in names if not lacking[name]]:
        return 0 if all([verify(name, *roots.values()) for name in both]) else 1
    if not names:
        told = f"DATASET must be auto or one of {list(DATASETS)}, but {given.dataset!r} was passed"
    elif given.dataset == "auto":
        told = f"no data set has tables both in {given.evidence} and in {given.rerun}"
    else:
        places = " and ".join(f"no {whose} in {roots[whose]}" for whose in lacking[given.dataset])
        told = f"{given.dataset} has {places}; make verify DATASET={given.dataset} makes a rerun"
    print(f"{parser.prog}: {told}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
