"""The Makefile and .ci/run, with an interpreter that only writes down its arguments, one call a line."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FAKE_PYTHON = '#!/usr/bin/env bash\nprintf "[%s]" "$@" >> log; echo >> log\n'
FOREIGN = ("PYTHONPATH", "PYTHONOPTIMIZE", "MPLBACKEND", "MATPLOTLIBRC", "JUPYTER_PATH", "IPYTHONDIR")


def call(*command, folder, **more):
    """Run a command as from a fresh shell, with `more` variables: no surrounding `make test` leaks in."""
    inherited = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES", "SET", "DATASET", "PROFILE")
    env = {name: value for name, value in os.environ.items() if name not in inherited} | more
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def make(*arguments, folder=ROOT, **more):
    return call("make", *arguments, folder=folder, **more)


def logged(folder):
    """The calls since the last question."""
    log = folder / "log"
    calls = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return calls


@pytest.fixture
def project(tmp_path):
    """A copy of the Makefile with notebooks and fake interpreters; nothing is set up yet."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("notebooks/09_report.ipynb", "notebooks/01_data.ipynb", "notebooks/scratch.ipynb"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for python in (tmp_path / "python", tmp_path / ".venv" / "bin" / "python"):
        python.write_text(FAKE_PYTHON)
        python.chmod(0o755)
    return tmp_path


@pytest.fixture
def ready(project):
    assert make("setup", "PYTHON=./python", folder=project).returncode == 0
    logged(project)
    return project


def test_help_is_the_default_and_lists_every_target():
    shown = make()
    assert shown.returncode == 0 and shown.stdout == make("help").stdout
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)[1].split()
    assert sorted(re.findall(r"^([a-z-]+) +\S", shown.stdout, flags=re.MULTILINE)) == sorted(phony)


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        (["figures"], "."),
        (["figures", "DATASET=Cora"], "."),
        (["report"], "."),
        (["figures", "SET=a: 1"], None),  # a folder below build/, named after the settings
        (["figures", "PROFILE=wide"], "build/wide"),
        (["smoke", "SET=a: 1", "PROFILE=wide"], "build/smoke"),
        (["report", "PROFILE=smoke"], "build/smoke"),
        (["verify"], "build/verify"),
    ],
)
def test_only_a_run_that_changes_nothing_writes_over_the_evidence(ready, arguments, place):
    assert make(*arguments, folder=ready).returncode == 0
    run, *then = logged(ready)
    assert re.findall(r"\[--output-dir\]\[(.*?)\]", run) == ([place] if place else [])
    assert ("[notebooks/01_data.ipynb][notebooks/09_report.ipynb]" in run) == (arguments[0] != "report")
    assert [("readme" in line) for line in then] == ([True] if place == "." else [False] * len(then))


def test_settings_reach_the_program_as_they_were_written(ready):
    tricky = """{a: 'it''s', "b": [1, 2], c: "$(touch x) `touch x` $$HOME ; #"}"""
    assert make("figures", "SET=" + tricky.replace("$", "$$"), folder=ready).returncode == 0
    assert not (ready / "x").exists() and f"[--set][{tricky}]" in logged(ready)[0]


@pytest.mark.parametrize("target", ["figures", "lab"])
def test_a_users_own_python_and_jupyter_are_not_heard(ready, target):
    python = ready / ".venv" / "bin" / "python"
    python.write_text("#!/usr/bin/env bash\nenv >> log\n")
    assert make(target, folder=ready, **dict.fromkeys(FOREIGN, "/elsewhere")).returncode == 0
    seen = logged(ready)
    assert [line for line in seen if line.startswith(FOREIGN) and "/elsewhere" in line] == []
    assert "PYTHONHASHSEED=0" in seen


def test_a_failing_program_fails_the_target(ready):
    (ready / ".venv" / "bin" / "python").write_text("#!/bin/sh\nexit 1\n")
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)[1].split()
    for target in {*phony} - {"help", "setup", "clean"}:
        assert make(target, folder=ready).returncode == 2, target


def test_profiles_are_run_and_their_tables_kept(ready):
    pretend = """#!/usr/bin/env bash
    [[ $* == *build/full* ]] && folder=build/full || folder=build/kipf
    mkdir -p $folder/results/Cora/provenance
    for name in verdict verdict_cells power recipe recipe_runs other; do
        echo $folder > $folder/results/Cora/$name.csv
    done"""
    (ready / ".venv" / "bin" / "python").write_text(pretend)
    for stale in ("build/full/results/Old", "results/profiles/full/Cora/provenance/old"):
        (ready / stale).mkdir(parents=True)
    assert make("profiles", folder=ready).returncode == 0
    kept = ready / "results" / "profiles"
    assert {path.name for path in kept.glob("*/*")} == {"Cora"}
    assert (kept / "full/Cora/verdict.csv").read_text() == "build/full\n"
    assert (kept / "kipf/Cora/recipe_runs.csv").read_text() == "build/kipf\n"
    assert not list(kept.glob("*/*/other.csv")) and not list(kept.glob("full/*/provenance/*"))


def test_setup_follows_the_contents_of_the_lock_file_and_is_repeated_when_interrupted(project):
    def setup():
        return make("setup", "PYTHON=./python", folder=project).returncode, len(logged(project))

    python = project / ".venv" / "bin" / "python"
    python.write_text(FAKE_PYTHON + '[[ "$*" != *--no-deps* ]]\n')  # the last step fails
    assert setup() == (2, 3) and list(project.glob(".venv/ready-*")) == []
    python.write_text(FAKE_PYTHON)
    assert setup() == (0, 3) and setup() == (0, 0)
    os.utime(project / "requirements.lock")  # newer, but the same
    assert setup() == (0, 0)
    for name in ("requirements.lock", "pyproject.toml"):
        with (project / name).open("a") as file:
            file.write("\n")
        assert setup() == (0, 3)


def test_of_two_set_ups_at_once_the_second_has_nothing_left_to_do(project):
    (project / "python").write_text(FAKE_PYTHON + "sleep 0.5\n")
    command = ["make", "setup", "PYTHON=./python"]
    both = [subprocess.Popen(command, cwd=project, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(timeout=30) for process in both] == [0, 0] and len(logged(project)) == 3


def test_clean_removes_build_only(ready):
    for name in ("build", ".cache", "data", "figures"):
        (ready / name).mkdir(exist_ok=True)
    assert make("clean", folder=ready).returncode == 0
    assert not (ready / "build").exists()
    assert all((ready / name).is_dir() for name in (".cache", "data", "figures", ".venv"))


@pytest.mark.parametrize("has_browser", [True, False])
def test_continuous_integration_sees_to_a_browser_and_runs_all_tests(ready, has_browser):
    shutil.copytree(ROOT / ".ci", ready / ".ci")
    (ready / "tools").mkdir()
    for name in ("bash", "cat", "cksum", "dirname", "id", "make", "tr"):
        (ready / "tools" / name).symlink_to(shutil.which(name))
    programs = {
        "sudo": '#!/bin/sh\nshift; "$@"\n',
        "apt-get": f"{FAKE_PYTHON}false\n",
    }  # which cannot install
    for name, text in (programs | ({"chromium": ""} if has_browser else {})).items():
        (ready / "tools" / name).write_text(text)
        (ready / "tools" / name).chmod(0o755)
    assert call(ready / ".ci" / "run", folder="/", PATH=str(ready / "tools")).returncode == 0
    *before, test, faults, browser = logged(ready)
    assert any("[install]" in line for line in before) != has_browser
    assert "[pytest]" in test and "[faults]" in faults and "[browser]" in browser
