import subprocess
import sys

import numpy as np
import pytest
from pydantic import ValidationError

from deadgcn.config import Config


def test_importing_it_imports_no_torch():
    code = "import sys, deadgcn.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("lr", "5e-4", 5e-4),  # what YAML makes of 5e-4 is text
        ("lr", 1, 1.0),
        ("num_layers", np.int64(3), 3),
        ("seed", np.arange(2)[1], 1),
        ("amount", np.float32(0.5), 0.5),
    ],
)
def test_numbers_come_out_as_plain_numbers(name, given, expected):
    value = getattr(Config(**{name: given}), name)
    assert value == expected and type(value) is type(expected)


@pytest.mark.parametrize(
    "settings",
    [
        {"layers": 3},
        {"num_layers": -1},
        {"num_layers": 10**6},
        {"num_layers": 2.5},
        {"num_layers": "five"},
        {"num_layers": True},
        {"num_layers": None},
        {"seed": -1},
        {"seed": False},
        {"hidden_channels": 0},
        {"act": "tanh"},
        {"negative_slope": 0},
        {"negative_slope": 1.0},
        {"bias": 1},
        {"strip": "yes"},
        {"dropout": 1},
        {"input_dropout": -0.1},
        {"lr": 0},
        {"lr": float("inf")},
        {"lr": float("nan")},
        {"lr": True},
        {"weight_decay": -1e-4},
        {"epochs": 0},
        {"amount": 0},
        {"amount": 1.5},
        {"among": "positive"},
        {"rounding": "nearest"},
        {"replacement": "one"},
        {"death_nodes": "train"},
        {"dead_threshold": 0},
        {"dead_threshold": 1.01},
        {"warmup": -1},
        {"strip_every": 0},
        {"dataset": "cora"},
        {"dataset": "auto"},
        {"method": ""},
    ],
    ids=str,
)
def test_bad_settings_are_refused_by_name_and_value(settings):
    (name, value), *_ = settings.items()
    with pytest.raises(ValidationError) as error:
        Config(**settings)
    assert name in str(error.value)
    assert repr(value) in str(error.value)


def test_a_config_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        Config().lr = 1.0


def test_the_second_epoch_is_the_first_that_counts():
    assert [epoch for epoch in range(4) if Config().counts(epoch)] == [1, 2, 3]
    assert [epoch for epoch in range(4) if Config(warmup=0).counts(epoch)] == [0, 1, 2, 3]
    assert [epoch for epoch in range(10) if Config(warmup=2, strip_every=3).counts(epoch)] == [3, 6, 9]


def test_a_run_in_which_no_epoch_counts_is_refused():
    with pytest.raises(ValidationError, match="warmup=5"):
        Config(warmup=5, epochs=5)
    with pytest.raises(ValidationError, match="strip_every=50"):
        Config(strip_every=50, epochs=50)
    assert Config(warmup=0, epochs=1).counts(0)
