"""Losses of networks that rebuild their input: reconstruction, sparse codes, the evidence bound."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from minimand.arrays import Array, log1pexp, namespace, sigmoid, to_float, xlogy
from minimand.component import Card, Count, NonNegative, Range, component
from minimand.errors import ShapeError
from minimand.losses.base import JointLoss, Loss, PointwiseLoss, reject
from minimand.losses.regression import HalfSquared


@component
class Reconstruction(Loss):
    """The reconstruction error of d features: summed over the features, averaged over the rows.

    `loss` judges one feature: `HalfSquared()` makes it the Gaussian negative log-likelihood with
    variance 1 (the constant ½ d log 2π is dropped), `BinaryCrossEntropy()` the Bernoulli one, from
    logits, for features in [0, 1]. Score and target are [n, d].

    >>> import numpy as np
    >>> Reconstruction().value(np.array([[1.0, 0.0]]), np.array([[0.0, 2.0]])).tolist()
    [2.5]
    """

    loss: PointwiseLoss = HalfSquared()
    score_axes = 1
    target_axes = 1
    card = Card(
        formula="Σⱼ ℓ(zⱼ, xⱼ)",
        source="Vincent et al. (2010), Stacked denoising autoencoders, section 2.2",
        use="autoencoders",
        target="features",
    )

    def value(self, score: Array, target: Array) -> Array:
        return namespace(score).sum(self.loss.value(score, target), axis=-1)

    def gradient(self, score: Array, target: Array) -> Array:
        return self.loss.gradient(score, target)

    def curvature(self, score: Array, target: Array) -> Array:
        """The diagonal matrix of the features' curvatures, [n, d, d]."""
        return _diagonal(self.loss.curvature(score, target))

    def response(self, score: Array) -> Array:
        """The rebuilt features, [n, d]."""
        return self.loss.response(score)

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The best constant of each feature, [d]."""
        return np.stack([self.loss.constant(x, weight) for x in np.asarray(target).T])

    def check_target(self, target: Array) -> None:
        """Every feature must lie in the domain of `loss`."""
        for feature in np.asarray(target).T:
            self.loss.check_target(feature)

    def _check_arrays(self, **arrays: Array | None) -> None:
        super()._check_arrays(**arrays)
        score, target = (tuple(arrays[name].shape) for name in ("score", "target"))  # type: ignore[union-attr]
        self._check_widths(score, target)

    def _check_widths(self, score: tuple[int, ...], target: tuple[int, ...]) -> None:
        if score != target:
            raise ShapeError(
                f"{type(self).__name__}: score has shape {score} and target {target}; "
                f"a reconstruction has the shape of what it rebuilds"
            )


@component
class ELBO(Reconstruction):
    """The negative evidence lower bound of a variational autoencoder with a Gaussian code.

    The score [n, d + 2k] holds, side by side, the reconstruction (d), the means (k = `latent`) and
    the log-variances (k) of the code; the target [n, d] is the input. `loss` judges one feature
    (the constants that it drops are dropped here). A larger `beta` pulls the code closer to the
    standard normal distribution, at the price of the reconstruction; 1 is the bound itself.

    >>> import numpy as np
    >>> score = np.array([[0.5, -1.0, 2.0, 0.0]])  # two features, mean 2, log-variance 0
    >>> ELBO(latent=1).value(score, np.array([[0.5, 0.0]])).tolist()  # ½ + ½ 2²
    [2.5]
    """

    latent: Count = 2
    beta: NonNegative = 1.0
    card = Card(
        formula="Σⱼ ℓ(zⱼ, xⱼ) + β ½ Σₖ (μₖ² + exp(sₖ) - 1 - sₖ), sₖ = log σₖ²",
        source="Kingma and Welling (2014), Auto-encoding variational Bayes, eq. 10; for β Higgins "
        "et al. (2017), beta-VAE, eq. 4",
        use="variational autoencoders",
        target="features",
        search=MappingProxyType({"beta": Range(0.1, 10.0, log=True)}),
    )

    def value(self, score: Array, target: Array) -> Array:
        rebuilt, mean, log_variance = self.split(score)
        return super().value(rebuilt, target) + self.beta * gaussian_kl(mean, log_variance)

    def gradient(self, score: Array, target: Array) -> Array:
        """∂ℓ/∂z, β μ and ½ β (exp(s) - 1), [n, d + 2k]."""
        rebuilt, mean, log_variance = self.split(score)
        xp = namespace(score, self.beta)
        code = xp.concat([mean, 0.5 * xp.expm1(log_variance)], axis=-1)
        return xp.concat([super().gradient(rebuilt, target), self.beta * code], axis=-1)

    def curvature(self, score: Array, target: Array) -> Array:
        """The diagonal matrix of ∂²ℓ/∂z², β and ½ β exp(s), [n, d + 2k, d + 2k]."""
        rebuilt, mean, log_variance = self.split(score)
        xp = namespace(score, self.beta)
        code = xp.concat([xp.ones_like(mean), 0.5 * xp.exp(log_variance)], axis=-1)
        return _diagonal(
            xp.concat([self.loss.curvature(rebuilt, target), self.beta * code], axis=-1)
        )

    def response(self, score: Array) -> Array:
        """The rebuilt features, [n, d]."""
        return super().response(self.split(score)[0])

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The best constant of each feature, and the standard normal distribution."""
        return np.concatenate([super().constant(target, weight), np.zeros(2 * self.latent)])

    def split(self, score: Array) -> tuple[Array, Array, Array]:
        """The reconstruction [n, d], the means [n, k] and the log-variances [n, k]."""
        k = self.latent
        return score[..., : -2 * k], score[..., -2 * k : -k], score[..., -k:]

    def _check_widths(self, score: tuple[int, ...], target: tuple[int, ...]) -> None:
        if score[-1] != target[-1] + 2 * self.latent:
            raise ShapeError(
                f"ELBO: score has {score[-1]} columns and target {target[-1]}; with "
                f"latent={self.latent} score needs {target[-1] + 2 * self.latent}: the "
                f"reconstruction, {self.latent} means and {self.latent} log-variances"
            )


