"""The autoencoder among scikit-learn's transformers."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from scipy.special import rel_entr
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from minimand import Autoencoder
from minimand.errors import ArgumentError, ArgumentTypeError, ShapeError, TargetError
from minimand.penalties import L1, L2, Sparsity, Sum

X = load_digits().data[:400, 20:30]


@pytest.fixture(scope="module")
def linear() -> Autoencoder:
    return Autoencoder(
        (3,),
        code_activation="identity",
        learning_rate=0.02,
        schedule="cosine(decay_steps=2500)",
        early_stopping=False,
        max_iter=100,
        random_state=0,
    ).fit(X)


def test_a_linear_one_explains_as_much_as_principal_components(linear: Autoencoder) -> None:
    scaled = StandardScaler().fit_transform(X)
    pca = PCA(3).fit(scaled)
    lost = np.sum((scaled - pca.inverse_transform(pca.transform(scaled))) ** 2, axis=1) / 2
    assert linear.reconstruction_error(X).mean() == pytest.approx(lost.mean(), rel=0.02)
    rebuilt = linear.inverse_transform(linear.transform(X))
    share = 1 - np.sum((X - rebuilt) ** 2) / np.sum((X - X.mean(axis=0)) ** 2)
    assert linear.score(X) == pytest.approx(share)
    strange = X[:50] @ np.random.default_rng(0).permutation(np.eye(10))
    assert linear.reconstruction_error(strange).mean() > 2 * lost.mean()


def test_codes_have_names_and_can_be_frames(linear: Autoencoder) -> None:
    assert linear.get_feature_names_out().tolist() == [f"autoencoder{i}" for i in range(3)]
    with pytest.raises(ShapeError, match="this one has 3 numbers a row"):
        linear.inverse_transform(X[:, :2])
    assert not hasattr(linear, "sample")


def test_penalties_of_activities_that_name_no_layers_are_on_the_code() -> None:
    named = L1(strength=0.1, kinds=("activity",), layers=("encoder",))
    penalty = Sum((L2(strength=0.0), Sparsity(rate=0.2), named))
    fitted = Autoencoder((8, 3), penalty=penalty, max_iter=1, random_state=0).fit(X)
    recipe, params, state = (
        getattr(fitted.trained_, name) for name in ("recipe", "params", "network_state")
    )
    scaled = np.float32((X - fitted.mean_) / fitted.spread_)
    seen = recipe.network.observed(params, state, scaled, key=jax.random.key(0), train=False)[2]
    rate, layer = fitted.transform(X).mean(axis=0), params["encoder"]["layer0"]
    hidden = np.maximum(scaled @ layer["kernel"] + layer["bias"], 0)
    expected = np.sum(rel_entr(0.2, rate) + rel_entr(0.8, 1 - rate)) + 0.1 * hidden.sum(1).mean()
    found = float(recipe.penalty.of_activities(seen, np.ones(len(X))))
    assert found == pytest.approx(expected, rel=1e-4)


def test_a_variational_one_of_images_draws_new_ones() -> None:
    images = load_digits().images[:300] / 16
    fitted = Autoencoder(
        network="variational_autoencoder(hidden=(16,), code=2)",
        loss="binary_cross_entropy",
        augmentation="masking_noise(share=0.1)",
        learning_rate=0.01,
        max_iter=15,
        random_state=0,
    ).fit(images)
    assert fitted.transform(images).shape == (300, 2)
    drawn = fitted.sample(50, random_state=1)
    assert drawn.shape == (50, 8, 8) and drawn.min() >= 0 and drawn.max() <= 1
    between = np.corrcoef(drawn.mean(axis=0).ravel(), images.mean(axis=0).ravel())[0, 1]
    assert between > 0.8
    np.testing.assert_array_equal(drawn, fitted.sample(50, random_state=1))


def test_what_does_not_fit_together_is_said() -> None:
    with pytest.raises(ArgumentError, match="takes losses of one number"):
        Autoencoder(loss="cross_entropy").fit(X)
    with pytest.raises(ArgumentTypeError, match="MLP rebuilds no inputs"):
        Autoencoder(network="mlp").fit(X)
    with pytest.raises(TargetError, match="row 1"):
        Autoencoder(loss="binary_cross_entropy").fit(X + 2)
