"""Losses of the margin m = target * score, for two classes written as -1 and +1."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from minimand.arrays import Array, log1pexp, namespace, positive_part, sigmoid, to_float
from minimand.component import Card, Positive, Range, component
from minimand.losses.base import PointwiseLoss, refuse_to_minimise, reject

BINARY = ("binary",)


class MarginLoss(PointwiseLoss):
    """A loss φ(m) of the margin m = target * score; subclasses give φ, φ' and φ''."""

    def phi(self, m: Array) -> Array:
        """φ(m)."""
        raise NotImplementedError

    def slope(self, m: Array) -> Array:
        """φ'(m)."""
        raise NotImplementedError

    def bend(self, m: Array) -> Array:
        """φ''(m)."""
        raise NotImplementedError

    def value(self, score: Array, target: Array) -> Array:
        """φ(target * score) for each example."""
        return self.phi(to_float(target, score) * score)

    def gradient(self, score: Array, target: Array) -> Array:
        """target * φ'(target * score) for each example."""
        target = to_float(target, score)
        return target * self.slope(target * score)

    def curvature(self, score: Array, target: Array) -> Array:
        """φ''(target * score) for each example."""
        return self.bend(to_float(target, score) * score)

    def decide(self, score: Array) -> Array:
        """1 where the score is positive, else 0."""
        xp = namespace(score)
        return xp.astype(score > 0, xp.int32)

    def check_target(self, target: Array) -> None:
        """Every target must be -1 or +1."""
        bad = ~np.isin(target, (-1, 1))
        reject(self, target, bad, "neither -1 nor +1", "write 2*y - 1 for labels 0 and 1")

    def from_classes(self, index: Array) -> Array:
        """-1 for class 0 and +1 for class 1."""
        return 2.0 * index - 1.0


@component
class ZeroOne(MarginLoss):
    """The 0-1 error: what a classifier is judged by. It is a metric and refuses to be minimised.

    >>> import numpy as np
    >>> float(ZeroOne()(np.array([0.3, -2.0, 1.0, 4.0]), np.array([1, 1, -1, 1])))
    0.5
    """

    card = Card(
        formula="1 if m ≤ 0, else 0",
        source="Bartlett, Jordan and McAuliffe (2006), Convexity, classification and risk bounds",
        use="judging a classifier; never as an objective",
        tasks=BINARY,
        target="sign",
        convex=False,
        kinks="jumps at m = 0",
        bounded_influence=True,
        symmetric=True,
    )

    def phi(self, m: Array) -> Array:
        xp = namespace(m)
        return xp.where(m > 0, xp.zeros_like(m), xp.ones_like(m))

    def slope(self, m: Array) -> Array:
        return refuse_to_minimise(self)

    def bend(self, m: Array) -> Array:
        return refuse_to_minimise(self)

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        return 1.0 if positive_share(target, weight) > 0.5 else -1.0

    def check_minimisable(self) -> None:
        refuse_to_minimise(self)


@component
class Perceptron(MarginLoss):
    """The perceptron criterion: a wrong side costs its distance, the right side nothing.

    The score 0 everywhere minimises it, so only an iterative method that starts elsewhere, and
    stops, makes use of it.

    >>> import numpy as np
    >>> Perceptron().value(np.array([-2.0, 0.5]), np.array([1, 1])).tolist()
    [2.0, 0.0]
    """

    card = Card(
        formula="max(0, -m)",
        source="Rosenblatt (1958), The perceptron",
        use="finding any separating plane by stochastic steps",
        tasks=BINARY,
        target="sign",
        convex=True,
        lipschitz=1.0,
        kinks="m = 0",
        bounded_influence=False,
        symmetric=True,
        zero_is_optimal=True,
    )

    def phi(self, m: Array) -> Array:
        xp = namespace(m)
        return xp.where(m > 0, xp.zeros_like(m), -m)  # with slope -1 at 0, where training may start

    def slope(self, m: Array) -> Array:
        xp = namespace(m)
        return xp.where(m > 0, xp.zeros_like(m), -xp.ones_like(m))

    def bend(self, m: Array) -> Array:
        return namespace(m).zeros_like(m)

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        return 0.0

    def pieces(self, target: Array) -> tuple[Array, Array, Array]:
        """(kink, slope below it, slope above it) of the two lines that make the loss."""
        return np.zeros_like(target), np.minimum(-target, 0), np.maximum(-target, 0)


