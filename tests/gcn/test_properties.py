"""What must hold for any graph, any weights and any grid, where examples would say less.

The examples are the same at every run; for a search among others run pytest with --hypothesis-seed=random
and `derandomize` off.
"""

import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from deadgcn.config import Config
from deadgcn.experiments import grid as experiments
from deadgcn.experiments.grid import METHODS, grid
from deadgcn.experiments.tables import checkpoint_name
from deadgcn.gcn import smoothing
from deadgcn.gcn.neurons import dead_fraction, dead_mask, zero_fraction
from deadgcn.gcn.smoothing import all_measures
from deadgcn.gcn.stripping import stripping_mask
from deadgcn.stats.estimates import paired_difference, summarize
from deadgcn.stats.inference import holm

quietly = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
GROWS = {"dirichlet_energy": 1, "distance_to_mean": 1, "norm": 1, "normalized_dirichlet_energy": 2}
BOUNDS = {
    "rayleigh_quotient": (0, 2),
    "distance_to_limit": (0, 1),
    "relative_distance_to_mean": (0, 1),
    "mean_average_distance": (0, 2),
    "rank_one_distance": (0, 1),
}
seeds = st.integers(0, 2**32 - 1)


@st.composite
def graphs(draw):
    """Any undirected graph of 2 to 9 nodes, with isolated nodes and components, in any order of edges."""
    n = draw(st.integers(2, 9))
    pairs = [(i, j) for i in range(n) for j in range(i)]
    edges = draw(st.lists(st.sampled_from(pairs), unique=True))
    both = draw(st.permutations([*edges, *((j, i) for i, j in edges)]))
    return n, torch.tensor(both, dtype=torch.int64).reshape(-1, 2).T


@st.composite
def embeddings(draw):
    """A graph with embeddings, a few rows and columns of which are exactly 0."""
    n, edge_index = draw(graphs())
    rng = np.random.default_rng(draw(seeds))
    x = rng.normal(size=(n, draw(st.integers(1, 5))))
    x[rng.random(n) < draw(st.sampled_from([0, 0.3]))] = 0
    x[:, rng.random(x.shape[1]) < draw(st.sampled_from([0, 0.3]))] = 0
    return torch.from_numpy(x), edge_index


def agree(one, other, factor=1.0, powers=GROWS):
    for name, value in one.items():
        expected = value * factor ** powers.get(name, 0)
        torch.testing.assert_close(other[name], expected, rtol=1e-9, atol=1e-9, equal_nan=True)


@quietly
@given(drawn=embeddings(), exponent=st.integers(-100, 100), stretch=st.floats(0.5, 2, allow_subnormal=False))
def test_the_size_counts_where_it_should_and_nowhere_else(drawn, exponent, stretch):
    x, edge_index = drawn
    factor = 2.0**exponent
    own, scaled = all_measures(x, edge_index), all_measures(x * factor, edge_index)
    for name, value in own.items():  # a power of two changes no bit
        expected = value * factor ** GROWS.get(name, 0)
        assert torch.equal(scaled[name], expected) or (value.isnan() and scaled[name].isnan()), name
    agree(own, all_measures(x * stretch, edge_index), stretch)


@quietly
@given(drawn=embeddings(), seed=seeds)
def test_neither_the_names_of_nodes_nor_the_axes_of_channels_matter(drawn, seed):
    x, edge_index = drawn
    own = all_measures(x, edge_index)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    renamed = torch.empty_like(x)
    renamed[order] = x
    agree(own, all_measures(renamed, order[edge_index]))
    basis = np.linalg.qr(np.random.default_rng(seed).normal(size=(x.shape[1], x.shape[1])))[0]
    agree(own, all_measures(x @ torch.from_numpy(basis), edge_index))


