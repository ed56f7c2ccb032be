"""The networks against PyTorch Geometric's, and what their seeds decide."""

import re

import pytest
import torch
from gcn.oracle import network, pyg_network, train_loss, with_dropout

from deadgcn.data.own import normalized_adjacency
from deadgcn.gcn.engine import Passes
from deadgcn.gcn.model import GCN
from deadgcn.gcn.records import losses_and_gradient


def softsign(z):
    return z / (1 + z.abs())


OPTIONS = [
    {},
    {"num_layers": 0},
    {"num_layers": 0, "input_dropout": 0.4},
    {"num_layers": 6},
    {"num_layers": 6, "act": "leaky_relu"},
    {"num_layers": 1, "act": "leaky_relu", "bias": False},
    {"num_layers": 2, "bias": False},
    {"act": "elu"},
    {"act": softsign},
    {"dropout": 0.5},
    {"dropout": 0.5, "act": "leaky_relu", "num_layers": 2},
    {"dropout": 0.5, "act": softsign},
    {"input_dropout": 0.4},
    {"input_dropout": 0.4, "dropout": 0.3, "num_layers": 1},
]


@pytest.mark.parametrize("features", ["words", "dense"])
@pytest.mark.parametrize("options", OPTIONS)
def test_equals_pyg_forward_and_backward(options, features, twin, twin_adj):
    """Logits, activations, and the gradients of the training nodes' loss."""
    graph, nodes = twin.clone(), twin.train_mask.nonzero().flatten()
    if features == "dense":
        graph.x = torch.randn(graph.num_nodes, 11)
    model = network(graph, **options)
    generators = [generator.clone_state() for generator in model.generators]
    passes = Passes(model, graph.x, twin_adj)
    logits = passes.forward()
    pull = losses_and_gradient(logits[:, nodes], graph.y[nodes])[1]
    gradients = run_gradients(model, passes.backward(pull, nodes))
    for run, generator in enumerate(generators):
        oracle = pyg_network(model.run_state_dict(run), options.get("act", "relu"))
        expected = oracle(with_dropout(oracle, graph.x, model, generator), graph.edge_index)
        close(logits[run], expected, 2e-6)
        for post, theirs in zip(passes.activations, oracle.act.posts, strict=True):
            close(post[run], theirs, 2e-6)
        train_loss(expected, graph).backward()
        assert {name for name, _ in oracle.named_parameters()} == gradients.keys()
        for name, parameter in oracle.named_parameters():
            close(gradients[name][run], parameter.grad, 1e-5)


def run_gradients(model, gradients):
    """Gradients in the order of ``model.parameters()``, where the head comes first, under PyG's names."""
    assert [name for name, _ in model.named_parameters()][:2] == ["head_weight", "head_bias"]
    return dict(zip(model.run_state_dict(0), [*gradients[2:], *gradients[:2]], strict=True))


def close(value, expected, tolerance):
    """Equal up to a share of the largest number."""
    assert value.shape == expected.shape and expected.abs().max() > 0
    assert (value - expected).abs().max() <= tolerance * expected.abs().max()


def test_activations_are_what_the_formula_says():
    edge_index = torch.tensor([[0, 1], [1, 0]])
    adj = normalized_adjacency(edge_index, 3)  # nodes 0 and 1 share an edge: 1/2 each; node 2 alone
    model = GCN(2, 2, 1, num_layers=1)
    with torch.no_grad():
        model.weights[0].copy_(torch.tensor([[[1.0, 0.0], [-1.0, 1.0]]]))
        model.biases[0].copy_(torch.tensor([[0.5, -1.0]]))
        model.head_weight.copy_(torch.tensor([[[2.0, 10.0]]]))
        model.head_bias.fill_(1.0)
    x = torch.tensor([[2.0, 4.0], [0.0, 0.0], [1.0, 7.0]])
    logits, (post,) = model(x, adj)
    assert post.tolist() == [[[1.5, 0.0], [1.5, 0.0], [1.5, 5.0]]]
    assert logits.tolist() == [[[4.0], [4.0], [54.0]]]


def test_sparse_features_are_taken_too(twin, twin_adj):
    model = network(twin)
    assert torch.equal(model(twin.x.to_sparse_csr(), twin_adj)[0], model(twin.x, twin_adj)[0])


def test_initial_weights_follow_their_distributions():
    model = GCN(300, 200, 100, 2, seeds=(0,))
    for weight, bound in (
        (model.weights[0], (6 / 500) ** 0.5),  # Glorot: sqrt(6 / (d_in + d_out))
        (model.weights[1], (6 / 400) ** 0.5),
        (model.head_weight, (6 / 200) ** 0.5),  # Kaiming with ReLU's gain: sqrt(2) * sqrt(3 / d_in)
    ):
        assert 0.99 * bound < weight.abs().max().item() <= bound
        assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    assert all((bias == 0).all() for bias in (*model.biases, model.head_bias))


def test_weights_depend_on_the_runs_own_seed_alone():
    together, alone = GCN(30, 8, 3, 2, seeds=(4, 5)), GCN(30, 8, 3, 2, seeds=(5,))
    deeper, other = GCN(30, 8, 3, 4, seeds=(5,)), GCN(30, 8, 3, 2, seeds=(6,))
    for name, value in alone.run_state_dict(0).items():
        assert torch.equal(value, together.run_state_dict(1)[name])
        if name.endswith("weight"):
            assert not torch.equal(value, other.run_state_dict(0)[name])
    assert torch.equal(deeper.weights[1], alone.weights[1])


@pytest.mark.parametrize("options", [{"act": "tahn"}, {"num_layers": -1}, {"seeds": ()}])
def test_bad_networks_are_refused_by_name_and_value(options):
    ((_name, value),) = options.items()
    with pytest.raises(ValueError, match=re.escape(repr(value))):
        GCN(9, 4, 3, **{"num_layers": 2, **options})


def test_features_of_other_shapes_are_refused(twin_adj):
    with pytest.raises(ValueError, match=r"adj .*\[5, 9\]"):
        GCN(9, 4, 3, 1)(torch.rand(5, 9), twin_adj)
