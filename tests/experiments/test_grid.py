import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import torch

from deadgcn.config import Config
from deadgcn.experiments import grid as experiments
from deadgcn.experiments import parallel
from deadgcn.experiments.grid import METHODS, grid, run_grid

SMALL = {"dataset": "SyntheticCora", "epochs": 3, "hidden_channels": 4}


@pytest.fixture
def trained(monkeypatch):
    """The seeds of each chunk that was really trained, in order."""
    chunks, train = [], experiments.train

    def spy(configs, **options):
        chunks.append([config.seed for config in configs])
        return train(configs, **options)

    monkeypatch.setattr(experiments, "train", spy)
    return chunks


def assert_same(tables, other):
    for name in ("runs", "epochs", "layers"):
        pd.testing.assert_frame_equal(getattr(tables, name), getattr(other, name), check_exact=True)
    for state, again in zip(tables.states, other.states, strict=True):
        assert all(torch.equal(value, again[name]) for name, value in state.items())


def test_grid_has_every_combination_in_order():
    configs = grid(["LeakyReLU", "ReLU"], num_layers=[5, 0], seed=range(2), lr=0.1)
    keys = [(c.method, c.num_layers, c.seed) for c in configs]
    assert keys == [(m, d, s) for m in ("LeakyReLU", "ReLU") for d in (5, 0) for s in (0, 1)]
    assert [c.act for c in configs] == ["leaky_relu"] * 4 + ["relu"] * 4
    (own,) = grid({"half": {"strip": True, "amount": 0.5}}, num_layers=np.array([3]))
    assert (own.method, own.strip, own.amount, own.num_layers) == ("half", True, 0.5, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"methods": ["ReLu"]}, "method .*'ReLu'"),
        ({"methods": []}, "methods"),
        ({"seed": []}, "seed has none"),
        ({"method": "ReLU"}, "method is no axis.*'ReLU'"),
        ({"num_layers": [2, "x"]}, "num_layers"),
        ({"methods": {"a": "elu"}}, "'a': 'elu'"),
        ({"methods": {"a": {"method": "b"}}}, "method"),
    ],
)
def test_bad_grids_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        grid(**{"methods": ["ReLU"], **arguments})


@pytest.mark.parametrize(
    ("configs", "options", "message"),
    [
        ([], {}, "configs"),
        ([Config(), Config()], {}, "seed 0"),
        ([Config()], {"n_jobs": 0}, "n_jobs .*0 was"),
        ([Config()], {"n_jobs": 1.5}, "n_jobs .*1.5 was"),
        ([Config()], {"n_jobs": -5}, "n_jobs .*-5 was"),
        ([Config(dataset="cora")], {}, "dataset .*'cora'"),
        ([Config()], {"device": "gpu"}, "device .*'gpu'"),
    ],
)
def test_bad_runs_are_refused_before_training(configs, options, message, trained):
    with pytest.raises(ValueError, match=message):
        run_grid(configs, cache=None, **options)
    assert trained == []


def test_only_new_runs_are_trained(tmp_path, trained):
    first = run_grid(grid(["ReLU"], num_layers=[2], seed=range(3), **SMALL), cache=tmp_path)
    again = run_grid(grid(["ReLU"], num_layers=[2], seed=range(3), **SMALL), cache=tmp_path)
    assert trained == [[0, 1, 2]]
    assert_same(first, again)
    run_grid(grid(["ReLU"], num_layers=[3, 2], seed=range(4), **SMALL), cache=tmp_path)
    assert trained[1:] == [[0, 1, 2, 3], [3]]
    more = run_grid(grid(["ReLU"], num_layers=[2], seed=range(12), **SMALL), cache=tmp_path)
    assert sorted(trained[3:]) == [[4], [5, 6, 7, 8, 9], [10, 11]]  # blocks of five seeds
    assert_same(more, run_grid(more.configs, cache=None))
    assert not more.epochs.groupby("seed")["train_loss"].apply(tuple).duplicated().any()


