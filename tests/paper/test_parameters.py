import json
from pathlib import Path

import pytest

from deadgcn.paper import parameters
from deadgcn.paper.parameters import (
    ParameterError,
    Settings,
    check_names,
    check_value,
    load_settings,
    parse_settings,
    read_defaults,
    resolve,
)

ON_OFF = "YAML reads on, off, yes and no as true and false"


def write_notebook(path, source, tags=("parameters",)):
    cell = {"cell_type": "code", "metadata": {"tags": list(tags)}, "source": source}
    path.write_text(json.dumps({"cells": [{"cell_type": "raw", "metadata": {}, "source": ""}, cell]}))
    return path


def test_defaults_are_the_literals_of_the_tagged_cell(tmp_path):
    # A bar in the help, two equals signs and a list over several lines are what papermill's inference loses.
    source = [
        "lr = 5e-4  # rate = step | float\n",
        "depths = [\n    2,  # shallow\n    64,\n]\n",
        "act = 'relu'\nsteps = -1\nroot = None\nfast = True",
    ]
    assert read_defaults(write_notebook(tmp_path / "a.ipynb", source)) == {
        "lr": 0.0005,
        "depths": [2, 64],
        "act": "relu",
        "steps": -1,
        "root": None,
        "fast": True,
    }
    assert read_defaults(write_notebook(tmp_path / "a.ipynb", source, tags=())) == {}


@pytest.mark.parametrize(
    "line",
    ["x = 2 * 3", "x = f()", "x: int = 3", "x = y = 3", "x, y = 1, 2", "import os", "x.y = 1", "x = (1, 2)"],
)
def test_a_parameter_that_is_no_plain_literal_is_an_error(tmp_path, line):
    notebook = write_notebook(tmp_path / "a.ipynb", f"good = 1\n{line}")
    with pytest.raises(
        ParameterError, match=r"a.ipynb: parameters must be lines 'name = literal', but one is"
    ):
        read_defaults(notebook)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"cells": [1]}'])
def test_a_file_that_is_no_notebook_is_an_error(tmp_path, text):
    (tmp_path / "a.ipynb").write_text(text)
    with pytest.raises(ParameterError, match=r"a\.ipynb must be a notebook with readable parameters"):
        read_defaults(tmp_path / "a.ipynb")
    with pytest.raises(ParameterError, match=r"b\.ipynb cannot be read: No such file"):
        read_defaults(tmp_path / "b.ipynb")


@pytest.mark.parametrize(
    ("default", "value", "expected"),
    [
        (3, 5, 5),
        (0.1, "5e-4", 0.0005),
        (0.1, "1e5", 100000.0),
        (0.1, 2, 2.0),
        (True, False, False),
        ("a", "b", "b"),
        (None, [1, "a"], [1, "a"]),
        ([2, 4], [8], [8]),
        ([2, 4], [], []),
        ([0.1], ["1e-3", 1], [0.001, 1.0]),
        ([1, 0.5], [0.25], [0.25]),
        ([], [1, "a"], [1, "a"]),
        ([[1]], [[2, 3]], [[2, 3]]),
        ({"a": 1}, {"b": 2}, {"b": 2}),
    ],
)
def test_a_value_of_the_default_s_type_is_taken(default, value, expected):
    taken = check_value("x", value, default)
    assert taken == expected and type(taken) is type(expected)
    if isinstance(expected, list):
        assert [type(item) for item in taken] == [type(item) for item in expected]


