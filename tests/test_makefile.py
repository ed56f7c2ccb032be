"""Set-up and the Makefile, with an interpreter that only writes down its arguments, one call a line."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib

import pytest
from checkout import MARK_READY, ROOT, clean_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

TARGETS = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), flags=re.M)[1].split()
# Questions about itself (-c) it answers with its name, or as .venv's Python should, and does not write down.
FAKE_PYTHON = """#!/usr/bin/env bash
case " $* " in
    *_base_executable*) echo "$0"; exit;;
    *" -c "*) exit;;
    *" -m venv --clear "*) rm -rf .venv; mkdir -p .venv/bin; cp "$0" .venv/bin/python;;
esac
printf "[%s]" "$@" >> log; echo " $PYTHONPATH $JUPYTER_PATH $PIP_TARGET $PIP_PREFIX $PIP_USER" >> log
"""


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
def project(tmp_path, monkeypatch):
    """A copy of the Makefile with notebooks, set up with a fake python3, which is first in the path."""
    folder, python = tmp_path / "project", tmp_path / "bin" / "python3"
    for path in (folder / "notebooks", folder / "params" / "profiles", python.parent):
        path.mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, folder)
    for name in ("11_report", "01_data", "scratch", "my own"):
        (folder / "notebooks" / f"{name}.ipynb").touch()
    for name in ("smoke", "full", "kipf", "wide"):
        (folder / "params" / "profiles" / f"{name}.yaml").touch()
    write_script(python, FAKE_PYTHON)
    monkeypatch.setenv("PATH", f"{python.parent}{os.pathsep}{os.environ['PATH']}")
    assert make("setup", folder=folder, **dict.fromkeys(IGNORED, "/mine")).returncode == 0
    venv, install, install_own = logged(folder)
    assert "[venv]" in venv and "[requirements.lock]" in install and "[--no-deps]" in install_own
    assert "/mine" not in venv + install + install_own
    return folder


IGNORED = ("PYTHONPATH", "JUPYTER_PATH", "PIP_TARGET", "PIP_PREFIX", "PIP_USER")


def write_script(path, text):
    """Write a program to `path`."""
    path.write_text(text)
    path.chmod(0o755)


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
    assert make(*arguments, folder=project, **dict.fromkeys(IGNORED, "/mine")).returncode == 0
    run, *then = logged(project)
    place = PLACES[arguments]
    assert re.findall(r"\[--output-dir\]\[(.*?)\]", run) == ([place] if place else []) and "/mine" not in run
    assert ("[notebooks/01_data.ipynb][notebooks/11_report.ipynb]" in run) == (arguments[0] != "report")
    assert any("readme" in line for line in then) == (place == ".")


TRICKY = """{a: 'it''s', "b": [1], c: "$(shell touch x) $(touch x) `touch x` ${HOME} $HOME $$ ; * \\"}\n#"""


@pytest.mark.parametrize("given", ["command line", "environment"])
def test_values_reach_the_program_as_they_were_written(project, given):
    def written(target, *flags, **values):
        on_command_line = [f"{name}={value}" for name, value in values.items()] * (given == "command line")
        done = make(target, *on_command_line, *flags, folder=project, **values)
        assert done.returncode == (2 if target == "profiles" else 0), done.stderr  # which finds no results
        assert not (project / "x").exists()
        return "\n".join(logged(project))

    assert f"[--set][{TRICKY}]" in written("figures", SET=TRICKY)
    assert f"[--set][{TRICKY}]" in written("smoke", "-e", SET=TRICKY)
    for target in ("figures", "verify", "report", "profiles"):  # the last is a make within make
        assert f"[--dataset][{TRICKY}]" in written(target, DATASET=TRICKY)
    assert f"[{TRICKY}]" in written("data", DATASET=TRICKY)
    words = "".join(f"[{word}]" for word in TRICKY.replace("*", "").split())
    assert words in written("figures", NOTEBOOKS=TRICKY.replace("*", ""))
    assert words in written("lab", LAB_FLAGS="--allow-root " + TRICKY.replace("*", ""))
    assert "[--][notebooks/my own.ipynb]" in written("figures", NOTEBOOKS="notebooks/my own.ipynb")
    assert "[--][notebooks/01_data.ipynb][notebooks/11_report.ipynb]" in written(
        "verify", NOTEBOOKS="*/[01]*"
    )


