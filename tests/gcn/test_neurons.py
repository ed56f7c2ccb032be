import pytest
import torch

from deadgcn.gcn.neurons import dead_fraction, dead_mask, zero_fraction

# 4 nodes, 3 neurons: the first is 0 everywhere, the second at three nodes, the third nowhere.
POST = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 2.0], [0.0, 5.0, 1.0], [0.0, 0.0, 1.0]])


def test_dead_means_zero_at_every_node():
    assert dead_mask(POST).tolist() == [True, False, False]
    assert dead_fraction(POST).item() == pytest.approx(1 / 3)
    assert zero_fraction(POST).item() == pytest.approx(7 / 12)


@pytest.mark.parametrize(
    ("threshold", "expected"), [(1.0, [1, 0, 0]), (0.76, [1, 0, 0]), (0.75, [1, 1, 0]), (0.01, [1, 1, 0])]
)
def test_threshold_is_the_share_of_nodes_at_zero(threshold, expected):
    assert dead_mask(POST, threshold).int().tolist() == expected


def test_negative_values_are_not_dead():
    assert dead_mask(-POST).tolist() == [True, False, False]
    assert dead_mask(-POST, 0.75).tolist() == [True, True, False]
    assert zero_fraction(-POST).item() == pytest.approx(7 / 12)


def test_nan_is_not_dead():
    post = torch.tensor([[torch.nan, 0.0], [0.0, 0.0]])
    assert dead_mask(post).tolist() == [False, True]


@pytest.mark.parametrize("threshold", [1.0, 0.9, 0.5])
def test_agrees_with_a_literal_loop_on_any_leading_dimensions(threshold):
    post = torch.randn(2, 3, 20, 5, generator=torch.Generator().manual_seed(0)).relu()
    post[0, 1, :, 2] = 0
    mask, zeros = dead_mask(post, threshold), zero_fraction(post)
    for i in range(2):
        for j in range(3):
            columns = post[i, j].T.tolist()  # 5 lists of 20
            counts = [sum(value == 0 for value in column) for column in columns]
            assert mask[i, j].tolist() == [count >= threshold * 20 for count in counts]
            assert zeros[i, j].item() == pytest.approx(sum(counts) / 100)


@pytest.mark.parametrize("threshold", [0, -1, 1.1])
def test_bad_thresholds_are_refused(threshold):
    with pytest.raises(ValueError, match=f"threshold must be in .*{threshold}"):
        dead_mask(POST, threshold)
