"""Boltzmann machines against sums over all their states."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special, stats
from sklearn.datasets import load_digits
from sklearn.neural_network import BernoulliRBM

from minimand.data.splits import Fold
from minimand.errors import ArgumentError, DataError
from minimand.losses import ContrastiveDivergence
from minimand.networks import RBM, GaussianRBM, annealed_log_partition, log_partition
from minimand.optimizers import SGD, Adam
from minimand.penalties import L1
from minimand.schedules import Linear
from minimand.training import Recipe, train, train_members

Array = Any
V = np.array([*itertools.product([0.0, 1.0], repeat=4)])
H = np.array([*itertools.product([0.0, 1.0], repeat=3)])
ROWS = V[[1, 6, 6, 11, 15]]


def machine(visible: int = 4, hidden: int = 3, size: float = 1.0, seed: int = 0) -> Any:
    random = np.random.default_rng(seed)
    return {
        "hidden": {
            "kernel": size * random.normal(size=(visible, hidden)),
            "bias": random.normal(size=hidden),
        },
        "visible": {"bias": random.normal(size=visible)},
    }


def chances(params: Any) -> Array:
    """p(v, h) of all states of the 4×3 machine, [16, 8], from the energy's definition."""
    w, c, b = params["hidden"]["kernel"], params["hidden"]["bias"], params["visible"]["bias"]
    energy = -(V @ b)[:, None] - (H @ c)[None] - np.einsum("vi,ij,hj->vh", V, w, H)
    weight = np.exp(-energy)
    return weight / weight.sum()


def mean_slope(params: Any, share: Array) -> Any:
    """∂/∂params of Σ share(v) F(v) over all states."""
    with jax.enable_x64(True):
        return jax.grad(lambda p: share @ RBM(hidden=3).free_energy(p, jnp.asarray(V)))(params)


def test_the_loss_is_the_difference_of_two_free_energies() -> None:
    score = np.random.default_rng(0).normal(size=(5, 2))
    loss, target = ContrastiveDivergence(), np.zeros(5)
    np.testing.assert_array_equal(loss.value(score, target), score[:, 0] - score[:, 1])
    with jax.enable_x64(True):
        slope = jax.vmap(jax.grad(loss.value))(jnp.asarray(score), jnp.zeros(5))
    np.testing.assert_array_equal(loss.gradient(score, target), slope)
    assert not np.any(loss.curvature(score, target)) and loss.curvature(score, target).shape[0] == 5


# --- energies and conditionals --------------------------------------------------------------------


def test_the_free_energy_sums_out_the_hidden_units() -> None:
    params = machine()
    joint = chances(params)
    log_marginal = np.log(joint.sum(axis=1)) + log_partition(RBM(hidden=3), params)
    np.testing.assert_allclose(-RBM(hidden=3).free_energy(params, V), log_marginal, rtol=1e-12)
    log_hidden = np.log(joint.sum(axis=0)) + log_partition(RBM(hidden=3), params)
    np.testing.assert_allclose(-RBM(hidden=3).hidden_free_energy(params, H), log_hidden, rtol=1e-12)


def test_the_conditionals_are_those_of_the_joint_distribution() -> None:
    params, joint = machine(), chances(machine())
    given_v = (joint / joint.sum(axis=1, keepdims=True)) @ H
    given_h = (joint / joint.sum(axis=0)).T @ V
    np.testing.assert_allclose(RBM(hidden=3).hidden_mean(params, V), given_v, rtol=1e-12)
    np.testing.assert_allclose(RBM(hidden=3).visible_mean(params, H), given_h, rtol=1e-12)


def test_the_free_energy_of_gaussian_units_integrates_to_z() -> None:
    params, one = machine(visible=1), GaussianRBM(hidden=3)

    def density(v: float) -> float:
        return float(np.exp(-one.free_energy(params, np.array([[v]])))[0])

    z = integrate.quad(density, -np.inf, np.inf, epsabs=0, epsrel=1e-11)[0]
    assert log_partition(one, params) == pytest.approx(np.log(z), rel=1e-9)
    mean = integrate.quad(lambda v: v * density(v), -np.inf, np.inf)[0] / z
    over_hidden = special.softmax(-one.hidden_free_energy(params, H))
    assert over_hidden @ one.visible_mean(params, H)[:, 0] == pytest.approx(mean, rel=1e-7)


