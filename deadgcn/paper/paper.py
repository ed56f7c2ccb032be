"""What makes a notebook a paper: figures, tables, equations and sources under numbers, with links to files.

Text names them by marks: `@figure-NAME`, `@table-NAME`, `@equation-NAME` and, for sources, `[@KEY]` or
`[@KEY; @KEY]` with a key of references.csv. Numbers follow the order of first mention.
"""

import csv
import json
import os
import re
from pathlib import Path
from typing import Any

import pandas as pd
import PIL.Image
from IPython.display import Image, Markdown, display

PIXELS = 0.36  # of the screen per pixel of a figure of 300 dpi: text in it is then about as large as ours
MARK = re.compile(r"@((figure|table|equation)-(\w+))")
CITATION = re.compile(r"\[(@\w+(?:; ?@\w+)*)\]")
LABEL = re.compile(r"\\label\{equation-(\w+)\}")
# Typography that keyboards lack: a minus, an apostrophe, and before the sign of per cent a space that holds.
MINUS, APOSTROPHE = re.compile(r"(?<=[\s(>])-(?=\d)"), re.compile(r"(?<=\w)'(?=\w|\s)")
PERCENT = re.compile(r"(?<=\d) ?%")


class Paper:
    """Shows the figures and tables of one data set, and fills numbers and links into text.

    `root` is the folder that holds figures/ and results/. Links are those of the executed notebook, which
    lies with the others in report/notebooks, or in report/<data set>/notebooks; which notebook made a file
    is looked up in the records that each left (:mod:`deadgcn.paper.provenance`). A file without one has no links.
    """

    def __init__(self, root: Path, dataset: str):
        self.root, self.dataset = root, dataset
        paths = sorted((root / "results" / dataset / "provenance").glob("*.json"))
        self.records = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}
        self._numbers: dict[str, list[str]] = {"figure": [], "table": [], "equation": [], "reference": []}
        with Path(__file__).with_name("references.csv").open(encoding="utf-8", newline="") as file:
            self._sources = {row["key"]: row for row in csv.DictReader(file)}

    def record(self, file: str) -> dict[str, Any] | None:
        """The record of the notebook that made a file, named from `root`; None if there is none."""
        return next((record for record in self.records.values() if file in record["files"]), None)

    def has(self, figure: str) -> bool:
        """Whether there is a figure of this name."""
        return self._file(figure, "png").exists()

    def prose(self, text: str) -> Markdown:
        """Text with its marks replaced by numbers that are links. Raises ValueError for an unknown source."""
        return Markdown(self._filled(text))

    def figure(self, name: str, caption: str, alt: str) -> None:
        """Show a figure with its number, its caption, and links to its numbers and its notebook.

        `alt` tells what is seen to readers who do not see it. Raises FileNotFoundError.
        """
        path, label = self._file(name, "png"), f"figure-{name}"
        with PIL.Image.open(path) as picture:
            width = round(PIXELS * picture.width)
        about = {"alt": _typeset(alt), "width": width, "id": label}
        display(Image(path), metadata={"image/png": about})
        files = [str(self._file(name, kind).relative_to(self.root)) for kind in ("csv", "png")]
        self._caption(label, caption, files)

    def table(self, name: str, table: pd.DataFrame, caption: str, file: str | None = None) -> None:
        """Show a table below its number and caption, with links to its CSV `file`, named from `root`."""
        self._caption(f"table-{name}", caption, [file] if file else [])
        html = MINUS.sub("−", table.to_html(border=0, na_rep="–"))
        display({"text/html": html, "text/plain": table.to_string()}, raw=True)

    def references(self) -> Markdown:
        """The list of all sources cited so far, by their numbers."""
        lines = []
        for place, key in enumerate(self._numbers["reference"], 1):
            row = self._sources[key]
            authors = f"{row['authors']}. " if row["authors"] else ""
            where = f"[{row['where']}]({row['url']})" if row["url"] else row["where"]
            title = row["title"].rstrip(".")
            lines.append(f'{place}. <a id="reference-{place}"></a>{authors}*{title}.* {where}.')
        return Markdown("## References\n\n" + "\n".join(lines))

    def link(self, file: str, text: str) -> str:
        """A Markdown link from the executed notebook to a file named from `root`."""
        return f"[{text}]({os.path.relpath(file, self._folder)})"

    @property
    def _folder(self) -> Path:
        """Where executed notebooks of this data set are, seen from `root`."""
        made = [Path(file) for record in self.records.values() for file in record["files"]]
        return next((path.parent for path in made if path.suffix == ".ipynb"), Path("report", "notebooks"))

    def _file(self, name: str, kind: str) -> Path:
        return self.root / "figures" / self.dataset / f"{name}.{kind}"

    def _caption(self, label: str, caption: str, files: list[str]) -> None:
        number = self._filled(f"@{label}")[1:].split("]")[0]
        text = f'<a id="{label}"></a>**{number}.** {self._filled(caption)}{self._origin(files)}'
        display({"text/markdown": text, "text/plain": caption}, metadata={"caption_of": label}, raw=True)

    def _origin(self, files: list[str]) -> str:
        """Links to files and to the notebook that made them, or nothing."""
        record = self.record(files[0]) if files else None
        if not record:
            return ""
        notebook = next(name for name in record["files"] if name.endswith(".ipynb"))
        links = ", ".join(self.link(file, file.rsplit(".")[-1].upper()) for file in files)
        return f" ({links}, made by {self.link(notebook, record['notebook'])})"

    def _filled(self, text: str) -> str:
        text = LABEL.sub(lambda found: rf"\tag{{{self._number('equation', found[1])}}}", _typeset(text))
        text = CITATION.sub(lambda found: self._cited(found[1]), text)
        return MARK.sub(lambda found: self._reference(*found.groups()), text)

    def _reference(self, label: str, kind: str, name: str) -> str:
        number = self._number(kind, name)
        # Renderers of formulas know an equation by its number only.
        return f"[{kind.capitalize()} {number}](#{f'equation-{number}' if kind == 'equation' else label})"

    def _cited(self, keys: str) -> str:
        named = [key.strip(" @") for key in keys.split(";")]
        if unknown := [key for key in named if key not in self._sources]:
            raise ValueError(f"sources must be among {list(self._sources)}, but {unknown[0]!r} was cited")
        numbers = sorted(self._number("reference", key) for key in named)
        return "[" + ", ".join(f"[{number}](#reference-{number})" for number in numbers) + "]"

    def _number(self, kind: str, name: str) -> int:
        names = self._numbers[kind]
        if name not in names:
            names.append(name)
        return names.index(name) + 1


def _typeset(text: str) -> str:
    return PERCENT.sub("\u00a0%", APOSTROPHE.sub("’", MINUS.sub("−", text)))
