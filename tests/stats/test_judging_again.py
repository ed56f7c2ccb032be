"""The whole judging against an independent one, on random tables with constant, diverged and zero layers."""

import numpy as np
import pandas as pd
import pytest
from stats import oracle

import deadgcn as dg


def random_tables(seed: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Effects around the margins, so that every answer occurs."""
    rng = np.random.default_rng(seed)
    runs = oracle.make_runs(
        0.4 + rng.normal(scale=0.02, size=3), seeds=9, noise=rng.choice([0.003, 0.02, 0.06])
    )
    layers = oracle.make_layers(rng.choice([0.8, 0.98, 1.02, 1.6]), rng.choice([-0.1, 0.005, 0.1]), seeds=9)
    deep = oracle.make_layers(rng.choice([0.9, 1.02, 1.5]), seeds=5, depths=(8,))
    for table in (layers, deep):
        noise = rng.normal(scale=rng.choice([0.01, 1]), size=len(table))
        table[oracle.MEASURES] *= np.exp(np.round(noise, 3))[:, None]
        share = rng.choice([0, 0.2, 0.35], size=3)  # of constant layers, by arm
        of_arm = share[table["method"].map(oracle.ARMS.index)]
        oracle.make_constant_(table, rng.random(len(table)) < of_arm)
        table.loc[rng.random(len(table)) < 0.02, ["constant", "relative_distance_to_mean"]] = 1.0, np.nan
        lost = (table["seed"] == 0) & (table["method"] == oracle.RELU) & (table["stage"] != "init")
        table.loc[lost, ["constant", "dead_fraction", "zero_fraction", *oracle.MEASURES]] = np.nan
        table.loc[rng.random(len(table)) < 0.02, oracle.MEASURES[-1]] = 0.0
    runs.loc[(runs["seed"] == 3) & (runs["num_layers"] == 20), "test_acc_last"] = np.nan
    return runs, layers, deep


@pytest.mark.parametrize("seed", range(6))
def test_the_judging_again(seed):
    runs, layers, deep = random_tables(seed)
    tables = [dg.core_comparisons(runs, layers), dg.very_deep_comparisons(deep)]
    cells = dg.judge(pd.concat(tables, ignore_index=True))
    cells = cells[cells["claim"] != "C6"]  # by hand in test_claims
    found = oracle.comparisons(runs, layers, deep)
    answers, statuses = oracle.judgement(found)
    assert len(cells) == len(found)
    keys = list(zip(cells["claim"], cells["reading"], cells["quantity"], strict=True))
    in_order = [key for wanted in dict.fromkeys(keys) for key in found if key[:3] == wanted]
    cells = cells.assign(key=pd.Categorical(keys, dict.fromkeys(keys))).sort_values("key", kind="stable")
    assert cells["answer"].tolist() == [answers[key] for key in in_order]
    means = [np.nanmean(found[key][2]) if np.isfinite(found[key][2]).any() else np.nan for key in in_order]
    ratios = cells["scale"] == "ratio"
    np.testing.assert_allclose(cells["estimate"], np.where(ratios, np.exp(means), means), atol=1e-12)
    shares = [np.nan if found[key][3] is None else np.mean(found[key][3]) for key in in_order]
    np.testing.assert_allclose(cells["constant"], shares)
    for row in dg.verdict(cells).itertuples():
        of_claim = [status for reading, status in statuses.items() if reading[0] == row.claim]
        assert row.status == (of_claim[0] if len(set(of_claim)) == 1 else "undecided")


def test_the_random_tables_reach_every_answer():
    found = set()
    for seed in range(6):
        found |= set(oracle.judgement(oracle.comparisons(*random_tables(seed)))[0].values())
    assert found == {"for", "against", "open", "not measurable"}