@pytest.mark.parametrize("one", [RBM(hidden=3), GaussianRBM(hidden=3)], ids=str)
def test_a_gibbs_chain_leaves_its_distribution_alone(one: RBM) -> None:
    """Rows drawn from p(v) have the moments of p(v) after three steps; χ² of the marginals of v."""
    params, count = machine(), 20_000
    log_h = -one.hidden_free_energy(params, H)
    keys = jax.random.split(jax.random.key(3), 3)
    h = jnp.asarray(H)[jax.random.categorical(keys[0], jnp.asarray(log_h), shape=(count,))]
    v = one.drawn(keys[1], one.visible_mean(params, h))
    ended = np.asarray(one.gibbs(params, v, keys[2], steps=3))
    exact = special.softmax(log_h) @ one.visible_mean(params, H)
    error = ended.std(axis=0) / np.sqrt(count)
    assert np.max(np.abs(ended.mean(axis=0) - exact) / error) < stats.norm.isf(1e-4)


# --- gradients ------------------------------------------------------------------------------------


def sampled_slopes(one: RBM, params: Any, state: Any, draws: int) -> Any:
    """∂/∂params of the mean loss of ROWS, for many keys."""

    def cost(params: Any, key: Array) -> Array:
        scores, _ = one.apply(params, state, jnp.asarray(ROWS), key=key, train=True)
        return ContrastiveDivergence()(scores, jnp.zeros(len(ROWS)))

    keys = jax.random.split(jax.random.key(0), draws)
    return jax.jit(jax.vmap(jax.grad(cost), in_axes=(None, 0)))(params, keys)


def after(params: Any, share: Array, steps: int) -> Array:
    """The distribution of v after Gibbs steps from one over all states."""
    joint = chances(params)
    up, down = joint / joint.sum(axis=1, keepdims=True), joint / joint.sum(axis=0)
    return share @ np.linalg.matrix_power(up @ down.T, steps)


def farthest(found: Any, exact: Any, draws: int) -> float:
    """The largest distance of a mean of draws from what is expected, in standard errors."""
    return max(
        float(np.max(np.abs(np.mean(drawn, axis=0) - expected) / np.std(drawn, axis=0)))
        * np.sqrt(draws)
        for drawn, expected in zip(
            *(map(np.asarray, jax.tree.leaves(tree)) for tree in (found, exact)), strict=True
        )
    )


@pytest.mark.parametrize("steps", [1, 3])
def test_contrastive_divergence_is_its_expectation_over_all_states(steps: int) -> None:
    params, draws = machine(), 20_000
    found = sampled_slopes(RBM(hidden=3, steps=steps), params, {}, draws)
    data = (V[:, None] == ROWS).all(axis=-1).mean(axis=1)
    exact = mean_slope(params, data - after(params, data, steps))
    assert farthest(found, exact, draws) < stats.norm.isf(1e-5)


def test_persistent_chains_go_on_from_where_they_were() -> None:
    """One step of the chains' own, whatever the rows: their expected slope, and their new state."""
    params, draws, one = machine(), 20_000, RBM(hidden=3, chains=2)
    chains = {"chains": jnp.asarray(V[[3, 12]], jnp.float32)}
    found = sampled_slopes(one, params, chains, draws)
    data, begun = ((V[:, None] == rows).all(-1).mean(axis=1) for rows in (ROWS, V[[3, 12]]))
    exact = mean_slope(params, data - after(params, begun, 1))
    assert farthest(found, exact, draws) < stats.norm.isf(1e-5)
    key = jax.random.key(1)
    _, state = one.apply(params, chains, jnp.asarray(ROWS), key=key, train=True)
    assert np.array_equal(state["chains"], one.gibbs(params, chains["chains"], key))


