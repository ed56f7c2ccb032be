"""Paired timing of the engine against a careful PyTorch Geometric loop that trains one run after another.

    make bench     (a few minutes; writes results/bench/speed.csv)

Both train the plain ReLU arm on Cora, evaluate after every epoch (validation accuracy and the dead neurons of
every layer) and keep the best state. Ours runs as shipped, in one process per core with one thread each; the
loop runs as a good user would write it, with cached normalisation, no gradients while evaluating, and torch's
default threads. The two take turns, so that a drift of the machine's speed hits both.
"""

import copy
import statistics
import time
from pathlib import Path

import joblib
import pandas as pd
import torch
from torch.nn.functional import cross_entropy
from torch_geometric.data import Data
from torch_geometric.nn import GCN

from deadgcn.config import Config
from deadgcn.data import load_graph
from deadgcn.training import train

CORES = joblib.cpu_count()
SEEDS, REPETITIONS = 10, 3
DEPTHS = (5, 10, 30)


def careful_loop(config: Config, graph: Data) -> dict[str, list]:
    """Train one run as a careful user of PyTorch Geometric would; return its history."""
    torch.manual_seed(config.seed)
    channels = (graph.num_features, config.hidden_channels, config.num_layers, 7)
    model = GCN(*channels, jk="last", cached=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    best_acc, best_state, history = -1.0, None, {"val_acc": [], "dead": []}
    for epoch in range(config.epochs):
        optimizer.zero_grad()
        logits = model(graph.x, graph.edge_index)
        cross_entropy(logits[graph.train_mask], graph.y[graph.train_mask]).backward()
        optimizer.step()
        with torch.no_grad():
            h, dead = graph.x, []
            for conv in model.convs:
                h = conv(h, graph.edge_index).relu()
                dead.append((h.amax(0) == 0).sum())
            correct = model.lin(h).argmax(1) == graph.y
            acc = correct[graph.val_mask].float().mean().item()
        history["val_acc"].append(acc)
        history["dead"].append([int(count) for count in dead])
        if config.counts(epoch) and acc > best_acc:
            best_acc, best_state = acc, copy.deepcopy(model.state_dict())
    return history | {"best_state": best_state}


def ours(configs: list[Config]) -> None:
    """Train the runs as `run_grid` does: side by side within a process, chunks in processes."""
    train(configs, device="cpu")


def timed(function, *arguments) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def main() -> None:
    """Time both in turn and write the table."""
    graph = load_graph("Cora")
    rows = []
    with joblib.Parallel(n_jobs=CORES) as pool:
        pool(joblib.delayed(ours)([Config(num_layers=1, epochs=2)]) for _ in range(CORES))  # warm up
        for num_layers in DEPTHS:
            settings = {"num_layers": num_layers}
            # A chunk of ten seeds for every core: what the study keeps the machine busy with.
            chunks = [[Config(seed=10 * c + s, **settings) for s in range(SEEDS)] for c in range(CORES)]
            careful_loop(Config(**settings | {"epochs": 2}), graph)
            for repetition in range(REPETITIONS):
                fast = timed(pool, (joblib.delayed(ours)(chunk) for chunk in chunks))
                slow = timed(careful_loop, Config(seed=repetition, **settings), graph)
                unit = num_layers * Config().epochs / 1000  # per run, layer and epoch, in milliseconds
                row = {"ours_ms": fast / (SEEDS * CORES) / unit, "loop_ms": slow / unit}
                rows.append({"num_layers": num_layers, "repetition": repetition, **row})
                print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    table["ratio"] = table["loop_ms"] / table["ours_ms"]
    folder = Path(__file__).parents[1] / "results" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    table.round(4).to_csv(folder / "speed.csv", index=False, lineterminator="\n")
    for num_layers, group in table.groupby("num_layers"):
        spread = f"{group['ratio'].min():.1f} to {group['ratio'].max():.1f}"
        print(f"{num_layers} layers: {statistics.median(group['ratio']):.1f} times as fast ({spread})")


if __name__ == "__main__":
    main()
