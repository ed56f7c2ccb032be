"""The engine and its peers do the same work, in turns, so that drifts of speed cancel.

Contenders with *processes* have one process of one thread per core; the others have one process, and their
library's threads. A row of the table is one timing: `ms` is per run, layer and epoch, with evaluation, and
`compile_seconds` how much longer the first call took. The largest differences are those from the engine for
the same seeds in the first four epochs: later, rounding decides.
"""

import importlib.util
import itertools
import shutil
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from processes import ARMS, COLUMNS, CORES, timed, workers
from torch_peers import func, loop

import deadgcn as dg


class Cell(NamedTuple):
    """How much work is timed at one depth."""

    seeds: int  # runs side by side on each core
    epochs: int  # of the engine
    peer_epochs: int  # fewer in deeper networks, so that few timings take over ten seconds
    repetitions: int


CELLS = {5: Cell(10, 100, 100, 5), 10: Cell(10, 100, 50, 5), 30: Cell(10, 100, 25, 3)}
CELLS[128] = Cell(3, 100, 20, 3)


class Contender(NamedTuple):
    """A way to train: a function of configs that returns `COLUMNS`, each ``[R, epochs]``."""

    train: Callable[[list[dg.Config]], dict[str, np.ndarray]]
    processes: bool = True  # one per core
    side_by_side: bool = True  # else it trains one run in each process


def _engine(configs: list[dg.Config]) -> dict[str, np.ndarray]:
    results = dg.train(configs, device="cpu")
    return {name: np.stack([result["epochs"][name] for result in results]) for name in COLUMNS}


CONTENDERS = {
    "this engine": Contender(_engine),
    "careful loop": Contender(loop, processes=False, side_by_side=False),
    "careful loop, processes": Contender(loop, side_by_side=False),
    "plain loop": Contender(partial(loop, careful=False), processes=False, side_by_side=False),
    "torch.func, processes": Contender(func),
    "torch.func with SciPy, processes": Contender(partial(func, products="SciPy")),
}
if shutil.which("g++"):  # torch.compile needs a compiler of C++
    CONTENDERS["compiled loop, processes"] = Contender(partial(loop, compiled=True), side_by_side=False)
if importlib.util.find_spec("jax"):  # the dependency group "bench" is installed
    import jax_peer

    CONTENDERS["JAX"] = Contender(jax_peer.train, processes=False)
    for products in ("BCSR", "BCOO", "segment sums"):
        CONTENDERS[f"JAX with {products}, processes"] = Contender(partial(jax_peer.train, products=products))


def measure(cells: dict[int, Cell] = CELLS, dataset: str = "Cora") -> dict[str, pd.DataFrame]:
    """Time every contender at every depth, with and without stripping."""
    if "JAX" not in CONTENDERS:
        print("JAX is left out: .venv/bin/pip install -e .[bench] installs it")
    torch.set_flush_denormal(True)  # for the loops too: denormals would slow them down
    names, rows = list(CONTENDERS), []
    with workers() as pool:
        for (num_layers, cell), (method, settings) in itertools.product(cells.items(), ARMS.items()):
            arm = {"num_layers": num_layers, "dataset": dataset, **settings}
            first = {name: _time(pool, name, cell, arm) for name in names}  # what compiles does so here
            _, ours = first["this engine"]
            for repetition in range(cell.repetitions):
                for name in np.roll(names, -repetition):  # each repetition starts with another contender
                    row, theirs = _time(pool, name, cell, arm)
                    for column in ("val_acc", "dead_fraction"):
                        difference = theirs[column][:, :4] - ours[column][: row["runs"], :4]
                        row[f"largest_difference_{column}"] = np.abs(difference).max()
                    row["compile_seconds"] = first[name][0]["seconds"] - row["seconds"]
                    rows.append({"method": method, "num_layers": num_layers, "repetition": repetition, **row})
                    print(f"{method}, {num_layers} layers: {name} {row['ms']:.3f} ms", flush=True)
    return {"comparison": pd.DataFrame(rows)}


def _time(pool: list, name: str, cell: Cell, arm: dict) -> tuple[dict, dict[str, np.ndarray]]:
    """Return a contender's timing and its `COLUMNS`, each ``[R, epochs]``."""
    contender = CONTENDERS[name]
    epochs = cell.epochs if name == "this engine" else cell.peer_epochs
    runs = cell.seeds * CORES if contender.side_by_side else CORES if contender.processes else 1
    configs = [dg.Config(seed=seed, epochs=epochs, **arm) for seed in range(runs)]
    seconds, columns = timed(_train, pool, contender, configs)
    ms = 1000 * seconds / (runs * epochs * arm["num_layers"])
    return {"contender": name, "seconds": seconds, "runs": runs, "epochs": epochs, "ms": ms}, columns


def _train(pool: list, contender: Contender, configs: list[dg.Config]) -> dict[str, np.ndarray]:
    if not contender.processes:
        return contender.train(configs)
    size = len(configs) // CORES
    futures = [each.submit(contender.train, configs[i * size :][:size]) for i, each in enumerate(pool)]
    return {name: np.concatenate([each.result()[name] for each in futures]) for name in COLUMNS}
