import pickle

import numpy as np
import pytest
import torch

from deadgcn.experiments import cache

VALUE = {
    "run": {"best_epoch": 3, "diverged_epoch": None, "test_acc": float("nan")},
    "epochs": {"train_loss": np.arange(4, dtype=np.float32)},
    "layers": {("init", "norm"): np.array([1.0, np.inf]), ("last", "norm"): np.array([np.nan, 2.0])},
    "best_state": {"lin.weight": torch.eye(2)},
}


def equal(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[name], other[name]) for name in one)
    if isinstance(one, np.ndarray | torch.Tensor):
        return type(one) is type(other) and one.dtype == other.dtype and str(one) == str(other)
    return repr(one) == repr(other)


@pytest.fixture
def entry(tmp_path):
    cache.store(tmp_path, "key", VALUE)
    (path,) = tmp_path.rglob("*.run")
    return path


def test_a_value_comes_back_under_its_key_only(tmp_path, entry, capsys):
    assert equal(cache.load(tmp_path, "key"), VALUE)
    assert cache.load(tmp_path, "another key") is None
    assert capsys.readouterr().err == ""
    cache.store(tmp_path, "key", {"run": 1.5})
    assert cache.load(tmp_path, "key") == {"run": 1.5} and len(list(tmp_path.rglob("*.*"))) == 1


def test_any_flipped_bit_is_noticed(tmp_path, entry, capsys):
    content = entry.read_bytes()
    places = np.random.default_rng(0).integers(len(content), size=400)
    for place in [0, 31, 32, len(content) - 1, *places.tolist()]:
        damaged = bytearray(content)
        damaged[place] ^= 1 << (place % 8)
        entry.write_bytes(damaged)
        assert cache.load(tmp_path, "key") is None, place
        message = capsys.readouterr().err
        assert message.startswith(str(entry)) and message.endswith("\r\n") and message.count("\n") == 1


@pytest.mark.parametrize("keep", [0, 1, 32, 33, 500, -1])
def test_a_truncated_entry_is_noticed(tmp_path, entry, keep):
    entry.write_bytes(entry.read_bytes()[:keep])
    assert cache.load(tmp_path, "key") is None


def test_an_entry_in_the_place_of_another_is_noticed(tmp_path, entry):
    cache.store(tmp_path, "other", VALUE | {"run": {"best_epoch": 9}})
    other = next(path for path in tmp_path.rglob("*.run") if path != entry)
    entry.write_bytes(other.read_bytes())
    assert cache.load(tmp_path, "key") is None and cache.load(tmp_path, "other") is not None


def test_an_entry_runs_no_code_even_with_a_right_checksum(tmp_path, entry, capsys):
    class Harm:
        def __reduce__(self):
            return print, ("harm",)

    torch.save({"key": "key", "value": Harm()}, buffer := cache.io.BytesIO())
    for content in (pickle.dumps(Harm()), buffer.getvalue()):
        entry.write_bytes(cache.hashlib.sha256(content).digest() + content)
        assert cache.load(tmp_path, "key") is None
        assert "harm\n" not in capsys.readouterr().out


def test_a_failed_write_leaves_the_old_entry_and_nothing_else(tmp_path, entry, monkeypatch):
    def half(path, content):
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.Path, "write_bytes", half)
    with pytest.raises(OSError, match=str(entry)):
        cache.store(tmp_path, "key", {"run": 2})
    assert equal(cache.load(tmp_path, "key"), VALUE)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [entry]
