import math

import numpy as np
import pytest
import torch
from torch_geometric.utils import subgraph, to_undirected

from deadgcn.gcn import smoothing
from deadgcn.gcn.smoothing import all_measures, dirichlet_energy

MEASURES = {
    "dirichlet_energy": dirichlet_energy,
    "distance_to_mean": lambda x, _: smoothing.distance_to_mean(x),
    "norm": lambda x, _: smoothing.frobenius_norm(x),
    "normalized_dirichlet_energy": smoothing.normalized_dirichlet_energy,
    "rayleigh_quotient": smoothing.rayleigh_quotient,
    "distance_to_limit": smoothing.distance_to_limit,
    "relative_distance_to_mean": lambda x, _: smoothing.relative_distance_to_mean(x),
    "mean_average_distance": smoothing.mean_average_distance,
    "stable_rank": lambda x, _: smoothing.stable_rank(x),
    "effective_rank": lambda x, _: smoothing.effective_rank(x),
    "rank_one_distance": lambda x, _: smoothing.rank_one_distance(x),
}
# A measure of cX is that of X times this power of c.
POWERS = dict.fromkeys(MEASURES, 0) | {"dirichlet_energy": 1, "distance_to_mean": 1, "norm": 1}
POWERS["normalized_dirichlet_energy"] = 2
OF_GRAPHS = ["normalized_dirichlet_energy", "rayleigh_quotient", "distance_to_limit", "mean_average_distance"]
PATH = torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])  # four nodes, both directions
X = torch.tensor([[1.0, 0.0], [0.0, 3.0], [0.0, 6.0], [2.0, 0.0]])
# Degrees with self-loops 2, 3, 3, 2, so the limit is (√2, √3, √3, √2) / √10; |X|² = 1 + 9 + 36 + 4 = 50.
BY_HAND = {
    "dirichlet_energy": math.sqrt(59 / 2),  # (10 + 9 + 40) along the path, both directions, 4 nodes
    "distance_to_mean": math.sqrt(55 / 2),  # 50 - 4 (3/4)² - 4 (9/4)²
    "norm": math.sqrt(50),
    "normalized_dirichlet_energy": 41 / 2,  # (1/2 + 9/3) + (6 - 3)²/3 + (36/3 + 4/2)
    "rayleigh_quotient": 41 / 100,
    "distance_to_limit": math.sqrt(239 / 500),  # 1 - ((3√2)² / 10 + (9√3)² / 10) / 50
    "relative_distance_to_mean": math.sqrt(11 / 20),
    "mean_average_distance": 3 / 4,  # pairs 1, 0, 1; nodes 1, 1/2, 1/2, 1
    "stable_rank": 10 / 9,  # the columns are orthogonal: σ² = 45, 5
    "effective_rank": 4 / 3**0.75,  # σ = 3√5, √5, so p = 3/4, 1/4
    "rank_one_distance": math.sqrt(1 / 10),
}


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def patchy(num_nodes=30, num_edges=20):
    """Several components, isolated nodes, edges listed twice and self-loops."""
    ends = torch.randint(num_nodes, (2, num_edges), generator=torch.Generator().manual_seed(0))
    edges = to_undirected(ends)
    assert len(set(edges.flatten().tolist())) < num_nodes
    return torch.cat([edges, edges[:, :8], edges[:, :8].flip(0), torch.tensor([[3, 7], [3, 7]])], dim=1)


