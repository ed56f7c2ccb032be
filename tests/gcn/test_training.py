import copy
import warnings

import numpy as np
import pytest
import torch
import torch_geometric
from torch.nn.functional import cross_entropy

from deadgcn.config import Config
from deadgcn.gcn import training
from deadgcn.gcn.engine import Passes
from deadgcn.gcn.model import GCN
from deadgcn.gcn.training import resolve_device, train


def literal_run(config, graph):
    """The protocol of one run, step by step, on PyTorch Geometric's own network and torch's own Adam."""
    ours = GCN(graph.num_features, config.hidden_channels, 7, config.num_layers, seeds=(config.seed,))
    act_kwargs = {"negative_slope": config.negative_slope} if config.act == "leaky_relu" else None
    model = torch_geometric.nn.GCN(
        graph.num_features,
        config.hidden_channels,
        config.num_layers,
        7,
        jk="last",
        act=config.act,
        act_kwargs=act_kwargs,
    )
    model.load_state_dict(ours.run_state_dict(0))
    first = list(model.convs[0].parameters())
    rest = [p for p in model.parameters() if all(p is not own for own in first)]
    of_rest = config.weight_decay if config.weight_decay_on == "all" else 0
    groups = [
        {"params": first, "weight_decay": config.weight_decay},
        {"params": rest, "weight_decay": of_rest},
    ]
    optimizer = torch.optim.Adam(groups, lr=config.lr)
    x = graph.x / graph.x.sum(1, keepdim=True).clamp(min=1) if config.normalize_features else graph.x
    edges = graph.edge_index if config.adjacency == "normalized" else graph.edge_index[:, :0]
    posts = []

    def forward():
        posts.clear()
        return model(x, edges)

    for layer in range(config.num_layers):
        model.convs[layer].register_forward_hook(lambda _, __, out: posts.append(model.act(out).detach()))
    best_acc, best, stripped, history = -1.0, None, [], []
    nodes = graph.val_mask if config.death_nodes == "val" else torch.ones_like(graph.val_mask)
    for epoch in range(config.epochs):
        optimizer.zero_grad()
        loss = cross_entropy(forward()[graph.train_mask], graph.y[graph.train_mask])
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            acc = (forward().argmax(1) == graph.y)[graph.val_mask].float().mean().item()
        dead = [(post == 0).all(0) for post in posts]
        judged = [(post[nodes] == 0).all(0) for post in posts]
        count = 0
        if epoch >= config.warmup and epoch % config.strip_every == 0:
            if acc > best_acc:
                best_acc, best = acc, (epoch, copy.deepcopy(model.state_dict()))
            if config.strip:
                count = strip_literally(model, judged)
            if config.best_kept == "after strip" and best[0] == epoch:
                best = (epoch, copy.deepcopy(model.state_dict()))
        stripped.append(count)
        history.append((loss.item(), acc, torch.stack(dead).double().mean().item()))
    return model, best, stripped, history, (x, edges)


def strip_literally(model, dead):
    count = 0
    with torch.no_grad():
        for conv, mask in zip(model.convs, dead, strict=True):
            for neuron in mask.nonzero().flatten().tolist():
                row = conv.lin.weight[neuron]
                negative = (row < 0).nonzero().flatten().tolist()
                chosen = sorted(negative, key=lambda i: row[i].item())[: max(1, int(0.1 * len(negative)))]
                row[chosen] = 0
                count += len(chosen)
    return count


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"strip": True},
        {"strip": True, "death_nodes": "val", "warmup": 0},
        {"strip": True, "warmup": 2, "strip_every": 3},
        {"act": "leaky_relu"},
        {"strip": True, "best_kept": "after strip"},
        {"weight_decay_on": "first", "weight_decay": 0.05},
        {"adjacency": "identity", "normalize_features": True},
    ],
    ids=str,
)
def test_agrees_with_the_protocol_step_by_step(settings, twin):
    config = Config(num_layers=4, hidden_channels=8, epochs=12, seed=2, **settings)
    model, (best_epoch, best), stripped, history, inputs = literal_run(config, twin)
    (result,) = train([config], twin)
    assert result["run"]["best_epoch"] == best_epoch
    assert result["epochs"]["num_stripped"].tolist() == stripped
    assert (sum(stripped) > 0) == config.strip  # the case must have something to strip
    expected = np.array(history).T
    for name, values in zip(("train_loss", "val_acc", "dead_fraction"), expected, strict=True):
        np.testing.assert_allclose(result["epochs"][name], values, rtol=2e-4, atol=1e-6)
    for name, value in best.items():
        torch.testing.assert_close(result["best_state"][name], value, rtol=1e-3, atol=1e-5)
    last = (model(*inputs).argmax(1) == twin.y)[twin.test_mask].float().mean().item()
    assert result["run"]["test_acc_last"] == pytest.approx(last, abs=2.1 / twin.test_mask.sum().item())
    check_measures(result, "last", model, twin, *inputs)  # after the last strip
    model.load_state_dict(best)
    check_measures(result, "best", model, twin, *inputs)  # before its epoch's strip


