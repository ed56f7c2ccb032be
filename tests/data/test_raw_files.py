"""How raw files are obtained and checked, with eight small files in place of Cora's."""

import hashlib
import pickle
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deadgcn.data import graphs as data
from deadgcn.data.graphs import DataError, DataUnavailableError, load_graph, resolve_dataset

CORA = [f"ind.cora.{part}" for part in data.RAW_PARTS]
pytestmark = pytest.mark.usefixtures("offline")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.path.endswith("ind.cora.graph") and (Path(self.directory) / "cut").exists():
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"half")
        else:
            super().do_GET()


@pytest.fixture
def raw(root):
    return root / "Cora" / "raw"


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder with eight small files that stand for Cora's; their checksums are the known ones."""
    folder = tmp_path / "files"
    folder.mkdir()
    for name in CORA:
        (folder / name).write_text(f"content of {name}")
    sums = {name: hashlib.sha256(f"content of {name}".encode()).hexdigest() for name in CORA}
    monkeypatch.setattr(data, "SHA256", sums)
    return folder


@pytest.fixture
def server(files, monkeypatch):
    """The folder that a web server publishes in place of the real one."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(files))) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        monkeypatch.setattr(data, "BASE_URL", f"http://127.0.0.1:{http.server_port}")
        yield files
        http.shutdown()


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_all_files_are_downloaded_and_nothing_is_printed(server, root, raw, capfd):
    assert resolve_dataset("auto", root) == "Cora"
    assert contents(raw) == contents(server)
    assert capfd.readouterr() == ("", "")
    shutil.rmtree(server)
    assert resolve_dataset("auto", root) == "Cora"  # from now on without network
    assert resolve_dataset("auto", root / "empty") == "SyntheticCora"


def test_shared_copies_are_preferred_to_downloads(server, tmp_path, root, raw):
    shared = shutil.copytree(server, tmp_path / "shared" / "Cora" / "raw")
    for name in CORA:
        (server / name).write_text("altered")
    assert resolve_dataset("Cora", root) == "Cora"
    assert contents(raw) == contents(shared)


def test_only_missing_files_are_downloaded(server, root, raw):
    expected = contents(shutil.copytree(server, raw))
    (raw / "ind.cora.y").unlink()
    for name in set(CORA) - {"ind.cora.y"}:
        (server / name).unlink()
    assert resolve_dataset("Cora", root) == "Cora"
    assert contents(raw) == expected


def test_unavailable_file_is_named_with_its_checksum(root):
    with pytest.raises(DataUnavailableError) as caught:
        load_graph("Cora", root)
    assert str(root / "Cora" / "raw" / "ind.cora.x") in str(caught.value)
    assert data.SHA256["ind.cora.x"] in str(caught.value)


def test_interrupted_download_leaves_no_part_of_the_file(server, root, raw):
    (server / "cut").touch()
    with pytest.raises(DataUnavailableError, match=r"ind\.cora\.graph"):
        resolve_dataset("Cora", root)
    assert sorted(contents(raw)) == sorted(set(CORA) - {"ind.cora.graph", "ind.cora.test.index"})
    assert resolve_dataset("auto", root) == "SyntheticCora"
    (server / "cut").unlink()
    assert resolve_dataset("auto", root) == "Cora"


@pytest.mark.parametrize("source", ["server", "shared"])
@pytest.mark.parametrize("content", [b"", b"Content of ind.cora.tx"])
def test_damaged_source_is_an_error_even_for_auto(source, content, server, tmp_path, root, raw):
    folder = server
    if source == "shared":
        folder = shutil.copytree(server, tmp_path / "shared" / "Cora" / "raw")
    (folder / "ind.cora.tx").write_bytes(content)
    with pytest.raises(DataError) as caught:
        resolve_dataset("auto", root)
    assert not isinstance(caught.value, DataUnavailableError)
    for part in (data.SHA256["ind.cora.tx"], hashlib.sha256(content).hexdigest(), str(raw / "ind.cora.tx")):
        assert part in str(caught.value)
    assert list(contents(raw)) == ["ind.cora.x"]


@pytest.mark.parametrize("name", ["Cora", "auto"])
@pytest.mark.parametrize("content", [b"", b"Content of ind.cora.ally"])
def test_damaged_file_of_the_user_is_reported_and_kept(name, content, server, root, raw):
    shutil.copytree(server, raw)
    shutil.rmtree(server)
    (raw / "ind.cora.x").unlink()  # cannot be obtained, yet the damage is reported
    (raw / "ind.cora.ally").write_bytes(content)
    with pytest.raises(DataError) as caught:
        resolve_dataset(name, root)
    assert not isinstance(caught.value, DataUnavailableError)
    for part in (data.SHA256["ind.cora.ally"], hashlib.sha256(content).hexdigest(), "delete"):
        assert part in str(caught.value)
    assert (raw / "ind.cora.ally").read_bytes() == content


class Touch:
    """Unpickling one of these creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("part", data.RAW_PARTS)
def test_altered_pickle_is_never_opened(part, files, root, raw, tmp_path):
    shutil.copytree(files, raw)
    altered, witness = raw / f"ind.cora.{part}", tmp_path / "witness"
    altered.write_bytes(pickle.dumps(Touch(witness)))
    with pytest.raises(DataError):
        load_graph("Cora", root)
    assert not witness.exists()
    pickle.loads(altered.read_bytes())
    assert witness.exists()


def test_checksums_of_pubmed_are_those_that_the_user_recorded(root):
    with pytest.raises(DataUnavailableError, match="not known"):
        load_graph("PubMed", root)
    raw = root / "PubMed" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    lines = []
    for part in data.RAW_PARTS:
        (raw / f"ind.pubmed.{part}").write_text(part)
        lines.append(f"{hashlib.sha256(part.encode()).hexdigest()}  ind.pubmed.{part}\n")
    with pytest.raises(DataError, match=r"ind\.pubmed\.x was not opened.*SHA256SUMS"):
        load_graph("PubMed", root)
    (raw / "SHA256SUMS").write_text("".join(lines))
    assert resolve_dataset("PubMed", root) == "PubMed"
    (raw / "ind.pubmed.graph").write_text("altered")
    with pytest.raises(DataError, match=r"ind\.pubmed\.graph"):
        resolve_dataset("PubMed", root)


def test_recorded_checksums_do_not_override_the_known_ones(files, root, raw):
    shutil.copytree(files, raw)
    (raw / "ind.cora.x").write_text("altered")
    (raw / "SHA256SUMS").write_text(f"{hashlib.sha256(b'altered').hexdigest()}  ind.cora.x\n")
    with pytest.raises(DataError, match=r"ind\.cora\.x"):
        resolve_dataset("Cora", root)


def test_resolving_imports_no_torch():
    code = "import sys, deadgcn as dg; dg.resolve_dataset('SyntheticCora'); print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"


def test_command_line(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(data, "PROJECT", tmp_path)
    data.main(["Cora"])
    assert str(tmp_path / "data" / "Cora") in capsys.readouterr().out
    (tmp_path / "data" / "Cora" / "raw" / "ind.cora.x").write_text("altered")
    for name, part in (("Cora", "ind.cora.x"), ("Coral", "'Coral'")):
        with pytest.raises(SystemExit, match=part):
            data.main([name])
