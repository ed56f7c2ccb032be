"""Two reference pages, written by `make readme`.

docs/columns.md says what every column of every table means: the tables have the names, docs/columns.yaml the
meanings. docs/api.md is made of the package's docstrings, in Markdown.
"""

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd
from readme import table
from ruamel.yaml import YAML

import deadgcn as dg

MEANINGS = dg.PROJECT / "docs" / "columns.yaml"
SHARED = ("bench", "published")  # folders of results/ that belong to no data set
FOLDERS = {"results/published": "Published numbers", "results/bench": "Benchmark", "figures": "Figures"}
NEURONS = "0, 1, …"  # stands for the columns of single neurons
SQL = """SELECT *
FROM read_csv('results/**/*_runs.csv', union_by_name=true, filename=true,
              types={'best_epoch': 'BIGINT', 'diverged_epoch': 'BIGINT'})"""
INTRO = f"""# Tables and their columns

All tables are CSV files. Their names below leave out the data set: `results/depth_runs.csv` is in `results/Cora`, in `results/CiteSeer`, and in the folder of any other graph. What `make profiles` keeps, in `results/profiles`, has the same names and columns. In brackets is the notebook that writes a table. Tables that end with `.gz` are written too, but not kept in git.

- An empty cell is a missing number.
- A setting of the runs is a column only where runs of a table differ in it. [Config](api.md#config) lists all settings.
- A column whose name ends with `_last` is about the model after the last epoch. Without `_last` it is about the model that was best on validation.
- A layer is *constant* if all nodes have almost the same embedding there. A neuron is *dead* if it is exactly 0 at every node.
- Intervals are 95 % intervals of a mean by Student's t unless the column says otherwise. Figures draw those of shares within [0, 1], and none under five runs; tables have them as computed.

DuckDB reads the tables of runs of all graphs at once, although their columns differ. In the project's folder:

```sql
{SQL}
```

Without `types`, a column that is empty in all files would be read as text. A run may be in several tables: those of notebook 03 are also in 04's. Before you average, group by all settings that are columns: some tables hold several recipes of one method."""  # noqa: E501
HEADERS = {"Args": "Arguments", "Returns": "Returns"}


def columns_page(root: Path = dg.PROJECT) -> str:
    """Return docs/columns.md. Raises ValueError for a column without meaning, and one meant but not there."""
    meanings = load_meanings()
    tables = columns_of_tables(root) | not_in_git()
    check(tables, meanings)
    kinds = {"results": "Results", **FOLDERS}
    page = [INTRO]
    for kind, title in kinds.items():
        rows = []
        for name, entry in meanings["tables"].items():
            if _folder(name, kinds) == kind:
                rows.append([f"`{name}`", entry["row"], ", ".join(f"`{column}`" for column in tables[name])])
        page += [f"## {title}", table(["table", "rows", "columns"], rows)]
    page += ["## Columns", "A meaning for some tables only names them; the others hold everywhere else."]
    page.append(table(["column", "tables", "meaning", "unit", "range"], _rows(meanings)))
    return "\n\n".join(page) + "\n"


def load_meanings() -> dict[str, Any]:
    """Return what docs/columns.yaml holds."""
    return YAML(typ="safe", pure=True).load(MEANINGS)


def not_in_git() -> dict[str, list[str]]:
    """The columns of the tables that the runs write, but git does not keep."""
    return {name: entry["names"] for name, entry in load_meanings()["tables"].items() if "names" in entry}


def columns_of_tables(root: Path) -> dict[str, list[str]]:
    """The columns of every CSV file of the project, by the table's name without its data set."""
    tables: dict[str, dict[str, None]] = {}
    for path in sorted(path for kind in ("results", "figures") for path in (root / kind).rglob("*.csv")):
        kind, *parts = path.relative_to(root).parts
        if kind == "figures" or parts[0] not in SHARED:
            parts = parts[3:] if parts[0] == "profiles" else parts[1:]
        names = [NEURONS if name.isdigit() else name for name in pd.read_csv(path, nrows=0)]
        tables.setdefault("/".join([kind, *parts]), {}).update(dict.fromkeys(names))
    return {name: list(columns) for name, columns in tables.items()}


def check(tables: Mapping[str, Sequence[str]], meanings: Mapping[str, Any]) -> None:
    """Raise ValueError unless tables and meanings have the same names."""
    entries, general = meanings["tables"], meanings["columns"]
    wrong = [f"{name} is not there" for name in entries.keys() - tables.keys()]
    wrong += [f"{name} is not described" for name in tables.keys() - entries.keys()]
    used = set()
    for name in tables.keys() & entries.keys():
        own = entries[name].get("columns", {})
        wrong += [f"{name} has no column {column!r}" for column in own.keys() - set(tables[name])]
        rest = {column for column in tables[name] if column not in own}
        stems = {column if column in general else column.removesuffix("_last") for column in rest}
        wrong += [f"column {column!r} of {name} has no meaning" for column in stems - general.keys()]
        used |= stems
    wrong += [f"no table needs the meaning of {column!r}" for column in general.keys() - used]
    if wrong:
        raise ValueError("docs/columns.yaml does not fit the tables: " + "; ".join(sorted(wrong)))


