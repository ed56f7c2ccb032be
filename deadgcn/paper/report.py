"""The executed report notebook as one self-contained HTML page.

In its Markdown, `{{ name }}` is a number and `[@key]` a row of references.csv. The cell tagged `numbers`
outputs a flat `application/json` mapping with `dataset` and `figures`, a folder relative to PROJECT.
CSS counters number headings, figures, tables and equations.
"""

import base64
import io
import re
from pathlib import Path

import jinja2
import nbformat
import pandas as pd
from math_core import LatexToMathML
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from PIL import Image

from deadgcn.config import PROJECT

TEMPLATE = Path(__file__).with_name("report.html.j2")
REFERENCES = Path(__file__).with_name("references.csv")
SOURCE = "Cora"  # the data set in the links of the notebook's source


def render(path: Path) -> str:
    """Return the HTML page of an executed report notebook; it belongs in the folder above the notebook's.

    Cells tagged `aside` are left out. Raises KeyError for an unknown number or source.
    """
    cells = nbformat.read(path, as_version=4).cells
    (marked,) = [cell for cell in cells if "numbers" in cell.metadata.get("tags", ())]
    numbers = marked.outputs[0].data["application/json"]
    numbers = {name: re.sub("^-", "−", str(number)) for name, number in numbers.items()}
    cells = [cell for cell in cells if "aside" not in cell.metadata.get("tags", ()) and cell is not marked]
    prose = [cell for cell in cells if cell.cell_type == "markdown"]
    cited = list(dict.fromkeys(re.findall(r"@(\w+)", "".join(cell.source for cell in prose))))
    for cell in prose:
        text = re.sub(r"@(\w+)", lambda mark: f"[{cited.index(mark[1]) + 1}](#ref-{mark[1]})", cell.source)
        cell.source = re.sub(r"\{\{ *([\w-]+) *\}\}", lambda mark: numbers[mark[1]], text)
    sources = pd.read_csv(REFERENCES, index_col="key").loc[cited]
    form = '1. <span id="ref-{0.Index}"></span>{0.authors}. *{0.title}.* [{0.where}]({0.url}).'
    references = "\n".join(form.format(source) for source in sources.itertuples())
    prose.append(nbformat.v4.new_markdown_cell(f"## References\n\n{references}"))
    headings = re.findall(r"^(#+) +(.+?)\s*$", "\n".join(cell.source for cell in prose), flags=re.M)
    template = jinja2.Template(TEMPLATE.read_text(encoding="utf-8"), autoescape=True, trim_blocks=True)
    return template.render(
        title=f"{headings[0][1]} ({numbers['dataset']})",
        contents=headings[1:],
        cells=[cell for cell in cells if cell in prose or cell.get("outputs")] + prose[-1:],
        markdown=MarkdownWithMath(_Renderer(numbers, path)).render,
        numbers=numbers,
    )


class _Renderer(IPythonRenderer):
    """Markdown to HTML: formulas as MathML, pictures embedded, links as seen from the page."""

    def __init__(self, numbers: dict[str, str], notebook: Path):
        super().__init__(escape=False)
        self.dataset, self.figures = numbers["dataset"], PROJECT / numbers["figures"]
        self.root = ".." if notebook.parents[1].name == "report" else "../.."  # or report/<data set>

    def heading(self, text: str, level: int, **attributes: str) -> str:
        return f'<h{level} id="{text.replace(" ", "-")}">{text}</h{level}>\n'

    def inline_math(self, body: str) -> str:
        return LatexToMathML().convert_with_local_state(body, displaystyle=False)

    def block_math(self, body: str) -> str:
        math = LatexToMathML().convert_with_local_state(body, displaystyle=True)
        return f'<div class="equation">{math}</div>'

    def link(self, text: str, url: str, title: str | None = None) -> str:
        if url.startswith("../"):
            url = self.root + url[2:].replace(f"/{SOURCE}/", f"/{self.dataset}/")
        elif not re.match(r"#|\w+:", url):
            url = f"notebooks/{url}"
        return super().link(text, url, title)

    def image(self, text: str, url: str, title: str | None = None) -> str:
        path = self.figures / Path(url).name
        if not path.is_file():
            return f'<em id="{path.stem}">This run made no such figure.</em>'
        picture, small = Image.open(path).convert("RGB"), io.BytesIO()
        picture.thumbnail((800, 2000))  # pixels: the text column's width
        picture.quantize(32, kmeans=1).save(small, "PNG", optimize=True)
        source = f"data:image/png;base64,{base64.b64encode(small.getvalue()).decode()}"
        return f"<img{self.render_attrs({'id': path.stem, 'src': source, 'alt': text})}>"

    def paragraph(self, text: str) -> str:
        """A picture, a hard line break and a caption make a figure."""
        picture, _, caption = text.partition("<br />\n")
        if caption and picture.startswith(("<img", "<em id")):
            return f"<figure>\n{picture}\n<figcaption>{caption}</figcaption>\n</figure>\n"
        return super().paragraph(text)