def test_a_label_retrains_nothing_but_settings_sources_and_damage_do(tmp_path, trained, monkeypatch):
    first = run_grid(grid({"one": {}, "two": {}}, **SMALL), cache=tmp_path)
    (entry,) = tmp_path.rglob("*.run")
    entry.write_bytes(entry.read_bytes()[:-20])
    for _ in range(2):
        assert_same(first, run_grid(first.configs, cache=tmp_path))
    assert run_grid(grid({"three": {}}, **SMALL), cache=tmp_path).runs["method"].tolist() == ["three"]
    assert len(trained) == 2
    run_grid(grid({"one": {"lr": 0.1}}, **SMALL), cache=tmp_path)
    monkeypatch.setattr(parallel, "SOURCES", "others")
    run_grid(first.configs, cache=tmp_path)
    assert len(trained) == 4


def test_functions_are_trained_anew_and_never_taken_for_each_other(tmp_path, trained):
    arms = {"one": {"act": lambda z: 2 * z}, "other": {"act": lambda z: z.relu()}, "ReLU": {}}
    configs = grid(arms, num_layers=1, **SMALL)
    tables = run_grid(configs, cache=tmp_path)
    assert len(trained) == 3 and len(list(tmp_path.rglob("*.run"))) == 1
    assert_same(tables, run_grid(configs, cache=tmp_path))
    assert len(trained) == 5
    losses = tables.epochs.groupby("method")["train_loss"].apply(list)
    assert losses["other"] == losses["ReLU"] != losses["one"]


def test_results_do_not_depend_on_the_number_of_processes(monkeypatch):
    arms = {**METHODS, "Swish": {"act": lambda z: z * torch.sigmoid(z)}}
    configs = grid(arms, num_layers=[1, 3], seed=range(2), **SMALL)
    jobs, parallel_class = [], joblib.Parallel

    def spy(n_jobs, **options):
        jobs.append(n_jobs)
        return parallel_class(n_jobs=n_jobs, **options)

    monkeypatch.setattr(parallel, "Parallel", spy)
    tables = run_grid(configs, n_jobs=2, cache=None)
    monkeypatch.setattr(parallel, "WORTH_A_PROCESS", 1)
    assert_same(tables, run_grid(configs, n_jobs=2, cache=None))
    assert jobs == [1, 2]  # small work stays in this process


def test_runs_finished_before_an_interruption_are_kept(tmp_path):
    configs, chunks = grid(["ReLU"], num_layers=[1, 3], **SMALL), []

    def work(chunk):
        chunks.append(chunk[0].num_layers)
        if len(chunks) == 2:
            raise KeyboardInterrupt
        return [{"run": 1}]

    for stops in (pytest.raises(KeyboardInterrupt), nullcontext()):
        with stops:
            parallel.run_chunks(work, configs, lambda config: config, cache=tmp_path)
    assert chunks == [3, 1, 1]  # the deepest first, and only once


def test_two_that_need_the_same_runs_at_once_train_each_once(tmp_path):
    computed, ready = [], threading.Barrier(2)

    def work(chunk):
        computed.extend(config.seed for config in chunk)
        time.sleep(0.5)
        return [{"run": config.seed} for config in chunk]

    def chunk_of(config):
        if config.seed == 0:
            ready.wait()  # both have found that this run is missing
        return 0

    def both(num_seeds):
        configs = grid(["ReLU"], num_layers=1, seed=range(num_seeds), **SMALL)
        return parallel.run_chunks(work, configs, chunk_of, cache=tmp_path)

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(both, [2, 3]))
    assert found == [[{"run": 0}, {"run": 1}], [{"run": 0}, {"run": 1}, {"run": 2}]]
    assert sorted(computed) == [0, 1, 2]


@pytest.mark.faults
def test_workers_end_when_their_parent_is_killed(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(f"""
import os, time
from deadgcn.experiments import parallel
from deadgcn.experiments.grid import grid

def work(configs):
    open({str(tmp_path)!r} + f"/{{os.getpid()}}.pid", "w").close()
    time.sleep(600)

parallel.WORTH_A_PROCESS = 1
parallel.run_chunks(work, grid(["ReLU"], seed=range(2)), hash, n_jobs=2, cache=None)
""")
    parent = subprocess.Popen([sys.executable, script], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while len(workers := list(tmp_path.glob("*.pid"))) < 2:
        time.sleep(0.1)
    parent.kill()
    parent.wait()
    time.sleep(5)
    assert not any(Path("/proc", path.stem, "exe").exists() for path in workers)
