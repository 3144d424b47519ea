"""Autoencoders: Jacobians, gradients, bounds and optima known from outside, and stacks of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy import stats
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from minimand import randomness
from minimand.data.augmentation import MaskingNoise
from minimand.errors import ArgumentError, ArgumentTypeError
from minimand.losses import (
    ELBO,
    BinaryCrossEntropy,
    CrossEntropy,
    HalfSquared,
    KLSparsity,
    Reconstruction,
)
from minimand.networks import (
    MLP,
    Autoencoder,
    ConvolutionalAutoencoder,
    VariationalAutoencoder,
)
from minimand.optimizers import SGD, Adam
from minimand.penalties import L1, L2, Sparsity, Sum
from minimand.schedules import Cosine
from minimand.solvers import Objective, minimise
from minimand.training import Recipe, train
from minimand.training.layerwise import beginning, codes, pretrain, unrolled
from minimand.tuning import compare_pretraining

KEY = randomness.key(0)
rng = np.random.default_rng(0)
X = rng.random((5, 6)).astype(np.float32)
DIGITS = (load_digits().data / 16).astype(np.float32)
CLASSES = load_digits().target


@jax.jit
def observed(network: Any, x: Any, params: Any) -> Any:
    return network.observed(params, {}, x, key=KEY, train=False)


def random_params(network: Any) -> Any:
    fresh, _ = network.init(KEY, X)
    return jax.tree.map(lambda p: rng.normal(0, 0.5, p.shape).astype(np.float32), fresh)


def sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def test_an_autoencoder_is_its_formula_tied_or_not() -> None:
    for tied in (False, True):
        network = Autoencoder(hidden=(4,), code=3, activation="tanh", tied=tied)
        p = random_params(network)
        there, code, back, out = (
            p["encoder"]["layer0"],
            p["code"],
            p["decoder"]["layer0"],
            p["output"],
        )
        h = np.tanh(X @ there["kernel"] + there["bias"])
        h = sigmoid(h @ code["kernel"] + code["bias"])
        np.testing.assert_allclose(network.encode(p, {}, X), h, rtol=1e-5)
        up, last = (
            (code["kernel"].T, there["kernel"].T) if tied else (back["kernel"], out["kernel"])
        )
        expected = np.tanh(h @ up + back["bias"]) @ last + out["bias"]
        np.testing.assert_allclose(observed(network, X, p)[0], expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(network.decode(p, {}, h, (6,)), expected, rtol=1e-4, atol=1e-5)


def test_tied_layers_are_one_parameter_whose_gradient_goes_both_ways() -> None:
    network = Autoencoder(hidden=(4,), code=3, activation="tanh", tied=True)
    with jax.enable_x64(True):
        params = jax.tree.map(lambda p: p.astype(np.float64), random_params(network))
        kernels = [p.shape for p in jax.tree.leaves(params) if p.ndim == 2]
        assert sorted(kernels) == [(4, 3), (6, 4)]

        start, shaped = ravel_pytree(params)

        @jax.jit
        def cost(numbers: Any) -> Any:
            x = X.astype(float)
            score, _ = network.apply(shaped(numbers), {}, x, key=KEY, train=True)
            return Reconstruction(BinaryCrossEntropy())(score, x)

        steps = 1e-5 * np.eye(len(start))
        slopes = [(cost(start + step) - cost(start - step)) / 2e-5 for step in steps]
        np.testing.assert_allclose(jax.grad(cost)(start), slopes, rtol=1e-6, atol=1e-8)


def test_the_code_reports_its_jacobian() -> None:
    """Of one sigmoid layer it is Rifai et al. (2011), eq. 2; of a deep one JAX's own."""
    one = Autoencoder(code=3)
    p = random_params(one)
    h = sigmoid(X @ p["code"]["kernel"] + p["code"]["bias"])
    norms = (h * (1 - h)) ** 2 @ np.sum(p["code"]["kernel"] ** 2, axis=0)
    contractive = L2(strength=0.2, kinds=("jacobian",))
    found = contractive.of_activities(observed(one, X, p)[2], jnp.ones(5))
    assert float(found) == pytest.approx(0.1 * norms.mean(), rel=1e-5)

    deeper = {"hidden": (5, 4), "code": 3, "activation": "tanh"}
    for deep in (Autoencoder(**deeper), VariationalAutoencoder(**deeper)):
        p = random_params(deep)
        encode = jax.jacobian(lambda x, n=deep, p=p: n.encode(p, {}, x[None])[0])
        explicit = jax.jit(jax.vmap(encode))(X)
        seen = observed(deep, X, p)[2]["code"]["jacobian"]
        np.testing.assert_allclose(seen, explicit, rtol=1e-4, atol=1e-6)


