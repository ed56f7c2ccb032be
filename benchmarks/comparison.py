"""The engine and its peers do the same work, in turns, so that drifts of speed cancel.

Contenders with *processes* have one process of one thread per core. The others have one process with as many
threads as their library likes. PyTorch Geometric's loops train one run in each process, the others as many
runs side by side as the engine.

A row of the table is one timing. `ms` is its wall time per run, layer and epoch, evaluation included, and
`compile_seconds` is how much longer the first call took, where something is compiled. The largest differences
are those of the validation accuracies and dead fractions from the engine's for the same seeds, in the first
epochs: later, rounding decides what deep networks learn.
"""

import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torch_peer
from loops import careful_loop, plain_loop
from processes import ARMS, COLUMNS, CORES, graph_of, timed, workers

import deadgcn as dg

try:
    import jax_peer
except ImportError:  # the dependency group "bench" is not installed
    jax_peer = None


class Cell(NamedTuple):
    """How much work is timed at one depth."""

    seeds: int  # runs side by side on each core
    epochs: int  # of the engine
    peer_epochs: int  # fewer in deeper networks, so that few timings take over ten seconds
    repetitions: int


CELLS = {5: Cell(10, 100, 100, 5), 10: Cell(10, 100, 50, 5), 30: Cell(10, 100, 25, 5)}
CELLS[128] = Cell(3, 100, 20, 3)
QUICK = {10: Cell(10, 100, 50, 3), 30: Cell(10, 50, 20, 3)}
COMPARED = 4  # epochs


class Contender(NamedTuple):
    """A way to train: a function of configs that returns `COLUMNS`, each ``[R, epochs]``."""

    train: Callable[[list[dg.Config]], dict[str, np.ndarray]]
    processes: bool = True  # one per core
    side_by_side: bool = True  # else it trains one run in each process
    compiles: bool = False


def _engine(configs: list[dg.Config]) -> dict[str, np.ndarray]:
    results = dg.train(configs, device="cpu")
    return {name: np.stack([result["epochs"][name] for result in results]) for name in COLUMNS}


def _one_run(loop: Callable, configs: list[dg.Config]) -> dict[str, np.ndarray]:
    (config,) = configs
    return loop(config, graph_of(config.dataset))


_careful, _compiled = partial(_one_run, careful_loop), partial(_one_run, partial(careful_loop, compiled=True))
CONTENDERS = {
    "this engine": Contender(_engine),
    "careful loop": Contender(_careful, processes=False, side_by_side=False),
    "careful loop, processes": Contender(_careful, side_by_side=False),
    "plain loop": Contender(partial(_one_run, plain_loop), processes=False, side_by_side=False),
    "torch.func, processes": Contender(torch_peer.train),
    "torch.func with SciPy, processes": Contender(partial(torch_peer.train, products="SciPy")),
}
if shutil.which("g++"):  # torch.compile needs a compiler of C++
    compiled = Contender(_compiled, side_by_side=False, compiles=True)
    CONTENDERS["careful loop, torch.compile, processes"] = compiled
if jax_peer:
    CONTENDERS["JAX"] = Contender(jax_peer.train, processes=False, compiles=True)
    for products in ("BCSR", "BCOO", "segment sums"):
        peer = Contender(partial(jax_peer.train, products=products), compiles=True)
        CONTENDERS[f"JAX with {products}, processes"] = peer


def measure(cells: dict[int, Cell] = CELLS, dataset: str = "Cora") -> dict[str, pd.DataFrame]:
    """Time every contender at every depth, with and without stripping."""
    if not jax_peer:
        print("JAX is left out: .venv/bin/pip install -e .[bench] installs it")
    torch.set_flush_denormal(True)  # for the loops too: denormals would slow them down
    rows, pool = [], workers()
    for num_layers, cell in cells.items():
        for method, settings in ARMS.items():
            arm = {"num_layers": num_layers, "dataset": dataset, **settings}
            first = {row["contender"]: row["seconds"] for row in _round(pool, cell, arm, 0)}
            for repetition in range(cell.repetitions):
                for row in _round(pool, cell, arm, repetition):
                    more = first[row["contender"]] - row["seconds"]
                    compiles = CONTENDERS[row["contender"]].compiles
                    row["compile_seconds"] = more if compiles else np.nan
                    rows.append({"method": method, "num_layers": num_layers, **row})
                    print("{method}, {num_layers} layers: {contender} {ms:.3f} ms".format(**rows[-1]))
    for worker in pool:
        worker.shutdown()
    return {"comparison": pd.DataFrame(rows)}


def _round(pool: list[ProcessPoolExecutor], cell: Cell, arm: dict, repetition: int) -> list[dict]:
    """Run every contender once, starting with another one in each repetition."""
    names, results, rows = list(CONTENDERS), {}, []
    first = repetition % len(names)
    for name in names[first:] + names[:first]:
        epochs = cell.epochs if name == "this engine" else cell.peer_epochs
        processes = CORES if CONTENDERS[name].processes else 1
        runs = cell.seeds * CORES if CONTENDERS[name].side_by_side else processes
        configs = [dg.Config(seed=seed, epochs=epochs, **arm) for seed in range(runs)]
        seconds, results[name] = timed(_train, pool, CONTENDERS[name], configs)
        ms = 1000 * seconds / (runs * epochs * arm["num_layers"])
        row = {"contender": name, "repetition": repetition, "seconds": seconds, "runs": runs}
        rows.append(row | {"epochs": epochs, "ms": ms})
    for row in rows:
        theirs, ours = results[row["contender"]], results["this engine"]
        for column in ("val_acc", "dead_fraction"):
            difference = theirs[column] - ours[column][: row["runs"], : row["epochs"]]
            row[f"largest_difference_{column}"] = np.abs(difference[:, :COMPARED]).max()
    return rows


def _train(pool: list, contender: Contender, configs: list[dg.Config]) -> dict[str, np.ndarray]:
    """Train the configs as the contender does; return `COLUMNS`, each ``[R, epochs]``."""
    if not contender.processes:
        return contender.train(configs)
    size = len(configs) // CORES
    chunks = [configs[start : start + size] for start in range(0, len(configs), size)]
    futures = [worker.submit(contender.train, own) for worker, own in zip(pool, chunks, strict=True)]
    parts = [future.result() for future in futures]
    return {name: np.concatenate([part[name] for part in parts]) for name in COLUMNS}