@component
class Hinge(MarginLoss):
    """The hinge of the support vector machine: right by a margin of 1 costs nothing.

    >>> import numpy as np
    >>> Hinge().value(np.array([-1.0, 0.5, 2.0]), np.array([1, 1, 1])).tolist()
    [2.0, 0.5, 0.0]
    """

    card = Card(
        formula="max(0, 1 - m)",
        source="Cortes and Vapnik (1995), Support-vector networks",
        use="the class itself, with few support vectors; gives no probabilities",
        tasks=BINARY,
        target="sign",
        convex=True,
        lipschitz=1.0,
        kinks="m = 1",
        bounded_influence=False,
        proper=False,
        symmetric=True,
    )

    def phi(self, m: Array) -> Array:
        return positive_part(1 - m)

    def slope(self, m: Array) -> Array:
        xp = namespace(m)
        return xp.where(m < 1, -xp.ones_like(m), xp.zeros_like(m))

    def bend(self, m: Array) -> Array:
        return namespace(m).zeros_like(m)

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        return np.sign(2 * positive_share(target, weight) - 1)

    def pieces(self, target: Array) -> tuple[Array, Array, Array]:
        """(kink, slope below it, slope above it) of the two lines that make the loss."""
        return target, np.minimum(-target, 0), np.maximum(-target, 0)


class QuadraticMarginLoss(MarginLoss):
    """A loss that is (1 - m)² where |m| ≤ 1, so that the best score is 2 P(+1) - 1."""

    def response(self, score: Array) -> Array:
        """P(+1) = (1 + score) / 2, clipped to [0, 1]."""
        return (namespace(score).clip(score, -1.0, 1.0) + 1) / 2

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        return 2 * positive_share(target, weight) - 1


@component
class SquaredHinge(QuadraticMarginLoss):
    """The hinge squared: smooth, and its response is a probability.

    >>> import numpy as np
    >>> SquaredHinge().value(np.array([-1.0, 0.5, 2.0]), np.array([1, 1, 1])).tolist()
    [4.0, 0.25, 0.0]
    """

    card = Card(
        formula="max(0, 1 - m)²",
        source="Zhang (2004), Statistical behavior and consistency of classification methods",
        use="a smooth support vector machine",
        tasks=BINARY,
        target="sign",
        convex=True,
        curvature=2.0,
        kinks="φ'' jumps at m = 1",
        bounded_influence=False,
        proper=True,
        symmetric=True,
    )

    def phi(self, m: Array) -> Array:
        return positive_part(1 - m) ** 2

    def slope(self, m: Array) -> Array:
        return -2 * positive_part(1 - m)

    def bend(self, m: Array) -> Array:
        xp = namespace(m)
        return xp.where(m < 1, 2 * xp.ones_like(m), xp.zeros_like(m))


@component
class ModifiedHuber(QuadraticMarginLoss):
    """The squared hinge, linear below m = -1: smooth, and a wrong label pulls with bounded force.

    >>> import numpy as np
    >>> ModifiedHuber().value(np.array([-3.0, -1.0, 0.5]), np.array([1, 1, 1])).tolist()
    [12.0, 4.0, 0.25]
    """

    card = Card(
        formula="max(0, 1 - m)² if m ≥ -1, else -4 m",
        source="Zhang (2004), Solving large scale linear prediction problems by stochastic descent",
        use="probabilities of two classes by a linear model, when some labels are wrong",
        target="sign",
        convex=True,
        lipschitz=4.0,
        curvature=2.0,
        kinks="φ'' jumps at |m| = 1",
        bounded_influence=False,
        proper=True,
        symmetric=True,
    )

    def phi(self, m: Array) -> Array:
        inner = namespace(m).clip(1 - m, 0.0, 2.0)
        return inner * (2 * (1 - m) - inner)

    def slope(self, m: Array) -> Array:
        return -2 * namespace(m).clip(1 - m, 0.0, 2.0)

    def bend(self, m: Array) -> Array:
        xp = namespace(m)
        return xp.where(xp.abs(m) < 1, 2 * xp.ones_like(m), xp.zeros_like(m))


