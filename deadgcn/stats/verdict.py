"""What holds of the paper's claims C1 to C10, by a rule that was written before the numbers.

:mod:`deadgcn.stats.claims` makes the claims into cells: comparisons paired by seed, each with a direction, one
list of them for each way to read a claim.

A cell speaks *for* the claim if its interval lies on the claimed side of zero and p <= 0.05, Holm-corrected
over the cells of its reading. It speaks *against* it if the interval lies on the other side and p <= 0.05, or
if the effect, whatever its sign, is smaller than the margin (equivalence test, p <= 0.05, Holm-corrected) and
the cell does not speak for the claim. Otherwise it is *open*.

A pair in which a run diverged is left out of a cell and counted in its `n_diverged`; a cell that lost as many
pairs as it kept is open, whatever the rest of them say.

A reading is *replicated* if all its cells speak for it, *not replicated* if one speaks against it, and
*undecided* otherwise. So is the claim, if all readings agree; if they do not, it is *undecided*.

The margins, stated in advance: 0.02 for accuracies and fractions, a factor of 1.25 for ratios. C7 says
"consistently", taken as: above in at least 95 % of the layers. C10 is judged by intervention: pruning must
lower the dead fraction, make embeddings more dissimilar with the size divided out, and do so more than in
the same networks without a graph, where propagation smooths nothing. A correlation cannot decide it.
"""

import numpy as np
import pandas as pd

from deadgcn.stats.claims import CONSISTENTLY, FACTOR, MARGIN, STATEMENTS, core_claims, very_deep_claims
from deadgcn.stats.inference import holm, seeds_needed

ALPHA = 0.05


def cells(runs: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """Every comparison behind the claims, with what it says.

    Args:
        runs: rows per run of the core study (three arms, several depths).
        layers: rows per run, stage and layer of the very deep networks, with and without a graph
            (`adjacency` "normalized" and "identity").

    Returns:
        One row per cell: claim, reading, cell, quantity, scale ("difference", "ratio" or "share"), claimed
        ("more" or "less"), n, n_diverged, estimate, low, high, p_holm, p_equivalent, std (of the paired
        differences, of log ratios for ratios), answer ("for", "against", "open").
    """
    blocks = [*core_claims(runs), *very_deep_claims(layers)]
    return pd.concat([_judged(pd.DataFrame(block)) for block in blocks], ignore_index=True)


def verdict(judged: pd.DataFrame) -> pd.DataFrame:
    """One row per claim: statement, status, each reading's status, pairs lost, and the cell that decided.

    `n_diverged` is the largest number of pairs that one of the claim's cells lost. The cell that decided is,
    with its estimate, interval and n: of a claim that is not replicated, the one most clearly
    against it; else the one least clearly for it.
    """
    rows = []
    for claim, statement in STATEMENTS.items():
        of_claim = judged[judged["claim"] == claim]
        readings = {name: _status(group["answer"]) for name, group in of_claim.groupby("reading", sort=False)}
        status = next(iter(readings.values())) if len(set(readings.values())) == 1 else "undecided"
        decisive = _decisive(of_claim, status)
        told = "; ".join(f"{name}: {answer}" for name, answer in readings.items())
        row = {"claim": claim, "statement": statement, "status": status, "readings": told}
        row |= {name: (of_claim["answer"] == name).sum() for name in ("for", "open", "against")}
        row["n_diverged"] = of_claim["n_diverged"].max()
        shown = ["reading", "cell", "quantity", "scale", "n", "n_diverged", "estimate", "low", "high"]
        rows.append(row | {f"decisive_{name}": decisive[name] for name in shown})
    return pd.DataFrame(rows)


def power(judged: pd.DataFrame) -> pd.DataFrame:
    """How many seeds each reading of a claim needs, by the standard deviations that were measured.

    One row per claim and reading: cells, n, and the seeds that its most demanding cell needs to be found
    with a power of 0.8 at 0.05 divided by the number of cells: `for_margin` if the effect is as large as the
    margin (for C7 the 5 % of layers by which it may fall short), `for_effect` if it is what was measured.
    """
    margins = {"difference": MARGIN, "ratio": np.log(FACTOR), "share": 1 - CONSISTENTLY}
    rows = []
    for (claim, reading), group in judged.groupby(["claim", "reading"], sort=False):
        row = {"claim": claim, "reading": reading, "cells": len(group), "n": group["n"].min()}
        needed: dict[str, list[float]] = {"for_margin": [], "for_effect": []}
        for cell in group.itertuples():
            effect = np.log(cell.estimate) if cell.scale == "ratio" else cell.estimate
            for name, size in (("for_margin", margins[cell.scale]), ("for_effect", effect)):
                needed[name].append(seeds_needed(cell.std, size, alpha=ALPHA / len(group)))
        rows.append(row | {name: np.max(numbers) for name, numbers in needed.items()})
    return pd.DataFrame(rows)


def _status(answers: pd.Series) -> str:
    if (answers == "for").all():
        return "replicated"
    return "not replicated" if (answers == "against").any() else "undecided"


def _decisive(of_claim: pd.DataFrame, status: str) -> pd.Series:
    against = of_claim[of_claim["answer"] == "against"]
    if status == "not replicated":
        return against.loc[against[["p_holm", "p_equivalent"]].min(axis=1).idxmin()]
    rest = of_claim[of_claim["answer"] != "for"] if status == "undecided" else of_claim
    return rest.loc[rest["p_holm"].fillna(1).idxmax()]


def _judged(block: pd.DataFrame) -> pd.DataFrame:
    """Correct the p-values of a reading's cells for their number, and add what each cell says."""
    block["p_holm"], block["p_equivalent"] = holm(block["p_holm"]), holm(block["p_equivalent"])
    zero = (block["scale"] == "ratio").astype(float)  # a ratio of 1 is no effect
    claimed = np.where(block["claimed"] == "more", block["low"] > zero, block["high"] < zero)
    opposite = np.where(block["claimed"] == "more", block["high"] < zero, block["low"] > zero)
    clear, kept = block["p_holm"] <= ALPHA, block["n_diverged"] < block["n"]
    against = clear & opposite | (block["p_equivalent"] <= ALPHA)
    answers = np.where(clear & claimed, "for", np.where(against, "against", "open"))
    answers = np.where(kept, answers, "open")
    return block.assign(answer=answers)
