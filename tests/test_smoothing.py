import math

import pytest
import torch

from deadgcn.smoothing import dirichlet_energy, distance_to_mean, frobenius_norm

EDGES = torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])  # a path of four nodes, both directions
X = torch.tensor([[0.0, 1.0], [2.0, 1.0], [2.0, 4.0], [2.0, 4.0]])
MEASURES = {
    "energy": lambda x: dirichlet_energy(x, EDGES),
    "dtm": distance_to_mean,
    "norm": frobenius_norm,
}


def literal_energy(x, edge_index, root=True):
    """The formula as loops over edges and channels, in Python's own floats."""
    rows = x.tolist()
    total = sum((a - b) ** 2 for i, j in edge_index.T.tolist() for a, b in zip(rows[i], rows[j], strict=True))
    return math.sqrt(total / len(rows)) if root else total / len(rows)


def test_numbers_worked_by_hand():
    # squared differences along the path: 4, 9, 0; each in both directions; 4 nodes
    assert dirichlet_energy(X, EDGES, root=False).item() == 26 / 4
    assert dirichlet_energy(X, EDGES).item() == pytest.approx(math.sqrt(6.5), rel=1e-15)
    # means 1.5 and 2.5: 2.25 + 3 * 0.25 and 4 * 2.25
    assert distance_to_mean(X).item() == pytest.approx(math.sqrt(12), rel=1e-15)
    assert frobenius_norm(X).item() == pytest.approx(math.sqrt(12 + 34), rel=1e-15)


def test_agrees_with_a_literal_loop_on_any_leading_dimensions(cora):
    x = torch.randn(2, 2, cora.num_nodes, 3, generator=torch.Generator().manual_seed(0))
    for root in (True, False):
        energy = dirichlet_energy(x, cora.edge_index, root)
        assert energy.shape == (2, 2)
        expected = literal_energy(x[1, 0], cora.edge_index, root)
        assert energy[1, 0].item() == pytest.approx(expected, rel=1e-12)
    mean = x[0, 1].double().mean(0)
    assert distance_to_mean(x)[0, 1].item() == pytest.approx(
        (x[0, 1].double() - mean).norm().item(), rel=1e-12
    )


def test_equal_embeddings_and_zeros_give_zero():
    for x in (torch.full((4, 3), 7.0), torch.zeros(4, 3)):
        assert dirichlet_energy(x, EDGES) == 0
        assert distance_to_mean(x) == 0
    assert frobenius_norm(torch.zeros(4, 3)) == 0


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("exponent", [-100, -50, 50, 100])
def test_measures_scale_exactly_with_powers_of_two(name, exponent):
    """Float32 squares of 2**-100 would vanish."""
    measure = MEASURES[name]
    assert measure(X * 2.0**exponent).item() == measure(X).item() * 2.0**exponent


@pytest.mark.parametrize("name", MEASURES)
def test_tiny_double_precision_embeddings_do_not_vanish(name):
    measure = MEASURES[name]
    assert measure(X.double() * 1e-200).item() == pytest.approx(measure(X).item() * 1e-200, rel=1e-12)


@pytest.mark.parametrize("name", MEASURES)
def test_bits_do_not_depend_on_neighbours_in_memory(name):
    x = torch.randn(4, 7, 5, generator=torch.Generator().manual_seed(0)).transpose(0, 1)  # [7, 4, 5], strided
    together = MEASURES[name](x)
    assert all(torch.equal(together[i], MEASURES[name](x[i].clone())) for i in range(7))


def test_order_of_nodes_does_not_matter():
    order = torch.tensor([2, 0, 3, 1])
    renamed = order.argsort()[EDGES]
    assert dirichlet_energy(X[order], renamed).item() == pytest.approx(dirichlet_energy(X, EDGES).item())
    assert distance_to_mean(X[order]).item() == pytest.approx(distance_to_mean(X).item())


def test_embeddings_are_left_alone_and_nan_shows():
    x = X.clone()
    dirichlet_energy(x, EDGES), distance_to_mean(x), frobenius_norm(x)
    assert torch.equal(x, X)
    assert all(measure(torch.full((4, 2), torch.nan)).isnan() for measure in MEASURES.values())
