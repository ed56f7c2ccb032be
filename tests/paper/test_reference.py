"""The reference pages are complete and as generated, and what they tell to type works."""

import re
from pathlib import Path

import pandas as pd
import pytest
import reference

import deadgcn as dg

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("page", reference.PAGES)
def test_pages_are_as_generated(page):
    written = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert reference.PAGES[page]() == written, f"docs/{page} is stale: make readme"


def test_every_column_of_every_table_is_in_the_dictionary():
    """Read from the page itself, with no help of what wrote it."""
    page = (ROOT / "docs" / "columns.md").read_text(encoding="utf-8")
    tables, meanings = page.split("## Columns\n")
    listed = {
        name: set(re.findall(r"`([^`]+)`", columns))
        for name, columns in re.findall(r"^\| `([^`]+)` \|.*\| (`.*`) \|$", tables, flags=re.M)
    }
    explained = re.findall(r"^\| `([^`]+)` \| ([^|]*) \|", meanings, flags=re.M)
    paths = [path for kind in ("results", "figures") for path in (ROOT / kind).rglob("*.csv")]
    assert len(paths) > 100
    for path in paths:
        name = re.sub(r"^(\w+)/(profiles/\w+/)?(?!bench|published)[^/]+", r"\1", str(path.relative_to(ROOT)))
        names = {"0, 1, …" if column.isdigit() else column for column in pd.read_csv(path, nrows=0)}
        assert names <= listed[name], path
        for column in names:
            places = [where for other, where in explained if other in (column, column.removesuffix("_last"))]
            assert any(where == "" or f"`{name}`" in where for where in places), (path, column)


def test_tables_that_are_not_in_git_have_the_columns_told():
    configs = dg.grid("ReLU", num_layers=1, seed=0, dataset="KarateClub", epochs=2)
    tables = dg.run_grid(configs, cache=None)
    described = reference.columns_of_tables(ROOT) | reference.not_in_git()
    assert list(tables.epochs) == described["results/*_epochs.csv.gz"]
    assert list(tables.layers) == described["results/*_layers.csv.gz"]
    assert list(tables.runs) == described["results/depth_runs.csv"]


@pytest.mark.parametrize(
    ("table", "columns", "told"),
    [
        ("results/depth_runs.csv", ["seed", "colour"], "'colour' of results/depth_runs.csv has no meaning"),
        ("results/new.csv", ["seed"], "results/new.csv is not described"),
        ("results/power.csv", ["claim", "reading", "n", "for_margin", "for_effect"], "no column 'cells'"),
        ("results/pruning_runs.csv", ["seed"], "no table needs the meaning of 'rounding'"),
        ("results/search.csv", None, "results/search.csv is not there"),
    ],
)
def test_a_column_without_meaning_and_a_meaning_without_column_are_refused(monkeypatch, table, columns, told):
    tables = reference.columns_of_tables(ROOT) | {table: columns}
    tables = {name: names for name, names in tables.items() if names}
    monkeypatch.setattr(reference, "columns_of_tables", lambda root: tables)
    with pytest.raises(ValueError, match=re.escape(told)):
        reference.columns_page()


def test_every_public_name_has_a_section_with_its_signature_and_text():
    page = reference.api_page()
    sections = dict(re.findall(r"^### (\w+)\n\n(.*?)(?=^##|\Z)", page, flags=re.M | re.S))
    assert list(sections) == dg.__all__
    for name, text in sections.items():
        code, _, rest = text.removeprefix("```python\n").partition("\n```\n")
        assert re.search(rf"\b{name}\b", code)
        assert rest.strip() or not callable(getattr(dg, name))
    prose = re.sub(r"^```.*?^```$", "", page, flags=re.M | re.S)
    assert not re.search(r":\w+:`|``|\.\. \w+::", prose)  # reStructuredText


TEXT = r"""Set :math:`\hat A` as :func:`deadgcn.train` and :meth:`Tables.save` do, not :mod:`torch`.

.. math:: a = b \\
          + c

Args:
    a, b: the ``first``
        and the second.
    c: another.

>>> 1 + 1
2
"""
MARKDOWN = r"""Set $\hat A$ as [train](#train) and [Tables.save](#tablessave) do, not `torch`.

```math
a = b \\
+ c
```

Arguments:

- `a, b`: the `first` and the second.
- `c`: another.

```python
>>> 1 + 1
2
```"""


def test_docstrings_in_markdown():
    assert reference.markdown(TEXT) == MARKDOWN


def test_a_constant_is_shown_with_its_comments():
    source = "# Two\n# lines.\nA, B = 1, 2  # both\nOTHER = A\nB += (\n    3\n)\n"
    assert reference._assignments("A", source) == "# Two\n# lines.\nA, B = 1, 2  # both"
    assert reference._assignments("B", source) == "# Two\n# lines.\nA, B = 1, 2  # both\nB += (\n    3\n)"


def test_duckdb_reads_all_tables_of_runs_at_once(monkeypatch):
    duckdb = pytest.importorskip("duckdb")
    monkeypatch.chdir(ROOT)
    (query,) = re.findall(r"```sql\n(.*?)```", (ROOT / "docs" / "columns.md").read_text(), flags=re.S)
    found = duckdb.sql(query).df()
    paths = list((ROOT / "results").rglob("*_runs.csv"))
    assert len(paths) > 20 and found["filename"].nunique() == len(paths)
    assert len(found) == sum(len(pd.read_csv(path)) for path in paths)
    types = duckdb.sql(f"DESCRIBE {query}").df().set_index("column_name")["column_type"]
    assert set(types[["seed", "num_layers", "best_epoch", "diverged_epoch"]]) == {"BIGINT"}
    assert set(types.filter(regex="_acc|fraction")) == {"DOUBLE"}
