"""The paper's claims C1 to C10, and the rule by which they are judged.

A claim is a set of comparisons of two methods, paired by seed, each with a direction ("more" or "less"). Some claims
can be read in several ways (readings): the model that was best on validation or the last one; the paper's measures
of smoothing, which grow with the size of the embeddings, or measures with the size divided out.

The rule, stated before the numbers were known:

- A comparison (a cell) is *for* the claim if its 95 % interval is on the claimed side of zero and the paired t test
  gives p <= 0.05, Holm-corrected for the cells of its reading.
- Otherwise it is *against* the claim if the same holds on the other side, or if the effect is smaller than the margin
  (two one-sided tests, p <= 0.05, Holm-corrected). The margins are 0.02 for accuracies and fractions and a factor of
  1.25 for ratios.
- Otherwise it is *open*.
- A reading is *replicated* if all its cells are for it, *not replicated* if one is against it, else *undecided*.
- A claim has the status on which its readings agree. If they do not agree, it is *undecided*.

C6 compares standard deviations by the jackknife (Miller 1968). C7 says "consistently": in at least 95 % of the layers.
C10 ("directly linked") is judged by intervention: pruning must lower the dead fraction and make embeddings more
dissimilar with the size divided out, and do so more than in the same networks without a graph.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from statsmodels.stats.power import TTestPower

from deadgcn.stats.estimates import holm, interval, p_equivalent, p_value, pair_by_seed

ALPHA = 0.05
MARGIN = 0.02  # of accuracies and of fractions
FACTOR = 1.25  # margin of ratios
CONSISTENTLY = 0.95  # share of the layers
MARGINS = {"difference": MARGIN, "ratio": np.log(FACTOR), "share": 1 - CONSISTENTLY}
RELU, PRUNED, LEAKY = "ReLU", "ReLU + pruning", "LeakyReLU"
SIZE_DIVIDED_OUT = ("rayleigh_quotient", "distance_to_limit")
MEASURES = {"as published": ("dirichlet_energy", "distance_to_mean"), "size divided out": SIZE_DIVIDED_OUT}
CELL = ["claim", "reading", "cell", "quantity", "scale", "claimed"]
STATEMENTS = {
    "C1": "Pruning lowers the dead fraction at every depth",
    "C2": "Pruning lowers the zero fraction at every depth",
    "C3": "Pruning beats ReLU in accuracy in deep networks",
    "C4": "Pruning beats LeakyReLU in accuracy at the largest depth",
    "C5": "LeakyReLU is the most accurate arm up to 25 layers",
    "C6": "Pruning lowers the spread of accuracy around the turning point",
    "C7": "Very deep trained networks: pruning is consistently more dissimilar than ReLU",
    "C8": "Very deep untrained networks: LeakyReLU smooths less than ReLU",
    "C9": "Very deep trained networks become more dissimilar again towards the last layers",
    "C10": "Dying neurons and over-smoothing are directly linked",
}


def core_comparisons(runs: pd.DataFrame) -> pd.DataFrame:
    """The comparisons of C1 to C6, from the runs of the three methods at several depths.

    Returns one row per cell and seed: claim, reading, cell, quantity, scale ("difference", "ratio" or "share"),
    claimed ("more" or "less"), seed and value (a difference, a log ratio, or a share minus 0.95).
    """
    hidden = sorted(depth for depth in runs["num_layers"].unique() if depth > 0)
    deep = [depth for depth in hidden if depth >= 20] or hidden[-1:]
    turning = [depth for depth in hidden if 10 <= depth <= 15] or hidden[len(hidden) // 2 :][:1]
    shallow = [depth for depth in hidden if depth <= 25] or hidden[:1]
    samples = []
    for model, suffix in (("best model", ""), ("last model", "_last")):
        dead, zero, accuracy = (f"{name}{suffix}" for name in ("dead_fraction", "zero_fraction", "test_acc"))
        for claim, quantity, arm, baseline, depths, claimed in (
            ("C1", dead, PRUNED, RELU, hidden, "less"),
            ("C2", zero, PRUNED, RELU, hidden, "less"),
            ("C3", accuracy, PRUNED, RELU, deep, "more"),
            ("C4", accuracy, PRUNED, LEAKY, hidden[-1:], "more"),
            ("C5", accuracy, LEAKY, RELU, shallow, "more"),
            ("C5", accuracy, LEAKY, PRUNED, shallow, "more"),
        ):
            pairs = pair_by_seed(runs, quantity, arm, baseline).set_index("seed")
            for depth in depths:
                name = f"{arm} - {baseline}, {depth} layers"
                sample = pairs.loc[pairs["num_layers"] == depth, "number"]
                samples.append(_sample(claim, model, name, quantity, "difference", claimed, sample))
        pairs = pair_by_seed(runs, accuracy, PRUNED, RELU).set_index("seed")
        for depth in turning:
            name = f"{PRUNED} / {RELU}, {depth} layers"
            sample = _log_ratio_of_spreads(pairs[pairs["num_layers"] == depth])
            samples.append(_sample("C6", model, name, f"spread of {accuracy}", "ratio", "less", sample))
    return pd.concat(samples, ignore_index=True)


def very_deep_comparisons(layers: pd.DataFrame) -> pd.DataFrame:
    """The comparisons of C7 to C10, from the layers of the very deep networks: columns as `core_comparisons`.

    The column `adjacency` is "normalized" for networks with a graph and "identity" for the same without one.
    """
    layers, control = (layers[layers["adjacency"] == name] for name in ("normalized", "identity"))
    return pd.concat([*_c7(layers), *_c8(layers), *_c9(layers), *_c10(layers, control)], ignore_index=True)


def judge(comparisons: pd.DataFrame) -> pd.DataFrame:
    """What each comparison says about its claim, by the rule above.

    Args:
        comparisons: rows of `core_comparisons` and `very_deep_comparisons`.

    Returns:
        One row per cell: claim, reading, cell, quantity, scale, claimed, n, estimate, low, high (ratios for the scale
        "ratio"), p_holm, p_equivalent, std (of the values), answer ("for", "against" or "open").
    """
    rows = []
    for key, group in comparisons.groupby(CELL, sort=False):
        key = dict(zip(CELL, key, strict=True))
        rows.append(key | _estimate(group.sort_values("seed")["value"], key["scale"]))
    cells = pd.DataFrame(rows)
    readings = cells.groupby(["claim", "reading"], sort=False)
    cells = cells.assign(**{name: readings[name].transform(holm) for name in ("p_holm", "p_equivalent")})
    zero = np.where(cells["scale"] == "ratio", 1.0, 0.0)  # a ratio of 1 is no effect
    above, below, more = cells["low"] > zero, cells["high"] < zero, cells["claimed"] == "more"
    clear, small = (cells[name].fillna(1) <= ALPHA for name in ("p_holm", "p_equivalent"))
    supports, contradicts = np.where(more, above, below) & clear, np.where(more, below, above) & clear | small
    return cells.assign(answer=np.select([supports, contradicts], ["for", "against"], "open"))


def verdict(cells: pd.DataFrame) -> pd.DataFrame:
    """One row per claim: statement, status, the readings' statuses, numbers of cells, and the decisive cell.

    The decisive cell of a claim that is not replicated is the one most clearly against it, of the other claims the
    one least clearly for it.
    """
    rows = []
    for claim, of_claim in cells.groupby("claim", sort=False):
        readings = {name: _status(group["answer"]) for name, group in of_claim.groupby("reading", sort=False)}
        status = next(iter(readings.values())) if len(set(readings.values())) == 1 else "undecided"
        row = {"claim": claim, "statement": STATEMENTS[claim], "status": status}
        row["readings"] = "; ".join(f"{name}: {answer}" for name, answer in readings.items())
        row |= {answer: int((of_claim["answer"] == answer).sum()) for answer in ("for", "open", "against")}
        shown = _decisive(of_claim, status)[
            ["reading", "cell", "quantity", "scale", "n", "estimate", "low", "high"]
        ]
        rows.append(row | shown.add_prefix("decisive_").to_dict())
    return pd.DataFrame(rows)


def power(cells: pd.DataFrame) -> pd.DataFrame:
    """How many seeds each reading of a claim needs for a power of 0.8, given the standard deviations measured.

    One row per claim and reading: cells, n, and the number for the cell that needs most, at the level 0.05 / cells:
    `for_margin` if the effect is as large as the margin (C7: 5 % of the layers), `for_effect` if it is as measured.
    """
    ratios = cells["scale"] == "ratio"
    effects = cells["estimate"].mask(ratios, np.log(cells["estimate"].where(ratios)))
    cells = cells.assign(margin=cells["scale"].map(MARGINS), effect=effects)
    rows = []
    for (claim, reading), group in cells.groupby(["claim", "reading"], sort=False):
        row = {"claim": claim, "reading": reading, "cells": len(group), "n": group["n"].min()}
        for name in ("margin", "effect"):
            needed = [
                _seeds_needed(*pair, ALPHA / len(group))
                for pair in zip(group["std"], group[name], strict=True)
            ]
            row[f"for_{name}"] = np.max(needed)
        rows.append(row)
    return pd.DataFrame(rows)


def _c7(layers: pd.DataFrame) -> Iterator[pd.DataFrame]:
    for stage in ("best", "last"):
        trained = layers[layers["stage"] == stage]
        for name, measures in MEASURES.items():
            for measure in measures:
                wins = pair_by_seed(trained, measure, PRUNED, RELU, by="layer").groupby("seed")["win"].mean()
                cell = "share of layers, beyond 95 %"
                yield _sample(
                    "C7", f"{stage} model, {name}", cell, measure, "share", "more", wins - CONSISTENTLY
                )


def _c8(layers: pd.DataFrame) -> Iterator[pd.DataFrame]:
    last = layers["layer"].max()
    end = layers[(layers["stage"] == "init") & (layers["layer"] == last)]
    for name, measures in MEASURES.items():
        for measure in measures:
            ratios = pair_by_seed(end, measure, LEAKY, RELU, by="layer", log=True).set_index("seed")["number"]
            yield _sample("C8", name, f"{LEAKY} / {RELU}, layer {last}", measure, "ratio", "more", ratios)


def _c9(layers: pd.DataFrame) -> Iterator[pd.DataFrame]:
    best = layers[layers["stage"] == "best"]
    for name, measures in MEASURES.items():
        for arm in (RELU, PRUNED, LEAKY):
            for measure in measures:
                cell, sample = f"{arm}, last layer / middle half", _rise(best[best["method"] == arm], measure)
                yield _sample("C9", name, cell, measure, "ratio", "more", sample)


def _c10(layers: pd.DataFrame, control: pd.DataFrame) -> Iterator[pd.DataFrame]:
    for stage in ("best", "last"):
        model = f"{stage} model"
        trained, without_graph = (table[table["stage"] == stage] for table in (layers, control))
        fractions = trained.groupby(["method", "seed", "stage"], as_index=False)["dead_fraction"].mean()
        died = pair_by_seed(fractions, "dead_fraction", PRUNED, RELU, by="stage").set_index("seed")["number"]
        yield _sample("C10", model, f"{PRUNED} - {RELU}", "dead_fraction", "difference", "less", died)
        for measure in SIZE_DIVIDED_OUT:
            effect, control_effect = (
                pair_by_seed(table, measure, PRUNED, RELU, by="layer", log=True)
                .groupby("seed")["number"]
                .mean()
                for table in (trained, without_graph)
            )
            for cell, sample in (("", effect), (", with / without graph", effect - control_effect)):
                yield _sample("C10", model, f"{PRUNED} / {RELU}{cell}", measure, "ratio", "more", sample)


def _sample(claim: str, reading: str, cell: str, quantity: str, scale: str, claimed: str, sample: pd.Series):
    """Tidy rows of a sample, which is indexed by seed."""
    key = dict(zip(CELL, (claim, reading, cell, quantity, scale, claimed), strict=True))
    return sample.rename_axis("seed").rename("value").reset_index().assign(**key)[[*CELL, "seed", "value"]]


def _log_ratio_of_spreads(pairs: pd.DataFrame) -> pd.Series:
    """Jackknife pseudo-values of the log ratio of two standard deviations (Miller 1968), by seed."""
    spread = pairs.reindex(columns=["method", "baseline"]).dropna()
    missing = pd.Series(np.nan, pairs.index)
    if len(spread) < 3 or (spread.nunique() < 2).any():
        return missing

    def log_ratio(table: pd.DataFrame) -> float:
        std = table.std().where(lambda std: std > 0)
        return np.log(std["method"] / std["baseline"])

    n, whole = len(spread), log_ratio(spread)
    return pd.Series({seed: n * whole - (n - 1) * log_ratio(spread.drop(seed)) for seed in spread.index})


def _rise(table: pd.DataFrame, measure: str) -> pd.Series:
    """Log ratio of the last layer to the geometric mean of the middle half of the layers, by seed."""
    curves = table.pivot(index="seed", columns="layer", values=measure)
    curves = np.log(curves.where(curves > 0))
    quarter = curves.shape[1] // 4
    return curves.iloc[:, -1] - curves.iloc[:, quarter : curves.shape[1] - quarter].mean(axis=1)


def _estimate(values: pd.Series, scale: str) -> dict[str, float]:
    sample = values[np.isfinite(values)].to_numpy(float)
    numbers = np.array([sample.mean() if len(sample) else np.nan, *interval(sample)])
    estimate, low, high = np.exp(numbers) if scale == "ratio" else numbers
    return {
        "n": len(sample),
        "estimate": estimate,
        "low": low,
        "high": high,
        "p_holm": p_value(sample),  # corrected when the reading is complete
        "p_equivalent": np.nan if scale == "share" else p_equivalent(sample, MARGINS[scale]),
        "std": sample.std(ddof=1) if len(sample) > 1 else np.nan,
    }


def _status(answers: pd.Series) -> str:
    if (answers == "for").all():
        return "replicated"
    return "not replicated" if (answers == "against").any() else "undecided"


def _decisive(cells: pd.DataFrame, status: str) -> pd.Series:
    if status == "not replicated":
        against = cells[cells["answer"] == "against"]
        return against.loc[against[["p_holm", "p_equivalent"]].min(axis=1).idxmin()]
    rest = cells[cells["answer"] != "for"] if status == "undecided" else cells
    return rest.loc[rest["p_holm"].fillna(1).idxmax()]


def _seeds_needed(std: float, effect: float, alpha: float) -> float:
    """Pairs that a two-sided paired t test needs to find a mean difference `effect` with a power of 0.8."""
    if np.isnan(std) or np.isnan(effect) or effect == 0:
        return np.nan
    if std == 0:
        return 2.0
    # One-sided at half the level: the other tail adds nothing to a power of 0.8, but makes scipy return NaN.
    test = {"effect_size": abs(effect) / std, "alpha": alpha / 2, "alternative": "larger"}
    if TTestPower().power(nobs=2, **test) >= 0.8:
        return 2.0
    return float(np.ceil(TTestPower().solve_power(power=0.8, **test)))
