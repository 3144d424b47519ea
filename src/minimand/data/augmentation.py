"""Augmentations: what happens to a batch before it is trained on, as pure functions of a key.

An augmentation that mixes examples gives both of their targets and the share of each, as a further
axis in front: a mixed row has targets [2, n] and weights [2, n], and costs Σ share ℓ(score, target)
over the two. That is right for every loss, whatever its targets are, and costs one forward pass.
"""

from __future__ import annotations

from types import MappingProxyType

import jax
import jax.numpy as jnp

from minimand.arrays import Array
from minimand.component import Card, Component, NonNegative, Positive, Range, component
from minimand.errors import ShapeError

Batch = tuple[Array, Array, Array]
"""(inputs [n, ...], targets [..., n] or [..., n, K], weights [..., n])."""


class Augmentation(Component):
    """A random change of a batch, whose targets may get axes in front: one entry a target."""

    kind = "augmentation"

    def __call__(self, key: Array, x: Array, target: Array, weight: Array) -> Batch:
        """The batch as it is trained on; rows of weight 0 have no part in the others."""
        return x, target, weight


@component
class Unchanged(Augmentation):
    """The batch as it is.

    >>> Unchanged()
    Unchanged()
    """

    card = Card(formula="x", source="no augmentation", use="enough data")


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
    an image, λ drawn from Beta(α, α) for each, less what lies outside of it.

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
        if x.ndim not in (3, 4):
            raise ShapeError(
                f"CutMix: inputs have shape {x.shape}; it needs images [n, height, width] or "
                f"[n, height, width, channels]"
            )
        which, how, *where = jax.random.split(key, 4)
        partner, paired = _partners(which, weight)
        side = jnp.sqrt(_beta(how, self.alpha, partner.shape[0]))
        tall, wide = (_span(way, side, size) for way, size in zip(where, x.shape[1:3], strict=True))
        box = tall[:, :, None] & wide[:, None, :] & paired[:, None, None]
        share = 1 - jnp.mean(box, axis=(1, 2))
        mixed = jnp.where(box.reshape(*box.shape, *(1,) * (x.ndim - 3)), x[partner], x)
        return mixed, *_both(target, weight, partner, share)


@component
class Chain(Augmentation):
    """Several augmentations, one after another.

    >>> Chain((GaussianNoise(stddev=0.05), MixUp())).augmentations[1]
    MixUp(alpha=0.2)
    """

    augmentations: tuple[Augmentation, ...] = (GaussianNoise(), MixUp())
    card = Card(
        formula="the last of ... the first of x",
        source="composition",
        use="more than one augmentation",
    )

    def __call__(self, key: Array, x: Array, target: Array, weight: Array) -> Batch:
        for i, augmentation in enumerate(self.augmentations):
            x, target, weight = augmentation(jax.random.fold_in(key, i), x, target, weight)
        return x, target, weight


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


def _span(key: Array, side: Array, size: int) -> Array:
    """[n, size]: the pixels of an axis within a share `side` of it, around a random centre."""
    centre = jax.random.randint(key, side.shape, 0, size)
    half = jnp.floor(side * size / 2)
    pixel = jnp.arange(size)
    return (pixel >= (centre - half)[:, None]) & (pixel < (centre + half)[:, None])
