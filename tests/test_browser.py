"""Notebooks in JupyterLab as `make lab` opens it, and the report, in a Chromium."""

import json
import re

import pytest
import yaml
from lab import FLAGS, MINUTE, ROOT, Lab, chromium, expect, in_front, run_all
from playwright.sync_api import sync_playwright

from deadgcn.paper.parameters import read_defaults

pytestmark = pytest.mark.browser
SMOKE = yaml.safe_load((ROOT / "params" / "profiles" / "smoke.yaml").read_text(encoding="utf-8"))
SMOKE |= {"dataset": "SyntheticCora", "n_jobs": 1}  # needs no files and no worker processes
REPORT = ROOT / "report" / "report.html"


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=chromium(), args=FLAGS)


@pytest.fixture(scope="module")
def lab(browser, tmp_path_factory):
    lab = Lab(tmp_path_factory.mktemp("lab"), browser)
    yield lab
    lab.stop()


def change_parameters(path):
    """Type the smoke settings into the cell of parameters, as a reader would."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    (cell,) = [cell for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", ())]
    source = "".join(cell["source"])
    for name in read_defaults(path).keys() & SMOKE.keys():
        source, changed = re.subn(rf"^{name} = .*(?=  # )", f"{name} = {SMOKE[name]!r}", source, flags=re.M)
        assert changed == 1, name
    cell["source"] = source
    path.write_text(json.dumps(notebook), encoding="utf-8")


def test_make_lab_opens_the_first_notebook_and_a_link_leads_to_the_next(lab):
    with lab.page("start", "") as page:
        assert page.url.endswith("/lab/tree/notebooks/01_data.ipynb")
        (kernel,) = [line for line in lab.copy.processes().values() if "ipykernel_launcher" in line]
        assert kernel.startswith(f"{lab.copy.root}/.venv/bin/python ")
        following = in_front(page).locator(".jp-RenderedMarkdown p", has_text="Next: ")
        following.get_by_role("link", name="02").click()
        expect(page).to_have_url(re.compile(r"/notebooks/02_\w+\.ipynb$"))
        lab.wait_for_kernel(page)


def test_a_notebook_runs_and_its_controls_redraw_the_picture(lab):
    path = lab.notebooks / "04_pruning.ipynb"
    change_parameters(path)
    with lab.page("04_pruning", f"lab/workspaces/one/tree/notebooks/{path.name}") as page:
        run_all(page)
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        outputs = [output for cell in cells for output in cell.get("outputs", ())]
        assert not [output for output in outputs if output["output_type"] == "error"]
        assert all(
            cell["execution_count"] for cell in cells if cell["cell_type"] == "code" and cell["source"]
        )
        pictures = [
            output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})
        ]
        assert len(pictures) >= 4
        cell = in_front(page).locator(".jp-CodeCell", has_text="dg.explore(")
        cell.scroll_into_view_if_needed()
        picture, slider = cell.locator(".jp-OutputArea img").first, cell.locator(".noUi-handle").first
        before = picture.get_attribute("src")
        slider.press("ArrowRight")
        expect(picture).not_to_have_attribute("src", before, timeout=MINUTE)
        assert page.locator(".jp-Dialog").count() == 0 and lab.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_the_report_fits_its_window_and_asks_nothing_of_the_network(browser, width, scheme):
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    asked, complaints = [], []
    page.on("request", lambda request: asked.append(request.url[:40]))
    page.on("console", lambda told: complaints.append(told.text))
    page.goto(REPORT.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert page.locator("math").count() > 5 and page.locator("figure").count() > 10
    assert {url.partition(":")[0] for url in asked} <= {"file", "data"} and complaints == []
    ground, ink = page.evaluate("(s => [s.backgroundColor, s.color])(getComputedStyle(document.body))")
    brightness = [sum(map(int, re.findall(r"\d+", color)[:3])) for color in (ground, ink)]
    assert (brightness[0] > brightness[1]) == (scheme == "light")
    page.close()