@pytest.mark.parametrize("one", [RBM(hidden=3), GaussianRBM(hidden=3)], ids=str)
def test_with_samples_of_the_model_the_slope_is_that_of_the_likelihood(one: RBM) -> None:
    """The model's term summed over all states, or by Gauss and Hermite; finite differences."""
    params = machine(visible=4 if type(one) is RBM else 1, size=0.7)
    if type(one) is RBM:
        rows, states, share = ROWS, V, chances(params).sum(axis=1)
    else:
        rows, states = ROWS[:, :1] + 0.3, np.linspace(-12, 12, 2001)[:, None]
        share = special.softmax(-one.free_energy(params, states))

    with jax.enable_x64(True):
        data, model = (
            jax.grad(lambda p, v=v, w=w: w @ one.free_energy(p, jnp.asarray(v)))(params)
            for v, w in ((rows, np.full(len(rows), 1 / len(rows))), (states, share))
        )
    ascent = jax.tree.map(lambda a, b: b - a, data, model)

    def log_likelihood(params: Any) -> float:
        return float(np.mean(-one.free_energy(params, rows)) - log_partition(one, params))

    leaves, structure = jax.tree.flatten(params)
    for k, leaf in enumerate(leaves):
        for place in np.ndindex(leaf.shape):
            ends = []
            for step in (1e-5, -1e-5):
                moved = [x.copy() for x in leaves]
                moved[k][place] += step
                ends.append(log_likelihood(jax.tree.unflatten(structure, moved)))
            slope = jax.tree.leaves(ascent)[k][place]
            assert slope == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6, abs=1e-9)


# --- log Z ----------------------------------------------------------------------------------------


def test_log_z_is_the_sum_over_all_states() -> None:
    params = machine()
    w, c, b = params["hidden"]["kernel"], params["hidden"]["bias"], params["visible"]["bias"]
    every = [v @ b + h @ c + v @ w @ h for v in V for h in H]
    assert log_partition(RBM(hidden=3), params) == pytest.approx(special.logsumexp(every))
    turned = {"hidden": {"kernel": w.T, "bias": b}, "visible": {"bias": c}}
    assert log_partition(RBM(hidden=4), turned) == pytest.approx(special.logsumexp(every))


def test_the_sum_goes_block_by_block() -> None:
    """Without weights Z is a product; 2^13 states make two blocks."""
    params = machine(14, 13, size=0.0)
    units = np.concatenate([params["hidden"]["bias"], params["visible"]["bias"]])
    assert log_partition(RBM(hidden=13), params) == pytest.approx(np.logaddexp(0, units).sum())
    with pytest.raises(ArgumentError, match="at most 25 units"):
        log_partition(RBM(hidden=30), machine(30, 30))


@pytest.fixture(scope="module")
def digits() -> Array:
    return (load_digits().data > 8).astype(np.float32)


@pytest.fixture(scope="module")
def learnt(digits: Array) -> Any:
    """12 hidden units on binary digits, and a base of their means."""
    one = RBM(hidden=12, chains=100)
    recipe = Recipe(one, ContrastiveDivergence(), SGD(learning_rate=0.1), epochs=30)
    base = one.start(digits)
    return train(recipe, digits, np.zeros(len(digits)), validation=0.1, start=base), base


def test_annealing_finds_log_z_within_a_tenth(learnt: Any) -> None:
    fitted, base = learnt
    one, params = fitted.recipe.network, fitted.params
    exact = log_partition(one, params)
    for seed in range(3):
        found = annealed_log_partition(one, params, base=base, seed=seed)
        assert abs(found.value - exact) < 0.1
        assert abs(found.value - exact) < 4 * found.standard_error
    own = annealed_log_partition(one, params)
    assert abs(own.value - exact) < 4 * own.standard_error


def test_annealing_of_gaussian_units() -> None:
    params, one = machine(5, 6, size=0.5), GaussianRBM(hidden=6)
    found = annealed_log_partition(one, params)
    assert abs(found.value - log_partition(one, params)) < min(0.1, 4 * found.standard_error)


def test_one_run_has_no_spread() -> None:
    with pytest.raises(ArgumentError, match="at least 2 runs"):
        annealed_log_partition(RBM(hidden=3), machine(), runs=1)


# --- how good a machine is ------------------------------------------------------------------------


