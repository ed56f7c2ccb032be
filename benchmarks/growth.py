"""How time and memory grow with the number of runs, of layers, of channels and of nodes.

Each setting has a fresh process. The time of an epoch is the difference of a longer and a shorter training,
so that what is done once is left out; it is long enough to stand out from that. Memory is the process's peak
beyond what it had before the graph was loaded (NaN where /proc does not tell); the time of loading does not
count, nor does its peak.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from processes import in_fresh_process, timed

from deadgcn.config import Config
from deadgcn.data.graphs import load_graph
from deadgcn.gcn.training import train

NODES = 2_700  # of the synthetic graph, which comes in any size
SIZES = ("num_runs", "num_layers", "hidden_channels", "num_nodes")
# For each axis: its values, and what the other sizes are meanwhile.
AXES = {
    "num_runs": ((1, 2, 5, 10, 20), {"num_layers": 16, "hidden_channels": 32, "num_nodes": NODES}),
    "num_layers": ((4, 8, 16, 32, 64, 128), {"num_runs": 10, "hidden_channels": 32, "num_nodes": NODES}),
    "hidden_channels": ((8, 16, 32, 64, 128, 256), {"num_runs": 2, "num_layers": 8, "num_nodes": NODES}),
    "num_nodes": (
        tuple(NODES * factor for factor in (1, 3, 10, 30, 100)),
        {"num_runs": 2, "num_layers": 4, "hidden_channels": 32},
    ),
}
MIB = 2**20


def measure(
    axes: Mapping[str, tuple[Sequence[int], dict]] = AXES, repetitions: int = 3
) -> dict[str, pd.DataFrame]:
    """Train along every axis; return the tables `growth`, a row per repetition, and `growth_exponents`."""
    rows = []
    for axis, (values, others) in axes.items():
        for value in values:
            sizes = {name: (others | {axis: value})[name] for name in SIZES}
            found = in_fresh_process(train_once, sizes, repetitions)
            rows += [{"axis": axis, "value": value} | row for row in found]
            print(
                "{axis} {value}: {seconds_per_epoch:.4f} s, {peak_mib:.0f} MiB".format(**rows[-1]), flush=True
            )
    growth = pd.DataFrame(rows)
    return {"growth": growth, "growth_exponents": exponents(growth)}


def train_once(sizes: dict[str, int], repetitions: int) -> list[dict[str, float]]:
    """Time and memory of one setting, in this process, which should have trained nothing before."""
    settings = {name: sizes[name] for name in ("num_layers", "hidden_channels")}
    train([Config(num_layers=2, epochs=2)], load_graph("SyntheticCora", num_nodes=200), "cpu")  # libraries
    before = _resident("VmRSS")
    graph = load_graph("SyntheticCora", num_nodes=sizes["num_nodes"])
    _reset_peak()

    def seconds(epochs: int) -> float:
        configs = [Config(seed=seed, epochs=epochs, **settings) for seed in range(sizes["num_runs"])]
        return timed(train, configs, graph, "cpu")[0]

    seconds(2)  # the first training is slower
    rows, more = [], _epochs_of_a_second(**sizes)
    for repetition in range(repetitions):
        per_epoch = (seconds(2 + more) - seconds(2)) / more
        rows.append({"repetition": repetition, "seconds_per_epoch": per_epoch})
    memory = {"peak_mib": _resident("VmHWM") - before, "needed_mib": needed_mib(**sizes)}
    memory["graph_mib"] = graph.x.numel() * graph.x.element_size() / MIB  # the dense features, once
    return [row | memory for row in rows]


def _epochs_of_a_second(num_runs: int, num_layers: int, hidden_channels: int, num_nodes: int) -> int:
    """About how many epochs take a second or two; 5 to 500."""
    work = num_runs * num_layers * hidden_channels * num_nodes
    return min(max(5, 2_000 * 32 * NODES // work), 500)


def needed_mib(num_runs: int, num_layers: int, hidden_channels: int, num_nodes: int) -> float:
    """What training must hold: every activation, and the weights with Adam's two moments, as float32."""
    features, classes, d = 1_433, 7, hidden_channels
    parameters = (features + 1) * d + (num_layers - 1) * (d + 1) * d + (d + 1) * classes
    return num_runs * 4 * (num_layers * num_nodes * d + 3 * parameters) / MIB


def exponents(growth: pd.DataFrame) -> pd.DataFrame:
    """Slopes of time and of memory in log-log, by least squares over each axis from end to end.

    NaN where there is one point, or a time so short that the difference of two trainings is not positive.
    """
    rows = []
    for axis, table in growth.groupby("axis", sort=False):
        medians = table.groupby("value")[["seconds_per_epoch", "peak_mib"]].median()
        slopes = [_slope(medians[name]) for name in medians]
        ends = {"from": medians.index[0], "to": medians.index[-1]}
        rows.append({"axis": axis, **ends, "time_exponent": slopes[0], "memory_exponent": slopes[1]})
    return pd.DataFrame(rows)


def _slope(y: pd.Series) -> float:
    if len(y) < 2 or not (y > 0).all():
        return float("nan")
    return float(np.polyfit(np.log(y.index), np.log(y), 1)[0])


def _resident(name: str) -> float:
    """MiB of this process's memory, ``VmRSS`` now or ``VmHWM`` at its peak."""
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(lines[name].split()[0]) / 1024


def _reset_peak() -> None:
    """Forget the peak so far; generating a graph takes more for a moment than the graph does."""
    counter = Path("/proc/self/clear_refs")
    if counter.exists():
        counter.write_text("5")
