"""Slopes of every registered network, and of the parts of those of images, beside differences."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from minimand import randomness
from minimand.component import catalogue
from minimand.errors import ShapeError
from minimand.networks import CNN, MLP, RBM, DeepBeliefNetwork, Network, UNet

Array = Any
KEY = randomness.key(0)
SHAPES = ((8,), (1,), (8, 8))
SAMPLING = (RBM, DeepBeliefNetwork)
"""Their samples count as constants; `test_boltzmann.py` holds their slopes to enumeration."""
SMALL: dict[str, dict[str, Any]] = {
    "CNN": {"channels": (3, 4)},
    "ResNet": {"depth": 8, "channels": 3},
    "ResNet9": {"channels": 2},
    "UNet": {"channels": (2, 3)},
}
NETWORKS: list[Network] = [
    *(
        made(**SMALL.get(name, {}))  # type: ignore[misc]
        for name, made in catalogue("network").items()
        if made.__module__.startswith("minimand.") and not issubclass(made, SAMPLING)
    ),
    *(CNN(channels=(3,), hidden=(4,), norm=norm) for norm in ("batch", "layer", "group")),
    *(MLP(hidden=(4,), norm=norm, activation="gelu") for norm in ("batch", "layer", "group")),
    MLP(hidden=(4, 4), residual=True),
    CNN(channels=(3, 4), kernel_size=2, pool=1, activation="silu"),
    UNet(channels=(2, 3), norm=None),
]


def examples(network: Network) -> Array:
    """Five examples of the first shape that the network reads."""
    random = np.random.default_rng(0)
    for shape in SHAPES:
        x = random.integers(0, 2, (5, *shape)) if network.tokens else random.random((5, *shape))
        try:
            jax.eval_shape(lambda key, x=x: network.init(key, x), KEY)
        except ShapeError:
            continue
        return x
    raise AssertionError(f"{network} reads no inputs of these shapes: add one")


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_slopes_are_differences(network: Network) -> None:
    """(f(θ + h d) - f(θ - h d)) / 2h, in double precision, of a sum of the scores while training.

    Along a direction of all parameters, and of each array alone, beside its own slope. First
    parameters are moved a little, since biases of 0 stand on kinks.
    """
    x = examples(network)
    random = np.random.default_rng(1)
    params, state = jax.tree.map(doubled, jax.jit(lambda: network.init(KEY, x))())
    leaves, structure = jax.tree.flatten(params)
    leaves = [leaf + 0.1 * random.normal(size=leaf.shape) for leaf in leaves]
    direction = [random.normal(size=leaf.shape) for leaf in leaves]
    chosen = np.vstack([np.ones(len(leaves)), np.eye(len(leaves))])
    with jax.enable_x64():
        state = jax.tree.map(jnp.asarray, state)

        def score(leaves: Any) -> Array:
            params = jax.tree.unflatten(structure, leaves)
            found = network.apply(params, state, x, key=KEY, train=True)[0]
            return jnp.sum(found * jnp.cos(jnp.arange(found.size)).reshape(found.shape))

        def along(steps: Array) -> Array:
            return score(
                [a + step * d for a, step, d in zip(leaves, steps, direction, strict=True)]
            )

        @partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
        def both() -> tuple[Array, Any]:
            return jax.lax.map(along, 1e-6 * np.vstack([chosen, -chosen])), jax.grad(score)(leaves)

        values, slopes = jax.device_get(both())
    assert all(slope.dtype == np.float64 for slope in slopes)
    found = [np.vdot(slope, way) for slope, way in zip(slopes, direction, strict=True)]
    sizes = chosen @ [np.vdot(slope, slope) for slope in slopes]
    assert sizes[0] > 0
    ahead, behind = np.split(values, 2)
    missed = np.abs((ahead - behind) / 2e-6 - chosen @ found)
    assert np.all(missed <= 1e-5 * np.abs(chosen @ found) + 1e-6 * np.sqrt(sizes) + 1e-8)


def doubled(leaf: Array) -> Array:
    """Floating numbers in double precision."""
    leaf = np.asarray(leaf)
    return leaf.astype(float) if leaf.dtype.kind == "f" else leaf
