import gzip
import json
import re

import numpy as np
import pandas as pd
import pytest

from deadgcn.experiments import files
from deadgcn.paper import tolerances
from deadgcn.paper.verify import main

RUNS = "results/Cora/depth_runs.csv"
LAYERS = "results/Cora/depth_layers.csv.gz"
METRICS = "results/Cora/depth_metrics.json"
VERDICT = "results/Cora/verdict.csv"
CELLS = "results/Cora/verdict_cells.csv"
FACTS = "results/Cora/data_facts.csv"
FIGURE = "figures/Cora/accuracy.csv"


def _tables():
    seeds = np.arange(10)
    runs = pd.DataFrame({"dataset": "Cora", "method": "ReLU", "num_layers": np.repeat([5, 20], 10)})
    runs["seed"] = np.tile(seeds, 2)
    runs["best_epoch"] = 90 + runs["seed"]
    runs["test_acc"] = np.where(runs["num_layers"] == 5, 0.74, 0.2) + 0.002 * runs["seed"]
    runs["dead_fraction"] = np.where(runs["seed"] == 9, np.nan, 0.1 + 0.01 * runs["seed"])
    layers = runs[["method", "num_layers", "seed"]].merge(
        pd.Series(["init", "best"], name="stage"), how="cross"
    )
    layers["layer"] = 1
    layers["norm"] = 1e-9 * (1 + layers["seed"])
    figure = pd.DataFrame({"quantity": "test_acc", "method": "ReLU", "num_layers": [5, 20], "n": 10})
    figure = figure.assign(mean=[0.75, 0.21], std=0.02, low=[0.74, 0.2], high=[0.76, 0.22])
    cells = pd.DataFrame({"claim": ["C1", "C6"], "scale": ["difference", "ratio"], "n": 10})
    cells = cells.assign(estimate=[-0.1, 0.8], low=[-0.12, 0.4], high=[-0.08, 1.6], std=0.03)
    cells = cells.assign(p_holm=[0.01, 0.6], answer=["for", "open"])
    verdict = pd.DataFrame(
        {"claim": ["C1", "C6"], "statement": "It holds", "status": ["replicated", "undecided"]}
    )
    return {
        RUNS: runs,
        LAYERS: layers,
        FIGURE: figure,
        CELLS: cells,
        VERDICT: verdict,
        FACTS: pd.DataFrame({"fact": ["nodes", "homophily"], "value": [2708.0, 0.81]}),
    }


def _save(root, name, table):
    packed = gzip.compress(table.to_csv(index=False).encode(), mtime=0)
    content = packed if name.endswith(".gz") else table.to_csv(index=False).encode()
    files.write(root / name, content)


def _record(root, processor="one", **files_made):
    made = {name: files.sha256(root / name) for name in _tables()}
    record = {"machine": {"processor": processor, "numpy": "2"}, "files": made | files_made}
    files.write(root / "results/Cora/provenance/02_depth.json", json.dumps(record).encode())


@pytest.fixture
def roots(tmp_path):
    """The evidence and a rerun on the same machine, with the same contents."""
    for root in (tmp_path / "evidence", tmp_path / "rerun"):
        for name, table in _tables().items():
            _save(root, name, table)
        metrics = {
            "settings": {"lr": 0.005},
            "versions": {"torch": "2"},
            "runs": [{"seed": 0, "test_acc": 0.7}],
        }
        files.write(root / METRICS, json.dumps(metrics).encode())
        _record(root)
    return tmp_path


def _elsewhere(roots):
    _record(roots / "rerun", processor="two")


def _change(roots, name, column, row, value):
    """Put `value`, or what it makes of the old one, into a rerun's table; `row` may be a query."""
    table = _tables()[name]
    rows = table.index[[row]] if isinstance(row, int) else table.query(row).index
    table.loc[rows, column] = value(table.loc[rows, column]) if callable(value) else value
    _save(roots / "rerun", name, table)


def _verify(roots, dataset="Cora"):
    return main([dataset, "--evidence", str(roots / "evidence"), "--rerun", str(roots / "rerun")])


def _differences(capsys):
    return re.findall(r"^  (\S.*)$", capsys.readouterr().out, flags=re.M)


