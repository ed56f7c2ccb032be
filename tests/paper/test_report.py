"""The report as a page: a tiny notebook rendered here, and what notebook 11 says about its figures."""

import html
import re
from pathlib import Path

import nbformat
import pandas as pd
import PIL.Image
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import report

ROOT = Path(__file__).parents[2]
TEXT = r"""## Abstract

It falls by {{ fall }} points [@twice; @kipf], says [Figure 2](#b); see [03](03_a.ipynb) [@kipf].

$$a = \frac12 x^2,$$

![A line that falls from one to zero.](../figures/Cora/a.png)\
Seeds, n = {{ n }}. ([CSV](../figures/Cora/a.csv))

![A line that rises.](../figures/Cora/b.png)\
Never drawn. [Project](../README.md)"""
NUMBERS = {"fall": -3, "n": 10, "run": "Tiny", "written_about": "Tiny"}


@pytest.fixture
def rendered(tmp_path, monkeypatch):
    """A function that renders a tiny notebook and returns the parsed page."""
    PIL.Image.new("P", (1000, 500)).save(tmp_path / "a.png")
    monkeypatch.setattr(report, "CITATION", tmp_path / "CITATION.cff")

    def render(text=TEXT, citation="version: 1", frame=None, **numbers):
        report.CITATION.write_text(citation)
        values = NUMBERS | {"dataset": "Cora", "figures": str(tmp_path)} | numbers
        data = {"application/json": values}
        frame = pd.DataFrame({"arm": ["a"]}) if frame is None else frame
        styled = frame.style.set_uuid("t").set_caption("Numbers.").set_td_classes(frame)
        table = {"text/html": styled.to_html(), "text/plain": "t"}
        cells = [
            new_markdown_cell("About {{ anything }}", metadata={"tags": ["aside"]}),
            new_code_cell("secret = 7", metadata={"tags": ["parameters"]}),
            new_code_cell("", outputs=[new_output("display_data", data)], metadata={"tags": ["numbers"]}),
            new_markdown_cell("# Do pages read well?\n\n*A trial*"),
            new_markdown_cell(text),
            new_code_cell("", outputs=[new_output("execute_result", table)]),
            new_code_cell("", outputs=[new_output("stream", name="stdout", text="a < b")]),
        ]
        return BeautifulSoup(report.render(new_notebook(cells=cells)), "html.parser")

    return render


def test_the_text_is_filled_in(rendered):
    page = rendered()
    assert page.title.string == "Do pages read well? (Cora)" and page.h1.string == "Do pages read well?"
    assert "It falls by −3 points [1; 2]" in page.main.text and "03 [2]." in page.main.text
    assert [item["id"] for item in page.select("#References ~ ol li")] == ["ref-twice", "ref-kipf"]
    assert [link["href"] for link in page.nav.select("a")] == ["#Abstract", "#References"]
    assert page.select(".equation math[display=block]") and page.select("table#T_t caption")
    assert page.pre.string == "a < b"
    assert "secret" not in str(page) and "About" not in str(page) and not page.select(".banner")
    assert "Twin, 2 seeds" in rendered(run="Twin, 2 seeds").select_one(".banner").text


def test_a_figure_has_its_picture_alternative_text_and_caption(rendered):
    drawn, missing = rendered().select("figure")
    assert drawn.img["id"] == "a" and drawn.img["alt"] == "A line that falls from one to zero."
    assert drawn.figcaption.text == "Seeds, n = 10. (CSV)"
    assert missing.em["id"] == "b" and "no such figure" in missing.em.text and not missing.select("img")


def test_a_picture_is_in_the_page_once_in_a_button_that_enlarges_it(rendered):
    page = rendered()
    (button,) = page.select("figure button")
    assert button.img and page.find(id=button["popovertarget"]).has_attr("popover")
    assert str(page).count("data:image") == 1


ADDRESS = "repository-code: 'https://git.example/one/deadgcn/'"


def links(page):
    """The targets of the links of a page; those within it must exist."""
    targets = {link.text: link["href"] for link in page.select("a")}
    within = [target[1:] for target in targets.values() if target.startswith("#")]
    assert set(within) <= {element["id"] for element in page.select("[id]")}
    return {text: target for text, target in targets.items() if not target.startswith("#")}


def test_links_to_other_files_lead_to_the_address_of_the_repository(rendered):
    found, blob = links(rendered(citation=ADDRESS)), "https://git.example/one/deadgcn/blob/main"
    assert found["CSV"] == f"{blob}/figures/Cora/a.csv" and found["Project"] == f"{blob}/README.md"
    assert found["03"] == f"{blob}/report/notebooks/03_a.ipynb"
    assert all(target.startswith("https://") for target in found.values())


