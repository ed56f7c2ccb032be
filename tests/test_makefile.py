import os
import re
import shutil
import subprocess

import pytest
from fake_make import FAKE_PYTHON, ROOT, TESTS, fake_project, logged, make, set_up


@pytest.fixture
def project(tmp_path):
    return fake_project(tmp_path)


@pytest.fixture
def ready(project):
    return set_up(project)


def test_help_is_the_default_and_lists_every_target():
    shown = make()
    assert shown.returncode == 0 and shown.stdout == make("help").stdout
    listed = re.findall(r"^([a-z-]+) +\S", shown.stdout, flags=re.MULTILINE)
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)[1].split()
    assert sorted(listed) == sorted(phony)
    named = "setup figures smoke report readme pdf verify profiles test test-faults test-browser bench lab"
    assert {*named.split(), "data", "clean", "help"} == set(listed)
    assert ".cache" in shown.stdout


def test_a_dry_run_shows_the_command():
    shown = make("-n", "figures").stdout
    assert ".venv/bin/python -I -m deadgcn.paper.execute" in shown and "--output-dir ." in shown


EXECUTE = ["-I", "-m", "deadgcn.paper.execute"]
README = ["-I", "-m", "deadgcn.paper.readme"]
BOTH = [*EXECUTE, "notebooks/01_data.ipynb", "notebooks/09_report.ipynb"]
TRICKY = """{a: 'it''s', "b": [1, 2], c: "$(touch x) `touch x` $$HOME ; #"}"""
SMOKE = ["-f", "params/profiles/smoke.yaml", "--output-dir", "build/smoke"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["figures"], [*BOTH, "--output-dir", "."]),
        (["figures", "DATASET=Cora"], [*BOTH, "--output-dir", ".", "--set", "dataset: Cora"]),
        (["figures", "SET=a: 1"], [*BOTH, "--set", "a: 1"]),
        (["figures", "SET=a: 1", "DATASET=Cora"], [*BOTH, "--set", "dataset: Cora", "--set", "a: 1"]),
        (
            ["figures", "PROFILE=wide"],
            [*BOTH, "-f", "params/profiles/wide.yaml", "--output-dir", "build/wide"],
        ),
        (["smoke"], [*BOTH, *SMOKE]),
        (["smoke", "PROFILE=wide", "SET=a: 1"], [*BOTH, *SMOKE, "--set", "a: 1"]),
        (["report"], [*EXECUTE, "notebooks/09_report.ipynb", "--output-dir", "."]),
        (["report", "PROFILE=smoke"], [*EXECUTE, "notebooks/09_report.ipynb", *SMOKE]),
        (["readme"], README),
        (["pdf"], ["-I", "-m", "deadgcn.paper.report", "report/report.html", "build/report.pdf"]),
        (["data"], ["-I", "-m", "deadgcn.data.graphs", "auto"]),
        (["data", "DATASET=CiteSeer"], ["-I", "-m", "deadgcn.data.graphs", "CiteSeer"]),
        (["test"], TESTS),
        (["test-faults"], ["-m", "pytest", "-m", "faults"]),
        (["test-browser"], ["-m", "pytest", "-m", "browser"]),
    ],
    ids=" ".join,
)
def test_each_target_runs_the_expected_command(ready, arguments, expected):
    assert make(*arguments, folder=ready).returncode == 0
    own_settings = any(argument.startswith(("SET=", "PROFILE=")) for argument in arguments)
    is_evidence = arguments[0] in ("figures", "report") and not own_settings
    assert logged(ready) == [expected] + [README] * is_evidence


def test_settings_reach_the_program_as_they_were_written(ready):
    assert make("figures", "SET=" + TRICKY.replace("$", "$$"), folder=ready).returncode == 0
    assert not (ready / "x").exists()
    assert f"[--set][{TRICKY}]" in (ready / "log").read_text()


def test_lab_shows_the_project_and_hears_nothing_of_the_users_own_jupyter(ready):
    names = ["JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"]
    names += ["JUPYTER_CONFIG_PATH", "JUPYTER_PATH", "PYTHONPATH"]
    seen = " ".join(f'"${name}"' for name in names)
    (ready / ".venv" / "bin" / "python").write_text(FAKE_PYTHON + f'printf "[%s]" {seen} >> log; echo >> log')
    own = dict.fromkeys(names, "/elsewhere")
    assert make("lab", "LAB_FLAGS=--no-browser --port=1", folder=ready, **own).returncode == 0
    address = "--LabApp.default_url=/lab/tree/notebooks/01_data.ipynb"
    command = ["-m", "jupyterlab", f"--ServerApp.root_dir={ready}", address, "--no-browser", "--port=1"]
    kept = [f"{ready}/.venv/{folder}" for folder in ("etc/jupyter", "share/jupyter", "etc/ipython")]
    assert logged(ready) == [command, [*kept, "", "", ""]]