@pytest.mark.parametrize("dataset", ["Cora", "auto"])
def test_the_same_tables_are_confirmed(roots, capsys, dataset):
    assert _verify(roots, dataset) == 0
    out = capsys.readouterr().out
    assert "Cora: 7 files of the evidence, 7 of the rerun. The same machine: nothing may differ." in out
    assert out.endswith("everything that was compared is equal.\n")
    trained = next(line for line in out.splitlines() if line.startswith("trained runs"))
    # best_epoch, test_acc and dead_fraction of 20 runs, the norm of 20 trained layers, one run of the JSON
    assert trained.split()[2:] == ["81", "0", "0", "0"]


def test_on_the_same_machine_one_cell_is_a_difference(roots, capsys):
    _change(roots, RUNS, "test_acc", 3, 0.7460000000000001)
    assert _verify(roots) == 1
    where = "num_layers=5, seed=3: test_acc"
    assert _differences(capsys) == [
        f"{RUNS}: {where} is 0.746 in the evidence, 0.7460000000000001 in the rerun"
    ]


def test_on_the_same_machine_equal_cells_in_other_bytes_are_a_difference(roots, capsys):
    (roots / "rerun" / FACTS).write_text("fact,value\nnodes,2708\nhomophily,0.810\n")
    assert _verify(roots) == 1
    assert _differences(capsys) == [f"{FACTS}: the cells are equal, the bytes are not"]


@pytest.mark.parametrize(
    ("name", "column", "row", "value"),
    [
        (RUNS, "test_acc", 3, 0.72),  # 5 layers: by less than 0.05
        (RUNS, "test_acc", 13, 0.25),  # 20 layers: the seeds range over 0.2 to 0.218
        (RUNS, "test_acc", "seed >= 0", lambda v: v * (1 + 1e-5)),  # all of them, but hardly
        (RUNS, "best_epoch", 3, 2),
        (RUNS, "dead_fraction", 3, np.nan),  # one run of ten
        (LAYERS, "norm", "stage == 'init'", lambda v: v * 1.0009),
        (LAYERS, "norm", "stage == 'best' and seed == 1", 1e-5),
        (FIGURE, "mean", 0, 0.788),  # the half-width is 0.01
        (FIGURE, "high", 0, 0.798),
        (CELLS, "estimate", 1, 12.0),  # a ratio: its half-width is a factor of 2
        (CELLS, "p_holm", 1, 0.06),
        (FACTS, "value", 1, 0.8105),
    ],
)
def test_on_another_machine_what_rounding_does_passes(roots, capsys, name, column, row, value):
    _change(roots, name, column, row, value)
    assert _verify(roots) == 1
    _elsewhere(roots)
    capsys.readouterr()
    assert _verify(roots) == 0
    out = capsys.readouterr().out
    assert "Another machine: processor is one in the evidence, two in the rerun." in out
    assert out.endswith("everything that was compared is within tolerance.\n")


