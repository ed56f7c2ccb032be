"""Where the time of an epoch goes, by kind of operation: one process that trains ten runs side by side.

A training is profiled whole, and only what lies between one optimiser step and a later one is counted: whole
epochs, without what is done once (drawing the weights, measuring every layer). "Python and calls" is the wall
time that no operation accounts for, the profiler's own included.
"""

from collections import Counter
from collections.abc import Sequence

import pandas as pd
from processes import ARMS, in_worker
from torch.profiler import ProfilerActivity, profile

from deadgcn.config import Config
from deadgcn.gcn.training import train

STEP = "Optimizer.step#Adam.step"  # the profiler's name for one step
KINDS = {
    "dense products": "bmm mm baddbmm",
    "sparse products": "addmm",
    "activation and bias": "add_ relu_ clamp_min_ threshold_backward leaky_relu_ leaky_relu_backward",
    "deaths and bias gradients": "amax amin sum eq bitwise_and all any",
    "optimiser": f"_fused_adam_ {STEP}",
    "loss and accuracy": "_log_softmax argmax index index_copy_ one_hot scatter_ exp mean mul neg sub div_",
    "copies": "copy_ where clone cat fill_ zero_",
}
OTHER, PYTHON = "other operations", "Python and calls"
FIRST = 1  # the step that is counted from: the first epoch also makes the optimiser's state


def measure(
    depths: Sequence[int] = (10, 30),
    seeds: int = 10,
    epochs: int = 12,
    dataset: str = "Cora",
    repetitions: int = 3,
) -> dict[str, pd.DataFrame]:
    """Profile both arms at each depth; return the table `breakdown`, one row per kind and repetition."""
    rows = []
    for num_layers in depths:
        for method, arm in ARMS.items():
            settings = {"num_layers": num_layers, "dataset": dataset, **arm}
            profiles = in_worker(epochs_by_kind, settings, seeds, epochs, repetitions)
            for repetition, kinds in enumerate(profiles):
                unit = seeds * num_layers * (epochs - FIRST - 1) / 1000
                key = {"method": method, "num_layers": num_layers, "repetition": repetition}
                total = sum(kinds.values())
                rows += [
                    key | {"kind": kind, "ms": seconds / unit, "share": seconds / total}
                    for kind, seconds in kinds.items()
                ]
            print(f"{method}, {num_layers} layers: {total / unit:.3f} ms", flush=True)
    return {"breakdown": pd.DataFrame(rows)}


def epochs_by_kind(settings: dict, seeds: int, epochs: int, repetitions: int) -> list[dict[str, float]]:
    """Seconds by kind from step ``FIRST`` (from 0) to the last, once per repetition."""
    kind_of = {name: kind for kind, names in KINDS.items() for name in names.split()}
    configs = [Config(seed=seed, epochs=epochs, **settings) for seed in range(seeds)]
    found = []
    for _ in range(repetitions):
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            train(configs, device="cpu")
        events = profiler.events()
        steps = sorted(event.time_range.start for event in events if event.name == STEP)
        start, end = steps[FIRST], steps[-1]
        seconds = Counter(dict.fromkeys([*KINDS, OTHER], 0.0))
        for event in events:
            if start <= event.time_range.start < end:
                kind = kind_of.get(event.name.removeprefix("aten::"), OTHER)
                seconds[kind] += event.self_cpu_time_total / 1e6
        found.append(dict(seconds) | {PYTHON: (end - start) / 1e6 - seconds.total()})
    return found
