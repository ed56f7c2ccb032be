"""The paper's claims C1 to C10 as comparisons paired by seed; :mod:`deadgcn.stats.verdict` has the rule for them.

A claim is a set of *cells*: comparisons of two arms, each with a direction. It may be read in several ways
(*readings*): the model that was best on validation or the last one; the paper's measures of smoothing, which
grow with the size of the embeddings, or measures with the size divided out.

A pair in which a run diverged is left out of a cell's differences, also where a best model was kept before,
and counted in its `n_diverged`. Untrained networks have not diverged: C8 has all pairs.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from deadgcn.stats.estimates import diverged
from deadgcn.stats.inference import difference, interval, p_equivalent, p_value

MARGIN = 0.02  # of accuracies and of fractions
FACTOR = 1.25  # margin of ratios
CONSISTENTLY = 0.95  # share of the layers
RELU, PRUNED, LEAKY = "ReLU", "ReLU + pruning", "LeakyReLU"
AS_PUBLISHED = ("dirichlet_energy", "distance_to_mean")
SIZE_DIVIDED_OUT = ("rayleigh_quotient", "distance_to_limit")
MEASURES = {"as published": AS_PUBLISHED, "size divided out": SIZE_DIVIDED_OUT}
MODELS = {"best model": ("", "best"), "last model": ("_last", "last")}  # column's suffix, stage
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


def core_claims(runs: pd.DataFrame) -> Iterator[list[dict]]:
    """C1 to C6, one list of cells per reading, from the rows per run of the three arms at several depths."""
    hidden = sorted(depth for depth in runs["num_layers"].unique() if depth > 0)
    deep = [depth for depth in hidden if depth >= 20] or hidden[-1:]
    turning = [depth for depth in hidden if 10 <= depth <= 15] or hidden[len(hidden) // 2 :][:1]
    shallow = [depth for depth in hidden if depth <= 25] or hidden[:1]
    runs = _without_diverged(runs)
    for model, (suffix, _) in MODELS.items():
        dead, zero, acc = (f"{name}{suffix}" for name in ("dead_fraction", "zero_fraction", "test_acc"))
        for claim, value, arm, baselines, depths, sign in (
            ("C1", dead, PRUNED, [RELU], hidden, -1),
            ("C2", zero, PRUNED, [RELU], hidden, -1),
            ("C3", acc, PRUNED, [RELU], deep, 1),
            ("C4", acc, PRUNED, [LEAKY], hidden[-1:], 1),
            ("C5", acc, LEAKY, [RELU, PRUNED], shallow, 1),
        ):
            yield [
                _cell(claim, model, f"{arm} - {base}, {depth} layers", value, sign, sample, MARGIN, lost)
                for base in baselines
                for depth in depths
                for at in [runs[runs["num_layers"] == depth]]
                for sample, lost in [(_differences(at, value, arm, base), _lost(at, arm, base))]
            ]
        yield [
            _cell(
                "C6",
                model,
                f"{PRUNED} / {RELU}, {depth} layers",
                f"spread of {acc}",
                -1,
                sample,
                FACTOR,
                lost,
            )
            for depth in turning
            for at in [runs[runs["num_layers"] == depth]]
            for sample, lost in [(_spread(at, acc), _lost(at, PRUNED, RELU))]
        ]


def very_deep_claims(layers: pd.DataFrame) -> Iterator[list[dict]]:
    """C7 to C10, one list of cells per reading, from the rows per layer of the very deep networks.

    Their column `adjacency` tells those with a graph ("normalized") from those without ("identity").
    """
    last, layers = layers["layer"].max(), _without_diverged(layers)
    layers, control = (layers[layers["adjacency"] == name] for name in ("normalized", "identity"))
    for model, (_, stage) in MODELS.items():
        trained = layers[layers["stage"] == stage]
        lost = _lost(trained, PRUNED, RELU)
        for name, measures in MEASURES.items():
            yield [
                _cell(
                    "C7", f"{model}, {name}", "share of layers, beyond 95 %", measure, 1, sample, None, lost
                )
                for measure in measures
                for sample in [_per_seed(trained, measure, _share_above) - CONSISTENTLY]
            ]
    for name, measures in MEASURES.items():
        end = layers[(layers["stage"] == "init") & (layers["layer"] == last)]
        yield [
            _cell("C8", name, f"{LEAKY} / {RELU}, layer {last}", measure, 1, sample, FACTOR, 0)
            for measure in measures
            for sample in [_differences(end, measure, LEAKY, RELU, log=True)]
        ]
    for name, measures in MEASURES.items():
        best = layers[layers["stage"] == "best"]
        yield [
            _cell(
                "C9", name, f"{arm}, last layer / middle half", measure, 1, sample, FACTOR, _lost(best, arm)
            )
            for arm in (RELU, PRUNED, LEAKY)
            for measure in measures
            for sample in [_rise(best[best["method"] == arm], measure)]
        ]
    for model, (_, stage) in MODELS.items():
        trained = layers[layers["stage"] == stage]
        control_trained = control[control["stage"] == stage]
        lost = _lost(trained, PRUNED, RELU)
        lost_in_any = _lost(pd.concat([trained, control_trained]), PRUNED, RELU)
        fractions = trained.groupby(["method", "seed"], as_index=False)["dead_fraction"].mean()
        died = _differences(fractions, "dead_fraction", PRUNED, RELU)
        block = [_cell("C10", model, f"{PRUNED} - {RELU}", "dead_fraction", -1, died, MARGIN, lost)]
        for measure in SIZE_DIVIDED_OUT:
            effect = _per_seed(trained, measure, _mean_log_ratio)
            without = _per_seed(control_trained, measure, _mean_log_ratio)
            for what, sample, lost_here in (
                ("", effect, lost),
                (", with / without graph", effect - without, lost_in_any),
            ):
                cell = f"{PRUNED} / {RELU}{what}"
                block.append(_cell("C10", model, cell, measure, 1, sample, FACTOR, lost_here))
        yield block


def _cell(
    claim: str,
    reading: str,
    cell: str,
    quantity: str,
    sign: int,
    sample: np.ndarray,
    margin: float | None,
    n_diverged: int,
) -> dict:
    """One comparison; `sample [n]` holds differences, or log ratios if the margin is a factor."""
    sample = np.asarray(sample, dtype=float)
    sample = sample[np.isfinite(sample)]
    scale = "share" if margin is None else "ratio" if margin > 1 else "difference"
    shown = np.exp if scale == "ratio" else np.asarray
    location = [sample.mean() if len(sample) else np.nan, *interval(sample)]
    bound = np.log(margin) if scale == "ratio" else margin
    return {
        "claim": claim,
        "reading": reading,
        "cell": cell,
        "quantity": quantity,
        "scale": scale,
        "claimed": "more" if sign > 0 else "less",
        "n": len(sample),
        "n_diverged": n_diverged,
        **{name: float(shown(x)) for name, x in zip(("estimate", "low", "high"), location, strict=True)},
        "p_holm": p_value(sample),  # corrected once the reading is complete
        "p_equivalent": np.nan if margin is None else p_equivalent(sample, bound),
        "std": sample.std(ddof=1) if len(sample) > 1 else np.nan,
    }


def _without_diverged(table: pd.DataFrame) -> pd.DataFrame:
    """The table with what was measured of diverged runs missing, but for untrained networks."""
    measures = table.select_dtypes("float").columns.drop("diverged_epoch", errors="ignore")
    gone = diverged(table) & (table.get("stage", "") != "init")
    return table.assign(**table[measures].mask(gone))


def _lost(table: pd.DataFrame, *arms: str) -> int:
    """How many seeds have a run of these arms that diverged."""
    return table.loc[table["method"].isin(arms) & diverged(table), "seed"].nunique()


def _differences(table: pd.DataFrame, value: str, arm: str, baseline: str, log: bool = False) -> np.ndarray:
    """Differences within pairs ``[n]``; with `log` of logarithms, and a pair with a zero is left out."""
    pairs = table.pivot(index="seed", columns="method", values=value)[[arm, baseline]]
    pairs = np.log(pairs.where(pairs > 0)) if log else pairs
    return difference(pairs.dropna().to_numpy())


def _spread(table: pd.DataFrame, value: str) -> np.ndarray:
    """Pseudo-values of the log ratio of the two arms' standard deviations (jackknife, Miller 1968)."""
    pairs = table.pivot(index="seed", columns="method", values=value)[[PRUNED, RELU]].dropna().to_numpy()
    if len(pairs) < 3 or not np.ptp(pairs, axis=0).all():
        return np.empty(0)
    without = np.stack([_log_ratio_of_std(np.delete(pairs, i, axis=0)) for i in range(len(pairs))])
    return len(pairs) * _log_ratio_of_std(pairs) - (len(pairs) - 1) * without