@pytest.mark.parametrize(
    ("name", "column", "row", "value", "told"),
    [
        (RUNS, "test_acc", 3, 0.69, "num_layers=5, seed=3: test_acc is 0.746 in the evidence, 0.69 in the"),
        (
            RUNS,
            "test_acc",
            13,
            0.32,
            "num_layers=20, seed=3: test_acc is 0.20600000000000002 in the evidence, 0.32",
        ),
        (
            *(RUNS, "test_acc", "num_layers == 20", lambda v: v + 0.01),
            "num_layers=20: test_acc: the mean over seeds is 0.209 in the evidence, 0.219 in the rerun",
        ),
        (
            *(RUNS, "dead_fraction", "num_layers == 5", np.nan),
            "num_layers=5: dead_fraction: the mean over seeds is 0.14 in the evidence, nan in the rerun",
        ),
        (
            LAYERS,
            "norm",
            0,
            1.0011e-9,
            "num_layers=5, seed=0, stage=init: norm is 1e-09 in the evidence, 1.0",
        ),
        (
            *(LAYERS, "norm", "stage == 'best' and num_layers == 5", lambda v: v * 1.1),
            "num_layers=5, stage=best: norm: the mean over seeds is 5.5e-09 in the evidence, 6.05e-09",
        ),
        (FIGURE, "mean", 0, 0.792, "num_layers=5: mean is 0.75 in the evidence, 0.792 in the rerun"),
        (FIGURE, "mean", 0, np.nan, "num_layers=5: mean is 0.75 in the evidence, nan in the rerun"),
        (FIGURE, "n", 1, 9, "num_layers=20: n is 10 in the evidence, 9 in the rerun"),
        (CELLS, "estimate", 1, 13.0, "claim=C6, scale=ratio: estimate is 0.8 in the evidence, 13.0 in the"),
        (
            CELLS,
            "answer",
            0,
            "open",
            "claim=C1, scale=difference: answer is for in the evidence, open in the",
        ),
        (
            *(VERDICT, "status", 1, "replicated"),
            "claim=C6: status is undecided in the evidence, replicated in the rerun; the verdict differs",
        ),
        (FACTS, "value", 0, 2700.0, "fact=nodes: value is 2708.0 in the evidence, 2700.0 in the rerun"),
    ],
)
def test_on_another_machine_what_rounding_does_not_do_is_named(roots, capsys, name, column, row, value, told):
    _change(roots, name, column, row, value)
    _elsewhere(roots)
    assert _verify(roots) == 1
    found = _differences(capsys)
    assert len(found) == 1
    assert found[0].startswith(f"{name}: {told}")


def test_the_t_statistic_that_a_mean_may_have_is_the_one_stated():
    runs = pd.Series("cell", range(5))
    x = pd.Series(1.0, runs.index)
    moved = {}
    for step in (1e-3, 2e-3):  # relative differences around 0.1, their standard error step / sqrt(2)
        relative = 0.1 + step * np.array([-2, -1, 0, 1, 2])
        moved[step] = tolerances._moved_means(x, x / (1 - relative), runs)
    # t = 141 and 71 with 4 degrees of freedom: p = 1.5e-8 and 2.4e-7; at a step of 4e-3 it is 3.8e-6
    assert all(moved.values())
    relative = 0.1 + 4e-3 * np.array([-2, -1, 0, 1, 2])
    assert tolerances._moved_means(x, x / (1 - relative), runs) == {}


def test_rows_are_paired_by_their_keys_not_by_their_place(roots, capsys):
    _elsewhere(roots)
    _save(roots / "rerun", RUNS, _tables()[RUNS].iloc[::-1])
    assert _verify(roots) == 0


def test_a_missing_number_equals_only_a_missing_number(roots, capsys):
    assert _verify(roots) == 0  # the runs have some
    _change(roots, RUNS, "dead_fraction", 9, 0.0)
    assert _verify(roots) == 1
    assert "seed=9: dead_fraction is nan in the evidence, 0.0 in the rerun" in capsys.readouterr().out


@pytest.mark.parametrize("machine", ["one", "two"])
def test_rows_columns_and_texts_that_one_side_lacks_are_differences(roots, capsys, machine):
    tables = _tables()
    _save(roots / "rerun", RUNS, pd.concat([tables[RUNS], tables[RUNS].iloc[[-1]].assign(seed=10)]))
    _save(roots / "rerun", FACTS, tables[FACTS].replace("nodes", "knots"))
    _save(roots / "rerun", FIGURE, tables[FIGURE].drop(columns="low"))
    _record(roots / "rerun", processor=machine)
    assert _verify(roots) == 1
    assert sorted(_differences(capsys)) == [
        f"{FIGURE}: only the evidence has the column low",
        f"{FACTS}: only the evidence has the row fact=nodes",
        f"{FACTS}: only the rerun has the row fact=knots",
        f"{RUNS}: only the rerun has the row num_layers=20, seed=10",
    ]


@pytest.mark.parametrize(("lacking", "other"), [("evidence", "rerun"), ("rerun", "evidence")])
@pytest.mark.parametrize("name", [FIGURE, LAYERS, METRICS])
def test_a_file_that_one_side_lacks_is_a_difference(roots, capsys, lacking, other, name):
    (roots / lacking / name).unlink()
    assert _verify(roots) == 1
    assert _differences(capsys) == [f"only the {other} has the file {name}"]


