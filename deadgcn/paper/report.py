"""The report notebook, once executed, as one self-contained HTML page, and that page as a PDF.

    python -m deadgcn.paper.report PAGE.html PAGE.pdf

The notebook's Markdown is the report. `render` fills in what depends on the run: numbers (`{{ name }}`), the
pictures, and citations (`[@key]`, a key of references.csv). Headings, figures, tables and equations get their
numbers from CSS counters.
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

TEMPLATE = Path(__file__).with_name("report.html.j2")
REFERENCES = Path(__file__).with_name("references.csv")
LINKED = "Cora"  # the data set in the links of the notebook's source
NOT_ON_THE_PAGE = {"aside", "numbers"}  # tags of cells
SCALE = 0.72  # CSS pixels per pixel of a figure of 150 dpi: its text is then about as large as the page's
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def render(path: Path, suffix: str = "") -> str:
    """Return the HTML page of an executed report notebook.

    The page belongs in the folder above the notebook's. Its title is the notebook's first heading, followed
    by `suffix`. The numbers are the `application/json` output of the cell tagged `numbers`: a flat mapping,
    with the data set's name as `dataset` and the folder of its figures as `figures`.

    Raises:
        ValueError: the text names a number or a source that does not exist.
        math_core.LatexError: a formula is invalid.
    """
    nb = nbformat.read(path, as_version=4)
    numbers = _numbers(nb)
    cells = [cell for cell in nb.cells if not NOT_ON_THE_PAGE & set(cell.metadata.get("tags", ()))]
    cells = [cell for cell in cells if cell.cell_type == "markdown" or cell.get("outputs")]
    for cell in cells:
        if cell.cell_type == "markdown":
            cell.source = _fill(cell.source, numbers)
    _cite(cells)
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    title = re.search(r"^#+ +(.+?)\s*$", text, flags=re.M)
    renderer = _Renderer(numbers.get("dataset", LINKED), Path(numbers.get("figures", "")), path)
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        title=(title[1] if title else path.stem) + suffix,
        contents=re.findall(r"^(##+) +(.+?)\s*$", text, flags=re.M),
        cells=cells,
        markdown=MarkdownWithMath(renderer).render,
        run=numbers.get("run"),
        written_about=numbers.get("written_about"),
    )


def _numbers(nb: nbformat.NotebookNode) -> dict[str, str]:
    cells = [cell for cell in nb.cells if "numbers" in cell.metadata.get("tags", ())]
    data = [output.data for cell in cells for output in cell.outputs if "data" in output]
    return next((each["application/json"] for each in data if "application/json" in each), {})


def _fill(text: str, numbers: dict[str, str]) -> str:
    def number(mark: re.Match) -> str:
        if mark[1] not in numbers:
            raise ValueError(f"{mark[0]} must name one of {', '.join(numbers) or 'no numbers'}")
        return re.sub("^-", "−", str(numbers[mark[1]]))

    return re.sub(r"\{\{ *(\w+) *\}\}", number, text)


def _cite(cells: list[nbformat.NotebookNode]) -> None:
    """Number the citations in order of first mention, and append the list of references."""
    with REFERENCES.open(encoding="utf-8", newline="") as file:
        sources = {row["key"]: row for row in csv.DictReader(file)}
    cited: list[str] = []

    def numbered(mark: re.Match) -> str:
        keys = re.findall(r"\w+", mark[0])
        if unknown := [key for key in keys if key not in sources]:
            raise ValueError(f"@{unknown[0]} must be one of the sources {', '.join(sources)}")
        cited.extend(key for key in keys if key not in cited)
        return "[" + ", ".join(f"[{cited.index(key) + 1}](#ref-{key})" for key in keys) + "]"

    for cell in cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"\[@\w+(; @\w+)*\]", numbered, cell.source)
    lines = [_reference(place, sources[key]) for place, key in enumerate(cited, 1)]
    if lines:
        cells.append(nbformat.v4.new_markdown_cell("\n".join(["## References", "", *lines])))


def _reference(place: int, row: dict[str, str]) -> str:
    authors = f"{row['authors']}. " if row["authors"] else ""
    where = f"[{row['where']}]({row['url']})" if row["url"] else row["where"]
    return f'{place}. <span id="ref-{row["key"]}"></span>{authors}*{row["title"]}.* {where}.'


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
    if len(sys.argv) != 3:
        sys.exit(f"error: expected PAGE.html PAGE.pdf, but got {sys.argv[1:]}")
    try:
        save_pdf(*map(Path, sys.argv[1:]))
    except (RuntimeError, OSError) as error:
        sys.exit(f"error: {error}")
    print(f"the report is in {sys.argv[2]}")
