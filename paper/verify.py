"""Compare the tables of a rerun with the committed evidence.

    python paper/verify.py [DATASET]

On the machine that made the evidence every table must have the same bytes. On another one rounding differs,
and training amplifies it: there, verdicts must be equal and means over seeds close. Exit status: 0 if the
rerun confirms the evidence, 1 if not, 2 if there is nothing to compare.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from outputs import RunError, read_record
from pandas.api.types import is_float_dtype, is_numeric_dtype

from deadgcn.config import PROJECT, Config

STANDARD_ERRORS = 6  # 120 runs on Cora, repeated with other matrix kernels, differed like independent samples
RELATIVE = 1e-3
ABSOLUTE = 1e-3  # one test node of Cora, where all seeds agree


def compare(evidence: pd.DataFrame, rerun: pd.DataFrame) -> list[str]:
    """What differs by more than rounding between two tables from different machines, one line each."""
    if [*evidence] != [*rerun] or len(evidence) != len(rerun):
        return ["only one side has some row or column"]
    if "seed" not in evidence:
        verdicts = evidence.columns.intersection(["status", "answer"])
        return [f"{name} differs" for name in verdicts if not evidence[name].equals(rerun[name])]
    groups = [c for c in evidence if c in Config.model_fields or not is_numeric_dtype(evidence[c])]
    groups.remove("seed")
    results = [c for c in evidence if is_float_dtype(evidence[c]) and c not in groups]
    one, other = (
        table.assign(all=0).groupby(groups or ["all"], dropna=False)[results] for table in (evidence, rerun)
    )
    if not one.size().equals(other.size()):
        return ["only one side has some run"]
    mean, again = one.mean(), other.mean()
    slack = ABSOLUTE + STANDARD_ERRORS * np.hypot(one.sem(), other.sem()).fillna(0)
    close = np.isclose(again, mean, rtol=RELATIVE, atol=slack, equal_nan=True)
    far = ~close & (one.count() != 1).to_numpy()  # one run says nothing about a mean
    form = "{}: the mean of {} is {:.4g} and {:.4g}".format
    return [form(mean.index[i], results[j], mean.iat[i, j], again.iat[i, j]) for i, j in np.argwhere(far)]


def tables(root: Path, dataset: str) -> set[str]:
    """The CSV files in figures/ and results/, as paths below `root`."""
    folders = (root / "figures" / dataset, root / "results" / dataset)
    return {str(path.relative_to(root)) for folder in folders for path in folder.glob("*.csv")}


def differences(dataset: str, evidence: Path, rerun: Path) -> list[str]:
    """What keeps a rerun from confirming a data set's evidence, one line each."""
    pattern = f"results/{dataset}/provenance/*.json"
    made = []  # for each side the machine on which each file was made
    for root in (evidence, rerun):
        records = [read_record(path) for path in sorted(root.glob(pattern))]
        made.append({name: record["machine"] for record in records for name in record["files"]})
    names, others = tables(evidence, dataset), tables(rerun, dataset)
    lines = [f"{name}: only one side has it" for name in sorted(names ^ others)]
    for name in sorted(names & others):
        one, other = evidence / name, rerun / name
        if not made[0].get(name) or made[0][name] != made[1].get(name):
            lines += [f"{name}: {line}" for line in compare(pd.read_csv(one), pd.read_csv(other))]
        elif one.read_bytes() != other.read_bytes():
            lines.append(f"{name}: other bytes, on the same machine")
    return lines


def main(dataset: str = "auto", evidence: Path = PROJECT, rerun: Path = PROJECT / "build" / "verify") -> int:
    """Compare one data set, or all that were run again, print what differs, and return the exit status."""
    paths = sorted((rerun / "results").glob("*" if dataset == "auto" else dataset))
    names = [path.name for path in paths if tables(evidence, path.name)]
    if not names:
        print(f"error: {dataset} has no tables both in {evidence} and in {rerun}", file=sys.stderr)
        return 2
    try:
        lines = [line for name in names for line in differences(name, evidence, rerun)]
    except RunError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join(lines) if lines else f"{', '.join(names)}: the rerun confirms the evidence")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
