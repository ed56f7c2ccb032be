"""How raw files are obtained and checked, with eight small files in place of Cora's."""

import hashlib
import os
import pickle
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fetch
import pytest
import torch

from deadgcn.data import graphs as data
from deadgcn.data.graphs import DataError, DataUnavailableError, load_graph, resolve_dataset

REAL_PROJECT = data.PROJECT
CORA = [f"ind.cora.{part}" for part in data.RAW_PARTS]
pytestmark = pytest.mark.usefixtures("offline")


@pytest.fixture
def raw(root):
    return root / "Cora" / "raw"


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder with eight small files that stand for Cora's; their checksums are the known ones."""
    (folder := tmp_path / "files").mkdir()
    for name in CORA:
        (folder / name).write_text(f"content of {name}")
    monkeypatch.setattr(data, "SHA256", {name: sha256((folder / name).read_bytes()) for name in CORA})
    return folder


@pytest.fixture
def server(files, monkeypatch):
    """The folder that a web server publishes in place of the real one."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    serve = partial(SimpleHTTPRequestHandler, directory=str(files))
    with ThreadingHTTPServer(("127.0.0.1", 0), serve) as http:
        threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setattr(data, "BASE_URL", f"http://127.0.0.1:{http.server_port}")
        yield files
        http.shutdown()


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_all_files_are_downloaded_once_and_nothing_is_printed(server, root, raw, capfd):
    assert resolve_dataset("auto", root) == "Cora"
    assert contents(raw) == contents(server)
    assert capfd.readouterr() == ("", "")
    shutil.rmtree(server)
    assert resolve_dataset("auto", root) == "Cora"  # from now on without network
    assert resolve_dataset("auto", root / "empty") == "SyntheticCora"


def test_own_files_come_first_then_shared_copies_then_downloads(server, tmp_path, root, raw):
    expected, shared = contents(server), tmp_path / "shared" / "Cora" / "raw"
    for folder, names in ((raw, CORA[:3]), (shared, CORA[3:6])):
        folder.mkdir(parents=True)
        for name in names:
            (server / name).rename(folder / name)
            (server / name).write_text("altered")
    assert resolve_dataset("Cora", root) == "Cora"
    assert contents(raw) == expected


def test_an_unavailable_file_is_named_with_its_checksum(root):
    with pytest.raises(DataUnavailableError, match=rf"ind\.cora\.x .*{data.SHA256['ind.cora.x']}"):
        load_graph("Cora", root)


@pytest.mark.parametrize("name", ["Cora", "auto"])
@pytest.mark.parametrize("place", ["server", "shared", "own"])
@pytest.mark.parametrize("content", [b"", b"Content of ind.cora.tx"])
def test_a_damaged_file_is_an_error_even_for_auto(name, place, content, server, tmp_path, root, raw):
    folder = {"server": server, "shared": tmp_path / "shared" / "Cora" / "raw", "own": raw}[place]
    if place != "server":
        shutil.copytree(server, folder)
        shutil.rmtree(server)
    if place == "own":
        (raw / "ind.cora.x").unlink()  # cannot be obtained, yet the damage is reported
    (folder / "ind.cora.tx").write_bytes(content)
    with pytest.raises(DataError) as caught:
        resolve_dataset(name, root)
    assert not isinstance(caught.value, DataUnavailableError)
    for part in (data.SHA256["ind.cora.tx"], sha256(content), str(raw / "ind.cora.tx")):
        assert part in str(caught.value)
    assert contents(raw).get("ind.cora.tx") == (content if place == "own" else None)  # the user's is kept


class Touch(str):
    """Unpickling one of these creates the file of that name."""

    def __reduce__(self):
        return Path.touch, (Path(str(self)),)


@pytest.mark.parametrize("part", data.RAW_PARTS)
def test_an_altered_pickle_is_never_opened(part, files, root, raw, tmp_path):
    shutil.copytree(files, raw)
    altered, witness = raw / f"ind.cora.{part}", tmp_path / "witness"
    altered.write_bytes(pickle.dumps(Touch(witness)))
    with pytest.raises(DataError):
        load_graph("Cora", root)
    assert not witness.exists()
    pickle.loads(altered.read_bytes())
    assert witness.exists()


def test_checksums_that_the_user_recorded_count_where_none_are_known(files, root, raw):
    pubmed = root / "PubMed" / "raw"
    with pytest.raises(DataUnavailableError, match=r"not known; record it in .*SHA256SUMS"):
        load_graph("PubMed", root)
    pubmed.mkdir(parents=True, exist_ok=True)
    for part in data.RAW_PARTS:
        (pubmed / f"ind.pubmed.{part}").write_text(part)
    with pytest.raises(DataError, match=r"ind\.pubmed\.x .*SHA256SUMS"):
        load_graph("PubMed", root)
    lines = [f"{sha256(part.encode())}  ind.pubmed.{part}\n" for part in data.RAW_PARTS]
    (pubmed / "SHA256SUMS").write_text("".join(lines))
    assert resolve_dataset("PubMed", root) == "PubMed"
    (pubmed / "ind.pubmed.graph").write_text("altered")
    with pytest.raises(DataError, match=r"ind\.pubmed\.graph"):
        resolve_dataset("PubMed", root)
    shutil.copytree(files, raw)
    (raw / "ind.cora.x").write_text("altered")
    (raw / "SHA256SUMS").write_text(f"{sha256(b'altered')}  ind.cora.x\n")  # Cora's are known
    with pytest.raises(DataError, match=r"ind\.cora\.x"):
        resolve_dataset("Cora", root)


@pytest.mark.parametrize(("name", "part"), [("Cora", "ind.cora.x"), ("Coral", "'Coral'")])
def test_command_line(name, part, server, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(data, "PROJECT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["fetch.py", "Cora"])
    fetch.main()
    assert capsys.readouterr().out.split()[0] == "Cora"
    (tmp_path / "data" / "Cora" / "raw" / "ind.cora.x").write_text("altered")
    sys.argv[1] = name
    with pytest.raises(SystemExit, match=f"error: .*{part}"):
        fetch.main()


def test_the_command_line_checks_the_graph_too(twin, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(data, "PROJECT", tmp_path)
    torch.save(twin, tmp_path / "My.pt")
    monkeypatch.setattr(sys, "argv", ["fetch.py", "My.pt", "graph"])
    fetch.main()
    assert capsys.readouterr().out.split()[0] == "My.pt"
    broken = twin.clone()
    broken.x[7, 3] = torch.nan
    torch.save(broken, tmp_path / "My.pt")
    with pytest.raises(SystemExit, match="feature 3 of node 7"):
        fetch.main()


def test_a_package_without_notebooks_beside_it_works_in_the_callers_folder(tmp_path):
    shutil.copytree(REAL_PROJECT / "deadgcn", tmp_path / "site" / "deadgcn")
    work = tmp_path / "work"
    work.mkdir()
    lines = [
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})",
        "import deadgcn as dg, torch; print(dg.PROJECT, dg.__file__)",
        "torch.save(dg.load_graph('SyntheticCora'), 'My.pt')",
        "dg.run_grid([dg.Config(epochs=2)], graph=dg.load_graph('My.pt'), name='My')",
    ]
    told = subprocess.check_output([sys.executable, "-c", "\n".join(lines)], text=True, cwd=work).split()
    assert told == [str(work), str(tmp_path / "site" / "deadgcn" / "__init__.py")]
    assert list((work / ".cache").rglob("*.run")) and not (tmp_path / "site" / ".cache").exists()


def test_resolving_imports_no_torch():
    code = "import sys, deadgcn as dg; dg.resolve_dataset('SyntheticCora'); print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"


@pytest.mark.parametrize(
    "proxy", ["http://127.0.0.1:99999", "http://127.0.0.1:x", "http://[", "nonsense://:0"]
)
def test_an_unusual_proxy_is_one_sentence_and_auto_takes_the_twin(proxy, root, monkeypatch):
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy)
    monkeypatch.setattr(data, "BASE_URL", "https://localhost:1")
    with pytest.raises(DataUnavailableError, match=r"ind\.cora\.x .*https://localhost:1/ind\.cora\.x"):
        resolve_dataset("Cora", root)
    assert resolve_dataset("auto", root) == "SyntheticCora"
    assert not [path for path in root.rglob("*") if path.is_file()]


def test_a_full_disk_is_an_error_that_names_the_file(server, root, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(DataError, match=r"Cora/raw/ind\.cora\.x .*No space left") as caught:
        resolve_dataset("auto", root)  # not the twin: the files can be obtained
    assert not isinstance(caught.value, DataUnavailableError)
    assert not [path for path in root.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "text",
    [
        b"%s ind.pubmed.x\n",  # one space
        b"%s\n",
        b"ind.pubmed.x  %s\n",
        b"SHA256 (ind.pubmed.x) = %s\n",
        b"%s  ind.pubmed.x\n" + b"0" * 64 + b"  ./ind.pubmed.x\n",  # two for one file
        b"\xff\xfe%s  ind.pubmed.x\n",
    ],
)
def test_a_record_of_checksums_that_cannot_be_read_is_named(text, root):
    record = root / "PubMed" / "raw" / "SHA256SUMS"
    record.parent.mkdir(parents=True)
    record.write_bytes(text % sha256(b"").encode())
    with pytest.raises(DataError, match=str(record)):
        resolve_dataset("PubMed", root)
    for make in (os.mkfifo, os.mkdir):
        record.unlink()
        make(record)
        with pytest.raises(DataError, match=str(record)):
            resolve_dataset("PubMed", root)


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to(path)])
def test_a_special_file_in_place_of_raw_data_is_an_error_and_is_kept(make, server, root, raw):
    raw.mkdir(parents=True)
    make(raw / "ind.cora.graph")
    with pytest.raises(DataError, match=r"ind\.cora\.graph"):
        resolve_dataset("Cora", root)
    assert os.path.lexists(raw / "ind.cora.graph")
