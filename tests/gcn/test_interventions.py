"""Interventions against plain loops on PyTorch Geometric's network, and what none of them may change."""

import math

import numpy as np
import pytest
import torch
from gcn.oracle import Recorded, same_result
from gcn.strategies import quietly, seeds
from gcn.test_divergence import absurd
from gcn.test_training import Stripping, check_run, literal_run
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import Data

from deadgcn.config import CHOOSING_WEIGHTS, INTERVENTIONS, WITH_DOSE, Config
from deadgcn.gcn.engine import Passes
from deadgcn.gcn.interventions import Intervention, lift_, rescale_, shrink_live_
from deadgcn.gcn.model import GCN
from deadgcn.gcn.stripping import stripping_mask
from deadgcn.gcn.training import _flatten_, train

SMALL = {"num_layers": 4, "hidden_channels": 8, "epochs": 12}
LOST = []  # the number of weights that a donor lost, and the sum of |w|, in each epoch and layer


class Drawn(Stripping):
    """A share of the neurons, drawn once after the weights."""

    def __init__(self, *args):
        super().__init__(*args)
        width, self.chosen = self.config.hidden_channels, []
        for _ in self.model.convs:
            places = torch.randperm(width, generator=self.generator).tolist()
            self.chosen.append([i for i in range(width) if places[i] < round(self.config.dose * width)])


class Partial(Drawn):
    def on_layer(self, layer, weight, dead):
        return super().on_layer(layer, weight, [i for i in dead if i in self.chosen[layer]])


class Held(Drawn):
    """Silenced neurons are held at 0, frozen ones at their initial weights."""

    def __init__(self, *args):
        super().__init__(*args)
        kept = self.config.intervention == "freeze"
        self.held = [
            (conv, neurons, kept * conv.lin.weight[neurons])
            for conv, neurons in zip(self.model.convs, self.chosen, strict=True)
        ]
        self.after_step()

    def after_step(self):
        for conv, neurons, weight in self.held:
            conv.lin.weight[neurons] = weight
            conv.bias[neurons] = 0

    def on_neuron(self, weight, neuron):
        return []


class Leaky(Stripping):
    def __init__(self, config, model, *args):
        class Act(torch.autograd.Function):
            @staticmethod
            def forward(ctx, pre):
                ctx.save_for_backward(pre)
                return pre.relu()

            @staticmethod
            def backward(ctx, grad):
                return torch.where(ctx.saved_tensors[0] > 0, grad, config.dose * grad)

        super().__init__(config, model, *args)
        model.act = Recorded(Act.apply)

    def on_neuron(self, weight, neuron):
        return []


class Donor(Stripping):
    def on_layer(self, layer, weight, dead):
        before = weight.clone()
        count = super().on_layer(layer, weight, dead)
        LOST.append((count, (before - weight).abs().sum().item()))
        return count


class Sham(Stripping):
    def on_layer(self, layer, weight, dead):
        return shrink_literally(weight, dead, *LOST.pop(0))


def shrink_literally(weight, dead, count, total):
    """Take ``total`` from the ``count`` most negative weights of neurons that are not dead."""
    live = [(w, i, j) for i, row in enumerate(weight.tolist()) for j, w in enumerate(row) if i not in dead]
    chosen = sorted(entry for entry in live if entry[0] < 0)[:count]
    have = -sum(w for w, _, _ in chosen)
    for w, i, j in chosen:
        weight[i, j] = w * (1 - min(1, total / have))
    return len(chosen)


class MostPositive(Stripping):
    def ordered(self, weight, neuron, negative):
        positive = (weight[neuron] > 0).nonzero().flatten().tolist()
        return sorted(positive, key=lambda i: -weight[neuron, i].item())


class RandomNegative(Stripping):
    def on_layer(self, layer, weight, dead):
        self.draws = torch.rand(weight.shape, generator=self.generator)
        return super().on_layer(layer, weight, dead)

    def ordered(self, weight, neuron, negative):
        return sorted(negative, key=lambda i: -self.draws[neuron, i].item())


