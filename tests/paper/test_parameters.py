import pytest
from tiny_project import write_notebook

from deadgcn.paper.parameters import (
    ParameterError,
    Settings,
    check_names,
    check_values,
    load_settings,
    parse_settings,
    read_defaults,
)


def test_defaults_are_the_literals_of_the_tagged_cell(tmp_path):
    # A bar in the help, two equals signs and a list over several lines are what papermill's inference loses.
    source = "lr = 5e-4  # rate = step | float\ndepths = [\n    2,  # shallow\n    64,\n]\nsteps = -1"
    notebook = write_notebook(tmp_path / "a.ipynb", parameters=source)
    assert read_defaults(notebook) == {"lr": 0.0005, "depths": [2, 64], "steps": -1}


@pytest.mark.parametrize(
    "line", ["x = 2 * 3", "x = f()", "x: int = 3", "x, y = 1, 2", "import os", "x.y = 1", "x ="]
)
def test_a_parameter_that_is_no_literal_is_an_error(tmp_path, line):
    with pytest.raises(ParameterError, match=r"a\.ipynb"):
        read_defaults(write_notebook(tmp_path / "a.ipynb", parameters=f"good = 1\n{line}"))


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"cells": [1]}'])
def test_a_file_that_is_no_notebook_is_an_error(tmp_path, text):
    if text is not None:
        (tmp_path / "a.ipynb").write_text(text)
    with pytest.raises(ParameterError, match=r"a\.ipynb"):
        read_defaults(tmp_path / "a.ipynb")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lr: 5e-4", 5e-4),
        ("lr: 1e5", 100_000.0),
        ("lr: on", "on"),
        ("lr: 010", 10),
        ("lr: 1:30", "1:30"),
    ],
)
def test_yaml_is_that_of_version_1_2(text, expected):
    value = parse_settings(text, "--set").values["lr"]
    assert value == expected and type(value) is type(expected)


def test_a_file_may_be_empty_and_must_be_text(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("# nothing differs\n")
    assert load_settings(path, "a") == Settings("a", {})
    for content in (b"\xff\xfe\xff", b"[1, 2]", b"a: b: c"):
        path.write_bytes(content)
        with pytest.raises(ParameterError, match=r"^mine "):
            load_settings(path, "mine")


def test_the_nearest_name_is_told_only_if_one_is_near():
    known = ["lr", "epochs", "depths"]
    check_names(Settings("--set", {"lr": 1}), known)
    with pytest.raises(ParameterError, match=r"--set: .*depth.*\[3\].*depths\?"):
        check_names(Settings("--set", {"depth": [3]}), known)
    with pytest.raises(ParameterError, match=r"colour.*depths, epochs, lr"):
        check_names(Settings("--set", {"colour": 3}), known)


def test_later_settings_win_and_names_of_other_notebooks_are_left_out():
    layers = [Settings("common", {"lr": 1, "num_seeds": 3, "epochs": 9}), Settings("own", {"lr": 0.2})]
    given = check_values({"num_seeds": 10, "lr": 0.1, "hidden_channels": 32}, layers)
    assert given == {"num_seeds": 3, "lr": 0.2}
    assert type(check_values({"lr": 0.1}, layers[:1])["lr"]) is float
    with pytest.raises(ParameterError, match=r"^own: lr .*'fast'"):
        check_values({"lr": 0.1}, [layers[0], Settings("own", {"lr": "fast"})])


def test_a_readers_own_parameter_has_the_type_of_its_default():
    defaults = {"colour": "red", "steps": 3}
    own = {"colour": "blue", "steps": 4}
    assert check_values(defaults, [Settings("--set", own)]) == own
    for name, value in {"colour": 3, "steps": "x"}.items():
        with pytest.raises(ParameterError, match=name):
            check_values(defaults, [Settings("--set", {name: value})])
