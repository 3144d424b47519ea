"""Pictures of autoencoders of images: what they rebuild, what they look for, what a code means."""

from __future__ import annotations

from typing import Any

import altair as alt
import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import ndtri

from minimand.arrays import Array
from minimand.data.augmentation import Unchanged
from minimand.errors import ArgumentError
from minimand.losses import Reconstruction
from minimand.networks import ConvolutionalAutoencoder
from minimand.networks.coder import Autoencoding
from minimand.report.pictures import ACROSS, grid, laid_out
from minimand.training import Trained
from minimand.training.batches import inputs


def reconstructions(fitted: Trained, X: Array, shape: tuple[int, ...], seed: int = 0) -> alt.Chart:
    """The first ten inputs of X [n, ...], images of a shape, over what is made of them.

    Those of a denoising autoencoder are corrupted first, as while it was trained.
    """
    network, response = _parts(fitted)
    given = inputs(jnp.asarray(X[:ACROSS]))
    lines = {"given": given}
    if fitted.recipe.augmentation != Unchanged():
        weight = jnp.ones(len(given))
        corrupted = fitted.recipe.augmentation(jax.random.key(seed), given, given, weight)[0]
        lines["corrupted"] = given = corrupted
    code = network.encode(fitted.params, fitted.network_state, given)
    scores = network.decode(fitted.params, fitted.network_state, code, given.shape[1:])
    lines["rebuilt"] = response(scores)
    images = np.stack([np.reshape(line, (-1, *shape)) for line in lines.values()])
    return grid(images, [*lines])


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


def _parts(fitted: Trained) -> tuple[Autoencoding, Any]:
    """(the network, what reads features from its scores)."""
    network, loss = fitted.recipe.network, fitted.recipe.loss
    if not (isinstance(network, Autoencoding) and isinstance(loss, Reconstruction)):
        raise ArgumentError(f"cannot draw {network}; these pictures are of trained autoencoders")
    return network, loss.loss.response
