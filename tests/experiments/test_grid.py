import ast
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from deadgcn.config import Config
from deadgcn.experiments import grid as experiments
from deadgcn.experiments.grid import TRAINING_MODULES, grid, run_grid
from deadgcn.experiments.tables import Tables

SMALL = {"dataset": "SyntheticCora", "epochs": 3, "hidden_channels": 4}


@pytest.fixture
def trained(monkeypatch):
    """The chunks of seeds that were really trained, in order."""
    chunks, train = [], experiments.train

    def spy(configs, **options):
        chunks.append([config.seed for config in configs])
        return train(configs, **options)

    monkeypatch.setattr(experiments, "train", spy)
    return chunks


def test_grid_has_every_combination_in_order():
    configs = grid(["LeakyReLU", "ReLU"], num_layers=[5, 0], seed=range(2), lr=0.1)
    keys = [(c.method, c.num_layers, c.seed) for c in configs]
    assert keys == [(m, d, s) for m in ("LeakyReLU", "ReLU") for d in (5, 0) for s in (0, 1)]
    assert {c.act for c in configs if c.method == "LeakyReLU"} == {"leaky_relu"}
    assert {c.lr for c in configs} == {0.1}


def test_arms_of_ones_own():
    (config,) = grid({"half": {"strip": True, "amount": 0.5}}, num_layers=np.array([3]))
    assert (config.method, config.strip, config.amount, config.num_layers) == ("half", True, 0.5, 3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"methods": ["ReLu"]}, ValueError, r"method must be one of .*'ReLu'"),
        ({"methods": []}, ValueError, "methods must have at least one entry"),
        ({"seed": []}, ValueError, "seed must have at least one entry"),
        ({"num_layers": [2, 3, 2]}, ValueError, "num_layers=2 and seed=0 was passed twice"),
        ({"num_layers": [2, "x"]}, ValidationError, "num_layers"),
        ({"depth": 3}, ValidationError, "depth"),
    ],
)
def test_bad_grids_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        grid(**{"methods": ["ReLU"], **arguments})


@pytest.mark.parametrize("n_jobs", [0, True, 1.5])
def test_bad_numbers_of_jobs_are_refused(n_jobs):
    with pytest.raises(ValueError, match=f"n_jobs must be .*{n_jobs}"):
        run_grid(grid(["ReLU"], **SMALL), n_jobs=n_jobs, cache=None)


def test_an_empty_list_is_refused():
    with pytest.raises(ValueError, match="configs must have at least one entry"):
        run_grid([])


def assert_same(tables: Tables, other: Tables):
    for name in ("runs", "epochs", "layers"):
        pd.testing.assert_frame_equal(getattr(tables, name), getattr(other, name), check_exact=True)
    for state, again in zip(tables.states, other.states, strict=True):
        assert all(torch.equal(value, again[name]) for name, value in state.items())


def test_only_what_is_new_is_trained(tmp_path, trained):
    first = run_grid(grid(["ReLU"], num_layers=[2], seed=range(3), **SMALL), cache=tmp_path)
    assert trained == [[0, 1, 2]]
    again = run_grid(grid(["ReLU"], num_layers=[2], seed=range(3), **SMALL), cache=tmp_path)
    assert len(trained) == 1
    assert_same(first, again)
    run_grid(grid(["ReLU"], num_layers=[3, 2], seed=range(4), **SMALL), cache=tmp_path)
    assert trained[1:] == [[0, 1, 2, 3], [3]]
    more = run_grid(grid(["ReLU"], num_layers=[2], seed=range(12), **SMALL), cache=tmp_path)
    assert sorted(trained[3:]) == [[4], [5, 6, 7, 8, 9], [10, 11]]  # blocks of five, whatever is asked for
    assert_same(more, run_grid(more.configs, cache=None))


def test_on_cuda_a_run_is_known_by_those_beside_it():
    def chunks(seeds, kind, known=()):
        configs = grid(["ReLU", "ReLU + pruning"], seed=seeds, **SMALL)
        blocks = experiments._blocks(configs, kind)
        keys = {config: experiments._key(config, kind, blocks) for config in configs}
        results = {keys[config]: {} for config in configs if config.seed in known}
        return keys, [
            [c.seed for c in chunk.values()] for chunk in experiments._chunks(blocks, keys, results, kind)
        ]

    few, many = chunks(range(3), "cuda")[0], chunks(range(4), "cuda")[0]
    assert not set(few.values()) & set(many.values())
    assert set(chunks(range(3), "cpu")[0].values()) < set(chunks(range(4), "cpu")[0].values())
    assert chunks(range(150), "cuda")[1] == 2 * [list(range(100))] + 2 * [list(range(100, 150))]
    assert chunks(range(4), "cuda", known=[1])[1] == 2 * [[0, 1, 2, 3]]  # a block is trained whole
    assert chunks(range(4), "cpu", known=[1])[1] == 2 * [[0, 2, 3]]


