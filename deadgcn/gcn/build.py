"""What a config means on a graph: the networks, and the features and adjacency that they see."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from scipy.sparse.csgraph import reverse_cuthill_mckee
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import NormalizeFeatures
from torch_geometric.utils import to_scipy_sparse_matrix

from deadgcn.config import Config
from deadgcn.data.graphs import load_graph
from deadgcn.data.own import Content, checked, csr_matrix, normalized_adjacency
from deadgcn.gcn.embeddings import Graph
from deadgcn.gcn.interventions import silence_
from deadgcn.gcn.model import GCN


def build(configs: Sequence[Config], graph: Data) -> GCN:
    """The untrained networks of configs that differ in their seed only."""
    config, num_classes = configs[0], int(graph.y.max()) + 1
    sizes = graph.num_features, config.hidden_channels, num_classes, config.num_layers
    options = config.model_dump(include={"negative_slope", "bias", "dropout", "input_dropout", "init"})
    model = GCN(*sizes, act=config.act, **options, seeds=[config.seed for config in configs])
    if config.num_layers:  # Adam's steps do not depend on it: a small layer changes faster than the others
        model.weights[0].data *= config.first_gain
    if config.intervention == "leaky gradient":
        model.backward_slope = config.dose
    if config.intervention == "silence":
        silence_(model, config.dose)
    return model


def as_seen(graph: Data, normalize: bool, propagation: float) -> tuple[Data, Tensor]:
    """The graph, and the matrix by which networks of these settings average over neighbours.

    That is (1 - a) I + a Â for a = ``propagation``. The measures of smoothing keep the graph's edges.
    """
    if normalize:
        graph = NormalizeFeatures()(graph)
    adj = normalized_adjacency(graph.edge_index, graph.num_nodes)  # every node has a self-loop
    if propagation < 1:
        rows = torch.arange(graph.num_nodes).repeat_interleave(adj.crow_indices().diff())
        own = (rows == adj.col_indices()).to(adj.values())
        mixed = propagation * adj.values() + (1 - propagation) * own
        adj = csr_matrix(adj.crow_indices(), adj.col_indices(), mixed, adj.shape)
    return graph, adj


def on_device(
    graph: Data, device: torch.device, normalize: bool, propagation: float
) -> tuple[Data, Tensor, Graph]:
    """The graph and adjacency of :func:`as_seen`, and what measures need, on a device, the nodes reordered.

    Neighbours near each other in memory make the sparse product faster; no result names a node.
    """
    links = to_scipy_sparse_matrix(graph.edge_index, num_nodes=graph.num_nodes).tocsr()
    order = reverse_cuthill_mckee(links, symmetric_mode=True).astype("int64")
    graph, adj = as_seen(graph.subgraph(torch.from_numpy(order)), normalize, propagation)
    graph = graph.to(device)
    return graph, adj.to(device), Graph(graph.edge_index, graph.num_nodes)


@lru_cache(maxsize=8)
def prepared(
    source: str | Content, split: int, device: torch.device, normalize: bool, propagation: float
) -> tuple[Data, Tensor, Graph]:
    """The same for one split of a data set by name, or of a graph of one's own, once per process."""
    if isinstance(source, str):
        return on_device(load_graph(source, split=split), device, normalize, propagation)
    return on_device(checked(source.graph, split), device, normalize, propagation)