@component
class Ramp(MarginLoss):
    """The hinge cut off at `cap`: a row on the wrong side by far costs no more. Not convex.

    A larger `cap` lets rows that are further on the wrong side pull; at infinity it is the hinge.

    >>> import numpy as np
    >>> Ramp(cap=2.0).value(np.array([-5.0, 0.5, 2.0]), np.array([1, 1, 1])).tolist()
    [2.0, 0.5, 0.0]
    """

    cap: Positive = 2.0
    card = Card(
        formula="min(κ, max(0, 1 - m))",
        source="Collobert, Sinz, Weston and Bottou (2006), Trading convexity for scalability, "
        "with s = 1 - κ",
        use="support vector machines when many labels are wrong; start from the hinge's fit",
        target="sign",
        convex=False,
        lipschitz=1.0,
        kinks="m = 1, m = 1 - κ",
        bounded_influence=True,
        proper=False,
        symmetric=True,
        search=MappingProxyType({"cap": Range(1.5, 4.0)}),
    )

    def phi(self, m: Array) -> Array:
        xp = namespace(m, self.cap)
        loss = positive_part(1 - m)
        return xp.where(loss < self.cap, loss, self.cap * xp.ones_like(m))

    def slope(self, m: Array) -> Array:
        xp = namespace(m, self.cap)
        sloping = (m < 1) & (m > 1 - self.cap)
        return xp.where(sloping, -xp.ones_like(m), xp.zeros_like(m))

    def bend(self, m: Array) -> Array:
        return namespace(m).zeros_like(m)

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        return 1.0 if positive_share(target, weight) > 0.5 else -1.0


@component
class Logistic(MarginLoss):
    """The logistic loss: the negative log-likelihood of P(+1) = 1 / (1 + exp(-score)).

    >>> import numpy as np
    >>> Logistic().value(np.array([0.0, -800.0]), np.array([1, 1])).round(4).tolist()
    [0.6931, 800.0]
    """

    card = Card(
        formula="log(1 + exp(-m))",
        source="Cox (1958), The regression analysis of binary sequences",
        use="probabilities of two classes",
        tasks=BINARY,
        target="sign",
        convex=True,
        lipschitz=1.0,
        curvature=0.25,
        bounded_influence=False,
        proper=True,
        symmetric=True,
    )

    def phi(self, m: Array) -> Array:
        return log1pexp(-m)

    def slope(self, m: Array) -> Array:
        return -sigmoid(-m)

    def bend(self, m: Array) -> Array:
        return sigmoid(m) * sigmoid(-m)

    def response(self, score: Array) -> Array:
        """P(+1) = 1 / (1 + exp(-score))."""
        return sigmoid(score)

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        return log_odds(target, weight)


@component
class Exponential(MarginLoss):
    """The exponential loss of AdaBoost: a wrong side costs exponentially, so label noise hurts.

    >>> import numpy as np
    >>> Exponential().value(np.array([0.0, -1.0]), np.array([1, 1])).round(4).tolist()
    [1.0, 2.7183]
    """

    card = Card(
        formula="exp(-m)",
        source="Freund and Schapire (1997); Friedman, Hastie and Tibshirani (2000), eq. 12",
        use="boosting; clean labels",
        tasks=BINARY,
        target="sign",
        convex=True,
        bounded_influence=False,
        proper=True,
        symmetric=True,
    )

    def phi(self, m: Array) -> Array:
        return namespace(m).exp(-m)

    def slope(self, m: Array) -> Array:
        return -namespace(m).exp(-m)

    def bend(self, m: Array) -> Array:
        return namespace(m).exp(-m)

    def response(self, score: Array) -> Array:
        """P(+1) = 1 / (1 + exp(-2 score))."""
        return sigmoid(2 * score)

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        return log_odds(target, weight) / 2


def positive_share(target: Array, weight: Array | None = None) -> Array:
    """The weighted share of targets that are +1."""
    return np.average(np.asarray(target) > 0, weights=weight)


def log_odds(target: Array, weight: Array | None = None) -> Array:
    """log(p / (1 - p)) of the share of +1, kept finite when one class is absent."""
    p = positive_share(target, weight)
    least = 0 if 0 < p < 1 else 0.5 / len(target)
    p = np.clip(p, least, 1 - least)
    return np.log(p / (1 - p))
