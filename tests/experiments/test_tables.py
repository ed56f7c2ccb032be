import zipfile

import numpy as np
import pandas as pd
import pytest
import torch
import torch_geometric
from experiments.test_grid import SMALL

from deadgcn.data.graphs import load_graph
from deadgcn.experiments.grid import METHODS, grid, run_grid
from deadgcn.experiments.measure import activations
from deadgcn.experiments.tables import load_model

CONFIGS = grid(METHODS, num_layers=[0, 2], seed=range(2), **SMALL)


@pytest.fixture(scope="module")
def tables():
    return run_grid(CONFIGS, cache=None)


@pytest.fixture(scope="module")
def graph():
    return load_graph("SyntheticCora")


def test_tables_have_a_row_per_run_epoch_and_layer_in_grid_order(tables):
    keys = ["dataset", "method", "num_layers", "seed"]
    expected = [(c.dataset, c.method, c.num_layers, c.seed) for c in CONFIGS]
    for table in (tables.runs, tables.epochs, tables.layers):
        assert list(table.columns[:4]) == keys
    assert list(tables.runs[keys].itertuples(index=False, name=None)) == expected
    assert len(tables.epochs) == 12 * 3 and tables.epochs["epoch"].tolist() == [0, 1, 2] * 12
    assert len(tables.layers) == 6 * 3 * 2  # depth 0 has no layers
    assert tables.layers["layer"].unique().tolist() == [1, 2]
    assert tables.layers["stage"].unique().tolist() == ["init", "best", "last"]
    assert (tables.runs["dead_fraction"].isna() == (tables.runs["num_layers"] == 0)).all()


def test_a_setting_that_varies_becomes_a_key_column():
    runs = run_grid(grid(["ReLU"], lr=[0.01, 0.1], **SMALL), cache=None).runs
    assert list(runs.columns[:5]) == ["dataset", "method", "num_layers", "seed", "lr"]


def test_a_run_that_diverges_has_no_best_model(graph):
    tables = run_grid(grid({"fine": {}, "lost": {"lr": 1e30}}, num_layers=2, **SMALL), cache=None)
    assert tables.runs["diverged_epoch"].isna().tolist() == [True, False]
    assert tables.runs["best_epoch"].isna().tolist() == [False, True]
    assert tables.model(method="lost")(graph.x, graph.edge_index).isnan().all()


def test_saved_tables_read_back_and_are_the_same_bytes_again(tables, tmp_path):
    for prefix in ("a", "b"):
        tables.save(tmp_path, prefix)
    for name in ("runs.csv", "epochs.csv.gz", "layers.csv.gz"):
        assert (tmp_path / f"a_{name}").read_bytes() == (tmp_path / f"b_{name}").read_bytes()
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "a_runs.csv"), tables.runs, check_dtype=False)
    epochs = pd.read_csv(tmp_path / "a_epochs.csv.gz")
    pd.testing.assert_frame_equal(epochs, tables.epochs, check_dtype=False, rtol=1e-6)


@pytest.mark.parametrize("settings", [{}, {"normalize_features": True}, {"propagation": 0.0}])
def test_a_runs_model_has_the_recorded_numbers(graph, settings):
    arms = {**METHODS, "Swish": {"act": lambda z: z * torch.sigmoid(z)}, "GELU": {"act": torch.nn.GELU()}}
    tables = run_grid(grid(arms, num_layers=2, seed=range(2), **SMALL, **settings), cache=None)
    for run in tables.runs.to_dict("records"):
        model = tables.model(method=run["method"], seed=run["seed"])
        correct = (model(graph.x, graph.edge_index).argmax(-1) == graph.y).double()
        for part in ("test", "val"):
            found = correct[graph[f"{part}_mask"]].mean().item()
            assert found == pytest.approx(run[f"{part}_acc"], abs=1e-6)
        zeros = torch.stack(activations(model, graph)[-2:]) == 0  # [L, N, d]
        assert zeros.shape == (2, graph.num_nodes, 4)
        if run["method"] != "Swish":  # of which the sigmoid is found
            assert zeros.double().mean().item() == pytest.approx(run["zero_fraction"], abs=1e-3)


