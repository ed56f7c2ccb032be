"""The executed report notebook as one self-contained HTML page.

In its Markdown, `{{ name }}` is a number and `[@key]` a row of references.csv. The cell tagged `numbers`
outputs a flat `application/json` mapping with `dataset` and `figures`, a folder relative to PROJECT.
"""

import html
import re
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from math_core import LatexToMathML
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from ruamel.yaml import YAML

from deadgcn.config import PROJECT

TEMPLATE = Path(__file__).with_name("report.html.j2")
REFERENCES = Path(__file__).with_name("references.csv")
ATTRIBUTES = r'( (id|class|colspan|rowspan|border|scope|type)="[^"]*")* ?'
CELL = re.compile(rf"(?P<start> *<(?P<tag>t[hd]|caption){ATTRIBUTES}>)(?P<text>.*)(?P<end></(?P=tag)>)")
PART = re.compile(rf" *</?(table|thead|tbody|tr|style){ATTRIBUTES}>|")
CITATION = PROJECT / "CITATION.cff"


def render(nb: Any) -> str:
    """Return the HTML page of an executed report notebook, as nbformat reads it.

    The page may be read without the files beside it: a link to another file of the project leads to the
    address in CITATION.cff. Without one, or if the run is not the one in the repository, its text stays as
    plain text. Cells tagged `aside` are left out. Raises KeyError for an unknown number or source.
    """
    (marked,) = [cell for cell in nb.cells if "numbers" in cell.metadata.get("tags", ())]
    numbers = marked.outputs[0].data["application/json"]
    numbers = {name: re.sub("^-", "−", str(number)) for name, number in numbers.items()}
    cells = [cell for cell in nb.cells if "aside" not in cell.metadata.get("tags", ()) and cell is not marked]
    prose = [cell for cell in cells if cell.cell_type == "markdown"]
    cited = list(dict.fromkeys(re.findall(r"@(\w+)", "".join(cell.source for cell in prose))))
    for cell in prose:
        text = re.sub(r"@(\w+)", lambda mark: f"[{cited.index(mark[1]) + 1}](#ref-{mark[1]})", cell.source)
        # Filled in last, because a name may hold Markdown or HTML; until then by letters that no prose has.
        cell.source = re.sub(r"\{\{ *([\w-]+) *\}\}", "\ue000\\1\ue001", text)
    headings = re.findall(r"^(#+) +(.+?)\s*$", "\n".join(cell.source for cell in prose), flags=re.M)
    template = jinja2.Template(TEMPLATE.read_text(encoding="utf-8"), autoescape=True, trim_blocks=True)
    page = template.render(
        title=f"{headings[0][1]} ({numbers['dataset']})",
        contents=headings[1:],
        cells=[cell for cell in cells if cell in prose or cell.get("outputs")],
        references=pd.read_csv(REFERENCES, index_col="key").loc[cited].itertuples(),
        markdown=MarkdownWithMath(_Renderer(numbers)).render,
        table=_table,
        numbers=numbers,
    )
    return re.sub("\ue000(.+?)\ue001", lambda mark: html.escape(numbers[mark[1]]), page)


def _table(text: str) -> str:
    """The HTML of a table as pandas writes it, with all that is in its cells, and all else, as text."""
    lines = []
    for line in text.split("\n"):
        if cell := CELL.fullmatch(line):
            line = cell["start"] + html.escape(html.unescape(cell["text"]), quote=False) + cell["end"]
        elif not PART.fullmatch(line):
            line = html.escape(line)
        lines.append(line)
    return "\n".join(lines)


class _Renderer(IPythonRenderer):
    """Markdown to HTML: formulas as MathML, pictures embedded, links that work without other files."""

    def __init__(self, numbers: dict[str, str]):
        super().__init__(escape=False, embed_images=True, path=PROJECT / numbers["figures"])
        address = YAML(typ="safe").load(CITATION).get("repository-code") or ""
        self.address = address.rstrip("/") if numbers["run"] == numbers["written_about"] else ""

    def heading(self, text: str, level: int, **attributes: str) -> str:
        return f'<h{level} id="{text.replace(" ", "-")}">{text}</h{level}>\n'

    def inline_math(self, body: str) -> str:
        return LatexToMathML().convert_with_local_state(body, displaystyle=False)

    def block_math(self, body: str) -> str:
        math = LatexToMathML().convert_with_local_state(body, displaystyle=True)
        return f'<div class="equation">{math}</div>'

    def link(self, text: str, url: str, title: str | None = None) -> str:
        if re.match(r"#|\w+:", url):
            return super().link(text, url, title)
        path = url[3:] if url.startswith("../") else f"report/notebooks/{url}"  # the executed notebook
        return super().link(text, f"{self.address}/blob/main/{path}", title) if self.address else text

    def image(self, text: str, url: str, title: str | None = None) -> str:
        file = Path(url)
        if not (self.path / file.name).is_file():
            return f'<em id="{file.stem}">This run made no such figure.</em>'
        picture = super().image(text, file.name, title).replace("<img", f'<img id="{file.stem}"', 1)
        large = f"large-{file.stem}"  # a popover: a tap on the picture opens it, another one closes it
        button = f'<button popovertarget="{large}">{picture}</button>'
        return f'<span class="picture" id="{large}" popover>{button}</span>'

    def paragraph(self, text: str) -> str:
        """A picture, a hard line break and a caption make a figure."""
        picture, _, caption = text.partition("<br />\n")
        if caption and picture.startswith(("<span", "<em id")):
            return f"<figure>\n{picture}\n<figcaption>{caption}</figcaption>\n</figure>\n"
        return super().paragraph(text)
