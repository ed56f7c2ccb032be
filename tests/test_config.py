import json

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from deadgcn.config import Config


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [("lr", 1, 1.0), ("num_layers", np.int64(3), 3), ("amount", np.float32(0.5), 0.5)],
)
def test_numbers_come_out_as_plain_numbers(name, given, expected):
    value = getattr(Config(**{name: given}), name)
    assert value == expected and type(value) is type(expected)


BAD = {
    "layers": [3],
    "num_layers": [-1, 10**6, 2.5, "five", True, None],
    "seed": [-1, False],
    "hidden_channels": [0],
    "act": ["tahn", "", "prelu", "threshold", torch.nn.PReLU(), torch.nn.Tanh, 3, None, ["relu"]],
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
    "replacement": ["one"],
    "death_nodes": ["train"],
    "dead_threshold": [0, 1.01],
    "warmup": [-1],
    "strip_every": [0],
    "intervention": ["prune", None],
    "dose": [0, 1.5],
    "dataset": [3],
    "method": [""],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in BAD for value in BAD[name]])
def test_bad_settings_are_refused_by_name_and_value(name, value):
    with pytest.raises(ValidationError) as error:
        Config(**{name: value})
    assert name in str(error.value) and repr(value) in str(error.value)


@pytest.mark.parametrize("act", ["relu", "leaky_relu", "elu", "tanh", torch.tanh, torch.nn.functional.elu])
def test_activations_are_names_of_pyg_or_functions_and_are_saved_by_name(act):
    config = Config(act=act)
    assert config.act is act
    assert json.loads(config.model_dump_json())["act"] == (act if isinstance(act, str) else act.__name__)


def test_the_second_epoch_is_the_first_that_counts():
    assert [epoch for epoch in range(4) if Config().counts(epoch)] == [1, 2, 3]
    assert [epoch for epoch in range(4) if Config(warmup=0).counts(epoch)] == [0, 1, 2, 3]
    assert [epoch for epoch in range(10) if Config(warmup=2, strip_every=3).counts(epoch)] == [3, 6, 9]


def test_a_run_in_which_no_epoch_counts_is_refused():
    for settings, match in (({"warmup": 5}, "warmup=5"), ({"strip_every": 5}, "strip_every=5")):
        with pytest.raises(ValidationError, match=match):
            Config(epochs=5, **settings)
    assert Config(warmup=0, epochs=1).counts(0)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"intervention": "partial", "strip": True}, "'partial' .*True"),
        ({"intervention": "leaky gradient", "act": "elu"}, "'leaky gradient' .*'elu'"),
        ({"intervention": "sham", "act": torch.relu}, "'sham' .*relu"),
        ({"intervention": "sham", "replacement": "he"}, "'sham' .*'he'"),
        ({"intervention": "bias shift", "bias": False}, "'bias shift' .*False"),
        ({"init": "looks_linear", "hidden_channels": 7}, "looks_linear .*7"),
    ],
)
def test_settings_that_do_not_fit_each_other_are_refused(settings, match):
    with pytest.raises(ValidationError, match=match):
        Config(**settings)
    for name in settings:
        Config(**{other: value for other, value in settings.items() if other != name})
