"""Runs whose numbers cease to be finite: noticed at their epoch, missing from there on, alone in it."""

import numpy as np
import pytest
import torch

from deadgcn.config import Config
from deadgcn.experiments.grid import grid, run_grid
from deadgcn.experiments.pyg_reference import train_two_convolutions
from deadgcn.gcn import training
from deadgcn.gcn.records import accuracy
from deadgcn.gcn.training import train

SMALL = {"num_layers": 4, "epochs": 8, "hidden_channels": 8, "strip": True}
SEEDS = range(3)


def flat(result):
    return [*result["epochs"].values(), *result["layers"].values(), *result["best_state"].values()]


def same(result, other):
    pairs = zip(flat(result), flat(other), strict=True)
    equal = all(np.array_equal(np.asarray(a), np.asarray(b), equal_nan=True) for a, b in pairs)
    return equal and result["run"] == other["run"]


def absurd(monkeypatch, run, first_step=0, rate=1e30):
    """From one step on, one run of the batch has a learning rate that is larger by that factor."""

    class Adam(torch.optim.Adam):
        steps = 0

        def step(self):
            (values,) = self.param_groups[0]["params"]  # [R, P]
            before = values[run].clone()
            super().step()
            if self.steps >= first_step:
                values[run] = before + rate * (values[run] - before)
            Adam.steps += 1

    monkeypatch.setattr(training.torch.optim, "Adam", Adam)


@pytest.mark.parametrize("settings", [{}, {"act": "leaky_relu"}, {"among": "all"}, {"dropout": 0.3}], ids=str)
def test_an_absurd_learning_rate_in_one_run_leaves_its_neighbours_alone(settings, twin, monkeypatch):
    configs = [Config(seed=seed, **(SMALL | settings)) for seed in SEEDS]
    sound = train(configs, twin)
    absurd(monkeypatch, run=1)
    found = train(configs, twin)
    assert [same(a, b) for a, b in zip(sound, found, strict=True)] == [True, False, True]
    assert [result["run"]["diverged_epoch"] for result in found] == [None, 0, None]


def test_from_its_epoch_on_everything_is_missing_and_nothing_before(twin, monkeypatch):
    configs = [Config(seed=seed, **SMALL) for seed in SEEDS]
    sound = train(configs, twin)[1]
    absurd(monkeypatch, run=1, first_step=5)
    found = train(configs, twin)[1]
    run = found["run"]
    assert run["diverged_epoch"] == 5 and 1 <= run["best_epoch"] < 5
    for name in ("val_acc", "dead_fraction"):
        assert np.array_equal(found["epochs"][name][:5], sound["epochs"][name][:5])
        assert np.isnan(found["epochs"][name][5:]).all()
    assert np.array_equal(found["epochs"]["train_loss"][:6], sound["epochs"]["train_loss"][:6])
    assert np.isnan(found["epochs"]["train_loss"][6:]).all()
    assert (found["epochs"]["num_stripped"][5:] == 0).all()
    # The best model was kept before and is a model like any other; of the last one nothing is known.
    best = run["best_epoch"]
    assert run["val_acc"] == pytest.approx(sound["epochs"]["val_acc"][best], abs=1e-6)
    assert np.isfinite([run["test_acc"], run["dead_fraction"]]).all()
    assert np.isnan([value for name, value in run.items() if name.endswith("_last")]).all()
    stages = {stage: [] for stage in ("init", "best", "last")}
    for (stage, _), values in found["layers"].items():
        stages[stage].append(values)
    assert np.isfinite(stages["init"]).all() and np.isfinite(stages["best"]).all()
    assert np.isnan(stages["last"]).all()


def test_a_run_without_any_counted_epoch_has_no_best_model(twin, monkeypatch):
    absurd(monkeypatch, run=0)
    (found,) = train([Config(**SMALL)], twin)
    assert (found["run"]["best_epoch"], found["run"]["diverged_epoch"]) == (None, 0)
    assert np.isnan([v for name, v in found["run"].items() if "epoch" not in name]).all()
    assert all(value.isnan().all() for value in found["best_state"].values())


def test_an_infinite_loss_counts_though_the_logits_are_finite(twin, monkeypatch):
    """Logits 3e38 apart: each is finite, their difference is not, and neither is the loss."""
    losses, calls = training.losses_and_gradient, []

    def infinite_once(logits, y):
        of_runs, gradient = losses(logits, y)
        calls.append(of_runs)
        if len(calls) == 3:
            of_runs[0] = torch.inf
        return of_runs, gradient

    monkeypatch.setattr(training, "losses_and_gradient", infinite_once)
    first, second = train([Config(seed=seed, **SMALL) for seed in range(2)], twin)
    assert first["run"]["diverged_epoch"] == 2 and second["run"]["diverged_epoch"] is None
    assert np.isinf(first["epochs"]["train_loss"][2]) and np.isnan(first["epochs"]["train_loss"][3:]).all()
    assert np.isnan(first["run"]["test_acc_last"])


def test_logits_that_are_not_finite_are_no_answers():
    y, nodes = torch.tensor([0, 1]), torch.tensor([0])
    logits = torch.zeros(4, 2, 3)
    logits[1, 0, 0], logits[2, 1, 2], logits[3, 0, 1] = torch.nan, torch.inf, 1.0
    assert accuracy(logits, y, nodes).nan_to_num(-1).tolist() == [1, -1, -1, 0]


def test_tables_say_who_diverged_and_when(tmp_path):
    options = {"num_layers": 3, "epochs": 4, "hidden_channels": 4, "dataset": "SyntheticCora"}
    tables = run_grid(grid(["ReLU"], lr=[0.005, 1e36], seed=range(2), **options), cache=tmp_path)
    alone = run_grid(grid(["ReLU"], lr=0.005, seed=range(2), **options), cache=None)
    for table in (tables.runs, tables.epochs, tables.layers):
        diverged = table["diverged_epoch"]
        assert diverged.dtype == "Int64"
        assert (diverged.notna() == (table["lr"] == 1e36)).all() and set(diverged.dropna()) == {0}
    sound = tables.runs[tables.runs["lr"] == 0.005].drop(columns="lr").reset_index(drop=True)
    assert sound.astype(object).equals(alone.runs.astype(object))
    tables.save(tmp_path / "out", "x")
    rows = (tmp_path / "out" / "x_runs.csv").read_text().splitlines()
    # dataset, method, num_layers, seed, lr, best_epoch, diverged_epoch, then nothing was measured
    assert rows[3] == "SyntheticCora,ReLU,3,0,1e+36,,0," + "," * 7
    assert len(tables.save_checkpoints(tmp_path / "checkpoints")) == 2


def test_the_reference_diverges_likewise(twin):
    row = train_two_convolutions(Config(lr=1e36, epochs=5, hidden_channels=4), twin)
    assert row["diverged_epoch"] == 0 and row["best_epoch"] is None
    assert np.isnan([row[name] for name in ("val_acc", "test_acc", "val_acc_last", "test_acc_last")]).all()
    sound = train_two_convolutions(Config(epochs=5, hidden_channels=4), twin)
    assert sound["diverged_epoch"] is None and 0 < sound["val_acc_last"] <= 1
