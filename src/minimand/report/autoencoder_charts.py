"""Pictures of autoencoders of images: what they rebuild, what they look for, what a code means."""

from __future__ import annotations

from typing import Any

import altair as alt
import jax.numpy as jnp
import numpy as np
from scipy.special import ndtri

from minimand import randomness
from minimand.arrays import Array
from minimand.data.augmentation import Unchanged
from minimand.errors import ArgumentError
from minimand.estimators import Autoencoder
from minimand.estimators.libraries import on_host
from minimand.losses import Reconstruction
from minimand.networks import ConvolutionalAutoencoder
from minimand.networks.coder import Autoencoding
from minimand.report.pictures import ACROSS, grid, laid_out
from minimand.training import Trained
from minimand.training.batches import inputs


def reconstructions(
    fitted: Trained | Autoencoder, X: Array, shape: tuple[int, ...], seed: int = 0
) -> alt.Chart:
    """The first ten inputs of X [n, ...], images of a shape, over what is made of them.

    Those of a denoising autoencoder are corrupted first, as while it was trained. Fractions are
    drawn from black at 0 to white at 1, other numbers from the least of these inputs to the
    largest.
    """
    own, mean, spread = _unscaled(fitted)
    network, response = _parts(own)
    shown = inputs(jnp.asarray(X[:ACROSS]))
    given = (shown - mean) / spread
    lines = {"given": given}
    if own.recipe.augmentation != Unchanged():
        weight = jnp.ones(len(given))
        corrupted = own.recipe.augmentation(randomness.key(seed), given, given, weight)[0]
        lines["corrupted"] = given = corrupted
    code = network.encode(own.params, own.network_state, given)
    scores = network.decode(own.params, own.network_state, code, given.shape[1:])
    lines["rebuilt"] = response(scores)
    images = [mean + spread * np.reshape(line, given.shape) for line in lines.values()]
    fractions = shown.min() >= 0 and shown.max() <= 1
    low, high = (0.0, 1.0) if fractions else (shown.min(), shown.max())
    return grid((np.reshape(images, (len(lines), -1, *shape)) - low) / (high - low), [*lines])


def filters(fitted: Trained, shape: tuple[int, ...], rows: int = 4) -> alt.Chart:
    """The largest weights of the first layer, grey at 0, in rows of ten.

    They are drawn as images of a shape; those of convolutions as what they slide over such images.
    """
    network = _parts(fitted)[0]
    if isinstance(network, ConvolutionalAutoencoder):
        kernel = fitted.params["encoder"]["layer0"]["kernel"]
        shape = (*kernel.shape[:2], *shape[2:])
    else:
        kernel = network.encoder(fitted.params)[0]["kernel"]
    units = np.reshape(kernel, (-1, kernel.shape[-1])).T
    chosen = units[np.argsort(-np.linalg.norm(units, axis=1))[: rows * ACROSS]]
    images = 0.5 + 0.5 * chosen / np.abs(chosen).max(axis=1, keepdims=True)
    return grid(laid_out(images, shape))


def manifold(fitted: Trained, shape: tuple[int, ...], side: int = 12) -> alt.Chart:
    """What codes of two numbers decode to, at evenly spaced quantiles of the normal distribution.

    Source: Kingma and Welling (2014), Auto-encoding variational Bayes, figure 4.

    Raises:
        ArgumentError: the code has another size.
    """
    network, response = _parts(fitted)
    if network.code != 2:
        raise ArgumentError(f"cannot lay out codes of {network}; they must have 2 numbers")
    places = ndtri((np.arange(side) + 0.5) / side)
    code = np.stack(np.meshgrid(places, -places), axis=-1).reshape(-1, 2)
    scores = network.decode(fitted.params, fitted.network_state, code, shape)
    return grid(np.asarray(response(scores)).reshape(side, side, *shape))


def _unscaled(fitted: Trained | Autoencoder) -> tuple[Trained, Array, Array]:
    """(what was trained, the mean and the spread by which its inputs were standardised)."""
    if isinstance(fitted, Autoencoder):
        return fitted.trained_, on_host(fitted.mean_), on_host(fitted.spread_)
    return fitted, np.zeros(1), np.ones(1)


def _parts(fitted: Trained) -> tuple[Autoencoding, Any]:
    """(the network, what reads features from its scores)."""
    network, loss = fitted.recipe.network, fitted.recipe.loss
    if not (isinstance(network, Autoencoding) and isinstance(loss, Reconstruction)):
        raise ArgumentError(f"cannot draw {network}; these pictures are of trained autoencoders")
    return network, loss.loss.response
