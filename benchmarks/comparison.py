"""The engine and three PyTorch Geometric loops do the same work, in turns, so that drifts of speed cancel.

- *this engine*: chunks of runs side by side, in one process of one thread per core.
- *careful loop*: one run in one process, with torch's default number of threads.
- *careful loop, processes*: one run per core, each in a process of one thread.
- *plain loop*: as a newcomer writes it, one run, with torch's default number of threads.

A row of the table is one timing. `ms` is its wall time per run, layer and epoch, evaluation included.
`largest_difference` is that of the loop's validation accuracies from the engine's for the same seeds.
"""

from itertools import chain
from typing import NamedTuple

import joblib
import numpy as np
import pandas as pd
import torch
from loops import careful_loop, plain_loop
from processes import ARMS, CORES, graph_of, timed

import deadgcn as dg


class Cell(NamedTuple):
    """How much work is timed at one depth."""

    seeds: int  # runs side by side on each core
    epochs: int  # of the engine
    loop_epochs: int  # fewer in deeper networks, so that each timing takes one to five seconds
    repetitions: int


CELLS = {5: Cell(10, 100, 100, 5), 10: Cell(10, 100, 50, 5), 30: Cell(10, 100, 25, 5)}
CELLS[128] = Cell(3, 100, 10, 3)
QUICK = {10: Cell(10, 100, 50, 3), 30: Cell(10, 50, 20, 3)}
CONTENDERS = ("this engine", "careful loop", "careful loop, processes", "plain loop")


def measure(cells: dict[int, Cell] = CELLS, dataset: str = "Cora") -> dict[str, pd.DataFrame]:
    """Time every contender at every depth, with and without stripping."""
    torch.set_flush_denormal(True)  # for the loops too: denormals would slow them down
    rows = []
    with joblib.Parallel(n_jobs=CORES, batch_size=1) as workers:
        for num_layers, cell in cells.items():
            for method, settings in ARMS.items():
                arm = {"num_layers": num_layers, "dataset": dataset, **settings}
                _round(workers, cell._replace(epochs=4, loop_epochs=4), arm, 0)  # warm-up
                for repetition in range(cell.repetitions):
                    for row in _round(workers, cell, arm, repetition):
                        rows.append({"method": method, "num_layers": num_layers, **row})
                        print("{method}, {num_layers} layers: {contender} {ms:.3f} ms".format(**rows[-1]))
    return {"comparison": pd.DataFrame(rows)}


def _round(workers: joblib.Parallel, cell: Cell, arm: dict, repetition: int) -> list[dict]:
    """Run every contender once, starting with another one in each repetition."""
    runs = dict(zip(CONTENDERS, (cell.seeds * CORES, 1, CORES, 1), strict=True))
    first = repetition % len(CONTENDERS)
    rows, accuracies = [], {}
    for name in CONTENDERS[first:] + CONTENDERS[:first]:
        epochs = cell.epochs if name == "this engine" else cell.loop_epochs
        configs = [dg.Config(seed=seed, epochs=epochs, **arm) for seed in range(runs[name])]
        seconds, accuracies[name] = timed(_train, workers, name, configs)
        ms = 1000 * seconds / (len(configs) * epochs * configs[0].num_layers)
        row = {"contender": name, "repetition": repetition, "seconds": seconds, "runs": len(configs)}
        rows.append(row | {"epochs": epochs, "ms": ms})
    for row in rows:
        theirs = accuracies[row["contender"]][:, : cell.loop_epochs]  # [runs, epochs]
        ours = accuracies["this engine"][: len(theirs), : cell.loop_epochs]
        row["largest_difference"] = np.abs(theirs - ours).max()
    return rows


def _train(workers: joblib.Parallel, name: str, configs: list[dg.Config]) -> np.ndarray:
    """Train the configs as the contender does; return validation accuracies [runs, epochs]."""
    graph = graph_of(configs[0].dataset)
    if name == "this engine":
        size = len(configs) // CORES
        chunks = [configs[start : start + size] for start in range(0, len(configs), size)]
        results = workers(joblib.delayed(dg.train)(chunk, device="cpu") for chunk in chunks)
        return np.stack([result["epochs"]["val_acc"] for result in chain.from_iterable(results)])
    if name == "careful loop, processes":
        results = workers(joblib.delayed(_on_one_thread)(config) for config in configs)
    else:
        loop = careful_loop if name == "careful loop" else plain_loop
        results = [loop(config, graph) for config in configs]
    return np.array([result["val_acc"] for result in results])


def _on_one_thread(config: dg.Config) -> dict:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    return careful_loop(config, graph_of(config.dataset))
