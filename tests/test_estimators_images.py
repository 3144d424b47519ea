"""Network estimators on images: any network, bytes that stay bytes, channels standardised."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flax import nnx
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from minimand import Autoencoder, NetworkClassifier, NetworkRegressor
from minimand.data.scaling import mean_and_spread_of_channels
from minimand.errors import ArgumentError, ArgumentTypeError, ShapeError, UnknownNameError
from minimand.networks import MLP, Linear, Standardised, adapt

DIGITS = load_digits()
BYTES = np.rint(DIGITS.images * 15).astype(np.uint8)
Y = DIGITS.target
QUICK: dict[str, Any] = {"max_iter": 15, "random_state": 0}


@pytest.fixture(scope="module")
def perceptron() -> NetworkClassifier:
    return NetworkClassifier((32,), **QUICK).fit(BYTES[:1200], Y[:1200])


def test_channels_are_measured_with_weights_and_bytes_as_fractions() -> None:
    X = np.random.default_rng(0).integers(0, 256, (9, 4, 5, 3), np.uint8)
    weight = np.arange(9.0)
    mean, spread = mean_and_spread_of_channels(X, weight)
    repeated = (X / 255).repeat(weight.astype(int), axis=0)
    assert mean == pytest.approx(repeated.mean(axis=(0, 1, 2)))
    assert spread == pytest.approx(repeated.std(axis=(0, 1, 2)))
    assert mean_and_spread_of_channels(np.full((2, 3, 3), 7.0))[1] == 1


def test_a_perceptron_on_images_of_bytes(perceptron: NetworkClassifier) -> None:
    assert perceptron.score(BYTES[1200:], Y[1200:]) > 0.85
    assert perceptron.n_features_in_ == 64
    assert perceptron.mean_ == pytest.approx(BYTES[:1200].mean() / 255)
    assert isinstance(perceptron.trained_.recipe.network, Standardised)
    assert perceptron.predict_proba(BYTES[:3]).sum(axis=1) == pytest.approx(1)


def test_bytes_and_their_fractions_are_the_same_images(perceptron: NetworkClassifier) -> None:
    of_floats = clone(perceptron).fit(BYTES[:1200] / 255, Y[:1200])
    scores = perceptron.decision_function(BYTES[1200:1300])
    assert scores == pytest.approx(of_floats.decision_function(BYTES[1200:1300] / 255), abs=1e-3)


def test_scores_in_blocks_are_those_of_all_at_once(
    perceptron: NetworkClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    from minimand.training import scoring

    whole = perceptron.decision_function(BYTES[:210])
    monkeypatch.setattr(scoring, "MOST_NUMBERS", 64 * 64)
    assert perceptron.decision_function(BYTES[:210]) == pytest.approx(whole, abs=1e-5)


@pytest.mark.parametrize("network", ["linear", "mlp(hidden=(8,), norm=batch, dropout=0.1)"])
def test_the_network_gets_as_many_outputs_as_the_loss_takes(network: str) -> None:
    fitted = NetworkClassifier(network=network, max_iter=2).fit(BYTES[:200], Y[:200])
    assert fitted.decision_function(BYTES[:5]).shape == (5, 10)
    assert fitted.trained_.recipe.network.outputs == 10


def test_columns_go_through_any_network_too() -> None:
    fitted = NetworkClassifier(network=Linear(), **QUICK).fit(DIGITS.data[:900], Y[:900])
    assert fitted.score(DIGITS.data[900:], Y[900:]) > 0.8
    assert fitted.trained_.recipe.network == Linear(outputs=10)


def test_a_convolutional_network_at_the_end_of_a_pipeline() -> None:
    images = FunctionTransformer(lambda rows: rows.reshape(-1, 8, 8))
    network = NetworkClassifier(network="cnn(channels=(8,), hidden=(16,))", **QUICK)
    fitted = make_pipeline(images, network).fit(DIGITS.data[:800], Y[:800])
    assert fitted.score(DIGITS.data[800:1200], Y[800:1200]) > 0.8


def test_a_convolutional_autoencoder() -> None:
    network = "convolutional_autoencoder(channels=(8,), code=8, code_activation=identity)"
    coder = Autoencoder(network=network, learning_rate=0.01, max_iter=40, random_state=0)
    coder.fit(DIGITS.images[:400])
    new = DIGITS.images[400:600]
    assert coder.transform(new).shape == (200, 8)
    assert coder.inverse_transform(coder.transform(new)).shape == (200, 8, 8)
    assert coder.score(new) > 0.5


def test_a_module_of_flax() -> None:
    class Net(nnx.Module):
        def __init__(self) -> None:
            self.layer = nnx.Linear(64, 10, rngs=nnx.Rngs(0))

        def __call__(self, x: Any) -> Any:
            return self.layer(x.reshape(len(x), -1))

    fitted = NetworkClassifier(network=adapt(Net()), **QUICK).fit(BYTES[:900], Y[:900])
    assert fitted.score(BYTES[900:], Y[900:]) > 0.8


def test_a_number_of_an_image() -> None:
    """The mean brightness is linear in the pixels."""
    X = np.random.default_rng(0).normal(size=(300, 4, 4, 2))
    y = 3 + X.mean(axis=(1, 2, 3))
    fitted = NetworkRegressor(network="linear", max_iter=100, random_state=0).fit(X[:200], y[:200])
    assert fitted.score(X[200:], y[200:]) > 0.95


def test_augmentation_belongs_to_training_alone(perceptron: NetworkClassifier) -> None:
    noisy = clone(perceptron).set_params(augmentation="gaussian_noise(stddev=3)")
    noisy.fit(BYTES[:1200], Y[:1200])
    assert noisy.trained_.recipe.augmentation.stddev == 3
    assert noisy.history_["train"][-1] > 2 * perceptron.history_["train"][-1]
    assert np.array_equal(noisy.predict(BYTES[:50]), noisy.predict(BYTES[:50]))


def test_one_epoch_after_another() -> None:
    fitted = NetworkClassifier((32,), random_state=0)
    for _ in range(12):
        fitted.partial_fit(BYTES[:600], Y[:600], classes=np.arange(10))
    assert fitted.n_iter_ == 12
    assert fitted.score(BYTES[600:], Y[600:]) > 0.7


def test_parameters_of_the_network_by_name() -> None:
    estimator = NetworkClassifier(network="mlp(hidden=(8,))")
    estimator.set_params(network__dropout=0.25, augmentation="mixup", augmentation__alpha=0.5)
    copy = clone(estimator)
    assert copy.network == MLP(hidden=(8,), dropout=0.25)
    assert copy.get_params()["augmentation__alpha"] == 0.5


def test_cross_validation_by_scikit_learn() -> None:
    scores = cross_val_score(NetworkClassifier((16,), **QUICK), BYTES[:400], Y[:400], cv=2)
    assert scores.min() > 0.5


def test_images_of_another_shape_are_refused(perceptron: NetworkClassifier) -> None:
    with pytest.raises(
        ShapeError, match=r"was fitted on X \[n, 8, 8\]; this X has shape \[5, 4, 16\]"
    ):
        perceptron.predict(BYTES[:5].reshape(5, 4, 16))
    with pytest.raises(ShapeError, match=r"this X has shape \[5, 64\]"):
        perceptron.predict(DIGITS.data[:5])
    with pytest.raises(ValueError, match="has 16 features"):
        perceptron.predict(BYTES[:5, :4, :4])
    with pytest.raises(ValueError, match="0 sample"):
        perceptron.predict(BYTES[:0])
    with pytest.raises(ValueError, match="NaN"):
        perceptron.predict(np.full((1, 8, 8), np.nan))


def test_networks_that_are_none() -> None:
    with pytest.raises(UnknownNameError, match="unknown network 'cmn'"):
        NetworkClassifier(network="cmn").fit(BYTES[:50], Y[:50])
    with pytest.raises(ArgumentTypeError, match="network must be a network or its name, not 3"):
        NetworkClassifier(network=3).fit(BYTES[:50], Y[:50])


@pytest.mark.parametrize("network", ["autoencoder", "convolutional_autoencoder", "rbm", "unet"])
def test_networks_that_give_an_image_no_scores(network: str) -> None:
    with pytest.raises(ArgumentError, match=r"scores \[n, K\]; use 'linear' or 'mlp'"):
        NetworkClassifier(network=network).fit(BYTES[:50], Y[:50])


def test_a_network_of_symbols_is_none_of_pixels() -> None:
    for X in (BYTES[:50], DIGITS.data[:50]):
        with pytest.raises(ArgumentError, match="Transformer does not give every row of numbers"):
            NetworkRegressor(network="transformer").fit(X, Y[:50])