def test_workers_compute_with_one_thread():
    with joblib.Parallel(n_jobs=2) as pool:
        threads = pool(joblib.delayed(threads_after_training)(seed) for seed in range(2))
    assert threads == [1, 1]


def threads_after_training(seed):
    torch.set_num_threads(2)  # whatever the worker was started with
    experiments.train([Config(seed=seed, num_layers=1, **SMALL)], device="cpu")
    return torch.get_num_threads()


def test_a_label_retrains_nothing_and_a_setting_does(tmp_path, trained):
    run_grid(grid({"one": {}}, **SMALL), cache=tmp_path)
    assert run_grid(grid({"two": {}}, **SMALL), cache=tmp_path).runs["method"].tolist() == ["two"]
    assert len(trained) == 1
    run_grid(grid({"one": {"lr": 0.1}}, **SMALL), cache=tmp_path)
    assert len(trained) == 2


def test_changed_sources_retrain(tmp_path, trained, monkeypatch):
    configs = grid(["ReLU"], **SMALL)
    run_grid(configs, cache=tmp_path)
    monkeypatch.setattr(experiments, "SOURCES", "others")
    run_grid(configs, cache=tmp_path)
    assert len(trained) == 2


def test_an_edit_in_the_middle_of_a_session_is_noticed():
    with pytest.raises(RuntimeError, match="restart the kernel"):
        experiments._train_chunk(0, grid(["ReLU"], **SMALL), "cpu", "sources of another time", 0)


def test_a_damaged_entry_is_trained_again(tmp_path, trained, capsys):
    configs = grid(["ReLU"], **SMALL)
    first = run_grid(configs, cache=tmp_path)
    (entry,) = tmp_path.rglob("*.run")
    entry.write_bytes(entry.read_bytes()[:-20])
    assert_same(first, run_grid(configs, cache=tmp_path))
    assert len(trained) == 2
    assert f"{entry} is damaged (its checksum does not fit)" in capsys.readouterr().err
    assert_same(first, run_grid(configs, cache=tmp_path))
    assert len(trained) == 2


def test_the_modules_in_the_key_are_those_that_training_imports():
    package, found, new = Path(experiments.__file__).parent, set(), {"training"}
    while new:
        found |= new
        sources = [ast.walk(ast.parse((package / f"{name}.py").read_text())) for name in new]
        imports = [node.module or "" for tree in sources for node in tree if isinstance(node, ast.ImportFrom)]
        new = {module.removeprefix("deadgcn.") for module in imports if module.startswith("deadgcn.")}
        new -= found
    assert set(TRAINING_MODULES) == found | {"__init__"}  # which sets the environment, and comes with each


def test_results_do_not_depend_on_the_number_of_processes(monkeypatch):
    monkeypatch.setattr(experiments, "WORTH_A_PROCESS", 1)
    configs = grid(["ReLU", "ReLU + pruning"], num_layers=[1, 3], seed=range(2), **SMALL)
    calls, parallel = [], joblib.Parallel

    def spy(n_jobs, **options):
        calls.append(n_jobs)
        return parallel(n_jobs=n_jobs, **options)

    monkeypatch.setattr(experiments, "Parallel", spy)
    assert_same(run_grid(configs, n_jobs=1, cache=None), run_grid(configs, n_jobs=2, cache=None))
    assert calls == [1, 2]


def test_an_error_while_training_is_not_swallowed(monkeypatch):
    def fail(configs, **options):
        raise RuntimeError("no memory left")

    monkeypatch.setattr(experiments, "train", fail)
    with pytest.raises(RuntimeError, match="no memory left"):
        run_grid(grid(["ReLU"], **SMALL), cache=None)


def test_what_was_finished_before_an_interruption_is_kept(tmp_path, monkeypatch):
    train, chunks = experiments.train, []

    def interrupted(configs, **options):
        chunks.append(configs[0].num_layers)
        if len(chunks) == 2:
            raise KeyboardInterrupt
        return train(configs, **options)

    monkeypatch.setattr(experiments, "train", interrupted)
    configs = grid(["ReLU"], num_layers=[1, 3], **SMALL)
    with pytest.raises(KeyboardInterrupt):
        run_grid(configs, cache=tmp_path)
    run_grid(configs, cache=tmp_path)
    assert chunks == [3, 1, 1]  # the deepest first, and not again


def test_a_config_given_twice_is_refused():
    with pytest.raises(ValueError, match="passed twice"):
        run_grid([Config(), Config()])
