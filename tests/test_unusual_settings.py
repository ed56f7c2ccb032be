"""The notebooks on settings that nobody would publish."""

from pathlib import Path

import pytest

from deadgcn.paper import execute

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.faults  # all notebooks once more: minutes
def test_unusual_settings_run_to_the_end(tmp_path):
    """A depth that nobody published, one layer, one seed: tables and texts must cope with what is missing."""
    settings = "{depths: [1], num_seeds: 1, epochs: 2, num_layers: 1, example_num_layers: 1, powers: [1], "
    settings += "num_seeds_deep: 1, walk_depths: [1], num_seeds_walk: 1, option_depths: [1], "
    settings += "num_seeds_options: 1}"
    arguments = [
        "--set",
        settings,
        "--set",
        "dataset: SyntheticCora",
        "--output-dir",
        str(tmp_path),
        "--force",
    ]
    assert execute.main([*map(str, NOTEBOOKS), *arguments]) == 0
    (page,) = tmp_path.glob("report/**/report.html")
    assert page.parent.name == "SyntheticCora" and "synthetic twin" in page.read_text()
    folders = {folder.name for kind in ("figures", "results") for folder in (tmp_path / kind).iterdir()}
    assert folders == {"SyntheticCora"}
