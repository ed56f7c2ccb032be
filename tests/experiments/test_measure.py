"""Measures of any model: PyTorch Geometric's own, residual ones, and activations in every form."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch_geometric.data import HeteroData
from torch_geometric.nn import GAT, GCN, GCN2Conv, GCNConv

from deadgcn.experiments.measure import activations, layer, measure
from deadgcn.gcn.neurons import dead_fraction, zero_fraction
from deadgcn.gcn.records import LAYER_COLUMNS
from deadgcn.gcn.smoothing import all_measures


class Own(nn.Module):
    """Three convolutions with an activation of one's choice, and a head."""

    def __init__(self, graph, act, residual=False, norm=False):
        super().__init__()
        self.convs = nn.ModuleList(GCNConv(d, 8) for d in (graph.num_features, 8, 8))
        self.norm = nn.BatchNorm1d(8) if norm else nn.Identity()
        self.lin, self.act, self.residual = nn.Linear(8, 7), act, residual

    def forward(self, x, edge_index):
        for number, conv in enumerate(self.convs):
            h = self.act(self.norm(conv(x, edge_index)))
            x = layer(h + x, "sum") if self.residual and number else h
        return self.lin(x)


FORMS = [nn.ReLU(), F.relu, torch.relu, torch.Tensor.relu, torch.relu_, lambda z: F.relu(z, inplace=True)]


@pytest.mark.parametrize("act", FORMS)
def test_activations_are_found_in_every_form(act, twin):
    torch.manual_seed(3)
    model = Own(twin, act)
    expected, x = [], twin.x
    for conv in model.convs:
        x = conv(x, twin.edge_index).clamp(min=0)
        expected.append(x)
    table = measure(model, twin)
    assert table["name"].tolist() == ["relu"] * 3 and table["layer"].tolist() == [1, 2, 3]
    assert table["weights"].tolist() == [f"convs.{i}.lin.weight" for i in range(3)]
    assert list(table.columns) == ["layer", "name", "weights", "channels", *LAYER_COLUMNS]
    for row, post in zip(table.to_dict("records"), expected, strict=True):
        assert row["dead_fraction"] == dead_fraction(post).item()
        assert row["zero_fraction"] == pytest.approx(zero_fraction(post).item())
        for name, value in all_measures(post, twin.edge_index).items():
            assert row[name] == pytest.approx(value.item(), rel=1e-6), name
    assert all(torch.equal(a, b) for a, b in zip(activations(model, twin), expected, strict=True))


def test_norms_are_those_of_the_layers_own_weights(twin):
    model = Own(twin, F.elu, norm=True)
    model.eval()
    F.cross_entropy(model(twin.x, twin.edge_index)[twin.train_mask], twin.y[twin.train_mask]).backward()
    expected = [(conv.lin.weight.norm().item(), conv.lin.weight.grad.norm().item()) for conv in model.convs]
    found = measure(model, twin)[["weight_norm", "gradient_norm"]].to_numpy()
    assert found == pytest.approx(torch.tensor(expected).numpy(), rel=1e-5)


def test_the_model_is_as_before_and_its_hooks_are_gone(twin):
    model = Own(twin, nn.ReLU(), norm=True).train()
    model.convs[1].eval()  # each module has its own mode
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    measure(model, twin, modules=[model.norm])
    with pytest.raises(RuntimeError):
        measure(model, twin, modules=[model.norm], forward=lambda: model(twin.x[:, :5], twin.edge_index))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.relu(torch.tensor([-1.0])).item() == 0 and layer(twin.x) is twin.x  # outside: no recorder


def test_modules_and_marks_stand_for_layers_in_place_of_activations(twin):
    model = Own(twin, nn.ReLU(), norm=True)
    table = measure(model, twin, modules=[model.norm])
    assert table["name"].tolist() == ["norm"] * 3 and (table["dead_fraction"] == 0).all()
    marked = measure(Own(twin, F.relu, residual=True), twin)
    assert marked["name"].tolist() == ["sum"] * 2
    assert marked["weight_norm"][0] > marked["weight_norm"][1]  # of the first two convolutions


class GCNII(nn.Module):
    """Chen et al. 2020: initial residuals and identity maps."""

    def __init__(self, graph):
        super().__init__()
        self.first, self.last = nn.Linear(graph.num_features, 8), nn.Linear(8, 7)
        self.convs = nn.ModuleList(GCN2Conv(8, alpha=0.1, theta=0.5, layer=i) for i in (1, 2, 3))

    def forward(self, x, edge_index):
        x = first = self.first(x).relu()
        for conv in self.convs:
            x = conv(x, first, edge_index).relu()
        return self.last(x).log_softmax(-1)


