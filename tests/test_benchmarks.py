"""The benchmark: its loops compute what training does, its tables what the timings say."""

import shutil
import time
from importlib import import_module
from pathlib import Path

import bench
import comparison
import growth
import numpy as np
import pandas as pd
import pytest
import study
import tables
from processes import COLUMNS
from tiny_project import write_file, write_notebook

import deadgcn as dg
from deadgcn.experiments.parallel import WORTH_A_PROCESS

ROOT = Path(__file__).parents[1]


PEERS = [("torch_peers", "loop", {"careful": careful}) for careful in (True, False)]
PEERS += [("torch_peers", "func", {"products": products}) for products in ("torch", "SciPy")]
PEERS += [("jax_peer", "train", {"products": products}) for products in ("BCSR", "BCOO", "segment sums")]


@pytest.mark.parametrize("strip", [False, True])
@pytest.mark.parametrize("module, name, options", PEERS)
def test_peers_compute_what_training_does(module, name, options, strip):
    pytest.importorskip("jax" if module == "jax_peer" else "torch")
    settings = {"num_layers": 5, "hidden_channels": 16, "epochs": 16, "strip": strip}
    seeds = range(1 if name == "loop" else 3)
    configs = [dg.Config(dataset="SyntheticCora", seed=seed, **settings) for seed in seeds]
    ours, theirs = dg.train(configs, device="cpu"), getattr(import_module(module), name)(configs, **options)
    for column in COLUMNS:
        expected = np.stack([result["epochs"][column] for result in ours])
        np.testing.assert_allclose(theirs[column], expected, atol=1e-6, err_msg=column)
    np.testing.assert_allclose(theirs["test_acc"], [each["run"]["test_acc"] for each in ours], atol=1e-6)
    assert theirs["dead_fraction"].max() > 0 and (theirs["num_stripped"].sum() > 0) == strip


@pytest.mark.faults  # not for its faults, but for its length
def test_every_contender_trains_the_same_networks():
    cells = {2: comparison.Cell(seeds=2, epochs=6, peer_epochs=4, repetitions=2)}
    rows = comparison.measure(cells, "SyntheticCora")["comparison"]
    assert len(rows) == 2 * 2 * len(comparison.CONTENDERS)  # arms, repetitions
    assert (rows["ms"] > 0).all()
    assert (rows[["largest_difference_val_acc", "largest_difference_dead_fraction"]] < 1e-6).all(axis=None)
    firsts = rows.groupby(["method", "repetition"])["contender"].first()
    assert firsts.nunique() == 2  # each repetition starts with another contender


def test_ratios_are_taken_within_a_repetition():
    times = [("this engine", 0, 1), ("this engine", 1, 2), ("JAX", 0, 10), ("JAX", 1, 40)]
    rows = pd.DataFrame(times, columns=["contender", "repetition", "ms"]).assign(method="ReLU", num_layers=5)
    table = tables.comparison(rows.assign(compile_seconds=[0.1, 0.2, 7.0, 8.0]))
    assert "| ReLU | this engine | 1.50 | – |" in table
    assert "| ReLU | JAX | 25.00 (15.00×; 10.00–20.00) | at most 8 s |" in table


def test_a_contender_that_is_faster_is_bold():
    times = [("this engine", 5, 2.0), ("JAX", 5, 1.0), ("this engine", 10, 2.0), ("JAX", 10, 3.0)]
    rows = pd.DataFrame(times, columns=["contender", "num_layers", "ms"])
    table = tables.comparison(rows.assign(method="ReLU", repetition=0, compile_seconds=np.nan))
    assert "| **1.00 (0.50×; 0.50–0.50)** | 3.00 (1.50×; 1.50–1.50) |" in table


def test_exponents_of_growth():
    values = np.array([1, 4, 16])
    rows = {"axis": "n", "code": "now", "n": values, "seconds_per_epoch": values**1.5, "peak_mib": 7.0}
    assert "| n | 1 | 16 | now | 1.50 | 0.00 |" in tables.growth(pd.DataFrame(rows)).replace("-0.00", "0.00")


