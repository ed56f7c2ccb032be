from fractions import Fraction

import numpy as np
import pytest
import torch
from gcn.strategies import quietly, seeds
from hypothesis import given
from hypothesis import strategies as st

from deadgcn.gcn.neurons import dead_fraction, dead_mask, zero_fraction

# 4 nodes, 3 neurons: the first is 0 everywhere, the second at three nodes, the third nowhere.
POST = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 2.0], [0.0, 5.0, 1.0], [0.0, 0.0, 1.0]])


@pytest.mark.parametrize(
    ("threshold", "expected"), [(1.0, [1, 0, 0]), (0.76, [1, 0, 0]), (0.75, [1, 1, 0]), (0.01, [1, 1, 0])]
)
@pytest.mark.parametrize("sign", [1, -1])  # negative values are not dead
def test_dead_means_zero_at_that_share_of_the_nodes(sign, threshold, expected):
    assert dead_mask(sign * POST, threshold).int().tolist() == expected
    assert dead_fraction(sign * POST, threshold).item() == pytest.approx(sum(expected) / 3)
    assert zero_fraction(sign * POST).item() == pytest.approx(7 / 12)


@quietly
@given(n=st.integers(1, 12), seed=seeds, threshold=st.integers(1, 24).map(lambda k: k / 24))
def test_agrees_with_a_literal_count_on_any_leading_dimensions(n, seed, threshold):
    rng = np.random.default_rng(seed)
    post = torch.from_numpy(rng.choice([0.0, -0.0, 1.0, -2.0], p=[0.6, 0.2, 0.1, 0.1], size=(2, n, 6)))
    zeros = [[sum(value == 0 for value in column) for column in one.T.tolist()] for one in post]
    share = Fraction(threshold).limit_denominator(24)
    expected = [[Fraction(count, n) >= share for count in counts] for counts in zeros]
    assert dead_mask(post, threshold).tolist() == expected
    assert dead_fraction(post, threshold).tolist() == pytest.approx([sum(row) / 6 for row in expected])
    assert zero_fraction(post).tolist() == pytest.approx([sum(counts) / (6 * n) for counts in zeros])


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_is_not_zero(bad):
    post = torch.tensor([[bad, 0.0], [0.0, 0.0]])
    assert dead_mask(post).tolist() == [False, True]
    assert dead_mask(post, 0.75).tolist() == [False, True] and dead_mask(post, 0.5).tolist() == [True, True]
    assert zero_fraction(post).item() == 0.75
    assert zero_fraction(torch.tensor([[bad], [1.0], [1.0], [0.0]])).item() == 0.25


@pytest.mark.parametrize("kind", [torch.bool, torch.int64, torch.uint8, torch.float16, torch.bfloat16])
def test_numbers_of_any_kind_are_counted(kind):
    assert dead_mask(POST.to(kind)).tolist() == [True, False, False]
    assert dead_fraction(POST.to(kind), 0.75).item() == pytest.approx(2 / 3)
    assert zero_fraction(POST.to(kind)).item() == pytest.approx(7 / 12)


@pytest.mark.parametrize("function", [dead_mask, dead_fraction, zero_fraction])
@pytest.mark.parametrize("post", [[[0.0]], torch.zeros(3), torch.zeros(0, 2), np.zeros((2, 2)), None])
def test_what_are_no_activations_is_refused(function, post):
    with pytest.raises(ValueError, match=r"\[\.\.\., N, d\]"):
        function(post)


@pytest.mark.parametrize("threshold", [0, -1, 1.1])
def test_bad_thresholds_are_refused(threshold):
    with pytest.raises(ValueError, match=f"threshold .*{threshold}"):
        dead_mask(POST, threshold)
