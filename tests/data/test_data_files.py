"""How the raw files are fetched and checked, with eight small files in place of Cora's."""

import hashlib
import http.client
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from deadgcn.data import graphs as data
from deadgcn.data.graphs import DataError, DataUnavailableError, load_graph, resolve_dataset

CORA = [f"ind.cora.{part}" for part in data.RAW_PARTS]
pytestmark = pytest.mark.usefixtures("offline")


@pytest.fixture
def raw(root):
    return root / "Cora" / "raw"


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server with eight small files that stand for Cora's, and their checksums."""
    folder = tmp_path / "server"
    folder.mkdir()
    for name in CORA:
        (folder / name).write_text(f"content of {name}")
    sums = {name: hashlib.sha256(f"content of {name}".encode()).hexdigest() for name in CORA}
    monkeypatch.setattr(data, "SHA256", sums)
    return folder


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_download_puts_eight_whole_files_in_place(server, root, raw):
    assert resolve_dataset("Cora", root) == "Cora"
    assert names_in(raw) == sorted(CORA)
    assert all((raw / name).read_bytes() == (server / name).read_bytes() for name in CORA)


def test_shared_copy_comes_before_the_download(server, tmp_path, root, raw):
    shutil.copytree(server, tmp_path / "shared" / "Cora" / "raw")
    for name in CORA:
        (server / name).write_text("altered, so that a download would be an error")
    assert resolve_dataset("Cora", root) == "Cora"
    assert names_in(raw) == sorted(CORA)


def test_only_the_missing_file_is_fetched(server, root, raw):
    shutil.copytree(server, raw)
    (raw / "ind.cora.y").unlink()
    for name in set(CORA) - {"ind.cora.y"}:
        (server / name).unlink()
    assert resolve_dataset("Cora", root) == "Cora"
    assert names_in(raw) == sorted(CORA)


def test_unreachable_download_names_file_checksum_and_remedy(root):
    with pytest.raises(DataUnavailableError) as caught:
        load_graph("Cora", root)
    message = str(caught.value)
    assert str(root / "Cora" / "raw" / "ind.cora.x") in message
    assert data.SHA256["ind.cora.x"] in message
    assert "not available" in message and "'SyntheticCora'" in message
    assert not root.exists()


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError("timed out"),
        http.client.IncompleteRead(b"half", 4),
        urllib.error.URLError("no route to host"),
    ],
)
def test_network_faults_are_unavailability(error, root, monkeypatch):
    def urlopen(opener, url, timeout):
        assert timeout <= 10
        raise error

    monkeypatch.setattr(urllib.request.OpenerDirector, "open", urlopen)
    with pytest.raises(DataUnavailableError, match="cannot be downloaded"):
        resolve_dataset("Cora", root)
    assert resolve_dataset("auto", root) == "SyntheticCora"


@pytest.mark.parametrize("source", ["server", "shared"])
@pytest.mark.parametrize("content", [b"", b"content of ind.cora", b"Content of ind.cora.tx"])
def test_damaged_source_leaves_nothing(source, content, server, tmp_path, root, raw):
    folder = server
    if source == "shared":
        folder = shutil.copytree(server, tmp_path / "shared" / "Cora" / "raw")
    (folder / "ind.cora.tx").write_bytes(content)
    with pytest.raises(DataError) as caught:
        resolve_dataset("auto", root)
    assert not isinstance(caught.value, DataUnavailableError)
    message = str(caught.value)
    assert data.SHA256["ind.cora.tx"] in message and hashlib.sha256(content).hexdigest() in message
    assert str(folder / "ind.cora.tx") in message and f"put a whole copy at {raw / 'ind.cora.tx'}" in message
    assert names_in(raw) == ["ind.cora.x"]  # the file before it, whole


@pytest.mark.parametrize("name", ["Cora", "auto"])
@pytest.mark.parametrize("content", [b"content of ind.cora", b"Content of ind.cora.ally"])
def test_damaged_file_in_place_is_reported_and_kept(name, content, server, root, raw):
    shutil.copytree(server, raw)
    shutil.rmtree(server)
    (raw / "ind.cora.x").unlink()  # cannot be had again, yet the damage counts
    (raw / "ind.cora.ally").write_bytes(content)
    with pytest.raises(DataError, match=r"ind\.cora\.ally is damaged.*delete it and run again") as caught:
        resolve_dataset(name, root)
    assert not isinstance(caught.value, DataUnavailableError)
    assert data.SHA256["ind.cora.ally"] in str(caught.value)
    assert hashlib.sha256(content).hexdigest() in str(caught.value)
    assert (raw / "ind.cora.ally").read_bytes() == content


def test_interrupted_write_leaves_nothing(server, root, raw, monkeypatch):
    def half(path, content):
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(OSError, match="no space"):
        resolve_dataset("Cora", root)
    assert names_in(raw) == []


def test_pubmed_needs_recorded_checksums(tmp_path, root):
    with pytest.raises(DataUnavailableError, match="PubMed is not available"):
        load_graph("PubMed", root)
    raw = root / "PubMed" / "raw"
    raw.mkdir(parents=True)
    lines = []
    for part in data.RAW_PARTS:
        (raw / f"ind.pubmed.{part}").write_text(part)
        lines.append(f"{hashlib.sha256(part.encode()).hexdigest()}  ind.pubmed.{part}\n")
    with pytest.raises(DataError, match=r"ind\.pubmed\.x was not opened.*SHA256SUMS"):
        load_graph("PubMed", root)
    (raw / "SHA256SUMS").write_text("".join(lines))
    assert resolve_dataset("PubMed", root) == "PubMed"
    (raw / "ind.pubmed.graph").write_text("grap")
    with pytest.raises(DataError, match=r"ind\.pubmed\.graph is damaged"):
        resolve_dataset("PubMed", root)


def test_recorded_checksums_do_not_override_the_known_ones(server, root, raw):
    shutil.copytree(server, raw)
    (raw / "ind.cora.x").write_text("altered")
    (raw / "SHA256SUMS").write_text(f"{hashlib.sha256(b'altered').hexdigest()}  ind.cora.x\n")
    with pytest.raises(DataError, match=r"ind\.cora\.x is damaged"):
        resolve_dataset("Cora", root)


# Auto and the command line


def test_auto_is_cora_where_it_can_be_had_and_the_twin_elsewhere(server, root):
    assert resolve_dataset("auto", root) == "Cora"
    shutil.rmtree(server)
    assert resolve_dataset("auto", root) == "Cora"
    assert resolve_dataset("auto", root / "empty") == "SyntheticCora"


def test_resolving_imports_no_torch():
    code = "import sys, deadgcn.data.graphs as d; d.resolve_dataset('SyntheticCora'); print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"


def test_command_line_says_where_the_files_are(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(data, "PROJECT", tmp_path)
    assert data.main(["Cora"]) == 0
    assert str(tmp_path / "data" / "Cora") in capsys.readouterr().out
    (server / "ind.cora.x").write_text("altered")
    shutil.rmtree(tmp_path / "data")
    assert data.main(["Cora"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "is damaged" in err
    assert data.main(["Coral"]) == 1
    assert "but 'Coral' was passed" in capsys.readouterr().err
    shutil.rmtree(server)
    assert data.main(["auto"]) == 0
    assert capsys.readouterr().out.startswith("SyntheticCora")