def test_verify_reruns_beside_the_evidence_and_compares(ready):
    assert make("verify", "DATASET=CiteSeer", folder=ready).returncode == 0
    rerun = [*BOTH, "--output-dir", "build/verify", "--set", "dataset: CiteSeer"]
    assert logged(ready) == [rerun, ["-I", "-m", "deadgcn.paper.verify", "CiteSeer"]]


def test_of_two_set_ups_at_once_the_second_waits_and_has_nothing_left_to_do(project):
    (project / "python").write_text(FAKE_PYTHON + "sleep 0.5\n")
    both = [
        subprocess.Popen(["make", "setup", "PYTHON=./python"], cwd=project, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    texts = [process.communicate()[0].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted("setup: done" in text for text in texts) == [False, True] and len(logged(project)) == 4


def test_a_failing_program_fails_the_target(ready):
    (ready / ".venv" / "bin" / "python").write_text("#!/bin/sh\nexit 1\n")
    for target in (
        "figures",
        "smoke",
        "report",
        "verify",
        "profiles",
        "test",
        "test-faults",
        "test-browser",
        "data",
    ):
        assert make(target, folder=ready).returncode == 2, target


PRETENDS_TO_RUN = """#!/usr/bin/env bash
printf "[%s]" "$@" >> log; echo >> log
[[ $* == *build/full* ]] && folder=build/full || folder=build/kipf
mkdir -p $folder/results/Cora/provenance .cache/$RANDOM$RANDOM
echo {} > $folder/results/Cora/provenance/08_verdict.json
for name in verdict verdict_cells power recipe recipe_gaps recipe_runs other; do
    echo $folder > $folder/results/Cora/$name.csv
done
touch $(ls -d .cache/* | tail -1)/x.run
"""


def test_profiles_are_run_and_their_results_kept_with_the_time(ready):
    (ready / ".venv" / "bin" / "python").write_text(PRETENDS_TO_RUN)
    stale = ready / "build" / "full" / "results" / "Old"
    stale.mkdir(parents=True)
    assert make("profiles", folder=ready).returncode == 0
    full, kipf = (call[3:] for call in logged(ready))
    assert full[:3] == [f"notebooks/{n}.ipynb" for n in ("03_pruning", "04_smoothing", "08_verdict")]
    assert full[3:] == ["-f", "params/profiles/full.yaml", "--output-dir", "build/full"]
    assert kipf == [
        "notebooks/06_recipe.ipynb",
        "-f",
        "params/profiles/kipf.yaml",
        "--output-dir",
        "build/kipf",
    ]
    kept = ready / "results" / "profiles"
    assert {path.name for path in kept.glob("*/*")} == {"Cora"}  # what an earlier run left is not kept
    names = {path.name for path in (kept / "full" / "Cora").iterdir()}
    assert names == {"verdict.csv", "verdict_cells.csv", "power.csv", "time.csv", "provenance"}
    assert (kept / "full" / "Cora" / "time.csv").read_text() == "minutes,runs_trained\n0,1\n"
    assert (kept / "kipf" / "Cora" / "recipe.csv").read_text() == "build/kipf\n"


def test_setup_follows_the_contents_of_the_lock_file(project):
    pip = ["-m", "pip", "install", "--quiet"]
    install = [
        ["--version"],
        ["-m", "venv", ".venv"],
        [*pip, "-r", "requirements.lock"],
        [*pip, "--no-deps", "-e", "."],
    ]

    def setup(*more):
        done = make("setup", "PYTHON=./python", *more, folder=project)
        return done.returncode, logged(project)

    assert setup() == (0, install)
    assert setup() == (0, [])
    os.utime(project / "requirements.lock")  # newer, but the same
    assert setup() == (0, [])
    for name in ("requirements.lock", "pyproject.toml"):
        with (project / name).open("a") as file:
            file.write("\n")
        assert setup() == (0, install)
    shutil.copy(ROOT / "requirements.lock", project)
    with_options = [[*step[:4], "--pre", *step[4:]] if "pip" in step else step for step in install]
    assert setup("PIP_FLAGS=--pre") == (0, with_options)


def test_an_interrupted_setup_is_done_again(project):
    python = project / ".venv" / "bin" / "python"
    python.write_text(FAKE_PYTHON + '[[ "$*" != *--no-deps* ]]\n')  # the last step fails
    assert make("setup", "PYTHON=./python", folder=project).returncode == 2
    assert list(project.glob(".venv/ready-*")) == []
    python.write_text(FAKE_PYTHON)
    assert len(logged(project)) == 4
    assert make("figures", "PYTHON=./python", folder=project).returncode == 0
    assert len(logged(project)) == 6  # the set-up once more, then the notebooks and README


def test_clean_removes_build_only(ready):
    for name in ("build", ".cache", "data", "figures"):
        (ready / name).mkdir(exist_ok=True)
    done = make("clean", folder=ready)
    assert done.returncode == 0 and "removed build/" in done.stdout
    assert not (ready / "build").exists()
    assert all((ready / name).is_dir() for name in (".cache", "data", "figures", ".venv"))
