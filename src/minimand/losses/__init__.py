"""The catalogue of losses, one family a file."""

from minimand.losses.base import Loss, PointwiseLoss
from minimand.losses.classification import CrossEntropy
from minimand.losses.likelihood import Poisson
from minimand.losses.margin import (
    Exponential,
    Hinge,
    Logistic,
    Perceptron,
    SquaredHinge,
    ZeroOne,
)
from minimand.losses.regression import Absolute, Huber, Quantile, Squared

__all__ = [
    "Absolute",
    "CrossEntropy",
    "Exponential",
    "Hinge",
    "Huber",
    "Logistic",
    "Loss",
    "Perceptron",
    "PointwiseLoss",
    "Poisson",
    "Quantile",
    "Squared",
    "SquaredHinge",
    "ZeroOne",
]