@pytest.mark.parametrize(
    ("default", "value", "message"),
    [
        (3, 2.0, "x must be a whole number such as 3, but 2.0 was given; write 2"),
        (3, True, f"x must be a whole number such as 3, but True was given; {ON_OFF}"),
        (3, "1e5", "x must be a whole number such as 3, but '1e5' was given; write 100000"),
        (3, None, "x must be a whole number such as 3, but None was given"),
        (0.5, True, f"x must be a number such as 0.5, but True was given; {ON_OFF}"),
        (0.5, "much", "x must be a number such as 0.5, but 'much' was given"),
        (0.5, float("nan"), "x must be a number such as 0.5, but nan was given"),
        (0.5, [0.5], "x must be a number such as 0.5, but [0.5] was given"),
        (True, 1, "x must be true or false such as True, but 1 was given"),
        ("relu", True, f"x must be text such as 'relu', but True was given; {ON_OFF}"),
        ([2, 4], 2, "x must be a list, but 2 was given; write x: [2]"),
        ([2, 4], [2, "a"], "x[1] must be a whole number such as 2, but 'a' was given"),
        ([2, 4], [2.5], "x[0] must be a whole number such as 2, but 2.5 was given"),
        ([[1]], [2], "x[0] must be a list, but 2 was given; write x[0]: [2]"),
        ({"a": 1}, [1], "x must be a mapping such as {'a': 1}, but [1] was given"),
    ],
)
def test_a_value_of_another_type_is_refused_with_what_is_legal(default, value, message):
    with pytest.raises(ParameterError) as caught:
        check_value("x", value, default)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{lr: 1, lr: 2}", "--set cannot be read as YAML: lr is given twice"),
        ("a: 1\nb: {c: 1, c: 2}", "c is given twice (line 2)"),
        ("lr", "--set must be a YAML mapping such as 'depths: [2, 4, 64]', but is 'lr'"),
        ("depths:[3]", "--set must be a YAML mapping"),
        ("[1, 2]", "--set must be a YAML mapping"),
        ("a: [", "--set cannot be read as YAML: while parsing"),
        ("a: 2024-13-01", "--set cannot be read as YAML: month"),
        (
            "a: !!python/object:os.system {}",
            "--set cannot be read as YAML: could not determine a constructor",
        ),
    ],
)
def test_text_that_is_no_yaml_mapping_is_refused_in_one_line(text, message):
    with pytest.raises(ParameterError) as caught:
        parse_settings("--set", text)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_settings_may_be_empty_and_files_must_exist(tmp_path):
    (tmp_path / "a.yaml").write_text("# nothing differs\n")
    assert load_settings(tmp_path / "a.yaml", "-f a.yaml") == Settings("-f a.yaml", {})
    with pytest.raises(ParameterError, match=r"-f b\.yaml cannot be read: .*No such file"):
        load_settings(tmp_path / "b.yaml", "-f b.yaml")
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ParameterError, match=r"-f a\.yaml cannot be read: 'utf-8' codec"):
        load_settings(tmp_path / "a.yaml", "-f a.yaml")


def test_an_unknown_name_is_refused_with_the_nearest_known_one():
    message = r"^--set: no notebook knows depth \(given as \[3\]\); the nearest known name is depths$"
    with pytest.raises(ParameterError, match=message):
        check_names(
            Settings("--set", {"lr": 1, "depth": [3]}), {"lr", "epochs", "depths"}, "no notebook knows"
        )
    check_names(Settings("--set", {"lr": 1}), {"lr"}, "no notebook knows")


def test_later_layers_win_and_foreign_names_are_left_out():
    layers = [
        Settings("common", {"lr": 1, "seeds": 3, "other": "x"}),
        Settings("own", {"lr": "2e-1"}),
        Settings("--set", {"epochs": 7}),
    ]
    given = resolve({"epochs": 100, "seeds": 10, "lr": 0.1, "width": 32}, layers)
    assert given == {"epochs": 7, "seeds": 3, "lr": 0.2}
    assert list(given) == ["epochs", "seeds", "lr"]
    with pytest.raises(ParameterError, match="own: lr must be a number"):
        resolve({"lr": 0.1}, [Settings("own", {"lr": "fast"})])


def test_values_that_a_run_can_have_are_accepted():
    given = {"depths": [0, 5], "num_seeds": 1, "lr": 0.1, "dataset": "auto", "powers": [1, 4], "n_jobs": -2}
    parameters.check_ranges(given | {"a_name_of_one_s_own": -1}, [])
    for address in ("", "tcp://host:8786", "tls://node-3.site:1", "tcp://10.0.0.7:65535", "tcp://[::1]:1"):
        parameters.check_ranges({"scheduler": address}, [])


def test_what_is_out_of_range_is_named_with_its_source():
    layers = [Settings("common", {"lr": 1, "depths": [1]}), Settings("own", {"depths": [5, -1]})]
    message = r"^own: depths\[1\]: must be greater than or equal to 0, but -1 was given$"
    with pytest.raises(ParameterError, match=message):
        parameters.check_ranges({"lr": 1.0, "depths": [5, -1]}, layers)


def test_every_parameter_of_the_notebooks_has_a_range():
    folder = Path(parameters.__file__).parents[1] / "notebooks"
    names = {name for path in folder.glob("*.ipynb") for name in read_defaults(path)}
    assert names - parameters.Ranges.model_fields.keys() == {"output_dir", "input_dir", "save_checkpoints"}


def test_a_value_that_is_long_is_shown_short():
    layers = [["x"]]
    for _ in range(30):
        layers = [layers] * 9  # written out it has 9 to the power of 30 letters
    with pytest.raises(ParameterError) as caught:
        check_value("depths", layers, 3)
    assert len(str(caught.value)) < 500
    with pytest.raises(ParameterError) as caught:
        check_names(Settings("--set", {"a" * 10_000: layers}), {"lr"}, "no notebook knows")
    assert len(str(caught.value)) < 500
