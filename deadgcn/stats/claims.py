"""The paper's claims C1 to C10, and the rule that judges them.

A claim consists of cells: comparisons of two methods, paired by seed, with the direction that it states. It
may have several readings: of the best or the last model; by the paper's measures, which grow with the
embeddings, or by three with the size divided out. Measures of layers, death included, are compared only
where the layer is constant in neither run of the pair.

The rule for each cell, reading and claim is in docs/protocol.md.

C7 says "consistently": in at least 95 % of the layers. C10 is judged by intervention: at 10 layers, where
networks learn, pruning must lower the dead fraction and raise all three measures.
"""

from itertools import product

import numpy as np
import pandas as pd

from deadgcn.stats import inference
from deadgcn.stats.estimates import answer, over_layers, pair_by_seed

CONSISTENTLY, LINK_LAYERS = 0.95, 10
MARGINS = {"difference": inference.MARGIN, "ratio": np.log(inference.FACTOR), "share": 1 - CONSISTENTLY}
ARMS = RELU, PRUNED, LEAKY = "ReLU", "ReLU + pruning", "LeakyReLU"
SIZE_FREE = ("distance_to_limit", "relative_distance_to_mean", "mean_average_distance")
MEASURES = {"as published": ("dirichlet_energy", "distance_to_mean"), "size divided out": SIZE_FREE}
CELL = ["claim", "reading", "cell", "quantity", "scale", "claimed"]


