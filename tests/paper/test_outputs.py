import json

import pytest
from nbformat import v4
from tiny_project import contents, write_file

from deadgcn.paper import outputs
from deadgcn.paper.outputs import RunError, check_tables, move, record


def test_files_move_all_or_none(tmp_path, monkeypatch):
    stage, target = tmp_path / "stage", tmp_path / "target"
    new = {name: f"new {name}".encode() for name in ("results/a.csv", "results/b.csv")}
    for name in new:
        write_file(stage / name, f"new {name}")
        write_file(target / name, "old")

    def full(source, part):
        write_file(part, "half")
        if source.name == "b.csv":
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(outputs.shutil, "move", full)
        with pytest.raises(OSError, match="No space left"):
            move(stage, target)
    assert contents(target) == dict.fromkeys(new, b"old")
    move(stage, target)
    assert contents(target) == new and contents(stage) == {}


def test_of_controls_the_text_remains():
    bundle = {"application/vnd.jupyter.widget-view+json": {"model_id": "random"}, "text/plain": "controls"}
    settled = outputs._settled([v4.new_output("display_data", bundle), v4.new_output("error")])
    assert settled[0].data == {"text/plain": "controls"} and settled[1].output_type == "error"


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


def test_tables_as_their_runs_left_them_pass_and_missing_ones_too(root):
    check_tables(root)
    (root / "results" / "Cora" / "a_runs.csv").unlink()
    check_tables(root)


@pytest.mark.parametrize("table", ["results/Cora/a_runs.csv", "results/profiles/full/Cora/a_runs.csv"])
def test_an_edited_table_is_named_with_a_remedy(root, table):
    write_file(root / table, "edited")
    with pytest.raises(RunError, match=f"{table} .*make"):
        check_tables(root)


@pytest.mark.parametrize("content", ["", '{"files": ', "[]", "{}", '{"files": 3}'])
def test_a_damaged_record_is_named(root, content):
    path = write_file(root / "results" / "Cora" / "provenance" / "03_a.json", content)
    with pytest.raises(RunError, match=str(path)):
        check_tables(root)