@pytest.mark.parametrize("given", ["SET=", "SET= ", "DATASET=", "PROFILE=", "NOTEBOOKS=", "PYTHON="])
def test_an_empty_value_is_refused_rather_than_the_whole_study_run(project, given):
    name, value = given.split("=")
    for done in (make("figures", given, folder=project), make("figures", folder=project, **{name: value})):
        assert done.returncode == 2 and name in done.stderr and logged(project) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("figures", "PROFILE=../common"),
        ("figures", "PROFILE=$(shell touch x)"),
        ("figures", "PROFILE=%"),
        ("figures", "PROFILE=smoke wide"),
        ("profiles", "SET=epochs: 1"),
        ("verify", "SET=epochs: 1"),
        ("verify", "PROFILE=wide"),
    ],
    ids=str,
)
def test_a_setting_that_a_target_cannot_have_is_refused(project, arguments):
    done = make(*arguments, folder=project)
    assert done.returncode == 2 and "PROFILE" in done.stderr
    assert logged(project) == [] and not (project / "x").exists()


@pytest.mark.parametrize("target", sorted({*TARGETS} - {"help", "setup", "clean"}))
def test_a_failing_program_fails_the_target(project, target):
    write_script(project / ".venv" / "bin" / "python", FAKE_PYTHON + "exit 1\n")
    assert make(target, folder=project).returncode == 2


def test_setup_follows_the_contents_of_the_lock_file_and_is_repeated_when_interrupted(project):
    (project / "requirements.lock").touch()  # newer, but the same
    assert make("setup", folder=project).returncode == 0 and logged(project) == []
    (project / "requirements.lock").write_text("")
    python = project / ".venv" / "bin" / "python"
    for text in (FAKE_PYTHON + '[[ "$*" != *--no-deps* ]]\n', FAKE_PYTHON):  # at first the last step fails
        write_script(python, text)
        done = make("setup", "PIP_FLAGS=--find-links  $(x) *", folder=project)
        assert done.returncode == (0 if text == FAKE_PYTHON else 2)
        for line in logged(project):
            assert "[--quiet][--find-links][$(x)][*]" in line


@pytest.mark.parametrize("fault", ["-m venv", "requirements.lock", "--no-deps", "torch_geometric"])
def test_whatever_fails_in_a_set_up_fails_it(project, fault):
    shutil.rmtree(project / ".venv" / "bin")  # the marker stays
    python = project.parent / "bin" / "python3"
    write_script(python, FAKE_PYTHON.replace("\n", f'\n[[ "$*" != *"{fault}"* ]] || exit 1\n', 1))
    done = make("data", folder=project)
    assert done.returncode == 2 and not list(project.glob(".venv/ready-*"))
    assert not any("deadgcn.data" in line for line in logged(project))
    write_script(python, FAKE_PYTHON)
    shutil.rmtree(project / ".venv", ignore_errors=True)
    assert make("data", folder=project).returncode == 0 and len(logged(project)) == 4


def own_environment(project):
    """Give `project` a package and an environment that finds it, as after a set-up."""
    (project / "deadgcn").mkdir(exist_ok=True)
    (project / "deadgcn" / "__init__.py").write_text("open('run', 'w')")  # nobody asked for that
    shutil.rmtree(project / ".venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", project / ".venv"], check=True)
    (site,) = project.glob(".venv/lib/python*/site-packages")
    (site / "here.pth").write_text(f"{project}\n")
    subprocess.run(["bash", "-c", MARK_READY], cwd=project, check=True)
    return project


def copied(project):
    return shutil.copytree(project, project.with_name("copy"), symlinks=True)


def moved(project):
    return project.rename(project.with_name("moved"))


def linked(project):
    """Another folder whose environment is a link to this one's."""
    place = project.with_name("linked")
    shutil.copytree(project, place, ignore=shutil.ignore_patterns(".venv"))
    (place / ".venv").symlink_to(project / ".venv")
    return place


def without_interpreter(project):
    python = project / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to(project / "gone")
    return project


def without_package(project):
    (site,) = project.glob(".venv/lib/python*/site-packages")
    (site / "here.pth").unlink()
    return project


