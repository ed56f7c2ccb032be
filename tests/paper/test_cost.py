"""What notebooks would train, counted without running them."""

import json
import subprocess
import sys

import pytest
from tiny_project import PAPER, contents, write_notebook

import deadgcn as dg

PARAMETERS = "dataset = 'SyntheticCora'\ndepths = [1, 2, 3]\nnum_seeds = 4\nepochs = 2\noutput_dir = 'x'"
OPEN = "import deadgcn as dg\nstudy = dg.open_study(globals())"
MAIN = [
    OPEN,
    "seeds = range(num_seeds)",
    "runs = study.run(dg.grid('ReLU', num_layers=depths, seed=seeds, **study.settings))",
]
TOLD = {"dataset": "SyntheticCora", "depths": [1, 2], "num_seeds": 3, "epochs": 2, "hidden_channels": 4}
TOLD |= {"n_jobs": 1}


def count(*notebooks, cache=None, told=TOLD):
    """The numbers to train and found of each notebook by name, and the whole text."""
    text = json.dumps({"notebooks": {str(path): told for path in notebooks}})
    command = [sys.executable, "-c", PROGRAM, str(cache)]
    done = subprocess.run(command, cwd=PAPER, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    return {
        name: (int(train), int(found), float(minutes)) for name, train, found, minutes, *_ in rows
    }, done.stdout


# With the cache in another folder than the project's, which other tests may fill.
PROGRAM = """
import sys
from pathlib import Path
import cost
cost.PROJECT = Path(sys.argv[1])
cost.main()
"""


def test_networks_are_counted_once_and_parameters_count(tmp_path):
    """2 depths x 3 seeds; the other adds a depth, and 3 references with a head and 3 without."""
    one = write_notebook(tmp_path / "n" / "one.ipynb", *MAIN, parameters=PARAMETERS)
    cells = [
        OPEN,
        "configs = []\nfor depth in [*depths, 5]:\n    point = {'num_layers': depth}\n"
        "    configs += dg.grid('ReLU', seed=range(num_seeds), **study.settings | point)",
        "raise SystemExit('not needed')",
        "runs = study.run(configs).runs",
        "two = [dg.run_reference(configs[:3], study.graph, head) for head in (False, True)]",
    ]
    two = write_notebook(tmp_path / "n" / "two.ipynb", *cells, parameters=PARAMETERS)
    before = contents(tmp_path)
    rows, _ = count(one, two, cache=tmp_path)
    assert rows["one"][:2] == (6, 0) and rows["two"][:2] == (3 + 6, 6) and rows["total"][:2] == (15, 6)
    assert rows["total"][2] >= 0 and contents(tmp_path) == before


def test_finished_networks_are_found_and_take_no_time(tmp_path):
    one = write_notebook(tmp_path / "n" / "one.ipynb", *MAIN, parameters=PARAMETERS)
    settings = {name: TOLD[name] for name in ("dataset", "epochs", "hidden_channels")}
    dg.run_grid(
        dg.grid("ReLU", num_layers=[1, 2], seed=range(2), **settings), n_jobs=1, cache=tmp_path / ".cache"
    )
    rows, _ = count(one, cache=tmp_path)
    assert rows["one"][:2] == (2, 4)
    rows, _ = count(one, cache=tmp_path, told=TOLD | {"num_seeds": 2})
    assert rows["one"] == (0, 4, 0.0)


@pytest.mark.parametrize(
    ("line", "word"),
    {
        "depth = int(runs.runs['num_layers'].max())": "depend",
        "depth = undefined": "undefined",
        "%time\ndepth = 2": "syntax",
    }.items(),
)
def test_what_cannot_be_known_is_said(tmp_path, line, word):
    more = "study.run(dg.grid('ReLU', num_layers=depth, seed=0, **study.settings))"
    one = write_notebook(tmp_path / "n" / "one.ipynb", *MAIN, line, more, parameters=PARAMETERS)
    rows, text = count(one, cache=tmp_path)
    assert word in text and rows["one"][0] == (0 if word == "syntax" else 6)
