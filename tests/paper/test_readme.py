"""README and docs: the tables are those of the results, links and commands work, examples run."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import readme
import yaml
from outputs import RunError
from parameters import read_defaults

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]


def test_the_tables_are_those_of_the_results():
    assert readme.render(TEXT) == TEXT, "README.md is stale: make readme"


CHANGES = [("Cora/verdict", "status"), ("CiteSeer/pruning_runs", "test_acc")]
CHANGES += [("bench/minutes", "minutes"), ("bench/study", "seconds")]


@pytest.mark.parametrize(("name", "column"), CHANGES)
def test_a_changed_result_changes_them(monkeypatch, name, column):
    read, before = pd.read_csv, readme.render(TEXT)

    def changed(path, **options):
        table = read(path, **options)
        return table.assign(**{column: 7}) if str(path).endswith(f"results/{name}.csv") else table

    monkeypatch.setattr(readme.pd, "read_csv", changed)
    assert readme.render(TEXT) != before


def test_edited_results_are_not_quoted(monkeypatch, tmp_path):
    monkeypatch.setattr(readme, "PROJECT", tmp_path)
    for name in ("results/Cora", "figures/Cora"):
        shutil.copytree(ROOT / name, tmp_path / name)
    verdict = tmp_path / "results" / "Cora" / "verdict.csv"
    verdict.write_text(verdict.read_text().replace("not replicated", "replicated"))
    with pytest.raises(RunError, match=str(verdict)):
        readme.render(TEXT)


def test_minutes_on_more_cores_follow_from_the_timeline(monkeypatch):
    tables = {
        "study": pd.DataFrame(
            {"what": ["cold", "cached"], "seconds": [1200.0, 90.0], "runs_trained": [7, 0]}
        ),
        "machine": pd.DataFrame({"section": ["study"], "cores": [2]}),
        "timeline": pd.DataFrame(
            {
                "second": [600, 1200],
                "training": [1.6, 1.6],
                "notebooks": [0.3, 0.1],
                "rest": 0.0,
                "code": "now",
            }
        ),
    }
    monkeypatch.setattr(readme.pd, "read_csv", lambda path: tables[path.stem])
    table = readme.study()
    assert "| from nothing, 7 networks | 20 | 6 | 4 |" in table  # 32 core minutes / 8 or / 16, and 4 / 2
    assert "| again | 1.5 | – | – |" in table


def test_a_block_is_replaced_between_its_markers():
    text = "before\n<!-- a -->\nold\n<!-- /a -->\nafter\n"
    once = readme.fill(text, {"a": "new"})
    assert once == text.replace("old", "new") == readme.fill(once, {"a": "new"})
    for damaged in ("no markers", text + text, "<!-- /a -->\n<!-- a -->"):
        with pytest.raises(ValueError, match="once"):
            readme.fill(damaged, {"a": "new"})


def test_the_data_card_has_the_facts_of_the_graphs():
    card = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    paths = [ROOT / "results" / name / "data_facts.csv" for name in readme.GRAPHS]
    facts = [pd.read_csv(path, index_col="fact") for path in paths]
    rows = re.findall(r"^\| ([^|]+) \| ([\d.,]+) \| ([\d.,]+) \|$", card, flags=re.M)
    assert len(rows) > 5
    for fact, *told in rows:
        for text, table in zip(told, facts, strict=True):
            digits = len(text.partition(".")[2])
            assert float(text.replace(",", "")) == round(table.loc[fact, "value"], digits), fact


def anchors(page):
    """The fragments of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)", page.read_text(encoding="utf-8"), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        name, _, heading = target.partition("#")
        if "://" not in target:
            path = page.parent / name if name else page
            assert path.exists(), target
            assert not heading or heading in anchors(path), target


def commands():
    """Every make command in README and docs."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    found = {command.strip() for command in re.findall(r"(?:^|`)(make [^`\n#]*)", text, flags=re.M)}
    return sorted(command for command in found if "ADDRESS" not in command)


@pytest.mark.parametrize("command", commands())
def test_make_knows_the_commands_and_a_notebook_their_parameters(command):
    _, target, *settings = shlex.split(command)
    done = subprocess.run(["make", "-n", target, *settings], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    known = {name for path in (ROOT / "notebooks").glob("*.ipynb") for name in read_defaults(path)}
    for setting in settings:
        name, _, value = setting.partition("=")
        if name == "SET":
            assert set(yaml.safe_load(value)) <= known
        if name == "PROFILE":
            assert (ROOT / "params" / "profiles" / f"{value}.yaml").is_file()


def test_the_example_runs():
    (block,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.S)
    small = block.replace('"CiteSeer"', '"SyntheticCora"').replace("range(10)", "range(2), epochs=3")
    small = small.replace("32, 4, 6)", "32, 4, 7)")
    exec(small.replace('name="MyGraph"', 'name="MyGraph", cache=None'), {})
