import numpy as np
import pandas as pd
import pytest
import torch
from torch_geometric.nn import GCNConv
from torch_geometric.transforms import NormalizeFeatures

from deadgcn.config import PROJECT, Config
from deadgcn.experiments import parallel, pyg_reference
from deadgcn.experiments.grid import grid
from deadgcn.experiments.pyg_reference import build_reference, run_reference, train_reference
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
    found = train_reference(config, twin)
    expected = literal_run(config, twin)
    assert found.keys() == expected.keys() and found["best_epoch"] == expected["best_epoch"]
    nodes = twin.test_mask.sum().item()
    accuracies = [name for name in expected if "acc" in name]
    assert all(found[name] == pytest.approx(expected[name], abs=2.1 / nodes) for name in accuracies)


def test_with_our_head_it_is_our_network(twin, monkeypatch):
    """From the same weights, PyG's network with a head and ours learn the same, by the same recipe."""
    config = Config(num_layers=2, weight_decay_on="first", normalize_features=True, seed=1, **SMALL)
    (ours,) = train([config], twin)
    model = build_reference(config, twin, head=True)
    model.load_state_dict(GCN(twin.num_features, 4, 7, 2, seeds=(1,)).run_state_dict(0))
    monkeypatch.setattr(pyg_reference, "build_reference", lambda *_: model)
    theirs = train_reference(config, twin, head=True)
    for name in ("test_acc", "test_acc_last", "val_acc", "val_acc_last"):
        assert theirs[name] == pytest.approx(ours["run"][name], abs=2.1 / twin.val_mask.sum().item())


def test_the_graph_that_is_passed_in_is_left_alone(twin):
    before = twin.x.clone()
    train_reference(Config(normalize_features=True, **SMALL), twin)
    assert not twin.x.is_sparse and torch.equal(twin.x, before)


def test_dropout_of_sparse_features_is_that_of_their_non_zeros(twin):
    x = twin.x.to_sparse()
    assert torch.equal(pyg_reference._sparse_dropout(x, 0.0).to_dense(), twin.x)
    dropped = pyg_reference._sparse_dropout(x, 0.25).to_dense()
    assert set(dropped.unique().tolist()) == {0.0, torch.tensor(4 / 3).item()}
    assert (dropped[twin.x > 0] == 0).double().mean() == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("settings", [{"input_dropout": 0.5}, {"dropout": 0.5}], ids=str)
def test_both_dropouts_change_the_run(twin, settings):
    plain = train_reference(Config(**SMALL), twin, head=True)
    assert train_reference(Config(**SMALL, **settings), twin, head=True) != plain


def test_a_run_that_diverges_has_no_numbers(twin):
    run = train_reference(Config(**SMALL | {"lr": 1e38}), twin)
    assert run["diverged_epoch"] is not None and np.isnan(run["test_acc_last"])


def test_a_seed_decides_everything_and_another_one_does_not(twin):
    options = {**SMALL, "dropout": 0.5, "input_dropout": 0.5}
    first, again, other = (train_reference(Config(seed=s, **options), twin) for s in (0, 0, 1))
    torch.rand(3)  # what else is drawn does not matter
    assert first == again == train_reference(Config(seed=0, **options), twin)
    assert first != other


def test_a_table_of_many_whatever_the_number_of_jobs_and_each_trained_once(tmp_path, monkeypatch):
    configs = grid(["ReLU"], dataset="SyntheticCora", num_layers=2, seed=range(3), **SMALL)
    monkeypatch.setattr(parallel, "WORTH_A_PROCESS", 1)
    table = run_reference(configs, n_jobs=1, cache=tmp_path)
    assert list(table.columns[:4]) == ["dataset", "method", "num_layers", "seed"]
    assert table["seed"].tolist() == [0, 1, 2] and set(table["method"]) == {pyg_reference.METHODS[False]}
    assert table.equals(run_reference(configs, n_jobs=2, cache=None))
    monkeypatch.setattr(pyg_reference, "train_reference", lambda *_: pytest.fail("trained again"))
    assert table.equals(run_reference(configs, n_jobs=1, cache=tmp_path))
    assert np.isfinite(table[["test_acc", "val_acc", "test_acc_last", "val_acc_last"]]).all(axis=None)


@pytest.mark.parametrize("head", [False, True])
def test_the_committed_numbers_come_out_again(cora, head):
    """PyG's networks draw and add up as they did when the evidence was made."""
    name = pyg_reference.METHODS[head]
    evidence = pd.read_csv(PROJECT / "results/Cora/recipe_runs.csv").query("method == @name and seed == 0")
    found = train_reference(Config(num_layers=2), cora, head)
    assert {column: found[column] for column in ACCURACIES} == evidence.iloc[0][ACCURACIES].to_dict()


ACCURACIES = ["test_acc", "val_acc", "test_acc_last", "val_acc_last"]
