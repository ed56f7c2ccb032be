"""Every notebook in JupyterLab as `make lab` opens it, run by its menu in a Chromium, as a reader does."""

import json
import re

import pytest
import yaml
from lab import FLAGS, PICTURES, ROOT, Lab, choose, chromium, expect, in_front, status
from playwright.sync_api import sync_playwright

from deadgcn.parameters import read_defaults

pytestmark = pytest.mark.browser
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
SMOKE = yaml.safe_load((ROOT / "params" / "profiles" / "smoke.yaml").read_text(encoding="utf-8"))
# The twin needs no files; the verdict and the report read what the notebooks before them left.
SMOKE |= {"dataset": "SyntheticCora", "input_dir": "build/notebook"}
MINUTE = 60_000  # in Playwright's milliseconds


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        lab = Lab(tmp_path_factory.mktemp("lab"), browser)
        yield lab
        lab.stop()


def change_parameters(path):
    """Give the parameters of a notebook their smoke settings, where a reader would type them."""
    given = {name: SMOKE[name] for name in read_defaults(path).keys() & SMOKE.keys()}
    notebook = json.loads(path.read_text(encoding="utf-8"))
    (cell,) = [cell for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", ())]
    source = "".join(cell["source"])
    for name, value in given.items():
        source, changed = re.subn(rf"^{name} = .*(?=  # )", f"{name} = {value!r}", source, flags=re.M)
        assert changed == 1, name
    cell["source"] = source
    path.write_text(json.dumps(notebook), encoding="utf-8")


def run_all(page, seconds=180):
    """Run all cells by the menu, wait until the last has ended, and save."""
    choose(page, "Run", "Run All Cells")
    prompts = page.locator(".jp-CodeCell .jp-InputPrompt")
    expect(prompts.filter(has_text=re.compile(r"\[(\*|\d+)\]")).first).to_be_visible(timeout=MINUTE)
    expect(prompts.filter(has_text="[*]")).to_have_count(0, timeout=seconds * 1000)
    expect(status(page)).to_have_attribute("data-status", "idle", timeout=MINUTE)
    choose(page, "File", "Save Notebook")
    expect(page.locator(".lm-TabBar-tab.jp-mod-dirty")).to_have_count(0, timeout=MINUTE)


def troubles(cells):
    """What a reader would stumble over in a saved notebook, with the cell that it came from."""
    found = []
    for cell in cells:
        errors = [output for output in cell["outputs"] if output["output_type"] == "error"]
        printed = [output for output in cell["outputs"] if output.get("name") == "stderr"]
        lines = "".join("".join(output["text"]) for output in printed).splitlines()
        if errors:
            found.append("\n".join(errors[0]["traceback"]))
        elif cell["execution_count"] is None:
            found.append("did not run")
        elif len(lines) > 1 or len(printed) > 1:
            found.append("printed more than one line: " + "\n".join(lines))
        else:
            continue
        found[-1] = f"{''.join(cell['source'])}\n--> {found[-1]}"
    return found


def pictures_seen(page):
    """How many pictures a reader sees who scrolls through the notebook."""
    pictures = page.locator(".jp-OutputArea img")
    for picture in pictures.all():
        picture.scroll_into_view_if_needed()
        expect(picture).to_be_in_viewport()
        assert picture.evaluate("image => image.complete && image.naturalWidth > 0")
    return pictures.count()


@pytest.mark.parametrize("name", [path.name for path in NOTEBOOKS])
def test_a_notebook_runs_to_its_end_and_shows_its_figures(lab, name):
    path = lab.notebooks / name
    change_parameters(path)
    page = lab.open(path.stem, f"tree/notebooks/{name}")
    complaints = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    try:
        run_all(page)
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        cells = [cell for cell in cells if cell["cell_type"] == "code"]
        wrong = "\n\n".join(troubles(cells))
        assert not wrong, f"{wrong}\n\nThe page is in {PICTURES}"
        outputs = [output for cell in cells for output in cell["outputs"]]
        assert pictures_seen(page) == sum("image/png" in output.get("data", {}) for output in outputs)
        assert page.locator(".jp-Dialog").count() == 0
        assert complaints == []
    finally:
        lab.close(page, path.stem)