def test_log_conditionals_are_those_of_the_joint_distribution() -> None:
    params, marginal = machine(), chances(machine()).sum(axis=1)
    for bit in range(4):
        other = np.arange(16) ^ (8 >> bit)
        exact = np.log(marginal / (marginal + marginal[other]))
        found = RBM(hidden=3).log_conditional(params, V, np.full(16, bit))
        np.testing.assert_allclose(found, exact, rtol=1e-12)


def test_pseudo_likelihood_is_scikit_learns() -> None:
    """Both flip one bit of each row; here it is the same one."""
    params, rows = machine(), V.repeat(3, axis=0)
    peer = BernoulliRBM(3, random_state=7).fit(rows)
    peer.components_ = params["hidden"]["kernel"].T
    peer.intercept_hidden_ = params["hidden"]["bias"]
    peer.intercept_visible_ = params["visible"]["bias"]
    theirs = peer.score_samples(rows)
    bits = np.random.RandomState(7).randint(0, 4, len(rows))
    ours = 4 * RBM(hidden=3).log_conditional(params, rows, bits)
    np.testing.assert_allclose(ours, theirs, rtol=1e-10)


def test_a_judged_row_has_the_pseudo_likelihood_in_expectation() -> None:
    params, one = machine(), RBM(hidden=3)
    exact = -sum(one.log_conditional(params, V, np.full(16, bit)) for bit in range(4))
    keys = jax.random.split(jax.random.key(0), 4000)
    scores = jax.vmap(lambda key: one.apply(params, {}, jnp.asarray(V), key=key, train=False)[0])(
        keys
    )
    assert not np.any(scores[..., 1])
    found, error = scores[..., 0].mean(axis=0), scores[..., 0].std(axis=0) / np.sqrt(4000)
    assert np.max(np.abs(found - exact) / error) < stats.norm.isf(1e-5)


def test_hyvarinens_score_is_its_definition() -> None:
    params, one = machine(size=0.7), GaussianRBM(hidden=3)
    with jax.enable_x64(True):
        v = jnp.asarray(np.random.default_rng(1).normal(size=(6, 4)))

        def log_p(row: Array) -> Array:
            return -one.free_energy(params, row[None])[0]

        slope = jax.jit(jax.vmap(jax.grad(log_p)))(v)
        bend = jnp.trace(jax.jit(jax.vmap(jax.hessian(log_p)))(v), axis1=1, axis2=2)
        found = one.surprise(params, v, jnp.zeros(6))
        np.testing.assert_allclose(found, 0.5 * jnp.sum(slope**2, axis=1) + bend, rtol=1e-10)


# --- training -------------------------------------------------------------------------------------


def test_persistent_chains_learn_a_distribution() -> None:
    """Of a maximum likelihood fit to n rows, 2n KL(truth, fit) is χ² with 15 degrees of freedom."""
    count, truth = 4000, chances(machine(seed=2)).sum(axis=1)
    X = V[np.random.default_rng(0).choice(16, size=count, p=truth)]
    one = RBM(hidden=4, chains=1000)
    recipe = Recipe(
        one,
        ContrastiveDivergence(),
        Adam(learning_rate=0.03),
        schedule=Linear(decay_steps=2000),
        batch_size=200,
        epochs=100,
    )
    fitted = train(recipe, X, np.zeros(count), validation=0.0, start=one.start(X))
    params = jax.tree.map(np.float64, fitted.params)
    log_fit = -one.free_energy(params, V) - log_partition(one, params)
    kl = float(np.sum(truth * (np.log(truth) - log_fit)))
    assert 0 < kl < stats.chi2(15).isf(1e-3) / (2 * count)


def test_validation_tells_how_good_the_machine_is(learnt: Any, digits: Array) -> None:
    """It starts near the machine of the means and falls; a machine of the means is the bound."""
    fitted, base = learnt
    bias = base["visible"]["bias"]
    alone = np.mean(np.logaddexp(0, -(2 * digits - 1) * bias).sum(axis=1))
    line = fitted.history["validation"]
    assert min(line) < 0.8 * alone
    assert fitted.best_epoch == 1 + int(np.argmin(line))


