import re

import pytest
import torch

from deadgcn.data import graphs as data
from deadgcn.data.graphs import DataUnavailableError, load_graph
from deadgcn.data.own import normalized_adjacency
from deadgcn.data.synthetic import synthetic_cora


def pytest_make_parametrize_id(config, val, argname):
    """Settings name their test; functions without their addresses, which differ between workers."""
    return re.sub(r" at 0x\w+", "", str(val)) if isinstance(val, dict) else None


@pytest.fixture(autouse=True)
def one_thread():
    """The setting under which runs are equal bit for bit, and which training sets itself; and a seed."""
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def twin():
    """A small synthetic graph: 300 nodes, no files needed."""
    return synthetic_cora(300)


@pytest.fixture(scope="session")
def twin_adj(twin):
    return normalized_adjacency(twin.edge_index, twin.num_nodes)


@pytest.fixture(scope="session")
def cora():
    try:
        return load_graph("Cora")
    except DataUnavailableError as error:
        pytest.skip(f"needs Cora's raw files: {error}")


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """Neither the network nor the shared folder is seen: both are empty folders here."""
    monkeypatch.setattr(data, "BASE_URL", (tmp_path / "server").as_uri())
    monkeypatch.setattr(data, "SHARED", tmp_path / "shared")


@pytest.fixture
def root(tmp_path):
    """An empty folder for raw data."""
    return tmp_path / "data"
