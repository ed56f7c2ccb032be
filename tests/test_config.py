import json

import numpy as np
import pandas as pd
import pytest
import torch
from torch_geometric.nn.resolver import activation_resolver

from deadgcn.config import Config, ParameterError


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [("lr", 1, 1.0), ("num_layers", np.int64(3), 3), ("dropout", np.float32(0.5), 0.5)],
)
def test_numbers_come_out_as_plain_numbers(name, given, expected):
    value = getattr(Config(**{name: given}), name)
    assert value == expected and type(value) is type(expected)


BAD = {
    "layers": [3],
    "split": [-1],
    "num_layers": [-1, 10**6, 2.5, "five", True, None],
    "seed": [-1, False],
    "hidden_channels": [0],
    "act": [
        "tahn",
        "",
        "prelu",
        "threshold",
        torch.nn.PReLU(),
        torch.nn.Tanh,
        torch.nn.RReLU(),
        3,
        None,
        ["relu"],
    ],
    "negative_slope": [0, 1.0],
    "propagation": [-0.1, 1.1],
    "init": ["xavier"],
    "bias": [1],
    "strip": ["yes"],
    "dropout": [1],
    "input_dropout": [-0.1],
    "lr": [0, float("inf"), float("nan"), True, "5e-4"],
    "weight_decay": [-1e-4],
    "decoupled": [1],
    "epochs": [0],
    "amount": [0, 1.5],
    "among": ["positive"],
    "rounding": ["nearest"],
    "death_nodes": ["train"],
    "dead_threshold": [0, 1.01],
    "warmup": [-1],
    "intervention": ["prune", None],
    "dose": [0, 1.5],
    "dataset": [3],
    "method": [""],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in BAD for value in BAD[name]])
def test_bad_settings_are_refused_by_name_and_value(name, value):
    with pytest.raises(ParameterError) as error:
        Config(**{name: value})
    assert name in str(error.value) and repr(value) in str(error.value)


@pytest.mark.parametrize(
    ("spelt", "act"),
    [("ELU", "elu"), ("LeakyReLU", "leaky_relu"), ("leakyrelu", "leaky_relu"), ("SiLU", "silu")],
)
def test_names_are_read_as_pyg_reads_them(spelt, act):
    assert Config(act=spelt).act == act
    assert type(activation_resolver(spelt)) is type(activation_resolver(act))


def test_modules_of_torch_are_saved_with_their_arguments():
    assert json.loads(Config(act=torch.nn.ELU(0.5)).model_dump_json())["act"] == "ELU(alpha=0.5)"


@pytest.mark.parametrize("act", ["relu", "leaky_relu", "elu", "tanh", torch.tanh, torch.nn.functional.elu])
def test_activations_are_names_of_pyg_or_functions_and_are_saved_by_name(act):
    config = Config(act=act)
    assert config.act is act
    assert json.loads(config.model_dump_json())["act"] == (
        act if isinstance(act, str) else f"own {act.__name__}"
    )


class ELU(torch.nn.ELU):
    """Of the name and repr of torch's."""


@pytest.mark.parametrize("act", [ELU(), torch.relu, torch.nn.Sequential(torch.nn.ELU())])
def test_what_is_ones_own_is_not_saved_as_if_it_were_torchs(act):
    assert json.loads(Config(act=act).model_dump_json())["act"].startswith("own ")


@pytest.mark.parametrize("act", [torch.nn.Dropout(), torch.nn.RReLU(), torch.nn.BatchNorm1d(3, affine=False)])
def test_modules_that_draw_or_learn_are_no_activations(act):
    with pytest.raises(ParameterError, match=f"act = {type(act).__name__}"):
        Config(act=act)


@pytest.mark.parametrize(
    "label", ["None", "NA", "nan", "null", "", "1", "1.0", "-inf", "1e5", "True", "<NA>", "#N/A", "a\rb"]
)
def test_labels_that_a_csv_file_loses_are_refused(label):
    with pytest.raises(ParameterError, match=r"^method = .* CSV"):
        Config(method=label)


@pytest.mark.parametrize(
    "label", ["No", "none of them", "1 layer", "ReLU, half", 'a "b"', "é", "<b>", "-", "a\nb"]
)
def test_labels_that_a_csv_file_keeps_are_legal(label, tmp_path):
    pd.DataFrame({"method": [Config(method=label).method]}).to_csv(tmp_path / "x.csv", index=False)
    assert pd.read_csv(tmp_path / "x.csv")["method"].tolist() == [label]


def test_a_run_in_which_no_epoch_counts_is_refused():
    with pytest.raises(ParameterError, match="warmup=5"):
        Config(epochs=5, warmup=5)
    assert Config(warmup=0, epochs=1).epochs == 1


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"intervention": "partial", "strip": True}, "'partial' .*True"),
        ({"intervention": "leaky gradient", "act": "elu"}, "'leaky gradient' .*'elu'"),
        ({"intervention": "sham", "act": torch.relu}, "'sham' .*relu"),
        ({"intervention": "bias shift", "bias": False}, "'bias shift' .*False"),
        ({"init": "looks_linear", "hidden_channels": 7}, "looks_linear .*7"),
    ],
)
def test_settings_that_do_not_fit_each_other_are_refused(settings, match):
    with pytest.raises(ParameterError, match=match):
        Config(**settings)
    for name in settings:
        Config(**{other: value for other, value in settings.items() if other != name})


@pytest.mark.parametrize(
    ("name", "value", "needs"),
    [
        ("negative_slope", 0.2, {"act": "leaky_relu"}),
        ("amount", 0.5, {"strip": True}),
        ("amount", 0.5, {"intervention": "most positive"}),
        ("among", "all", {"strip": True}),
        ("rounding", "ceil", {"strip": True}),
        ("death_nodes", "val", {"intervention": "bias shift"}),
        ("dose", 0.5, {"intervention": "freeze"}),
    ],
)
def test_a_setting_that_changes_nothing_is_refused(name, value, needs):
    with pytest.raises(ParameterError, match=f"{name} = .*changes nothing"):
        Config(**{name: value})
    assert getattr(Config(**{name: value}, **needs), name) == value


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("num_layer", "num_layers?"),
        ("learning_rat", "known are"),
        ("num_seeds", "parameter of notebooks"),
        ("colour", "weight_decay"),
    ],
)
def test_an_unknown_name_is_told_what_is_near_or_where_it_goes(name, told):
    with pytest.raises(ParameterError) as error:
        Config(**{name: 3})
    assert f"{name} = 3" in str(error.value) and told in str(error.value)