@pytest.mark.parametrize(
    ("build", "depth"),
    [
        (lambda g: GCN(g.num_features, 8, 4, 7), 3),
        (lambda g: GCN(g.num_features, 8, 4, 7, jk="last", act="elu"), 4),
        (lambda g: GAT(g.num_features, 8, 4, 7, heads=2), 3),  # and no activation of its attention
        (GCNII, 4),
    ],
)
def test_pygs_models_have_as_many_layers_as_activations_of_nodes(build, depth, twin):
    model = build(twin)
    table = measure(model, twin)
    assert len(table) == depth and table.drop(columns="name").notna().all(axis=None)
    for post, row in zip(activations(model, twin), table.to_dict("records"), strict=True):
        assert row["norm"] == pytest.approx(post.norm().item(), rel=1e-5)


def test_clamping_at_zero_is_found_and_a_layer_that_is_not_shows_in_the_weights(twin):
    assert measure(Own(twin, lambda z: z.clamp(min=0)), twin)["name"].tolist() == ["clamp"] * 3
    for act in (lambda z: torch.clamp(z, 0), lambda z: torch.clamp_min(z, 0.0)):
        assert len(measure(Own(twin, act), twin)) == 3
    bounds = {"max": 0}, {"min": 0, "max": 6}, {"min": 0.5}, {"min": torch.zeros(8)}
    for bound in bounds:
        with pytest.raises(ValueError, match="modules"):
            measure(Own(twin, lambda z, bound=bound: z.clamp(**bound)), twin)
    acts = iter([F.relu, lambda z: torch.where(z > 0, z, 0), F.relu])
    table = measure(Own(twin, lambda z: next(acts)(z)), twin)
    assert table["weights"].tolist() == ["convs.0.lin.weight", "convs.1.lin.weight, convs.2.lin.weight"]


def test_the_split_of_the_gradient_is_chosen(twin):
    model, graph = Own(twin, F.relu), twin.clone()
    graph.train_mask = torch.stack([twin.train_mask, twin.val_mask], 1)
    first, second = (measure(model, graph, split=split)["gradient_norm"] for split in (0, 1))
    assert first.equals(measure(model, twin)["gradient_norm"]) and not first.equals(second)


@pytest.mark.parametrize(
    ("forward", "told"), [(lambda: None, "NoneType"), (lambda: torch.ones(300, 6), r"300, at least 7.*6")]
)
def test_logits_that_do_not_fit_are_told(forward, told, twin):
    model = Own(twin, F.relu)
    with pytest.raises(ValueError, match=told):
        measure(model, twin, forward=lambda: [model(twin.x, twin.edge_index), forward()][1])
    with pytest.raises(TypeError) as error:
        measure(nn.Sequential(nn.ReLU()), twin)
    assert "forward=" in "".join(error.value.__notes__)


def test_a_graph_without_labels_has_no_gradient_and_directed_edges_count_both_ways(twin):
    model, bare = GCN(twin.num_features, 8, 3, 7), twin.clone()
    for key in ("y", "train_mask"):
        del bare[key]
    table = measure(model, bare)
    assert table["gradient_norm"].isna().all() and table["rayleigh_quotient"].notna().all()


def test_without_a_layer_it_says_what_to_do(twin):
    with pytest.raises(ValueError, match="modules"):
        measure(GCN(twin.num_features, 8, 1, 7), twin)
    with pytest.raises(ValueError, match="modules"):
        measure(Own(twin, F.relu), twin, modules=[nn.ReLU()])


def test_what_has_no_gradient_has_no_norm_of_it(twin):
    model = Own(twin, F.relu)
    expected = measure(model, twin)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert measure(model, twin).equals(expected)
    frozen = measure(model.requires_grad_(False), twin)
    assert frozen["gradient_norm"].isna().all()
    assert frozen.drop(columns="gradient_norm").equals(expected.drop(columns="gradient_norm"))


def test_data_that_do_not_fit_are_refused_in_a_sentence(twin):
    several = twin.clone()
    several.train_mask = torch.stack([twin.train_mask] * 3, dim=1)
    for split in (3, -1):
        with pytest.raises(ValueError, match=f"split must be 0 to 2, .* is {split}"):
            measure(Own(twin, F.relu), several, split=split)
    several.edge_index = None
    with pytest.raises(ValueError, match="edge_index"):
        measure(Own(twin, F.relu), several)


def change(data, **values):
    changed = data.clone()
    for name, value in values.items():
        changed[name] = value
    return changed


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda data: None, "NoneType"),
        (lambda data: HeteroData(), "HeteroData"),
        (lambda data: change(data, edge_index=None), "edge_index"),
        (lambda data: change(data, edge_index=data.edge_index.T), r"edge_index .*\[2, E\]"),
        (lambda data: change(data, edge_index=data.edge_index + 1), "edge_index .* 300"),
        (lambda data: change(data, train_mask=data.train_mask.nonzero()[:, 0]), "train_mask .*int64"),
        (lambda data: change(data, train_mask=data.train_mask[:-1]), "train_mask .*299"),
        (lambda data: change(data, y=data.y - 1), "y must be .*-1"),
    ],
)
def test_a_graph_that_cannot_be_measured_is_refused(broken, message, twin):
    with pytest.raises(ValueError, match=message):
        measure(GCN(1433, 4, 2, 7), broken(twin))
