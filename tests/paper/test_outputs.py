import json

import nbformat
import pytest
from nbformat import v4
from tiny_project import contents, write_file

from deadgcn.paper import outputs
from deadgcn.paper.outputs import RunError, check_tables, move, record, scrub


def test_files_replace_those_at_their_places(tmp_path):
    for name in ("results/a.csv", "results/b.csv"):
        write_file(tmp_path / "stage" / name, "new")
    for name in ("results/a.csv", "results/c.csv"):
        write_file(tmp_path / "target" / name, "old")
    move(tmp_path / "stage", tmp_path / "target")
    assert contents(tmp_path / "target") == {
        "results/a.csv": b"new",
        "results/b.csv": b"new",
        "results/c.csv": b"old",
    }
    assert contents(tmp_path / "stage") == {}


def test_of_controls_the_text_remains(tmp_path):
    bundle = {
        "application/vnd.jupyter.widget-view+json": {"model_id": "random"},
        "text/plain": f"controls in {tmp_path}/a",
    }
    cell = v4.new_code_cell(outputs=[v4.new_output("display_data", bundle)])
    nbformat.write(v4.new_notebook(cells=[cell], metadata={"widgets": {}}), tmp_path / "a.ipynb")
    scrub(tmp_path / "a.ipynb", tmp_path)
    nb = nbformat.read(tmp_path / "a.ipynb", as_version=4)
    assert nb.cells[0].outputs[0].data == {"text/plain": "controls in a"} and "widgets" not in nb.metadata


def test_processors_of_one_name_are_told_apart(tmp_path, monkeypatch):
    text = "cpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n\nmodel\t: 18"
    monkeypatch.setattr(outputs, "CPUINFO", write_file(tmp_path / "cpuinfo", text))
    one = outputs.machine()["processor"]
    write_file(tmp_path / "cpuinfo", text.replace("17", "1"))
    assert one.startswith("AMD EPYC") and one != outputs.machine()["processor"]


@pytest.fixture
def root(tmp_path):
    """An outputs' root as notebook 03_a left it, and a table of a profile's run with its record."""
    for folder in (tmp_path, tmp_path / "other"):
        write_file(folder / "results" / "Cora" / "a_runs.csv", f"a table in {folder.name}")
        write_file(folder / "figures" / "Cora" / "a.csv", "numbers drawn")
        write_file(folder / "results" / "Cora" / "a_layers.csv.gz", "not kept")
        record(folder, "Cora", "03_a", {"lr": 0.1})
    kept = tmp_path / "results" / "profiles" / "full"
    kept.mkdir(parents=True)
    (tmp_path / "other" / "results" / "Cora").rename(kept / "Cora")
    return tmp_path


def test_a_record_says_settings_machine_and_kept_files(root):
    text = (root / "results" / "Cora" / "provenance" / "03_a.json").read_text()
    found = json.loads(text)
    assert found["notebook"] == "03_a" and found["settings"] == {"lr": 0.1} and str(root) not in text
    assert {"processor", "system", "python", "torch", "numpy"} <= found["machine"].keys()
    assert {"results/Cora/a_runs.csv", "figures/Cora/a.csv"} <= found["files"].keys()
    assert not any(name.endswith(".gz") for name in found["files"])


@pytest.mark.parametrize("table", ["results/Cora/a_runs.csv", "results/profiles/full/Cora/a_runs.csv"])
def test_an_edited_table_is_named_with_a_remedy(root, table):
    check_tables(root)
    write_file(root / table, "edited")
    with pytest.raises(RunError, match=f"{table} .*03_a"):
        check_tables(root)


@pytest.mark.parametrize("content", ["", '{"files": ', "{}"])
def test_a_damaged_record_is_named(root, content):
    path = write_file(root / "results" / "Cora" / "provenance" / "03_a.json", content)
    with pytest.raises(RunError, match=str(path)):
        check_tables(root)
