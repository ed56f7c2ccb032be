"""A whole copy of the project that shares nothing with this one: its own cache, build and environment."""

import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
PARTS = ("deadgcn", "params", "notebooks", "Makefile", "pyproject.toml", "requirements.lock")
# One network in a hundred of the study's work, and every kind of file that it leaves.
SET = "{dataset: SyntheticCora, depths: [0, 2], num_seeds: 2, epochs: 6, hidden_channels: 8, n_jobs: 1}"


class Checkout:
    """A copy in `folder`, whose `.venv` finds the libraries of this one's environment, and itself first."""

    def __init__(self, folder):
        self.root = folder / "main"
        self.root.mkdir(parents=True)
        for name in PARTS:
            source = ROOT / name
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, self.root / name)
        for name in ("published", "profiles", "bench"):  # what notebooks read and no run of theirs writes
            shutil.copytree(ROOT / "results" / name, self.root / "results" / name)
        subprocess.run(
            [sys.executable, "-m", "venv", "--without-pip", self.root / ".venv"], check=True, timeout=60
        )
        (site,) = (self.root / ".venv").glob("lib/python*/site-packages")
        (site / "here.pth").write_text(f"{self.root}\n{sysconfig.get_path('purelib')}\n")
        ready = 'touch .venv/ready-$(cat requirements.lock pyproject.toml | cksum | tr " " "-")'
        subprocess.run(["bash", "-c", ready], cwd=self.root, check=True)

    def start(self, *notebooks, setting=SET, goal="figures", flags=(), **options):
        """Start `make figures` for some notebooks, with its output in a pipe."""
        names = " ".join(f"notebooks/{name}.ipynb" for name in notebooks)
        inherited = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES", "SET", "DATASET", "PROFILE")
        env = {name: value for name, value in os.environ.items() if name not in inherited}
        env |= options.pop("env", {})
        command = ["make", goal, *([f"NOTEBOOKS={names}"] if names else []), f"SET={setting}", *flags]
        options = {"cwd": self.root, "env": env, "start_new_session": True} | options
        return subprocess.Popen(
            command, **{"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True} | options
        )

    def make(self, *notebooks, **options):
        """The exit status of `make figures`, and what it printed."""
        process = self.start(*notebooks, **options)
        text, _ = process.communicate(timeout=300)
        return process.returncode, text

    def outputs(self):
        """Every file that the runs made, by name; which folder below build/ they are in depends on SET."""
        folders = list((self.root / "build").glob("run-*"))
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for folder in folders
            for path in folder.rglob("*")
            if path.is_file()
        }

    def runs(self):
        """When each finished run was stored, by its file."""
        return {path: path.stat().st_mtime_ns for path in (self.root / ".cache").rglob("*.run")}

    def processes(self):
        """The command lines of all Python processes that run in this checkout's folders."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                here = os.readlink(folder / "cwd").startswith(str(self.root))
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue  # it has ended meanwhile, or is another user's
            if here and "python" in line:
                found.append((int(folder.name), line))
        return found

    def wait_for_the_end(self, seconds=30):
        """Wait until nothing of it runs any more."""
        deadline = time.monotonic() + seconds
        while found := self.processes():
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
