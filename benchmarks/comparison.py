"""The engine and three loops on the same work, taking turns: a drift of the machine's speed hits all of them.

- *this engine*: as shipped, chunks of runs side by side in one process per core; every core has a chunk.
  Whole calls of `train` are timed, with the measures of every layer at the start, the best epoch and the end.
- *careful loop*: one run after another in one process, with torch's default number of threads.
- *careful loop, processes*: the same, one run per core at once, each in a process of one thread.
- *plain loop*: a newcomer's, one run after another, with torch's default number of threads.

A row is one timing; `ms` is its wall time per run, layer and epoch. The loops train fewer epochs and runs,
because their time is the plain sum over both.
"""

from collections.abc import Mapping
from itertools import chain, count
from typing import NamedTuple

import joblib
import numpy as np
import pandas as pd
import torch
from limit import limits, sample_rates
from loops import careful_loop, plain_loop
from processes import ARMS, CORES, graph_of, pool, timed

from deadgcn.config import Config
from deadgcn.gcn.training import train, use_one_thread


class Cell(NamedTuple):
    """How much is timed at one depth."""

    seeds: int  # runs side by side on each core
    loop_epochs: int
    repetitions: int


# The loops' epochs fall with depth, so that each timing of theirs takes one to five seconds.
CELLS = {5: Cell(10, 100, 5), 10: Cell(10, 50, 5), 30: Cell(10, 25, 5), 128: Cell(3, 10, 3)}


def measure(
    cells: Mapping[int, Cell] = CELLS, epochs: int = 100, dataset: str = "Cora", rate_seconds: float = 2.0
) -> dict[str, pd.DataFrame]:
    """Time every contender in every cell; return the tables `comparison`, `rates` and `limit`."""
    torch.set_flush_denormal(True)  # for the loops too: dead means 0 then, and denormals would slow them
    graph = graph_of(dataset)
    rows, rates = [], []
    with pool() as workers:
        _warm_up(workers, dataset)
        rates += [{"when": "before"} | row for row in sample_rates(workers, dataset, rate_seconds)]
        for repetition in range(max(cell.repetitions for cell in cells.values())):
            for (num_layers, cell), (method, arm) in _pairs(cells, repetition):
                config = Config(num_layers=num_layers, epochs=epochs, dataset=dataset, **arm)
                for row in _one_round(workers, config, cell, repetition):
                    rows.append({"method": method, "num_layers": num_layers} | row)
                    print(
                        "{method}, {num_layers} layers: {contender} {ms:.3f} ms".format(**rows[-1]),
                        flush=True,
                    )
        rates += [{"when": "after"} | row for row in sample_rates(workers, dataset, rate_seconds)]
    tables = {"comparison": pd.DataFrame(rows), "rates": pd.DataFrame(rates)}
    return tables | {"limit": limits(*tables.values(), graph)}


def _pairs(cells: Mapping[int, Cell], repetition: int) -> list[tuple]:
    due = [item for item in cells.items() if repetition < item[1].repetitions]
    return [(item, arm) for item in due for arm in ARMS.items()]


def _warm_up(workers: joblib.Parallel, dataset: str) -> None:
    tiny = Config(num_layers=3, epochs=4, dataset=dataset, strip=True)
    workers(joblib.delayed(train)([tiny], device="cpu") for _ in range(CORES))
    workers(joblib.delayed(_on_one_thread)(tiny) for _ in range(CORES))
    for loop in (careful_loop, plain_loop):
        loop(tiny, graph_of(dataset))


def _one_round(workers: joblib.Parallel, config: Config, cell: Cell, repetition: int) -> list[dict]:
    """Run every contender once, another one first each time."""
    names = list(CONTENDERS)
    first = repetition % len(names)
    rows = []
    for name in names[first:] + names[:first]:
        seconds, results = timed(CONTENDERS[name], workers, config, cell, repetition)
        stripped = np.array([result["epochs"]["num_stripped"] for result in results])  # [runs, epochs]
        runs, epochs = stripped.shape
        row = {
            "contender": name,
            "repetition": repetition,
            "seconds": seconds,
            "runs": runs,
            "epochs": epochs,
        }
        row |= {"ms": 1000 * seconds / (runs * epochs * config.num_layers)}
        rows.append(row | {"stripped_epochs": (stripped > 0).mean()})
    return rows


def _engine(workers: joblib.Parallel, config: Config, cell: Cell, repetition: int) -> list[dict]:
    seeds = count()
    chunks = [[_with_seed(config, next(seeds)) for _ in range(cell.seeds)] for _ in range(CORES)]
    trained = workers(joblib.delayed(train)(chunk, device="cpu") for chunk in chunks)
    return list(chain.from_iterable(trained))


def _careful(workers: joblib.Parallel, config: Config, cell: Cell, repetition: int) -> list[dict]:
    return [careful_loop(_for_loop(config, cell, repetition), graph_of(config.dataset))]


def _processes(workers: joblib.Parallel, config: Config, cell: Cell, repetition: int) -> list[dict]:
    seeds = range(repetition * CORES, (repetition + 1) * CORES)
    return workers(joblib.delayed(_on_one_thread)(_for_loop(config, cell, seed)) for seed in seeds)


def _plain(workers: joblib.Parallel, config: Config, cell: Cell, repetition: int) -> list[dict]:
    return [plain_loop(_for_loop(config, cell, repetition), graph_of(config.dataset))]


CONTENDERS = {
    "this engine": _engine,
    "careful loop": _careful,
    "careful loop, processes": _processes,
    "plain loop": _plain,
}


def _on_one_thread(config: Config) -> dict:
    use_one_thread()
    return careful_loop(config, graph_of(config.dataset))


def _for_loop(config: Config, cell: Cell, seed: int) -> Config:
    return _with_seed(config, seed).model_copy(update={"epochs": cell.loop_epochs})


def _with_seed(config: Config, seed: int) -> Config:
    return config.model_copy(update={"seed": seed})
