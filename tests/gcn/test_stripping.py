import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from gcn.strategies import quietly, seeds
from hypothesis import given
from hypothesis import strategies as st

from deadgcn.gcn.model import GCN
from deadgcn.gcn.stripping import _most_negative, strip_dead_neurons_, stripping_mask


def literal_mask(weight, dead, amount, among, rounding):
    """The rule for one matrix as three nested loops, with exact fractions."""
    mask = [[False] * len(weight[0]) for _ in weight]
    for neuron, row in enumerate(weight):
        if not dead[neuron]:
            continue
        candidates = [i for i, w in enumerate(row) if among == "all" or w < 0]
        share = amount * len(candidates)
        number = max(1, math.floor(share) if rounding == "floor" else math.ceil(share))
        for i in sorted(candidates, key=lambda i: (row[i], i))[:number]:
            mask[neuron][i] = True
    return mask


@quietly
@given(
    seed=seeds,
    width=st.integers(1, 100),
    percent=st.integers(1, 100),
    among=st.sampled_from(["negative", "all"]),
    rounding=st.sampled_from(["floor", "ceil"]),
    ties=st.booleans(),
)
def test_agrees_with_a_literal_loop(seed, width, percent, among, rounding, ties):
    rng = np.random.default_rng(seed)
    weight = torch.from_numpy(rng.normal(size=(3, 4, width)).astype(np.float32))
    weight[0, 1] = weight[0, 1].abs()  # nothing negative
    weight = (2 * weight).round() if ties else weight
    dead = torch.from_numpy(rng.random((3, 4)) < 0.5)
    dead[0, :2] = True
    pairs = zip(weight.tolist(), dead.tolist(), strict=True)
    expected = [literal_mask(*pair, Fraction(percent, 100), among, rounding) for pair in pairs]
    assert stripping_mask(weight, dead, percent / 100, among, rounding).tolist() == expected
    every_row = _most_negative(weight, percent / 100, among, rounding)  # without picking rows, for CUDA
    assert (every_row & dead[..., None]).tolist() == expected


@pytest.mark.parametrize(
    ("negatives", "amount", "floor", "ceil"),
    [(0, 0.1, 0, 0), (1, 0.1, 1, 1), (9, 0.1, 1, 1), (11, 0.1, 1, 2), (30, 0.1, 3, 3), (100, 0.29, 29, 29)],
)
def test_how_many_are_stripped(negatives, amount, floor, ceil):
    weight = torch.cat([-torch.arange(1.0, negatives + 1), torch.ones(5)])[None]
    dead = torch.tensor([True])
    for rounding, expected in (("floor", floor), ("ceil", ceil)):
        mask = stripping_mask(weight, dead, amount, rounding=rounding)
        assert mask.sum() == expected
        assert weight[mask].tolist() == sorted(weight[weight < 0].tolist())[:expected][::-1]


def dead_neurons():
    """Layer 1: neuron 2 of run 0; layer 2: none; layer 3: all of run 1."""
    dead = [torch.zeros(2, 6, dtype=torch.bool) for _ in range(3)]
    dead[0][0, 2] = True
    dead[2][1] = True
    return dead


def test_a_strip_touches_the_chosen_weights_only():
    model, dead = GCN(7, 6, 3, num_layers=3, seeds=(0, 1)), dead_neurons()
    before = [weight.detach().clone() for weight in model.weights]
    others = [model.head_weight.detach().clone(), *(bias.detach().clone() for bias in model.biases)]
    changed = strip_dead_neurons_(model, dead, amount=0.5)
    masks = [stripping_mask(w, d, 0.5) for w, d in zip(before, dead, strict=True)]
    for weight, old, mask in zip(model.weights, before, masks, strict=True):
        assert torch.equal(weight, old.masked_fill(mask, 0))
    assert changed.tolist() == [sum(mask[run].sum().item() for mask in masks) for run in (0, 1)]
    assert changed.min() > 0
    assert all(torch.equal(a, b) for a, b in zip(others, [model.head_weight, *model.biases], strict=True))


def test_a_revived_neuron_fires():
    """One negative weight kills the neuron; stripping it is enough, because the features are positive."""
    model = GCN(2, 1, 2, num_layers=1)
    with torch.no_grad():
        model.weights[0].copy_(torch.tensor([[[-3.0, 1.0]]]))
    x, adj = torch.rand(4, 2) + 0.5, torch.eye(4).to_sparse_csr()
    assert (model(x, adj)[1][0] == 0).all()
    strip_dead_neurons_(model, [torch.tensor([[True]])])
    assert (model(x, adj)[1][0] > 0).all()


@pytest.mark.parametrize(
    "options",
    [
        {"amount": 0},
        {"amount": 1.5},
        {"among": "positive"},
        {"rounding": "up"},
        {"dead": [torch.ones(2, 6, dtype=torch.bool)]},
        {"dead": [torch.ones(2, 5, dtype=torch.bool)] * 3},
        {"dead": [torch.ones(2, 6)] * 3},
    ],
)
def test_bad_choices_are_refused_by_name(options):
    ((name, value),) = options.items()
    given = value if name != "dead" else ""
    with pytest.raises(ValueError, match=f"{name} .*{given}"):
        strip_dead_neurons_(GCN(7, 6, 3, num_layers=3, seeds=(0, 1)), **{"dead": dead_neurons(), **options})
