"""Graphs and embeddings for hypothesis.

The examples are the same at every run; for others run pytest with --hypothesis-seed=random and `derandomize`
off.
"""

import numpy as np
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

quietly = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
seeds = st.integers(0, 2**32 - 1)


@st.composite
def graphs(draw):
    """An undirected graph of 2 to 9 nodes, with isolated nodes, repeated edges and self-loops."""
    n = draw(st.integers(2, 9))
    pairs = [(i, j) for i in range(n) for j in range(i + 1)]
    edges = draw(st.lists(st.sampled_from(pairs)))
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
