"""Compare the tables of a rerun with the committed evidence.

    python -m deadgcn.paper.verify [DATASET] [--evidence DIR] [--rerun DIR]

On the machine that made the evidence, by its provenance, tables must be equal byte for byte. On another one
rounding differs, and training amplifies it: beyond 20 layers a run ends as far from its twin as from another
seed, but means over seeds stay. There, verdicts must be equal and means over seeds close. Other tables of
trained networks follow from these and are not compared.

Exit status: 0 if the rerun confirms the evidence, 1 if it does not, 2 if there is nothing to compare.
"""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import is_float_dtype

from deadgcn.config import PROJECT, Config

# Measured by repeating 120 runs on Cora with other matrix kernels: no mean over seeds moved by more than 6.4
# standard errors of its paired differences, and those spread up to 1.4 times as wide as the seeds do, as
# independent runs would. So two means are compared as those of two independent samples.
STANDARD_ERRORS = 6
RELATIVE = 1e-3  # of untrained networks 3e-4 was measured
ABSOLUTE = 1e-3  # one test node of Cora, where all seeds agree
UNTRAINED = "01_data"  # the notebook that trains nothing: its numbers are compared one by one
VERDICTS = ("status", "answer")
RESULTS = ("best_epoch", "diverged_epoch", "num_stripped")  # whole numbers that name no row
MOST_LINES = 20

Outcome = tuple[
    list[str], Counter
]  # a line for each difference, and per column how many values were compared


def compare(evidence: pd.DataFrame, rerun: pd.DataFrame, rule: str) -> Outcome:
    """Compare two tables; `rule` is "equal", "close" (no training) or "means" (over seeds)."""
    if [*evidence] != [*rerun]:
        return [f"the columns are {[*evidence]} in the evidence, {[*rerun]} in the rerun"], Counter()
    if rule == "means" and "seed" in evidence:
        return compare_means(evidence, rerun)
    if len(evidence) != len(rerun):
        return [f"{len(evidence)} rows in the evidence, {len(rerun)} in the rerun"], Counter()
    lines, compared = [], Counter()
    for column in evidence.columns if rule != "means" else evidence.columns.intersection(VERDICTS):
        x, y = evidence[column], rerun[column]
        near = (x == y) | (x.isna() & y.isna())
        if rule == "close" and is_float_dtype(x) and is_float_dtype(y):
            near |= np.isclose(y, x, rtol=RELATIVE, atol=0)
        compared[column] += len(x)
        for row in np.flatnonzero(~near):
            lines.append(f"row {row + 1}: {column} is {x[row]} in the evidence, {y[row]} in the rerun")
    return lines, compared


def compare_means(evidence: pd.DataFrame, rerun: pd.DataFrame) -> Outcome:
    """Compare the means over seeds of each cell, which the columns that are no results name."""
    results = [c for c in evidence if is_float_dtype(evidence[c]) and c not in Config.model_fields]
    cells = [c for c in evidence if c not in (*results, *RESULTS, "seed")]
    groups = [table.groupby(cells, dropna=False)[results] for table in (evidence, rerun)]
    one, other = (group.mean() for group in groups)
    if not one.index.equals(other.index):
        return [f"only one has {[*one.index.symmetric_difference(other.index)][:3]}"], Counter()
    slack = (STANDARD_ERRORS * np.sqrt(groups[0].sem() ** 2 + groups[1].sem() ** 2) + ABSOLUTE).fillna(0)
    single = groups[0].count() == 1  # one run says nothing about a mean
    lines, compared = [], Counter()
    for column in results:
        x, y = one[column], other[column]
        near = np.isclose(y, x, RELATIVE, slack[column], equal_nan=True) | single[column]
        compared[column] += int((~single[column]).sum())
        for cell in x.index[~near]:
            lines.append(
                f"{cell}: mean {column} is {x[cell]:.5g} in the evidence, {y[cell]:.5g} in the rerun"
            )
    return lines, compared


def tables(root: Path, dataset: str) -> dict[str, Path]:
    """The CSV files of a data set, by their path below `root`."""
    paths = [*root.glob(f"results/{dataset}/*.csv"), *root.glob(f"figures/{dataset}/*.csv")]
    return {path.relative_to(root).as_posix(): path for path in sorted(paths)}


def provenance(root: Path, dataset: str) -> dict[str, dict]:
    """What each notebook recorded, by its name."""
    paths = sorted(root.glob(f"results/{dataset}/provenance/*.json"))
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}


def verify(dataset: str, evidence: Path, rerun: Path) -> bool:
    """Compare a data set's tables, print the outcome, and return whether the rerun confirms the evidence."""
    records = provenance(evidence, dataset), provenance(rerun, dataset)
    machines = {json.dumps(entry["machine"], sort_keys=True) for side in records for entry in side.values()}
    same = all(records) and len(machines) == 1
    untrained = records[0].get(UNTRAINED, {"files": {}})["files"]
    one, other = tables(evidence, dataset), tables(rerun, dataset)
    lines = [f"{n}: only in the {'evidence' if n in one else 'rerun'}" for n in sorted({*one} ^ {*other})]
    compared = Counter()
    for name in sorted({*one} & {*other}):
        if not same and name.startswith("figures/") and name not in untrained:
            continue
        rule = "equal" if same else "close" if name in untrained else "means"
        found, counts = compare(pd.read_csv(one[name]), pd.read_csv(other[name]), rule)
        if same and not found and one[name].read_bytes() != other[name].read_bytes():
            found = ["equal numbers in other bytes"]
        lines += [f"{name}: {line}" for line in found]
        compared += counts
    where = "the same machine: all must be equal" if same else "another machine: means must be close"
    print(f"{dataset}: {len(one)} tables of the evidence, {len(other)} of the rerun; {where}")
    print("values compared, by column: " + ", ".join(f"{column} {n}" for column, n in compared.items()))
    print("".join(f"  {line}\n" for line in lines[:MOST_LINES]), end="")
    print(f"The rerun {'does not confirm' if lines else 'confirms'} the evidence: {len(lines)} differences.")
    return not lines


def main(argv: list[str] | None = None) -> int:
    """Compare what the command line names, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m deadgcn.paper.verify", description=__doc__.split("\n")[0]
    )
    parser.add_argument("dataset", nargs="?", default="auto", metavar="DATASET")
    parser.add_argument("--evidence", type=Path, default=PROJECT, metavar="DIR")
    parser.add_argument("--rerun", type=Path, default=PROJECT / "build" / "verify", metavar="DIR")
    args = parser.parse_args(argv)
    made = sorted(path.name for path in (args.rerun / "results").glob("*"))
    names = made if args.dataset == "auto" else [args.dataset]
    try:
        if names := [n for n in names if tables(args.evidence, n) and tables(args.rerun, n)]:
            return 0 if all([verify(name, args.evidence, args.rerun) for name in names]) else 1
        problem = f"DATASET={args.dataset} has no tables both in {args.evidence} and in {args.rerun}"
    except (ValueError, LookupError, TypeError, AttributeError, OSError) as error:
        problem = f"a table or a record cannot be read: {error!r}"
    print(f"error: {problem}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
