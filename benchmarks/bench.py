"""Time the engine against its peers, what surrounds it, how it grows, and how long the whole study takes.

    make bench                                     (over an hour on two cores, which it keeps busy)
    python benchmarks/bench.py --only growth       (measure this again; the other tables stay)

Timings go to results/bench, and from there into docs/benchmark.md.
"""

import argparse
import sys

import comparison
import growth
import pandas as pd
import study
from processes import machine, timed

import deadgcn as dg

sys.path.append(str(dg.PROJECT / "docs"))
import tables

SECTIONS = {"comparison": comparison.measure, "overhead": study.overhead}
SECTIONS |= {"growth": growth.measure, "study": study.measure}
RESULTS = dg.PROJECT / "results" / "bench"
KEEPS = {"machine": "section", "timeline": "what"}  # rows of other sections and other ways to run stay


def main(argv: list[str] | None = None) -> None:
    """Measure the sections asked for, write their CSV files, then what the document shows of all sections."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=SECTIONS, help="measure one section")
    args = parser.parse_args(argv)
    for name in [args.only] if args.only else SECTIONS:
        run_section(name)
    tables.write(RESULTS, dg.PROJECT / "docs" / "benchmark.md")


def run_section(name: str) -> None:
    """Measure one section and write its tables, and on which machine it was."""
    seconds, measured = timed(SECTIONS[name])
    measured["machine"] = pd.DataFrame([{"section": name, **machine()}])
    for stem, frame in measured.items():
        path, key = RESULTS / f"{stem}.csv", KEEPS.get(stem)
        if key and path.exists():
            known = pd.read_csv(path)
            frame = pd.concat([known[~known[key].isin(frame[key])], frame])
        frame.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")
    print(f"{name}: {seconds / 60:.1f} min", flush=True)


if __name__ == "__main__":
    main()
