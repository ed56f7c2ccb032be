"""What a grid takes from the call to its tables, and the time that the engine needs to train it.

`seconds` is that of `dg.run_grid` in a fresh process: workers' start, data, measures and tables included.
`engine_seconds` is what warm workers spend in `dg.train` with the same chunks of runs, divided by the cores.
"""

import pandas as pd
from processes import CORES, timed, workers

import deadgcn as dg
from deadgcn.experiments.grid import SEEDS_PER_CHUNK

# Ten seconds and a minute on two cores. Each has whole chunks: the last axis is the seeds.
GRIDS = {"small": {"num_layers": 10, "seed": range(10)}, "large": {"num_layers": [10, 20], "seed": range(20)}}


def measure(grids: dict[str, dict] = GRIDS, repetitions: int = 3) -> dict[str, pd.DataFrame]:
    """Return the table `overhead`, a row per grid and repetition; the two ways to train take turns."""
    rows, size = [], SEEDS_PER_CHUNK["cpu"]
    with workers() as pool:
        for name, axes in grids.items():
            configs = dg.grid(dg.METHODS, **axes)
            work = [
                (timed, dg.train, configs[i : i + size], None, "cpu") for i in range(0, len(configs), size)
            ]
            for worker in pool:
                worker.submit(*work[0]).result()  # the first training is slower
            for repetition in range(repetitions):
                with workers() as (fresh, *_):
                    seconds, _ = fresh.submit(timed, dg.run_grid, configs, -1, None, "cpu").result()
                futures = [pool[number % CORES].submit(*each) for number, each in enumerate(work)]
                engine_seconds = sum(future.result()[0] for future in futures) / CORES
                rows.append([name, repetition, seconds, engine_seconds])
                print(f"{name} grid: {seconds:.1f} s, in the engine {engine_seconds:.1f} s", flush=True)
    return {"overhead": pd.DataFrame(rows, columns=["grid", "repetition", "seconds", "engine_seconds"])}
