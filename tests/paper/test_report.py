"""The report as a page: a tiny one that is made here, and those that are kept."""

import json
import re
from itertools import count, pairwise
from pathlib import Path

import nbformat
import pandas as pd
import PIL.Image
import pytest
from bs4 import BeautifulSoup
from IPython.core.formatters import DisplayFormatter
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from tiny_project import write_file

from deadgcn.paper import paper, report

ROOT = Path(__file__).parents[2]
KEPT = [path for path in (ROOT / "report").rglob("report.html") if 'id="text"' in path.read_text()]
TEXT = r"""# Do pages read well?

*A trial*

## Abstract

It doesn't fall by -3% [@twice; @kipf], says @figure-b below.

## Results

### Measures

$$a = \frac12, \label{equation-half}$$

so @equation-half and $x^2$ and [03](03_a.ipynb)."""


@pytest.fixture
def shown(monkeypatch):
    """The outputs of what is displayed, as a notebook would store them."""
    outputs = []

    def display(what, metadata=None, raw=False):
        data, own = (what, {}) if raw else DisplayFormatter().format(what)
        own = {kind: own.get(kind, {}) | more for kind, more in (metadata or {}).items() if kind in data} or {
            key: value for key, value in (metadata or {}).items()
        }
        outputs.append(new_output("display_data", data=data, metadata=own))

    monkeypatch.setattr(paper, "display", display)
    return outputs


@pytest.fixture
def tiny(tmp_path, shown):
    """The page of a data set other than Cora, whose report lies one folder deeper, with what it links to."""
    made = [f"figures/Tiny/{name}.{kind}" for name in "ab" for kind in ("csv", "png")]
    made += ["results/Tiny/t.csv", "report/Tiny/notebooks/03_a.ipynb"]
    for name in made:
        write_file(tmp_path / name, "x\n1\n")
    for name in "ab":
        PIL.Image.new("P", (2000, 1000)).save(tmp_path / f"figures/Tiny/{name}.png")
    record = json.dumps({"notebook": "03_a", "files": dict.fromkeys(made, "")})
    write_file(tmp_path / "results/Tiny/provenance/03_a.json", record)
    ours = paper.Paper(tmp_path, "Tiny")
    text = ours.prose(TEXT).data
    ours.figure("b", "Seeds (n = 3).", 'A line that falls from "one" to zero.')
    ours.figure("a", "More, as @figure-b.", "Another line that rises from zero to one.")
    index = pd.MultiIndex.from_product([[5], ["x", "y"]], names=["layers", "arm"])
    table = pd.DataFrame({"mean": [-1.5, 2], "status": ["not replicated", "replicated"]}, index=index)
    ours.table("t", table, "Numbers.", "results/Tiny/t.csv")
    cells = [new_markdown_cell(text), new_code_cell("secret = 7", outputs=shown)]
    nb = new_notebook(cells=[*cells, new_markdown_cell(ours.references().data)])
    path = tmp_path / "report" / "Tiny" / "notebooks" / "09_report.ipynb"
    nbformat.write(nb, path)
    return Path(write_file(path.parents[1] / "report.html", report.render(path, " (Tiny)")))


@pytest.fixture(params=["tiny", *KEPT], ids=lambda path: getattr(path, "parent", path) and str(path)[-24:])
def page(request):
    path = request.getfixturevalue("tiny") if request.param == "tiny" else request.param
    soup = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
    soup.path = path
    return soup


def test_headings_form_an_outline_that_the_contents_repeat(page):
    levels = [int(heading.name[1]) for heading in page.find_all(re.compile("^h[1-6]$"))]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(below <= above + 1 for above, below in pairwise(levels))
    headings = page.main.find_all(["h2", "h3"])
    assert [link.get_text() for link in page.nav.find_all("a")] == [h.get_text() for h in headings]
    expected, top, sub = [], count(1), count(1)
    for heading in headings:
        if heading.find("span", "place") and heading.name == "h2":
            number, sub = next(top), count(1)
            expected.append(f"{number}")
        elif heading.name == "h3":
            expected.append(f"{number}.{next(sub)}")
    assert [place.get_text() for place in page.main.select(".place")] == expected
    unnumbered = {heading.get_text() for heading in headings if not heading.find("span", "place")}
    assert unnumbered == {"Abstract", "References"}


def test_figures_tables_and_equations_count_from_one(page):
    for kind, captions in (("Figure", "figure figcaption"), ("Table", "table caption")):
        labels = [caption.strong.get_text() for caption in page.select(captions)]
        assert labels == [f"{kind} {number}." for number in range(1, len(labels) + 1)] != []
    numbers = [equation["id"] for equation in page.select(".equation[id]")]
    assert numbers == [f"equation-{number}" for number in range(1, len(numbers) + 1)] != []