def test_the_profile_is_per_layer_and_run_and_the_share_that_of_100_epochs():
    row = {"axis": "num_layers", "num_layers": 10, "num_runs": 5, "code": "now", "seconds_per_epoch": 0.02}
    table = tables.profile(pd.DataFrame([row | {"dense": 0.01, "sparse": 0.005, "measuring": 0.52}]))
    assert "| 10 | now | 0.400 | 0.200 | 0.100 | 10.40 | 20.8% | 20.0% |" in table  # of 2.5 s, 0.5 s are more


def test_what_an_epoch_of_a_node_takes():
    row = {"axis": "num_nodes", "num_nodes": 1000, "num_layers": 4, "num_runs": 2, "code": "now"}
    row |= {"seconds_per_epoch": 0.004, "dense": 0.001, "sparse": 0.002, "product": 7e-5, "product_own": 6e-5}
    assert "| 1000 | now | 500 | 125 | 250 | 70 | 60 |" in tables.nodes(pd.DataFrame([row]))


@pytest.mark.faults  # not for its faults, but for its length
def test_time_and_memory_of_one_size():
    others = {"num_runs": 1, "num_layers": 2, "hidden_channels": 4}
    axes = {"num_nodes": ((growth.NODES, 300), others)}
    cora, row = growth.measure(axes, times=1)["growth"].itertuples()
    assert 0 < cora.measuring < 1
    assert row.num_nodes == 300 and row.num_layers == 2 and row.peak_mib > 0
    assert 0 < row.dense + row.sparse < row.seconds_per_epoch < 1
    assert 0 < row.product < 0.1 and 0 < row.product_own < 0.1


GRID = """
import sys
import deadgcn as dg
print("50%", end="", file=sys.stderr)  # as another notebook's progress bar, which has no end of line yet
configs = dg.grid(["ReLU"], num_layers=depths, epochs=2, dataset="SyntheticCora", seed=range(2))
_ = dg.run_grid(configs, n_jobs=1)
"""


@pytest.mark.faults  # not for its faults, but for its length
def test_the_study_trains_from_nothing_and_then_nothing(tmp_path):
    project = tmp_path / "project"
    write_notebook(project / "notebooks" / "03_depth.ipynb", GRID, parameters="depths = [1, 2]")
    write_file(project / "params" / "03_depth.yaml", "depths: [1, 2]\n")
    for name in ("deadgcn", "paper"):
        shutil.copytree(ROOT / name, project / name)
    before = set(project.rglob("*"))
    made = study.measure(project)
    trained = made["study"].set_index("what")["runs_trained"].to_dict()
    assert trained == {"cold": 4, "cached": 0}
    assert made["timeline"][list(study.KINDS)].to_numpy().sum() > 0
    assert set(made["minutes"]["notebook"]) == {"03_depth"}
    assert set(project.rglob("*")) == before  # all of it happened in the copy


TIMELINE = pd.DataFrame({"second": [5, 10], "training": [0, 1.5], "notebooks": [1, 0.5], "rest": [0.4, 0]})


def test_kinds_of_processes_are_sampled_until_they_end():
    samples = [[4, 2, 1, 0], [6, 3, 2, 0], [9, 7, 6, 1]]  # seconds, and CPU seconds of each kind so far
    rows = study._cores_busy(samples)
    assert rows["second"].tolist() == [4, 9]
    assert rows[list(study.KINDS)].to_numpy().tolist() == [[0.5, 0.25, 0], [1, 1, 0.2]]


def test_the_figure_has_a_panel_per_run_and_says_what_it_shows():
    one, two = (tables.draw_timeline(TIMELINE.assign(code=code), 2) for code in ("before", "now"))
    both = pd.concat([TIMELINE.assign(code="before"), TIMELINE.assign(code="now")])
    figure = tables.draw_timeline(both, 2)
    assert one != two and max(map(len, (one, two, figure))) < 100_000
    assert "one notebook after another, 1.7 for 0 minutes" in tables.timeline(both)


