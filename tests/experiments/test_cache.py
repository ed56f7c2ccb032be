import errno
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from deadgcn.experiments import cache
from deadgcn.experiments.tables import load_model

VALUE = {
    "run": {"best_epoch": 3, "diverged_epoch": None, "test_acc": float("nan")},
    "last": {"norm": np.array([1.0, np.inf]), "dead_fraction": np.array([np.nan, 2.0])},
    "best_state": {"lin.weight": np.eye(2, dtype=np.float32).T, "head.bias": np.zeros(0)},
}


@pytest.fixture
def entry(tmp_path):
    cache.store(tmp_path, "key", VALUE)
    (path,) = tmp_path.rglob("*.run")
    return path


def test_a_value_comes_back_under_its_key_only(tmp_path, entry):
    assert repr(cache.load(tmp_path, "key")) == repr(VALUE)  # types, NaN and infinity too
    assert cache.load(tmp_path, "other") is None
    cache.store(tmp_path, "other", {"run": {}, "best_state": {"b": torch.arange(3)}})
    assert cache.load(tmp_path, "other")["best_state"]["b"].tolist() == [0, 1, 2]
    (other,) = set(tmp_path.rglob("*.run")) - {entry}
    entry.write_bytes(other.read_bytes())  # whole, but another run's
    assert cache.load(tmp_path, "key") is None


def test_any_flipped_bit_or_missing_end_is_noticed(tmp_path, entry, capsys):
    content = entry.read_bytes()
    for place in [0, 31, 32, len(content) - 1, *np.random.default_rng(0).integers(len(content), size=200)]:
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(place) % 8
        entry.write_bytes(damaged)
        assert cache.load(tmp_path, "key") is None, place
        assert str(entry) in capsys.readouterr().err
    for keep in (0, 1, 32, 33, 500, -1):
        entry.write_bytes(content[:keep])
        assert cache.load(tmp_path, "key") is None


def test_a_failed_write_leaves_the_old_entry_and_nothing_else(tmp_path, entry, monkeypatch):
    def half(path, content):
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.Path, "write_bytes", half)
    with pytest.raises(OSError, match="No space"):
        cache.store(tmp_path, "key", {"run": {}})
    assert repr(cache.load(tmp_path, "key")) == repr(VALUE)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [entry]


def test_a_checkpoint_runs_no_code(tmp_path, capsys):
    class Harm:
        def __reduce__(self):
            return print, ("harm",)

    torch.save({"key": "key", "value": Harm()}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"a\.pth"):
        load_model(tmp_path / "a.pth")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("nowhere"), Path.touch])
def test_whatever_stands_in_place_of_a_run_means_train_again(make, tmp_path, entry, capsys):
    entry.unlink()
    make(entry)
    assert cache.load(tmp_path, "key") is None and str(entry) in capsys.readouterr().err
    cache.store(tmp_path, "key", VALUE)
    assert repr(cache.load(tmp_path, "key")) == repr(VALUE)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP])
def test_where_files_cannot_be_locked_it_warns_and_goes_on(number, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.warns(UserWarning, match=rf"{tmp_path}/runs/.*\.lock"), cache.claim(tmp_path, "key"):
        cache.store(tmp_path, "key", VALUE)
    with pytest.warns(UserWarning, match=rf"{tmp_path}/core-\d+\.lock"), cache.core(tmp_path):
        assert repr(cache.load(tmp_path, "key")) == repr(VALUE)


def test_a_core_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "cpu_count", lambda: 2)
    entered = threading.Event()

    def enter():
        with cache.core(tmp_path):
            entered.set()

    thread = threading.Thread(target=enter)
    with cache.core(tmp_path):
        with cache.core(tmp_path):
            thread.start()
            assert not entered.wait(0.3)
        assert entered.wait(10)
    thread.join()
