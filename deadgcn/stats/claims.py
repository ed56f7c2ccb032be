"""The paper's claims C1 to C10, and the rule that judges them, stated before the numbers were known.

A claim consists of cells: comparisons of two methods, paired by seed. It may have several readings: of the
best or the last model; by the paper's measures, which grow with the embeddings, or with the size divided out.

- A cell is *for* its claim if the 95 % interval is on the claimed side of zero and the paired t test gives
  p <= 0.05, Holm-corrected for the cells of the reading. Otherwise it is *against* the claim if both are true
  of the other side, or if the effect is smaller than a margin (two one-sided t tests, corrected as well):
  0.02 for accuracies and fractions, a factor of 1.25 for ratios. Otherwise it is *open*.
- A reading is *replicated* if all cells are for it, *not replicated* if one is against it, else *undecided*.
- A claim has the status of its readings if they agree; otherwise it is *undecided*.

C7 says "consistently": in at least 95 % of the layers. C10 is judged by intervention, as a correlation cannot
decide it: pruning must lower the dead fraction and make embeddings more dissimilar with the size divided out,
and do so more than in the same networks without a graph.
"""

from itertools import product

import numpy as np
import pandas as pd

from deadgcn.stats.estimates import pair_by_seed
from deadgcn.stats.inference import finite, holm, interval, log_ratio_of_spreads, mean_tests, seeds_needed

ALPHA, MARGIN, FACTOR, CONSISTENTLY = 0.05, 0.02, 1.25, 0.95
MARGINS = {"difference": MARGIN, "ratio": np.log(FACTOR), "share": 1 - CONSISTENTLY}
ARMS = RELU, PRUNED, LEAKY = "ReLU", "ReLU + pruning", "LeakyReLU"
MEASURES = {
    "as published": ("dirichlet_energy", "distance_to_mean"),
    "size divided out": ("rayleigh_quotient", "distance_to_limit"),
}
CELL = ["claim", "reading", "cell", "quantity", "scale", "claimed"]


