"""Deep belief networks against sums over all their states."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from minimand.errors import ArgumentError
from minimand.losses import ContrastiveDivergence, CrossEntropy
from minimand.networks import MLP, RBM, DeepBeliefNetwork, GaussianRBM, log_partition
from minimand.optimizers import SGD, Adam
from minimand.training import Recipe, train
from minimand.training.layerwise import beginning, pretrain

Array = Any
V = np.array([*itertools.product([0.0, 1.0], repeat=3)])
H = np.array([*itertools.product([0.0, 1.0], repeat=2)])
NETWORK = DeepBeliefNetwork((RBM(hidden=2), RBM(hidden=2)))


def random_params(network: DeepBeliefNetwork, visible: int = 3, seed: int = 0) -> Any:
    """Every weight drawn alone, those up and down too."""
    shapes, _ = network.init(jax.random.key(0), jnp.zeros((1, visible)))
    random = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: random.normal(size=leaf.shape), shapes)


def chance(on: Array, states: Array) -> Array:
    """p(state) of independent bits with these means [n, k], [n, states]."""
    return np.prod(np.where(states == 1, on[:, None], 1 - on[:, None]), axis=-1)


def up(params: Any) -> Array:
    """q(h | v) of layer 0, [8, 4]."""
    layer = params["layer0"]["up"]["hidden"]
    return chance(special.expit(V @ layer["kernel"] + layer["bias"]), H)


def down(params: Any) -> Array:
    """p(v | h) of layer 0, [4, 8]."""
    layer = params["layer0"]["down"]
    return chance(special.expit(H @ layer["hidden"]["kernel"].T + layer["visible"]["bias"]), V)


def top_chain(params: Any) -> Array:
    """One Gibbs step of the top machine from h to h, [4, 4]."""
    layer = params["top"]
    above = chance(special.expit(H @ layer["hidden"]["kernel"] + layer["hidden"]["bias"]), H)
    back = special.expit(H @ layer["hidden"]["kernel"].T + layer["visible"]["bias"])
    return above @ chance(back, H)


def log_likelihood(params: Any) -> Array:
    """log p(v) of all v, [8]."""
    prior = -RBM(hidden=2).free_energy(params["top"], H)
    return np.log(np.exp(prior - log_partition(RBM(hidden=2), params["top"])) @ down(params))


@pytest.mark.parametrize("chains", [0, 3])
def test_the_up_down_step_is_its_expectation_over_all_states(chains: int) -> None:
    network = DeepBeliefNetwork((RBM(hidden=2), RBM(hidden=2, chains=chains)))
    params, draws, rows = random_params(network), 20_000, V[[1, 6, 6, 7]]
    state = {"chains": jnp.asarray(H[[0, 3, 3]])} if chains else {}

    def cost(params: Any, key: Array) -> Array:
        scores, _ = network.apply(params, state, jnp.asarray(rows), key=key, train=True)
        return ContrastiveDivergence()(scores, jnp.zeros(len(rows)))

    found = jax.jit(jax.vmap(jax.grad(cost), in_axes=(None, 0)))(
        params, jax.random.split(jax.random.key(0), draws)
    )

    data = (V[:, None] == rows).all(axis=-1).mean(axis=1)
    awake = data[:, None] * up(params)
    begun = (H[:, None] == H[[0, 3, 3]]).all(-1).mean(axis=1) if chains else awake.sum(axis=0)
    ended = begun @ top_chain(params)
    dreamt = ended[:, None] * down(params)

    def expected(params: Any) -> Array:
        """The three terms, each by its definition, with the chances of all states held."""
        layer, top = params["layer0"], params["top"]
        z = H @ layer["down"]["hidden"]["kernel"].T + layer["down"]["visible"]["bias"]
        rebuilt = jnp.sum(jnp.logaddexp(0, z)[None] - V[:, None] * z[None], axis=-1)
        z = V @ layer["up"]["hidden"]["kernel"] + layer["up"]["hidden"]["bias"]
        recognised = jnp.sum(jnp.logaddexp(0, z)[None] - H[:, None] * z[None], axis=-1)
        energy = RBM(hidden=2).free_energy(top, jnp.asarray(H))
        seen = awake.sum(axis=0) - ended
        return jnp.sum(awake * rebuilt) + seen @ energy + jnp.sum(dreamt * recognised)

    with jax.enable_x64(True):
        exact = jax.grad(expected)(params)
    for slopes, slope in zip(*map(jax.tree.leaves, (found, exact)), strict=True):
        error = np.std(slopes, axis=0) / np.sqrt(draws)
        distance = np.abs(np.mean(slopes, axis=0) - np.asarray(slope))
        assert np.max(distance / error) < stats.norm.isf(1e-5)


def test_untied_machines_that_mirror_each_other_are_one_machine() -> None:
    """Hinton, Osindero and Teh (2006), section 3: one machine is a stack of its own mirrors."""
    random = np.random.default_rng(1)
    w, c, b = random.normal(size=(3, 2)), random.normal(size=2), random.normal(size=3)
    machine = {"hidden": {"kernel": w, "bias": c}, "visible": {"bias": b}}
    mirror = {"hidden": {"kernel": w.T, "bias": b}, "visible": {"bias": c}}
    params = DeepBeliefNetwork((RBM(hidden=2), RBM(hidden=3))).untied([machine, mirror])
    prior = -RBM(hidden=3).free_energy(params["top"], H)
    deep = np.exp(prior - log_partition(RBM(hidden=3), mirror)) @ down(params)
    plain = -RBM(hidden=2).free_energy(machine, V) - log_partition(RBM(hidden=2), machine)
    np.testing.assert_allclose(np.log(deep), plain, rtol=1e-12)


def test_fine_tuning_raises_the_likelihood() -> None:
    """From weights that say nothing nearly to the entropy of the data, summed over all states."""
    truth = np.array([0.4, *[0.2 / 6] * 6, 0.4])
    X = V[np.random.default_rng(0).choice(8, size=2000, p=truth)]
    network = DeepBeliefNetwork((RBM(hidden=2), RBM(hidden=2, chains=500)))
    optimizer = Adam(learning_rate=0.02)
    recipe = Recipe(network, ContrastiveDivergence(), optimizer, batch_size=100, epochs=100)
    fitted = train(recipe, X, X, validation=0.0)
    params = jax.tree.map(np.float64, fitted.params)
    share = (V[:, None] == X).all(axis=-1).mean(axis=1)
    best, found = share @ np.log(share), share @ log_likelihood(params)
    on = share @ V
    alone = on @ np.log(on) + (1 - on) @ np.log(1 - on)
    assert best - found < 0.2 * (best - alone)


def test_a_stack_is_fine_tuned_and_then_begins_a_classifier() -> None:
    """Two patterns of which a tenth of the bits are wrong; four rows have a label.

    Who knows the patterns is right 997 times of 1,000: all eight bits differ.
    """
    random = np.random.default_rng(0)
    y = np.arange(300) % 2
    patterns = np.array([[1.0] * 4 + [0.0] * 4, [0.0] * 4 + [1.0] * 4])
    X = np.abs(patterns[y] - (random.random((300, 8)) < 0.1))
    machine, loss = RBM(hidden=8), ContrastiveDivergence()
    layer = Recipe(machine, loss, SGD(learning_rate=0.1), epochs=30)
    stack = pretrain([layer, layer], X)
    deep = DeepBeliefNetwork((machine, machine))
    begun = deep.untied([one.params for one in stack])
    recipe = Recipe(deep, loss, SGD(learning_rate=0.01), epochs=10)
    tuned = train(recipe, X, deep.target(X), validation=0.0, start=begun)
    up, down = (tuned.params["layer0"][way]["hidden"]["kernel"] for way in ("up", "down"))
    assert np.abs(up - down).max() > 0.01
    top = Recipe(
        MLP(hidden=(8, 8), outputs=2, activation="sigmoid"),
        CrossEntropy(),
        Adam(0.01),
        batch_size=4,
        epochs=100,
    )
    fitted = train(top, X[:4], y[:4], validation=0.0, start=beginning([tuned]))
    assert np.mean(fitted.predict(X[4:]) == y[4:]) > 0.95


def test_encoding_and_decoding_follow_the_means() -> None:
    params = random_params(NETWORK)
    layer, top = params["layer0"], params["top"]
    h = special.expit(V @ layer["up"]["hidden"]["kernel"] + layer["up"]["hidden"]["bias"])
    code = special.expit(h @ top["hidden"]["kernel"] + top["hidden"]["bias"])
    np.testing.assert_allclose(NETWORK.encode(params, {}, V), code)
    back = special.expit(code @ top["hidden"]["kernel"].T + top["visible"]["bias"])
    z = back @ layer["down"]["hidden"]["kernel"].T + layer["down"]["visible"]["bias"]
    np.testing.assert_allclose(NETWORK.decode(params, {}, code, (3,)), z)
    scores, _ = NETWORK.apply(params, {}, jnp.asarray(V), key=jax.random.key(0), train=False)
    binary = -(V * np.log(special.expit(z)) + (1 - V) * np.log(special.expit(-z))).sum(axis=1)
    np.testing.assert_allclose(scores[:, 0] - scores[:, 1], binary, rtol=1e-5)


def test_fantasies_are_of_the_kinds_seen() -> None:
    """Two patterns as often as each other: every fantasy is near one, and both come up."""
    patterns = np.array([[1.0] * 4 + [0.0] * 4, [0.0, 1.0] * 4])
    rows, stack = np.repeat(patterns, 200, axis=0), []
    machine = RBM(hidden=8, chains=100)
    recipe = Recipe(machine, ContrastiveDivergence(), SGD(learning_rate=0.1), epochs=100)
    for _ in range(2):
        stack.append(train(recipe, rows, rows, validation=0.0, start=machine.start(rows)).params)
        rows = np.asarray(machine.hidden_mean(stack[-1], rows))
    deep = DeepBeliefNetwork((machine, machine))
    for network, params in ((machine, stack[0]), (deep, deep.untied(stack))):
        seen = np.asarray(network.fantasies(params, jax.random.key(1), 200, steps=100))
        distance = np.abs(seen[:, None] - patterns).mean(axis=-1)
        assert np.mean(distance.min(axis=1) < 0.2) > 0.9
        assert 0.1 < np.mean(distance.argmin(axis=1)) < 0.9


def test_a_network_of_real_inputs() -> None:
    network = DeepBeliefNetwork((GaussianRBM(hidden=4), RBM(hidden=2)))
    params, v = random_params(network), np.random.default_rng(0).normal(size=(5, 3))
    scores, _ = network.apply(params, {}, jnp.asarray(v), key=jax.random.key(0), train=False)
    rebuilt = network.decode(params, {}, network.encode(params, {}, v), (3,))
    np.testing.assert_allclose(scores[:, 0], 0.5 * ((rebuilt - v) ** 2).sum(axis=1), rtol=1e-4)


def test_stacks_that_make_no_network_are_refused() -> None:
    with pytest.raises(ArgumentError, match="real visible units only at the bottom"):
        DeepBeliefNetwork((RBM(hidden=4), GaussianRBM(hidden=2)))
    with pytest.raises(ArgumentError, match="machines is empty"):
        DeepBeliefNetwork(())
