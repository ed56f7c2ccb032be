"""What other people's tools expect of the project's files."""

import ast
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKED = dict(line.split("==") for line in (ROOT / "requirements.lock").read_text().split())


def test_the_citation_has_what_the_format_asks_for():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    assert cited["cff-version"] == "1.2.0" and cited["version"] == PROJECT["version"]
    assert all({"type", "title", "authors"} <= set(reference) for reference in cited["references"])


def test_the_package_says_that_it_is_typed():
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    assert all((ROOT / "deadgcn" / name).is_file() for name in data["deadgcn"])
    assert "py.typed" in data["deadgcn"] and "Typing :: Typed" in PROJECT["classifiers"]


def test_hooks_are_those_of_the_lock_and_leave_executed_notebooks_alone():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    by_name = {repo["repo"].rsplit("/", 1)[1]: repo for repo in hooks}
    assert by_name["ruff-pre-commit"]["rev"] == f"v{LOCKED['ruff']}"
    (strip,) = by_name["nbstripout"]["hooks"]
    assert strip["files"] == "^notebooks/" and "--keep-id" in strip["args"]


def test_conda_s_file_names_a_python_that_the_package_takes_and_no_second_list():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, inner = environment["dependencies"]
    assert environment["channels"] == ["conda-forge"] and pip == "pip" and inner == {"pip": ["-e .[dev]"]}
    assert python.removeprefix("python=") >= PROJECT["requires-python"].removeprefix(">=")


def test_every_direct_dependency_is_locked():
    extras = PROJECT["optional-dependencies"]
    wanted = [*PROJECT["dependencies"], *extras["dev"], *extras["cluster"]]
    names = {item.split(">")[0].split("[")[0].lower() for item in wanted} - {"deadgcn"}
    assert names <= {name.lower() for name in LOCKED}
    assert LOCKED["torch"] == "2.13.0"


def test_imports_go_down_the_list_only():
    order = ["plots", "stats", "experiments", "gcn", "data", "parameters", "config"]
    for path in (ROOT / "deadgcn").glob("*/*.py"):
        wing = path.parent.name
        below = order[order.index(wing) + 1 :]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("deadgcn."):
                assert node.module.split(".")[1] in (wing, *below), f"{path.name} imports {node.module}"
