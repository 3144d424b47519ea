"""Schedules: pure functions from the step to the multiplier of the learning rate."""

from minimand.schedules.annealing import Cosine, Linear, OneCycle, Polynomial, WarmupStableDecay
from minimand.schedules.base import Schedule
from minimand.schedules.decay import (
    Constant,
    Exponential,
    InverseSqrt,
    InverseTime,
    Piecewise,
    Step,
)
from minimand.schedules.plateau import ReduceOnPlateau
from minimand.schedules.wrappers import Joined, Restarts, Warmup

__all__ = [
    "Constant",
    "Cosine",
    "Exponential",
    "InverseSqrt",
    "InverseTime",
    "Joined",
    "Linear",
    "OneCycle",
    "Piecewise",
    "Polynomial",
    "ReduceOnPlateau",
    "Restarts",
    "Schedule",
    "Step",
    "Warmup",
    "WarmupStableDecay",
]