class BiasShift(Stripping):
    def after_epoch(self, dead):
        h, pres = self.inputs[0], []
        for conv in self.model.convs:
            pres.append(conv(h, *self.inputs[1:]))
            h = pres[-1].relu()
        for conv, pre, mask in zip(self.model.convs, pres, dead, strict=True):
            for i in mask.nonzero().flatten().tolist():
                value = sorted(pre[:, i].tolist())[-math.ceil(0.05 * len(pre))]
                conv.bias[i] += -value + (1e-4 * (abs(value) + abs(conv.bias[i].item())) or 1e-12)
        return sum(mask.sum().item() for mask in dead)


class Rescale(Stripping):
    def on_layer(self, layer, weight, dead):
        norm = weight.norm()
        count = super().on_layer(layer, weight, dead)
        weight *= norm / weight.norm()
        return count


class ResetMoments(Stripping):
    def on_neuron(self, weight, neuron):
        chosen = super().on_neuron(weight, neuron)
        for name in ("exp_avg", "exp_avg_sq"):
            self.optimizer.state[weight][name][neuron, chosen] = 0
        return chosen


CASES = [
    ("partial", Partial, {"dose": 0.5}),
    ("sham", Sham, {}),
    ("sham", Sham, {"death_nodes": "val", "seed": 5}),
    ("most positive", MostPositive, {}),
    ("random negative", RandomNegative, {}),
    ("random negative", RandomNegative, {"dropout": 0.3}),
    ("bias shift", BiasShift, {}),
    ("rescale", Rescale, {"death_nodes": "val"}),
    ("reset moments", ResetMoments, {}),
    ("leaky gradient", Leaky, {"dose": 0.3}),
    ("silence", Held, {"dose": 0.25, "weight_decay": 0.1}),
    ("freeze", Held, {"dose": 0.5, "decoupled": True, "weight_decay_on": "first", "weight_decay": 5.0}),
]


@pytest.fixture
def five():
    """A path of four nodes and an isolated one."""
    edges = torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])
    x = torch.rand(5, 6, generator=torch.Generator().manual_seed(4))
    masks = {"train_mask": [1, 0, 1, 0, 0], "val_mask": [0, 1, 0, 0, 1], "test_mask": [0, 0, 0, 1, 0]}
    masks = {name: torch.tensor(mask, dtype=torch.bool) for name, mask in masks.items()}
    return Data(x=x, edge_index=edges, y=torch.tensor([0, 1, 4, 2, 3]), **masks)


@pytest.mark.parametrize("nodes", ["five", "twin"])
@pytest.mark.parametrize(("name", "literal", "settings"), CASES)
def test_agrees_with_loops_on_pygs_network(name, literal, settings, nodes, request):
    graph = request.getfixturevalue(nodes)
    config = Config(intervention=name, **{"seed": 2, **SMALL, **settings})
    if name == "sham":
        literal_run(config.model_copy(update={"intervention": "none", "strip": True}), graph, Donor)
    changed = sum(check_run(config, graph, literal))
    assert not LOST
    assert (changed > 0) == (name not in ("silence", "freeze", "leaky gradient"))


@pytest.mark.parametrize("name", INTERVENTIONS)
def test_a_run_does_not_depend_on_its_neighbours(name, twin):
    options = {"intervention": name} | ({"dose": 0.5} if name in WITH_DOSE else {})
    options |= {"death_nodes": "val"} if name in (*CHOOSING_WEIGHTS, "bias shift") else {}
    configs = [Config(seed=seed, **SMALL, **options) for seed in (3, 0, 7)]
    together = train(configs, twin)
    backwards = train(configs[::-1], twin)[::-1]
    alone = [train([config], twin)[0] for config in configs]
    for results in zip(together, backwards, alone, strict=True):
        assert all(same_result(results[0], other) for other in results[1:])
    assert not same_result(*together[:2])


@pytest.mark.parametrize("name", INTERVENTIONS)
def test_without_hidden_layers_there_is_nothing_to_do(name, twin):
    plain, found = (train([Config(num_layers=0, epochs=4, intervention=n)], twin)[0] for n in ("none", name))
    assert same_result(plain, found)


@pytest.mark.parametrize("name", ["partial", "silence", "freeze"])
def test_a_dose_of_no_neuron_changes_nothing(name, twin):
    arms = {}, {"intervention": name, "dose": 0.06}
    plain, found = (train([Config(**arm, **SMALL)], twin)[0] for arm in arms)
    assert same_result(plain, found)