@quietly
@given(drawn=embeddings(), seed=seeds)
def test_each_matrix_of_a_batch_is_measured_as_if_alone_and_within_its_bounds(drawn, seed):
    x, edge_index = drawn
    other = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(seed))
    broken = other.clone()
    broken[0, 0] = torch.nan
    together = all_measures(torch.stack([x, torch.zeros_like(x), broken, other]), edge_index)
    for place, one in ((0, x), (3, other)):
        for name, value in all_measures(one, edge_index).items():
            assert torch.equal(together[name][place].nan_to_num(-1), value.nan_to_num(-1)), name
    for name, values in together.items():
        assert values[1] == 0 if name in GROWS else values[1].isnan(), name
        # An energy sums over edges: what is broken at a node without any is not in it.
        assert values[2].isnan() or ("energy" in name and not (edge_index[0] == 0).any()), name
        low, high = BOUNDS.get(name, (0, math.inf))
        assert (values[[0, 3]].nan_to_num(low) >= low - 1e-12).all(), name
        assert (values[[0, 3]].nan_to_num(low) <= high + 1e-12).all(), name
    stable, effective = together["stable_rank"][3], together["effective_rank"][3]
    assert 1 - 1e-9 <= stable <= effective**2 + 1e-9 and effective <= min(x.shape) + 1e-9


@quietly
@given(drawn=embeddings())
def test_energies_are_the_sums_that_their_formulas_say(drawn):
    x, edge_index = drawn
    rows, edges = x.tolist(), edge_index.T.tolist()
    degree = [1 + sum(source == node for source, _ in edges) for node in range(len(rows))]
    plain = sum((a - b) ** 2 for i, j in edges for a, b in zip(rows[i], rows[j], strict=True))
    normed = sum(
        (a / math.sqrt(degree[i]) - b / math.sqrt(degree[j])) ** 2
        for i, j in edges
        for a, b in zip(rows[i], rows[j], strict=True)
    )
    energy = smoothing.dirichlet_energy(x, edge_index).item()
    assert energy == pytest.approx(math.sqrt(plain / len(rows)), abs=1e-12)
    assert smoothing.normalized_dirichlet_energy(x, edge_index).item() == pytest.approx(normed / 2, abs=1e-12)


@quietly
@given(n=st.integers(1, 12), seed=seeds, threshold=st.integers(1, 24).map(lambda k: k / 24))
def test_a_neuron_is_dead_where_its_definition_says(n, seed, threshold):
    rng = np.random.default_rng(seed)
    post = torch.from_numpy(
        rng.choice([0.0, -0.0, 1.0, -2.0, np.nan], p=[0.6, 0.2, 0.1, 0.05, 0.05], size=(n, 6))
    )
    zeros = [sum(value == 0 for value in column) for column in post.T.tolist()]
    expected = [Fraction(count, n) >= Fraction(threshold).limit_denominator(24) for count in zeros]
    assume(not any(column != column for column in post.flatten().tolist()) or threshold == 1)
    assert dead_mask(post, threshold).tolist() == expected
    assert dead_fraction(post, threshold).item() == pytest.approx(sum(expected) / 6)
    if not post.isnan().any():
        assert zero_fraction(post).item() == pytest.approx(sum(zeros) / (6 * n))


@quietly
@given(
    seed=seeds,
    width=st.integers(1, 30),
    percent=st.integers(1, 100),
    among=st.sampled_from(["negative", "all"]),
    rounding=st.sampled_from(["floor", "ceil"]),
)
def test_the_most_negative_weights_of_dead_neurons_are_chosen_and_no_others(
    seed, width, percent, among, rounding
):
    rng = np.random.default_rng(seed)
    weight = torch.from_numpy(rng.integers(-4, 5, size=(3, 4, width)).astype(np.float32))  # with ties
    dead = torch.from_numpy(rng.random((3, 4)) < 0.5)
    chosen = stripping_mask(weight, dead, percent / 100, among, rounding)
    assert not chosen[~dead].any()
    for row, mask in zip(weight[dead].tolist(), chosen[dead].tolist(), strict=True):
        candidates = [value for value in row if value < 0 or among == "all"]
        share = Fraction(percent, 100) * len(candidates)
        number = max(1, math.floor(share) if rounding == "floor" else math.ceil(share))
        assert sum(mask) == min(number, len(candidates))
        taken = [value for value, is_chosen in zip(row, mask, strict=True) if is_chosen]
        left = [value for value, is_chosen in zip(row, mask, strict=True) if not is_chosen]
        assert all(value < 0 for value in taken) or among == "all"
        assert max(taken, default=-math.inf) <= min(left, default=math.inf)