def literal(x, edge_index):
    """Every measure by its formula, with dense matrices and loops."""
    x, pairs, n = x.double().numpy(), edge_index.T.tolist(), len(x)
    neighbours = [set() for _ in range(n)]
    for i, j in pairs:
        neighbours[i] |= {j} - {i}
    a = np.eye(n)
    a[tuple(edge_index.numpy())] = 1
    root = np.sqrt(a.sum(1))
    laplacian = np.eye(n) - a / root / root[:, None]
    basis = np.stack([np.where(members, root, 0) for members in components(neighbours)])  # [C, N]
    projector = basis.T @ (basis / (basis**2).sum(1, keepdims=True))
    size, form, sigma = np.linalg.norm(x), np.trace(x.T @ laplacian @ x), np.linalg.svd(x)[1]
    to_mean, p = np.linalg.norm(x - x.mean(0)), sigma / sigma.sum()
    return {
        "dirichlet_energy": math.sqrt(sum(((x[i] - x[j]) ** 2).sum() for i, j in pairs) / n),
        "distance_to_mean": to_mean,
        "norm": size,
        "normalized_dirichlet_energy": form,
        "rayleigh_quotient": form / size**2,
        "distance_to_limit": np.linalg.norm(x - projector @ x) / size,
        "relative_distance_to_mean": to_mean / size,
        "mean_average_distance": literal_mad(x, neighbours),
        "stable_rank": (sigma**2).sum() / sigma[0] ** 2,
        "effective_rank": math.exp(-(p * np.log(p)).sum()),
        "rank_one_distance": np.linalg.norm(sigma[1:]) / size,
    }


def components(neighbours):
    left = set(range(len(neighbours)))
    while left:
        component, new = set(), {min(left)}
        while new:
            component |= new
            new = set().union(*(neighbours[i] for i in new)) - component
        left -= component
        yield [i in component for i in range(len(neighbours))]


def literal_mad(x, neighbours):
    of_nodes = []
    for i, others in enumerate(neighbours):
        pairs = [(x[i], x[j]) for j in others if x[i].any() and x[j].any()]
        apart = [1 - u @ v / np.linalg.norm(u) / np.linalg.norm(v) for u, v in pairs]
        of_nodes += [np.mean(apart)] if apart else []
    return np.mean(of_nodes)


@pytest.mark.parametrize("name", MEASURES)
def test_numbers_worked_by_hand(name):
    assert MEASURES[name](X, PATH).item() == pytest.approx(BY_HAND[name], rel=1e-14)
    assert literal(X, PATH)[name] == pytest.approx(BY_HAND[name], rel=1e-14)  # the oracle too


def test_dirichlet_energy_without_the_root():
    assert dirichlet_energy(X, PATH, root=False).item() == 59 / 2


@pytest.mark.parametrize("graph", ["patchy", "cora"])
def test_agrees_with_the_formulas_on_any_leading_dimensions(graph, request):
    edges, n = (request.getfixturevalue("cora").edge_index, 2708) if graph == "cora" else (patchy(), 30)
    x = normal(2, 2, n, 6)
    x[1, 0, :9] = 0
    x[1, 0] += 0.3 * x[1, 0].relu()
    measured, expected = all_measures(x, edges), literal(x[1, 0], edges)
    assert measured.keys() == expected.keys() == MEASURES.keys()
    for name, values in measured.items():
        assert values.shape == (2, 2) and values.dtype == torch.float64
        assert values[1, 0].item() == pytest.approx(expected[name], rel=1e-10), name


@pytest.mark.parametrize("name", MEASURES)
def test_all_measures_are_the_single_ones(name):
    x = normal(2, 3, 30, 5)
    x[0, 1], x[1, 1, :4] = 0, 0
    together = all_measures(x, patchy())[name]
    torch.testing.assert_close(together, MEASURES[name](x, patchy()), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    ("c", "dtype"),
    [
        *((c, dtype) for c in (1e-15, 3.0, 1e15) for dtype in (torch.float32, torch.float64)),
        *((c, torch.float64) for c in (1e-150, 1e150)),  # squares of squares would vanish or overflow
    ],
)
def test_size_is_divided_out_or_counts_as_documented(c, dtype):
    x = normal(30, 5, dtype=dtype)
    x[4] = 0
    before, after = all_measures(x, patchy()), all_measures(x * c, patchy())
    for name, power in POWERS.items():
        assert after[name].item() == pytest.approx(before[name].item() * c**power, rel=1e-6), name


@pytest.mark.parametrize(("dtype", "exponent"), [(torch.float32, 50), (torch.float64, 400)], ids=str)
@pytest.mark.parametrize("sign", [-1, 1])
def test_powers_of_two_change_no_bit(sign, dtype, exponent):
    x, c = normal(30, 5, dtype=dtype), 2.0 ** (sign * exponent)
    before, after = all_measures(x, patchy()), all_measures(x * c, patchy())
    for name, power in POWERS.items():
        assert after[name].item() == before[name].item() * c**power, name