def test_chains_belong_to_their_member(digits: Array) -> None:
    """Two together are what each is alone, chains included."""
    recipes = [
        Recipe(RBM(hidden=4, chains=10), ContrastiveDivergence(), SGD(learning_rate=r), epochs=2)
        for r in (0.01, 0.1)
    ]
    fold, target = Fold(np.arange(300), np.arange(0)), np.zeros(len(digits))
    together = train_members(recipes, digits, target, [fold] * 2, [0, 1])
    for k in (0, 1):
        (alone,) = train_members([recipes[k]], digits, target, [fold], [k])
        for ours, own in zip(*map(jax.tree.leaves, (together[k].last, alone.last)), strict=True):
            np.testing.assert_allclose(ours, own, rtol=1e-5, atol=1e-6)
    assert not np.array_equal(*(one.network_state["chains"] for one in together))


def test_a_machine_is_saved_with_its_chains(learnt: Any, tmp_path: Any) -> None:
    fitted, _ = learnt
    fitted.save(tmp_path / "run")
    again = type(fitted).load(tmp_path / "run")
    for tree in ("network_state", "last"):
        same = jax.tree.map(np.array_equal, getattr(again, tree), getattr(fitted, tree))
        assert jax.tree.all(same) and jax.tree.leaves(same)


def test_a_penalty_on_what_hidden_units_put_out_quietens_them(digits: Array) -> None:
    def activity(penalty: Any) -> float:
        one = RBM(hidden=20)
        recipe = Recipe(one, ContrastiveDivergence(), SGD(learning_rate=0.1), penalty, epochs=10)
        fitted = train(recipe, digits, np.zeros(len(digits)), validation=0.0)
        return float(one.hidden_mean(fitted.params, digits).mean())

    weak, strong = (activity(L1(strength=s, kinds=("activity",))) for s in (1e-9, 1.0))
    assert strong < 0.5 * weak


def test_gaussian_units_learn_clusters() -> None:
    """Unit Gaussians at ±(2, -2) are a machine with one hidden unit and w = ±(4, -4)."""
    random = np.random.default_rng(0)
    side = random.choice([1.0, -1.0], 2000)
    X = side[:, None] * np.array([2.0, -2.0]) + random.normal(size=(2000, 2))
    one = GaussianRBM(hidden=1, chains=100)
    recipe = Recipe(one, ContrastiveDivergence(), SGD(learning_rate=0.05), epochs=60)
    fitted = train(recipe, X, np.zeros(2000), validation=0.2, start=one.start(X))
    w = fitted.params["hidden"]["kernel"][:, 0]
    np.testing.assert_allclose(w * np.sign(w[0]), [4.0, -4.0], atol=0.3)
    found = np.sign(one.hidden_mean(fitted.params, X)[:, 0] - 0.5) * np.sign(w[0])
    assert np.mean(found == side) == pytest.approx(stats.norm.cdf(2 * np.sqrt(2)), abs=0.005)


# --- beginnings and bad input ---------------------------------------------------------------------


def test_start_give_the_means() -> None:
    X = np.array([[0, 255], [255, 255], [255, 0], [0, 255]], np.uint8)
    bias = RBM().start(X)["visible"]["bias"]
    np.testing.assert_allclose(special.expit(bias), [3 / 6, 4 / 6])
    images = X.reshape(4, 2, 1, 1)
    np.testing.assert_array_equal(RBM().start(images)["visible"]["bias"], bias)


@pytest.mark.parametrize("bad", [1.5, -0.1, np.nan])
def test_values_that_no_bit_has_are_refused_with_their_place(bad: float) -> None:
    with pytest.raises(
        DataError, match=r"in row 2, column 3; binary units take values in \[0, 1\]"
    ):
        RBM().start(np.array([[0, 0, 0], [0, 1, bad]]))


def test_first_weights_are_small_and_random() -> None:
    """Hinton (2010), section 8: normal with standard deviation 0.01."""
    params, state = RBM(hidden=200).init(jax.random.key(0), np.zeros((1, 300), np.float32))
    assert float(params["hidden"]["kernel"].std()) == pytest.approx(0.01, rel=0.02)
    assert not np.any(params["hidden"]["bias"]) and not state
