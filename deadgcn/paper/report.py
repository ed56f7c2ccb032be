"""The report notebook, once executed, as one self-contained HTML page, and that page as a PDF.

    python -m deadgcn.paper.report PAGE.html PAGE.pdf

The notebook's Markdown is the report. `render` fills in numbers (`{{ name }}`), pictures and citations
(`[@key]`, a key of references.csv). CSS counters number headings, figures, tables and equations.
"""

import base64
import csv
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import jinja2
import nbformat
import PIL.Image
from math_core import LatexToMathML
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from deadgcn.config import PROJECT

TEMPLATE = Path(__file__).with_name("report.html.j2")
REFERENCES = Path(__file__).with_name("references.csv")
LINKED = "Cora"  # the data set in the links of the notebook's source
NOT_ON_THE_PAGE = {"aside", "numbers"}  # tags of cells
SCALE = 0.72  # CSS pixels per pixel of a figure of 150 dpi: its text is then about as large as the page's
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def render(path: Path, suffix: str = "") -> str:
    """Return the HTML page of an executed report notebook; it belongs in the folder above the notebook's.

    The page's title is the notebook's first heading, followed by `suffix`. The numbers are the
    `application/json` output of the cell tagged `numbers`, a flat mapping. Its `dataset` names the data set,
    its `figures` the folder of the pictures (seen from PROJECT).

    Raises:
        ValueError: the text names a number or a source that does not exist.
        math_core.LatexError: a formula is invalid.
    """
    nb = nbformat.read(path, as_version=4)
    marked = [out for cell in nb.cells if "numbers" in _tags(cell) for out in cell.outputs]
    numbers = next((out.data["application/json"] for out in marked if "application/json" in out.data), {})
    cells = [cell for cell in nb.cells if not _tags(cell) & NOT_ON_THE_PAGE]
    cells = [cell for cell in cells if cell.cell_type == "markdown" or cell.outputs]
    prose = [cell for cell in cells if cell.cell_type == "markdown"]
    for cell in prose:
        cell.source = _fill(cell.source, numbers)
    if references := _cite(prose):
        cells.append(nbformat.v4.new_markdown_cell(f"## References\n\n{references}"))
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    title = re.search(r"^#+ +(.+?)\s*$", text, flags=re.M)
    renderer = _Renderer(numbers.get("dataset", LINKED), PROJECT / numbers.get("figures", ""), path)
    template = jinja2.Template(TEMPLATE.read_text(encoding="utf-8"), autoescape=True, trim_blocks=True)
    return template.render(
        title=(title[1] if title else path.stem) + suffix,
        contents=re.findall(r"^(##+) +(.+?)\s*$", text, flags=re.M),
        cells=cells,
        markdown=MarkdownWithMath(renderer).render,
        numbers=numbers,
    )


def _tags(cell: nbformat.NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", ()))


def _fill(text: str, numbers: dict[str, str]) -> str:
    def number(mark: re.Match) -> str:
        if mark[1] not in numbers:
            raise ValueError(f"{mark[0]} must name one of {', '.join(numbers) or 'no numbers'}")
        return re.sub("^-", "−", str(numbers[mark[1]]))

    return re.sub(r"\{\{ *([\w-]+) *\}\}", number, text)


def _cite(cells: list[nbformat.NotebookNode]) -> str:
    """Number the citations in order of first mention; return the list of references in Markdown."""
    with REFERENCES.open(encoding="utf-8", newline="") as file:
        sources = {row.pop("key"): row for row in csv.DictReader(file)}
    cited: list[str] = []

    def numbered(mark: re.Match) -> str:
        keys = re.findall(r"\w+", mark[0])
        if unknown := [key for key in keys if key not in sources]:
            raise ValueError(f"@{unknown[0]} must be one of the sources {', '.join(sources)}")
        cited.extend(key for key in keys if key not in cited)
        return "[" + ", ".join(f"[{cited.index(key) + 1}](#ref-{key})" for key in keys) + "]"

    for cell in cells:
        cell.source = re.sub(r"\[@\w+(; @\w+)*\]", numbered, cell.source)
    form = '1. <span id="ref-{key}"></span>{authors}. *{title}.* [{where}]({url}).'
    return "\n".join(form.format(key=key, **sources[key]) for key in cited)


class _Renderer(IPythonRenderer):
    """Markdown to HTML: formulas as MathML, pictures embedded, links as seen from the page."""

    def __init__(self, dataset: str, figures: Path, notebook: Path):
        super().__init__(escape=False)
        self.dataset, self.figures = dataset, figures
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
            url = self.root + url[2:].replace(f"/{LINKED}/", f"/{self.dataset}/")
        elif not re.match(r"#|\w+:", url):
            url = f"notebooks/{url}"
        return super().link(text, url, title)

    def image(self, text: str, url: str, title: str | None = None) -> str:
        path = self.figures / Path(url).name
        if not path.is_file():
            return f'<em id="{path.stem}">This run made no such figure.</em>'
        with PIL.Image.open(path) as picture:
            width = round(SCALE * picture.width)
        source = f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
        return f"<img{self.render_attrs({'id': path.stem, 'src': source, 'alt': text, 'width': width})}>"

    def paragraph(self, text: str) -> str:
        """A picture, a hard line break and a caption make a figure."""
        picture, _, caption = text.partition("<br />\n")
        if caption and picture.startswith(("<img", "<em id")):
            return f"<figure>\n{picture}\n<figcaption>{caption}</figcaption>\n</figure>\n"
        return super().paragraph(text)


def save_pdf(page: Path, target: Path) -> None:
    """Print a page to a PDF file. Raises RuntimeError if there is no Chromium or it prints nothing."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise RuntimeError(f"a PDF needs a Chromium, but none of {', '.join(BROWSERS)} is on the PATH")
    target.unlink(missing_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        options = ["--headless", "--disable-gpu", "--no-pdf-header-footer", f"--user-data-dir={profile}"]
        options += ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium's sandbox refuses to run as root
        options += [f"--print-to-pdf={target.resolve()}", page.resolve(strict=True).as_uri()]
        said = subprocess.run([browser, *options], capture_output=True, text=True)
    if said.returncode or not target.is_file():
        raise RuntimeError(f"{browser} printed nothing (exit status {said.returncode}): {said.stderr}")


if __name__ == "__main__":
    try:
        save_pdf(*map(Path, sys.argv[1:]))
    except (RuntimeError, OSError) as error:
        sys.exit(f"error: {error}")
    print(f"the report is in {sys.argv[2]}")
