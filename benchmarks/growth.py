"""Where a training's time goes, and how time and memory grow with the runs, layers, channels and nodes.

Each setting has a process of its own. An epoch's time is the difference between a longer and a shorter
training. Memory is the process's peak beyond what it held before the graph was loaded (NaN without /proc).
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
from deadgcn.gcn import training
from deadgcn.gcn.build import on_device

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
    """Train along every axis, several times; the table has a row per size and repetition."""
    rows = []
    for repetition, (axis, (values, others)) in itertools.product(range(times), axes.items()):
        for sizes in [others | {axis: value} for value in values]:
            with workers() as (fresh, *_):
                found = fresh.submit(train_once, **sizes).result()
            rows.append({"axis": axis, "repetition": repetition, **sizes, **found})
            print(f"{axis} {sizes[axis]}: {found['seconds_per_epoch']:.4f} s", flush=True)
    return {"growth": pd.DataFrame(rows)}


def train_once(num_runs: int, num_layers: int, hidden_channels: int, num_nodes: int) -> dict[str, float]:
    """Seconds per epoch, and MiB, of one setting in this process, which has trained nothing before.

    Also of an epoch's products, and of one product with the graph as it is and with each node in the place of
    its neighbours; at Cora's size, of measuring in a training of 100 epochs.
    """
    dg.train([dg.Config(num_layers=2, epochs=2)], synthetic_cora(200), "cpu")
    before = _resident("VmRSS")  # with the libraries loaded
    graph, shape = synthetic_cora(num_nodes), {"num_layers": num_layers, "hidden_channels": hidden_channels}
    if (counter := Path("/proc/self/clear_refs")).exists():
        counter.write_text("5")  # forget the peak so far: generating a graph takes more than the graph

    def run(way: Callable, epochs: int) -> Any:
        configs = [dg.Config(seed=seed, epochs=epochs, **shape) for seed in range(num_runs)]
        return way(dg.train, configs, graph, "cpu")

    work = num_runs * num_layers * hidden_channels * num_nodes
    more = min(max(5, 2_000 * 32 * NODES // work), 500)  # epochs of about a second
    run(timed, 2)  # the first training is slower
    seconds, peak = (run(timed, 2 + more)[0] - run(timed, 2)[0]) / more, _resident("VmHWM")
    short, long = run(profiled, 2), run(profiled, 2 + more)
    found = {part: (long[name] - short[name]) / more for part, name in PRODUCTS.items()}
    if num_nodes == NODES:
        measure, calls = training.measure, []  # a profiler would slow down its many small operations
        training.measure = lambda *given: calls.append(timed(measure, *given)) or calls[-1][1]
        run(timed, 100)
        found["measuring"] = sum(seconds for seconds, _ in calls)
    adj, (rows, out) = on_device(graph, torch.device("cpu"), False, 1.0)[1], torch.ones(2, num_nodes, 32)
    for name in ("product", "product_own"):
        found[name] = min(timed(out.addmm_, adj, rows)[0] for _ in range(5))
        adj.col_indices().copy_(adj.col_indices().sort().values)  # as it is symmetric, each node's own
    return {"seconds_per_epoch": seconds, "peak_mib": peak - before, **found}


def _resident(name: str) -> float:
    """MiB of this process's memory, ``VmRSS`` now or ``VmHWM`` at its peak."""
    status = Path("/proc/self/status")
    found = re.search(rf"^{name}:\s*(\d+)", status.read_text(), flags=re.M) if status.exists() else None
    return int(found[1]) / 1024 if found else float("nan")
