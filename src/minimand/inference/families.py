"""What a loss leaves out of its likelihood, or what its asymptotic theory needs instead.

A loss is the negative log-likelihood of a family up to a factor, a dispersion and terms of the
target alone. Quantile, Absolute and Huber have no likelihood, and bring their own covariance.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from minimand.arrays import Array
from minimand.errors import ArgumentError, DataError
from minimand.inference.family import Family, FittedRows
from minimand.losses import (
    Absolute,
    BinaryCrossEntropy,
    CrossEntropy,
    Gamma,
    HalfSquared,
    Huber,
    InverseGaussian,
    Logistic,
    Loss,
    NegativeBinomial,
    Poisson,
    Quantile,
    Squared,
    Tweedie,
)
from minimand.losses.classification import class_shares


class Gaussian(Family):
    """The normal distribution around the score."""

    name, dispersed, student = "Gaussian", True, True

    def variance(self, mean: Array) -> Array:
        return np.ones_like(mean)

    def log_likelihood(self, rows: FittedRows, dispersion: float) -> float:
        """At the most likely dispersion, Σ w r² / n."""
        spread = np.log(2 * np.pi * self.pearson(rows) / rows.count)
        precision = 0.0 if rows.frequency else np.sum(np.log(rows.weight))
        return float(0.5 * (precision - rows.count * (spread + 1)))

    def null(self, rows: FittedRows, constant: bool) -> Array:
        return super().null(rows, constant) if constant else rows.offset


class FullGaussian(Gaussian):
    """The squared error, which is twice -φ log p."""

    unit = 0.5


class Binomial(Family):
    """A class, or the share of successes among as many trials as the weight says."""

    name, endless = "Binomial", True

    def check(self) -> None:
        if np.any(getattr(self.loss, "pos_weight", 1.0) != 1):
            raise ArgumentError(
                f"{self.loss} is a likelihood only with pos_weight=1; weigh rows by weight instead"
            )

    def counted(self, rows: FittedRows) -> bool:
        return bool(np.any((rows.target > 0) & (rows.target < 1)))

    def variance(self, mean: Array) -> Array:
        return mean * (1 - mean)

    def least(self, target: Array) -> Array:
        return special.entr(target) + special.entr(1 - target)


class Signs(Binomial):
    """Classes written as -1 and +1."""

    def pearson(self, rows: FittedRows) -> float:
        odds = np.exp(-np.where(rows.target > 0, 1.0, -1.0) * rows.score)
        return float(rows.weight @ odds)

    def least(self, target: Array) -> Array:
        return np.zeros(len(target))


class Multinomial(Family):
    """One of K classes; scores are those beside class 0's."""

    name, endless = "Multinomial", True

    def check(self) -> None:
        loss = self.loss
        if np.any(loss.class_weight != 1) or np.any(loss.label_smoothing != 0):  # type: ignore[attr-defined]
            raise ArgumentError(
                f"{loss} is a likelihood only with class_weight=1 and label_smoothing=0; weigh "
                f"rows by weight instead"
            )

    def gradient(self, rows: FittedRows) -> Array:
        return super().gradient(rows)[:, 1:]

    def curvature(self, rows: FittedRows) -> Array:
        return super().curvature(rows)[:, 1:, 1:]

    def pearson(self, rows: FittedRows) -> float:
        p = np.take_along_axis(self.mean(rows), rows.target[:, None], axis=1)[:, 0]
        return float(rows.weight @ (1 / p - 1))

    def null(self, rows: FittedRows, constant: bool) -> Array:
        share = class_shares(rows.target, rows.weight, rows.score.shape[1])
        return np.tile(np.log(np.maximum(share, 1e-300)), (len(rows.target), 1))


class LogLink(Family):
    """A family whose score is the logarithm of the mean."""

    def expected(self, rows: FittedRows) -> Array:
        mean = self.mean(rows)
        return mean**2 / self.variance(mean)

    def least(self, target: Array) -> Array:
        with np.errstate(divide="ignore"):
            score = np.log(np.where(target > 0, target, 1.0))
        return np.where(target > 0, self.loss.value(score, target), 0.0)


class PoissonFamily(LogLink):
    """Counts whose variance is their mean."""

    name, endless = "Poisson", True

    def counted(self, rows: FittedRows) -> bool:
        return True

    def variance(self, mean: Array) -> Array:
        return mean

    def dropped(self, target: Array) -> Array:
        return self.loss.dropped(target)  # type: ignore[attr-defined]


class NegativeBinomialFamily(PoissonFamily):
    """Counts whose variance is μ + α μ², with the α of the loss."""

    name = "Negative binomial"

    def variance(self, mean: Array) -> Array:
        return mean + self.loss.dispersion * mean**2  # type: ignore[attr-defined]


class GammaFamily(LogLink):
    """Positive amounts whose standard deviation is proportional to the mean."""

    name, dispersed = "Gamma", True

    def variance(self, mean: Array) -> Array:
        return mean**2

    def log_density(self, rows: FittedRows, dispersion: Array) -> Array:
        y, shape = rows.target, 1 / dispersion
        own = shape * np.log(shape * y) - np.log(y) - special.gammaln(shape)
        return own - shape * self.loss.value(rows.score, y)