def core_comparisons(runs: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """The comparisons of C1 to C6 and C10, from the three methods' runs at several depths and their layers.

    One row per cell and seed: claim, reading, cell, quantity, scale ("difference", "ratio" or "share"),
    claimed ("more" or "less"), seed, value (a difference, a log ratio, or a share minus 0.95), constant (the
    share of pairs of layers that were left out; missing for accuracies).
    """
    hidden = sorted(set(runs["num_layers"]) - {0})
    deep = [depth for depth in hidden if depth >= 20] or hidden[-1:]
    turning = [depth for depth in hidden if 10 <= depth <= 15] or hidden[len(hidden) // 2 :][:1]
    shallow = [depth for depth in hidden if depth <= 25] or hidden[:1]
    link = min(hidden, key=lambda depth: abs(depth - LINK_LAYERS))
    claims = [
        ("C1", "dead_fraction", PRUNED, RELU, hidden, "less"),
        ("C2", "zero_fraction", PRUNED, RELU, hidden, "less"),
        ("C3", "test_acc", PRUNED, RELU, deep, "more"),
        ("C4", "test_acc", PRUNED, LEAKY, hidden[-1:], "more"),
        ("C5", "test_acc", LEAKY, RELU, shallow, "more"),
        ("C5", "test_acc", LEAKY, PRUNED, shallow, "more"),
        ("C6", "test_acc", PRUNED, RELU, turning, "less"),
        ("C10", "dead_fraction", PRUNED, RELU, [link], "less"),
        *(("C10", measure, PRUNED, RELU, [link], "more") for measure in SIZE_FREE),
    ]
    samples = {}
    for model, (claim, x, method, baseline, depths, claimed) in product(("best", "last"), claims):
        log, of_runs = x in SIZE_FREE, x == "test_acc"
        scale, sign = ("ratio", "/") if log or claim == "C6" else ("difference", "-")
        table, by = layers[layers["stage"] == model], ["num_layers", "layer"]
        if of_runs:
            table, by, x = runs.assign(constant=False), ["num_layers"], x if model == "best" else f"{x}_last"
        pairs = pair_by_seed(table[table["num_layers"].isin(depths)], x, method, baseline, by, log)
        for depth, at in pairs.groupby("num_layers"):
            sample, quantity = _over_layers(at, "number"), x
            if of_runs:
                sample["constant"] = np.nan
            if claim == "C6":
                quantity = f"spread of {x}"
                sample["value"] = inference.log_ratio_of_spreads(at.set_index("seed")[["method", "baseline"]])
            cell = f"{method} {sign} {baseline}, {depth} layers"
            samples[claim, f"{model} model", cell, quantity, scale, claimed] = sample
    return pd.concat(samples, names=[*CELL, "seed"]).reset_index()


def very_deep_comparisons(layers: pd.DataFrame) -> pd.DataFrame:
    """The comparisons of C7 to C9, from the layers of very deep networks; columns as of `core_comparisons`.

    C9 pairs the last layer with each layer of the middle half, in the same run.
    """
    last, samples = layers["layer"].max(), {}
    measures = [(name, x) for name, several in MEASURES.items() for x in several]
    stages = dict(tuple(layers.groupby("stage")))
    for stage, (name, x) in product(("best", "last"), measures):
        pairs = pair_by_seed(stages[stage], x, PRUNED, RELU, by="layer")
        sample = _over_layers(pairs, "win")
        sample["value"] -= CONSISTENTLY
        samples["C7", f"{stage} model, {name}", "share of layers, beyond 95 %", x, "share", "more"] = sample
    at_end = stages["init"][stages["init"]["layer"] == last]
    for name, x in measures:
        sample = _over_layers(pair_by_seed(at_end, x, LEAKY, RELU, by="layer", log=True), "number")
        samples["C8", name, f"{LEAKY} / {RELU}, layer {last}", x, "ratio", "more"] = sample
    best = stages["best"]
    quarter = last // 4
    end = max(last - max(quarter, 1), 1)  # below the last layer, unless that is the only one
    middle = best[best["layer"].between(quarter + 1, end)]
    pairs = middle.merge(best[best["layer"] == last], on=["method", "seed"], suffixes=("", "_end"))
    pairs["constant"] = (pairs["constant"] == 1) | (pairs["constant_end"] == 1)
    for method, (name, x) in product(ARMS, measures):
        both = pairs.loc[pairs["method"] == method, [x, f"{x}_end"]]
        logs = np.log(both.where(both > 0))
        number = logs[f"{x}_end"] - logs[x]
        sample = _over_layers(pairs.loc[both.index].assign(number=number, win=np.nan, zero=False), "number")
        samples["C9", name, f"{method}, last layer / middle half", x, "ratio", "more"] = sample
    return pd.concat(samples, names=[*CELL, "seed"]).reset_index()


def judge(comparisons: pd.DataFrame) -> pd.DataFrame:
    """What each cell of the comparisons says about its claim, by the rule above.

    One row per cell: claim, reading, cell, quantity, scale, claimed, n, estimate, low, high (factors for
    ratios), std (of the values), constant (share of the pairs of layers), p_value, p_equivalent (not for
    shares), p_holm (of p_value where the effect is on the other side, of 1 elsewhere), p_equivalent_holm,
    answer ("for", "open", "against" or "not measurable").
    """
    rows, ends = [], ["estimate", "low", "high"]
    for key, group in comparisons.groupby(CELL, sort=False):
        sample, constant = pd.Series(inference.finite(group["value"])), group["constant"]
        numbers = [len(sample), sample.mean(), *inference.interval(sample), sample.std(), constant.mean()]
        tests = inference.mean_tests(sample, MARGINS[group["scale"].iloc[0]])
        rows.append([*key, *numbers, *tests, (constant.fillna(0) < 1).mean() < 0.8])
    columns = [*CELL, "n", *ends, "std", "constant", "p_value", "p_equivalent", "few_seeds"]
    cells = pd.DataFrame(rows, columns=columns)
    cells = cells.sort_values("claim", key=lambda x: x.str[1:].astype(int), kind="stable", ignore_index=True)
    effect = cells["estimate"]
    agrees = np.where(cells["claimed"] == "more", effect >= 0, effect <= 0)
    cells["p_equivalent"] = cells["p_equivalent"].mask(cells["scale"] == "share")
    readings = cells.assign(p_holm=cells["p_value"].mask(agrees, 1)).groupby(["claim", "reading"])
    cells["p_holm"] = readings["p_holm"].transform(inference.holm)
    cells["p_equivalent_holm"] = readings["p_equivalent"].transform(inference.holm)
    rows = cells.assign(difference=effect)
    shown = answer(rows)
    opposed = answer(rows.assign(p_equivalent=cells["p_equivalent_holm"]), p="p_holm") != "open"
    cases = [cells["few_seeds"] | (shown == "not measurable"), shown == cells["claimed"], opposed]
    answers = np.select(cases, ["not measurable", "for", "against"], "open")
    cells[ends] = cells[ends].mask(cells["scale"] == "ratio", np.exp)
    return cells.assign(answer=answers).drop(columns="few_seeds")


def verdict(cells: pd.DataFrame) -> pd.DataFrame:
    """One row per claim: status, its readings' statuses, numbers of cells, and the decisive cell.

    The decisive cell is most clearly against a claim that is not replicated, has most constant layers for one
    that is not measurable, and is least clearly for any other.
    """
    rows, shown = [], ["reading", "cell", "quantity", "scale", "n", "estimate", "low", "high", "constant"]
    for claim, group in cells.groupby("claim", sort=False):
        answers = group["answer"]
        readings = answers.groupby(group["reading"], sort=False).agg(_status)
        status = readings.iloc[0] if readings.nunique() == 1 else "undecided"
        unclear = group["p_value"].fillna(1)
        if status == "not replicated":
            unclear = -group[["p_holm", "p_equivalent_holm"]].min(axis=1).where(answers == "against")
        elif status == "not measurable":
            unclear = group["constant"].where(answers == status)
        elif status == "undecided":
            unclear = unclear.mask(answers == "for")
        told = "; ".join(f"{name}: {found}" for name, found in readings.items())
        row = {"claim": claim, "status": status, "readings": told}
        row |= {name: (answers == name).sum() for name in ("for", "open", "against", "not measurable")}
        rows.append(row | group.loc[unclear.idxmax(), shown].add_prefix("decisive_").to_dict())
    return pd.DataFrame(rows)


def power(cells: pd.DataFrame) -> pd.DataFrame:
    """How many seeds each reading of a claim needs for a power of 0.8, by the measured standard deviations.

    One row per claim and reading: cells, n, and the seeds for its most demanding cell at the level 0.05:
    for_margin for an effect of the margin's size (C7: 5 % of the layers), for_effect for the one measured.
    Missing if a cell is not measurable, which more seeds do not change.
    """
    logs = np.log(cells["estimate"].where(cells["estimate"] > 0))
    effect = cells["estimate"].mask(cells["scale"] == "ratio", logs)
    std = cells["std"].mask(cells["answer"] == "not measurable")
    sizes = {"for_margin": cells["scale"].map(MARGINS), "for_effect": effect}
    needed = {name: list(map(inference.seeds_needed, std, size)) for name, size in sizes.items()}
    readings = cells.assign(**needed).groupby(["claim", "reading"], sort=False)
    most = readings[list(needed)].max(skipna=False)
    return pd.concat([readings.size().rename("cells"), readings["n"].min(), most], axis=1).reset_index()


def _over_layers(pairs: pd.DataFrame, value: str) -> pd.DataFrame:
    return over_layers(pairs).set_index("seed").rename(columns={value: "value"})[["value", "constant"]]


def _status(answers: pd.Series) -> str:
    found = set(answers)
    if "against" in found:
        return "not replicated"
    if "not measurable" in found:
        return "not measurable"
    return "replicated" if found == {"for"} else "undecided"
