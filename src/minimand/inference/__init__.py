"""Standard errors, intervals, deviance and information criteria of classical linear fits."""

from minimand.inference.estimate import infer
from minimand.inference.result import Inference

__all__ = ["Inference", "infer"]
