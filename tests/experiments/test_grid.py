import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
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
from deadgcn.experiments.pyg_reference import run_reference

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
        ("ReLU", {}, "configs .*'R'"),
        ([{"num_layers": 2}], {}, "configs .*num_layers"),
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


def test_configs_may_come_one_by_one(trained):
    tables = run_grid((config for config in grid(["ReLU"], seed=range(2), **SMALL)), cache=None)
    assert tables.runs["seed"].tolist() == [0, 1] and trained == [[0, 1]]


@pytest.mark.parametrize("act", [lambda z: (z > 0).float(), lambda z: z.detach(), lambda z: z[:1], len])
def test_what_is_no_differentiable_activation_is_refused(act):
    with pytest.raises(ValueError, match=r"act must return .* with a gradient, but (<lambda>|len) "):
        run_grid(grid({"own": {"act": act}}, **SMALL), cache=None)


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


def test_modules_are_known_by_all_that_they_hold(tmp_path, trained):
    def run(act):
        return run_grid(grid({"own": {"act": act}}, num_layers=1, **SMALL), cache=tmp_path).epochs

    plain, hooked = run(torch.nn.ELU()), torch.nn.ELU()
    hooked.register_forward_hook(lambda _, __, out: 3 * out)
    for _ in range(2):
        assert run(torch.nn.ELU()).equals(plain) and not run(hooked).equals(plain)
    assert not run(torch.nn.ELU(0.5)).equals(plain)
    assert len(trained) == 4


@pytest.mark.parametrize("name", ["ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA"])
def test_variables_that_choose_other_kernels_belong_to_a_run(name, tmp_path, trained, monkeypatch):
    configs = grid(["ReLU"], num_layers=1, **SMALL)
    run_grid(configs, cache=tmp_path)
    monkeypatch.setenv(name, "SSE4_2")
    run_grid(configs, cache=tmp_path)
    monkeypatch.setenv("MKL_NUM_THREADS", "2")  # training has one thread anyway
    run_grid(configs, cache=tmp_path)
    assert len(trained) == 2


@pytest.mark.parametrize("place", ["file", "nowhere", "full/runs"])
def test_a_cache_that_cannot_be_written_is_found_before_training(place, tmp_path, trained):
    (tmp_path / "file").touch()
    (tmp_path / "nowhere").symlink_to("missing/too")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "runs").touch()
    folder = tmp_path / place.partition("/")[0]
    with pytest.raises(OSError, match=str(folder)):
        run_grid(grid(["ReLU"], **SMALL), cache=folder)
    assert trained == []


@contextmanager
def session(threads=2, flush=False, dtype=torch.float64, precision="medium", device=None):
    """A user's session with settings of torch that are not ours."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(flush)
    torch.set_default_dtype(dtype)
    torch.set_float32_matmul_precision(precision)
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)
        torch.set_float32_matmul_precision("highest")
        torch.set_flush_denormal(True)


@pytest.mark.parametrize(
    "around",
    [session(), session(device="meta"), torch.autocast("cpu"), torch.inference_mode(), session(flush=True)],
)
def test_the_callers_session_changes_no_number_and_stays_as_it_was(around, twin):
    arms = {"ReLU": {}, "own": {"act": lambda z: z * torch.sigmoid(z)}}
    configs = grid(arms, num_layers=2, **SMALL)

    def results():
        own = run_grid(configs, graph=twin, name="Twin", n_jobs=1, cache=None)
        reference = run_reference(configs[:1], twin, cache=None)
        states = [{name: p.tolist() for name, p in state.items()} for state in own.states]
        return repr(states), reference.to_csv(), own.layers.to_csv()

    def state():
        tiny = torch.tensor(1e-20, dtype=torch.float32, device="cpu")
        dtype, precision = torch.get_default_dtype(), torch.get_float32_matmul_precision()
        modes = torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu"), torch.is_grad_enabled()
        settings = torch.get_num_threads(), torch.get_default_device().type, (tiny * tiny).item() > 0
        return dtype, precision, modes, settings

    expected = results()
    with around:
        before, found = state(), results()
        assert state() == before
    assert found == expected


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