def check_measures(result, stage, model, graph, x, edges):
    """The measures of every layer, taken from PyTorch Geometric's own network by their formulas."""
    post, (source, target) = x, graph.edge_index
    model.zero_grad()
    cross_entropy(model(x, edges)[graph.train_mask], graph.y[graph.train_mask]).backward()
    with torch.no_grad():
        for layer, conv in enumerate(model.convs):
            post = model.act(conv(post, edges))
            x = post.double()
            expected = {
                "dead_fraction": (post == 0).all(0).double().mean(),
                "zero_fraction": (post == 0).double().mean(),
                "norm": x.norm(),
                "dirichlet_energy": ((x[source] - x[target]).square().sum() / len(x)).sqrt(),
                "distance_to_mean": (x - x.mean(0)).norm(),
                "gradient_norm": conv.lin.weight.grad.norm(),
            }
            for name, value in expected.items():
                found = result["layers"][stage, name][layer]
                assert found == pytest.approx(value.item(), rel=1e-3, abs=2e-3), (stage, name, layer)
    for name in ("dead_fraction", "zero_fraction"):
        mean = result["layers"][stage, name].mean()
        assert result["run"][name + ("_last" if stage == "last" else "")] == pytest.approx(mean)


def flat(result):
    return [
        *(np.nan if value is None else value for value in result["run"].values()),
        *result["epochs"].values(),
        *result["layers"].values(),
        *result["best_state"].values(),
    ]


def same(result, other):
    pairs = zip(flat(result), flat(other), strict=True)
    return all(np.array_equal(np.asarray(a), np.asarray(b), equal_nan=True) for a, b in pairs)


@pytest.mark.parametrize(
    "settings",
    [
        {"num_layers": 0},
        {"num_layers": 5, "strip": True},
        {"num_layers": 3, "strip": True, "replacement": "normal"},
        {"num_layers": 3, "hidden_channels": 5, "act": "leaky_relu"},
        {"num_layers": 2, "hidden_channels": 16, "dropout": 0.5, "input_dropout": 0.5},
    ],
    ids=str,
)
def test_a_run_does_not_depend_on_its_neighbours_bit_for_bit(settings, twin):
    configs = [Config(seed=seed, epochs=8, **settings) for seed in range(10)]
    together = train(configs, twin)
    for few in ([0], [9], [6, 2, 4]):
        for seed, result in zip(few, train([configs[seed] for seed in few], twin), strict=True):
            assert same(result, together[seed])
    assert not same(together[0], together[1])


def test_arms_with_the_same_seed_start_from_the_same_weights(twin):
    relu, pruned = (train([Config(epochs=2, strip=strip)], twin)[0] for strip in (False, True))
    for (stage, name), values in relu["layers"].items():
        if stage == "init":
            assert np.array_equal(values, pruned["layers"][stage, name])


def test_without_pruning_nothing_is_stripped_and_with_it_less_is_dead(twin):
    relu, pruned = (train([Config(epochs=20, strip=strip)], twin)[0] for strip in (False, True))
    assert relu["epochs"]["num_stripped"].sum() == 0 < pruned["epochs"]["num_stripped"].sum()
    assert pruned["run"]["dead_fraction_last"] < relu["run"]["dead_fraction_last"]


def test_measures_come_from_the_networks_own_activations(twin):
    leaky = train([Config(epochs=3, act="leaky_relu")], twin)[0]
    assert leaky["run"]["dead_fraction"] == leaky["run"]["zero_fraction"] == 0


def test_depth_zero_has_missing_values(twin):
    (result,) = train([Config(num_layers=0, epochs=3)], twin)
    missing = [name for name, value in result["run"].items() if value != value]  # NaN
    assert missing == ["dead_fraction", "zero_fraction", "dead_fraction_last", "zero_fraction_last"]
    assert np.isnan(result["epochs"]["dead_fraction"]).all()
    assert all(len(values) == 0 for values in result["layers"].values())


