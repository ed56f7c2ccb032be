"""An executed notebook as one self-contained page: no code, no scripts, no request to any network.

    python -m deadgcn.paper.report PAGE.html PAGE.pdf

prints a page with the Chromium that is on this machine.
"""

import os
import posixpath
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup, Tag
from math_core import LatexToMathML
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from deadgcn.experiments import files

TEMPLATE = Path(__file__).with_name("report.html.j2")
UNNUMBERED = ("Abstract", "References")
NUMBER = re.compile(r"[-−+]?[\d.,]+\s?%?( ± [\d.]+)?|–|nan")
STATUS = re.compile(r"(not )?replicated|undecided")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


class _Renderer(IPythonRenderer):
    """Formulas as MathML, which browsers draw by themselves; headings without marks."""

    def block_math(self, body: str) -> str:
        tag = re.search(r"\\tag\{(.+?)\}", body)
        math = _mathml(body.replace(tag[0], "") if tag else body, displaystyle=True)
        if not tag:
            return f'<div class="equation">{math}</div>'
        return f'<div class="equation" id="equation-{tag[1]}">{math}<span>({tag[1]})</span></div>'

    def inline_math(self, body: str) -> str:
        return _mathml(body, displaystyle=False)

    def latex_environment(self, name: str, body: str) -> str:
        return self.block_math(rf"\begin{{{name}}}{body}\end{{{name}}}")

    def heading(self, text: str, level: int, **attributes: str) -> str:
        return f"<h{level}>{text}</h{level}>\n"


def _mathml(body: str, displaystyle: bool) -> str:
    return LatexToMathML().convert_with_local_state(body, displaystyle=displaystyle)


def render(path: Path, suffix: str = "") -> str:
    """Return the page of an executed notebook, which belongs into the folder above the notebook's.

    The page's title is the notebook's `title` metadata or its first heading, followed by the suffix. Raises
    `math_core.LatexError` for a formula that cannot be read.
    """
    nb = nbformat.read(path, as_version=4)
    text = "\n".join(cell.source for cell in nb.cells if cell.cell_type == "markdown")
    heading = re.search(r"^#+ +(.+?)\s*$", text, flags=re.M)
    title = nb.metadata.get("title") or (heading[1] if heading else path.stem)
    nb.metadata["title"] = title + suffix
    exporter = HTMLExporter(raw_template=TEMPLATE.read_text(encoding="utf-8"))
    exporter.register_filter("markdown2html", MarkdownWithMath(_Renderer(escape=False)).render)
    page = BeautifulSoup(exporter.from_notebook_node(nb)[0], "html.parser")
    _captions(page)
    _tables(page)
    _header(page)
    _sections(page)
    _contents(page)
    _links(page, path.parent.name)
    return f"{page}\n"


def _captions(page: BeautifulSoup) -> None:
    """Join each caption with the picture before it or the table after it."""
    for caption in page.select("figcaption"):
        label = caption.get("id", "").removeprefix("caption-")
        if mark := caption.find("a", id=label):
            mark.decompose()
        for paragraph in caption.select("p"):
            paragraph.unwrap()
        if label.startswith("figure-"):
            figure = caption.find_previous_sibling("img").wrap(page.new_tag("figure", id=label))
            figure.append(caption.extract())
        else:
            table = caption.find_next_sibling("table")
            table["id"] = label
            table.insert(0, caption.extract())
            caption.wrap(page.new_tag("caption"))
            caption.name = "div"


def _tables(page: BeautifulSoup) -> None:
    """Name the cells that are heads, align numbers, and let a wide table scroll by itself."""
    for place, table in enumerate(page.select("table"), 1):
        table.attrs = {name: value for name, value in table.attrs.items() if name == "id"}
        for row in table.select("tr[style]"):
            del row["style"]
        if len(heads := table.select("thead tr")) == 2:  # pandas names the index in a row of its own
            for upper, lower in zip(*(row.select("th") for row in heads), strict=True):
                upper.string = upper.get_text() or lower.get_text()
            heads[1].decompose()
        for cell in table.select("th"):
            cell["scope"] = "row" if cell.find_parent("tbody") else "col"
            if int(cell.get("rowspan", 1)) > 1 and cell["scope"] == "row":
                cell["scope"] = "rowgroup"
        for cell in table.select("td"):
            cell.attrs.pop("style", None)
            if NUMBER.fullmatch(cell.get_text().strip()):
                cell["class"] = "number"
            elif STATUS.fullmatch(cell.get_text()):
                cell["class"] = f"status {cell.get_text().split()[0]}"
        rows = [row.find_all(["td", "th"])[::-1] for row in table.select("tr")]
        for head, *cells in zip(*rows, strict=False):  # from the right: a cell may span rows on the left only
            if cells and all(cell.get("class") == "number" for cell in cells):
                head["class"] = "number"
        named = {"class": "scroll", "role": "region", "tabindex": "0", "aria-label": f"Table {place}"}
        table.wrap(page.new_tag("div", attrs=named))


