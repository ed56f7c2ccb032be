"""JupyterLab as `make lab` starts it, in a copy of the project, and a Chromium to look at it."""

import json
import re
import shutil
import signal
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from checkout import ROOT, Checkout
from playwright.sync_api import expect

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync")
FLAGS += ("--disable-background-networking", "--disable-component-update")
PICTURES = ROOT / "build" / "browser"  # each page as a test left it
# A reader's own Jupyter settings, which must not reach the notebooks.
FOREIGN = {
    "jupyter_server_config.py": "c.ServerApp.contents_manager_class = 'missing.Manager'",
    "profile_default/startup/00.py": "raise SystemExit",
    "deadgcn/__init__.py": "raise ImportError('another deadgcn')",
}
VARIABLES = ("JUPYTER_CONFIG_DIR", "JUPYTER_CONFIG_PATH", "JUPYTER_DATA_DIR", "JUPYTER_PATH")
VARIABLES += ("IPYTHONDIR", "PYTHONPATH")
MINUTE = 60_000  # in Playwright's milliseconds


def chromium():
    """The system's browser. Without one the tests fail, because skipping them would look like success."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.fail(f"a browser is needed, but none of {', '.join(BROWSERS)} was found", pytrace=False)
    return found


class Lab:
    """A copy of the project below `folder`, JupyterLab running in it, and a browser."""

    def __init__(self, folder, browser):
        self.copy, self.browser, self.log = Checkout(folder), browser, folder / "lab.txt"
        self.notebooks = self.copy.root / "notebooks"
        (self.copy.root / ".venv" / "share").unlink(missing_ok=True)  # a link to the real one
        for part, left in {"share": "runtime", "etc": "lab"}.items():  # without a developer's own settings
            source, target = (Path(root, part, "jupyter") for root in (sys.prefix, self.copy.root / ".venv"))
            shutil.copytree(source, target, ignore=shutil.ignore_patterns(left))
        extension = "lab/user-settings/@jupyterlab/apputils-extension"
        news = self.copy.root / ".venv/etc/jupyter" / extension / "notification.jupyterlab-settings"
        news.parent.mkdir(parents=True)
        news.write_text('{"fetchNews": "false"}')  # otherwise Lab asks whether it may
        for name, text in FOREIGN.items():
            (folder / "foreign" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "foreign" / name).write_text(text)
        flags = ["LAB_FLAGS=--no-browser --ServerApp.port=0 --ServerApp.allow_root=True"]
        with self.log.open("w") as log:
            env = dict.fromkeys(VARIABLES, str(folder / "foreign"))
            self.process = self.copy.start(goal="lab", flags=flags, env=env, stdout=log)
        self.url, self.token = self._address()

    def _address(self):
        deadline = time.monotonic() + 60
        while not (found := re.search(r"(http://127\S+?/)lab\S*\?token=(\w+)", self.log.read_text())):
            assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.2)
        return found.groups()

    def ask(self, path, method="GET"):
        """The server's answer to a request of its REST interface."""
        header = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(f"{self.url}api/{path}", headers=header, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or "null")

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
            PICTURES.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=PICTURES / f"{name}.png")
            page.close()
            for session in self.ask("sessions"):
                self.ask(f"sessions/{session['id']}", "DELETE")

    def wait_for_kernel(self, page):
        """Wait until page and server agree that the kernel is idle: the page alone says so too early."""
        expect(status(page)).to_have_attribute("data-status", "idle", timeout=MINUTE)
        deadline = time.monotonic() + 60
        while self._states().get(page.url.partition("/tree/")[2]) != "idle":
            assert time.monotonic() < deadline, (page.url, self._states())
            time.sleep(0.2)

    def _states(self):
        return {session["path"]: session["kernel"]["execution_state"] for session in self.ask("sessions")}

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


def run_all(page, seconds=400):
    """Run all cells, wait until the last has ended, and save."""
    choose(page, "Run", "Run All Cells")
    prompts = page.locator(".jp-CodeCell .jp-InputPrompt")
    expect(prompts.filter(has_text=re.compile(r"\[(\*|\d+)\]")).first).to_be_visible(timeout=MINUTE)
    expect(prompts.filter(has_text="[*]")).to_have_count(0, timeout=seconds * 1000)
    expect(status(page)).to_have_attribute("data-status", "idle", timeout=MINUTE)
    choose(page, "File", "Save Notebook")
    expect(page.locator(".lm-TabBar-tab.jp-mod-dirty")).to_have_count(0, timeout=MINUTE)