def test_overhead_is_a_ratio_within_a_repetition():
    rows = pd.DataFrame({"grid": "large", "seconds": [3, 4.0], "engine_seconds": [2, 4.0]})
    table = tables.overhead(rows.assign(chunk_alone=1.0, chunk_together=[1.5, 2.5]))
    assert "| large | 3.5 | 3.0 | 1.25×; 1.00–1.50 | 2.00×; 1.50–2.50 |" in table


@pytest.mark.faults  # not for its faults, but for its length
def test_a_grid_takes_longer_than_the_engine():
    axes = {"num_layers": 1, "epochs": 300, "dataset": "SyntheticCora", "seed": range(5)}
    assert 3 * 5 * 2 * 300 > 2 * WORTH_A_PROCESS  # arms, seeds, layers, epochs: it starts workers
    start, grids = time.monotonic(), {"tiny": axes}
    (row,) = study.overhead(grids, repetitions=1)["overhead"].itertuples()
    assert row.grid == "tiny" and 0 < row.engine_seconds < row.seconds
    assert 0 < row.chunk_alone < row.seconds and 0 < row.chunk_together < row.seconds
    assert time.monotonic() - start < 200  # it does not wait for idle workers to end


def test_a_section_measured_again_keeps_what_others_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "RESULTS", tmp_path)
    for section, code in (("study", "before"), ("growth", "now"), ("study", "now")):
        monkeypatch.setattr(bench, "SECTIONS", {section: lambda: {"timeline": TIMELINE}})
        bench.run_section(section, code)
    assert pd.read_csv(tmp_path / "timeline.csv")["code"].tolist() == ["before"] * 2 + ["now"] * 2
    assert pd.read_csv(tmp_path / "machine.csv")["section"].tolist() == ["growth", "study"]


BLOCKS = [block for block, (name, _) in tables.SHOWN.items() if (bench.RESULTS / f"{name}.csv").exists()]


@pytest.mark.parametrize("block", BLOCKS)
def test_the_document_has_the_tables_of_the_timings(block):
    text = (ROOT / "docs" / "benchmark.md").read_text(encoding="utf-8")
    name, show = tables.SHOWN[block]
    timings = pd.read_csv(bench.RESULTS / f"{name}.csv")
    assert f"<!-- {block} -->\n{show(timings)}\n<!-- /{block} -->" in text


def test_what_the_document_says_of_the_peers():
    rows = tables.with_ratios(pd.read_csv(bench.RESULTS / "comparison.csv"))
    ratios = rows.groupby(["contender", "method", "num_layers"])["ratio"].median().unstack(0)
    assert ratios["JAX with BCSR, processes"].between(0.85, 1.25).all()
    others = ratios.drop(columns=["JAX with BCSR, processes", "this engine"])
    assert len(others.columns) == 9 and (others > 1.15).all(axis=None)


def test_what_the_document_says_of_products_and_of_many_nodes():
    rows = pd.read_csv(bench.RESULTS / "growth.csv").query("code == 'now'")
    of_depth = rows[rows["axis"] == "num_layers"].groupby("num_layers").median(numeric_only=True)
    assert of_depth.eval("(dense + sparse) / seconds_per_epoch > 0.6").all()
    nodes = rows[rows["axis"] == "num_nodes"].groupby("num_nodes").median(numeric_only=True)
    per_node = nodes[["seconds_per_epoch", "product", "product_own"]].div(nodes.index, axis=0)
    few, more, many = per_node.to_dict("records")
    assert more["seconds_per_epoch"] < 1.15 * few["seconds_per_epoch"]
    assert many["product"] > 3 * more["product"] and many["product_own"] < 1.4 * few["product_own"]
