"""Initial weights against their definitions."""

import pytest
import torch

from deadgcn.data.own import normalized_adjacency
from deadgcn.gcn.initialization import INITS
from deadgcn.gcn.model import GCN


def weights(init, num_layers=3, seed=0, sizes=(50, 16, 7), **options):
    """The convolutions' weights and the head's."""
    model = GCN(*sizes, num_layers, init=init, seeds=(9, seed), **options)
    return [weight[1].detach() for weight in (*model.weights, model.head_weight)]


@pytest.mark.parametrize("num_layers", [0, 1, 3])
def test_glorot_draws_layer_by_layer_and_then_the_head(num_layers):
    generator, widths = torch.Generator().manual_seed(5), [50, *[16] * num_layers]
    drawn = weights("glorot", num_layers, seed=5)
    for layer, weight in enumerate(drawn[:-1]):
        bound = (6 / (widths[layer] + 16)) ** 0.5
        expected = torch.empty(16, widths[layer]).uniform_(-bound, bound, generator=generator)
        assert torch.equal(weight, expected)
    bound = (6 / widths[-1]) ** 0.5
    assert torch.equal(drawn[-1], torch.empty(7, widths[-1]).uniform_(-bound, bound, generator=generator))


def test_he_is_uniform_with_variance_two_over_the_number_of_inputs():
    for weight, d_in in zip(weights("he", sizes=(300, 200, 100)), (300, 200, 200, 200), strict=True):
        bound = (6 / d_in) ** 0.5
        assert 0.99 * bound < weight.abs().max() <= bound
        assert weight.var().item() == pytest.approx(2 / d_in, rel=0.03)


@pytest.mark.parametrize("features", [50, 9])
def test_orthogonal_times_the_root_of_two(features):
    first, *others, _ = weights("orthogonal", sizes=(features, 16, 7))
    narrow = first if features > 16 else first.T  # the identity is of the smaller size
    for weight in (narrow, *others):
        torch.testing.assert_close(weight @ weight.T, 2 * torch.eye(len(weight)), atol=1e-5, rtol=0)
    assert not torch.allclose(others[0], others[1])


def test_looks_linear_is_mirrored_exactly():
    first, *others, head = weights("looks_linear")
    assert torch.equal(first[:8], -first[8:]) and torch.equal(head[:, :8], -head[:, 8:])
    assert 0.95 < first.abs().max() / (6 / (50 + 16)) ** 0.5 <= 1
    assert 0.95 < head.abs().max() / (6 / 16) ** 0.5 <= 1
    for weight in others:
        half = weight[:8, :8]
        assert torch.equal(weight, torch.cat([torch.cat([half, -half], 1), torch.cat([-half, half], 1)]))
        torch.testing.assert_close(half @ half.T, torch.eye(8), atol=1e-5, rtol=0)


@pytest.mark.parametrize("num_layers", [1, 2, 64])
def test_looks_linear_is_a_linear_network_whose_neurons_all_fire(num_layers):
    """On two chains of nodes with opposite features, so that averaging leaves both signs."""
    chain = torch.arange(4)
    steps = torch.cat([torch.stack([chain, chain + 1]), torch.stack([chain, chain + 1]) + 5], 1)
    adj = normalized_adjacency(torch.cat([steps, steps.flip(0)], 1), 10)
    x = torch.randn(5, 50)
    x = torch.cat([x, -x])
    model = GCN(50, 16, 7, num_layers, init="looks_linear", bias=False)
    logits, posts = model(x, adj)
    h, dense = x.double(), adj.to_dense().double()
    first, *others, head = [weight[0].detach().double() for weight in (*model.weights, model.head_weight)]
    for half in (first[:8], *(weight[:8, :8] for weight in others)):
        h = dense @ h @ half.T
    expected = h @ head[:, :8].T
    assert (logits[0] - expected).abs().max() < 1e-4 * expected.abs().max()
    assert all((post[0] > 0).any(0).all() for post in posts)


@pytest.mark.parametrize("init", INITS)
def test_weights_depend_on_the_seed_alone_and_first_layers_not_on_depth(init):
    one, deeper, other = weights(init), weights(init, num_layers=5), weights(init, seed=1)
    for a, b in zip(one, weights(init), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(one[:3], deeper[:3], strict=True):
        assert torch.equal(a, b)
    assert not any(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(("init", "width", "match"), [("xavier", 4, "'xavier'"), ("looks_linear", 5, "5")])
def test_other_names_and_an_odd_width_are_refused(init, width, match):
    with pytest.raises(ValueError, match=match):
        weights(init, sizes=(50, width, 7))