def _header(page: BeautifulSoup) -> None:
    """Move the title, and the line in italics below it, out of the text."""
    if title := page.main.h1:
        subtitle = title.find_next_sibling()
        page.header.append(title.extract())
        if subtitle is not None and subtitle.name == "p" and subtitle.find(True, recursive=False):
            subtitle["class"] = "subtitle"
            page.header.append(subtitle.extract())


def _sections(page: BeautifulSoup) -> None:
    """Number headings, give them anchors, and wrap each part of the text in a section."""
    numbers = [0, 0]
    for heading in page.main.find_all(["h2", "h3"]):
        name = heading.get_text()
        heading["id"] = name.replace(" ", "-")
        if name in UNNUMBERED:
            continue
        top = heading.name == "h2"
        numbers = [numbers[0] + 1, 0] if top else [numbers[0], numbers[1] + 1]
        number = page.new_tag("span", attrs={"class": "place"})
        number.string = ".".join(map(str, numbers[: 1 if top else 2]))
        heading.insert(0, number, " ")
    for heading in page.main.find_all("h2"):
        section = heading.wrap(page.new_tag("section", attrs={"aria-labelledby": heading["id"]}))
        while section.next_sibling is not None and section.next_sibling.name != "h2":
            section.append(section.next_sibling.extract())


def _contents(page: BeautifulSoup) -> None:
    """A list of links to the headings, those of the second rank inside those of the first."""
    top = page.nav.ol
    for heading in page.main.find_all(["h2", "h3"]):
        into = top
        if heading.name == "h3" and (last := top.find_all("li", recursive=False)):
            into = last[-1].ol or last[-1].append(page.new_tag("ol")) or last[-1].ol
        into.append(item := page.new_tag("li"))
        item.append(link := page.new_tag("a", href=f"#{heading['id']}"))
        link.extend(_copies(heading))


def _copies(heading: Tag) -> list:
    return list(BeautifulSoup(heading.decode_contents(), "html.parser").contents)


def _links(page: BeautifulSoup, folder: str) -> None:
    """Make links that lead from the notebook's folder lead from the folder above it."""
    for link in page.select("a[href]"):
        if not re.match(r"#|[a-z]+:", link["href"]):
            link["href"] = posixpath.normpath(posixpath.join(folder, link["href"]))


def save_pdf(page: Path, target: Path) -> None:
    """Print a page to a PDF file. Raises RuntimeError where no Chromium is found or it prints nothing."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise RuntimeError(f"a PDF needs a Chromium, but none of {', '.join(BROWSERS)} is on the PATH")
    if not page.is_file():
        raise RuntimeError(f"there is no page {page} to print; make report makes it")
    with tempfile.TemporaryDirectory() as folder:
        printed = Path(folder, "page.pdf")
        options = ["--headless", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
        options += ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses to run as root with it
        options += [
            f"--user-data-dir={folder}/profile",
            "--no-pdf-header-footer",
            f"--print-to-pdf={printed}",
        ]
        said = subprocess.run([browser, *options, page.resolve().as_uri()], capture_output=True, text=True)
        if said.returncode or not printed.is_file():
            raise RuntimeError(f"{browser} printed nothing (exit status {said.returncode}): {said.stderr}")
        files.move({printed: target})


def main(arguments: list[str]) -> int:
    """Print the page named first into the file named second; the exit status is 1 if that failed."""
    if len(arguments) != 2:
        print(f"error: expected PAGE.html PAGE.pdf, but got {arguments}", file=sys.stderr)
        return 2
    try:
        save_pdf(*map(Path, arguments))
    except (RuntimeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"the report is in {arguments[1]}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
