"""The main job: from a table to a chosen loss, fitted parameters and the evidence."""

from minimand.fitting.main import compare, fit
from minimand.fitting.results import Comparison, Fit, load

__all__ = ["Comparison", "Fit", "compare", "fit", "load"]
