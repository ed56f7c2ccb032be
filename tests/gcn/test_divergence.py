"""Runs whose numbers cease to be finite: recorded from that epoch on as missing; other runs are the same."""

import numpy as np
import pytest
import torch
from gcn.oracle import same_result

from deadgcn.config import Config
from deadgcn.gcn import records, training
from deadgcn.gcn.training import train

SMALL = {"num_layers": 4, "epochs": 8, "hidden_channels": 8, "strip": True}
SEEDS = range(3)


def absurd(monkeypatch, run, first_step=0, rate=1e30):
    """Multiply the learning rate of one run of the batch by ``rate``, from one step on."""

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


@pytest.mark.parametrize(
    "settings", [{}, {"act": "leaky_relu"}, {"strip": True, "among": "all"}, {"dropout": 0.3}]
)
def test_a_run_that_diverges_changes_no_other_run(settings, twin, monkeypatch):
    configs = [Config(seed=seed, **(SMALL | settings)) for seed in SEEDS]
    sound = train(configs, twin)
    absurd(monkeypatch, run=1)
    found = train(configs, twin)
    assert [same_result(a, b) for a, b in zip(sound, found, strict=True)] == [True, False, True]
    assert [result["run"]["diverged_epoch"] for result in found] == [None, 0, None]


def test_numbers_are_missing_from_that_epoch_on_and_none_before(twin, monkeypatch):
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
    for stage in ("init", "best", "last"):
        for values in found[stage].values():
            assert np.isnan(values).all() if stage == "last" else np.isfinite(values).all()


def test_a_run_without_any_counted_epoch_has_no_best_model(twin, monkeypatch):
    absurd(monkeypatch, run=0)
    (found,) = train([Config(**SMALL)], twin)
    assert (found["run"]["best_epoch"], found["run"]["diverged_epoch"]) == (None, 0)
    assert np.isnan([v for name, v in found["run"].items() if "epoch" not in name]).all()
    assert all(value.isnan().all() for value in found["best_state"].values())


def test_a_run_diverges_if_its_loss_is_infinite_though_its_logits_are_finite(twin, monkeypatch):
    """Logits 3e38 apart: each is finite, their difference is not, and neither is the loss."""
    losses, calls = records.losses_and_gradient, []

    def infinite_once(logits, y):
        of_runs, gradient = losses(logits, y)
        calls.append(of_runs)
        if len(calls) == 3:
            of_runs[0] = torch.inf
        return of_runs, gradient

    monkeypatch.setattr(records, "losses_and_gradient", infinite_once)
    first, second = train([Config(seed=seed, **SMALL) for seed in range(2)], twin)
    assert first["run"]["diverged_epoch"] == 2 and second["run"]["diverged_epoch"] is None
    assert np.isinf(first["epochs"]["train_loss"][2]) and np.isnan(first["epochs"]["train_loss"][3:]).all()
    assert np.isnan(first["run"]["test_acc_last"])
