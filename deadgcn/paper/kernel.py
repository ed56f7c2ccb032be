"""The kernel that notebooks run in: this environment's own Python, whatever else the machine has.

Other kernels, a user's Jupyter, IPython and matplotlib configuration, PYTHONPATH and its kin do not reach it.
"""

import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from traitlets import Unicode

# What a shell may hold that would change what a notebook imports, checks, computes or draws. All that begins
# with PYTHON goes, too: PYTHONOPTIMIZE, say, switches assertions off.
FOREIGN = (
    "IPYTHONDIR",
    "JUPYTER_CONFIG_DIR",
    "JUPYTER_CONFIG_PATH",
    "JUPYTER_PATH",
    "MKL_CBWR",
    "MPLBACKEND",
)


class Kernel(AsyncKernelManager):
    """Starts the kernel with its files in a folder of its own, and what it prints there in a log."""

    folder = Unicode(help="for sockets, and for the settings that IPython finds").tag(config=True)
    log_path = Unicode(help="file that gets what the process itself prints").tag(config=True)

    @property
    def kernel_spec(self) -> KernelSpec:
        """The one kernel there is."""
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=command, display_name="Python 3", language="python", resource_dir=self.folder)

    async def _async_launch_kernel(self, kernel_cmd: list[str], **kw: Any) -> None:
        kw["env"] = environment(kw.get("env") or os.environ, self.folder)
        with open(self.log_path, "ab") as log:
            await super()._async_launch_kernel(kernel_cmd, **kw | {"stdout": log, "stderr": log})

    _launch_kernel = _async_launch_kernel


def environment(env: dict[str, str], folder: str) -> dict[str, str]:
    """The environment without what is foreign to the study; IPython's folder is an empty one."""
    kept = {name: value for name, value in env.items() if not name.startswith("PYTHON")}
    kept = {name: value for name, value in kept.items() if name not in FOREIGN}
    matplotlib = Path(importlib.util.find_spec("matplotlib").origin).parent
    return kept | {
        "IPYTHONDIR": folder,
        "MATPLOTLIBRC": str(matplotlib / "mpl-data" / "matplotlibrc"),
        "PYTHONNOUSERSITE": "1",
        "PYTHONHASHSEED": "0",
    }


def settings(folder: str, log_path: Path) -> dict[str, dict[str, str]]:
    """What the kernel manager is told, as traitlets' configuration.

    Kernels that start side by side race for TCP ports; sockets in a folder of their own cannot meet.
    """
    files = {"connection_file": str(Path(folder, "kernel.json")), "ip": str(Path(folder, "socket"))}
    return {"Kernel": {"transport": "ipc", "folder": folder, "log_path": str(log_path), **files}}


def temporary_folder() -> tempfile.TemporaryDirectory:
    """A folder with a short name: a socket's path may have about a hundred characters."""
    short = len(tempfile.gettempdir()) < 40
    return tempfile.TemporaryDirectory(prefix="kernel-", dir=None if short else "/tmp")
