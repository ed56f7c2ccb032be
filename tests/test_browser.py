"""Notebooks in JupyterLab as `make lab` opens it, and the report, in a Chromium."""

import json
import re
import shutil
import signal
import sys
import time
import zlib
from contextlib import contextmanager
from pathlib import Path

import papermill
import pytest
import yaml
from checkout import ROOT, Checkout
from parameters import read_defaults
from playwright.sync_api import expect, sync_playwright
from tiny_project import write_file

pytestmark = pytest.mark.browser
SMOKE = yaml.safe_load((ROOT / "params" / "profiles" / "smoke.yaml").read_text(encoding="utf-8"))
SMOKE |= {"dataset": "SyntheticCora", "n_jobs": 1}  # needs no files and no worker processes
REPORT = ROOT / "report" / "report.html"
PICTURES = ROOT / "build" / "browser"  # each page as a test left it
LAB_FLAGS = "LAB_FLAGS=--no-browser --ServerApp.port=0 --ServerApp.allow_root=True"
# A reader's own Jupyter settings, which must not reach the notebooks.
FOREIGN = {
    "jupyter_server_config.py": "c.ServerApp.contents_manager_class = 'missing.Manager'",
    "profile_default/startup/00.py": "raise SystemExit",
    "deadgcn/__init__.py": "raise ImportError('another deadgcn')",
}
VARIABLES = ("JUPYTER_CONFIG_DIR", "JUPYTER_CONFIG_PATH", "JUPYTER_DATA_DIR", "JUPYTER_PATH")
VARIABLES += ("IPYTHONDIR", "PYTHONPATH")
MINUTE = 60_000  # in Playwright's milliseconds


@pytest.fixture(scope="module")
def browser():
    """The system's browser, or else Playwright's. Without one the tests fail: skipping would hide it."""
    paths = [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")]
    path = next(filter(None, paths), None)
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=path)


@pytest.fixture(scope="module")
def lab(browser, tmp_path_factory):
    lab = Lab(tmp_path_factory.mktemp("lab"), browser)
    yield lab
    lab.stop()


