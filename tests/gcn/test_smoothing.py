"""The measures of smoothing: by hand, by their formulas on any graph, and what each of them ignores."""

import math

import numpy as np
import pytest
import torch
from gcn.oracle import literal_measures
from gcn.strategies import embeddings, quietly, seeds
from hypothesis import assume, given
from hypothesis import strategies as st
from torch_geometric import EdgeIndex
from torch_geometric.data import Data

from deadgcn.gcn import smoothing
from deadgcn.gcn.embeddings import Graph
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
# A measure of cX is that of X times this power of c; 0 for all others, which are missing for a zero matrix.
POWERS = {"dirichlet_energy": 1, "distance_to_mean": 1, "norm": 1, "normalized_dirichlet_energy": 2}
BOUNDS = {
    "rayleigh_quotient": (0, 2),
    "distance_to_limit": (0, 1),
    "relative_distance_to_mean": (0, 1),
    "mean_average_distance": (0, 2),
    "rank_one_distance": (0, 1),
}
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


@pytest.mark.parametrize("name", MEASURES)
def test_numbers_worked_by_hand(name):
    assert MEASURES[name](X, PATH).item() == pytest.approx(BY_HAND[name], rel=1e-14)
    assert literal_measures(X, PATH)[name] == pytest.approx(BY_HAND[name], rel=1e-14)  # the oracle too


@quietly
@given(drawn=embeddings())
def test_agrees_with_the_formulas_on_any_graph(drawn):
    x, edge_index = drawn
    assume(x.any())
    measured, expected = all_measures(x, edge_index), literal_measures(x, edge_index)
    assert measured.keys() == expected.keys() == MEASURES.keys()
    for name, value in measured.items():
        assert value.item() == pytest.approx(expected[name], rel=1e-9, abs=1e-9, nan_ok=True), name
        assert torch.equal(MEASURES[name](x, edge_index).nan_to_num(-1), value.nan_to_num(-1)), name


@quietly
@given(
    drawn=embeddings(),
    c=st.integers(-400, 400).map(lambda k: 2.0**k) | st.floats(1e-150, 1e150),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_size_is_divided_out_or_counts_as_documented(drawn, c, dtype):
    x, edge_index = drawn
    if dtype == torch.float32:
        x, c = x.float(), 2.0 ** round(math.log2(c) / 10)  # what float32 can hold
    tolerance = 0 if math.frexp(c)[0] == 0.5 else 1e-9  # a power of two changes no bit
    own, scaled = all_measures(x, edge_index), all_measures(x * c, edge_index)
    for name, value in own.items():
        factor = c ** POWERS.get(name, 0)
        found = scaled[name].item() / factor
        assert found == pytest.approx(value.item(), rel=tolerance, abs=tolerance, nan_ok=True), name


@quietly
@given(drawn=embeddings(), seed=seeds)
def test_order_of_nodes_rotation_of_channels_and_repeated_edges_do_not_matter(drawn, seed):
    x, edge_index = drawn
    own = all_measures(x, edge_index)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    basis = np.linalg.qr(np.random.default_rng(seed).normal(size=(x.shape[1], x.shape[1])))[0]
    repeated = all_measures(x, torch.cat([edge_index, edge_index], dim=1))
    renamed = all_measures(x[order], order.argsort()[edge_index])
    rotated = all_measures(x @ torch.from_numpy(basis), edge_index)
    for other in (renamed, rotated, repeated):
        for name, value in own.items():
            torch.testing.assert_close(other[name], value, rtol=1e-9, atol=1e-9, equal_nan=True)


@quietly
@given(drawn=embeddings(), seed=seeds, bad=st.sampled_from([math.nan, math.inf, -math.inf]))
def test_each_matrix_of_a_batch_is_measured_as_if_alone_and_within_its_bounds(drawn, seed, bad):
    x, edge_index = drawn
    other = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(seed))
    broken = other.clone()
    broken[0, 0] = bad
    together = all_measures(torch.stack([x, torch.zeros_like(x), broken, other]), edge_index)
    alone = all_measures(x, edge_index), all_measures(other, edge_index)
    for name, values in together.items():
        assert values.shape == (4,) and values.dtype == torch.float64
        for found, expected in zip(values[[0, 3]], alone, strict=True):
            assert torch.equal(found.nan_to_num(-1), expected[name].nan_to_num(-1)), name
        assert values[1] == 0 if name in POWERS else values[1].isnan(), name
        # An energy sums over edges: it does not see what is broken at a node without neighbours.
        assert values[2].isnan() or ("energy" in name and not (edge_index[1, edge_index[0] == 0] > 0).any())
        low, high = BOUNDS.get(name, (0, math.inf))
        assert (values[[0, 3]].nan_to_num(low) >= low - 1e-12).all(), name
        assert (values[[0, 3]].nan_to_num(low) <= high + 1e-12).all(), name
    stable, effective = together["stable_rank"][3], together["effective_rank"][3]
    assert 1 - 1e-9 <= stable <= effective**2 + 1e-9 and effective <= min(x.shape) + 1e-9


@pytest.mark.parametrize("num_channels", [1, 5, 32])
def test_bits_do_not_depend_on_neighbours_in_memory(num_channels, twin):
    graph = Graph(twin.edge_index, twin.num_nodes)  # worked out once
    x = torch.randn(twin.num_nodes, 7, num_channels).transpose(0, 1)  # [7, N, d], strided
    together, before = all_measures(x, twin.edge_index), x.clone()
    for i in range(7):
        for name, value in all_measures(x[i].clone(), graph).items():
            assert torch.equal(value, together[name][i]), name
    assert torch.equal(x, before)


