"""Stochastic update rules, one family a file, and what can be put around any of them."""

from minimand.optimizers.adam import Adam, AdamW, AMSGrad, NAdam, RAdam
from minimand.optimizers.adaptive import AdaDelta, Adafactor, AdaGrad, RMSProp
from minimand.optimizers.base import Optimizer
from minimand.optimizers.free import Prodigy, ScheduleFree
from minimand.optimizers.gradient import SGD, SGLD, GradientDescent, Lion, Momentum, Nesterov
from minimand.optimizers.large_batch import LAMB, LARS
from minimand.optimizers.matrix import SOAP, Muon, Shampoo, Sophia
from minimand.optimizers.wrapper import Wrapper
from minimand.optimizers.wrappers import (
    SAM,
    Accumulate,
    Averaged,
    ClipByLayer,
    ClipByNorm,
    ClipByValue,
    Decayed,
    Groups,
)

__all__ = [
    "LAMB",
    "LARS",
    "SAM",
    "SGD",
    "SGLD",
    "SOAP",
    "AMSGrad",
    "Accumulate",
    "AdaDelta",
    "AdaGrad",
    "Adafactor",
    "Adam",
    "AdamW",
    "Averaged",
    "ClipByLayer",
    "ClipByNorm",
    "ClipByValue",
    "Decayed",
    "GradientDescent",
    "Groups",
    "Lion",
    "Momentum",
    "Muon",
    "NAdam",
    "Nesterov",
    "Optimizer",
    "Prodigy",
    "RAdam",
    "RMSProp",
    "ScheduleFree",
    "Shampoo",
    "Sophia",
    "Wrapper",
]