def test_every_link_leads_somewhere(page):
    ids = [element["id"] for element in page.select("[id]")]
    assert len(ids) == len(set(ids))
    for link in page.select("a[href]"):
        if link["href"].startswith("#"):
            assert link["href"][1:] in ids, link
        elif not link["href"].startswith("https://arxiv.org/abs/"):
            assert (page.path.parent / link["href"]).is_file(), link


def test_figures_say_what_is_seen_and_where_it_is_from(page):
    assert len(page.select("figure")) == len(page.select("img"))
    for figure in page.select("figure"):
        assert len(figure.img["alt"]) > 20 and int(figure.img["width"]) > 300
        linked = [Path(link["href"]) for link in figure.figcaption.select("a")]
        name = figure["id"].removeprefix("figure-")
        assert [path.name for path in linked if path.suffix == ".csv"] == [f"{name}.csv"]
        assert [path.parent.name for path in linked if path.suffix == ".ipynb"] == ["notebooks"]


def test_tables_name_their_heads_and_scroll_by_themselves(page):
    for table in page.select("table"):
        assert table.find(True).name == "caption" and table.parent["tabindex"] == "0"
        assert table.parent["aria-label"] == table.caption.strong.get_text().rstrip(".")
        assert len(table.select("thead tr")) == 1
        assert all(head["scope"] and head.get_text().strip() for head in table.select("th"))


def test_nothing_is_asked_of_any_network(page):
    assert page.path.stat().st_size < 5e6
    assert not page.select("script, link, iframe, object, embed, form, base")
    assert all(element["src"].startswith("data:image/png;") for element in page.select("[src]"))
    assert not page.select("[srcset], [onload], [onclick]")
    style = "".join(sheet.get_text() for sheet in page.select("style"))
    style += "".join(element["style"] for element in page.select("[style]"))
    assert "url(" not in style and "@import" not in style
    assert page.html["lang"] == "en" and page.select("meta[name=viewport]")


def test_a_tiny_page(tiny):
    page = BeautifulSoup(tiny.read_text(encoding="utf-8"), "html.parser")
    assert page.title.string == "Do pages read well? (Tiny)"
    assert page.header.get_text(" ", strip=True) == "Do pages read well? A trial"
    assert "It doesn’t fall by −3\u00a0% [1, 2], says Figure 1 below." in page.main.get_text()
    assert [figure["id"] for figure in page.select("figure")] == ["figure-b", "figure-a"]
    assert page.img["alt"] == 'A line that falls from "one" to zero.'
    assert page.find("a", string="CSV")["href"] == "../../figures/Tiny/b.csv"
    assert page.find("a", string="03")["href"] == "notebooks/03_a.ipynb"
    assert page.select("#equation-1 math[display=block]") and "Equation 1" in page.main.get_text()
    assert [head.get_text() for head in page.select("thead th")] == ["layers", "arm", "mean", "status"]
    assert [head["scope"] for head in page.select("tbody th")] == ["rowgroup", "row", "row"]
    assert page.find("td", string="−1.5")["class"] == page.find("th", string="mean")["class"] == ["number"]
    assert page.find("td", string="not replicated")["class"] == ["status", "not"]
    assert "secret" not in str(page)


def test_an_unknown_source_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"sources must be among .*'kipf'.* but 'nobody' was cited"):
        paper.Paper(tmp_path, "Tiny").prose("as shown [@kipf; @nobody]")


def luminance(color):
    parts = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_text_stands_out_from_its_ground(mode):
    style = report.TEMPLATE.read_text(encoding="utf-8")
    named = dict(re.findall(r"--(\w+): (#\w{6});", re.findall(r":root \{(.*?)\}", style, flags=re.S)[mode]))
    for ground in ("ground", "raised"):
        for text in ("ink", "soft", "link", "yes", "no", "open"):
            light, dark = sorted((luminance(named[ground]), luminance(named[text])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (ground, text)
    # No colour of text is written anywhere else.
    assert set(re.findall(r"(?<![\w-])color: ([^;]+);", style)) <= {
        *(f"var(--{text})" for text in ("ink", "soft", "link", "yes", "no", "open")),
        "inherit",
    }


def test_a_pdf_needs_a_browser(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    page, target = write_file(tmp_path / "a page.html", "text"), tmp_path / "build" / "page.pdf"
    assert report.main([str(page), str(target)]) == 1
    assert "a PDF needs a Chromium, but none of chromium, " in capsys.readouterr().err
    browser = tmp_path / "google-chrome"
    prints = """for option; do case $option in --print-to-pdf=*) echo "${!#}" > "${option#*=}"; esac; done"""
    for does, status in (("exit 0", 1), (prints, 0)):
        browser.write_text(f"#!/bin/bash\n{does}\n")
        browser.chmod(0o755)
        assert report.main([str(page), str(target)]) == status
    assert target.read_text() == f"{page.as_uri()}\n"
    assert report.main([str(tmp_path / "none.html"), str(target)]) == 1
    assert "there is no page" in capsys.readouterr().err and report.main([]) == 2
