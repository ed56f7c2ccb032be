import torch

from deadgcn.gcn.sparse import SparseFeatures, sparse_product


def test_features_times_each_runs_own_mask_by_hand():
    x = torch.tensor([[0.0, 2.0, 0.0], [4.0, 0.0, 8.0]])
    masks = torch.tensor([[1.0, 0.0, 3.0], [0.5, 1.0, 1.0]])
    features = SparseFeatures.of(x.to_sparse_csr(), x[x != 0] * masks)
    expected = [[[0, 2, 0], [0, 0, 24]], [[0, 1, 0], [4, 0, 8]]]
    assert [matrix.to_dense().tolist() for matrix in features.matrices] == expected
    assert [matrix.to_dense().T.tolist() for matrix in features.transposed] == expected
    ones = torch.ones(2, 3, 1)
    assert sparse_product(features.matrices, ones)[:, :, 0].tolist() == [[2, 24], [1, 12]]  # sums of rows
    columns = sparse_product(features.transposed, ones[:, :2])[:, :, 0].tolist()
    assert columns == [[0, 2, 24], [4, 1, 8]]


def test_products_are_the_dense_ones_whatever_the_memory_held(twin, twin_adj):
    for sparse, dense in ((twin_adj, twin_adj.to_dense()), (twin.x.to_sparse_csr(), twin.x)):
        h = torch.randn(3, dense.shape[1], 5)
        memory = torch.full((3, dense.shape[0], 5), torch.nan)
        assert sparse_product([sparse], h, memory) is memory
        torch.testing.assert_close(memory, dense @ h, rtol=1e-5, atol=1e-5)