def test_a_penalty_of_what_no_layer_reports_is_refused() -> None:
    seen = {"hidden": {"layer0": {"activity": X}}}
    with pytest.raises(ArgumentError, match="of the layers chosen, none reports jacobian"):
        L2(kinds=("jacobian",)).of_activities(seen, jnp.ones(5))


def test_a_linear_autoencoder_ends_at_the_principal_components() -> None:
    """Baldi and Hornik (1989): the optimum spans them, so nothing of that rank rebuilds better."""
    data = DIGITS[:300, 18:30]
    network = Autoencoder(code=3, code_activation="identity")
    schedule = Cosine(decay_steps=300 * 5)
    recipe = Recipe(
        network, Reconstruction(), Adam(0.02), schedule=schedule, batch_size=60, epochs=300
    )
    fitted = train(recipe, data, data, validation=0)
    pca = PCA(3).fit(data)
    least = np.sum((data - pca.inverse_transform(pca.transform(data))) ** 2)
    assert np.sum((data - fitted.scores(data)) ** 2) == pytest.approx(least, rel=5e-3)
    span = np.linalg.qr(fitted.params["output"]["kernel"].T)[0]
    angles = np.linalg.svd(pca.components_ @ span, compute_uv=False)
    assert angles.min() > 0.99


# --- variational ----------------------------------------------------------------------------------


def test_the_bound_holds_for_draws_of_the_code_by_monte_carlo() -> None:
    """E[log q(z | x) - log p(z)] over the network's own draws is the divergence in `ELBO`."""
    network, row, draws = VariationalAutoencoder(hidden=(3,), code=2), X[:1], 4000
    p = random_params(network)
    p["decoder"] = {
        "layer0": {"kernel": np.eye(2, 3, dtype=np.float32) * 1e-3, "bias": np.full(3, 1.0)}
    }
    p["output"] = {"kernel": np.eye(3, 6, dtype=np.float32) * 1e3, "bias": np.full(6, -1e3)}
    keys = jax.random.split(KEY, draws)
    draw = jax.vmap(lambda key: network.apply(p, {}, row, key=key, train=True)[0][0])
    scores = jax.jit(draw)(keys)
    z, mean, log_variance = np.split(np.asarray(scores, float)[:, [0, 1, 6, 7, 8, 9]], 3, axis=1)
    q, prior = stats.norm(mean, np.exp(log_variance / 2)), stats.norm()
    ratios = np.sum(q.logpdf(z) - prior.logpdf(z), axis=1)
    still = network.apply(p, {}, row, key=KEY, train=False)[0]
    np.testing.assert_allclose(still[0, :2], mean[0], atol=2e-4)
    ours = ELBO()(still, still[:, :6])
    assert float(ours) == pytest.approx(ratios.mean(), abs=4 * ratios.std() / np.sqrt(draws))
    assert (
        stats.kstest((z[:, 0] - mean[:, 0]) / np.exp(log_variance[:, 0] / 2), "norm").pvalue > 0.01
    )


# --- sparse and denoising -------------------------------------------------------------------------


def test_sparsity_is_the_divergence_of_rates() -> None:
    logits = rng.normal(size=(8, 4)).astype(np.float32)
    seen = {"code": {"activity": sigmoid(logits)}}
    rates = sigmoid(logits).mean(axis=0)
    by_scipy = sum(stats.entropy([0.1, 0.9], [a, 1 - a]) for a in rates)
    penalty = Sparsity(rate=0.1, strength=2.0)
    assert float(penalty.of_activities(seen, jnp.ones(8))) == pytest.approx(2 * by_scipy, rel=1e-5)
    assert KLSparsity()(logits, np.full(8, 0.1)) == pytest.approx(by_scipy, rel=1e-5)
    half = penalty.of_activities(seen, jnp.repeat(jnp.array([1.0, 0.0]), 4))
    again = penalty.of_activities({"code": {"activity": seen["code"]["activity"][:4]}}, jnp.ones(4))
    assert float(half) == pytest.approx(float(again), rel=1e-5)