@pytest.mark.parametrize(
    "settings", [{"weight_decay_on": "first"}, {"weight_decay_on": "all"}, {"weight_decay": 0.0}], ids=str
)
def test_weight_decay_at_depth_zero_is_that_of_the_head(settings, twin):
    config = Config(num_layers=0, epochs=8, warmup=7, **{"weight_decay": 0.1, **settings})
    head = torch.nn.Linear(twin.num_features, 7)
    state = GCN(twin.num_features, config.hidden_channels, 7, 0).run_state_dict(0)
    head.load_state_dict({name.removeprefix("lin."): values for name, values in state.items()})
    optimizer = torch.optim.Adam(head.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    for _ in range(config.epochs):
        optimizer.zero_grad()
        cross_entropy(head(twin.x)[twin.train_mask], twin.y[twin.train_mask]).backward()
        optimizer.step()
    (result,) = train([config], twin)
    for name, values in head.state_dict().items():  # warmup: the last epoch is the best
        torch.testing.assert_close(result["best_state"][f"lin.{name}"], values, rtol=1e-3, atol=1e-5)


def test_normalized_features_are_pygs(twin, monkeypatch):
    graph, seen = twin.clone(), []
    graph.x[5] = 0  # a node without words
    graph.x[9] *= 3
    monkeypatch.setattr(training, "Passes", lambda *args: seen.append(args[1]) or Passes(*args))
    config = Config(num_layers=2, epochs=3, hidden_channels=8, normalize_features=True)
    (result,) = train([config], graph)
    sums, expected = seen[0].sum(1), (graph.x.sum(1) > 0).float()
    assert sums.sort().values.tolist() == pytest.approx(expected.sort().values.tolist(), abs=1e-6)
    assert graph.x[9].max() == 3  # the caller's features stay
    by_pyg = torch_geometric.transforms.NormalizeFeatures()(graph)
    raw = config.model_copy(update={"normalize_features": False})
    assert same(result, train([raw], by_pyg)[0])
    assert not same(result, train([raw], graph)[0])


def test_the_best_state_gives_the_stated_accuracy_in_pyg(cora):
    config = Config(num_layers=3, epochs=15, strip=True)
    (result,) = train([config], cora)
    model = torch_geometric.nn.GCN(cora.num_features, 32, 3, 7, jk="last")
    model.load_state_dict(result["best_state"])
    correct = (model(cora.x, cora.edge_index).argmax(1) == cora.y).float()
    assert correct[cora.test_mask].mean().item() == pytest.approx(result["run"]["test_acc"], abs=1e-6)
    assert correct[cora.val_mask].mean().item() == pytest.approx(result["run"]["val_acc"], abs=1e-6)
    assert result["epochs"]["val_acc"][1:].max() == pytest.approx(result["run"]["val_acc"], abs=1e-6)


def test_it_learns(twin):
    runs = [result["run"] for result in train([Config(num_layers=2, seed=s) for s in range(3)], twin)]
    chance = twin.y[twin.test_mask].bincount().max().item() / twin.test_mask.sum().item()
    assert np.mean([run["test_acc"] for run in runs]) > chance + 0.2


def test_different_settings_side_by_side_are_refused(twin):
    with pytest.raises(ValueError, match="differ in seed only, but got 2 settings"):
        train([Config(), Config(lr=0.1)], twin)


def test_devices():
    assert resolve_device("cpu").type == "cpu"
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ValueError, match=r"device must be .*'gpu'"):
        resolve_device("gpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_asking_for_cuda_without_one_is_an_error():
    with pytest.raises(ValueError, match="'cuda' was asked for"):
        resolve_device("cuda")


NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@NEEDS_CUDA
@pytest.mark.parametrize("settings", [{}, {"strip": True}, {"act": "leaky_relu"}], ids=str)
def test_cuda_agrees_with_the_cpu(settings, twin):
    configs = [Config(num_layers=3, epochs=5, seed=seed, **settings) for seed in range(3)]
    for cpu, cuda in zip(train(configs, twin, "cpu"), train(configs, twin, "cuda"), strict=True):
        for name in ("train_loss", "val_acc", "dead_fraction"):
            np.testing.assert_allclose(cpu["epochs"][name], cuda["epochs"][name], rtol=1e-3, atol=0.01)


@NEEDS_CUDA
@pytest.mark.parametrize("strip", [False, True])
def test_no_epoch_waits_for_the_gpu(strip, twin):
    def waits(epochs):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            train([Config(num_layers=3, epochs=epochs, strip=strip)], twin, "cuda")
            torch.cuda.set_sync_debug_mode("default")
        return sum("synchroniz" in str(warning.message) for warning in caught)

    waits(2)
    assert waits(4) == waits(8)


def test_the_order_of_the_nodes_does_not_matter(twin):
    config = Config(num_layers=3, epochs=5, hidden_channels=8)
    order = torch.randperm(twin.num_nodes, generator=torch.Generator().manual_seed(0))
    (result,), (shuffled,) = train([config], twin), train([config], twin.subgraph(order))
    assert not torch.equal(twin.x, twin.subgraph(order).x)
    for name in ("train_loss", "val_acc", "dead_fraction"):
        np.testing.assert_allclose(result["epochs"][name], shuffled["epochs"][name], rtol=1e-3, atol=0.01)
    for key, values in result["layers"].items():
        np.testing.assert_allclose(values, shuffled["layers"][key], rtol=1e-2, atol=1e-3)
