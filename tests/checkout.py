"""A copy of the project that shares nothing with this one: its own cache, build folder and environment."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("deadgcn", "paper", "docs", "params", "notebooks", "Makefile", "pyproject.toml", "requirements.lock")
PARTS += ("CITATION.cff",)
# A study of a few seconds that leaves every kind of file.
SET = "{dataset: SyntheticCora, depths: [0, 2], num_seeds: 2, epochs: 6, hidden_channels: 8, n_jobs: 1}"
INHERITED = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES", "SET", "DATASET", "PROFILE")
INHERITED += ("NOTEBOOKS", "DRY", "PYTHON", "PIP_FLAGS", "LAB_FLAGS")
# What `make setup` does last.
MARK_READY = 'touch .venv/ready-$(cat requirements.lock pyproject.toml | cksum | tr " " "-")'


def clean_environment(**more):
    """The variables of a fresh shell, and `more`: no surrounding `make test` leaks in."""
    return {name: value for name, value in os.environ.items() if name not in INHERITED} | more


class Checkout:
    """A copy in `folder`/main, whose `.venv` finds its own `deadgcn`, and this environment's libraries."""

    def __init__(self, folder):
        self.root = folder / "main"
        self.root.mkdir(parents=True)
        for name in PARTS:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, self.root / name)
        for path in (ROOT / "results").glob("[a-z]*"):  # what notebooks read and no run of theirs writes
            shutil.copytree(path, self.root / "results" / path.name)
        venv = self.root / ".venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True, timeout=60)
        (site,) = venv.glob("lib/python*/site-packages")
        (site / "here.pth").write_text(f"{self.root}\n{Path(pytest.__file__).parents[1]}\n")
        (venv / "share").symlink_to(Path(sys.prefix, "share"))  # templates of nbconvert
        subprocess.run(["bash", "-c", MARK_READY], cwd=self.root, check=True)

    def start(self, *notebooks, setting=SET, goal="figures", flags=(), env=None, **options):
        """Start `make figures` for some notebooks, with its output in a pipe."""
        names = " ".join(f"notebooks/{name}.ipynb" for name in notebooks)
        command = ["make", goal, *([f"NOTEBOOKS={names}"] if names else []), f"SET={setting}", *flags]
        given = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True} | options
        env = clean_environment(**env or {})
        heard = signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs ignore it
        try:
            return subprocess.Popen(command, cwd=self.root, env=env, start_new_session=True, **given)
        finally:
            signal.signal(signal.SIGINT, heard)

    def make(self, *notebooks, **options):
        """The exit status of `make figures`, and what it printed."""
        process = self.start(*notebooks, **options)
        text, _ = process.communicate(timeout=300)
        return process.returncode, text

    def outputs(self):
        """The content of every file that runs made, by its path below the outputs' root."""
        paths = [path for path in self.root.glob("build/run-*/[a-z]*/**/*") if path.is_file()]
        return {"/".join(path.relative_to(self.root).parts[2:]): path.read_bytes() for path in paths}

    def stages(self):
        """The folders in which notebooks run."""
        return list(self.root.glob("build/run-*/.stage"))

    def runs(self):
        """When each finished run was stored, by its file."""
        return {path: path.stat().st_mtime_ns for path in (self.root / ".cache").rglob("*.run")}

    def processes(self):
        """Numbers and command lines of all Python processes that run in this checkout's folders."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                here = os.readlink(folder / "cwd").startswith(str(self.root))
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue  # it has ended meanwhile, or is another user's
            if here and "python" in line:
                found[int(folder.name)] = line
        return found

    def wait_until(self, happened, process=None, seconds=300):
        """Wait for something to be true, while a process of `start` runs."""
        deadline = time.monotonic() + seconds
        while not happened():
            assert process is None or process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline, self.processes()
            time.sleep(0.05)

    def wait_for_the_end(self):
        """Wait until nothing of it runs any more."""
        self.wait_until(lambda: not self.processes())
