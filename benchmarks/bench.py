"""Time the engine against its peers, what surrounds it, how it grows, and how long the whole study takes.

    make bench                                     (over an hour on two cores, which it keeps busy)
    python benchmarks/bench.py --only growth --code before     (measure this; name the code in its rows)

Timings go to results/bench, and from there into docs/benchmark.md.
"""

import argparse
import sys

import comparison
import growth
import pandas as pd
import study
from processes import CORES, timed

import deadgcn as dg

sys.path.append(str(dg.PROJECT / "paper"))
import tables
from outputs import check_sums, machine, write_sums

SECTIONS = {"comparison": comparison.measure, "overhead": study.overhead}
SECTIONS |= {"growth": growth.measure, "study": study.measure}
RESULTS = dg.PROJECT / "results" / "bench"
KEEPS = {"machine": "section", "growth": "code", "timeline": "code"}  # rows with other names there stay


def main(argv: list[str] | None = None) -> None:
    """Measure the sections asked for, write their CSV files, then what the document shows of all sections."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=SECTIONS, help="measure one section")
    parser.add_argument("--code", default="now", help="name this code in the growth and the timeline")
    args = parser.parse_args(argv)
    for name in [args.only] if args.only else SECTIONS:
        run_section(name, args.code)
    tables.write(RESULTS, dg.PROJECT / "docs" / "benchmark.md")


def run_section(name: str, code: str = "now") -> None:
    """Measure one section and write its tables, and on which machine it was. Raises RunError."""
    check_sums(RESULTS)
    seconds, measured = timed(SECTIONS[name])
    measured["machine"] = pd.DataFrame([{"section": name, "cores": CORES, **machine()}])
    for stem, frame in measured.items():
        path, key = RESULTS / f"{stem}.csv", KEEPS.get(stem)
        frame = frame.assign(code=code) if key == "code" else frame
        if key and path.exists():
            known = pd.read_csv(path)
            frame = pd.concat([known[~known[key].isin(frame[key])], frame])
        frame.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")
    write_sums(RESULTS)
    print(f"{name}: {seconds / 60:.1f} min", flush=True)


if __name__ == "__main__":
    main()
