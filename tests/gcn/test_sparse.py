import pytest
import torch

from deadgcn.gcn import sparse
from deadgcn.gcn.sparse import SparseFeatures, sparse_product


def test_features_times_each_runs_own_mask_by_hand():
    x = torch.tensor([[0.0, 2.0, 0.0], [4.0, 0.0, 8.0]])
    features = SparseFeatures.from_dense(x).times(torch.tensor([[1.0, 0.0, 3.0], [0.5, 1.0, 1.0]]))
    first, second = (matrix.to_dense() for matrix in features.matrices)
    assert first.tolist() == [[0, 2, 0], [0, 0, 24]]
    assert second.tolist() == [[0, 1, 0], [4, 0, 8]]
    ones = torch.ones(2, 3, 1)
    assert features.product(ones)[:, :, 0].tolist() == [[2, 24], [1, 12]]  # sums of rows
    assert features.transposed_product(ones[:, :2])[:, :, 0].tolist() == [[0, 2, 24], [4, 1, 8]]  # of columns


@pytest.mark.parametrize(("block", "number"), [(100, 3), (1_000, 1)])
def test_products_are_the_dense_ones_in_any_number_of_blocks(block, number, twin, monkeypatch):
    monkeypatch.setattr(sparse, "BLOCK", block)
    features = SparseFeatures.from_dense(twin.x)
    assert len(features.transposed[0]) == number
    weight, grad = torch.randn(2, twin.num_features, 5), torch.randn(2, twin.num_nodes, 5)
    torch.testing.assert_close(features.product(weight), twin.x @ weight, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(features.transposed_product(grad), twin.x.T @ grad, rtol=1e-5, atol=1e-5)


def test_the_memory_for_a_product_is_overwritten_or_added_to(twin_adj):
    h = torch.randn(2, twin_adj.shape[0], 5)
    expected = twin_adj.to_dense() @ h
    memory = torch.full_like(h, torch.nan)
    assert sparse_product(twin_adj, h, memory) is memory
    torch.testing.assert_close(memory, expected)
    torch.testing.assert_close(sparse_product(twin_adj, h, memory, beta=1), 2 * expected)
