"""Augmentations that mix examples of a batch."""

from __future__ import annotations

from types import MappingProxyType

import jax
import jax.numpy as jnp

from minimand.arrays import Array
from minimand.component import Card, Positive, Range, component
from minimand.data.augmentation.base import Augmentation, Batch, check_images, holds_masks
from minimand.data.augmentation.boxes import random_box


@component
class MixUp(Augmentation):
    """Each example mixed with another of the batch, in shares of a Beta(α, α) draw of its own.

    A larger `alpha` mixes more evenly.

    >>> x, y, w = jnp.array([[0.0], [1.0]]), jnp.array([0, 1]), jnp.ones(2)
    >>> x, y, w = MixUp(alpha=1.0)(jax.random.key(0), x, y, w)
    >>> x.shape, y.shape, w.sum(axis=0).tolist()
    ((2, 1), (2, 2), [1.0, 1.0])
    """

    alpha: Positive = 0.2
    card = Card(
        formula="λ x + (1 - λ) x', cost λ ℓ(z, y) + (1 - λ) ℓ(z, y'), λ ~ Beta(α, α)",
        source="Zhang, Cissé, Dauphin and Lopez-Paz (2018), mixup: beyond empirical risk "
        "minimization, eq. 1",
        use="networks that learn their training rows by heart",
        search=MappingProxyType({"alpha": Range(0.1, 1.0, log=True)}),
    )

    def __call__(self, key: Array, x: Array, target: Array, weight: Array) -> Batch:
        which, how = jax.random.split(key)
        partner, paired = _partners(which, weight)
        share = _beta(how, self.alpha, partner.shape[0])
        share = jnp.where(paired, share, 1.0)
        own = share.astype(x.dtype).reshape(-1, *(1,) * (x.ndim - 1))
        mixed = jnp.where(own == 1, x, own * x + (1 - own) * x[partner])
        return mixed, *_both(target, weight, partner, share)


@component
class CutMix(Augmentation):
    """A box of each image replaced by that of another in the batch; both targets by their areas.

    Images are [n, height, width] or [n, height, width, channels]. A box covers the share 1 - λ of
    an image, λ drawn from Beta(α, α) for each, less what lies outside of it. Masks, which are
    targets [n, height, width], are cut along with their images.

    Raises:
        ShapeError: the inputs are no images.

    >>> x, y, w = jnp.stack([jnp.zeros((8, 8)), jnp.ones((8, 8))]), jnp.array([0, 1]), jnp.ones(2)
    >>> x, y, w = CutMix()(jax.random.key(3), x, y, w)
    >>> share = jnp.mean(x, axis=(1, 2))
    >>> bool(jnp.allclose(share, (w * y).sum(axis=0)))
    True
    """

    alpha: Positive = 1.0
    card = Card(
        formula="M x + (1 - M) x', cost λ ℓ(z, y) + (1 - λ) ℓ(z, y'), λ the mean of the mask M",
        source="Yun et al. (2019), CutMix: regularization strategy to train strong classifiers "
        "with localizable features, eq. 1-2",
        use="images whose objects fill them",
        search=MappingProxyType({"alpha": Range(0.2, 1.0, log=True)}),
    )

    def __call__(self, key: Array, x: Array, target: Array, weight: Array) -> Batch:
        check_images(self, x)
        which, how, where = jax.random.split(key, 3)
        partner, paired = _partners(which, weight)
        side = jnp.sqrt(_beta(how, self.alpha, partner.shape[0]))
        box = random_box(where, jnp.where(paired, side, 0.0), x)
        share = 1 - jnp.mean(box, axis=tuple(range(1, x.ndim)))
        mixed = jnp.where(box, x[partner], x)
        if holds_masks(x, target, weight):
            box = box.reshape(*x.shape[:3], *(1,) * (target.ndim - weight.ndim - 2))
            other = jnp.take(target, partner, axis=weight.ndim - 1)
            return mixed, jnp.where(box, other, target), weight
        return mixed, *_both(target, weight, partner, share)


def _partners(key: Array, weight: Array) -> tuple[Array, Array]:
    """(a row for each row, whether the two may be mixed: both weigh something)."""
    used = jnp.any(weight > 0, axis=tuple(range(weight.ndim - 1)))
    partner = jax.random.permutation(key, used.shape[0])
    return partner, used & used[partner]


def _beta(key: Array, alpha: Array, n: int) -> Array:
    """[n] draws from Beta(α, α): (1 + τ / √(1 + τ²)) / 2 of τ = √(u^(-1/α) - 1) cos 2πv.

    τ √(2α) is Student's t (Bailey 1994, Polar generation of random variates with the
    t-distribution). There is no loop to compile, unlike in `jax.random.beta`.
    """
    u, v = jax.random.uniform(key, (2, n))
    u, wave = u ** (1 / alpha), jnp.cos(2 * jnp.pi * v)
    side = wave * jnp.sqrt(1 - u)
    return 0.5 * (1 + side / jnp.sqrt(jnp.maximum(u + side * side, 1e-30)))


def _both(target: Array, weight: Array, partner: Array, share: Array) -> tuple[Array, Array]:
    """Targets and weights of both parts of each row, along a new axis in front."""
    rows = weight.ndim - 1
    share = share.astype(weight.dtype)
    targets = jnp.stack([target, jnp.take(target, partner, axis=rows)])
    weights = jnp.stack([share * weight, (1 - share) * jnp.take(weight, partner, axis=rows)])
    return targets, weights
