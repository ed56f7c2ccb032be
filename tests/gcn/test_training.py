"""The training loop against the protocol step by step, and what must not change a run's numbers."""

import copy
import warnings

import numpy as np
import pytest
import torch
from gcn.oracle import gradient_norms, pyg_network, same_result, train_loss, with_dropout

from deadgcn.config import Config
from deadgcn.gcn.build import on_device
from deadgcn.gcn.model import GCN
from deadgcn.gcn.records import LAYER_COLUMNS
from deadgcn.gcn.smoothing import all_measures
from deadgcn.gcn.training import resolve_device, train

SMALL = {"num_layers": 3, "hidden_channels": 8, "epochs": 12}


class Stripping:
    """What the protocol does to dead neurons after an epoch, in plain loops."""

    def __init__(self, config, model, optimizer, generator, inputs):
        self.config, self.model, self.optimizer = config, model, optimizer
        self.generator, self.inputs = generator, inputs

    def after_step(self):
        pass

    def after_epoch(self, dead):
        """Return how many parameters changed."""
        lists = [mask.nonzero().flatten().tolist() for mask in dead]
        convs = enumerate(zip(self.model.convs, lists, strict=True))
        return sum(self.on_layer(layer, conv.lin.weight, neurons) for layer, (conv, neurons) in convs)

    def on_layer(self, layer, weight, dead):
        return sum(len(self.on_neuron(weight, neuron)) for neuron in dead)

    def on_neuron(self, weight, neuron):
        negative = (weight[neuron] < 0).nonzero().flatten().tolist()
        number = max(1, int(0.1 * len(negative))) if negative else 0
        chosen = self.ordered(weight, neuron, negative)[:number]
        weight[neuron, chosen] = 0
        return chosen

    def ordered(self, weight, neuron, negative):
        return sorted(negative, key=lambda i: weight[neuron, i].item())


def literal_run(config, graph, intervention=Stripping):
    """The protocol of one run, step by step, on PyTorch Geometric's own network and torch's own Adam."""
    sizes = graph.num_features, config.hidden_channels, int(graph.y.max()) + 1, config.num_layers
    ours = GCN(*sizes, bias=config.bias, init=config.init, seeds=(config.seed,))
    model, generator = pyg_network(ours.run_state_dict(0), config.act), ours.generators[0]
    first = list((model.convs[0] if config.num_layers else model.lin).parameters())
    rest = [p for p in model.parameters() if all(p is not own for own in first)]
    of_rest = config.weight_decay if config.weight_decay_on == "all" else 0
    groups = [
        {"params": first, "weight_decay": config.weight_decay},
        {"params": rest, "weight_decay": of_rest},
    ]
    optimizer = (torch.optim.AdamW if config.decoupled else torch.optim.Adam)(groups, lr=config.lr)
    x = graph.x / graph.x.sum(1, keepdim=True).clamp(min=1) if config.normalize_features else graph.x
    edges = (
        [graph.edge_index] if config.propagation == 1 else weighted_edges(model, graph, config.propagation)
    )
    with torch.no_grad():
        does = intervention(config, model, optimizer, generator, (x, *edges))
    start = copy.deepcopy(model.state_dict())
    best_acc, best, stripped, history = -1.0, None, [], []
    nodes = graph.val_mask if config.death_nodes == "val" else torch.ones_like(graph.val_mask)
    for epoch in range(config.epochs):
        optimizer.zero_grad()
        loss = train_loss(model(with_dropout(model, x, config, generator), *edges), graph)
        loss.backward()
        optimizer.step()
        model.dropout = torch.nn.Identity()
        with torch.no_grad():
            does.after_step()
            model.act.posts.clear()
            acc = (model(x, *edges).argmax(1) == graph.y)[graph.val_mask].float().mean().item()
        dead = [dead_literally(post, config) for post in model.act.posts]
        judged = [dead_literally(post[nodes], config) for post in model.act.posts]
        count = 0
        if epoch >= config.warmup:
            if acc > best_acc:
                best_acc, best = acc, (epoch, copy.deepcopy(model.state_dict()))
            if config.strip or config.intervention != "none":
                with torch.no_grad():
                    count = does.after_epoch(judged)
        stripped.append(count)
        history.append((loss.item(), acc, torch.stack(dead).double().mean().item() if dead else np.nan))
    states = {"init": start, "best": best[1], "last": copy.deepcopy(model.state_dict())}
    return model, states, best[0], stripped, history, (x, *edges)


