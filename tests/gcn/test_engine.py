"""What passes in shared memory must not mix up: runs, earlier passes, nodes without a gradient; products."""

import pytest
import torch
from gcn.oracle import network

from deadgcn.gcn import sparse
from deadgcn.gcn.engine import Passes
from deadgcn.gcn.records import losses_and_gradient
from deadgcn.gcn.sparse import SparseFeatures, sparse_product


def gradient_of_logits(logits, graph, nodes):
    return losses_and_gradient(logits[:, nodes], graph.y[nodes])[1]


@pytest.mark.parametrize("options", [{"num_layers": 0}, {}, {"act": torch.tanh}])
def test_later_passes_owe_nothing_to_earlier_ones_and_use_the_same_memory(options, twin, twin_adj):
    nodes = twin.train_mask.nonzero().flatten()
    used = Passes(network(twin, **options), twin.x, twin_adj)
    places = [post.data_ptr() for post in used.activations]
    assert len(set(places)) == len(places) == used.model.num_layers
    for _ in range(2):
        used.backward(gradient_of_logits(used.forward(), twin, nodes), nodes)
        for weight in used.model.parameters():
            weight.data.add_(0.1)  # the next pass reads the new weights
    fresh = Passes(used.model, twin.x, twin_adj)
    logits = used.forward()
    assert torch.equal(logits, fresh.forward())
    grad = gradient_of_logits(logits, twin, nodes)
    assert all(map(torch.equal, used.backward(grad, nodes), fresh.backward(grad, nodes)))
    assert [post.data_ptr() for post in used.activations] == places


@pytest.mark.parametrize("act", [torch.mean, torch.Tensor.double, print], ids=["shape", "type", "nothing"])
def test_functions_that_are_no_activations_are_refused(act, twin, twin_adj):
    with pytest.raises(ValueError, match=rf"act .*\[300, 16\] of torch.float32 with .* {act.__name__} "):
        Passes(network(twin, act=act), twin.x, twin_adj).forward()


@pytest.mark.parametrize("block", [1, 2, 4096])
def test_features_times_each_runs_own_mask_by_hand(block, monkeypatch):
    monkeypatch.setattr(sparse, "BLOCK", block)
    x = torch.tensor([[0.0, 2.0, 0.0], [4.0, 0.0, 8.0]])
    masks = torch.tensor([[1.0, 0.0, 3.0], [0.5, 1.0, 1.0]])
    features = SparseFeatures.of(x.to_sparse_csr(), x[x != 0] * masks)
    expected = [[[0, 2, 0], [0, 0, 24]], [[0, 1, 0], [4, 0, 8]]]
    assert [matrix.to_dense().tolist() for matrix in features.matrices] == expected
    ones = torch.ones(2, 3, 1)
    assert sparse_product(features.matrices, ones)[:, :, 0].tolist() == [[2, 24], [1, 12]]  # sums of rows
    rows = torch.tensor([[[1.0], [10.0]]]).expand(2, 2, 1)
    assert features.transposed_product(rows)[:, :, 0].tolist() == [[0, 2, 240], [40, 1, 80]]


def test_products_are_the_dense_ones_whatever_the_memory_held(twin, twin_adj):
    for matrix, dense in ((twin_adj, twin_adj.to_dense()), (twin.x.to_sparse_csr(), twin.x)):
        h = torch.randn(3, dense.shape[1], 5)
        memory = torch.full((3, dense.shape[0], 5), torch.nan)
        assert sparse_product([matrix], h, memory) is memory
        torch.testing.assert_close(memory, dense @ h, rtol=1e-5, atol=1e-5)
