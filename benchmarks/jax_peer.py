"""The same training in JAX: runs side by side by `vmap`, all epochs in one `scan`, compiled as a whole.

JAX multiplies by a sparse matrix in three ways: its formats BCSR and BCOO, and sums over segments of edges.
Each of them is faster on all runs at once, as one product R times as wide, than run by run.
"""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap
from jax.experimental import sparse
from processes import COLUMNS, network, problem_of
from scipy.sparse import csr_array

import deadgcn as dg
from deadgcn.gcn.build import build


def train(configs: Sequence[dg.Config], products: str = "BCSR") -> dict[str, np.ndarray]:
    """Train runs that differ in their seed; return `COLUMNS` ``[R, epochs]``, and `test_acc` ``[R]``."""
    model = build(configs, problem_of(configs[0].dataset)[0])
    initial = [jnp.asarray(each.detach().numpy()) for each in model.parameters()]
    results = _training(configs[0], products, initial)
    return dict(zip((*COLUMNS, "test_acc"), (np.asarray(each).T for each in results), strict=True))


@partial(jax.jit, static_argnums=(0, 1))
def _training(config: dg.Config, products: str, initial: list) -> tuple:
    """Train from each run's initial parameters; return what :func:`train` does, transposed."""
    graph, (train_nodes, val_nodes, test_nodes), *matrices = problem_of(config.dataset)
    forward = partial(network, jnp, jax.nn.relu, [_product(matrix, products) for matrix in matrices])
    y = graph.y.numpy()

    def loss(parameters: list) -> tuple[jax.Array, tuple]:
        (of_train, of_val), dead = forward(parameters, train_nodes, val_nodes)
        log_p = jax.nn.log_softmax(of_train)[np.arange(len(train_nodes)), y[train_nodes]]
        return -log_p.mean(), ((of_val.argmax(1) == y[val_nodes]).mean(), dead)

    gradient_of = jax.vmap(jax.grad(loss, has_aux=True))

    def epoch(carry: tuple, now: tuple) -> tuple[tuple, tuple]:
        parameters, gradient, first, second, best, best_acc = carry
        counts, rate, scale = now  # whether it may be best and be stripped; Adam's corrections
        gradient = jax.tree.map(lambda g, p: g + config.weight_decay * p, gradient, parameters)
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, second, gradient)
        step = jax.tree.map(lambda m, v: rate * m / (jnp.sqrt(v) * scale + 1e-8), first, second)
        parameters = jax.tree.map(jnp.subtract, parameters, step)
        gradient, (acc, dead) = gradient_of(parameters)  # evaluates, and starts the next epoch
        improved, stripped = counts & (acc > best_acc), jnp.zeros(len(acc), int)
        best = jax.tree.map(lambda new, old: jax.vmap(jnp.where)(improved, new, old), parameters, best)
        if config.strip:
            for layer in range(2, 2 + config.num_layers):
                which = dead[:, layer - 2] & counts
                strip = partial(_strip, parameters[layer], which, config.amount)
                keep = partial(tuple, (parameters[layer], jnp.zeros_like(stripped)))
                parameters[layer], changed = jax.lax.cond(which.any(), strip, keep)
                stripped += changed
            gradient, _ = gradient_of(parameters)  # XLA leaves out the gradient above, which is not used
        carry = parameters, gradient, first, second, best, jnp.where(improved, acc, best_acc)
        return carry, (acc, dead.mean((1, 2)), stripped)

    zeros, epochs = jax.tree.map(jnp.zeros_like, initial), np.arange(config.epochs)
    counts = np.array([each >= config.warmup for each in epochs])
    # In double precision: near 1, float32 would be off by 1e-5.
    rates, scales = config.lr / (1 - 0.9 ** (epochs + 1)), 1 / np.sqrt(1 - 0.999 ** (epochs + 1))
    start = initial, gradient_of(initial)[0], zeros, zeros, initial, jnp.full(len(initial[0]), -1.0)
    end, columns = jax.lax.scan(epoch, start, (counts, rates, scales))
    (logits,), _ = jax.vmap(lambda best: forward(best, test_nodes))(end[4])
    return *columns, (logits.argmax(2) == y[test_nodes]).mean(1)


def _strip(weights: jax.Array, dead: jax.Array, amount: float) -> tuple[jax.Array, jax.Array]:
    """Strip a layer's dead neurons [R, d]; return its weights, and how many were changed in each run."""
    negative = (weights < 0).sum(2, keepdims=True)  # [R, d, 1]
    number = jnp.minimum(jnp.floor(amount * negative + 1e-6).clip(1), negative).astype(int)
    lowest = -jax.lax.top_k(-weights, max(1, int(amount * weights.shape[2])))[0]
    last = jnp.take_along_axis(lowest, (number - 1).clip(0), 2)
    chosen = (weights <= last) & (number > 0) & dead[..., None]
    return jnp.where(chosen, 0.0, weights), chosen.sum((1, 2))


def _product(matrix: csr_array, products: str) -> Callable:
    """Return the differentiable function h [n, d] -> matrix @ h."""
    forward, backward = (_times(each, products) for each in (matrix, matrix.T.tocsr()))
    product = jax.custom_vjp(forward)
    product.defvjp(lambda h: (forward(h), None), lambda _, gradient: (backward(gradient),))
    return product


def _times(matrix: csr_array, products: str) -> Callable:
    @custom_vmap
    def times(h: jax.Array) -> jax.Array:  # [n, d]
        if products == "segment sums":
            (rows, columns), entries = matrix.nonzero(), matrix.data[:, None]
            return jax.ops.segment_sum(entries * h[columns], rows, matrix.shape[0], indices_are_sorted=True)
        return getattr(sparse, products).from_scipy_sparse(matrix) @ h

    @times.def_vmap
    def of_runs(num_runs: int, _: list, h: jax.Array) -> tuple[jax.Array, bool]:  # [R, n, d]
        wide = times(h.swapaxes(0, 1).reshape(h.shape[1], -1))  # [n, R * d]
        return wide.reshape(-1, num_runs, h.shape[2]).swapaxes(0, 1), True

    return times
