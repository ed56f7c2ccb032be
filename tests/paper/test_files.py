import errno
import os
import subprocess
import sys
import time

import pytest

from deadgcn.experiments import files


def content(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "new" / "a.csv"
    files.write(path, b"one")
    files.write(path, b"two")
    monkeypatch.setattr(files.os, "replace", lambda *_: _full())
    with pytest.raises(OSError, match=rf"No space left on device: '{path}'"):
        files.write(path, b"three")
    assert content(tmp_path) == {"new/a.csv": "two"}


def _full():
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_writing_below_a_file_names_the_place(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file/a"):
        files.write(tmp_path / "file" / "a", b"")


@pytest.mark.parametrize("other_file_system", [False, True])
def test_files_move_all_or_none(tmp_path, monkeypatch, other_file_system):
    for name in ("a", "b"):
        (tmp_path / name).write_text(f"new {name}")
        (tmp_path / f"to_{name}").write_text("old")
    moves = {tmp_path / name: tmp_path / f"to_{name}" for name in ("a", "b")}
    real, copy = os.replace, files.shutil.copyfile

    def replace(first, second):
        if other_file_system and first in moves:
            raise OSError(errno.EXDEV, "another file system")
        real(first, second)

    def copy_until_full(first, second):
        copy(first, second)
        if first.name == "b":
            _full()

    monkeypatch.setattr(files.os, "replace", replace)
    if other_file_system:
        with monkeypatch.context() as patch:
            patch.setattr(files.shutil, "copyfile", copy_until_full)
            with pytest.raises(OSError, match=r"No space left on device: '.*to_b"):
                files.move(moves)
        assert content(tmp_path) == {"a": "new a", "b": "new b", "to_a": "old", "to_b": "old"}
    files.move(moves)
    left = {"a": "new a", "b": "new b"} if other_file_system else {}
    assert content(tmp_path) == {"to_a": "new a", "to_b": "new b"} | left


def test_nothing_moves_where_a_target_is_a_folder(tmp_path):
    (tmp_path / "a").write_text("new")
    (tmp_path / "to_a").write_text("old")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        files.move({tmp_path / "a": tmp_path / "to_a", tmp_path / "b": tmp_path / "folder"})
    assert content(tmp_path)["to_a"] == "old"


def test_what_cannot_be_written_to_is_refused_and_nothing_is_made(tmp_path, monkeypatch):
    files.refuse_unwritable(tmp_path / "not" / "yet")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="file"):
        files.refuse_unwritable(tmp_path / "file" / "below")
    monkeypatch.setattr(files.os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError, match=str(tmp_path)):
        files.refuse_unwritable(tmp_path / "not" / "yet")


HOLD = """
import sys, time
from pathlib import Path
from deadgcn.experiments import files
with files.locked(Path(sys.argv[1]), "waiting"):
    print("has it", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def test_a_lock_is_waited_for_and_goes_with_a_process_that_is_killed(tmp_path, capsys):
    command = [sys.executable, "-c", HOLD, str(tmp_path / "locks" / "a")]
    with subprocess.Popen([*command, "60"], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "has it\n"
        with subprocess.Popen([*command, "0"], stdout=subprocess.PIPE, text=True) as second:
            assert second.stdout.readline() == "waiting\n"
            time.sleep(0.3)
            assert second.poll() is None
            first.kill()
            assert second.stdout.readline() == "has it\n" and second.wait() == 0
    with files.locked(tmp_path / "locks" / "a", "waiting"):
        assert capsys.readouterr().out == ""
