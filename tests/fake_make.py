"""The Makefile with interpreters that only write down what they are asked to do."""

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Records what it is asked to do instead of doing it: one line per call, each argument in brackets.
FAKE_PYTHON = '#!/usr/bin/env bash\nprintf "[%s]" "$@" >> log\necho >> log\n'
TESTS = ["-m", "pytest", "-n", "auto", "--dist", "loadfile", "--no-loadscope-reorder"]
TESTS += ["tests/test_notebooks.py", "tests"]


def call(*command, folder, **more):
    """Run a command as from a fresh shell, with `more` variables: no surrounding `make test` leaks in."""
    inherited = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES", "SET", "DATASET", "PROFILE")
    env = {name: value for name, value in os.environ.items() if name not in inherited} | more
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def make(*arguments, folder=ROOT, **more):
    return call("make", *arguments, folder=folder, **more)


def logged(folder):
    """The calls of the fake interpreters since the last question."""
    log = folder / "log"
    calls = [line[1:-1].split("][") for line in log.read_text().splitlines()] if log.exists() else []
    log.unlink(missing_ok=True)
    return calls


def fake_project(folder):
    """A copy of the Makefile with notebooks, and interpreters that only keep a log; nothing is set up yet."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, folder)
    (folder / "notebooks").mkdir()
    for name in ("09_report", "01_data", "scratch"):
        (folder / "notebooks" / f"{name}.ipynb").touch()
    python = folder / "python"
    python.write_text(FAKE_PYTHON)
    python.chmod(0o755)
    (folder / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(python, folder / ".venv" / "bin" / "python")
    return folder


def set_up(project):
    """The same after a set-up."""
    assert make("setup", "PYTHON=./python", folder=project).returncode == 0
    logged(project)
    return project