def test_penalties_add_up_and_are_not_for_linear_models() -> None:
    seen = {"code": {"activity": jnp.full((2, 3), 0.5)}}
    both = Sum((L2(strength=2.0), Sparsity(), L1(strength=1.0, kinds=("activity",))))
    params = {"code": {"kernel": np.ones((2, 3))}}
    assert float(both.value(params)) == pytest.approx(6)
    apart = [p.of_activities(seen, jnp.ones(2)) for p in both.penalties[1:]]
    assert float(both.of_activities(seen, jnp.ones(2))) == pytest.approx(float(sum(apart)))
    for penalty in both.penalties[1:]:
        with pytest.raises(ArgumentError, match="is no penalty of a linear model"):
            minimise(Objective(HalfSquared(), penalty), X, X[:, 0])


def test_a_sparse_code_is_active_at_the_wanted_rate_and_rebuilds_corrupted_inputs() -> None:
    recipe = Recipe(
        Autoencoder(code=40),
        Reconstruction(BinaryCrossEntropy()),
        Adam(0.01),
        penalty=Sparsity(rate=0.1, strength=5.0),
        augmentation=MaskingNoise(share=0.2),
        batch_size=128,
        epochs=60,
    )
    fitted = train(recipe, DIGITS, DIGITS, validation=0)
    corrupted = DIGITS * (rng.random(DIGITS.shape) >= 0.2)
    rates = codes([fitted], corrupted).mean(axis=0)
    assert rates.mean() == pytest.approx(0.1, rel=0.1) and rates.std() < 0.02
    error = np.mean((fitted.predict(corrupted) - DIGITS) ** 2)
    assert error < 0.6 * np.mean((corrupted - DIGITS) ** 2)


def test_masking_noise_blanks_its_share_and_leaves_the_target() -> None:
    x = jnp.ones((400, 50))
    noisy, target, weight = MaskingNoise(share=0.3)(KEY, x, x, jnp.ones(400))
    assert set(np.unique(noisy)) == {0.0, 1.0} and np.all(target == 1) and np.all(weight == 1)
    assert np.mean(noisy == 0) == pytest.approx(0.3, abs=0.01)
    assert len(np.unique(np.asarray(noisy), axis=0)) == 400


# --- stacks ---------------------------------------------------------------------------------------

LAYERS = [
    Recipe(
        Autoencoder(code=width, activation="sigmoid"),
        Reconstruction(BinaryCrossEntropy()),
        Adam(0.01),
        batch_size=128,
        epochs=5,
    )
    for width in (20, 10)
]
STILL = SGD(learning_rate=1e-30)
"""Takes steps that change nothing."""


@pytest.fixture(scope="module")
def stack() -> Any:
    return pretrain(LAYERS, DIGITS)


def test_each_layer_learns_from_the_codes_of_the_one_below(stack: Any) -> None:
    first, second = (fitted.params["code"] for fitted in stack)
    below = sigmoid(DIGITS @ first["kernel"] + first["bias"])
    alone = train(LAYERS[1], below.astype(np.float32), below.astype(np.float32), validation=0)
    np.testing.assert_allclose(alone.params["code"]["kernel"], second["kernel"], atol=1e-3)
    top = sigmoid(below @ second["kernel"] + second["bias"])
    np.testing.assert_allclose(codes(stack, DIGITS), top, rtol=1e-4, atol=1e-5)


def test_a_classifier_starts_from_the_stack(stack: Any) -> None:
    network = MLP(hidden=(20, 10), outputs=10, activation="sigmoid")
    recipe = Recipe(network, CrossEntropy(), STILL, epochs=1, batch_size=256)
    fitted = train(recipe, DIGITS, CLASSES, validation=0, start=beginning(stack))
    for i, below in enumerate(stack):
        for name, leaf in below.params["code"].items():
            np.testing.assert_array_equal(fitted.params["hidden"][f"layer{i}"][name], leaf)
    _, _, seen = network.observed(fitted.params, {}, DIGITS, key=KEY, train=False)
    top = seen["hidden"]["layer1"]["activity"]
    np.testing.assert_allclose(top, codes(stack, DIGITS), rtol=1e-5, atol=1e-6)