@pytest.mark.parametrize("change", [copied, moved, linked, without_interpreter, without_package])
def test_an_environment_that_is_not_this_folders_is_made_anew(project, change):
    own_environment(project)
    before = set(project.rglob("*"))
    assert make("setup", folder=project).returncode == 0 and logged(project) == []
    place = change(project)
    assert make("data", folder=place).returncode == 0
    assert [line.count("venv") for line in logged(place)] == [2, 0, 0, 0]
    assert make("data", folder=place).returncode == 0 and len(logged(place)) == 1
    if change in (copied, linked):
        assert set(project.rglob("*")) == before


def test_an_environment_of_another_python_is_made_anew(project):
    own_environment(project)
    for same in (sys.executable, project / ".venv" / "bin" / "python"):
        assert make("setup", f"PYTHON={same}", folder=project).returncode == 0 and logged(project) == []
    assert make("setup", "PYTHON=python3", folder=project).returncode == 0
    assert len(logged(project)) == 3


@pytest.mark.parametrize(
    ("named", "change"),
    [
        ("3.10.13", "sys.version_info = (3, 10, 13)"),
        ("ensurepip", "sys.modules['ensurepip'] = None"),
        ("python3", "sys.exit(1)"),
        ("python3", None),  # there is none
    ],
)
def test_a_python_that_will_not_do_is_named_before_anything_is_changed(project, named, change):
    own_environment(project)
    (project / "requirements.lock").write_text("")
    python = project.parent / "bin" / "python3"
    code = f"import sys; sys._base_executable = '$0'; sys.version = 'another'; {change}; exec(sys.argv[1])"
    write_script(python, f'#!/usr/bin/env bash\nexec "{sys.executable}" -c "{code}" "$2"\n')
    if change is None:
        python.unlink()
    done = make("setup", f"PYTHON={python}", folder=project)
    assert done.returncode == 2 and named in done.stderr and "Traceback" not in done.stderr
    assert (project / ".venv" / "pyvenv.cfg").exists() and logged(project) == []


def test_where_files_cannot_be_locked_setup_says_so_and_goes_on(project):
    (project / "requirements.lock").write_text("")
    write_script(
        project.parent / "bin" / "flock", "#!/bin/sh\necho flock: Function not implemented >&2; exit 65\n"
    )
    done = make("setup", folder=project)
    assert done.returncode == 0 and "build/setup.lock" in done.stderr and len(logged(project)) == 2
    assert "setup.lock" not in make("setup", folder=project).stderr


@pytest.mark.parametrize("target", TARGETS)
def test_an_unknown_variable_is_refused_by_every_target_with_the_names_of_the_known_ones(project, target):
    done = make(target, "SETS={a: 1}", folder=project)
    assert done.returncode == 2 and logged(project) == []
    assert all(name in done.stderr for name in ("SETS", "SET ", "PROFILE", "NOTEBOOKS", "DRY", "LAB_FLAGS"))


def test_flags_of_make_and_all_known_variables_pass(project):
    known = re.search(r"^KNOWN = (.*)$", (ROOT / "Makefile").read_text(), flags=re.M)[1].split()
    given = [f"{name}={'smoke' if name == 'PROFILE' else '0'}" for name in known]
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


def test_a_checkout_has_the_same_bytes_on_every_system(tmp_path):
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    names = (".gitattributes", ".ci/run", "Makefile", "docs/timeline.png", "results/Cora/verdict.csv")
    for name in names:
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, here / name)
    author = ("-c", "user.name=me", "-c", "user.email=me@localhost")
    for arguments in (("init",), ("add", "."), (*author, "commit", "-m", "all"), ("clone", ".", there)):
        command = ["git", "-c", "core.autocrlf=true", *arguments]
        subprocess.run(command, cwd=here, check=True, capture_output=True)
    assert [name for name in names if (here / name).read_bytes() != (there / name).read_bytes()] == []


def test_every_dependency_has_a_lower_bound_that_the_lock_file_keeps():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "requirements.lock").read_text().split()
    pins = {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}
    extras = project["optional-dependencies"]
    asked = map(Requirement, project["dependencies"] + extras["cluster"] + extras["dev"])
    for requirement in [each for each in asked if each.name != project["name"]]:
        assert any(bound.operator == ">=" for bound in requirement.specifier), requirement
        assert pins[canonicalize_name(requirement.name)] in requirement.specifier, requirement