@pytest.mark.parametrize("smallest", [0.1, 1e-4, 1e-7, 1e-12])  # of the singular values; the largest is 1
@pytest.mark.parametrize("num_channels", [16, 30, 50])
def test_of_wide_layers_whatever_their_spectrum(smallest, num_channels, cora):
    nodes = cora.subgraph(torch.arange(300))
    x, basis = torch.randn(300, num_channels).double(), torch.randn(num_channels, num_channels).double()
    sigma = torch.logspace(0, math.log10(smallest), num_channels, dtype=torch.float64)
    x = torch.linalg.qr(x)[0] * sigma @ torch.linalg.qr(basis)[0]
    x[:9] = 0  # nodes of which no neuron fires
    measured, expected = all_measures(x, nodes.edge_index), literal_measures(x, nodes.edge_index)
    for name, value in measured.items():
        assert value.item() == pytest.approx(expected[name], rel=1e-9), name


def test_the_mean_average_distance_sees_directions_of_rows_only(twin):
    x = torch.randn(twin.num_nodes, 5, dtype=torch.float64)
    lengths = 10.0 ** torch.linspace(-200, 100, len(x), dtype=torch.float64)[:, None]
    expected = smoothing.mean_average_distance(x, twin.edge_index).item()
    found = smoothing.mean_average_distance(x * lengths, twin.edge_index).item()
    assert found == pytest.approx(expected, rel=1e-12)
    assert smoothing.mean_average_distance(torch.tensor([[1.0], [-2.0], [3.0], [-4.0]]), PATH) == 2
    zeros = X * torch.tensor([[1.0], [0.0], [0.0], [1.0]])
    assert smoothing.mean_average_distance(zeros, PATH).isnan()  # no pair of neighbours is left


@pytest.mark.parametrize(
    "edges",
    [
        torch.tensor([[0, 1, 0, 1], [1, 0, 1, 0]]),  # twice
        torch.tensor([[0, 0, 1, 1], [0, 1, 0, 1]]),  # with self-loops
        torch.tensor([[0, 1], [1, 0]], dtype=torch.int32),
        torch.tensor([[0, 1], [1, 0]], dtype=torch.uint8),
        EdgeIndex([[0, 1], [1, 0]], sparse_size=(2, 2), sort_order="row", is_undirected=True),
    ],
)
def test_an_edge_counts_once_however_users_of_pyg_hold_it(edges):
    x = torch.tensor([[0.0], [2.0]])
    assert dirichlet_energy(x, edges).item() == 2
    once = all_measures(x, torch.tensor([[0, 1], [1, 0]]))
    assert {name: value.item() for name, value in all_measures(x, edges).items()} == {
        name: pytest.approx(value.item(), nan_ok=True) for name, value in once.items()
    }


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("kind", [torch.bool, torch.int64, torch.uint8])
def test_embeddings_of_integers_or_booleans_are_numbers(name, kind):
    x = torch.tensor([[1, 0, 1], [0, 0, 1], [1, 1, 0], [1, 0, 0]])
    expected = MEASURES[name](x.double(), PATH)
    assert MEASURES[name](x.to(kind), PATH).item() == expected.item() > 0
    assert MEASURES[name](x.double().to_sparse(), PATH).item() == expected.item()


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize(
    "x", [[[1.0]], np.ones((4, 2)), torch.ones(4), torch.ones(0, 2), torch.ones(4, 0), 1j * torch.ones(4, 2)]
)
def test_what_are_no_embeddings_is_refused_by_every_measure(name, x):
    with pytest.raises(ValueError, match=r"\[\.\.\., N, d\]"):
        MEASURES[name](x, PATH)


def test_channels_of_zeros_change_no_measure(twin):
    x = torch.randn(twin.num_nodes, 5)
    padded = all_measures(torch.nn.functional.pad(x, (2, 3)), twin.edge_index)
    for name, value in all_measures(x, twin.edge_index).items():
        assert padded[name].item() == pytest.approx(value.item(), rel=1e-13), name


def test_without_edges_every_node_is_at_its_limit():
    measured = all_measures(X, PATH[:, :0])
    names = ("dirichlet_energy", "normalized_dirichlet_energy", "rayleigh_quotient")
    assert [measured[name].item() for name in names] == [0, 0, 0]
    assert measured["distance_to_limit"].item() == pytest.approx(0, abs=1e-15)
    assert measured["mean_average_distance"].isnan()


OF_GRAPHS = ["dirichlet_energy", "normalized_dirichlet_energy", "rayleigh_quotient", "distance_to_limit"]
OF_GRAPHS += ["mean_average_distance"]


@pytest.mark.parametrize("name", ["all_measures", *OF_GRAPHS])
def test_edges_that_make_no_undirected_graph_are_refused_by_every_measure(name):
    measure = getattr(smoothing, name)
    with pytest.raises(ValueError, match=r"edge_index .*both directions"):
        measure(X, PATH[:, :3])
    for nodes in (PATH + 2, PATH - 1):
        with pytest.raises(ValueError, match=r"edge_index .*0 to 3"):
            measure(X, nodes)
    adj_t = torch.eye(4)
    for strange in (
        PATH.T,
        PATH.float(),
        PATH > 0,
        adj_t,
        adj_t.to_sparse_csr(),
        PATH.tolist(),
        Data(),
        None,
    ):
        with pytest.raises(ValueError, match=r"edge_index .*\[2, E\]"):
            measure(X, strange)
