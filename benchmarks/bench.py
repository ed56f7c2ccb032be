"""Time the engine against its peers, how it grows, and how long the whole study takes.

    make bench                                     (over an hour on two cores, which it keeps busy)
    python benchmarks/bench.py --quick             (five minutes; prints a table, writes nothing)
    python benchmarks/bench.py --only growth       (measure this again; the other tables stay)

Timings go to results/bench, and from there into the tables of docs/benchmark.md.
"""

import argparse

import comparison
import growth
import pandas as pd
import study
import tables as markdown
from processes import machine, timed
from readme import fill

import deadgcn as dg

SECTIONS = {"comparison": comparison.measure, "growth": growth.measure, "study": study.measure}
RESULTS, DOCUMENT = dg.PROJECT / "results" / "bench", dg.PROJECT / "docs" / "benchmark.md"


def main(argv: list[str] | None = None) -> None:
    """Measure the sections asked for, write their CSV files, then all tables of the document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=SECTIONS, help="measure one section")
    parser.add_argument("--quick", action="store_true", help="print a comparison of about five minutes")
    args = parser.parse_args(argv)
    if args.quick:
        print(markdown.comparison(comparison.measure(comparison.QUICK)["comparison"]))
        return
    for name in [args.only] if args.only else SECTIONS:
        run_section(name)
    names = (*SECTIONS, "machine")
    blocks = {name: getattr(markdown, name)(pd.read_csv(RESULTS / f"{name}.csv")) for name in names}
    DOCUMENT.write_text(fill(DOCUMENT.read_text(encoding="utf-8"), blocks), encoding="utf-8")


def run_section(name: str) -> None:
    """Measure one section and write its tables, and on which machine it was."""
    seconds, tables = timed(SECTIONS[name])
    known = RESULTS / "machine.csv"
    others = pd.read_csv(known).query("section != @name") if known.exists() else pd.DataFrame()
    tables["machine"] = pd.concat([others, pd.DataFrame([{"section": name, **machine()}])])
    RESULTS.mkdir(parents=True, exist_ok=True)
    for stem, frame in tables.items():
        frame.to_csv(RESULTS / f"{stem}.csv", index=False, float_format="%.6g", lineterminator="\n")
    print(f"{name}: {seconds / 60:.1f} min", flush=True)


if __name__ == "__main__":
    main()