def test_a_matrix_of_zeros_has_a_size_and_nothing_else():
    for name, value in all_measures(torch.zeros(4, 3), PATH).items():
        assert value.isnan() if POWERS[name] == 0 else value == 0, name


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_matrix_that_is_not_finite_is_missing_and_spoils_no_other(name, bad):
    x = normal(2, 4, 3)
    x[1, 2, 0] = bad
    first, second = MEASURES[name](x, PATH)
    assert second.isnan() and first == MEASURES[name](x[0], PATH)


def test_zero_rows_are_left_out_of_the_mean_average_distance():
    x, edges = normal(30, 5), patchy()
    x[3::4] = 0
    kept = (x != 0).any(1)
    without = smoothing.mean_average_distance(x[kept], subgraph(kept, edges, relabel_nodes=True)[0])
    assert smoothing.mean_average_distance(x, edges).item() == pytest.approx(without.item(), rel=1e-14)
    zeros = X * torch.tensor([[1.0], [0.0], [0.0], [1.0]])
    assert smoothing.mean_average_distance(zeros, PATH).isnan()  # no pair of neighbours is left


def test_the_mean_average_distance_sees_directions_only():
    x, edges = normal(30, 5, dtype=torch.float64), patchy()
    lengths = 10.0 ** torch.linspace(-200, 100, 30, dtype=torch.float64)[:, None]
    expected = smoothing.mean_average_distance(x, edges).item()
    assert smoothing.mean_average_distance(x * lengths, edges).item() == pytest.approx(expected, rel=1e-12)
    assert smoothing.mean_average_distance(torch.tensor([[1.0], [-2.0], [3.0], [-4.0]]), PATH) == 2


def test_without_edges_every_node_is_at_its_limit():
    measured = all_measures(X, PATH[:, :0])
    names = ("dirichlet_energy", "normalized_dirichlet_energy", "rayleigh_quotient")
    assert [measured[name].item() for name in names] == [0, 0, 0]
    assert measured["distance_to_limit"].item() == pytest.approx(0, abs=1e-15)
    assert measured["mean_average_distance"].isnan()


@pytest.mark.parametrize("change", ["nodes reordered", "channels rotated", "edges repeated"])
def test_what_no_measure_sees(change):
    x, edges = normal(30, 5, dtype=torch.float64), patchy()
    expected, order = all_measures(x, edges), normal(30, seed=1).argsort()
    if change == "nodes reordered":
        x, edges = x[order], order.argsort()[edges]
    elif change == "channels rotated":
        x = x @ torch.linalg.qr(normal(5, 5, dtype=torch.float64))[0]
    else:
        edges = torch.cat([edges, edges], dim=1)
        expected["dirichlet_energy"] *= math.sqrt(
            2
        )  # but the paper's, a sum over the edges as they are listed
    for name, value in all_measures(x, edges).items():
        assert value.item() == pytest.approx(expected[name].item(), rel=1e-12), name


@pytest.mark.parametrize("num_channels", [1, 5, 32])
def test_bits_do_not_depend_on_neighbours_in_memory(num_channels):
    x = normal(30, 7, num_channels).transpose(0, 1)  # [7, N, d], strided
    together, before = all_measures(x, patchy()), x.clone()
    for i in range(7):
        for name, value in all_measures(x[i].clone(), patchy()).items():
            assert torch.equal(value, together[name][i]), name
    assert torch.equal(x, before)


@pytest.mark.parametrize("name", ["all_measures", *OF_GRAPHS])
def test_edges_that_make_no_undirected_graph_are_refused(name):
    measure = getattr(smoothing, name)
    with pytest.raises(ValueError, match="both directions of every edge; to_undirected"):
        measure(X, PATH[:, :3])
    for nodes in (PATH + 1, PATH - 1):
        with pytest.raises(ValueError, match="edge_index must name rows of x, 0 to 3, but it spans"):
            measure(X, nodes)
