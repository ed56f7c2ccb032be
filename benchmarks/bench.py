"""Measure the engine: against loops and its limit, where its time goes, how it grows, what a user waits for.

    make bench                                           (over an hour on two cores, which it keeps busy)
    python benchmarks/bench.py --only growth,measures    (redo these; the other CSV files stay)
    python benchmarks/bench.py --only table              (the figure and the table again, from the CSV files)

Each section writes its CSV files into results/bench when it is done; then the figure and README's table are
drawn from all that is there.
"""

import argparse
import time
from pathlib import Path

import breakdown
import comparison
import growth
import measures
import pandas as pd
import study
from processes import machine

from deadgcn.experiments import files
from deadgcn.paper import benchmark, readme

PROJECT = Path(__file__).resolve().parents[1]
RESULTS = PROJECT / "results" / "bench"
SECTIONS = {
    "tests": study.measure_tests,  # first: they fail while README is behind the tables
    "comparison": comparison.measure,  # with rates and limit
    "breakdown": breakdown.measure,
    "growth": growth.measure,  # with its exponents
    "measures": measures.measure,
    "study": study.measure,  # with the minutes of each notebook
}
FEW = {"num_runs": 1, "num_layers": 2, "hidden_channels": 4}
# Everything once on tiny settings, to see that it works; the study and the tests have no tiny settings.
QUICK = {
    "comparison": {"cells": {n: comparison.Cell(2, 3, 2) for n in (2, 3)}, "epochs": 4, "rate_seconds": 0.05},
    "breakdown": {"depths": (2,), "seeds": 2, "epochs": 4, "repetitions": 1},
    "growth": {"axes": {"num_nodes": ((300, 600), FEW)}, "repetitions": 1},
    "measures": {"num_layers": 4, "timed_layers": 1, "repetitions": 1},
}
for section in ("comparison", "breakdown", "measures"):
    QUICK[section]["dataset"] = "SyntheticCora"  # needs no files


def main(argv: list[str] | None = None) -> int:
    """Run the sections named on the command line, then draw what all CSV files say."""
    args = _arguments(argv)
    folder = (args.output_dir or RESULTS).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for name in SECTIONS:
        if name in args.only and not (args.quick and name not in QUICK):
            run_section(name, folder, args.quick)
    import figure  # here, because the fresh processes import this file and draw nothing

    tables = benchmark.read_tables(folder)
    figure.draw(tables, folder)
    if folder == RESULTS:
        return readme.main()
    files.write(folder / "table.md", benchmark.render(tables).encode() + b"\n")
    return 0


def run_section(name: str, folder: Path, quick: bool = False) -> None:
    """Measure one section and write its tables, each complete or not at all."""
    print(f"{name} ...", flush=True)
    start = time.monotonic()
    tables = SECTIONS[name](**QUICK[name] if quick else {})
    known = folder / "machine.csv"
    others = pd.read_csv(known).query("section != @name") if known.exists() else pd.DataFrame()
    tables["machine"] = pd.concat([others, pd.DataFrame([{"section": name, **machine()}])])
    for stem, frame in tables.items():
        text = frame.to_csv(index=False, float_format="%.6g", lineterminator="\n")
        files.write(folder / f"{stem}.csv", text.encode())
    print(f"{name}: {(time.monotonic() - start) / 60:.1f} min", flush=True)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.py", description=__doc__.splitlines()[0])
    legal = [*SECTIONS, "table"]
    parser.add_argument("--only", default=",".join(SECTIONS), help=f"some of {', '.join(legal)}; by commas")
    parser.add_argument("--output-dir", type=Path, metavar="DIR", help="default: results/bench")
    parser.add_argument(
        "--quick", action="store_true", help="tiny settings, without study and tests; needs DIR"
    )
    args = parser.parse_args(argv)
    args.only = args.only.split(",")
    if unknown := [name for name in args.only if name not in legal]:
        parser.error(f"--only takes {', '.join(legal)}, but {unknown[0]!r} was passed")
    if args.quick and (args.output_dir is None or args.output_dir.resolve() == RESULTS):
        parser.error("--quick needs an --output-dir other than results/bench: its numbers are no evidence")
    return args


if __name__ == "__main__":
    raise SystemExit(main())
