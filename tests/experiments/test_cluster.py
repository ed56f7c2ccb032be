"""Training on a Dask cluster: refusals and, with the faults, real processes that are killed."""

import json
import subprocess
import sys
import threading
import time

import pytest
from distributed import Client
from experiments.test_grid import SMALL, assert_same

from deadgcn.config import PROJECT
from deadgcn.experiments import parallel
from deadgcn.experiments.grid import grid, run_grid

NOWHERE = "tcp://127.0.0.1:1"


def test_where_no_scheduler_answers_there_is_an_error_in_time(monkeypatch):
    monkeypatch.setattr(parallel, "CONNECT_SECONDS", 0.5)
    start = time.monotonic()
    with pytest.raises(OSError, match=NOWHERE):
        run_grid(grid(["ReLU"], **SMALL), cache=None, scheduler=NOWHERE)
    assert time.monotonic() - start < 60


def test_finished_runs_need_no_cluster(tmp_path):
    configs = grid(["ReLU"], **SMALL)
    first = run_grid(configs, cache=tmp_path)
    assert_same(first, run_grid(configs, cache=tmp_path, scheduler=NOWHERE))


class Cluster:
    """A scheduler and workers of one thread each, as processes on this machine."""

    def __init__(self, folder):
        self.folder, self.file, self.workers = folder, folder / "scheduler.json", []
        self.scheduler = self.start("scheduler", "--host", "127.0.0.1", "--port", "0")
        while not self.file.exists():
            time.sleep(0.05)
        self.address = json.loads(self.file.read_text())["address"]

    def add_worker(self):
        options = ("--nthreads", "1", "--no-nanny", "--local-directory", str(self.folder))
        self.workers.append(self.start("worker", *options))

    def start(self, *arguments):
        options = ("--no-dashboard", "--scheduler-file", str(self.file))
        with open(self.folder / "log", "a") as log:
            command = [sys.executable, "-m", "dask", *arguments, *options]
            return subprocess.Popen(command, cwd=PROJECT, stdout=log, stderr=log)


@pytest.fixture
def cluster(tmp_path):
    cluster = Cluster(tmp_path)
    yield cluster
    for process in (*cluster.workers, cluster.scheduler):
        process.kill()
        process.wait(timeout=30)


def run(address, work, number):
    """Let the cluster work on so many chunks of one config."""
    chunks = [[config] for config in grid(["ReLU"], seed=range(number), **SMALL)]
    return parallel.run_chunks(work, chunks, {}, scheduler=address)


@pytest.mark.faults
def test_a_worker_killed_in_the_middle_changes_no_number(cluster, tmp_path):
    configs = grid(["ReLU + pruning"], dataset="SyntheticCora", num_layers=3, seed=range(20), epochs=15)
    for _ in range(2):
        cluster.add_worker()
    with Client(cluster.address) as client:
        client.wait_for_workers(2, timeout=60)
    kept = []

    def kill_one():
        while not kept:
            kept[:] = (tmp_path / "cache").rglob("*.run")
            time.sleep(0.02)
        cluster.workers[0].kill()

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    tables = run_grid(configs, cache=tmp_path / "cache", scheduler=cluster.address)
    killer.join(timeout=1)
    assert len(kept) < 20 == len(list((tmp_path / "cache").rglob("*.run")))
    assert_same(tables, run_grid(configs, cache=None))


@pytest.mark.faults
def test_late_workers_errors_and_lost_clusters(cluster, monkeypatch):
    late = threading.Timer(1, cluster.add_worker)
    late.start()
    assert len(run(cluster.address, lambda configs: [{"run": 1}], 2)) == 2
    late.join()
    with pytest.raises(ZeroDivisionError):
        run(cluster.address, lambda configs: 1 / 0, 3)
    with monkeypatch.context() as patch:
        patch.setattr(parallel, "SOURCES", "others")
        with pytest.raises(RuntimeError, match="other source files"):
            run(cluster.address, list, 1)
    monkeypatch.setattr(parallel, "WORKER_SECONDS", 3)
    threading.Timer(2, cluster.workers[0].kill).start()
    with pytest.raises(TimeoutError, match="worker"):
        run(cluster.address, lambda configs: time.sleep(60), 2)
    cluster.add_worker()
    monkeypatch.setattr(parallel, "WORKER_SECONDS", 30)
    threading.Timer(6, cluster.scheduler.kill).start()
    with pytest.raises(Exception, match="connection to the scheduler"):
        run(cluster.address, lambda configs: time.sleep(60), 2)