def test_a_part_that_is_all_is_a_strip(twin):
    arms = {"strip": True}, {"intervention": "partial"}, {"intervention": "partial", "dose": 0.5}
    stripped, whole, half = (train([Config(**arm, **SMALL)], twin)[0] for arm in arms)
    assert same_result(stripped, whole) and not same_result(stripped, half)


@pytest.mark.parametrize("name", ["silence", "freeze"])
@pytest.mark.parametrize(("dose", "number"), [(0.35, 3), (0.5, 4), (1.0, 8)])
def test_as_many_neurons_as_the_dose_says_never_change(name, dose, number, twin):
    settings = {"intervention": name, "dose": dose, "weight_decay": 0.1, "init": "orthogonal"}
    config = Config(warmup=11, **SMALL, **settings)
    (result,) = train([config], twin)
    initial = GCN(1433, 8, 7, 4, init="orthogonal").run_state_dict(0)
    if name == "silence":
        initial = {key: torch.zeros_like(value) for key, value in initial.items()}
        for stage in ("init", "best", "last"):
            assert (result[stage]["dead_fraction"] >= number / 8).all()
        assert (result["epochs"]["dead_fraction"] >= number / 8).all()
    same = {key: value == initial[key] for key, value in result["best_state"].items()}
    same = [same[f"convs.{layer}.lin.weight"].all(1) & same[f"convs.{layer}.bias"] for layer in range(4)]
    assert [int(mask.sum()) for mask in same] == [number] * 4
    assert dose == 1 or len({tuple(mask.tolist()) for mask in same}) > 1  # each layer has its own


def test_a_donor_that_diverges_leaves_its_sham_finite(twin, monkeypatch):
    configs = [Config(intervention="sham", seed=seed, **SMALL) for seed in (2, 5)]
    sound = train(configs, twin)
    absurd(monkeypatch, run=0, first_step=6)  # the donor of the first
    found = train(configs, twin)
    assert [result["run"]["diverged_epoch"] for result in found] == [None, None]
    assert same_result(sound[1], found[1]) and found[1]["epochs"]["num_stripped"][7:].sum() > 0
    stripped = [result[0]["epochs"]["num_stripped"] for result in (sound, found)]
    assert np.array_equal(stripped[0][:6], stripped[1][:6]) and not stripped[1][6:].any()


DEAD = [torch.rand(3, 8, generator=torch.Generator().manual_seed(layer)) < 0.4 for layer in range(4)]


@pytest.fixture
def begin(twin, twin_adj):
    """Return an intervention on three networks after a step, and the masks of what a strip would take."""

    def begin(name):
        model = GCN(1433, 8, 7, 4, seeds=(3, 0, 7))
        values = _flatten_(model)
        values.grad.normal_()
        optimizer = torch.optim.Adam([values], fused=True)
        config = Config(intervention=name, amount=0.5, **SMALL)
        intervention = Intervention(Passes(model, twin.x, twin_adj), optimizer, config)
        optimizer.step()
        model.weights[1][:, :, 0] = 0
        return intervention, [stripping_mask(w, d, 0.5) for w, d in zip(model.weights, DEAD, strict=True)]

    with torch.no_grad():
        yield begin


@pytest.mark.parametrize("name", ["most positive", "random negative"])
def test_as_many_weights_as_a_strip_takes_are_zeroed(name, begin):
    intervention, masks = begin(name)
    sign = 1 if name == "most positive" else -1
    before = [sign * weight.clone() for weight in intervention.model.weights]
    changed = intervention.after_epoch_(DEAD)
    zeroed = [sign * w != old for w, old in zip(intervention.model.weights, before, strict=True)]
    for weight, old, mask, gone in zip(intervention.model.weights, before, masks, zeroed, strict=True):
        assert (weight[gone] == 0).all() and (old[gone] > 0).all()
        assert torch.equal(gone.sum(-1), torch.minimum(mask.sum(-1), (old > 0).sum(-1)))
    assert changed.tolist() == sum(gone.sum((1, 2)) for gone in zeroed).tolist()
    assert changed.min() > 0