@component
class KLSparsity(JointLoss):
    """How far the mean activation of each sigmoid unit lies from the wanted one, over a batch.

    The score [n, K] holds the units before their sigmoid; the target [n] the wanted activation ρ,
    the same for every unit: `np.full(n, 0.05)` makes each unit fire on 5 % of the rows. Summed over
    the units. A smaller target makes the code sparser. The mean is over the rows of the batch, so
    the value depends on how the data are batched.

    >>> import numpy as np
    >>> code = np.array([[0.0, 3.0], [0.0, -3.0]])  # both units active half of the time
    >>> KLSparsity()(code, np.full(2, 0.5)).round(12).tolist()
    0.0
    """

    score_axes = 1
    card = Card(
        formula="Σₖ ρ log(ρ / aₖ) + (1 - ρ) log((1 - ρ) / (1 - aₖ)), aₖ = mean σ(zₖ)",
        source="Lee, Ekanadham and Ng (2008), Sparse deep belief net model for visual area V2; "
        "Ng (2011), Sparse autoencoder, CS294A lecture notes, section 3",
        use="added to a reconstruction error: codes in which few units are active",
        target="fraction",
        convex=False,
    )

    def joint(self, score: Array, target: Array, weight: Array) -> Array:
        wanted, on, off = self._means(score, target, weight)
        return namespace(score).sum(bernoulli_kl(wanted, on, off), axis=-1)

    def gradient(self, score: Array, target: Array) -> Array:
        """((1 - ρ) / (1 - aₖ) - ρ / aₖ) σ'(zₖ) / n for each of n rows, [n, K]."""
        xp = namespace(score)
        means = self._means(score, target, xp.ones_like(score[..., 0]))
        wanted, on, off = (mean[..., None, :] for mean in means)
        slope = -log1pexp(-score) - log1pexp(score)
        pull = (1 - wanted) * xp.exp(slope - off) - wanted * xp.exp(slope - on)
        return pull / score.shape[-2]

    def response(self, score: Array) -> Array:
        """The activations, [n, K]."""
        return sigmoid(score)

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The logit of the mean target, kept finite."""
        wanted = np.clip(np.average(target, weights=weight), 1e-6, 1 - 1e-6)
        return np.log(wanted / (1 - wanted))

    def check_target(self, target: Array) -> None:
        """Every target must lie in [0, 1]."""
        target = np.asarray(target)
        bad = ~((target >= 0) & (target <= 1))
        reject(self, target, bad, "outside [0, 1]", "give the share of rows a unit should fire on")

    def _means(self, score: Array, target: Array, weight: Array) -> tuple[Array, Array, Array]:
        """ρ [1], log a [K] and log (1 - a) [K]: weighted means over the rows."""
        xp = namespace(score)
        total = xp.sum(weight, axis=-1, keepdims=True)
        share = weight / xp.where(total > 0, total, xp.ones_like(total))
        wanted = xp.sum(share * to_float(target, score), axis=-1)[..., None]
        return wanted, _log_mean(-log1pexp(-score), share), _log_mean(-log1pexp(score), share)


def bernoulli_kl(wanted: Array, on: Array, off: Array) -> Array:
    """ρ log(ρ / a) + (1 - ρ) log((1 - ρ) / (1 - a)), where `on` is log a and `off` log (1 - a).

    >>> bernoulli_kl(np.array(1.0), np.log(0.5), np.log(0.5)).round(3).tolist()
    0.693
    """
    entropy = xlogy(wanted, wanted) + xlogy(1 - wanted, 1 - wanted)
    return entropy - wanted * on - (1 - wanted) * off


def gaussian_kl(mean: Array, log_variance: Array) -> Array:
    """KL(N(μ, diag exp(s)) ‖ N(0, 1)) = ½ Σ (μ² + exp(s) - 1 - s), over the last axis.

    >>> gaussian_kl(np.array([[2.0, 0.0]]), np.zeros((1, 2))).tolist()
    [2.0]
    """
    terms = 0.5 * mean * mean + 0.5 * _exp_beyond_line(log_variance)
    return namespace(terms).sum(terms, axis=-1)


def _exp_beyond_line(x: Array) -> Array:
    """exp(x) - 1 - x, by its series near 0, where the difference cancels."""
    xp = namespace(x)
    near = xp.abs(x) < 1
    small, series = xp.where(near, x, xp.zeros_like(x)), 1.0
    for power in range(18, 2, -1):
        series = 1 + small * series / power
    return xp.where(near, 0.5 * small * small * series, xp.expm1(x) - x)


def _log_mean(log_values: Array, share: Array) -> Array:
    """log Σ share · exp(log_values) over the last axis but one, whose absent rows have share 0."""
    xp = namespace(log_values)
    share = share[..., None]
    heard = xp.where(share > 0, log_values, xp.full_like(log_values, -np.inf))
    top = xp.max(heard, axis=-2, keepdims=True)
    top = xp.where(top > -np.inf, top, xp.zeros_like(top))
    below = xp.where(share > 0, log_values - top, xp.zeros_like(log_values))
    total = xp.sum(share * xp.exp(below), axis=-2)
    empty = total == 0
    log_total = xp.log(xp.where(empty, xp.ones_like(total), total))
    return xp.squeeze(top, axis=-2) + log_total


def _diagonal(entries: Array) -> Array:
    """A diagonal matrix for each row, [n, K, K]."""
    xp = namespace(entries)
    return entries[..., None] * xp.eye(entries.shape[-1], dtype=entries.dtype)