@pytest.mark.parametrize("unknown", [{}, {"citation": ADDRESS, "run": "not the repository's"}])
def test_without_an_address_only_the_text_of_such_links_is_left(rendered, unknown):
    page = rendered(**unknown)
    assert "see 03 [2]." in page.main.text and "n = 10. (CSV)" in page.main.text
    assert not {"03", "CSV", "Project"} & links(page).keys()
    assert all(target.startswith("https://") for target in links(page).values())


@pytest.mark.parametrize(("text", "name"), [("{{ rise }}", "rise"), ("[@nobody]", "nobody")])
def test_an_unknown_name_is_refused(rendered, text, name):
    with pytest.raises(KeyError, match=name):
        rendered(text)


def test_the_page_needs_no_network_and_no_script(rendered):
    page = rendered()
    assert not page.select("script, link, iframe, object, embed, form, base, [srcset], [onload], [onclick]")
    assert all(element["src"].startswith("data:image/png;") for element in page.select("[src]"))
    style = "".join(sheet.text for sheet in page.select("style"))
    assert "url(" not in style and "@import" not in style and page.html["lang"] == "en"


NASTY = [
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "a | b * c_d_ `e`",
]
NASTY += [
    "[x](javascript:alert(1))",
    "![y](https://a.b/c)",
    "$x^2$",
    "</td></tr></table><script>alert(1)</script>",
]
NASTY += ["<!-- ", "&lt;b&gt;", "{{ n }}", "@kipf", "<style>*{display:none}</style>", "\n\n# New\n\n<b>x</b>"]
NASTY += ["<td onclick=alert(1)>", "<a href=//x", "a\u2028<i>b</i>"]
PLACES = """# On {{ run }}

In *{{ run }}* and [{{ run }}](#b), {{ run }}.

![Of {{ run }}.](../figures/Cora/a.png)\\
Of {{ run }}. ([CSV](../figures/Cora/a.csv))

- {{ run }}"""


def skeleton(page):
    """The elements of a page with the names of their attributes, and where links lead."""
    targets = sorted(link["href"] for link in page.select("a") if not link["href"].startswith("#"))
    return [(each.name, *each.attrs) for each in page.select("*")], targets


@pytest.mark.parametrize("text", NASTY)
def test_what_is_data_is_shown_and_never_markup(rendered, text):
    def show(name):
        cell = name.replace("\n", " ")
        table = pd.DataFrame({cell: ["1", cell], "arm": ["2", "3"]}, index=["a", cell])
        return rendered(PLACES, frame=table, dataset=name, run=name, written_about=name + "!")

    page = show(text)
    assert skeleton(page) == skeleton(show("harmless"))
    assert f"Of {text}." in page.figcaption.text and page.img["alt"] == f"Of {text}."
    assert html.unescape(text).replace("\n", " ") in page.tbody.text


# Notebook 11

NOTEBOOK = nbformat.read(ROOT / "notebooks" / "11_report.ipynb", as_version=4)
PROSE = "\n\n".join(cell.source for cell in NOTEBOOK.cells if cell.cell_type == "markdown")
FIGURES = re.findall(r"^!\[(.*?)\]\(\.\./figures/Cora/(\w+)\.png\)\\\n(.*)$", PROSE, flags=re.M)


def test_references_to_figures_and_tables_have_their_numbers():
    places = {name: place for place, (_, name, _) in enumerate(FIGURES, 1)}
    for number, name in re.findall(r"\[Figure (\d+)\]\(#(\w+)\)", PROSE):
        assert int(number) == places.pop(name, int(number)), name
    assert not places, "a figure that the text does not mention"
    tables = re.findall(r'set_uuid\("(\w+)"\)', "\n".join(cell.source for cell in NOTEBOOK.cells))
    mentioned = dict(re.findall(r"\[Table (\d+)\]\(#T_(\w+)\)", PROSE))
    assert mentioned == {str(place): name for place, name in enumerate(tables, 1)}


@pytest.mark.parametrize(("alt", "name", "caption"), FIGURES, ids=[name for _, name, _ in FIGURES])
def test_a_figure_is_explained_and_leads_to_its_source(alt, name, caption):
    assert len(alt.split()) >= 12 and "n = " in caption
    assert f"../figures/Cora/{name}.csv" in caption and f"../figures/Cora/{name}.png" in caption
    (notebook,) = re.findall(r"\]\((\d\d_\w+\.ipynb)\)", caption)
    assert f'"{name}"' in (ROOT / "notebooks" / notebook).read_text(encoding="utf-8").replace('\\"', '"')
    assert (ROOT / "figures" / "Cora" / f"{name}.png").is_file()
