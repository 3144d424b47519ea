"""Augmentations of the values of inputs, entry by entry."""

from __future__ import annotations

from types import MappingProxyType

import jax
import jax.numpy as jnp

from minimand.arrays import Array
from minimand.component import Card, Fraction, NonNegative, Range, component
from minimand.data.augmentation.base import Augmentation, Batch, check_images


@component
class GaussianNoise(Augmentation):
    """Noise of standard deviation `stddev` on every input; for a linear model it acts like L2.

    >>> x, y, w = jnp.zeros((1000, 2)), jnp.zeros(1000), jnp.ones(1000)
    >>> round(float(GaussianNoise(stddev=0.5)(jax.random.key(0), x, y, w)[0].std()), 1)
    0.5
    """

    stddev: NonNegative = 0.1
    card = Card(
        formula="x + σ ε, ε normal",
        source="Bishop (1995), Training with noise is equivalent to Tikhonov regularization",
        use="few rows with standardised inputs",
        search=MappingProxyType({"stddev": Range(0.01, 0.5, log=True)}),
    )

    def __call__(self, key: Array, x: Array, target: Array, weight: Array) -> Batch:
        noise = jax.random.normal(key, x.shape, x.dtype)
        return x + jnp.asarray(self.stddev, x.dtype) * noise, target, weight


@component
class MaskingNoise(Augmentation):
    """A share of the inputs set to 0, others for each example; the target stays as it is.

    >>> x, y, w = jnp.ones((1000, 2)), jnp.zeros(1000), jnp.ones(1000)
    >>> round(float(MaskingNoise(share=0.3)(jax.random.key(0), x, y, w)[0].mean()), 1)
    0.7
    """

    share: Fraction = 0.3
    card = Card(
        formula="x ⊙ m, m Bernoulli(1 - ν)",
        source="Vincent et al. (2010), Stacked denoising autoencoders, section 3.3",
        use="denoising autoencoders",
        search=MappingProxyType({"share": Range(0.1, 0.5)}),
    )

    def __call__(self, key: Array, x: Array, target: Array, weight: Array) -> Batch:
        return x * (jax.random.uniform(key, x.shape) >= self.share), target, weight


@component
class Brightness(Augmentation):
    """Every example made lighter or darker: a number uniform in ±`delta` is added to its inputs.

    >>> Brightness(delta=0.1)
    Brightness(delta=0.1)
    """

    delta: NonNegative = 0.2
    card = Card(
        formula="x' = x + b, b uniform in ±delta",
        source="Howard (2013), Some improvements on deep convolutional neural network based image "
        "classification, section 2",
        use="images taken in different light",
        search=MappingProxyType({"delta": Range(0.0, 0.4)}),
    )

    def __call__(self, key: Array, x: Array, target: Array, weight: Array) -> Batch:
        return x + _of_each(key, self.delta, x), target, weight


@component
class Contrast(Augmentation):
    """Every image's distance from its mean, channel by channel, times a number in 1 ± `factor`.

    Raises:
        ShapeError: the inputs are no images.

    >>> Contrast(factor=0.1)
    Contrast(factor=0.1)
    """

    factor: NonNegative = 0.2
    card = Card(
        formula="x' = m + c (x - m), m the mean of a channel of an image, c uniform in 1 ± factor",
        source="Howard (2013), Some improvements on deep convolutional neural network based image "
        "classification, section 2",
        use="images taken in different light",
        search=MappingProxyType({"factor": Range(0.0, 0.5)}),
    )

    def __call__(self, key: Array, x: Array, target: Array, weight: Array) -> Batch:
        check_images(self, x)
        far = x - jnp.mean(x, axis=(1, 2), keepdims=True)
        return x + _of_each(key, self.factor, x) * far, target, weight


def _of_each(key: Array, limit: Array, x: Array) -> Array:
    """One draw for each example of x, uniform in ±limit."""
    draw = jax.random.uniform(key, (x.shape[0], *(1,) * (x.ndim - 1)), minval=-1.0)
    return (limit * draw).astype(x.dtype)
