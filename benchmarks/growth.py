"""How time and memory grow with the number of runs, layers, channels and nodes.

Each setting has a process of its own. The time of an epoch is the difference between a longer and a shorter
training, so that work that is done once cancels. Memory is the process's peak beyond what it held before the
graph was loaded (NaN where /proc does not tell).
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from processes import timed, workers

import deadgcn as dg
from deadgcn.data.synthetic import synthetic_cora

NODES = 2_700  # of the synthetic graph, which comes in any size
# For each axis: its values, and the other sizes meanwhile.
AXES = {
    "num_runs": ((1, 5, 20), {"num_layers": 16, "hidden_channels": 32, "num_nodes": NODES}),
    "num_layers": ((4, 16, 64, 128), {"num_runs": 10, "hidden_channels": 32, "num_nodes": NODES}),
    "hidden_channels": ((8, 32, 128), {"num_runs": 2, "num_layers": 8, "num_nodes": NODES}),
    "num_nodes": ((2_700, 27_000, 270_000), {"num_runs": 2, "num_layers": 4, "hidden_channels": 32}),
}


def measure(axes: Mapping[str, tuple[Sequence[int], dict]] = AXES, times: int = 5) -> dict[str, pd.DataFrame]:
    """Train along every axis, several times; the table has a row per value and repetition."""
    rows, columns = [], ["axis", "value", "repetition", "seconds_per_epoch", "peak_mib"]
    for repetition, (axis, (values, others)) in itertools.product(range(times), axes.items()):
        for value in values:
            with workers() as (fresh, *_):
                seconds, mib = fresh.submit(train_once, others | {axis: value}).result()
            rows.append([axis, value, repetition, seconds, mib])
            print(f"{axis} {value}: {seconds:.4f} s, {mib:.0f} MiB", flush=True)
    return {"growth": pd.DataFrame(rows, columns=columns)}


def train_once(sizes: dict[str, int]) -> tuple[float, float]:
    """Seconds per epoch and MiB of one setting, in this process, which has trained nothing before."""
    shape = {name: sizes[name] for name in ("num_layers", "hidden_channels")}
    dg.train([dg.Config(num_layers=2, epochs=2)], synthetic_cora(200), "cpu")
    before = _resident("VmRSS")  # with the libraries loaded
    graph = synthetic_cora(sizes["num_nodes"])
    if (counter := Path("/proc/self/clear_refs")).exists():
        counter.write_text("5")  # forget the peak so far: generating a graph takes more than the graph

    def seconds(epochs: int) -> float:
        configs = [dg.Config(seed=seed, epochs=epochs, **shape) for seed in range(sizes["num_runs"])]
        return timed(dg.train, configs, graph, "cpu")[0]

    work = sizes["num_runs"] * sizes["num_layers"] * sizes["hidden_channels"] * sizes["num_nodes"]
    more = min(max(5, 2_000 * 32 * NODES // work), 500)  # epochs of about a second
    seconds(2)  # the first training is slower
    return (seconds(2 + more) - seconds(2)) / more, _resident("VmHWM") - before


def _resident(name: str) -> float:
    """MiB of this process's memory, ``VmRSS`` now or ``VmHWM`` at its peak."""
    status = Path("/proc/self/status")
    found = re.search(rf"^{name}:\s*(\d+)", status.read_text(), flags=re.M) if status.exists() else None
    return int(found[1]) / 1024 if found else float("nan")
