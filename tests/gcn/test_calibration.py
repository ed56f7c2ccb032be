"""Every measure on embeddings of Cora whose answer is known: what each can and cannot see."""

import math
from pathlib import Path

import pandas as pd
import pytest
import torch
from gcn.oracle import literal_measures
from torch.nn.functional import one_hot

from deadgcn.gcn.smoothing import all_measures

TABLE = Path(__file__).parents[2] / "results" / "Cora" / "calibration.csv"
RANK_ONE = {"stable_rank": 1, "effective_rank": 1, "rank_one_distance": 0}
AT_LIMIT = {"rayleigh_quotient": 0, "distance_to_limit": 0, "mean_average_distance": 0}


@pytest.fixture(scope="module")
def degree(cora):
    """With self-loops, ``[N, 1]``."""
    assert not cora.has_self_loops() and not cora.has_isolated_nodes()
    return cora.edge_index[0].bincount()[:, None].double() + 1


def normal(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).double()


def check(graph, x, **expected):
    """Compare the measures of x with expected numbers, and return them."""
    measured = {name: value.item() for name, value in all_measures(x, graph.edge_index).items()}
    for name, value in expected.items():
        assert measured[name] == pytest.approx(value, rel=1e-6, abs=1e-12), name  # PyG counts in float32
    return measured


@pytest.mark.parametrize("row", ["constant", "one-hot labels", "raw features"])
def test_the_notebooks_table_is_that_of_the_formulas(row, cora):
    table, total = pd.read_csv(TABLE, index_col="signal").loc[row], 49_216  # words
    if row == "raw features":  # too many for dense matrices
        source, target = cora.x[cora.edge_index]  # [E, F] each
        apart = (source - target).square().sum().item()
        x, expected = cora.x, {"norm": total**0.5, "dirichlet_energy": math.sqrt(apart / cora.num_nodes)}
    else:
        x = one_hot(cora.y) if row == "one-hot labels" else torch.ones(cora.num_nodes, 32)
        expected = literal_measures(x, cora.edge_index)
    for name, value in check(cora, x, **expected).items():
        assert table[name] == pytest.approx(value, rel=1e-5, abs=1e-9), name


def test_a_constant_is_smooth_by_the_papers_measures_but_is_not_the_limit(cora):
    names = ("dirichlet_energy", "distance_to_mean", "relative_distance_to_mean", "mean_average_distance")
    row = normal(8).float()  # float32, so that sums of them are exact
    measured = check(cora, row.expand(cora.num_nodes, -1), **dict.fromkeys(names, 0), **RANK_ONE)
    assert measured["rayleigh_quotient"] > 0.05 and measured["distance_to_limit"] > 0.2


def test_the_papers_measures_do_not_see_the_limit(cora, degree):
    share = degree.sqrt().sum().item() ** 2 / cora.num_nodes / degree.sum().item()
    to_mean = {"relative_distance_to_mean": math.sqrt(1 - share)}
    measured = check(cora, degree.sqrt() * normal(8), **to_mean, **AT_LIMIT, **RANK_ONE)
    assert measured["relative_distance_to_mean"] > 0.3 and measured["dirichlet_energy"] > 1


def test_of_rank_one_though_neighbours_differ_as_much_as_they_can(cora):
    measured = check(cora, normal(cora.num_nodes, 1) @ normal(1, 8), **RANK_ONE)
    assert measured["rayleigh_quotient"] > 0.65 and measured["distance_to_limit"] > 0.9
    assert measured["relative_distance_to_mean"] > 0.99
    assert measured["mean_average_distance"] == pytest.approx(1, abs=0.05)  # each pair's is 0 or 2


def test_gaussian_numbers(cora, degree):
    n, d = cora.num_nodes, 32
    measured = check(cora, normal(n, d))
    for name, expected in {
        "dirichlet_energy": math.sqrt(2 * d * cora.num_edges / n),
        "distance_to_mean": math.sqrt(d * (n - 1)),
        "norm": math.sqrt(d * n),
        "normalized_dirichlet_energy": d * (n - (1 / degree).sum().item()),  # d times the Laplacian's trace
        "rayleigh_quotient": 1 - (1 / degree).mean().item(),
        "distance_to_limit": math.sqrt(1 - 78 / n),
        "relative_distance_to_mean": math.sqrt(1 - 1 / n),
        "mean_average_distance": 1,
        "stable_rank": n * d / (math.sqrt(n) + math.sqrt(d)) ** 2,  # Marchenko-Pastur's edge
        "effective_rank": d,
    }.items():
        assert measured[name] == pytest.approx(expected, rel=0.02), name
