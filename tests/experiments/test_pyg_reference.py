import numpy as np
import pytest
import torch
from torch_geometric.nn import GCNConv
from torch_geometric.transforms import NormalizeFeatures

from deadgcn.config import Config
from deadgcn.experiments import pyg_reference as recipe
from deadgcn.experiments.grid import grid
from deadgcn.experiments.pyg_reference import TwoConvolutions, run_reference, train_two_convolutions
from deadgcn.gcn.model import GCN
from deadgcn.gcn.training import train

SMALL = {"hidden_channels": 4, "epochs": 6, "lr": 0.05, "weight_decay": 0.1}


def literal_run(config, graph):
    """The same network from PyG's layers as they come, dense, every step spelled out; without dropout."""
    if config.normalize_features:
        graph = NormalizeFeatures()(graph.clone())
    torch.manual_seed(config.seed)
    first = GCNConv(graph.num_features, config.hidden_channels)
    second = GCNConv(config.hidden_channels, int(graph.y.max()) + 1)
    decays = (config.weight_decay, config.weight_decay if config.weight_decay_on == "all" else 0)
    layers = zip((first, second), decays, strict=True)
    optimizer = torch.optim.Adam(
        [{"params": conv.parameters(), "weight_decay": decay} for conv, decay in layers], lr=config.lr
    )

    def forward():
        return second(first(graph.x, graph.edge_index).relu(), graph.edge_index)

    history = []
    for _ in range(config.epochs):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(forward()[graph.train_mask], graph.y[graph.train_mask]).backward()
        optimizer.step()
        correct = (forward().argmax(1) == graph.y).double()
        history.append([correct[graph.val_mask].mean().item(), correct[graph.test_mask].mean().item()])
    counted = [val if config.counts(epoch) else -1 for epoch, (val, _) in enumerate(history)]
    best = counted.index(max(counted))  # the earliest of equals
    return {
        "best_epoch": best,
        "diverged_epoch": None,
        "val_acc": history[best][0],
        "test_acc": history[best][1],
        "val_acc_last": history[-1][0],
        "test_acc_last": history[-1][1],
    }


@pytest.mark.parametrize(
    "settings",
    [{}, {"weight_decay_on": "first"}, {"normalize_features": True, "epochs": 30}, {"warmup": 4}],
    ids=str,
)
def test_agrees_with_pygs_layers_step_by_step(settings, twin):
    config = Config(seed=3, **{**SMALL, **settings})
    found = train_two_convolutions(config, twin)
    expected = literal_run(config, twin)
    assert found.keys() == expected.keys() and found["best_epoch"] == expected["best_epoch"]
    nodes = twin.test_mask.sum().item()
    accuracies = [name for name in expected if "acc" in name]
    assert all(found[name] == pytest.approx(expected[name], abs=2.1 / nodes) for name in accuracies)


def test_with_our_head_it_is_our_network(twin):
    """From the same weights, PyG's layers with a head and ours learn the same, by the same recipe."""
    config = Config(num_layers=2, weight_decay_on="first", normalize_features=True, seed=1, **SMALL)
    (ours,) = train([config], twin)
    start = GCN(twin.num_features, 4, 7, 2, seeds=(1,)).run_state_dict(0)
    names = {"convs.0": "first", "convs.1": "second", "lin": "head"}
    values = {}
    for name, value in start.items():
        old = next(old for old in names if name.startswith(old))
        values[name.replace(old, names[old], 1)] = value

    class Started(TwoConvolutions):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.load_state_dict(values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe, "TwoConvolutions", Started)
        theirs = train_two_convolutions(config, twin, head=True)
    for name in ("test_acc", "test_acc_last", "val_acc", "val_acc_last"):
        assert theirs[name] == pytest.approx(ours["run"][name], abs=2.1 / twin.val_mask.sum().item())


def test_the_graph_that_is_passed_in_is_left_alone(twin):
    before = twin.x.clone()
    train_two_convolutions(Config(normalize_features=True, **SMALL), twin)
    assert not twin.x.is_sparse and torch.equal(twin.x, before)


def test_dropout_acts_on_words_and_hidden_neurons_while_training_only(twin):
    x = twin.x.to_sparse()
    edges = twin.edge_index, torch.ones(twin.edge_index.shape[1])
    for settings in ({"input_dropout": 0.5}, {"dropout": 0.5}):
        model = TwoConvolutions(twin.num_features, 7, Config(hidden_channels=8, **settings), head=True)
        assert not torch.equal(model.train()(x, *edges), model(x, *edges))
        assert torch.equal(model.eval()(x, *edges), model(x, *edges))


def test_the_mean_over_dropout_is_that_without(twin):
    model = TwoConvolutions(twin.num_features, 7, Config(hidden_channels=8, input_dropout=0.3))
    with torch.no_grad():
        model.first.bias.fill_(100.0)  # keeps every hidden neuron above 0, where the network is linear
        x, edges = twin.x.to_sparse(), (twin.edge_index, torch.ones(twin.edge_index.shape[1]))
        mean = torch.stack([model.train()(x, *edges) for _ in range(400)]).mean(0)
        torch.testing.assert_close(mean, model.eval()(x, *edges), rtol=0.05, atol=0.6)


def test_a_seed_decides_everything_and_another_one_does_not(twin):
    options = {**SMALL, "dropout": 0.5, "input_dropout": 0.5}
    first, again, other = (train_two_convolutions(Config(seed=s, **options), twin) for s in (0, 0, 1))
    torch.rand(3)  # what else is drawn does not matter
    assert first == again == train_two_convolutions(Config(seed=0, **options), twin)
    assert first != other


def test_a_table_of_many_whatever_the_number_of_jobs_and_each_trained_once(tmp_path, monkeypatch):
    configs = grid(["ReLU"], dataset="SyntheticCora", num_layers=2, seed=range(3), **SMALL)
    monkeypatch.setattr(recipe, "WORTH_WORKERS", 0)
    table = run_reference(configs, n_jobs=1, cache=tmp_path)
    assert list(table.columns[:4]) == ["dataset", "method", "num_layers", "seed"]
    assert table["seed"].tolist() == [0, 1, 2] and set(table["method"]) == {recipe.METHODS[False]}
    assert table.equals(run_reference(configs, n_jobs=2, cache=None))
    monkeypatch.setattr(recipe, "train_two_convolutions", lambda config, head: pytest.fail("trained again"))
    assert table.equals(run_reference(configs, n_jobs=1, cache=tmp_path))
    assert np.isfinite(table[["test_acc", "val_acc", "test_acc_last", "val_acc_last"]]).all(axis=None)
