import json

import pandas as pd
import pytest

from deadgcn.experiments import grid as module
from deadgcn.experiments.grid import grid, open_study


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PROJECT", tmp_path)
    return tmp_path


def test_a_study_runs_what_its_settings_say(folder):
    study = open_study("SyntheticCora", "out", n_jobs=1, dropout=0.5, hidden_channels=4, epochs=2)
    assert study.figures == folder / "out/figures/SyntheticCora" and study.figures.is_dir()
    assert study.results == folder / "out/results/SyntheticCora" and study.results.is_dir()
    (config,) = grid(["ReLU"], num_layers=1, **study.settings)
    assert (config.dataset, config.hidden_channels, config.epochs) == ("SyntheticCora", 4, 2)
    assert config.dropout == config.input_dropout == 0.5
    assert len(study.run([config]).epochs) == 2
    assert "synthetic" in study._repr_markdown_()


def test_majorities_are_shares_of_the_largest_class(folder):
    study = open_study("SyntheticCora", "out")
    assert study.num_classes == 7
    for mask, found in (("test_mask", study.majority), ("val_mask", study.val_majority)):
        counts = [int((study.graph.y[study.graph[mask]] == c).sum()) for c in range(7)]
        assert found == max(counts) / sum(counts)


def test_a_kept_table_is_that_of_the_data_set_and_profile(folder):
    study, own = open_study("SyntheticCora", "out"), pd.DataFrame({"n": [20, 5]})
    assert study.kept("full", "answers", own) is own
    for place, n in (("full/SyntheticCora", 50), ("kipf/SyntheticCora", 70), ("full/Cora", 80)):
        (records := folder / "results" / "profiles" / place / "provenance").mkdir(parents=True)
        (records.parent / "answers.csv").write_text(f"n\n{n}\n")
        made = {"files": {f"results/{records.parent.name}/answers.csv": "0"}, "settings": {"depths": [2, 4]}}
        (records / "07_x.json").write_text(json.dumps(made))
        (records / "08_y.json").write_text(json.dumps({"files": {}, "settings": {}}))
    assert study.kept("full", "answers", own)["n"].tolist() == [50]
    assert study.kept("full", "answers", own, depths=[2, 4])["n"].tolist() == [50]
    assert study.kept("full", "answers", own, depths=[2, 8]) is own  # made with other settings
    assert study.kept("full", "answers", more := own * 3) is more  # has fewer runs


@pytest.mark.usefixtures("offline")
def test_without_coras_files_auto_is_the_synthetic_twin(folder, monkeypatch):
    monkeypatch.setattr("deadgcn.data.graphs.PROJECT", folder)
    assert open_study("auto", "out").dataset == "SyntheticCora"


@pytest.mark.parametrize(
    ("settings", "name"), [({"dataset": "Korra"}, "Korra"), ({"learning_rate": 0.1}, "learning_rate")]
)
def test_bad_values_are_named_before_folders_are_made(folder, settings, name):
    with pytest.raises(ValueError, match=name):
        open_study(**{"dataset": "SyntheticCora", "output_dir": "out", **settings})
    assert not (folder / "out").exists()