def test_moments_of_the_stripped_weights_alone_are_reset(begin):
    intervention, masks = begin("reset moments")
    (state,) = intervention.optimizer.state.values()
    before = {name: moment.clone() for name, moment in state.items()}
    changed = intervention.after_epoch_(DEAD)
    of_parameters = [
        torch.zeros_like(parameter, dtype=torch.bool) for parameter in intervention.model.parameters()
    ]
    of_parameters[2:6] = masks  # after the head's two
    expected = torch.cat([mask.flatten(1) for mask in of_parameters], 1)  # [R, P] without padding
    assert changed.tolist() == expected.sum(1).tolist() and changed.min() > 0
    for name in ("exp_avg", "exp_avg_sq"):
        reset = state[name] != before[name]
        assert (
            torch.equal(reset[:, : expected.shape[1]], expected) and not reset[:, expected.shape[1] :].any()
        )
        assert (state[name][reset] == 0).all()


@quietly
@given(seed=seeds, share=st.sampled_from([0, 0.3, 1]), scale=st.sampled_from([0.1, 1, 100]))
def test_a_sham_takes_the_same_number_and_sum_from_live_neurons(seed, share, scale):
    rng = np.random.default_rng(seed)
    weight = torch.from_numpy(rng.normal(size=(3, 4, 6))).float()
    dead, lost = torch.from_numpy(rng.random((3, 4)) < share), torch.from_numpy(rng.random((3, 4, 6)) < 0.2)
    taken = scale * lost * torch.from_numpy(rng.random((3, 4, 6))).float()
    expected, new = weight.clone(), weight.clone()
    changed = [
        shrink_literally(w, off.nonzero().flatten().tolist(), int(gone.sum()), taking.sum().item())
        for w, off, gone, taking in zip(expected, dead, lost, taken, strict=True)
    ]
    assert shrink_live_(new, dead, taken).tolist() == changed
    torch.testing.assert_close(new, expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(new != weight, expected != weight)


@quietly
@given(
    seed=seeds,
    n=st.sampled_from([1, 5, 19, 20, 21, 60, 100]),
    of_bias=st.sampled_from([0, 1e-4, 1, 1e4]),
    of_input=st.sampled_from([0, 1e-22, 1e-3, 1]),
    opposite=st.booleans(),
)
def test_a_lifted_neuron_fires_at_a_twentieth_of_the_nodes(seed, n, of_bias, of_input, opposite):
    rng = np.random.default_rng(seed)
    bias = torch.from_numpy(of_bias * rng.normal(size=(2, 6))).float()
    inputs = torch.from_numpy(of_input * rng.normal(size=(2, n, 6))).float()
    inputs -= opposite * bias[:, None]  # pre-activations near 0 that rounding makes 0
    pre = inputs + bias[:, None]
    dead, new, number = (pre <= 0).all(1), bias.clone(), -(-n // 20)
    other = torch.from_numpy(rng.random((2, 6)) < 0.3)  # a threshold may call others dead
    few = (pre > 0).sum(1) < number
    changed = lift_(new, pre, dead | other)
    lifted = (dead | other) & few
    assert torch.equal(new != bias, lifted) and (new >= bias).all()
    assert changed.tolist() == lifted.sum(1).tolist()
    fires = inputs + new[:, None] > 0
    assert (fires.sum(1)[lifted] >= number).all()
    value = pre.sort(1, descending=True).values[:, number - 1]
    slack = 3e-4 * (value.abs() + bias.abs())
    assert not (fires & (pre < (value - slack)[:, None]))[lifted[:, None].expand_as(fires)].any()


def test_rescaling_keeps_norms_and_leaves_other_runs_and_zeros_alone():
    old = torch.randn(4, 5, 6) * torch.tensor([1.0, 1.0, 1e-25, 1.0])[:, None, None]
    new = old.clone()
    new[0, 0, :3] = new[2, 1] = 0
    new[3] = 0
    stripped = new.clone()
    rescale_(new, old)
    assert torch.equal(new[1], old[1]) and not new[3].any()
    for run in (0, 2):
        assert torch.equal(new[run] == 0, stripped[run] == 0)
        assert new[run].double().norm().item() == pytest.approx(old[run].double().norm().item(), rel=1e-6)
