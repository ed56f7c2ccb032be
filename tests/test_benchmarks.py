import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from joblib.externals.loky import get_reusable_executor
from tiny_project import write_file, write_notebook

from deadgcn.config import Config
from deadgcn.gcn.training import train
from deadgcn.paper import benchmark

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "benchmarks"  # scripts beside each other, no package


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    get_reusable_executor().shutdown(wait=True)  # its workers would know the path of earlier tests only


@pytest.mark.parametrize("strip", [False, True])
@pytest.mark.parametrize("name", ["careful_loop", "plain_loop"])
def test_the_loops_compute_what_training_does(name, strip, twin):
    import loops

    config = Config(num_layers=5, hidden_channels=16, epochs=16, seed=3, strip=strip)
    (ours,) = train([config], twin)
    loop = getattr(loops, name)(config, twin)
    for column, values in loop["epochs"].items():
        np.testing.assert_allclose(values, ours["epochs"][column], atol=1e-6, err_msg=column)
    assert loop["run"]["best_epoch"] == ours["run"]["best_epoch"] > 0
    assert loop["run"]["test_acc"] == pytest.approx(ours["run"]["test_acc"], abs=1e-6)
    # The case must have something to count and to strip, and a tie for the best epoch.
    accuracies = ours["epochs"]["val_acc"][1:]
    assert (accuracies == accuracies.max()).sum() > 1
    assert max(ours["epochs"]["dead_fraction"]) > 0
    assert (ours["epochs"]["num_stripped"].sum() > 0) == strip


def test_both_ways_of_stripping_choose_the_same_weights():
    import loops

    torch.manual_seed(0)
    weight, dead = torch.randn(6, 25), torch.tensor([1, 0, 1, 1, 0, 1]).bool()
    weight[3] = weight[3].abs()  # nothing to choose
    rows, one = weight.clone(), weight.clone()
    # Of c negative weights max(1, floor(c / 10)) go: one each here.
    assert loops._strip_rows_(rows, dead, 0.1) == loops._strip_one_by_one_(one, dead, 0.1) == 3
    assert torch.equal(rows, one) and (rows == 0).sum(1).tolist() == [1, 0, 1, 0, 0, 1]
    assert weight[rows == 0].tolist() == weight[[0, 2, 5]].amin(1).tolist()


def test_the_arithmetic_of_an_epoch(twin):
    import limit

    flop = limit.epoch_flop(twin, num_layers=3, d=4)
    n, m = twin.num_nodes, int(twin.train_mask.sum())
    spread = 3 * 2 * (twin.num_edges + n) * 4 + 2 * int(twin.x.sum()) * 4  # Â has self-loops
    assert flop["sparse"].tolist() == [spread, spread]
    inner = 2 * (2 * n * 4 * 4)  # two layers
    assert flop["dense"].tolist() == [inner + 2 * n * 4 * 7, 2 * inner + 2 * (2 * m * 4 * 7)]


def test_the_limit_from_rates_and_counts(twin):
    import limit
    from processes import CORES

    flop = limit.epoch_flop(twin, 2).sum(axis=1)
    rates = pd.DataFrame({"product": ["dense", "sparse"] * 2, "gflops": [1.0, 1.0, 3.0, 3.0]})  # median 2
    common = {"method": "ReLU", "num_layers": 2, "contender": "this engine"}
    rows = [{**common, "ms": ms, "stripped_epochs": 0.5} for ms in (1.0, 2.0, 9.0)]
    (found,) = limit.limits(pd.DataFrame(rows), rates, twin).to_dict("records")
    expected = 1000 * (flop["backward"] + 1.5 * flop["forward"]) / 2e9 / CORES / 2
    assert found["limit_ms"] == pytest.approx(expected)
    assert found["multiple"] == pytest.approx(2 / expected)


def test_slopes_and_needed_memory(twin):
    import growth

    values = np.array([1.0, 2, 4, 8, 16])
    time, memory = values**1.5, np.full(5, 7.0)
    table = pd.DataFrame({"axis": "n", "value": values, "seconds_per_epoch": time, "peak_mib": memory})
    (row,) = growth.exponents(table).to_dict("records")
    assert (row["from"], row["to"]) == (1, 16)
    assert row["time_exponent"] == pytest.approx(1.5) and row["memory_exponent"] == pytest.approx(0)
    (result,) = train([Config(num_layers=3, epochs=2)], twin)
    parameters = sum(value.numel() for value in result["best_state"].values())
    needed = 2 * (3 * 300 * 32 + 3 * parameters) * 4 / 2**20
    assert growth.needed_mib(num_runs=2, num_layers=3, hidden_channels=32, num_nodes=300) == needed


