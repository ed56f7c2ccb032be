"""A notebook in a kernel of its own, by papermill, and the end of all kernels and their workers."""

import contextlib
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from outputs import RunError


def execute(notebook: Path, given: dict[str, Any]) -> Any:
    """Execute a notebook and return it. If RunError, it is in build/failed as far as it ran."""
    import papermill  # slow to import
    from jupyter_core.utils import ensure_event_loop
    from traitlets.config import Config

    # Kernels that start side by side race for TCP ports; sockets in folders of their own cannot collide.
    # Jupyter makes an event loop for each thread, and leaves it open.
    with tempfile.TemporaryDirectory(prefix="kernel-") as own, contextlib.closing(ensure_event_loop()):
        executed, replies = Path(own, notebook.name), []
        kernel = {"transport": "ipc", "connection_file": f"{own}/kernel.json", "ip": f"{own}/socket"}
        kernel["shutdown_wait_time"] = 1.0  # SIGTERM after half of it: unloading torch takes two seconds
        try:
            nb = papermill.execute_notebook(
                notebook,
                executed,
                given,
                kernel_name="python3",  # not the name stored in the notebook
                language="python",
                cwd=notebook.parent,
                progress_bar=False,
                coalesce_streams=True,
                stderr_file=sys.stderr,  # progress bars and warnings
                on_cell_executed=lambda execute_reply, **_: replies.append(execute_reply["content"]),
                config=Config(KernelManager=kernel),
                # The libraries' objects stay; looking for garbage among them takes a second a notebook.
                extra_arguments=["--IPKernelApp.exec_lines=import gc; gc.set_threshold(50_000)"],
            )
            if any(reply["status"] != "ok" for reply in replies):  # papermill looks for the outputs of errors
                raise RuntimeError("a cell failed and shows no error; does it call sys.exit?")
            return nb
        except Exception as error:  # a kernel that does not start, or has too few file handles, can raise any
            lost = [f"{r['ename']}: {r['evalue']}" for r in replies if r.get("ename", "") not in str(error)]
            failed = notebook.parents[1] / "build" / "failed" / notebook.name
            try:
                failed.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(executed, failed)
                place = f"see {failed}"
            except OSError as full:
                place = f"the notebook as far as it ran is not kept: {full}"
            told = "\n".join([f"{notebook.stem}: {type(error).__name__}: {error}", *lost, place])
            raise RunError(told) from error


def kill_kernels() -> None:
    """Kill kernels and their workers, until this process ends: a notebook may be about to start one."""
    while True:
        for kernel in psutil.Process().children():
            with contextlib.suppress(psutil.NoSuchProcess):
                kernel.suspend()  # so that it starts no more workers
                for worker in kernel.children(recursive=True):
                    worker.terminate()  # joblib's resource trackers ignore it and clean up
                kernel.kill()
        time.sleep(0.1)
