"""Every measure on embeddings of Cora whose answer is known: what each can and cannot see."""

import math
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch.nn.functional import one_hot
from torch_geometric.utils import homophily

from deadgcn.gcn.smoothing import all_measures, effective_rank

TABLE = Path(__file__).parents[2] / "results" / "Cora" / "calibration.csv"
SIZES = {"dirichlet_energy", "distance_to_mean", "norm", "normalized_dirichlet_energy"}


@pytest.fixture(scope="module")
def degree(cora):
    """With self-loops, ``[N, 1]``."""
    assert not cora.has_self_loops() and not cora.has_isolated_nodes()
    assert cora.edge_index.unique(dim=1).shape[1] == cora.num_edges
    return cora.edge_index[0].bincount()[:, None].double() + 1


@pytest.fixture(scope="module")
def component(cora):
    """Number of each node's component ``[N]``, found by letting the smallest number spread."""
    number, before = torch.arange(cora.num_nodes), None
    while before is None or not torch.equal(number, before):
        before = number
        number = before.scatter_reduce(0, cora.edge_index[0], before[cora.edge_index[1]], "amin")
    return number.unique(return_inverse=True)[1]


@pytest.fixture(scope="module")
def mass(degree, component):
    """Sum of the degrees in each of the 78 components."""
    return torch.zeros(78).double().index_add(0, component, degree[:, 0])


@pytest.fixture
def check(cora):
    """Compare measures with expected numbers, and the notebook's table, where it has a row of that name."""

    def check(x, row=None, **expected):
        measured = {name: value.item() for name, value in all_measures(x, cora.edge_index).items()}
        for name, value in expected.items():
            assert measured[name] == pytest.approx(value, rel=1e-6, abs=1e-12), name  # PyG counts in float32
        if row is not None:
            committed = pd.read_csv(TABLE, index_col="signal").loc[row]
            for name in committed.index:
                assert committed[name] == pytest.approx(measured[name], rel=1e-5, abs=1e-9, nan_ok=True), name
        return measured

    return check


def normal(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).double()


def test_zero(check, cora):
    measured = check(torch.zeros(cora.num_nodes, 8), row="zero")
    assert {name for name, value in measured.items() if value == 0} == SIZES
    assert {name for name, value in measured.items() if math.isnan(value)} == measured.keys() - SIZES


def test_constant(check, cora, degree, component, mass):
    """Smooth by the paper's two measures, but not the limit of a GCN."""
    source, target = cora.edge_index
    spread = (1 / (degree[source] * degree[target]).sqrt()).sum() + (1 / degree).sum()
    roots = torch.zeros(78).double().index_add(0, component, degree[:, 0].sqrt())
    measured = check(
        torch.ones(cora.num_nodes, 32),
        row="constant",
        dirichlet_energy=0,
        distance_to_mean=0,
        relative_distance_to_mean=0,
        mean_average_distance=0,
        norm=math.sqrt(32 * cora.num_nodes),
        rayleigh_quotient=1 - spread.item() / cora.num_nodes,
        distance_to_limit=math.sqrt(1 - (roots**2 / mass).sum().item() / cora.num_nodes),
        stable_rank=1,
        effective_rank=1,
        rank_one_distance=0,
    )
    assert measured["rayleigh_quotient"] > 0.05 and measured["distance_to_limit"] > 0.2


def test_limit(check, cora, degree):
    """The limit of a GCN: the paper's two measures do not see it."""
    share = degree.sqrt().sum().item() ** 2 / cora.num_nodes / degree.sum().item()
    measured = check(
        degree.sqrt() * normal(8),
        normalized_dirichlet_energy=0,
        rayleigh_quotient=0,
        distance_to_limit=0,
        relative_distance_to_mean=math.sqrt(1 - share),
        mean_average_distance=0,
        stable_rank=1,
        effective_rank=1,
        rank_one_distance=0,
    )
    assert measured["relative_distance_to_mean"] > 0.3 and measured["dirichlet_energy"] > 1


