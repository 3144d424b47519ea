"""Stochastic update rules, one family a file."""

from minimand.optimizers.adaptive import Adam
from minimand.optimizers.base import Optimizer
from minimand.optimizers.gradient import SGD

__all__ = ["SGD", "Adam", "Optimizer"]
