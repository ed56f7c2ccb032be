"""An activation of the reader's own: the same network by PyTorch Geometric, and its name in the cache."""

import copy

import pytest
import torch
import torch_geometric
from torch.nn import functional as F
from torch.nn.functional import cross_entropy

from deadgcn.config import Config
from deadgcn.gcn.engine import Passes
from deadgcn.gcn.model import GCN
from deadgcn.gcn.training import train

SLOPE = 0.8
SMALL = {"dataset": "SyntheticCora", "num_layers": 3, "hidden_channels": 8, "epochs": 12}


def softsign(z):
    return z / (1 + z.abs())


def leaky(z):
    return torch.where(z > 0, z, SLOPE * z)


def times(c):
    return lambda z: z * c


def shifted(z, by=1.0):
    return (z - by).relu()


def test_the_network_is_pyg_s_with_the_same_activation(twin, twin_adj):
    nodes = twin.train_mask.nonzero().flatten()
    model = GCN(twin.num_features, 8, 7, 3, act=softsign, seeds=(4, 5))
    oracle = torch_geometric.nn.GCN(twin.num_features, 8, 3, 7, jk="last", act=softsign)
    passes = Passes(model, twin.x, twin_adj)
    logits = passes.forward()
    weights = logits.new_zeros(2, len(nodes), 7)
    for run in range(2):
        oracle.load_state_dict(model.run_state_dict(run))
        oracle.zero_grad()
        expected = oracle(twin.x, twin.edge_index)
        torch.testing.assert_close(logits[run], expected, rtol=1e-5, atol=1e-7)
        cross_entropy(expected[nodes], twin.y[nodes]).backward()
        weights[run] = (expected[nodes].softmax(-1) - F.one_hot(twin.y[nodes], 7)) / len(nodes)
        of_run = passes.backward(weights, nodes)
        for layer in range(3):
            own, theirs = of_run[2 + layer][run], oracle.convs[layer].lin.weight.grad
            assert theirs.abs().sum() > 0
            torch.testing.assert_close(own, theirs, rtol=1e-4, atol=1e-8)


def test_autograd_gives_the_same_gradients(twin, twin_adj):
    nodes = twin.train_mask.nonzero().flatten()
    model = GCN(twin.num_features, 8, 7, 2, act=softsign, seeds=(0, 1))
    logits, activations = copy.deepcopy(model)(twin.x, twin_adj)
    passes = Passes(model, twin.x, twin_adj)
    assert torch.equal(passes.forward(), logits)
    assert all(map(torch.equal, passes.activations, activations))
    logits, _ = model(twin.x, twin_adj)
    sum(cross_entropy(run[nodes], twin.y[nodes]) for run in logits).backward()
    grad = (logits[:, nodes].softmax(-1) - F.one_hot(twin.y[nodes], 7)) / len(nodes)
    for own, parameter in zip(passes.backward(grad.detach(), nodes), model.parameters(), strict=True):
        torch.testing.assert_close(own, parameter.grad, rtol=1e-4, atol=1e-8)


def test_written_by_hand_a_known_activation_trains_to_the_same_network(twin):
    (own,) = train([Config(**SMALL, act=leaky)], twin)
    (known,) = train([Config(**SMALL, act="leaky_relu", negative_slope=SLOPE)], twin)
    assert own["epochs"]["train_loss"][-1] < own["epochs"]["train_loss"][0]
    torch.testing.assert_close(own["epochs"]["train_loss"], known["epochs"]["train_loss"], rtol=1e-4, atol=0)
    for name, values in known["best_state"].items():
        torch.testing.assert_close(own["best_state"][name], values, rtol=1e-3, atol=1e-4)


def test_a_run_does_not_depend_on_its_neighbours_even_if_the_activation_looks_at_all_nodes(twin):
    configs = [Config(**SMALL, act=lambda z: (z - z.mean()).relu(), seed=seed) for seed in range(3)]
    shared = configs[0].act
    configs = [config.model_copy(update={"act": shared}) for config in configs]
    together, (alone,) = train(configs, twin), train(configs[1:2], twin)
    for name, values in alone["best_state"].items():
        assert torch.equal(values, together[1]["best_state"][name])


@pytest.mark.parametrize(
    ("act", "message"),
    [
        ("tanh", "must be one of relu, leaky_relu, or a function"),
        (3, "must be one of relu, leaky_relu, or a function"),
        (torch.nn.PReLU(), "must be one of relu, leaky_relu, or a function"),
        (lambda z: z * TABLE[0], "'TABLE' is of type list"),
    ],
    ids=["unknown", "number", "module", "list"],
)
@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda z: z.mean(), r"must return \[300, 8\] of torch.float32 here, but <lambda> returned \[\]"),
        (lambda z: z.double(), "torch.float64"),
        (lambda z: z.relu_(), "must leave its argument as it is, but <lambda> overwrites it"),
    ],
    ids=["shape", "type", "in place"],
)
def test_an_activation_that_is_none_is_refused_before_anything_is_trained(act, message, twin):
    with pytest.raises(ValueError, match=message):
        train([Config(**SMALL, act=act)], twin)