class Lab:
    """A copy of the project below `folder`, JupyterLab running in it, and a browser."""

    def __init__(self, folder, browser):
        self.copy, self.browser, self.log = Checkout(folder), browser, folder / "lab.txt"
        self.notebooks, venv = self.copy.root / "notebooks", self.copy.root / ".venv"
        (venv / "share").unlink()  # a link to the real one
        for part, left in {"share": "runtime", "etc": "lab"}.items():  # without a developer's own settings
            source = Path(sys.prefix, part, "jupyter")
            shutil.copytree(source, venv / part / "jupyter", ignore=shutil.ignore_patterns(left))
        for name, text in FOREIGN.items():
            write_file(folder / "foreign" / name, text)
        env = dict.fromkeys(VARIABLES, str(folder / "foreign"))
        with self.log.open("w") as log:
            self.process = self.copy.start(goal="lab", flags=[LAB_FLAGS], env=env, stdout=log)
        self.url, self.token = self._address()

    def _address(self):
        deadline = time.monotonic() + 60
        while not (found := re.search(r"(http://127\S+?/)lab\S*\?token=(\w+)", self.log.read_text())):
            assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.2)
        return found.groups()

    @contextmanager
    def page(self, name, address):
        """A page with a notebook whose kernel is ready; a picture of how it was left goes to PICTURES."""
        self.complaints = []  # errors in the browser's console
        page = self.browser.new_page(viewport={"width": 1280, "height": 1000})
        page.on("console", lambda told: told.type == "error" and self.complaints.append(told.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        try:
            page.goto(f"{self.url}{address}?token={self.token}")
            self.wait_for_kernel(page)
            yield page
        finally:
            page.screenshot(path=PICTURES / f"{name}.png")
            page.close()

    def wait_for_kernel(self, page):
        """Wait until page and server agree that the kernel is idle: the page alone says so too early."""
        expect(status(page)).to_have_attribute("data-status", "idle", timeout=MINUTE)
        deadline = time.monotonic() + 60
        while (state := self._states(page).get(page.url.partition("/tree/")[2])) != "idle":
            assert time.monotonic() < deadline, (page.url, state)
            time.sleep(0.2)

    def _states(self, page):
        """What the server says of each notebook's kernel."""
        sessions = page.request.get(f"{self.url}api/sessions").json()
        return {session["path"]: session["kernel"]["execution_state"] for session in sessions}

    def stop(self):
        """End the server and everything that it started."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)
        self.copy.wait_for_the_end()


def in_front(page):
    """The notebook that the reader sees."""
    return page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")


def status(page):
    """The sign beside the name of the kernel."""
    return in_front(page).locator(".jp-Notebook-ExecutionIndicator")


def choose(page, menu, item):
    """Choose an item of a menu."""
    page.locator(".lm-MenuBar-itemLabel", has_text=re.compile(f"^{menu}$")).click()
    page.locator(".lm-Menu-itemLabel", has_text=re.compile(f"^{item}$")).click()


def run_all(page):
    """Run all cells, wait until the last has ended, and save."""
    choose(page, "Run", "Run All Cells")
    prompts = page.locator(".jp-CodeCell .jp-InputPrompt")
    expect(prompts.filter(has_text=re.compile(r"\[(\*|\d+)\]")).first).to_be_visible(timeout=MINUTE)
    expect(prompts.filter(has_text="[*]")).to_have_count(0, timeout=7 * MINUTE)
    expect(status(page)).to_have_attribute("data-status", "idle", timeout=MINUTE)
    choose(page, "File", "Save Notebook")
    expect(page.locator(".lm-TabBar-tab.jp-mod-dirty")).to_have_count(0, timeout=MINUTE)


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
    small = {name: SMOKE[name] for name in read_defaults(path).keys() & SMOKE.keys()}
    papermill.execute_notebook(path, path, small, prepare_only=True)
    with lab.page("04_pruning", f"lab/workspaces/one/tree/notebooks/{path.name}") as page:
        run_all(page)
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = [cell for cell in cells if cell["cell_type"] == "code" and cell["source"]]
        assert all(cell["execution_count"] for cell in code)
        outputs = [output for cell in code for output in cell["outputs"]]
        assert not [output for output in outputs if output["output_type"] == "error"]
        assert sum("image/png" in output.get("data", {}) for output in outputs) >= 4
        cell = in_front(page).locator(".jp-CodeCell", has_text="dg.explore(")
        cell.scroll_into_view_if_needed()
        picture, slider = cell.locator(".jp-OutputArea img").first, cell.locator(".noUi-handle").first
        before = picture.get_attribute("src")
        slider.press("ArrowRight")
        expect(picture).not_to_have_attribute("src", before, timeout=MINUTE)
        assert page.locator(".jp-Dialog").count() == 0 and lab.complaints == []


def test_a_notebook_that_was_opened_and_saved_is_as_it_was(lab):
    with lab.page("saved", "lab/workspaces/saved/tree/notebooks/01_data.ipynb") as page:
        assert page.locator(".jp-Dialog, .jp-toast-button").count() == 0  # no question about news
        for source in sorted(Path(ROOT, "notebooks").glob("[0-9]*.ipynb")):
            path = Path(shutil.copy(source, lab.notebooks))  # other tests have run it
            page.goto(f"{lab.url}lab/workspaces/{path.stem}/tree/notebooks/{path.name}")
            lab.wait_for_kernel(page)
            with page.expect_response(lambda told: told.request.method == "PUT" and "contents" in told.url):
                choose(page, "File", "Save Notebook")
            assert path.read_bytes() == source.read_bytes(), path.name


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_report_fits_its_window_and_asks_nothing_of_the_network(browser, width, scheme):
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    asked, complaints = [], []
    page.on("request", lambda request: asked.append(request.url[:40]))
    page.on("console", lambda told: complaints.append(told.text))
    page.goto(REPORT.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    links = page.evaluate("[...document.links].map(link => link.getAttribute('href'))")
    places = page.evaluate("[...document.querySelectorAll('[id]')].map(element => '#' + element.id)")
    assert [link for link in links if link not in places and not re.match("https?://", link)] == []
    assert page.locator("math").count() > 5 and page.locator("figure").count() > 10
    assert {url.partition(":")[0] for url in asked} <= {"file", "data"} and complaints == []
    ground, ink = page.evaluate("(s => [s.backgroundColor, s.color])(getComputedStyle(document.body))")
    brightness = [sum(map(int, re.findall(r"\d+", color)[:3])) for color in (ground, ink)]
    assert (brightness[0] > brightness[1]) == (scheme == "light")
    page.close()


@pytest.fixture
def phone(browser):
    """The report on a phone."""
    size = {"width": 390, "height": 844}
    with browser.new_context(viewport=size, has_touch=True, is_mobile=True) as context:
        page = context.new_page()
        page.goto(REPORT.as_uri())
        yield page


def test_the_contents_of_the_report_are_closed_on_a_phone_and_open_on_a_wide_screen(phone):
    contents = phone.get_by_role("navigation").get_by_role("list")
    expect(contents).to_be_hidden()
    phone.locator("summary").tap()
    expect(contents).to_be_visible()
    phone.locator("summary").press("Enter")
    expect(contents).to_be_hidden()
    phone.set_viewport_size({"width": 1280, "height": 900})
    expect(contents).to_be_visible()


def test_a_tap_or_key_enlarges_a_picture_and_another_one_ends_that(phone):
    picture, other = phone.locator("img").nth(5), phone.locator("img").nth(6)
    assert len(picture.get_attribute("alt")) > 20
    picture.scroll_into_view_if_needed()
    place, width = phone.evaluate("scrollY"), picture.bounding_box()["width"]
    picture.tap()
    assert picture.bounding_box()["width"] > 2 * width
    expect(other).to_be_hidden()
    opened = phone.locator(":popover-open")
    opened.evaluate("box => box.scrollTo(500, 0)")
    assert opened.evaluate("box => box.scrollLeft") == 500  # it can be moved
    picture.tap()
    assert picture.bounding_box()["width"] == width <= 390 and phone.evaluate("scrollY") == place
    for end in ("Enter", "Escape"):
        picture.locator("..").press("Enter")
        assert picture.bounding_box()["width"] > 2 * width
        phone.keyboard.press(end)
        assert picture.bounding_box()["width"] == width


def test_wide_tables_scroll_in_their_box_below_a_caption_that_stays(phone):
    for box in phone.locator(".scroll").all():
        box.evaluate("box => box.scrollTo(1000, 0)")
        assert box.evaluate("box => box.scrollLeft") > 100
        caption = box.locator("caption").bounding_box()
        assert caption["x"] >= 0 and caption["x"] + caption["width"] <= 390


A4, TOP, FOOT = 297, 20, 22  # a page's height and margins in mm, as in the report's style


def test_printed_tables_and_figures_are_whole_and_no_page_is_half_empty(browser):
    page = browser.new_page(viewport={"width": 650, "height": 900})  # the width of the printed text
    page.goto(REPORT.as_uri())
    page.emulate_media(media="print")
    for block in page.locator("figure, .scroll").all():
        assert block.bounding_box()["height"] < (A4 - TOP - FOOT) / 25.4 * 96
        assert block.evaluate("block => getComputedStyle(block).breakInside") == "avoid"
        assert block.locator("figcaption, caption").count() == 1
    full = lowest(page.pdf(prefer_css_page_size=True))[:-1]  # the last page ends where it ends
    assert len(full) > 10 and max(full) < FOOT + (A4 - TOP - FOOT) / 3, full
    page.close()


def lowest(pdf):
    """How far above each page's lower edge its text and pictures end, in mm, by Chromium's operators."""
    ends = []
    for page in re.findall(rb"/Contents (\d+) 0 R", pdf):
        start = re.search(rb"\n%s 0 obj\s*<<[^>]*/Length (\d+)[^>]*>>\s*stream\r?\n" % page, pdf)
        operations = zlib.decompress(pdf[start.end() : start.end() + int(start[1])]).decode("latin1")
        scale, shift, outer, heights = 1.0, 0.0, [], []
        for operation in operations.splitlines():
            *values, operator = operation.split()
            if operator == "q":
                outer.append((scale, shift))
            elif operator == "Q":
                scale, shift = outer.pop()
            elif operator == "cm":
                scale, shift = scale * float(values[3]), scale * float(values[5]) + shift
            elif operator == "Tm":
                heights.append(scale * float(values[5]) + shift)
            elif operator == "Do":  # a picture has the height 1
                heights += [shift, scale + shift]
        heights = [height / 72 * 25.4 for height in heights]
        ends.append(min(height for height in heights if FOOT - 1 < height < A4 - TOP + 1))
    return ends