@pytest.mark.parametrize("run", [{}, {"method": "ReLU"}, {"method": "ReLU", "seed": 5, "num_layers": 2}])
def test_exactly_one_run_must_be_identified(tables, run):
    with pytest.raises(ValueError, match="fits"):
        tables.model(**run)


def test_a_network_of_no_layers_is_no_model_of_pygs(tables):
    with pytest.raises(ValueError, match="num_layers is 0"):
        tables.model(method="ReLU", num_layers=0, seed=0)


@pytest.fixture
def checkpoint(tables, tmp_path):
    tables.save_checkpoints(tmp_path)
    (path,) = tmp_path.glob("ReLU_2-layers_seed-0_*.pth")
    return path


def test_checkpoints_hold_settings_and_tensors_and_no_code(tables, checkpoint):
    assert len(list(checkpoint.parent.iterdir())) == len(tables.runs)
    saved = torch.load(checkpoint, weights_only=True)
    assert saved["settings"] == tables.configs[2].model_dump(mode="json")
    torch_geometric.nn.GCN(1433, 4, 2, 7, jk="last").load_state_dict(saved["state_dict"])


def test_a_checkpoint_cannot_be_taken_for_another_activations(tables, graph, tmp_path):
    """LeakyReLU's comes back as LeakyReLU's; the file as such does not fit a ReLU network."""
    path = next(
        p for p in tables.save_checkpoints(tmp_path) if p.name.startswith("LeakyReLU_2-layers_seed-1_")
    )
    model = load_model(path)
    assert not model.training and model.act.negative_slope == 0.8
    right = (model(graph.x, graph.edge_index).argmax(1) == graph.y)[graph.test_mask].double().mean().item()
    run = tables.runs.query("method == 'LeakyReLU' and num_layers == 2 and seed == 1")
    assert right == pytest.approx(run["test_acc"].item(), abs=1e-6)
    with pytest.raises(RuntimeError, match="state_dict"):
        torch_geometric.nn.GCN(1433, 4, 2, 7, jk="last").load_state_dict(torch.load(path, weights_only=True))


@pytest.mark.parametrize("act", [torch.nn.ELU(0.3), torch.nn.LeakyReLU(0.1), torch.nn.Softshrink(0.2)])
def test_modules_of_torch_come_back_with_their_arguments(act, graph, tmp_path):
    tables = run_grid(grid({"own": {"act": act}}, num_layers=2, **SMALL), cache=None)
    model = load_model(tables.save_checkpoints(tmp_path)[0])
    assert repr(model.act) == repr(act)
    logits = tables.model()(graph.x, graph.edge_index)
    assert torch.equal(model(graph.x, graph.edge_index), logits)


def test_an_axis_of_activations_is_a_column_and_arms_with_one_each_have_none():
    acts = run_grid(grid(["ReLU"], act=["elu", "gelu"], num_layers=1, **SMALL), cache=None).runs
    assert acts["act"].tolist() == ["elu", "gelu"]
    arms = run_grid(
        grid({"a": {"act": "elu"}, "b": {"act": torch.tanh}}, **SMALL | {"epochs": 2}), cache=None
    )
    assert "act" not in arms.runs


def test_a_function_of_ones_own_is_in_no_file(tmp_path):
    own = run_grid(grid({"own": {"act": lambda z: z.relu()}}, num_layers=2, **SMALL), cache=None)
    with pytest.raises(ValueError, match="lambda"):
        load_model(own.save_checkpoints(tmp_path)[0])


def test_a_damaged_checkpoint_is_an_error_and_never_other_numbers(tables, checkpoint):
    content, state = checkpoint.read_bytes(), load_model(checkpoint).state_dict()
    assert all(torch.equal(value, tables.states[2][name]) for name, value in state.items())
    assert zipfile.ZipFile(checkpoint).testzip() is None  # still a file for torch.load
    for place in np.random.default_rng(0).integers(len(content), size=200).tolist():
        damaged = bytearray(content)
        damaged[place] ^= 1 << (place % 8)
        checkpoint.write_bytes(damaged)
        with pytest.raises(ValueError, match=str(checkpoint)):
            load_model(checkpoint)
    for damaged in (content[:-100], b"", content + b"x"):
        checkpoint.write_bytes(damaged)
        with pytest.raises(ValueError, match=str(checkpoint)):
            load_model(checkpoint)
