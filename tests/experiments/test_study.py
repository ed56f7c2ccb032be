import hashlib
import json

import pandas as pd
import pytest
import torch

from deadgcn.data import DataError
from deadgcn.experiments import grid as module
from deadgcn.experiments.grid import grid, open_study, run_grid

PLAIN = {"dataset": "SyntheticCora", "output_dir": "out"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PROJECT", tmp_path)
    return tmp_path


def test_a_study_runs_what_its_settings_say(folder):
    notebook = {"dataset": "SyntheticCora", "output_dir": "out", "n_jobs": 1, "scheduler": "", "dropout": 0.5}
    notebook |= {"hidden_channels": 4, "epochs": 2, "num_layers": 3, "depths": [1], "arms": {}, "pd": pd}
    study = open_study(notebook)
    assert study.figures == folder / "out/figures/SyntheticCora" and study.figures.is_dir()
    assert study.results == folder / "out/results/SyntheticCora" and study.results.is_dir()
    (config,) = grid(["ReLU"], num_layers=1, **study.settings)
    assert (config.dataset, config.hidden_channels, config.epochs) == ("SyntheticCora", 4, 2)
    assert config.dropout == config.input_dropout == 0.5
    assert len(study.run([config]).epochs) == 2
    assert "synthetic" in study._repr_markdown_()


def test_majorities_are_shares_of_the_largest_class(folder):
    study = open_study(PLAIN)
    assert study.num_classes == 7
    for mask, found in (("test_mask", study.majority), ("val_mask", study.val_majority)):
        counts = [int((study.graph.y[study.graph[mask]] == c).sum()) for c in range(7)]
        assert found == max(counts) / sum(counts)


def test_a_kept_table_is_that_of_the_data_set_and_profile(folder):
    study, own = open_study(PLAIN), pd.DataFrame({"n": [20, 5]})
    assert study.kept("full", "answers", own) is own
    for place, n in (("full/SyntheticCora", 50), ("kipf/SyntheticCora", 70), ("full/Cora", 80)):
        (records := folder / "results" / "profiles" / place / "provenance").mkdir(parents=True)
        (records.parent / "answers.csv").write_text(text := f"n\n{n}\n")
        files = {f"results/{records.parent.name}/answers.csv": hashlib.sha256(text.encode()).hexdigest()}
        made = {"files": files, "settings": {"depths": [2, 4]}}
        (records / "07_x.json").write_text(json.dumps(made))
        (records / "08_y.json").write_text(json.dumps({"files": {}, "settings": {}}))
    assert study.kept("full", "answers", own)["n"].tolist() == [50]
    assert study.kept("full", "answers", own, depths=[2, 4])["n"].tolist() == [50]
    assert study.kept("full", "answers", own, depths=[2, 8]) is own  # made with other settings
    assert study.kept("full", "answers", more := own * 3) is more  # has fewer runs
    (folder / "results/profiles/full/SyntheticCora/answers.csv").write_text("n\n51\n")
    with pytest.raises(DataError, match=r"full/SyntheticCora/answers\.csv"):
        study.kept("full", "answers", own)


@pytest.mark.usefixtures("offline")
def test_without_coras_files_auto_is_the_synthetic_twin(folder, monkeypatch):
    monkeypatch.setattr("deadgcn.data.graphs.PROJECT", folder)
    assert open_study(PLAIN | {"dataset": "auto"}).dataset == "SyntheticCora"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dataset", "Korra"),
        ("depths", 4),  # not a list
        ("depths", [4, 2]),
        ("num_seeds", "two"),
        ("arms", {"half": {"amount": 0.5}}),
        ("split", 3),
    ],
)
def test_bad_parameters_are_named_with_their_values_before_folders_are_made(folder, name, value):
    with pytest.raises((ValueError, DataError)) as error:
        open_study(PLAIN | {name: value})
    assert name in str(error.value) and "pydantic" not in str(error.value)
    assert str(value) in str(error.value) or name == "arms"
    assert not (folder / "out").exists()


def test_a_graph_from_a_file_is_named_after_it_everywhere(folder, twin, monkeypatch):
    monkeypatch.setattr("deadgcn.data.graphs.PROJECT", folder)
    torch.save(twin, folder / "MyTwin.pt")
    study = open_study(PLAIN | {"dataset": "MyTwin.pt", "hidden_channels": 4, "epochs": 2, "n_jobs": 1})
    assert study.figures == folder / "out/figures/MyTwin" and study.graph.num_nodes == 300
    tables = study.run(grid(["ReLU"], num_layers=1, **study.settings))
    assert tables.runs["dataset"].tolist() == ["MyTwin"]
    pd.testing.assert_frame_equal(
        tables.runs, run_grid(tables.configs, graph=twin, name="MyTwin", cache=None).runs
    )
