"""Where a training's time goes, and how time and memory grow with the runs, layers, channels and nodes.

Each setting has a process of its own. The time of an epoch is the difference between a longer and
a shorter training, so that work that is done once cancels. Memory is the process's peak beyond what it held
before the graph was loaded (NaN where /proc does not tell).
"""

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from processes import profiled, timed, workers

import deadgcn as dg
from deadgcn.data.synthetic import synthetic_cora

PRODUCTS = {"dense": "<built-in method torch.bmm>", "sparse": "<built-in method torch.addmm>"}
NODES = 2_700  # of the synthetic graph, which comes in any size
# For each axis: its values, and the other sizes meanwhile.
AXES = {
    "num_runs": ((1, 5, 20), {"num_layers": 16, "hidden_channels": 32, "num_nodes": NODES}),
    "num_layers": ((5, 10, 30, 128), {"num_runs": 5, "hidden_channels": 32, "num_nodes": NODES}),
    "hidden_channels": ((8, 32, 128), {"num_runs": 2, "num_layers": 8, "num_nodes": NODES}),
    "num_nodes": ((2_700, 27_000, 270_000), {"num_runs": 2, "num_layers": 4, "hidden_channels": 32}),
}


def measure(axes: Mapping[str, tuple[Sequence[int], dict]] = AXES, times: int = 5) -> dict[str, pd.DataFrame]:
    """Train along every axis, several times; the table has a row per value and repetition."""
    rows = []
    for repetition, (axis, (values, others)) in itertools.product(range(times), axes.items()):
        for value in values:
            with workers() as (fresh, *_):
                found = fresh.submit(train_once, others | {axis: value}).result()
            rows.append({"axis": axis, "value": value, "repetition": repetition, **found})
            print(f"{axis} {value}: {found['seconds_per_epoch']:.4f} s", flush=True)
    return {"growth": pd.DataFrame(rows)}


def train_once(sizes: dict[str, int]) -> dict[str, float]:
    """Seconds per epoch, and MiB, of one setting in this process, which has trained nothing before.

    Also of measuring (three times per training), of an epoch's products, and of copying all activations.
    """
    shape = {name: sizes[name] for name in ("num_layers", "hidden_channels")}
    dg.train([dg.Config(num_layers=2, epochs=2)], synthetic_cora(200), "cpu")
    before = _resident("VmRSS")  # with the libraries loaded
    graph = synthetic_cora(sizes["num_nodes"])
    if (counter := Path("/proc/self/clear_refs")).exists():
        counter.write_text("5")  # forget the peak so far: generating a graph takes more than the graph

    def run(way: Callable, epochs: int) -> Any:
        configs = [dg.Config(seed=seed, epochs=epochs, **shape) for seed in range(sizes["num_runs"])]
        return way(dg.train, configs, graph, "cpu")

    work = sizes["num_runs"] * sizes["num_layers"] * sizes["hidden_channels"] * sizes["num_nodes"]
    more = min(max(5, 2_000 * 32 * NODES // work), 500)  # epochs of about a second
    run(timed, 2)  # the first training is slower
    seconds, peak = (run(timed, 2 + more)[0] - run(timed, 2)[0]) / more, _resident("VmHWM")
    short, long = run(profiled, 2), run(profiled, 2 + more)
    found = {part: (long[name] - short[name]) / more for part, name in PRODUCTS.items()}
    one, other = torch.ones(2, work // shape["hidden_channels"], shape["hidden_channels"])
    found["copy"] = min(timed(one.copy_, other)[0] for _ in range(5))
    return {"seconds_per_epoch": seconds, "peak_mib": peak - before, "measuring": short["measure"], **found}


def _resident(name: str) -> float:
    """MiB of this process's memory, ``VmRSS`` now or ``VmHWM`` at its peak."""
    status = Path("/proc/self/status")
    found = re.search(rf"^{name}:\s*(\d+)", status.read_text(), flags=re.M) if status.exists() else None
    return int(found[1]) / 1024 if found else float("nan")