def core_comparisons(runs: pd.DataFrame) -> pd.DataFrame:
    """The comparisons of C1 to C6, from the runs of the three methods at several depths.

    One row per cell and seed: claim, reading, cell, quantity, scale ("difference", "ratio" or "share"),
    claimed ("more" or "less"), seed, value (a difference, a log ratio, or a share minus 0.95).
    """
    hidden = sorted(set(runs["num_layers"]) - {0})
    deep = [depth for depth in hidden if depth >= 20] or hidden[-1:]
    turning = [depth for depth in hidden if 10 <= depth <= 15] or hidden[len(hidden) // 2 :][:1]
    shallow = [depth for depth in hidden if depth <= 25] or hidden[:1]
    claims = (
        ("C1", "dead_fraction", PRUNED, RELU, hidden, "less"),
        ("C2", "zero_fraction", PRUNED, RELU, hidden, "less"),
        ("C3", "test_acc", PRUNED, RELU, deep, "more"),
        ("C4", "test_acc", PRUNED, LEAKY, hidden[-1:], "more"),
        ("C5", "test_acc", LEAKY, RELU, shallow, "more"),
        ("C5", "test_acc", LEAKY, PRUNED, shallow, "more"),
        ("C6", "test_acc", PRUNED, RELU, turning, "less"),
    )
    samples = {}
    for model, (claim, quantity, method, baseline, depths, claimed) in product(("best", "last"), claims):
        name = quantity if model == "best" else f"{quantity}_last"
        pairs = pair_by_seed(runs, name, method, baseline)
        for depth in depths:
            at = pairs[pairs["num_layers"] == depth].set_index("seed")
            cell, sample = (f"{method} - {baseline}, {depth} layers", name, "difference"), at["number"]
            if claim == "C6":
                cell = f"{method} / {baseline}, {depth} layers", f"spread of {name}", "ratio"
                sample = log_ratio_of_spreads(at[["method", "baseline"]])
            samples[claim, f"{model} model", *cell, claimed] = sample
    return pd.concat(samples, names=[*CELL, "seed"]).reset_index(name="value")


def very_deep_comparisons(layers: pd.DataFrame) -> pd.DataFrame:
    """The comparisons of C7 to C10, from the layers of very deep networks; columns as of `core_comparisons`.

    The column `adjacency` is "normalized" for networks with a graph, "identity" for the same without one.
    """
    tables = dict(tuple(layers.groupby(["adjacency", "stage"])))
    last, samples = layers["layer"].max(), {}
    measures = [(name, x) for name, several in MEASURES.items() for x in several]

    def pairs(x: str, stage: str, method: str = PRUNED, graph: str = "normalized") -> pd.DataFrame:
        found = pair_by_seed(tables[graph, stage], x, method, RELU, by="layer", log=x != "dead_fraction")
        return found.set_index(["layer", "seed"])

    for stage, (name, x) in product(("best", "last"), measures):
        sample = pairs(x, stage)["win"].groupby("seed").mean() - CONSISTENTLY
        samples["C7", f"{stage} model, {name}", "share of layers, beyond 95 %", x, "share", "more"] = sample
    for name, x in measures:
        sample = pairs(x, "init", LEAKY)["number"].loc[last]
        samples["C8", name, f"{LEAKY} / {RELU}, layer {last}", x, "ratio", "more"] = sample
    best = tables["normalized", "best"].pivot(index=["method", "seed"], columns="layer")
    for name, method in product(MEASURES, ARMS):
        for x in MEASURES[name]:
            logs = np.log(best.loc[method, x].where(lambda curves: curves > 0))
            sample = logs[last] - logs.iloc[:, last // 4 : last - last // 4].mean(axis=1)
            samples["C9", name, f"{method}, last layer / middle half", x, "ratio", "more"] = sample
    for stage in ("best", "last"):
        key, cell = ("C10", f"{stage} model"), f"{PRUNED} / {RELU}"
        dead = pairs("dead_fraction", stage)["number"].groupby("seed").mean()
        samples[*key, f"{PRUNED} - {RELU}", "dead_fraction", "difference", "less"] = dead
        for x in MEASURES["size divided out"]:
            effect = pairs(x, stage)["number"].groupby("seed").mean()
            without = pairs(x, stage, graph="identity")["number"].groupby("seed").mean()
            samples[*key, cell, x, "ratio", "more"] = effect
            samples[*key, f"{cell}, with / without graph", x, "ratio", "more"] = effect - without
    return pd.concat(samples, names=[*CELL, "seed"]).reset_index(name="value")


def judge(comparisons: pd.DataFrame) -> pd.DataFrame:
    """What each cell of the comparisons says about its claim, by the rule above.

    One row per cell: claim, reading, cell, quantity, scale, claimed, n, estimate, low, high (factors for
    ratios), p_holm, p_equivalent (not for shares), std (of the values), answer ("for", "against", "open").
    """
    rows, ends = [], ["estimate", "low", "high"]
    for key, group in comparisons.groupby(CELL, sort=False):
        sample = pd.Series(finite(group["value"]))
        tests = mean_tests(sample, MARGINS[group["scale"].iloc[0]])
        rows.append([*key, len(sample), sample.mean(), *interval(sample), *tests, sample.std()])
    cells = pd.DataFrame(rows, columns=[*CELL, "n", *ends, "p_holm", "p_equivalent", "std"])
    readings = cells.groupby(["claim", "reading"], sort=False)
    cells["p_holm"] = readings["p_holm"].transform(holm)
    cells["p_equivalent"] = readings["p_equivalent"].transform(holm).mask(cells["scale"] == "share")
    more, above, below = cells["claimed"] == "more", cells["low"] > 0, cells["high"] < 0
    clear, small = cells["p_holm"].fillna(1) <= ALPHA, cells["p_equivalent"].fillna(1) <= ALPHA
    supports = clear & np.where(more, above, below)
    opposes = clear & np.where(more, below, above) | small
    cells[ends] = cells[ends].mask(cells["scale"] == "ratio", np.exp)
    return cells.assign(answer=np.select([supports, opposes], ["for", "against"], "open"))


def verdict(cells: pd.DataFrame) -> pd.DataFrame:
    """One row per claim: status, its readings' statuses, numbers of cells, and the decisive cell.

    The decisive cell is most clearly against a claim that is not replicated, and least clearly for any other.
    """
    rows, shown = [], ["reading", "cell", "quantity", "scale", "n", "estimate", "low", "high"]
    for claim, group in cells.groupby("claim", sort=False):
        readings = group.groupby("reading", sort=False)["answer"].agg(_status)
        status = readings.iloc[0] if readings.nunique() == 1 else "undecided"
        unclear = group["p_holm"].fillna(1)
        if status == "not replicated":
            against = group["answer"] == "against"
            unclear = -group[["p_holm", "p_equivalent"]].min(axis=1).where(against)
        elif status == "undecided":
            unclear = unclear.mask(group["answer"] == "for")
        told = "; ".join(f"{name}: {answer}" for name, answer in readings.items())
        row = {"claim": claim, "status": status, "readings": told}
        row |= {answer: (group["answer"] == answer).sum() for answer in ("for", "open", "against")}
        rows.append(row | group.loc[unclear.idxmax(), shown].add_prefix("decisive_").to_dict())
    return pd.DataFrame(rows)


def power(cells: pd.DataFrame) -> pd.DataFrame:
    """How many seeds each reading of a claim needs for a power of 0.8, by the measured standard deviations.

    One row per claim and reading: cells, n, and the seeds for its most demanding cell at 0.05 / cells:
    for_margin for an effect of the margin's size (C7: 5 % of the layers), for_effect for the one measured.
    """
    effect = cells["estimate"].mask(cells["scale"] == "ratio", np.log(cells["estimate"].abs()))
    alpha = ALPHA / cells.groupby(["claim", "reading"])["cell"].transform("size")
    sizes = {"for_margin": cells["scale"].map(MARGINS), "for_effect": effect}
    needed = {name: list(map(seeds_needed, cells["std"], size, alpha)) for name, size in sizes.items()}
    readings = cells.assign(**needed).groupby(["claim", "reading"], sort=False)
    most = readings[list(needed)].max(skipna=False)
    return pd.concat([readings.size().rename("cells"), readings["n"].min(), most], axis=1).reset_index()


def _status(answers: pd.Series) -> str:
    if (answers == "for").all():
        return "replicated"
    return "not replicated" if (answers == "against").any() else "undecided"