class InverseGaussianFamily(LogLink):
    """Positive amounts with the variance φ μ³."""

    name, dispersed = "Inverse Gaussian", True

    def variance(self, mean: Array) -> Array:
        return mean**3

    def log_density(self, rows: FittedRows, dispersion: Array) -> Array:
        y = rows.target
        own = np.log(2 * np.pi * dispersion * y**3)
        return -0.5 * own - (self.loss.value(rows.score, y) + 0.5 / y) / dispersion


class TweedieFamily(LogLink):
    """Amounts that are often exactly 0, with the variance φ μ^p."""

    name, dispersed, endless = "Tweedie", True, True

    def variance(self, mean: Array) -> Array:
        return mean**self.loss.power  # type: ignore[attr-defined]

    def log_density(self, rows: FittedRows, dispersion: Array) -> Array:
        """By Wright's Bessel function: Dunn and Smyth (2005), eq. 5."""
        y, p = rows.target, self.loss.power  # type: ignore[attr-defined]
        above = np.where(y > 0, y, 1.0)
        a = (2 - p) / (1 - p)
        x = ((p - 1) * dispersion / above) ** a / ((2 - p) * dispersion)
        series = special.log_wright_bessel(-a, 0.0, x) - np.log(above)
        return np.where(y > 0, series, 0.0) - self.loss.value(rows.score, y) / dispersion


class Robust(Family):
    """A loss of the residual without a likelihood: its covariance is a number times (XᵀX)⁻¹."""

    likelihood = False

    def modelled(self, rows: FittedRows) -> Array:
        return rows.repeats / rows.weight


class QuantileFamily(Robust):
    """A quantile; the density of the residuals at 0 by an Epanechnikov kernel.

    The bandwidth is that of Hall and Sheather (1988), as in Koenker (2005), Quantile Regression,
    section 3.4. The bread of "sandwich" is Powell's, with a density for each row; that of the
    other kinds has one density for all.
    """

    name, student, smooth = "Quantile", True, False
    studentised = ("observed", "expected", "sandwich", "HC0", "HC1", "HC2", "HC3")

    def curvature(self, rows: FittedRows) -> Array:
        density = np.average(self._densities(rows), weights=rows.repeats)
        return np.full(len(rows.target), density)

    def bread(self, rows: FittedRows, kind: str) -> Array:
        return self._densities(rows) if kind == "sandwich" else self.curvature(rows)

    def factor(self, rows: FittedRows, df: float) -> float:
        """τ (1 - τ) / f(0)²."""
        return float(self._level * (1 - self._level) / self.curvature(rows)[0] ** 2)

    @property
    def _level(self) -> float:
        return float(getattr(self.loss, "level", 0.5))

    def _densities(self, rows: FittedRows) -> Array:
        """What each residual adds to the density at 0: the kernel over its width."""
        r, often = rows.target - rows.score, np.rint(rows.repeats).astype(int)
        n, level = rows.count, self._level
        z = special.ndtri(level)
        bell = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
        h = special.ndtri(0.975) ** (2 / 3) * (1.5 * bell**2 / (n * (2 * z**2 + 1))) ** (1 / 3)
        h = min(h, 0.999 * level, 0.999 * (1 - level))
        low, high = np.quantile(np.repeat(r, often), [0.25, 0.75])
        spread = min(float(np.std(np.repeat(rows.target, often))), float(high - low) / 1.34)
        width = spread * (special.ndtri(level + h) - special.ndtri(level - h))
        if not width > 0:
            raise DataError(
                "half of the residuals are equal, so their density at 0 cannot be estimated; "
                "bootstrap the rows instead"
            )
        return 0.75 * np.maximum(1 - (r / width) ** 2, 0.0) / width


class HalvedQuantile(QuantileFamily):
    """The absolute error, which is twice the pinball loss at ½."""

    unit = 0.5


class HuberFamily(Robust):
    """Huber's M-estimator with its `delta` held as it is."""

    name = "Huber"

    def factor(self, rows: FittedRows, df: float) -> float:
        """K² Σ ψ² / (n - p) / mean(ψ')²: H1 of Huber (1981), eq. 7.6.16."""
        often, p = rows.repeats, rows.count - df
        slopes, bends = self.gradient(rows), self.curvature(rows)
        bend = np.average(bends, weights=often)
        spread = np.average((bends - bend) ** 2, weights=often)
        correction = 1 + p / rows.count * spread / bend**2
        return float(correction**2 * (often @ slopes**2) / df / bend**2)


FAMILIES: dict[type[Loss], type[Family]] = {
    Squared: FullGaussian,
    HalfSquared: Gaussian,
    Logistic: Signs,
    BinaryCrossEntropy: Binomial,
    CrossEntropy: Multinomial,
    Poisson: PoissonFamily,
    NegativeBinomial: NegativeBinomialFamily,
    Gamma: GammaFamily,
    InverseGaussian: InverseGaussianFamily,
    Tweedie: TweedieFamily,
    Quantile: QuantileFamily,
    Absolute: HalvedQuantile,
    Huber: HuberFamily,
}


def family_of(loss: Loss) -> Family:
    """The family of a loss.

    Raises:
        ArgumentError: it has none, or settings that no likelihood has.
    """
    if type(loss) not in FAMILIES:
        known = ", ".join(sorted(cls.__name__ for cls in FAMILIES))
        raise ArgumentError(
            f"infer knows no standard errors for {loss}; it supports {known} (for others, "
            f"bootstrap the rows)"
        )
    family = FAMILIES[type(loss)](loss)
    family.check()
    return family
