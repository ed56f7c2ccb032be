"""Training on a Dask cluster: what is refused at once and, with the faults, a real one that loses parts."""

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
from joblib import Parallel, delayed
from test_experiments import assert_same

from deadgcn.experiments import cluster
from deadgcn.experiments import grid as experiments
from deadgcn.experiments.cluster import ClusterError, workers_of
from deadgcn.experiments.grid import grid, run_grid

ROOT = Path(__file__).parents[2]
SMALL = {"dataset": "SyntheticCora", "epochs": 3, "hidden_channels": 4}
NOWHERE = "tcp://127.0.0.1:1"


@pytest.fixture
def nothing_trains(monkeypatch):
    monkeypatch.setattr(experiments, "train", lambda *_, **__: pytest.fail("training has begun"))


@pytest.mark.parametrize("address", ["host:8786", "http://host:1", "tcp://host", "tcp://a b:1", 8786])
def test_an_address_of_another_form_is_refused(address, nothing_trains):
    with pytest.raises(ValueError, match=f"scheduler must be an address such as .* but {address!r} was"):
        run_grid(grid(["ReLU"], **SMALL), cache=None, scheduler=address)


def test_without_its_packages_a_scheduler_is_refused(monkeypatch, nothing_trains):
    monkeypatch.delitem(sys.modules, "deadgcn.experiments.cluster")
    monkeypatch.delattr("deadgcn.experiments.cluster")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"pip install 'deadgcn\[cluster\]'"):
        run_grid(grid(["ReLU"], **SMALL), cache=None, scheduler=NOWHERE)


def test_where_no_scheduler_answers_there_is_an_error_in_time(monkeypatch, nothing_trains):
    monkeypatch.setattr(cluster, "SECONDS_TO_CONNECT", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # which takes the call and says nothing
        for address in (NOWHERE, f"tcp://127.0.0.1:{silent.getsockname()[1]}"):
            start = time.monotonic()
            with pytest.raises(
                ClusterError, match=f"no Dask scheduler could be reached at {address}: no ans"
            ):
                run_grid(grid(["ReLU"], **SMALL), cache=None, scheduler=address)
            assert time.monotonic() - start < 5


def test_finished_runs_need_no_cluster(tmp_path):
    configs = grid(["ReLU"], **SMALL)
    first = run_grid(configs, cache=tmp_path)
    assert_same(first, run_grid(configs, cache=tmp_path, scheduler=NOWHERE))


class Cluster:
    """A scheduler and workers of one thread each, as processes on this machine."""

    def __init__(self, folder, workers):
        self.folder, self.file = folder, folder / "scheduler.json"
        self.scheduler = self.start("scheduler", "--host", "127.0.0.1", "--port", "0")
        while not self.file.exists():
            time.sleep(0.05)
        self.address = json.loads(self.file.read_text())["address"]
        options = ("--nthreads", "1", "--no-nanny", "--local-directory", str(folder))
        self.workers = [self.start("worker", *options) for _ in range(workers)]
        with Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=60)

    def start(self, *arguments):
        command = [sys.executable, "-m", "dask", *arguments, "--no-dashboard"]
        # One death of a worker is forgiven a task, a second one is not.
        env = os.environ | {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}
        with open(self.folder / "log", "a") as log:
            options = {"cwd": ROOT, "env": env, "stdout": log, "stderr": log}
            return subprocess.Popen([*command, "--scheduler-file", str(self.file)], **options)

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


def no_connection_is_left():
    return not [thread.name for thread in threading.enumerate() if "IO loop" in thread.name]


@pytest.mark.faults
def test_a_worker_killed_in_the_middle_changes_no_number(start, tmp_path):
    options = {"dataset": "SyntheticCora", "epochs": 15, "hidden_channels": 16}
    arms = {"Swish": {"act": lambda z: z * torch.sigmoid(z)}, "ReLU + pruning": {"strip": True}}
    configs = grid(arms, num_layers=[3, 5], seed=range(15), **options)
    some, kept = start(2), []

    def kill_one():
        while len(kept) < 10:  # two chunks of twelve
            time.sleep(0.05)
            kept[:] = (tmp_path / "cache").rglob("*.run")
        some.workers[0].kill()

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    tables = run_grid(configs, cache=tmp_path / "cache", scheduler=some.address)
    killer.join(timeout=1)
    assert some.workers[0].poll() == -signal.SIGKILL and 10 <= len(kept) < 50
    assert len(list((tmp_path / "cache").rglob("*.run"))) == len(configs)
    assert_same(tables, run_grid(configs, cache=None))
    assert_same(tables, run_grid(configs, cache=tmp_path / "cache", scheduler=NOWHERE))  # all are found there
    assert no_connection_is_left()
    with Client(some.address, set_as_default=False) as client:
        assert list(client.processing().values()) == [()]  # one worker, and nothing to do


@pytest.mark.faults
def test_what_a_lone_worker_says_is_heard(start, monkeypatch):
    address = start(1).address
    with workers_of(address) as options:
        assert os.getpid() not in Parallel(**options)(delayed(os.getpid)() for _ in range(3))
    monkeypatch.setattr(cluster, "__name__", "deadgcn.of_another_time")
    with pytest.raises(ClusterError, match=r"worker tcp://.* cannot import deadgcn\.of_another_time"):
        run_grid(grid(["ReLU"], **SMALL), cache=None, scheduler=address)
    monkeypatch.undo()
    monkeypatch.setattr(experiments, "SOURCES", "others")
    with pytest.raises(RuntimeError, match="has another text of it"):
        run_grid(grid(["ReLU"], **SMALL), cache=None, scheduler=address)
    assert no_connection_is_left()


@pytest.mark.faults
def test_a_task_that_ends_its_workers_is_given_up(start):
    address = start(2).address
    with pytest.raises(ClusterError, match=r"gave a task up: .* 2 different workers"):
        with workers_of(address) as options:
            Parallel(**options)(delayed(os._exit)(1) for _ in range(1))
    assert no_connection_is_left()


@pytest.mark.faults
@pytest.mark.parametrize("lost", ["workers", "scheduler"])
def test_a_cluster_that_is_gone_is_not_waited_for_for_ever(start, monkeypatch, lost):
    some = start(1)
    with pytest.raises(ClusterError) as caught, workers_of(some.address) as options:
        monkeypatch.setattr(cluster, "PATIENCE", 3)
        victim = some.workers[0] if lost == "workers" else some.scheduler
        threading.Timer(2, victim.kill).start()
        Parallel(**options)(delayed(time.sleep)(60) for _ in range(2))
    expected = {"workers": "no worker was connected to the scheduler", "scheduler": "is gone"}
    assert expected[lost] in str(caught.value) and some.address in str(caught.value)
    assert no_connection_is_left()