def _log_ratio_of_std(pairs: np.ndarray) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):  # no variance left: not finite, so left out
        return np.subtract(*np.log(pairs.std(axis=0, ddof=1)))


def _per_seed(trained: pd.DataFrame, measure: str, number: Callable) -> np.ndarray:
    """A number per seed from its layers' values under both arms."""
    pairs = trained.pivot(index=["seed", "layer"], columns="method", values=measure)[[PRUNED, RELU]]
    return pairs.groupby("seed").apply(number).to_numpy()


def _share_above(pairs: pd.DataFrame) -> float:
    """Share of layers where pruning is above, a tie counting half; missing values are left out."""
    pairs = pairs.dropna()
    return (np.sign(pairs[PRUNED] - pairs[RELU]) + 1).mean() / 2


def _mean_log_ratio(pairs: pd.DataFrame) -> float:
    pairs = pairs[(pairs > 0).all(axis=1)]
    return np.log(pairs[PRUNED] / pairs[RELU]).mean()


def _rise(table: pd.DataFrame, measure: str) -> np.ndarray:
    """Log of the last layer over the geometric mean of the middle half of the layers, per seed."""
    curves = table.pivot(index="seed", columns="layer", values=measure)
    curves = np.log(curves.where(curves > 0))
    quarter = curves.shape[1] // 4
    middle = curves.iloc[:, quarter : curves.shape[1] - quarter]
    return (curves.iloc[:, -1] - middle.mean(axis=1)).to_numpy()