def _folder(name: str, kinds: Mapping[str, str]) -> str:
    return max((kind for kind in kinds if name.startswith(f"{kind}/")), key=len)


def _rows(meanings: Mapping[str, Any]) -> list[list[str]]:
    """A row per column and meaning, sorted by name; tables that share a meaning share a row."""
    found = {(name, *meaning): [] for name, meaning in meanings["columns"].items()}
    for name, entry in meanings["tables"].items():
        for column, meaning in entry.get("columns", {}).items():
            found.setdefault((column, *meaning), []).append(f"`{name}`")
    order = sorted(found.items(), key=lambda row: (row[0][0].lower(), len(row[1]) > 0, row[1]))
    return [[f"`{name}`", ", ".join(tables), *rest] for (name, *rest), tables in order]


def api_page() -> str:
    """Return docs/api.md: every public name, in reading order, with its signature and docstring."""
    page = ["# API", "Everything that `import deadgcn as dg` offers, in reading order."]
    for home, names in groupby(dg.__all__, lambda name: dg._HOME[name]):
        module = importlib.import_module(f"deadgcn.{home}")
        page += [f"## deadgcn.{home}", markdown(inspect.getdoc(module) or "")]
        for name in names:
            page += describe(name, getattr(dg, name), module)
    return "\n\n".join(part for part in page if part) + "\n"


def describe(name: str, value: Any, module: Any) -> Iterator[str]:
    """Yield heading, code and text of one public name."""
    yield f"### {name}"
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        yield _fenced(_assignments(name, inspect.getsource(module)))
        return
    source = textwrap.dedent(inspect.getsource(value))
    (node,) = ast.parse(source).body
    if not inspect.isclass(value):
        yield _fenced(_header(node, source))
        yield markdown(inspect.getdoc(value) or "")
        return
    methods = {each.name: each for each in node.body if isinstance(each, ast.FunctionDef)}
    fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
    if fields:
        shown = _lines(source, fields[0].lineno, fields[-1].end_lineno)
        yield _fenced(f"{_header(node, source)}:\n{shown}")
    else:
        init = _header(methods.get("__init__", node), source)
        yield _fenced(re.sub(r"def __init__\((\s*)self,\s*", rf"{name}(\1", init).removesuffix(" -> None"))
    yield markdown(inspect.getdoc(value) or "")
    for method, each in methods.items():
        if not method.startswith("_"):
            yield f"#### {name}.{method}"
            yield _fenced(_header(each, source))
            yield markdown(ast.get_docstring(each) or "")


def _header(node: ast.AST, source: str) -> str:
    """A function's or class's first lines, up to the colon before its docstring, without decorators."""
    return textwrap.dedent(_lines(source, node.lineno, node.body[0].lineno - 1)).removesuffix(":")


def _lines(source: str, first: int, last: int) -> str:
    return "\n".join(source.splitlines()[first - 1 : last])


def _assignments(name: str, source: str) -> str:
    """The lines of a module that give a constant its value, with the comments above them."""
    lines, found = source.splitlines(), []
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", ast.Pass())]
        parts = (part for target in targets for part in ast.walk(target))
        if name in {part.id for part in parts if isinstance(part, ast.Name)}:
            first = node.lineno
            while lines[first - 2].startswith("#"):
                first -= 1
            found.append(_lines(source, first, node.end_lineno))
    return "\n".join(found)


def _fenced(code: str, language: str = "python") -> str:
    return f"```{language}\n{code}\n```"


def markdown(docstring: str) -> str:
    """Turn a docstring's reStructuredText, as far as this project uses it, into Markdown."""
    parts = [_paragraph(part) for part in re.split(r"\n\s*\n", docstring.strip())]
    return "\n\n".join(parts)


def _paragraph(text: str) -> str:
    text = textwrap.dedent(text)
    if text.startswith(">>>"):
        return _fenced(text)
    if text.startswith(".. math::"):
        return _fenced(re.sub(r"\s*\n\s*", "\n", text.removeprefix(".. math::").strip()), "math")
    first, _, rest = text.partition("\n")
    if first.rstrip(":") in HEADERS and rest:
        rest = textwrap.dedent(rest)
        if first == "Args:":
            rest = re.sub(r"^(\w[\w, ]*): ", r"- `\1`: ", re.sub(r"\n +", " ", rest), flags=re.M)
        return f"{HEADERS[first.rstrip(':')]}:\n\n{_inline(rest)}"
    return _inline(text)


def _inline(text: str) -> str:
    text = re.sub(r":math:`([^`]+)`", lambda found: f"${found[1]}$", text)
    text = re.sub(r":\w+:`([^`]+)`", _link, text)
    return re.sub(r"``([^`]+)``", r"`\1`", text)


def _link(found: re.Match) -> str:
    """A role's target: a link if it is on the page."""
    name = found[1].removeprefix("~").removeprefix("deadgcn.")
    on_page = name.split(".")[0] in dg.__all__
    return f"[{name}](#{anchor(name)})" if on_page else f"`{found[1]}`"


def anchor(heading: str) -> str:
    """The fragment that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


PAGES = {"columns.md": columns_page, "api.md": api_page}

if __name__ == "__main__":
    for page, make in PAGES.items():
        (dg.PROJECT / "docs" / page).write_text(make(), encoding="utf-8")