axes = st.fixed_dictionaries(
    {
        "num_layers": st.lists(st.integers(0, 200), min_size=1, max_size=4, unique=True),
        "seed": st.lists(st.integers(0, 2**40), min_size=1, max_size=4, unique=True),
        "lr": st.lists(st.floats(1e-9, 1e3, allow_subnormal=False), min_size=1, max_size=3, unique=True),
        "dropout": st.lists(st.floats(0, 0.99, allow_subnormal=False), min_size=1, max_size=2, unique=True),
    }
)


@quietly
@given(values=axes, methods=st.lists(st.sampled_from(list(METHODS)), min_size=1, unique=True))
def test_a_grid_is_the_product_in_order_and_every_run_is_known_by_its_settings(values, methods):
    configs = grid(methods, **values)
    expected = [(method, *point) for method in methods for point in _product(*values.values())]
    assert [(c.method, *(getattr(c, name) for name in values)) for c in configs] == expected
    blocks = experiments._blocks(configs, "cpu")
    assert sum(map(len, blocks.values())) == len(configs)
    keys = {experiments._key(config, "cpu", blocks) for config in configs}
    assert len(keys) == len({checkpoint_name(config) for config in configs}) == len(configs)
    again = [Config.model_validate_json(config.model_dump_json()) for config in configs]
    assert again == configs
    assert {experiments._key(config, "cpu", blocks) for config in again} == keys


def _product(first=None, *others):
    if first is None:
        return [()]
    return [(value, *rest) for value in first for rest in _product(*others)]


@quietly
@given(seed=seeds, n=st.integers(2, 25), log=st.booleans())
def test_statistics_do_not_depend_on_the_order_of_rows_and_differences_have_two_sides(seed, n, log):
    rng = np.random.default_rng(seed)
    rows = [(method, s, value) for method in "ab" for s, value in enumerate(rng.lognormal(size=n))]
    table = pd.DataFrame(rows, columns=["method", "seed", "acc"]).assign(num_layers=1)
    table.loc[rng.integers(2 * n), "acc"] += 1
    shuffled = table.iloc[rng.permutation(len(table))]
    by_method = [
        frame.set_index("method").sort_index()
        for frame in (summarize(table, "acc"), summarize(shuffled, "acc"))
    ]
    pd.testing.assert_frame_equal(*by_method, rtol=1e-9 if n < 20 else 0.2)  # BCa draws by place
    there = paired_difference(table, "acc", "a", "b", log=log).iloc[0]
    back = paired_difference(shuffled, "acc", "b", "a", log=log).iloc[0]
    mirrored = 1 / back["difference"] if log else -back["difference"]
    assert there["difference"] == pytest.approx(mirrored, rel=1e-9, abs=1e-12)
    assert there["p_value"] == pytest.approx(back["p_value"], rel=1e-6)


@quietly
@given(st.lists(st.floats(0, 1, allow_subnormal=False), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_never_helps(values):
    raw = np.array(values)
    corrected = holm(values)
    assert (corrected >= raw).all() and (corrected <= 1).all()
    assert (np.diff(corrected[raw.argsort(kind="stable")]) >= 0).all()
    assert corrected.min() == pytest.approx(min(1, len(raw) * raw.min()))
