"""Every rule, as it comes, teaches a small network to read digits."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.datasets import load_digits

from minimand.component import catalogue
from minimand.data.splits import Fold
from minimand.losses import CrossEntropy
from minimand.networks import MLP
from minimand.optimizers import GradientDescent, Optimizer, Sophia
from minimand.training import Recipe, train_members

PIXELS, DIGITS = load_digits(return_X_y=True)
PIXELS = PIXELS / 16
TRAIN, TEST = np.arange(1200), np.arange(1200, 1797)
NETWORK = MLP(hidden=(32,), outputs=10)
ENOUGH = 0.86
"""The share of unseen digits to get right; a linear model reads 0.89 of them."""

SIMPLE = {"ClipByValue", "ClipByNorm", "ClipByLayer", "Decayed", "Groups"}
BY_ENGINE = [
    made()
    for name, made in catalogue("optimizer").items()
    if made is not Sophia and name not in SIMPLE
]


@pytest.mark.parametrize("rule", BY_ENGINE, ids=lambda rule: type(rule).__name__)
def test_at_its_default_step_size_a_rule_reads_digits(rule: Optimizer) -> None:
    """On average over three seeds: those of one rule differ by several digits in a hundred."""
    batch, epochs = (len(TRAIN), 300) if isinstance(rule, GradientDescent) else (32, 30)
    recipe = Recipe(NETWORK, CrossEntropy(), rule, batch_size=batch, epochs=epochs)
    fitted = train_members([recipe] * 3, PIXELS, DIGITS, [Fold(TRAIN, TEST[:0])] * 3, range(3))
    read = [np.argmax(one.scores(PIXELS[TEST]), axis=1) for one in fitted]
    assert np.mean(read == DIGITS[TEST]) >= ENOUGH


def test_sophia_reads_digits() -> None:
    """By a plain loop that hands it the gradient of the batch at other parameters."""
    rule, loss = Sophia(), CrossEntropy()
    x, y = jnp.asarray(PIXELS, jnp.float32), jnp.asarray(DIGITS)
    start, none = NETWORK.init(jax.random.key(0), x[:1])
    transform = optax.with_extra_args_support(rule.transform())

    def score(params: Any, rows: Any) -> Any:
        return NETWORK.apply(params, none, x[rows], key=jax.random.key(0), train=True)[0]

    def step(carry: Any, t: jax.Array) -> Any:
        params, state = carry
        rows = jax.random.randint(jax.random.key(t), (32,), 0, len(TRAIN))

        def gradient_at(params: Any) -> Any:
            return jax.value_and_grad(lambda p: loss(score(p, rows), y[rows]))(params)

        value, gradient = rule.gradient(gradient_at, params)
        extra = {"value": value, "key": jax.random.key(t), "gradient_at": gradient_at}
        updates, state = transform.update(gradient, state, params, **extra)
        return (optax.apply_updates(params, updates), state), None

    @jax.jit
    def trained(params: Any) -> Any:
        return jax.lax.scan(step, (params, transform.init(params)), jnp.arange(800))[0][0]

    read = np.argmax(score(trained(start), TEST), axis=1)
    assert np.mean(read == DIGITS[TEST]) >= ENOUGH
