"""The workers of a Dask cluster in the place of this machine's, for joblib's calls inside `workers_of`.

joblib's own backend waits for ever, without a word, when the cluster gives a task up, when its scheduler is
gone and when no worker is left. The one here ends the call and says why.
"""

import asyncio
import contextlib
import importlib.util
import pickle
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any

from joblib import parallel_config

try:
    import cloudpickle
    from distributed import Client, rpc
except ImportError as error:
    raise ImportError(
        "a Dask scheduler needs the package distributed, which is not installed here; "
        "install it with: pip install 'deadgcn[cluster]'"
    ) from error
from joblib._dask import DaskDistributedBackend

SECONDS_TO_CONNECT = 10
PATIENCE = 300  # seconds without any worker: in a batch system new ones may come
# Every chunk is handed over at once and alone, so that workers that join later find some to do.
OPTIONS = {"n_jobs": -1, "pre_dispatch": "all", "batch_size": 1}


class ClusterError(RuntimeError):
    """The cluster cannot be reached, has no worker left, or gave a task up."""


@contextlib.contextmanager
def workers_of(address: str) -> Iterator[dict[str, Any]]:
    """Let ``joblib.Parallel`` inside this context, with the options given, use a scheduler's workers.

    The connection is closed at the end, whatever happens; a task that a worker has begun is then finished
    there for nothing. Raises ClusterError if nothing answers at the address within seconds, and, here or from
    the call inside, once there has been no worker for :data:`PATIENCE` seconds, the scheduler is gone, or a
    task is given up: after several workers died on it, say. Errors of the tasks themselves are raised as
    they are.
    """
    _greet(address)
    client = Client(address, timeout=SECONDS_TO_CONNECT, set_as_default=False, name="deadgcn")
    with client:
        _wait_for_a_worker(client, address)
        _refuse_bare_workers(client)
        with parallel_config(backend=_Watched(client, address)):
            yield OPTIONS


def _greet(address: str) -> None:
    """Raise ClusterError unless a scheduler answers: Client waits for ever for whatever else is there."""

    async def identity() -> dict:
        async with rpc(address) as there:
            return await there.identity()

    async def in_time() -> dict:
        return await asyncio.wait_for(identity(), SECONDS_TO_CONNECT)

    try:
        with ThreadPoolExecutor(1) as pool:  # in a notebook this thread has a loop that is running already
            kind = pool.submit(asyncio.run, in_time()).result()["type"]
    except Exception as error:  # whatever it is that somebody else's service makes it say
        reason = " ".join(str(error).split()) or f"no answer in {SECONDS_TO_CONNECT} seconds"
        raise ClusterError(f"no Dask scheduler could be reached at {address}: {reason}") from error
    if kind != "Scheduler":
        raise ClusterError(f"a Dask {kind.lower()}, not a scheduler, was found at {address}")


def _wait_for_a_worker(client: Client, address: str) -> None:
    if not client.nthreads():
        _say(f"no worker is connected to {address} yet; waiting up to {PATIENCE} seconds for one")
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError as error:
        raise ClusterError(_alone(address)) from error


def _refuse_bare_workers(client: Client) -> None:
    """Raise ClusterError for a worker without this module: its first task would end it unheard."""
    found = client.run(importlib.util.find_spec, __name__, on_error="return")
    for worker, spec in found.items():
        if spec is None or isinstance(spec, ImportError):
            remedy = "start it with the Python of a copy of this project"
            raise ClusterError(f"the worker {worker} cannot import {__name__}; {remedy}")


def _call(task: bytes) -> Any:
    function, arguments, options = pickle.loads(task)
    return function(*arguments, **options)


def _alone(address: str) -> str:
    return (
        f"no worker was connected to the scheduler {address} for {PATIENCE} seconds; start workers and run "
        "again: finished runs are kept"
    )


def _say(text: str) -> None:
    # The carriage return makes it a line of progress: shown, but not kept in executed notebooks.
    print(f"{text}\r", file=sys.stderr)


class _Watched(DaskDistributedBackend):
    """joblib's backend, which tells its caller also of what is not an answer of a task."""

    def __init__(self, client: Client, address: str) -> None:
        super().__init__(client=client)
        self.address = address
        self.answers: list[Future] = []

    def effective_n_jobs(self, n_jobs: int) -> int:
        """At least 2: of one, joblib makes a loop in this process, and the cluster would see nothing."""
        return max(2, super().effective_n_jobs(n_jobs))

    def start_call(self) -> None:
        super().start_call()
        self.client.loop.add_callback(self._watch)

    def submit(self, func: Callable, callback: Callable) -> Future:
        # As bytes: the scheduler unpacks what it passes on, and would answer nobody while it imports torch.
        func.items = [(_call, (cloudpickle.dumps(task),), {}) for task in func.items]
        answer = super().submit(func, callback)
        # An exception is what joblib only notes here, and then calls nobody back.
        answer.add_done_callback(lambda done: callback(done) if done.exception() else None)
        self.answers.append(answer)
        return answer

    def retrieve_result_callback(self, out: Any) -> Any:
        if isinstance(out, CancelledError):
            raise ClusterError(f"the scheduler {self.address} is gone; finished runs are kept") from out
        if isinstance(out, Future):
            error = out.exception()
            if isinstance(error, ClusterError):
                raise error
            reason = " ".join(str(error).split())
            raise ClusterError(f"the cluster at {self.address} gave a task up: {reason}") from error
        return super().retrieve_result_callback(out)

    async def _watch(self) -> None:
        """End the call when there has been no worker for too long."""
        seen, told = time.monotonic(), False
        while self._continue and time.monotonic() - seen < PATIENCE:
            await asyncio.sleep(1)
            # A scheduler that does not answer counts as one without workers.
            with contextlib.suppress(OSError, TimeoutError):
                if await asyncio.wait_for(self.client.nthreads(), timeout=SECONDS_TO_CONNECT):
                    seen, told = time.monotonic(), False
            if not told and time.monotonic() - seen > SECONDS_TO_CONNECT:
                _say(f"no worker is connected to {self.address}; waiting up to {PATIENCE} seconds for one")
                told = True
        pending = [answer for answer in self.answers if not answer.done()]
        if self._continue and pending:
            pending[0].set_exception(ClusterError(_alone(self.address)))
