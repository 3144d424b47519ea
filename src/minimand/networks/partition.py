"""The partition function Z of a Boltzmann machine: exactly for few units, else by annealing."""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from minimand import randomness
from minimand.arrays import Array, logsumexp
from minimand.errors import ArgumentError
from minimand.networks.base import Tree
from minimand.networks.boltzmann import RBM

MOST_UNITS = 25
BLOCK = 12
"""So many units make the states that are summed over at a time."""


class LogPartition(NamedTuple):
    """An estimate of log Z with its standard error."""

    value: float
    standard_error: float


def log_partition(machine: RBM, params: Tree) -> float:
    """log Z, by summing over all states of the smaller layer (of the hidden one, if v is real).

    Raises:
        ArgumentError: that layer has more than 25 units.

    >>> params = {
    ...     "hidden": {"kernel": np.zeros((3, 2)), "bias": np.zeros(2)},
    ...     "visible": {"bias": np.zeros(3)},
    ... }
    >>> round(log_partition(RBM(hidden=2), params) / math.log(2), 9)  # 2⁵ states of energy 0
    5.0
    """
    params = jax.tree.map(np.float64, params)
    units, energy = machine.enumerable(params)
    if units > MOST_UNITS:
        raise ArgumentError(
            f"{units} units have too many states to sum over (at most {MOST_UNITS} units); use "
            f"annealed_log_partition"
        )
    low, high = states(min(units, BLOCK)), states(max(units - BLOCK, 0))
    blocks = (np.hstack([low, np.tile(top, (len(low), 1))]) for top in high)
    return float(logsumexp(np.array([logsumexp(-energy(block)) for block in blocks])))


def states(units: int) -> np.ndarray:
    """All states of binary units, [2^units, units].

    >>> states(2).tolist()
    [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    """
    return (np.arange(2**units)[:, None] >> np.arange(units) & 1).astype(float)


def annealed_log_partition(
    machine: RBM,
    params: Tree,
    *,
    base: Tree | None = None,
    runs: int = 100,
    temperatures: int = 1000,
    seed: int = 0,
) -> LogPartition:
    """log Z by annealed importance sampling, with its standard error.

    Every run goes from a machine without weights to this one in equal steps of the parameters, with
    one step of a Gibbs chain at each: Z is that of the first machine times the mean over the runs
    of Π exp(F_k(v_k) - F_{k+1}(v_k)). The error says how the runs differ; it is too small if none
    finds where most of the mass is, so see whether more temperatures change the answer.

    Args:
        machine: the kind of machine.
        params: its parameters.
        base: the visible biases of the first machine, best those of the data: `start(X)`. By
            default they are the machine's own.
        runs: how many runs are averaged.
        temperatures: the steps of each.
        seed: decides what is drawn.

    Source: Salakhutdinov and Murray (2008), On the quantitative analysis of deep belief networks,
    section 3; Neal (2001), Annealed importance sampling.

    >>> params = {
    ...     "hidden": {"kernel": np.eye(3, 2), "bias": np.zeros(2)},
    ...     "visible": {"bias": np.zeros(3)},
    ... }
    >>> found = annealed_log_partition(RBM(hidden=2), params, seed=1)
    >>> abs(found.value - log_partition(RBM(hidden=2), params)) < 4 * found.standard_error < 0.1
    True
    """
    if runs < 2 or temperatures < 1:
        raise ArgumentError(
            f"runs is {runs} and temperatures {temperatures}; need at least 2 runs, whose spread "
            f"is the standard error, and 1 temperature"
        )
    params = jax.tree.map(np.float32, params)
    visible = (base or params)["visible"]["bias"]
    start = jax.tree.map(np.zeros_like, params) | {"visible": {"bias": np.float32(visible)}}
    key = randomness.key(seed)
    logs = np.asarray(_annealed(machine, start, params, key, runs, temperatures), dtype=float)
    log_mean = logsumexp(logs) - math.log(runs)
    spread = np.std(np.exp(logs - log_mean), ddof=1)
    first = machine.hidden * math.log(2) - machine.hidden_free_energy(
        jax.tree.map(np.float64, start), np.zeros((1, machine.hidden))
    )
    return LogPartition(float(first[0] + log_mean), float(spread / math.sqrt(runs)))


@partial(jax.jit, static_argnames=("runs", "temperatures"))
def _annealed(
    machine: RBM, start: Tree, end: Tree, key: Array, runs: int, temperatures: int
) -> Array:
    """The logarithm of the weight of every run, [runs]."""

    def between(share: Array) -> Tree:
        params: Tree = jax.tree.map(lambda a, b: (1 - share) * a + share * b, start, end)
        return params

    def step(number: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        v, total = carry
        here, there = between(number / temperatures), between((number + 1) / temperatures)
        v = machine.gibbs(here, v, jax.random.fold_in(key, number))
        return v, total + machine.free_energy(here, v) - machine.free_energy(there, v)

    begun = jnp.zeros((runs, len(end["visible"]["bias"]))), jnp.zeros(runs)
    return jax.lax.fori_loop(0, temperatures, step, begun)[1]
