import shutil

import pytest
from fake_make import FAKE_PYTHON, ROOT, TESTS, call, fake_project, logged, set_up


@pytest.mark.parametrize("machine", ["has a browser", "installs one", "cannot"])
def test_continuous_integration_sees_to_a_browser_and_runs_all_tests(tmp_path, machine):
    ready = set_up(fake_project(tmp_path))
    (ready / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", ready / ".ci")
    tools = ready / "tools"
    tools.mkdir()
    for name in ("bash", "cat", "cksum", "dirname", "id", "make", "tr"):
        (tools / name).symlink_to(shutil.which(name))
    programs = {
        "apt-get": FAKE_PYTHON + "false\n" * (machine == "cannot"),
        "sudo": '#!/bin/sh\nshift; "$@"\n',
    }
    programs |= {"google-chrome": ""} if machine == "has a browser" else {}
    for name, text in programs.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    done = call(ready / ".ci" / "run", folder="/", PATH=str(tools))
    assert done.returncode == 0, done.stderr
    assert ("cannot be installed" in done.stdout) == (machine == "cannot")
    install = ["install", "-qy", "--no-install-recommends", "chromium"]
    asked = [] if machine == "has a browser" else [["update", "-q"], install]
    assert logged(ready) == [
        *asked,
        TESTS,
        ["-m", "pytest", "-m", "faults"],
        ["-m", "pytest", "-m", "browser"],
    ]
