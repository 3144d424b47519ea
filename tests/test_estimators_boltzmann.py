"""Boltzmann machines as scikit-learn's estimators."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import special
from sklearn.datasets import load_digits
from sklearn.neural_network import BernoulliRBM

from minimand import DeepBeliefClassifier, NetworkClassifier, RestrictedBoltzmannMachine
from minimand.errors import DataError, UnknownNameError

Array = Any


@pytest.fixture(scope="module")
def digits() -> tuple[Array, Array]:
    X, y = load_digits(return_X_y=True)
    return X / 16, y


@pytest.fixture(scope="module")
def learnt(digits: tuple[Array, Array]) -> RestrictedBoltzmannMachine:
    machine = RestrictedBoltzmannMachine(20, learning_rate=0.05, random_state=3)
    return machine.fit(digits[0])


def test_it_knows_digits_as_well_as_scikit_learns(
    learnt: RestrictedBoltzmannMachine, digits: tuple[Array, Array]
) -> None:
    X = digits[0]
    peer = BernoulliRBM(20, learning_rate=0.05, random_state=3).fit(X)
    ours, theirs = learnt.score_samples(X).mean(), peer.score_samples(X).mean()
    start = special.xlogy(X.mean(0), X.mean(0)) + special.xlogy(1 - X.mean(0), 1 - X.mean(0))
    assert ours > start.sum() + 0.9 * (theirs - start.sum())


def test_what_fit_leaves_is_what_scikit_learns_methods_take(
    learnt: RestrictedBoltzmannMachine, digits: tuple[Array, Array]
) -> None:
    """Its arrays in scikit-learn's machine give the same features and, bit by bit, scores."""
    X = digits[0]
    peer = BernoulliRBM(20, random_state=3).fit(X[:10])
    for name in ("components_", "intercept_hidden_", "intercept_visible_"):
        setattr(peer, name, getattr(learnt, name))
    np.testing.assert_allclose(learnt.transform(X), peer.transform(X), rtol=1e-10)
    np.testing.assert_allclose(learnt.score_samples(X), peer.score_samples(X), rtol=1e-8)
    names = learnt.get_feature_names_out()
    assert len(names) == 20 and names[0] == "restrictedboltzmannmachine0"


def test_a_gibbs_step_has_the_means_of_its_conditionals(
    learnt: RestrictedBoltzmannMachine, digits: tuple[Array, Array]
) -> None:
    """Of many steps from one row: E[v' | v] by Monte Carlo over h in NumPy."""
    v = np.repeat(digits[0][:1], 4000, axis=0)
    random = np.random.default_rng(0)
    h = random.random((4000, 20)) < learnt.transform(v)
    exact = special.expit(h @ learnt.components_ + learnt.intercept_visible_)
    seen = learnt.gibbs(v)
    assert set(np.unique(seen)) <= {0.0, 1.0}
    error = np.sqrt((seen.var(axis=0) + exact.var(axis=0) + 1e-4) / 4000)
    assert np.max(np.abs(seen.mean(axis=0) - exact.mean(axis=0)) / error) < 5


def test_passes_go_on_from_where_they_were() -> None:
    """Two patterns are a bit of information; units that know nothing take each bit for its own."""
    X = np.repeat([[1.0, 1, 1, 0, 0, 0], [0, 1, 0, 1, 0, 1]], 100, axis=0)
    machine = RestrictedBoltzmannMachine(4, learning_rate=0.5, random_state=0)
    scores = [machine.partial_fit(X).score_samples(X).mean() for _ in range(12)]
    assert machine.n_iter_ == 12
    assert scores[0] < -2 and scores[-1] > -1
    assert machine.fit(X).n_iter_ == machine.n_iter


def test_real_columns_come_back_in_their_units(digits: tuple[Array, Array]) -> None:
    X = 100 + 5 * np.random.default_rng(0).normal(size=(300, 3))
    machine = RestrictedBoltzmannMachine(2, n_iter=3, learning_rate=0.01, random_state=0).fit(X)
    seen = machine.gibbs(X)
    assert machine.visible_ == "real"
    np.testing.assert_allclose(seen.mean(axis=0), X.mean(axis=0), atol=1)
    np.testing.assert_allclose(seen.std(axis=0), X.std(axis=0), rtol=0.2)


def test_images_of_bytes_are_columns_of_fractions(digits: tuple[Array, Array]) -> None:
    pixels = np.uint8(np.rint(digits[0][:60] * 255))
    of_bytes, of_columns = (
        RestrictedBoltzmannMachine(3, n_iter=1, random_state=0).fit(X)
        for X in (pixels.reshape(-1, 8, 8), np.float32(pixels) / 255)
    )
    assert of_bytes.visible_ == "binary" and of_bytes.n_features_in_ == 64
    images, columns = pixels[:5].reshape(-1, 8, 8, 1), np.float32(pixels[:5]) / 255
    np.testing.assert_allclose(of_bytes.transform(images), of_columns.transform(columns))


def test_values_that_no_bit_takes_are_refused_if_bits_are_asked_for() -> None:
    X = np.array([[0.0, 1.0], [1.0, 2.0]])
    with pytest.raises(DataError, match="row 2, column 2; binary units take"):
        RestrictedBoltzmannMachine(2, visible="binary").fit(X)
    with pytest.raises(UnknownNameError, match="unknown visible 'bits'"):
        RestrictedBoltzmannMachine(2, visible="bits").fit(X)  # type: ignore[arg-type]


def test_rows_without_labels_help(digits: tuple[Array, Array]) -> None:
    """50 labels: with 1,000 rows pre-trained on, more of the other digits are told apart."""
    X, y = digits
    given: dict[str, Any] = {"optimizer": "adam(learning_rate=0.003)", "max_iter": 100}
    deep = DeepBeliefClassifier((64, 64), pretraining_iter=30, random_state=0, **given)
    deep.fit(X[:50], y[:50], unlabelled=X[:1000])
    plain = NetworkClassifier((64, 64), "sigmoid", random_state=0, **given).fit(X[:50], y[:50])
    assert len(deep.stack_) == 2
    assert deep.score(X[1000:], y[1000:]) > plain.score(X[1000:], y[1000:]) + 0.02


def test_a_row_of_no_weight_teaches_no_machine(digits: tuple[Array, Array]) -> None:
    X, y = digits[0][:60].copy(), digits[1][:60]
    weight = np.ones(60)
    weight[7] = 0
    one = DeepBeliefClassifier((4,), max_iter=2, pretraining_iter=2, random_state=0)
    first = one.fit(X, y, weight).predict_proba(X[:5])
    X[7] = 0.5
    np.testing.assert_array_equal(one.fit(X, y, weight).predict_proba(X[:5]), first)