def weighted_edges(model, graph, share):
    """Edges and weights of (1 - a) I + a Â for a = ``share``, which the network then takes as they are."""
    for conv in model.convs:
        conv.normalize = False
    eye = torch.eye(graph.num_nodes)
    a = eye.clone()
    a[tuple(graph.edge_index)] = 1
    root = a.sum(1).sqrt()
    mixed = (1 - share) * eye + share * a / root / root[:, None]
    edge_index = mixed.nonzero().T
    return edge_index, mixed[tuple(edge_index)]


def dead_literally(post, config):
    return (post == 0).double().mean(0) >= config.dead_threshold


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"strip": True},
        {"strip": True, "death_nodes": "val", "warmup": 0},
        {"strip": True, "warmup": 2},
        {"act": "leaky_relu"},
        {"act": "elu", "bias": False},
        {"strip": True, "dead_threshold": 0.9},
        {"weight_decay_on": "first", "weight_decay": 0.05},
        {"weight_decay": 0.5},  # is not in the gradient that is measured
        {"dropout": 0.5, "input_dropout": 0.3, "strip": True},
        {"num_layers": 0, "weight_decay": 0.1},
        {"num_layers": 0, "weight_decay": 0.1, "weight_decay_on": "first"},
        {"propagation": 0.0, "normalize_features": True},
        {"propagation": 0.25, "strip": True},
        {"decoupled": True, "weight_decay": 5.0},  # of which a step takes 2.5 %
        {"decoupled": True, "weight_decay": 5.0, "weight_decay_on": "first"},
        {"decoupled": True, "weight_decay": 5.0, "weight_decay_on": "first", "num_layers": 0},
        {"init": "he", "strip": True},
        {"init": "orthogonal", "strip": True},
        {"init": "looks_linear"},
    ],
)
def test_agrees_with_the_protocol_step_by_step(settings, twin):
    config = Config(seed=2, **(SMALL | {"num_layers": 4} | settings))
    stripped = check_run(config, twin)
    assert (sum(stripped) > 0) == config.strip  # the case must have something to strip


def check_run(config, twin, intervention=Stripping):
    """Compare a run with a literal one; return how many parameters each epoch changed."""
    # Dropout draws row by row, so it needs the order in which training has the nodes.
    graph = on_device(twin, torch.device("cpu"), False, 1.0)[0] if config.dropout else twin
    model, states, best_epoch, stripped, history, inputs = literal_run(config, graph, intervention)
    (result,) = train([config], twin)
    assert result["run"]["best_epoch"] == best_epoch
    assert result["epochs"]["num_stripped"].tolist() == stripped
    expected = np.array(history).T
    for name, values in zip(("train_loss", "val_acc", "dead_fraction"), expected, strict=True):
        np.testing.assert_allclose(result["epochs"][name], values, rtol=2e-4, atol=1e-6)
    for name, value in states["best"].items():
        torch.testing.assert_close(result["best_state"][name], value, rtol=1e-3, atol=1e-5)
    assert all(set(result[stage]) == set(LAYER_COLUMNS) for stage in states)
    for stage, state in states.items():
        model.load_state_dict(state)
        check_stage(config, result, stage, model, graph, *inputs)
    return stripped


def check_stage(config, result, stage, model, graph, *inputs):
    """Accuracy, and the measures of every layer, of PyTorch Geometric's own network."""
    suffix, layers = "_last" if stage == "last" else "", result[stage]
    model.act.posts.clear()
    norms = gradient_norms(model, graph, *inputs)
    for layer, (post, norm) in enumerate(zip(model.act.posts, norms, strict=True)):
        expected = all_measures(post, graph.edge_index) | {"gradient_norm": torch.tensor(norm)}
        expected["zero_fraction"] = (post == 0).double().mean()
        expected["dead_fraction"] = dead_literally(post, config).double().mean()
        for name, value in expected.items():
            found = layers[name][layer]
            assert found == pytest.approx(value.item(), rel=2e-3, abs=2e-3, nan_ok=True), (stage, name, layer)
    assert {(values.shape, values.dtype.name) for values in layers.values()} == {((len(norms),), "float64")}
    if stage != "init":
        correct = (model(*inputs).argmax(1) == graph.y)[graph.test_mask].double()
        assert result["run"]["test_acc" + suffix] == pytest.approx(
            correct.mean().item(), abs=2.1 / len(correct)
        )
        for name in ("dead_fraction", "zero_fraction"):
            mean = layers[name].mean() if norms else np.nan
            assert result["run"][name + suffix] == pytest.approx(mean, nan_ok=True)


