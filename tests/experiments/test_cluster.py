"""Training on a Dask cluster; with the faults, on real processes that are killed."""

import os
import signal
import threading
import time

import pytest
from distributed import Client, LocalCluster
from experiments.test_grid import SMALL, assert_same

from deadgcn.experiments import parallel
from deadgcn.experiments.grid import grid, run_grid

NOWHERE = "tcp://127.0.0.1:1"


@pytest.mark.parametrize("address", [NOWHERE, "nowhere"])
def test_where_no_scheduler_answers_there_is_an_error(monkeypatch, address):
    monkeypatch.setattr(parallel, "CONNECT_SECONDS", 0.5)
    with pytest.raises((OSError, ValueError), match=address):
        run_grid(grid(["ReLU"], **SMALL), cache=None, scheduler=address)


def test_finished_runs_need_no_cluster(tmp_path):
    configs = grid(["ReLU"], **SMALL)
    first = run_grid(configs, cache=tmp_path)
    assert_same(first, run_grid(configs, cache=tmp_path, scheduler=NOWHERE))


@pytest.fixture
def cluster():
    with LocalCluster(n_workers=0, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster


def run(cluster, work, number=1):
    """Let the cluster work on so many chunks of one config."""
    configs = grid(["ReLU"], seed=range(number), **SMALL)
    return parallel.run_chunks(work, configs, hash, cache=None, scheduler=cluster.scheduler_address)


@pytest.mark.faults
def test_a_worker_killed_in_the_middle_changes_no_number(cluster, tmp_path):
    configs = grid(["ReLU + pruning"], dataset="SyntheticCora", num_layers=3, seed=range(20), epochs=15)
    cluster.scale(2)
    with Client(cluster.scheduler_address) as client:
        client.wait_for_workers(2, timeout=60)
        victim = next(iter(client.run(os.getpid).values()))
    kept = []

    def kill_one():
        while not kept:
            kept[:] = tmp_path.rglob("*.run")
            time.sleep(0.02)
        os.kill(victim, signal.SIGKILL)

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    tables = run_grid(configs, cache=tmp_path, scheduler=cluster.scheduler_address)
    killer.join(timeout=1)
    assert len(kept) < 20 == len(list(tmp_path.rglob("*.run")))
    assert_same(tables, run_grid(configs, cache=None))


@pytest.mark.faults
def test_late_workers_are_waited_for_and_errors_are_raised(cluster, monkeypatch):
    threading.Timer(1, cluster.scale, (1,)).start()
    assert len(run(cluster, lambda configs: [{"run": 1}], 2)) == 2
    with pytest.raises(ZeroDivisionError):
        run(cluster, lambda configs: 1 / 0)
    with monkeypatch.context() as patch:
        patch.setattr(parallel, "SOURCES", "others")
        with pytest.raises(RuntimeError, match="other sources"):
            run(cluster, list)
    monkeypatch.setattr(parallel, "WORKER_SECONDS", 3)
    threading.Timer(1, cluster.scale, (0,)).start()
    with pytest.raises(TimeoutError, match="worker"):
        run(cluster, lambda configs: time.sleep(30))
