import pytest
from parameters import check, read_defaults
from tiny_project import write_notebook

from deadgcn.config import ParameterError
from deadgcn.parameters import Parameters


def test_defaults_are_the_literals_of_the_tagged_cell(tmp_path):
    # A bar in the help, two equals signs and a list over several lines are what papermill's inference loses.
    source = "lr = 5e-4  # rate = step | float\ndepths = [\n    2,  # shallow\n    64,\n]\nsteps = -1"
    notebook = write_notebook(tmp_path / "a.ipynb", parameters=source)
    assert read_defaults(notebook) == {"lr": 0.0005, "depths": [2, 64], "steps": -1}


CELL = """'''Parameters'''
import os
%matplotlib inline
# a comment
lr: float = 1  # a rate
depths: list[int] = [2, 4]
name: "str" = 'a'
maybe: int | None = None
doubled = 2 * 3
pair = (1, 2)
table = {1: 2}
x, y = 1, 2
first = last = 3
asked: int
if lr > 0:
    inner = 1
"""


def test_what_papermill_takes_in_a_cell_of_parameters_is_legal(tmp_path):
    found = read_defaults(write_notebook(tmp_path / "a.ipynb", parameters=CELL))
    known = {"lr": 1.0, "depths": [2, 4], "name": "a", "maybe": None, "first": 3, "last": 3}
    assert found == known | dict.fromkeys(["doubled", "pair", "table", "asked"], ...)
    assert isinstance(found["lr"], float)
    assert check("--set", "{maybe: 4, doubled: any}", found) == {"maybe": 4, "doubled": "any"}


def test_a_cell_that_is_not_python_is_an_error(tmp_path):
    notebook = write_notebook(tmp_path / "a.ipynb", parameters="good = 1\nx =")
    with pytest.raises(ParameterError, match=r"a\.ipynb"):
        read_defaults(notebook)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"cells": [1]}'])
def test_a_file_that_is_no_notebook_is_an_error(tmp_path, text):
    (tmp_path / "a.ipynb").write_text(text)
    with pytest.raises(ParameterError, match=r"a\.ipynb"):
        read_defaults(tmp_path / "a.ipynb")


def test_yaml_is_that_of_version_1_2():
    text = (
        "{a: 5e-4, b: 1e5, c: on, d: 010, e: 1:30.5, f: 1_000, g: 0o17, h: 0b11, i: 2024-01-01, j: <<, k: =}"
    )
    expected = {"a": 5e-4, "b": 1e5, "c": "on", "d": 10, "e": "1:30.5", "f": "1_000", "g": 15, "h": "0b11"}
    expected |= {"i": "2024-01-01", "j": "<<", "k": "="}
    assert check("--set", text, expected) == expected
    assert check("--set", "# nothing", expected) == {}
    assert check("--set", b"\xef\xbb\xbfa: 1.", expected) == {"a": 1.0}


NOT_PLAIN = ["lr: !!set {a}", "lr: !!binary aGk=", "1: 2", "x: {1: 2}", "a: &a [*a]", "a: &b {lr: 1}\nc: *b"]


@pytest.mark.parametrize("text", [*NOT_PLAIN, "''", "[]", "0", b"lr: \xff", b"lr: 1\n\tlr: 2"])
def test_what_is_not_plain_data_is_refused(text):
    with pytest.raises(ParameterError, match=r"mine\.yaml"):
        check("mine.yaml", text, dict.fromkeys(["lr", "x", "a", "c", "1"], ...))


def test_the_nearest_name_is_told_only_if_one_is_near():
    known = {"lr": 0.1, "epochs": 10, "depths": [2]}
    with pytest.raises(ParameterError, match=r"--set: .*depth.*\[3\].*depths\?"):
        check("--set", "depth: [3]", known)
    with pytest.raises(ParameterError, match=r"colour.*depths, epochs, lr"):
        check("--set", "colour: 3", known)


def test_every_illegal_value_is_named():
    with pytest.raises(ParameterError, match=r"(?s)a\.yaml: lr = 'fast'.*a\.yaml: epochs = 0"):
        check("a.yaml", "{lr: fast, epochs: 0}", {"lr": 0.1, "epochs": 10})


def test_a_readers_own_parameter_has_the_type_of_its_default():
    defaults = {"colour": "red", "steps": 3}
    assert check("--set", "{colour: blue, steps: 4}", defaults) == {"colour": "blue", "steps": 4}
    for text in ("colour: 3", "steps: x"):
        with pytest.raises(ParameterError, match=text[:5]):
            check("--set", text, defaults)


@pytest.mark.parametrize("address", ["''", "tcp://host:8786", "tls://node-3.site:1", "'tcp://[::1]:1'"])
def test_addresses_of_schedulers_are_taken(address):
    assert check("--set", f"scheduler: {address}", {"scheduler": ""}) == {"scheduler": address.strip("'")}


ARMS = {"arms": {}, "lr": 0.1}


def test_arms_are_labels_with_settings():
    text = "arms: {half: {strip: true, amount: 0.5}, smooth: {act: elu}}"
    assert check("--set", text, ARMS)["arms"]["half"] == {"strip": True, "amount": 0.5}


@pytest.mark.parametrize(
    ("arms", "told"),
    [
        ("{half: {amount: 0.5}}", "strip"),
        ("{half: {strip: true, amont: 0.5}}", "amount"),
        ("{half: {strip: true, seed: 3}}", "seed"),
        ("{ReLU: {strip: true}}", "ReLU"),
        ("{half: 3}", "half"),
        ("[half]", "arms"),
        ("{gat: {conv: gat}}", "conv"),
        ("{relu-pruning: {strip: true}}", "relu-pruning"),  # the report's name of ReLU + pruning
        ("{ReLU + pruning: {act: elu}}", "ReLU"),
        ("{LeakyReLU: {act: elu}}", "LeakyReLU"),
        ("{'ReLU, our recipe': {act: elu}}", "our recipe"),
    ],
)
def test_arms_that_are_none_are_refused(arms, told):
    with pytest.raises(ParameterError, match=told):
        check("--set", f"arms: {arms}", ARMS)


@pytest.mark.parametrize("label", ["", "$x$", "_x", " x", "x ", "a\tb", "a\rb", "\ud800", "x" * 41])
def test_labels_that_no_figure_or_table_shows_are_refused(label):
    with pytest.raises(ParameterError, match="label"):
        Parameters(arms={label: {"strip": True}})


LOST = ["NA", "n/a", "#N/A N/A", "None", "null", "NaN", "-nan", "1.#IND", "<NA>", "1", "1e5", "True"]


@pytest.mark.parametrize("label", LOST)
def test_labels_that_a_table_loses_are_refused(label):
    with pytest.raises(ParameterError, match="label"):
        Parameters(arms={label: {"strip": True}})


@pytest.mark.parametrize("label", ["NaN-ELU", "α = 0.5", "日本", "<b>", "a,b", 'a "b"', "#"])
def test_any_other_label_is_legal(label):
    assert label in Parameters(arms={label: {"strip": True}}).arms


def test_a_setting_of_arms_is_told_where_it_goes():
    with pytest.raises(ParameterError, match=r"negative_slope = 0.2.*arms: \{.*\{negative_slope"):
        check("--set", "negative_slope: 0.2", {"dataset": "auto", "lr": 0.1})
