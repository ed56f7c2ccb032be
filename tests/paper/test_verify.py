import json

import numpy as np
import pandas as pd
import pytest
from tiny_project import write_file
from verify import main

RUNS, CELLS = "results/Cora/depth_runs.csv", "results/Cora/verdict_cells.csv"
FACTS, FIGURE = "results/Cora/data_facts.csv", "figures/Cora/accuracy.csv"
SEEDS = "results/Cora/single.csv"  # of nothing but seeds


def _tables():
    runs = pd.DataFrame(
        {"method": "ReLU", "num_layers": np.repeat([5, 20], 10), "seed": np.tile(range(10), 2)}
    )
    runs["best_epoch"] = 90 + runs["seed"]
    runs["test_acc"] = np.where(runs["num_layers"] == 5, 0.74, 0.2) + 0.002 * runs["seed"]
    runs["dead_fraction"] = np.where(runs["seed"] == 9, np.nan, 0.1 + 0.01 * runs["seed"])
    cells = pd.DataFrame({"claim": ["C1", "C6"], "estimate": [-0.1, 0.8], "answer": ["for", "open"]})
    facts = pd.DataFrame({"fact": ["nodes", "homophily"], "value": [2708.0, 0.81]})
    seeds = pd.DataFrame({"seed": range(3), "value": [0.1, 0.3, 0.2]})
    return {RUNS: runs, CELLS: cells, FACTS: facts, FIGURE: cells[["claim", "estimate"]], SEEDS: seeds}


@pytest.fixture
def roots(tmp_path):
    """The evidence and a rerun on the same machine, with the same contents."""
    for root in ("evidence", "rerun"):
        for name, table in _tables().items():
            write_file(tmp_path / root / name, table.to_csv(index=False))
        _record(tmp_path / root, "one")
    return tmp_path


def _record(root, processor):
    record = {
        "machine": {"processor": processor, "numpy": "2"},
        "files": dict.fromkeys(_tables(), "a checksum"),
    }
    write_file(root / "results/Cora/provenance/01_data.json", json.dumps(record))


def _verify(roots, dataset="Cora"):
    return main(dataset, roots / "evidence", roots / "rerun")


@pytest.mark.parametrize("dataset", ["Cora", "auto"])
def test_equal_tables_are_confirmed(roots, dataset):
    assert _verify(roots, dataset) == 0
    _record(roots / "rerun", "two")
    assert _verify(roots, dataset) == 0


ROUNDING = [
    (RUNS, "test_acc", 3, 0.72),  # of ten seeds at 5 layers; the mean's standard error is 0.002
    (RUNS, "test_acc", range(10, 20), lambda v: v[::-1].to_numpy()),  # other seeds, the same mean
    (RUNS, "test_acc", range(20), lambda v: v + 0.001),  # one test node
    (RUNS, "best_epoch", 3, 2),
    (CELLS, "estimate", 0, -0.2),
    (FACTS, "value", 1, 0.8100001),
    (FIGURE, "estimate", 0, -0.2),
    (SEEDS, "value", 1, 0.2),
]
OTHERS = [
    (RUNS, "test_acc", range(10, 20), lambda v: v + 0.02),
    (RUNS, "dead_fraction", range(10), np.nan),
    (RUNS, "num_layers", range(10, 20), 25),
    (CELLS, "answer", 1, "for"),
]


@pytest.mark.parametrize("change", ROUNDING + OTHERS)
def test_every_byte_counts_on_the_same_machine_and_more_than_rounding_elsewhere(roots, capsys, change):
    name, column, rows, value = change
    table = _tables()[name]
    table.loc[rows, column] = value(table.loc[rows, column]) if callable(value) else value
    write_file(roots / "rerun" / name, table.to_csv(index=False))
    assert _verify(roots) == 1 and name in capsys.readouterr().out
    _record(roots / "rerun", "two")
    assert _verify(roots) == (change in OTHERS)
    assert (name in capsys.readouterr().out) == (change in OTHERS)


def test_each_table_is_compared_by_the_machine_that_made_it(roots):
    table = _tables()[RUNS]
    table.loc[3, "test_acc"] += 0.001
    write_file(roots / "rerun" / RUNS, table.to_csv(index=False))
    assert _verify(roots) == 1
    other = {"machine": {"processor": "two", "numpy": "2"}, "files": {RUNS: "a checksum"}}
    write_file(roots / "rerun/results/Cora/provenance/03_depth.json", json.dumps(other))
    assert _verify(roots) == 0


@pytest.mark.parametrize("processor", ["one", "two"])
def test_rows_columns_and_files_that_one_side_lacks_are_differences(roots, capsys, processor):
    _record(roots / "rerun", processor)
    for name, table in _tables().items():
        path = roots / "rerun" / name
        for less in (table[:1], table[table.columns[:-1]]):
            less.to_csv(path, index=False)
            assert _verify(roots) == 1 and name in capsys.readouterr().out
        path.unlink()
        assert _verify(roots) == 1 and name in capsys.readouterr().out
        table.to_csv(path, index=False)


def test_nothing_to_compare_has_status_two(roots, capsys):
    (roots / "rerun").rename(roots / "elsewhere")
    assert _verify(roots) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_damaged_record_is_named(roots, capsys):
    record = write_file(roots / "rerun/results/Cora/provenance/01_data.json", "[]")
    assert _verify(roots) == 2 and str(record) in capsys.readouterr().err