def test_ratios_are_taken_within_a_repetition():
    rows = [
        {"method": "ReLU", "num_layers": 5, "contender": contender, "repetition": repetition, "ms": ms}
        for contender, times in {"this engine": (1, 2), "careful loop": (10, 40)}.items()
        for repetition, ms in enumerate(times)
    ]
    assert benchmark.paired_ratios(pd.DataFrame(rows))["careful loop"].tolist() == [10, 20]


def test_the_tests_are_timed_and_those_that_fail_are_no_measurement(tmp_path):
    import study

    write_file(tmp_path / "Makefile", "test:\n\t@sleep 0.2; echo '== 12 passed, 5 skipped in 0.20s =='\n")
    (row,) = study.measure_tests(tmp_path)["tests"].to_dict("records")
    assert row["passed"] == 12 and 0.2 < row["seconds"] < 10
    write_file(tmp_path / "Makefile", "test:\n\t@echo '1 failed, 11 passed'; exit 1\n")
    with pytest.raises(RuntimeError, match=r"(?s)make test ended with 2: .*1 failed"):
        study.measure_tests(tmp_path)


@pytest.mark.faults  # not for its faults, but for its length
def test_everything_on_tiny_settings(tmp_path):
    import bench

    readme = (ROOT / "README.md").read_bytes()
    assert bench.main(["--quick", "--output-dir", str(tmp_path)]) == 0
    assert (ROOT / "README.md").read_bytes() == readme
    stems = ("comparison", "rates", "limit", "breakdown", "growth", "growth_exponents", "measures", "machine")
    made = {stem: pd.read_csv(tmp_path / f"{stem}.csv") for stem in stems}
    # Two depths, two arms, two repetitions, four contenders; another one is first in the second repetition.
    assert len(made["comparison"]) == 32 and (made["comparison"]["ms"] > 0).all()
    firsts = made["comparison"].groupby(["method", "num_layers", "repetition"])["contender"].first()
    assert firsts.nunique() == 2
    shares = made["breakdown"].groupby(["method", "num_layers", "repetition"])["share"].sum()
    np.testing.assert_allclose(shares, 1, atol=1e-4)
    assert (made["measures"]["largest_difference"] < 1e-6).all()
    assert list(made["machine"]["section"]) == ["comparison", "breakdown", "growth", "measures"]
    assert (tmp_path / "bench.png").stat().st_size > 10_000
    assert len(re.findall(r"^\| [23] \| ReLU", (tmp_path / "table.md").read_text(), flags=re.M)) == 4
    # Redrawn from the CSV files alone, to the same bytes.
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert bench.main(["--only", "table", "--output-dir", str(tmp_path)]) == 0
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--only", "growth,lunch"], "'lunch' was passed"), (["--quick"], "--quick needs an --output-dir")],
)
def test_bad_options_are_refused(arguments, message, capsys):
    import bench

    with pytest.raises(SystemExit):
        bench.main(arguments)
    assert message in capsys.readouterr().err


GRID = """
from deadgcn.experiments.grid import grid, run_grid
_ = run_grid(grid(["ReLU"], num_layers=depths, epochs=2, dataset="SyntheticCora", seed=range(2)), n_jobs=1)
"""


@pytest.mark.faults  # not for its faults, but for its length
def test_the_study_trains_cold_and_then_only_what_is_new(tmp_path):
    import study

    project = tmp_path / "project"
    write_notebook(project / "notebooks" / "02_depth.ipynb", GRID, parameters="depths = [1, 2]")
    write_file(project / "params" / "02_depth.yaml", "depths: [1, 2]\n")
    shutil.copytree(ROOT / "deadgcn", project / "deadgcn")
    before = {path for path in project.rglob("*")}
    tables = study.measure(project, cached_repetitions=1)
    table, minutes = tables["study"], tables["minutes"]
    assert list(minutes["what"]) == ["cold", "cached", "one more depth"] and (minutes["minutes"] < 3).all()
    assert set(minutes["notebook"]) == {"02_depth"} and (table["peak_mib"] > 100).all()
    assert dict(zip(table["what"], table["runs_trained"], strict=True)) == {
        "cold": 4,
        "cached": 0,
        "one more depth": 2,
    }
    assert {path for path in project.rglob("*")} == before  # all of it happened in the copy
