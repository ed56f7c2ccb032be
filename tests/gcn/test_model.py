import pytest
import torch
import torch_geometric
from torch.nn.functional import cross_entropy

from deadgcn.data.graphs import normalized_adjacency
from deadgcn.gcn.engine import Passes
from deadgcn.gcn.model import GCN
from deadgcn.gcn.sparse import sparse_product

SEEDS = (3, 0, 7)


def pyg_twin(model, run, num_features, num_classes, act, bias):
    twin = torch_geometric.nn.GCN(
        num_features,
        model.head_weight.shape[-1],
        model.num_layers,
        num_classes,
        jk="last",
        bias=bias,
        act="relu" if act == "relu" else "leaky_relu",
        act_kwargs=None if act == "relu" else {"negative_slope": 0.8},
    )
    twin.load_state_dict(model.run_state_dict(run))  # strict: the names are the same
    return twin


def relative_error(value, expected):
    return ((value - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("features", ["words", "dense"])
@pytest.mark.parametrize("act", ["relu", "leaky_relu"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("num_layers", [1, 2, 6])
def test_equals_pyg_forward_and_gradients(num_layers, bias, act, features, twin, twin_adj):
    x = twin.x if features == "words" else torch.randn(twin.num_nodes, 11)
    model = GCN(x.shape[1], 16, 7, num_layers, act=act, bias=bias, seeds=SEEDS)
    with torch.no_grad():
        for values in (*model.biases, model.head_bias):
            values.normal_(generator=torch.Generator().manual_seed(1))  # zero biases would hide mistakes
    logits, activations = model(x, twin_adj)
    sum(cross_entropy(run[twin.train_mask], twin.y[twin.train_mask]) for run in logits).backward()
    for run in range(len(SEEDS)):
        oracle = pyg_twin(model, run, x.shape[1], 7, act, bias)
        expected = oracle(x, twin.edge_index)
        cross_entropy(expected[twin.train_mask], twin.y[twin.train_mask]).backward()
        assert relative_error(logits[run], expected) < 2e-6
        gradients = dict(model.named_parameters())
        for name, parameter in oracle.named_parameters():
            kind, *rest = name.split(".")
            ours = f"{'head_' if kind == 'lin' else ''}{rest[-1]}" if kind == "lin" else None
            ours = ours or f"{'weights' if rest[-1] == 'weight' else 'biases'}.{rest[0]}"
            assert relative_error(gradients[ours].grad[run], parameter.grad) < 1e-5, name
    assert [tuple(post.shape) for post in activations] == [(3, twin.num_nodes, 16)] * num_layers


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


def test_depth_zero_is_the_linear_head(twin, twin_adj):
    model = GCN(twin.num_features, 16, 7, 0, seeds=SEEDS)
    logits, activations = model(twin.x, twin_adj)
    assert activations == []
    for run in range(3):
        state = model.run_state_dict(run)
        assert list(state) == ["lin.weight", "lin.bias"]
        assert relative_error(logits[run], twin.x @ state["lin.weight"].T + state["lin.bias"]) < 1e-6


def test_gradient_of_the_features(twin, twin_adj):
    x = twin.x.clone().requires_grad_()
    model = GCN(twin.num_features, 8, 7, 2)
    logits, activations = model(x, twin_adj)
    logits.square().sum().backward(retain_graph=True)
    expected = x.grad
    oracle = pyg_twin(model, 0, twin.num_features, 7, "relu", True)
    x2 = twin.x.clone().requires_grad_()
    oracle(x2, twin.edge_index).square().sum().backward()
    assert relative_error(expected, x2.grad) < 1e-5
    (inner,) = torch.autograd.grad(logits.sum(), activations[0])
    assert inner.shape == activations[0].shape and inner.abs().sum() > 0


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
    together = GCN(30, 8, 3, 2, seeds=(4, 5))
    alone = GCN(30, 8, 3, 2, seeds=(5,))
    deeper = GCN(30, 8, 3, 4, seeds=(5,))
    other = GCN(30, 8, 3, 2, seeds=(6,))
    for name, value in alone.run_state_dict(0).items():
        assert torch.equal(value, together.run_state_dict(1)[name])
        if name.endswith("weight"):
            assert not torch.equal(value, other.run_state_dict(0)[name])
    assert torch.equal(deeper.weights[1], alone.weights[1])


@pytest.mark.parametrize("hidden_channels", [2, 5, 16, 32, 33])
@pytest.mark.parametrize("num_layers", [0, 3])
def test_runs_do_not_depend_on_their_neighbours_bit_for_bit(hidden_channels, num_layers, twin, twin_adj):
    def forward_and_gradients(seeds):
        model = GCN(twin.num_features, hidden_channels, 7, num_layers, seeds=seeds)
        logits, activations = model(twin.x, twin_adj)
        sum(cross_entropy(run[twin.train_mask], twin.y[twin.train_mask]) for run in logits).backward()
        return [logits, *activations, *(parameter.grad for parameter in model.parameters())]

    many = forward_and_gradients(range(10))
    for seeds in ([0], [3], [9], [8, 3, 1]):
        for few, expected in zip(forward_and_gradients(seeds), many, strict=True):
            assert torch.equal(few, expected[seeds])


@pytest.mark.parametrize("form", ["dense", "csr"])
def test_features_may_be_dense_or_sparse(form, twin, twin_adj):
    x = twin.x.to_sparse_csr() if form == "csr" else twin.x
    model = GCN(twin.num_features, 8, 7, 2, seeds=SEEDS)
    expected = pyg_twin(model, 1, twin.num_features, 7, "relu", True)(twin.x, twin.edge_index)
    assert relative_error(model(x, twin_adj)[0][1], expected) < 2e-6


def test_sparse_product_ignores_what_the_memory_held(twin_adj):
    h = torch.randn(2, twin_adj.shape[0], 5)
    for _ in range(5):
        rubbish = torch.full((2, twin_adj.shape[0], 5), torch.nan)
        del rubbish  # its memory is likely to be given out again
        assert relative_error(sparse_product(twin_adj, h), twin_adj.to_dense() @ h) < 1e-6


def test_dropout_drops_at_its_rate_in_training_only(twin, twin_adj):
    model = GCN(twin.num_features, 64, 7, 1, dropout=0.4)
    mask = model.dropout_mask(torch.empty(1, 500, 64), 0.4)
    assert mask.unique().tolist() == pytest.approx([0, 1 / 0.6])
    assert (mask == 0).double().mean().item() == pytest.approx(0.4, abs=0.01)
    assert model.dropout_mask(mask, 0.0) is None
    assert model.eval().dropout_mask(mask, 0.4) is None


def test_dropout_of_sparse_features_drops_words_and_scales_the_rest(twin, twin_adj):
    model = GCN(twin.num_features, 8, 7, 1, input_dropout=0.3, seeds=SEEDS)
    first, second, third = (
        matrix.to_dense() for matrix in Passes(model, twin.x, twin_adj)._first_input().matrices
    )
    words = twin.x != 0
    for x in (first, second, third):
        assert (x[~words] == 0).all()
        assert x[words].unique().tolist() == pytest.approx([0, 1 / 0.7])
        assert (x[words] != 0).double().mean().item() == pytest.approx(0.7, abs=0.03)
    assert not torch.equal(first, second) and not torch.equal(second, third)
    alone = GCN(twin.num_features, 8, 7, 1, input_dropout=0.3, seeds=SEEDS[1:2])
    (own,) = Passes(alone, twin.x, twin_adj)._first_input().matrices
    assert torch.equal(own.to_dense(), second)
    (untouched,) = Passes(model.eval(), twin.x, twin_adj)._first_input().matrices
    assert torch.equal(untouched.to_dense(), twin.x)


def test_dropout_draws_from_each_runs_own_generator(twin, twin_adj):
    def logits(seeds):
        model = GCN(twin.num_features, 8, 7, 2, dropout=0.5, input_dropout=0.5, seeds=seeds)
        return [model(twin.x, twin_adj)[0] for _ in range(2)]

    (first, second), (alone, _) = logits((1, 2)), logits((2,))
    assert torch.equal(first[1], alone[0])
    assert not torch.equal(first[1], second[1])
    assert not torch.equal(first[0], first[1])


def test_state_of_a_run_goes_out_and_in():
    model, other = GCN(9, 4, 3, 2, seeds=(0, 1)), GCN(9, 4, 3, 2, seeds=(8, 9, 10))
    untouched = other.run_state_dict(0)
    other.load_run_state_dict(2, model.run_state_dict(1))
    assert all(torch.equal(v, other.run_state_dict(2)[k]) for k, v in model.run_state_dict(1).items())
    assert all(torch.equal(v, other.run_state_dict(0)[k]) for k, v in untouched.items())


def test_a_state_that_does_not_fit_is_refused_and_changes_nothing():
    model = GCN(9, 4, 3, 2)
    before = model.run_state_dict(0)
    for wrong in (GCN(9, 5, 3, 2), GCN(9, 4, 3, 3), GCN(9, 4, 3, 2, bias=False)):
        with pytest.raises(ValueError, match=r"does not fit.*convs"):
            model.load_run_state_dict(0, wrong.run_state_dict(0))
    assert all(torch.equal(v, model.run_state_dict(0)[k]) for k, v in before.items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"act": "tahn"}, "act must be .*'tahn'"),
        ({"num_layers": -1}, "num_layers >= 0.*-1"),
        ({"seeds": ()}, r"a seed, but.*\(\)"),
    ],
)
def test_bad_networks_are_refused(options, message):
    arguments = {"num_layers": 2, **options}
    with pytest.raises(ValueError, match=message):
        GCN(9, 4, 3, **arguments)


def test_shapes_that_do_not_fit_are_refused(twin_adj):
    with pytest.raises(ValueError, match=r"x must be \[N, F\] and adj \[N, N\].*\[5, 9\]"):
        GCN(9, 4, 3, 1)(torch.rand(5, 9), twin_adj)
