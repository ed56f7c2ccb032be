"""Every notebook in JupyterLab as `make lab` opens it, run by its menu in a Chromium, as a reader does."""

import json
import re

import pytest
import yaml
from lab import FLAGS, PICTURES, ROOT, Lab, choose, chromium, expect, in_front, status
from playwright.sync_api import sync_playwright

from deadgcn.paper.parameters import read_defaults

pytestmark = pytest.mark.browser
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
SMOKE = yaml.safe_load((ROOT / "params" / "profiles" / "smoke.yaml").read_text(encoding="utf-8"))
# The twin needs no files; the verdict and the report read what the notebooks before them left.
SMOKE |= {"dataset": "SyntheticCora", "input_dir": "build/notebook"}
BARS = 2  # lines that a cell may print: two of its studies have a progress bar each
# Lab guesses the heights of what it has not drawn yet, so that scrolling once does not always arrive.
SEEN = """async image => {
    const box = () => image.getBoundingClientRect()
    const arrived = () => box().height > 0 && box().bottom > 0 && box().top < innerHeight
    for (let i = 0; i < 100 && !arrived(); i++) {
        image.scrollIntoView({block: "center"})
        await new Promise(requestAnimationFrame)
    }
    return arrived() && image.complete && image.naturalWidth > 0
}"""
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
        printed = [output for output in cell["outputs"] if output["output_type"] == "stream"]
        lines = "".join("".join(output["text"]) for output in printed).splitlines()
        if errors:
            found.append("\n".join(errors[0]["traceback"]))
        elif cell["execution_count"] is None:
            found.append("did not run")
        elif len(lines) > BARS or len(printed) > BARS or any(o["name"] == "stderr" for o in printed):
            found.append("printed more than its progress bars:\n" + "\n".join(lines))
        else:
            continue
        found[-1] = f"{''.join(cell['source'])}\n--> {found[-1]}"
    return found


def pictures_seen(page):
    """How many pictures a reader sees who scrolls through the notebook."""
    return sum(picture.evaluate(SEEN) for picture in in_front(page).locator(".jp-OutputArea img").all())


def test_make_lab_opens_the_first_notebook_with_the_kernel_of_this_environment(lab):
    with lab.page("start", "") as page:
        assert page.url.endswith("/lab/tree/notebooks/01_data.ipynb")
        (kernel,) = [line for _, line in lab.copy.processes() if "ipykernel_launcher" in line]
        assert kernel.startswith(f"{lab.copy.root}/.venv/bin/python ")


def test_links_lead_through_the_notebooks_in_their_order(lab):
    with lab.page("order", f"lab/workspaces/order/tree/notebooks/{NOTEBOOKS[0].name}") as page:
        for following in NOTEBOOKS[1:]:
            paragraph = in_front(page).locator(".jp-RenderedMarkdown p", has_text="Next: ")
            paragraph.get_by_role("link", name=following.stem[:2]).click()
            expect(page).to_have_url(re.compile(f"/notebooks/{following.name}$"))
            lab.wait_for_kernel(page)


@pytest.mark.parametrize("name", [path.stem for path in NOTEBOOKS])
def test_a_notebook_runs_to_its_end_and_shows_its_figures(lab, name):
    path = lab.notebooks / f"{name}.ipynb"
    change_parameters(path)
    with lab.page(name, f"lab/workspaces/{name}/tree/notebooks/{name}.ipynb") as page:  # each in a fresh one
        run_all(page)
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        cells = [cell for cell in cells if cell["cell_type"] == "code"]
        for trouble in troubles(cells):  # what follows the first is mostly due to it
            pytest.fail(f"{trouble}\n\nThe page as it was left is in {PICTURES}", pytrace=False)
        outputs = [output for cell in cells for output in cell["outputs"]]
        assert pictures_seen(page) == sum("image/png" in output.get("data", {}) for output in outputs)
        assert page.locator(".jp-Dialog").count() == 0 and lab.complaints == []
