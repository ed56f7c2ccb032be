"""The Makefile and .ci/run, with an interpreter that only writes down its arguments, one call a line."""

import json
import os
import re
import shutil
import subprocess

import pytest
from checkout import ROOT, clean_environment

TARGETS = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), flags=re.M)[1].split()
FAKE_PYTHON = '#!/usr/bin/env bash\nprintf "[%s]" "$@" >> log; echo " $PYTHONPATH $JUPYTER_PATH" >> log\n'


def make(*arguments, folder=ROOT, **more):
    """Run make as from a fresh shell, with `more` variables."""
    options = {"cwd": folder, "env": clean_environment(**more), "capture_output": True, "text": True}
    return subprocess.run(["make", *arguments], check=False, **options)


def logged(folder):
    """The calls since the last question."""
    calls = (folder / "log").read_text().splitlines() if (folder / "log").exists() else []
    (folder / "log").unlink(missing_ok=True)
    return calls


@pytest.fixture
def project(tmp_path):
    """A copy of the Makefile with notebooks and fake interpreters, set up."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("notebooks/11_report.ipynb", "notebooks/01_data.ipynb", "notebooks/scratch.ipynb"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for python in (tmp_path / "python", tmp_path / ".venv" / "bin" / "python"):
        python.write_text(FAKE_PYTHON)
        python.chmod(0o755)
    assert make("setup", "PYTHON=./python", folder=tmp_path).returncode == 0 and len(logged(tmp_path)) == 3
    return tmp_path


def test_help_is_the_default_and_lists_every_target():
    assert sorted(re.findall(r"^([a-z-]+) +\S", make().stdout, flags=re.M)) == sorted(TARGETS)


PLACES = {
    ("figures", "DATASET=Cora"): ".",
    ("report",): ".",
    ("figures", "SET=a: 1"): None,  # a folder below build/, named after the settings
    ("figures", "PROFILE=wide"): "build/wide",
    ("smoke", "PROFILE=wide"): "build/smoke",
    ("smoke", "SET=a: 1"): None,
    ("figures", "SET=a: 1", "PROFILE=wide"): None,
    ("verify",): "build/verify",
}


@pytest.mark.parametrize("arguments", PLACES, ids=str)
def test_only_a_run_that_changes_nothing_writes_over_the_evidence(project, arguments):
    assert make(*arguments, folder=project, PYTHONPATH="/mine", JUPYTER_PATH="/mine").returncode == 0
    run, *then = logged(project)
    place = PLACES[arguments]
    assert re.findall(r"\[--output-dir\]\[(.*?)\]", run) == ([place] if place else []) and "/mine" not in run
    assert ("[notebooks/01_data.ipynb][notebooks/11_report.ipynb]" in run) == (arguments[0] != "report")
    assert any("readme" in line for line in then) == (place == ".")


def test_settings_reach_the_program_as_they_were_written(project):
    tricky = """{a: 'it''s', "b": [1, 2], c: "$(touch x) `touch x` $$HOME ; #"}"""
    assert make("figures", "SET=" + tricky.replace("$", "$$"), folder=project).returncode == 0
    assert not (project / "x").exists() and f"[--set][{tricky}]" in logged(project)[0]


@pytest.mark.parametrize("target", sorted({*TARGETS} - {"help", "setup", "clean"}))
def test_a_failing_program_fails_the_target(project, target):
    (project / ".venv" / "bin" / "python").write_text("#!/bin/sh\nexit 1\n")
    assert make(target, folder=project).returncode == 2


def test_setup_follows_the_contents_of_the_lock_file_and_is_repeated_when_interrupted(project):
    (project / "requirements.lock").touch()  # newer, but the same
    assert make("setup", folder=project).returncode == 0 and logged(project) == []
    (project / "requirements.lock").write_text("")
    python = project / ".venv" / "bin" / "python"
    python.write_text(FAKE_PYTHON + '[[ "$*" != *--no-deps* ]]\n')  # the last step fails
    for status in (2, 0):
        assert make("setup", "PYTHON=./python", folder=project).returncode == status
        assert len(logged(project)) == 3
        python.write_text(FAKE_PYTHON)


@pytest.mark.parametrize("target", TARGETS)
def test_an_unknown_variable_is_refused_by_every_target_with_the_names_of_the_known_ones(project, target):
    done = make(target, "SETS={a: 1}", folder=project)
    assert done.returncode == 2 and logged(project) == []
    assert all(name in done.stderr for name in ("SETS", "SET ", "PROFILE", "NOTEBOOKS", "DRY", "LAB_FLAGS"))


def test_flags_of_make_and_all_known_variables_pass(project):
    known = re.search(r"^KNOWN = (.*)$", (ROOT / "Makefile").read_text(), flags=re.M)[1].split()
    given = [f"{name}=" for name in known if name != "PYTHON"]
    done = make("-j2", "-k", "--no-print-directory", "MAKEFLAGS=-s", "help", *given, folder=project)
    assert done.returncode == 0, done.stderr
    assert make("profiles", "PIP_FLAGS=-q", "-n", folder=project).returncode == 0  # a make within make


def test_a_dry_run_passes_the_option_on_and_does_nothing_else(project):
    for target in ("figures", "verify"):
        assert make(target, "DRY=1", folder=project).returncode == 0
        (line,) = logged(project)
        assert "[paper]" in line and "[--dry]" in line
    assert make("test", "DRY=1", folder=project).returncode == 2 and logged(project) == []


def test_lab_answers_the_question_about_news_once_and_tells_root_what_to_type(project):
    done = make("lab", folder=project)
    if os.getuid() == 0:
        assert done.returncode == 2 and "LAB_FLAGS=--allow-root" in done.stderr and logged(project) == []
    assert make("lab", "LAB_FLAGS=--allow-root", folder=project).returncode == 0
    assert "[--allow-root]" in logged(project)[-1]
    (answer,) = project.glob(".venv/etc/jupyter/lab/user-settings/@jupyterlab/*/notification.*")
    assert json.loads(answer.read_text()) == {"fetchNews": "false"}
    answer.write_text("{}")  # a reader's own choice
    assert make("lab", "LAB_FLAGS=--allow-root", folder=project).returncode == 0
    assert answer.read_text() == "{}"