@pytest.mark.parametrize(
    "settings",
    [
        {"num_layers": 0},
        {"num_layers": 5, "hidden_channels": 32, "strip": True},
        {"hidden_channels": 5, "act": "leaky_relu"},
        {"hidden_channels": 2, "num_layers": 1},
        {"hidden_channels": 33, "epochs": 3},
        {"act": lambda z: (z - z.mean()).relu()},  # looks at all nodes
        {"num_layers": 2, "hidden_channels": 16, "dropout": 0.5, "input_dropout": 0.5},
    ],
    ids=["depth 0", "stripped", "leaky", "narrow", "wide", "function", "dropout"],
)
def test_a_run_does_not_depend_on_its_neighbours_bit_for_bit(settings, twin):
    configs = [Config(seed=seed, **(SMALL | {"epochs": 8} | settings)) for seed in range(10)]
    together = train(configs, twin)
    for few in ([0], [9], [6, 2, 4]):
        for seed, result in zip(few, train([configs[seed] for seed in few], twin), strict=True):
            assert same_result(result, together[seed])
    assert not same_result(together[0], together[1])


ELU, LEAKY = torch.nn.functional.elu, lambda z: torch.where(z > 0, z, 0.8 * z)
NAMED = {
    "elu": (ELU, "elu"),
    "tanh": (torch.tanh, "tanh"),
    "relu": (torch.relu, "relu"),
    "relu in place": (torch.relu_, "relu"),
    "leaky": (LEAKY, "leaky_relu"),
}


@pytest.mark.parametrize(("function", "name"), NAMED.values(), ids=NAMED)
def test_an_activation_trains_alike_by_name_and_as_a_function(function, name, twin):
    acts = (function, name, "softplus")
    by_function, by_name, other = (train([Config(act=act, **SMALL)], twin)[0] for act in acts)
    losses = by_name["epochs"]["train_loss"]
    assert losses[-1] < losses[0] and not np.allclose(other["epochs"]["train_loss"], losses, rtol=1e-3)
    np.testing.assert_allclose(by_function["epochs"]["train_loss"], losses, rtol=1e-4)
    for key, values in by_name["best_state"].items():
        torch.testing.assert_close(by_function["best_state"][key], values, rtol=1e-3, atol=1e-4)


def test_arms_of_one_seed_start_alike_and_pruning_revives(twin):
    relu, pruned = (train([Config(epochs=20, strip=strip)], twin)[0] for strip in (False, True))
    for name, values in relu["init"].items():
        assert np.array_equal(values, pruned["init"][name])
    assert relu["epochs"]["num_stripped"].sum() == 0 < pruned["epochs"]["num_stripped"].sum()
    assert pruned["run"]["dead_fraction_last"] < relu["run"]["dead_fraction_last"]


def test_the_best_state_gives_the_stated_accuracy_in_pyg_and_is_better_than_a_guess(cora):
    (result,) = train([Config(num_layers=2, epochs=25, strip=True)], cora)
    model = pyg_network(result["best_state"])
    correct = (model(cora.x, cora.edge_index).argmax(1) == cora.y).float()
    for name, mask in (("test_acc", cora.test_mask), ("val_acc", cora.val_mask)):
        assert correct[mask].mean().item() == pytest.approx(result["run"][name], abs=1e-6)
    assert result["epochs"]["val_acc"][1:].max() == pytest.approx(result["run"]["val_acc"], abs=1e-6)
    assert result["run"]["test_acc"] > 0.319 + 0.2  # the majority class is right for 31.9 %


def test_different_settings_side_by_side_are_refused(twin):
    with pytest.raises(ValueError, match=r"seed .*2"):
        train([Config(), Config(lr=0.1)], twin)


def test_devices():
    assert resolve_device("cpu").type == "cpu"
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ValueError, match=r"device .*'gpu'"):
        resolve_device("gpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_asking_for_cuda_without_one_is_an_error():
    with pytest.raises(ValueError, match="'cuda'"):
        resolve_device("cuda")


NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@NEEDS_CUDA
@pytest.mark.parametrize("settings", [{}, {"strip": True}, {"act": "leaky_relu"}, {"act": "elu"}])
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
