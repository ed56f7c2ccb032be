"""Made-up runs and layers, and the judging again: plain loops, and tests by scipy."""

import numpy as np
import pandas as pd
from scipy import stats

ARMS = RELU, PRUNED, LEAKY = ["ReLU", "ReLU + pruning", "LeakyReLU"]
THREE = ["distance_to_limit", "relative_distance_to_mean", "mean_average_distance"]
MEASURES = ["dirichlet_energy", "distance_to_mean", *THREE]
ACCURACIES = (0.3, 0.5, 0.4)  # of the arms


def make_runs(accuracies=ACCURACIES, seeds=12, noise=0.01, depths=(5, 10, 20, 30)) -> pd.DataFrame:
    """Runs whose mean accuracy is that of their arm, with noise that pairs have partly in common."""
    axes = {"num_layers": [0, *depths], "seed": range(seeds), "method": range(3)}
    runs = pd.MultiIndex.from_product(axes.values(), names=axes).to_frame(index=False)
    rng = np.random.default_rng(2)
    shared = np.repeat(rng.normal(scale=noise, size=len(runs) // 3), 3)
    for column in ("test_acc", "test_acc_last"):
        own = rng.normal(scale=noise, size=len(runs))
        runs[column] = np.take(accuracies, runs["method"]) + shared + own
    return runs.assign(method=np.take(ARMS, runs["method"]))


def make_layers(ratio=2.0, dead=0.1, seeds=12, depths=(5, 10, 20, 30)) -> pd.DataFrame:
    """Layers, none constant, in which pruning multiplies measures by `ratio` and lowers death by `dead`."""
    axes = {"method": ARMS, "num_layers": depths, "seed": range(seeds), "stage": ["init", "best", "last"]}
    layers = pd.MultiIndex.from_product([*axes.values(), range(1, max(depths) + 1)], names=[*axes, "layer"])
    layers = layers.to_frame(index=False).query("layer <= num_layers").reset_index(drop=True)
    rng, pruned = np.random.default_rng(1), (layers["method"] == PRUNED) & (layers["stage"] != "init")
    size = np.where(pruned, ratio, 1) * np.where(layers["method"] == LEAKY, 3, 1)
    size = size * np.where(layers["layer"] == layers["num_layers"], 10, 1)
    for name, mean in (("dead_fraction", 0.5), ("zero_fraction", 0.7)):
        layers[name] = mean - dead * pruned + rng.normal(scale=0.01, size=len(layers))
    for measure in MEASURES:
        layers[measure] = 0.01 * size * np.exp(rng.normal(scale=0.02, size=len(layers)))
    return layers.assign(constant=0.0)


def make_constant_(layers: pd.DataFrame, where: pd.Series) -> None:
    """Make the layers in which `where` is True constant, with absurd values of the other measures."""
    layers.loc[where, [*MEASURES, "dead_fraction", "zero_fraction"]] = 1e9
    layers.loc[where, "constant"] = 1.0


def comparisons(runs: pd.DataFrame, layers: pd.DataFrame, deep: pd.DataFrame) -> dict:
    """(claim, reading, quantity, depth or method): (scale, claimed, number and share for each seed)."""
    found = {}
    tables = {"": layers, "deep": deep}
    rows = {(name, *r.pop("key")): r for name, table in tables.items() for r in _rows(table)}
    accuracy = {(r.method, r.num_layers, r.seed): r for r in runs.itertuples()}
    seeds, depths = sorted(set(runs["seed"])), sorted(set(runs["num_layers"]) - {0})
    deep_seeds, end = sorted(set(deep["seed"])), int(deep["layer"].max())

    def compare(name, seeds, arms, ends, x, how):
        """For each seed, the mean over the pairs of layers that are not constant, and the others' share."""
        values, shares = [], []
        for seed in seeds:
            kept, lost = [], 0
            for first, second in ends:
                one, other = rows[name, arms[0], seed, *first], rows[name, arms[1], seed, *second]
                if one["constant"] or other["constant"]:
                    lost += 1
                    continue
                value = how(one[x], other[x]) if np.isfinite([one[x], other[x]]).all() else np.nan
                if np.isfinite(value):
                    kept.append(value)
            values.append(np.mean(kept) if kept else np.nan)
            shares.append(lost / len(ends))
        return values, shares

    def minus(a, b):
        return a - b

    def log_ratio(a, b):
        return np.log(a / b) if a > 0 and b > 0 else np.nan

    def larger(a, b):
        return float(a > b) if a != b else 0.5

    for stage in ("best", "last"):
        model = f"{stage} model"
        for depth in depths:
            same = [((depth, stage, layer), (depth, stage, layer)) for layer in range(1, depth + 1)]
            for claim, x in (("C1", "dead_fraction"), ("C2", "zero_fraction")):
                sample = compare("", seeds, (PRUNED, RELU), same, x, minus)
                found[claim, model, x, depth] = ("difference", "less", *sample)
            if depth == 10:
                sample = compare("", seeds, (PRUNED, RELU), same, "dead_fraction", minus)
                found["C10", model, "dead_fraction", 10] = ("difference", "less", *sample)
                for x in THREE:
                    sample = compare("", seeds, (PRUNED, RELU), same, x, log_ratio)
                    found["C10", model, x, 10] = ("ratio", "more", *sample)
        x = "test_acc" if stage == "best" else "test_acc_last"
        deepest, shallow = max(depths), [depth for depth in depths if depth <= 25]
        pairs = [("C3", PRUNED, RELU, [depth for depth in depths if depth >= 20])]
        pairs += [
            ("C4", PRUNED, LEAKY, [deepest]),
            ("C5", LEAKY, RELU, shallow),
            ("C5", LEAKY, PRUNED, shallow),
        ]
        for claim, one, other, at in pairs:
            for depth in at:
                two = [[getattr(accuracy[arm, depth, seed], x) for seed in seeds] for arm in (one, other)]
                values = [a - b for a, b in zip(*two, strict=True)]
                found[claim, model, x, (one, other, depth)] = ("difference", "more", values, None)
        same = [((end, stage, layer),) * 2 for layer in range(1, end + 1)]
        for x in MEASURES:
            name = "size divided out" if x in THREE else "as published"
            values, shares = compare("deep", deep_seeds, (PRUNED, RELU), same, x, larger)
            values = [value - 0.95 for value in values]
            found["C7", f"{model}, {name}", x, "share"] = ("share", "more", values, shares)
    for x in MEASURES:
        name = "size divided out" if x in THREE else "as published"
        last = (end, "init", end)
        sample = compare("deep", deep_seeds, (LEAKY, RELU), [(last, last)], x, log_ratio)
        found["C8", name, x, end] = ("ratio", "more", *sample)
        middle = [layer for layer in range(1, end + 1) if end // 4 < layer <= end - end // 4]
        ends = [((end, "best", end), (end, "best", layer)) for layer in middle]
        for arm in ARMS:
            sample = compare("deep", deep_seeds, (arm, arm), ends, x, log_ratio)
            found["C9", name, x, arm] = ("ratio", "more", *sample)
    return found


def judgement(found: dict) -> tuple[dict, dict]:
    """The answer of each comparison, and the status of each reading."""
    support, wrong, small, small_p, lost = {}, {}, {}, {}, {}
    for key, (scale, claimed, values, shares) in found.items():
        x = np.array([value for value in values if np.isfinite(value)])
        sign = 1 if claimed == "more" else -1
        margin = {"difference": 0.02, "ratio": np.log(1.25), "share": None}[scale]
        if shares is not None:
            lost[key] = np.mean(shares) > 0.5 + 1e-12 or sum(s < 1 for s in shares) < 0.8 * len(shares)
        support[key] = False
        if len(x) < 2:
            continue
        if np.ptp(x) < 1e-13:
            p, equivalent = min(1, 2 * 0.5 ** len(x)), 0.5 ** len(x) if abs(x[0]) < (margin or 0) else 1
            support[key] = p <= 0.05 and x[0] * sign > 0
        else:
            test = stats.ttest_1samp(x, 0)
            p, ends = test.pvalue, sign * np.array(test.confidence_interval())
            support[key] = min(ends) > 0
            sides = [(margin or 0, "less"), (-(margin or 0), "greater")]
            equivalent = max(stats.ttest_1samp(x, at, alternative=side).pvalue for at, side in sides)
        wrong[key] = p if x.mean() * sign < 0 else 1.0
        if margin is not None:
            small_p[key], small[key] = equivalent, equivalent <= 0.05
    answers, statuses = {}, {}
    for reading in dict.fromkeys(key[:2] for key in found):
        keys = [key for key in found if key[:2] == reading]
        refuted = set()
        for p_values in (wrong, small_p):
            ranked = sorted((p_values[key], i) for i, key in enumerate(keys) if key in p_values)
            for rank, (p, i) in enumerate(ranked):
                if p * (len(ranked) - rank) > 0.05:
                    break
                refuted.add(keys[i])
        for key in keys:
            if lost.get(key):
                answers[key] = "not measurable"
            elif support[key] and not small.get(key):
                answers[key] = "for"
            else:
                answers[key] = "against" if key in refuted else "open"
        given = [answers[key] for key in keys]
        if "against" in given:
            statuses[reading] = "not replicated"
        elif "not measurable" in given:
            statuses[reading] = "not measurable"
        else:
            statuses[reading] = "replicated" if set(given) == {"for"} else "undecided"
    return answers, statuses


def _rows(layers: pd.DataFrame) -> list[dict]:
    rows = layers.to_dict("records")
    for row in rows:
        row["key"] = row["method"], row["seed"], row["num_layers"], row["stage"], row["layer"]
        row["constant"] = row["constant"] == 1  # missing where diverged
    return rows
