import json

import pytest
from tiny_project import call, write_file, write_notebook

from deadgcn.experiments import files
from deadgcn.paper import execute, provenance
from deadgcn.paper.provenance import DamagedError


@pytest.fixture
def root(tmp_path):
    """An outputs' root with a table and a figure's numbers, as a notebook left them, and a kept profile."""
    made = {}
    for name in ("results/Cora/a_runs.csv", "figures/Cora/a.csv", "results/Cora/checkpoints/a.pth"):
        made[name] = files.sha256(write_file(tmp_path / name, f"content of {name}"))
    content = provenance.record("03_a", {"lr": 0.1}, made)
    files.write(tmp_path / provenance.path_of("03_a", "Cora"), content)
    kept = tmp_path / "results" / "profiles" / "full" / "Cora"
    write_file(kept / "a_runs.csv", "content of results/Cora/a_runs.csv")
    files.write(kept / "provenance" / "03_a.json", content)
    return tmp_path


def test_what_a_run_left_passes_and_what_is_not_kept_is_not_missed(root):
    provenance.check(root, "Cora")
    (root / "results" / "Cora" / "checkpoints" / "a.pth").unlink()
    provenance.check(root, "Cora")


def test_of_another_data_set_only_the_verdict_counts(root):
    made = {}
    for name in ("results/CiteSeer/a.csv", "results/CiteSeer/verdict.csv"):
        made[name] = files.sha256(write_file(root / name, "content"))
    files.write(root / provenance.path_of("08_verdict", "CiteSeer"), provenance.record("08", {}, made))
    write_file(root / "results/CiteSeer/a.csv", "edited")
    provenance.check(root, "Cora")
    with pytest.raises(DamagedError, match=r"CiteSeer/a.csv is not as .* make figures DATASET=CiteSeer"):
        provenance.check(root, "CiteSeer")
    write_file(root / "results/CiteSeer/verdict.csv", "edited")
    with pytest.raises(DamagedError, match=r"CiteSeer/verdict.csv is not as 08_verdict left it"):
        provenance.check(root, "Cora")


@pytest.mark.parametrize(
    "name", ["results/Cora/a_runs.csv", "figures/Cora/a.csv", "results/profiles/full/Cora/a_runs.csv"]
)
@pytest.mark.parametrize("content", ["", "content of", "content of results/Cora/b_runs.csv"])
def test_what_is_not_as_a_run_left_it_is_named(root, name, content):
    write_file(root / name, content)
    with pytest.raises(
        DamagedError, match=rf"{name} is not as 03_a left it .*make (figures|profiles) DATASET=Cora"
    ):
        provenance.check(root, "Cora")


@pytest.mark.parametrize("content", ["", '{"files": ', "[]", "{}", '{"files": 3}'])
def test_a_damaged_record_is_named(root, content):
    path = write_file(root / provenance.path_of("03_a", "Cora"), content)
    with pytest.raises(DamagedError, match=f"{path} is damaged"):
        provenance.check(root, "Cora")


def test_a_notebook_that_reads_results_refuses_damaged_ones_before_it_starts(root, monkeypatch, capsys):
    write_notebook(root / "notebooks" / "08_judge.ipynb", parameters="output_dir = 'x'\ninput_dir = '.'")
    write_notebook(root / "notebooks" / "01_ok.ipynb", parameters="output_dir = 'x'")
    started = []
    monkeypatch.setattr(execute, "run", lambda job, timeout=None: started.append(job.notebook.stem) or {})
    options = ["--output-dir", "."]
    assert call(root, *options, stems=("01_ok", "08_judge")) == 0
    table = write_file(root / "results" / "Cora" / "a_runs.csv", "half of it")
    assert call(root, *options, "--force", stems=("01_ok", "08_judge")) == 1
    assert started == ["01_ok", "08_judge", "01_ok"]
    assert f"error: {table} is not as 03_a left it" in capsys.readouterr().err


def test_a_record_says_the_machine_and_holds_no_time_and_no_place(root):
    text = (root / provenance.path_of("03_a", "Cora")).read_text()
    record = json.loads(text)
    assert record["notebook"] == "03_a" and record["settings"] == {"lr": 0.1}
    assert {"processor", "system", "python", "torch", "numpy"} <= record["machine"].keys()
    assert all(record["machine"].values()) and str(root) not in text
    assert provenance.record("03_a", {"lr": 0.1}, record["files"]) == text.encode()
