import pytest
import torch
from pydantic import ValidationError

from deadgcn.experiments import study as module
from deadgcn.experiments.grid import grid
from deadgcn.experiments.study import open_study


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PROJECT", tmp_path)
    return tmp_path


def test_a_study_runs_what_its_settings_say(folder):
    study = open_study("SyntheticCora", "out", n_jobs=1, dropout=0.5, hidden_channels=4, epochs=2)
    assert study.figures == folder / "out/figures/SyntheticCora" and study.figures.is_dir()
    assert study.results == folder / "out/results/SyntheticCora" and study.results.is_dir()
    (config,) = grid(["ReLU"], num_layers=1, **study.settings)
    expected = ("SyntheticCora", 0.5, 0.5, 4, 2)
    assert (
        config.dataset,
        config.dropout,
        config.input_dropout,
        config.hidden_channels,
        config.epochs,
    ) == expected
    assert len(study.run([config]).epochs) == 2
    assert "synthetic" in study._repr_markdown_()


def test_majorities_are_shares_of_the_largest_class(folder):
    study = open_study("SyntheticCora", "out")
    counts = [int((study.graph.y[study.graph.test_mask] == c).sum()) for c in range(study.num_classes)]
    assert study.majority == max(counts) / sum(counts) and study.num_classes == 7
    counts = [int((study.graph.y[study.graph.val_mask] == c).sum()) for c in range(study.num_classes)]
    assert study.val_majority == max(counts) / sum(counts)


def test_the_graph_is_as_the_networks_see_it(folder):
    raw = open_study("SyntheticCora", "out").graph
    seen = open_study("SyntheticCora", "out", normalize_features=True).graph
    torch.testing.assert_close(seen.x, raw.x / raw.x.sum(1, keepdim=True))


@pytest.mark.usefixtures("offline")
def test_without_coras_files_auto_is_the_synthetic_twin(folder, monkeypatch):
    monkeypatch.setattr("deadgcn.data.graphs.PROJECT", folder)
    assert open_study("auto", "out").dataset == "SyntheticCora"


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"dataset": "Korra"}, "Korra"),
        ({"n_jobs": 0}, "n_jobs"),
        ({"scheduler": "host"}, "scheduler"),
        ({"dropout": 1.5}, "dropout"),
        ({"lr": "fast"}, "lr"),
        ({"learning_rate": 0.1}, "learning_rate"),
    ],
)
def test_bad_values_are_named_before_folders_are_made(folder, settings, name):
    with pytest.raises((ValueError, ValidationError), match=name):
        open_study(**{"dataset": "SyntheticCora", "output_dir": "out", **settings})
    assert not (folder / "out").exists()