def test_an_unrolled_stack_rebuilds_as_its_layers_do(stack: Any) -> None:
    network = Autoencoder(hidden=(20,), code=10, activation="sigmoid")
    recipe = replace(LAYERS[0], network=network, optimizer=STILL, epochs=1)
    fitted = train(recipe, DIGITS, DIGITS, validation=0, start=unrolled(stack))
    first, second = stack
    down = sigmoid(second.recipe.network.decode(second.params, {}, codes(stack, DIGITS), (20,)))
    expected = first.recipe.network.decode(first.params, {}, down, (64,))
    np.testing.assert_allclose(fitted.scores(DIGITS), expected, rtol=1e-4, atol=1e-4)


def test_what_cannot_be_stacked_is_named(stack: Any) -> None:
    with pytest.raises(ArgumentTypeError, match="MLP has no code"):
        pretrain([Recipe(MLP(), HalfSquared())], X)
    deep = replace(stack[0], params=stack[0].params | {"encoder": {"layer0": {}}})
    with pytest.raises(ArgumentError, match="without hidden layers can be unrolled"):
        unrolled([deep])


def test_pretraining_is_compared_with_none() -> None:
    """Labels of 100 rows, all rows to pre-train on; the same seeds start both."""
    recipe = Recipe(
        MLP(hidden=(20,), outputs=10, activation="sigmoid"),
        CrossEntropy(),
        Adam(0.01),
        batch_size=25,
        epochs=5,
    )
    found = compare_pretraining(
        LAYERS[:1],
        recipe,
        DIGITS[:100],
        CLASSES[:100],
        (DIGITS[100:], CLASSES[100:]),
        unlabelled=DIGITS,
        seeds=range(3),
        validation=0.0,
    )
    plain = train(recipe, DIGITS[:100], CLASSES[:100], validation=0.0, seed=2)
    right = np.mean(plain.predict(DIGITS[100:]) == CLASSES[100:])
    assert found.plain[2] == pytest.approx(right)
    difference = np.subtract(found.pretrained, found.plain)
    low, high = stats.t.interval(0.95, 2, difference.mean(), stats.sem(difference))
    assert (found.gain.low, found.gain.high) == pytest.approx((low, high))


# --- of images ------------------------------------------------------------------------------------


def test_convolutions_halve_an_image_and_double_it_again() -> None:
    """Sides that are odd come back as they were; a colour image keeps its colours."""
    for shape in ((7, 5), (8, 8, 3)):
        x = rng.random((4, *shape)).astype(np.float32)
        network = ConvolutionalAutoencoder(channels=(4, 6), code=5)
        params, _ = network.init(KEY, x)
        assert params["code"]["kernel"].shape == (2 * 2 * 6, 5)
        score, _, seen = observed(network, x, params)
        assert score.shape == (4, np.prod(shape))
        assert seen["encoder"]["layer0"]["activity"].shape == (4, 4, -(-shape[1] // 2), 4)
        code = network.encode(params, {}, x)
        np.testing.assert_allclose(code, seen["code"]["activity"], rtol=1e-5)
        np.testing.assert_allclose(
            network.decode(params, {}, code, shape), score, rtol=1e-4, atol=1e-5
        )
        started = network.starting_at(params, jnp.arange(float(np.prod(shape))))
        means = np.arange(float(np.prod(shape))).reshape(-1, *shape[2:] or (1,)).mean(axis=0)
        np.testing.assert_allclose(started["output"]["bias"], means, rtol=1e-5)


def test_a_convolutional_autoencoder_learns_to_rebuild() -> None:
    images = DIGITS[:600].reshape(-1, 8, 8)
    recipe = Recipe(
        ConvolutionalAutoencoder(channels=(8, 16), code=16, code_activation="identity"),
        Reconstruction(),
        Adam(0.005),
        batch_size=50,
        epochs=16,
    )
    fitted = train(recipe, images, DIGITS[:600], validation=0)
    error = np.mean((fitted.scores(images) - DIGITS[:600]) ** 2)
    assert error < 0.5 * DIGITS[:600].var(axis=0).mean()
    with pytest.raises(ArgumentError, match="only fully connected layers can be stacked"):
        beginning([fitted])