@pytest.mark.parametrize("whose", ["evidence", "rerun"])
@pytest.mark.parametrize("name", [LAYERS, METRICS, RUNS])
@pytest.mark.parametrize(
    "damage", [lambda content: content[:-20], lambda content: b"", lambda content: b"\xff["]
)
def test_a_damaged_file_is_named(roots, capsys, whose, name, damage):
    path = roots / whose / name
    path.write_bytes(damage(path.read_bytes()))
    assert _verify(roots) == 1
    found = _differences(capsys)
    assert all(line.startswith(name) for line in found)
    if name != RUNS or damage(b"x" * 30) != b"x" * 10:  # half a CSV file is one that lacks rows
        assert f"{name}: cannot be read in the {whose}: " in found[-1]


def test_evidence_that_is_not_as_its_run_left_it_is_named_first(roots, capsys):
    _change(roots, FACTS, "value", 0, 3.0)
    _save(roots / "evidence", RUNS, _tables()[RUNS].assign(best_epoch=7))
    _save(roots / "rerun", RUNS, _tables()[RUNS].assign(best_epoch=7))
    assert _verify(roots) == 1
    assert _differences(capsys) == [
        f"{RUNS} is not as its run left it",
        f"{FACTS}: fact=nodes: value is 2708.0 in the evidence, 3.0 in the rerun",
    ]


@pytest.mark.parametrize("whose", ["evidence", "rerun"])
def test_without_provenance_it_is_another_machine(roots, capsys, whose):
    (roots / whose / "results/Cora/provenance/02_depth.json").unlink()
    _change(roots, FACTS, "value", 1, 0.8105)
    assert _verify(roots) == 0
    assert (
        f"Another machine, for all that is known: the {whose} has no provenance." in capsys.readouterr().out
    )


@pytest.mark.parametrize("content", ["", "[]", '{"machine": {}}'])
def test_a_damaged_record_is_named(roots, capsys, content):
    name = "results/Cora/provenance/02_depth.json"
    (roots / "rerun" / name).write_text(content)
    assert _verify(roots) == 1
    (line,) = _differences(capsys)
    assert line.startswith(f"{name} cannot be read: ") and line.endswith("(in the rerun)")


def test_settings_of_the_json_must_be_equal_everywhere_its_versions_on_one_machine(roots, capsys):
    path = roots / "rerun" / METRICS
    path.write_text(path.read_text().replace('"torch": "2"', '"torch": "3"').replace("0.005", "0.01"))
    assert _verify(roots) == 1
    assert len(_differences(capsys)) == 4  # each of both with another value is a row that one side lacks
    _elsewhere(roots)
    assert _verify(roots) == 1
    rows = ["evidence has the row value=0.005", "rerun has the row value=0.01"]
    assert _differences(capsys) == [f"{METRICS}, settings: only the {row}" for row in rows]


def test_many_differences_are_counted_not_listed_and_do_not_hide_the_verdict(roots, capsys):
    _save(roots / "rerun", RUNS, _tables()[RUNS].assign(best_epoch=7, test_acc=0.5))
    _change(roots, VERDICT, "status", 0, "undecided")
    assert _verify(roots) == 1
    found = _differences(capsys)
    assert "C1: status is replicated in the evidence" in found[0]
    assert [line.split(":")[0] for line in found[1:4]] == [RUNS] * 3
    assert found[4:] == ["and 37 more differences"]


@pytest.mark.parametrize(
    ("dataset", "told"),
    [
        (
            "CiteSeer",
            "CiteSeer has no evidence in .*evidence and no rerun in .*rerun; make verify DATASET=Cite",
        ),
        ("Cora", "Cora has no rerun in .*rerun; make verify DATASET=Cora makes a rerun"),
        ("auto", "no data set has tables both in .*evidence and in .*rerun"),
        ("Coral", "DATASET must be auto or one of .*, but 'Coral' was passed"),
    ],
)
def test_nothing_to_compare_is_refused_in_one_sentence(roots, capsys, dataset, told):
    (roots / "rerun").rename(roots / "elsewhere")
    assert _verify(roots, dataset) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert re.search(told, captured.err)
