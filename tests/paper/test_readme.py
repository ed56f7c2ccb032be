"""The README: its numbers are those of the results, its links lead somewhere, its examples run."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import yaml

from deadgcn.paper import readme
from deadgcn.paper.parameters import read_defaults

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
ORDER = [
    *("Run it", "Change a parameter", "What replicated, and what did not", "Hardware, time and memory"),
    *("The data", "Layout", "If something goes wrong", "Cite"),
]


def test_its_blocks_say_what_the_results_say():
    assert readme.render(TEXT) == TEXT, "README.md is stale: make readme"


def test_a_changed_result_makes_it_stale(tmp_path):
    shutil.copytree(ROOT / "results", tmp_path / "results", ignore=shutil.ignore_patterns("*.gz", "*.pth"))
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    assert readme.render(TEXT, tmp_path) == TEXT
    for path, column, change in (
        ("Cora/verdict.csv", "status", "undecided"),
        ("CiteSeer/pruning_runs.csv", "test_acc", 0.5),
        ("Cora/paired_difference.csv", "difference", 0.123),
        ("bench/study.csv", "seconds", 7777.0),
        ("bench/tests.csv", "seconds", 7777.0),
        ("bench/minutes.csv", "minutes", 77.0),
    ):
        file = tmp_path / "results" / path
        before = file.read_bytes()
        pd.read_csv(file).assign(**{column: change}).to_csv(file, index=False)
        assert readme.render(TEXT, tmp_path) != TEXT, path
        file.write_bytes(before)
    assert readme.render(TEXT, tmp_path) == TEXT


@pytest.mark.parametrize(
    "path", sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")), ids=lambda path: path.stem
)
def test_the_minutes_of_first_cells_are_near_those_measured(path):
    taken = pd.read_csv(ROOT / "results" / "bench" / "minutes.csv").query("what == 'cold'")
    taken = taken.set_index("notebook").loc[path.stem, "minutes"]
    first = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"])
    minutes = r"about (\d+) minutes|(?:about|less than|under) a minute|seconds"
    (said,) = re.findall(rf"[Tt]akes (?:\| )?(?:{minutes})", first)
    assert max(1, int(said or 1)) == pytest.approx(max(1, taken), rel=0.3), taken


def test_the_table_of_claims_is_that_of_the_committed_verdicts():
    block = re.search(r"<!-- verdict -->\n(.*)<!-- /verdict -->", TEXT, re.S)[1]
    for line in block.strip().splitlines()[2:]:
        claim, _, *statuses = [cell.strip().strip("*") for cell in line.strip("|").split("|")]
        for path, status in zip(readme.VERDICTS.values(), statuses, strict=True):
            assert pd.read_csv(ROOT / path / "verdict.csv", index_col="claim").loc[claim, "status"] == status


def test_a_block_is_replaced_between_its_markers():
    text = "before\n<!-- a -->\nold\n<!-- /a -->\nafter\n"
    once = readme.put_into(text, "a", "new")
    assert once == text.replace("old", "new") == readme.put_into(once, "a", "new")
    for damaged in ("no markers", text + text, "<!-- /a -->\n<!-- a -->"):
        with pytest.raises(ValueError, match="once each"):
            readme.put_into(damaged, "a", "new")


def test_a_missing_result_leaves_it_as_it_is(tmp_path, monkeypatch, capsys):
    (tmp_path / "README.md").write_text(TEXT)
    monkeypatch.setattr(readme, "PROJECT", tmp_path)
    assert readme.main() == 1
    assert "README.md stays as it is: " in capsys.readouterr().err
    assert (tmp_path / "README.md").read_text() == TEXT


def test_sections_come_in_order():
    assert [head for head in re.findall(r"^## (.+)$", TEXT, re.M) if head in ORDER] == ORDER
    before, figure, table = (TEXT.index(part) for part in ("<!-- finding -->", "![", "<!-- results -->"))
    assert before < figure < table < TEXT.index("## Run it")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]
    anchors = {
        re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-")
        for head in re.findall(r"^#+ (.+)$", text, re.M)
    }
    for target in targets:
        path, _, anchor = target.partition("#")
        assert (page.parent / path).exists() if path else anchor in anchors, target


def test_the_commands_are_known_to_make_and_their_parameters_to_a_notebook():
    commands = re.findall(r"(?:^|`)(make [^`\n#]*)", TEXT, re.M)
    assert len(commands) > 10
    known = {name for path in (ROOT / "notebooks").glob("*.ipynb") for name in read_defaults(path)}
    assert "error: ... the nearest known name is depths" in TEXT  # the one command that is wrong on purpose
    for command in {command.strip() for command in commands} - {"make figures SET='{depth: [2, 4, 64]}'"}:
        if "<" in command or "…" in command:
            continue
        done = subprocess.run(
            ["bash", "-c", command.replace("make ", "make -n ", 1)], cwd=ROOT, capture_output=True
        )
        assert done.returncode == 0, (command, done.stderr)
        for setting in re.findall(r"SET='([^']*)'", command):
            assert set(yaml.safe_load(setting)) <= known


def test_its_python_examples_run(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    blocks = [block for block in blocks if "dask_jobqueue" not in block]  # which needs a Slurm cluster
    assert blocks
    for block in blocks:
        small = block.replace('dataset="CiteSeer"', 'dataset="KarateClub"').replace("range(10)", "range(2)")
        exec(compile(small, "README.md", "exec"), {})
