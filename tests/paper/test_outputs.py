import contextlib
import json
import os
import shutil

import outputs
import pytest
from nbformat import v4
from outputs import RunError, check_made, check_sums, check_tables, record, scrub, write_sums
from tiny_project import write_file


def test_of_controls_the_text_remains(tmp_path):
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "random"}}
    output = v4.new_output("display_data", view | {"text/plain": f"controls in {tmp_path}/a"})
    nb = v4.new_notebook(cells=[v4.new_code_cell(outputs=[output])], metadata={"widgets": {}})
    text = scrub(nb, tmp_path)
    assert json.loads(text)["cells"][0]["outputs"][0]["data"] == {"text/plain": ["controls in a"]}
    assert "widgets" not in text


def test_processors_of_one_name_are_told_apart(tmp_path, monkeypatch):
    text = "cpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n\nmodel\t: 18"
    monkeypatch.setattr(outputs, "CPUINFO", write_file(tmp_path / "cpuinfo", text))
    one = outputs.machine()["processor"]
    write_file(tmp_path / "cpuinfo", text.replace("17", "1"))
    assert one.startswith("AMD EPYC") and one != outputs.machine()["processor"]


@pytest.mark.parametrize("made", ["figures/Cora/a.png", "results/Cora/b.csv", "both"])
def test_what_a_notebook_says_it_writes_must_be_there(tmp_path, made):
    lines = ['dg.publish(fig, "a", table, alt, study.figures)', 'table.to_csv(study.results / "b.csv")']
    others = ["if more:\n    " + lines[0].replace('"a"', '"c"'), "# " + lines[1].replace("b.csv", "d.csv")]
    nb = v4.new_notebook(cells=[v4.new_code_cell("\n".join([*lines, *others]))])
    names = ["figures/Cora/a.png", "results/Cora/b.csv"]
    for name in names if made == "both" else [made]:
        write_file(tmp_path / name, "1")
    missing = [name for name in names if not (tmp_path / name).exists()]
    with pytest.raises(RunError, match=missing[0]) if missing else contextlib.nullcontext():
        check_made(nb, tmp_path, "Cora")


@pytest.fixture
def root(tmp_path):
    """An outputs' root as notebook 03_a left it, and the same as the results of a profile."""
    for name in ("results/Cora/a_runs.csv", "figures/Cora/a.csv", "results/Cora/a_layers.csv.gz"):
        write_file(tmp_path / name, "1")
    record(tmp_path, "Cora", "03_a", {"lr": 0.1})
    shutil.copytree(tmp_path / "results" / "Cora", tmp_path / "results" / "profiles" / "full" / "Cora")
    return tmp_path


def test_a_record_says_settings_machine_and_kept_files(root):
    found = json.loads((root / "results" / "Cora" / "provenance" / "03_a.json").read_text())
    assert found["notebook"] == "03_a" and found["settings"] == {"lr": 0.1}
    assert {"processor", "system", "python", "torch", "numpy"} <= found["machine"].keys()
    assert found["files"].keys() == {"results/Cora/a_runs.csv", "figures/Cora/a.csv"}


FILES = ["results/Cora/a_runs.csv", "results/profiles/full/Cora/a_runs.csv", "figures/Cora/a.csv"]


@pytest.mark.parametrize("name", FILES)
def test_an_edited_file_is_named_with_a_remedy(root, name):
    check_tables(root)
    write_file(root / name, "edited")
    with pytest.raises(RunError, match=f"{name} .*03_a"):
        check_tables(root)


@pytest.mark.parametrize("name", FILES[::2])
def test_a_missing_file_is_named(root, name):
    (root / name).unlink()
    with pytest.raises(RunError, match=name):
        check_tables(root)


def test_a_table_without_a_record_is_named(root):
    table = write_file(root / "results" / "Cora" / "own" / "b_runs.csv", "1")
    with pytest.raises(RunError, match=str(table)):
        check_tables(root)


def test_tables_whose_records_are_all_gone_are_named(root):
    shutil.rmtree(root / "results" / "Cora" / "provenance")
    with pytest.raises(RunError, match=r"results/Cora/a_runs\.csv"):
        check_tables(root)


def test_tables_with_their_records_are_not_those_of_another_data_set(root):
    (root / "results" / "Cora").rename(root / "results" / "CiteSeer")
    with pytest.raises(RunError, match="results/CiteSeer/provenance"):
        check_tables(root)


DAMAGED = [b"", b'{"files": ', b"{}", b"[]", b'{"files": {}, "machine": {"a": "b"}}', b"\xff", b"[" * 100_000]


@pytest.mark.parametrize(
    "content", [*DAMAGED, b'{"files": [1], "machine": {"a": "b"}}'], ids=lambda each: str(each[:9])
)
def test_a_damaged_record_is_named(root, content):
    path = root / "results" / "Cora" / "provenance" / "03_a.json"
    path.write_bytes(content)
    with pytest.raises(RunError, match=str(path)):
        check_tables(root)
    path.unlink()
    path.mkdir()
    with pytest.raises(RunError, match=str(path)):
        check_tables(root)
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(RunError, match=str(path)):
        check_tables(root)


def test_timings_are_as_they_were_measured(tmp_path):
    table = write_file(tmp_path / "study.csv", "1")
    with pytest.raises(RunError, match=str(table)):
        check_sums(tmp_path)
    write_sums(tmp_path)
    check_sums(tmp_path)
    for edit in (lambda: table.write_text("2"), table.unlink):
        edit()
        with pytest.raises(RunError, match=str(table)):
            check_sums(tmp_path)
