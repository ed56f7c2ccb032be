import pytest
import torch

from deadgcn.gcn import smoothing
from deadgcn.gcn.structure import Structure

# Nodes 0 - 1 - 2 in a path, 3 - 4, and 5 alone.
EDGES = torch.tensor([[0, 1, 1, 2, 4, 3], [1, 0, 2, 1, 3, 4]])


def test_degrees_and_components_by_hand():
    graph = Structure.of(EDGES, 6)
    assert graph.degree.tolist() == [2, 3, 2, 2, 2, 1] and graph.degree.dtype == torch.float64
    assert graph.component.tolist() == [0, 0, 0, 1, 1, 2]


def test_repeated_edges_and_self_loops_count_once():
    loops = torch.tensor([[1, 5, 5], [1, 5, 5]])
    plain, other = Structure.of(EDGES, 6), Structure.of(torch.cat([EDGES.flip(1), loops, EDGES], dim=1), 6)
    assert all(map(torch.equal, plain, other))
    assert plain.edge_index.shape == (2, 6)


OF_GRAPHS = ["normalized_dirichlet_energy", "rayleigh_quotient", "distance_to_limit", "mean_average_distance"]


@pytest.mark.parametrize("name", ["all_measures", *OF_GRAPHS])
def test_edges_that_make_no_undirected_graph_are_refused_by_every_measure(name):
    measure, x = getattr(smoothing, name), torch.ones(6, 2)
    with pytest.raises(ValueError, match=r"edge_index .*both directions"):
        measure(x, EDGES[:, :3])
    for nodes in (EDGES + 2, EDGES - 1):
        with pytest.raises(ValueError, match=r"edge_index .*0 to 5"):
            measure(x, nodes)
