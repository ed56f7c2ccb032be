import pytest
import torch
import torch_geometric
from torch.nn.functional import cross_entropy

from deadgcn.gcn import sparse
from deadgcn.gcn.engine import Passes
from deadgcn.gcn.model import GCN
from deadgcn.gcn.sparse import SparseFeatures

SEEDS = (3, 0, 7)


def network(graph, num_layers=3, hidden_channels=16, seeds=SEEDS, **options):
    model = GCN(graph.num_features, hidden_channels, 7, num_layers, seeds=seeds, **options)
    with torch.no_grad():
        for values in (*model.biases, model.head_bias):
            same = torch.randn(values.shape[1:], generator=torch.Generator().manual_seed(1))
            values.copy_(same.expand_as(values))  # zero biases would hide mistakes
    return model


def gradient_of_logits(logits, graph, nodes):
    leaf = logits.detach()[:, nodes].requires_grad_()
    sum(cross_entropy(run, graph.y[nodes]) for run in leaf).backward()
    return leaf.grad


OPTIONS = [
    {},
    {"act": "leaky_relu"},
    {"bias": False},
    {"num_layers": 1},
    {"num_layers": 0},
    {"dropout": 0.5},
    {"dropout": 0.5, "act": "leaky_relu", "num_layers": 2},
    {"input_dropout": 0.5},
    {"input_dropout": 0.5, "num_layers": 0},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_passes_are_those_of_autograd(options, twin, twin_adj):
    nodes = twin.train_mask.nonzero().flatten()
    model, same = network(twin, **options), network(twin, **options)  # each draws the same masks once
    expected, activations = model(twin.x, twin_adj)
    sum(cross_entropy(run[nodes], twin.y[nodes]) for run in expected).backward()
    passes = Passes(same, twin.x, twin_adj)
    logits = passes.forward()
    assert torch.equal(logits, expected)
    assert all(map(torch.equal, passes.activations, activations))
    gradients = passes.backward(gradient_of_logits(logits, twin, nodes), nodes)
    parameters = list(model.parameters())
    assert len(gradients) == len(parameters)
    for gradient, parameter in zip(gradients, parameters, strict=True):
        assert gradient.shape == parameter.shape and parameter.grad.abs().sum() > 0
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("num_layers", [1, 3])
def test_dropout_of_sparse_features_is_that_of_dense_ones_in_pyg(num_layers, twin, twin_adj):
    nodes, p = twin.train_mask.nonzero().flatten(), 0.4
    model = network(twin, num_layers, input_dropout=p)
    states = [generator.get_state() for generator in model.generators]
    passes = Passes(model, twin.x, twin_adj)
    logits = passes.forward()
    gradients = passes.backward(gradient_of_logits(logits, twin, nodes), nodes)
    for run, state in enumerate(states):
        x, own = twin.x.clone(), torch.Generator()
        own.set_state(state)  # the run draws one number for each word, row by row
        x[x != 0] *= torch.empty(int(x.count_nonzero())).bernoulli_(1 - p, generator=own) / (1 - p)
        oracle = torch_geometric.nn.GCN(twin.num_features, 16, num_layers, 7, jk="last")
        oracle.load_state_dict(model.run_state_dict(run))
        expected = oracle(x, twin.edge_index)
        torch.testing.assert_close(logits[run], expected, rtol=1e-4, atol=1e-6)
        cross_entropy(expected[nodes], twin.y[nodes]).backward()
        ours = dict(zip(model.run_state_dict(run), gradients_in_order(model, gradients), strict=True))
        for name, parameter in oracle.named_parameters():
            torch.testing.assert_close(ours[name][run], parameter.grad, rtol=1e-4, atol=1e-7)


def gradients_in_order(model, gradients):
    """The gradients in the order of ``run_state_dict``: the head's two, which come first, last."""
    names = [name for name, _ in model.named_parameters()]
    assert names[:2] == ["head_weight", "head_bias"]
    return [*gradients[2:], *gradients[:2]]


@pytest.mark.parametrize("num_layers", [0, 3])
def test_later_passes_owe_nothing_to_earlier_ones(num_layers, twin, twin_adj):
    nodes = twin.train_mask.nonzero().flatten()
    used = Passes(network(twin, num_layers), twin.x, twin_adj)
    for _ in range(2):
        used.backward(gradient_of_logits(used.forward(), twin, nodes), nodes)
        for weight in used.model.parameters():
            weight.data.add_(0.1)  # the next pass reads the new weights
    fresh = Passes(used.model, twin.x, twin_adj)
    logits = used.forward()
    assert torch.equal(logits, fresh.forward())
    grad = gradient_of_logits(logits, twin, nodes)
    assert all(map(torch.equal, used.backward(grad, nodes), fresh.backward(grad, nodes)))


@pytest.mark.parametrize("hidden_channels", [2, 5, 16, 32, 33])
@pytest.mark.parametrize("num_layers", [0, 1, 3])
def test_runs_do_not_depend_on_their_neighbours_bit_for_bit(hidden_channels, num_layers, twin, twin_adj):
    nodes = twin.train_mask.nonzero().flatten()

    def logits_and_gradients(seeds):
        passes = Passes(network(twin, num_layers, hidden_channels, seeds), twin.x, twin_adj)
        logits = passes.forward()
        grad = gradient_of_logits(logits, twin, nodes)
        return [logits, *passes.activations, *passes.backward(grad, nodes)]

    many = logits_and_gradients(range(10))
    for seeds in ([0], [3], [9], [8, 3, 1]):
        for few, expected in zip(logits_and_gradients(seeds), many, strict=True):
            assert torch.equal(few, expected[seeds])


def test_memory_is_allocated_once(twin, twin_adj):
    nodes = twin.train_mask.nonzero().flatten()
    passes = Passes(network(twin), twin.x, twin_adj)
    passes.forward()
    places = [post.data_ptr() for post in passes.activations]
    assert len(set(places)) == 3
    passes.backward(torch.ones(3, len(nodes), 7), nodes)
    passes.forward()
    assert [post.data_ptr() for post in passes.activations] == places


def test_sparse_features_times_each_runs_own_mask():
    x = torch.tensor([[0.0, 2.0, 0.0], [4.0, 0.0, 8.0]])
    features = SparseFeatures.from_dense(x).times(torch.tensor([[1.0, 0.0, 3.0], [0.5, 1.0, 1.0]]))
    first, second = (matrix.to_dense() for matrix in features.matrices)
    assert first.tolist() == [[0, 2, 0], [0, 0, 24]]
    assert second.tolist() == [[0, 1, 0], [4, 0, 8]]
    ones = torch.ones(2, 3, 1)
    assert features.product(ones)[:, :, 0].tolist() == [[2, 24], [1, 12]]  # sums of rows
    assert features.transposed_product(ones[:, :2])[:, :, 0].tolist() == [[0, 2, 24], [4, 1, 8]]  # of columns


@pytest.mark.parametrize("block", [100, 1_000])  # 300 nodes: three blocks, and one
def test_the_transposed_features_by_blocks(block, twin, monkeypatch):
    monkeypatch.setattr(sparse, "BLOCK", block)
    features = SparseFeatures.from_dense(twin.x)
    assert len(features.transposed[0]) == {100: 3, 1_000: 1}[block]
    grad = torch.randn(2, twin.num_nodes, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(features.transposed_product(grad), twin.x.T @ grad, rtol=1e-5, atol=1e-5)
