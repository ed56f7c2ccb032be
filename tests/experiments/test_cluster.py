"""Training on a Dask cluster: refusals and, with the faults, real processes that are killed."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from distributed import Client
from distributed.scheduler import KilledWorker
from experiments.test_grid import SMALL, assert_same

from deadgcn.experiments import parallel
from deadgcn.experiments.grid import grid, run_grid

ROOT = Path(__file__).parents[2]
NOWHERE = "tcp://127.0.0.1:1"


def test_without_distributed_a_scheduler_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"pip install 'deadgcn\[cluster\]'"):
        run_grid(grid(["ReLU"], **SMALL), cache=None, scheduler=NOWHERE)


def test_where_no_scheduler_answers_there_is_an_error_in_time(monkeypatch):
    monkeypatch.setattr(parallel, "CONNECT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts the connection and says nothing
        for address in (NOWHERE, f"tcp://127.0.0.1:{silent.getsockname()[1]}", "tcp://127.0.0.1"):
            start = time.monotonic()
            with pytest.raises(ConnectionError, match=address):
                run_grid(grid(["ReLU"], **SMALL), cache=None, scheduler=address)
            assert time.monotonic() - start < 60


def test_finished_runs_need_no_cluster(tmp_path):
    configs = grid(["ReLU"], **SMALL)
    first = run_grid(configs, cache=tmp_path)
    assert_same(first, run_grid(configs, cache=tmp_path, scheduler=NOWHERE))


class Cluster:
    """A scheduler and workers of one thread each, as processes on this machine."""

    def __init__(self, folder, workers):
        self.folder, self.file, self.workers = folder, folder / "scheduler.json", []
        self.scheduler = self.start("scheduler", "--host", "127.0.0.1", "--port", "0")
        while not self.file.exists():
            time.sleep(0.05)
        self.address = json.loads(self.file.read_text())["address"]
        for _ in range(workers):
            self.add_worker()

    def add_worker(self):
        options = ("--nthreads", "1", "--no-nanny", "--local-directory", str(self.folder))
        self.workers.append(self.start("worker", *options))
        with Client(self.address) as client:
            client.wait_for_workers(sum(one.poll() is None for one in self.workers), timeout=60)

    def start(self, *arguments):
        command = [
            sys.executable,
            "-m",
            "dask",
            *arguments,
            "--no-dashboard",
            "--scheduler-file",
            str(self.file),
        ]
        env = os.environ | {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}  # a second one is an error
        with open(self.folder / "log", "a") as log:
            return subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log)

    def end(self):
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait(timeout=30)


@pytest.fixture
def start(tmp_path):
    """Starts clusters of so many workers, which end with the test."""
    started = []

    def start(workers):
        started.append(Cluster(tmp_path, workers))
        return started[-1]

    yield start
    for one in started:
        one.end()
    assert not [thread for thread in threading.enumerate() if "IO loop" in thread.name]


def run(address, work, number):
    """Let the cluster work on so many chunks of one config."""
    configs = grid(["ReLU"], seed=range(number), **SMALL)
    keys = dict.fromkeys(configs)
    return parallel.run_chunks(work, [[config] for config in configs], keys, cache=None, scheduler=address)


@pytest.mark.faults
def test_a_worker_killed_in_the_middle_changes_no_number(start, tmp_path):
    options = {"dataset": "SyntheticCora", "epochs": 15, "hidden_channels": 16}
    arms = {"Swish": {"act": lambda z: z * torch.sigmoid(z)}, "ReLU + pruning": {"strip": True}}
    configs = grid(arms, num_layers=3, seed=range(15), **options)
    some, kept = start(2), []

    def kill_one():
        while len(kept) < 5:  # one of the three chunks that the cache keeps
            time.sleep(0.05)
            kept[:] = (tmp_path / "cache").rglob("*.run")
        some.workers[0].kill()

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    tables = run_grid(configs, cache=tmp_path / "cache", scheduler=some.address)
    killer.join(timeout=1)
    assert some.workers[0].poll() == -signal.SIGKILL and 5 <= len(kept) < 15
    assert len(list((tmp_path / "cache").rglob("*.run"))) == 15  # functions are not cached
    assert_same(tables, run_grid(configs, cache=None))
    with Client(some.address) as client:
        assert list(client.processing().values()) == [()]  # one worker, and nothing left to do


@pytest.mark.faults
def test_errors_of_tasks_and_workers_are_raised(start, monkeypatch):
    some = start(2)
    with pytest.raises(ZeroDivisionError):
        run(some.address, lambda configs: 1 / 0, 3)
    with Client(some.address) as client:
        worker = next(iter(client.nthreads()))
    with pytest.raises(ConnectionError, match="worker"):
        run(worker, list, 1)
    with monkeypatch.context() as patch:
        patch.setattr(parallel, "SOURCES", "others")
        with pytest.raises(RuntimeError, match="other source files"):
            run(some.address, list, 1)
    with pytest.raises(KilledWorker):
        run(some.address, lambda configs: os._exit(1), 1)


@pytest.mark.faults
def test_work_waits_for_the_first_worker(start):
    some = start(0)
    late = threading.Timer(1, some.add_worker)
    late.start()
    assert len(run(some.address, lambda configs: [{"run": 1}], 2)) == 2
    late.join()


@pytest.mark.faults
def test_a_lost_cluster_is_an_error(start, monkeypatch):
    some = start(1)
    monkeypatch.setattr(parallel, "WORKER_SECONDS", 3)
    threading.Timer(2, some.workers[0].kill).start()
    with pytest.raises(ConnectionError, match=some.address):
        run(some.address, lambda configs: time.sleep(60), 2)
    some.add_worker()
    threading.Timer(2, some.scheduler.kill).start()
    with pytest.raises(Exception, match="connection to the scheduler"):
        run(some.address, lambda configs: time.sleep(60), 2)