def test_limit_of_each_component(check, degree, component, mass):
    """As smooth as the limit, but not of rank one: each component has a vector of its own."""
    vectors = normal(78, 8)
    measured = check(
        degree.sqrt() * vectors[component],
        rayleigh_quotient=0,
        distance_to_limit=0,
        mean_average_distance=0,
        effective_rank=effective_rank(mass.sqrt()[:, None] * vectors).item(),  # 78 orthogonal directions
    )
    assert measured["rank_one_distance"] > 0.1


def test_rank_one(check, cora):
    """Collapsed by the ranks alone: neighbours differ as much as they can."""
    x = normal(cora.num_nodes, 1) @ normal(1, 8)
    measured = check(x, stable_rank=1, effective_rank=1, rank_one_distance=0)
    assert measured["rayleigh_quotient"] > 0.65 and measured["distance_to_limit"] > 0.9
    assert measured["relative_distance_to_mean"] > 0.99
    assert measured["mean_average_distance"] == pytest.approx(1, abs=0.05)  # each pair's is 0 or 2


def test_gaussian(check, cora, degree):
    n, d = cora.num_nodes, 32
    measured = check(normal(n, d))
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
    assert measured["effective_rank"] < d
    rank_one = math.sqrt(1 - 1 / measured["stable_rank"])
    assert measured["rank_one_distance"] == pytest.approx(rank_one, rel=1e-9)


def test_labels(check, cora, degree, component, mass):
    """What a perfect classifier gives: neither smooth nor rough, and of full rank."""
    n, sizes = cora.num_nodes, cora.y.bincount().double()
    share = (sizes / n).square().sum().item()
    source, target = cora.edge_index[:, cora.y[cora.edge_index[0]] == cora.y[cora.edge_index[1]]]
    inside = (1 / (degree[source] * degree[target]).sqrt()).sum() + (1 / degree).sum()
    roots = torch.zeros(78, 7).double().index_put((component, cora.y), degree[:, 0].sqrt(), accumulate=True)
    p = sizes.sqrt() / sizes.sqrt().sum()  # the singular values are the roots of the class sizes
    different = 1 - homophily(cora.edge_index, cora.y, method="edge")
    check(
        one_hot(cora.y),
        row="one-hot labels",
        dirichlet_energy=math.sqrt(2 * different * cora.num_edges / n),
        distance_to_mean=math.sqrt(n * (1 - share)),
        norm=math.sqrt(n),
        normalized_dirichlet_energy=n - inside.item(),
        rayleigh_quotient=1 - inside.item() / n,
        distance_to_limit=math.sqrt(1 - (roots.square().sum(1) / mass).sum().item() / n),
        relative_distance_to_mean=math.sqrt(1 - share),
        mean_average_distance=1 - homophily(cora.edge_index, cora.y, method="node"),
        stable_rank=n / sizes.max().item(),
        effective_rank=math.exp(-(p * p.log()).sum().item()),
        rank_one_distance=math.sqrt(1 - sizes.max().item() / n),
    )


def test_raw_features(check, cora, degree):
    """Cora's 0/1 words, by other roads: counts of words and the eigenvalues of the words' own products."""
    n, x, words = cora.num_nodes, cora.x, cora.x.sum(1).double()
    source, target = cora.edge_index
    common = (x[source] * x[target]).sum(1)  # [E]
    cosine = common / (words[source] * words[target]).sqrt()
    of_nodes = torch.zeros(n).double().index_add(0, source, 1 - cosine) / source.bincount()
    across = (common / (degree[source] * degree[target]).sqrt()[:, 0]).sum()
    propagated = across + (words / degree[:, 0]).sum()
    values = torch.linalg.eigvalsh(x.double().T @ x.double()).clamp(min=0)  # squares of the singular values
    p = values.sqrt() / values.sqrt().sum()
    total, largest = words.sum().item(), values[-1].item()
    assert total == 49_216
    check(
        x,
        row="raw features",
        norm=math.sqrt(total),
        dirichlet_energy=math.sqrt((words[source] + words[target] - 2 * common).sum().item() / n),
        relative_distance_to_mean=math.sqrt(1 - n * x.double().mean(0).square().sum().item() / total),
        rayleigh_quotient=1 - propagated.item() / total,
        mean_average_distance=of_nodes.mean().item(),
        stable_rank=total / largest,
        effective_rank=torch.special.entr(p).sum().exp().item(),
        rank_one_distance=math.sqrt(1 - largest / total),
    )
