"""Choosing hyper-parameters by cross-validation."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minimand.tuning.basins import restarts, train_restarts
    from minimand.tuning.evaluate import CrossValidation
    from minimand.tuning.found import Found, minimize
    from minimand.tuning.generations import Raised, evolve
    from minimand.tuning.grid import Searched, grid_search, product_grid
    from minimand.tuning.halving import hyperband, successive_halving
    from minimand.tuning.hypergradients import hypergradient, tuned_by_gradient
    from minimand.tuning.layerwise import Pretraining, compare_pretraining
    from minimand.tuning.learning_rate import range_test
    from minimand.tuning.pbt import population_based_training
    from minimand.tuning.selection import Selected, nested, select
    from minimand.tuning.space import Choice, Float, Int
    from minimand.tuning.study import Study
    from minimand.tuning.trial import Outcome, Trial
    from minimand.tuning.tuned import Tuned, tune
    from minimand.tuning.width import Width, probe_width

_HOMES = {
    "evaluate": ("CrossValidation",),
    "generations": ("Raised", "evolve"),
    "grid": ("Searched", "grid_search", "product_grid"),
    "halving": ("hyperband", "successive_halving"),
    "hypergradients": ("hypergradient", "tuned_by_gradient"),
    "layerwise": ("Pretraining", "compare_pretraining"),
    "learning_rate": ("range_test",),
    "found": ("Found", "minimize"),
    "pbt": ("population_based_training",),
    "basins": ("restarts", "train_restarts"),
    "selection": ("Selected", "nested", "select"),
    "space": ("Choice", "Float", "Int"),
    "study": ("Study",),
    "trial": ("Outcome", "Trial"),
    "tuned": ("Tuned", "tune"),
    "width": ("Width", "probe_width"),
}
__all__ = [
    "Choice",
    "CrossValidation",
    "Float",
    "Found",
    "Int",
    "Outcome",
    "Pretraining",
    "Raised",
    "Searched",
    "Selected",
    "Study",
    "Trial",
    "Tuned",
    "Width",
    "compare_pretraining",
    "evolve",
    "grid_search",
    "hyperband",
    "hypergradient",
    "minimize",
    "nested",
    "population_based_training",
    "probe_width",
    "product_grid",
    "range_test",
    "restarts",
    "select",
    "successive_halving",
    "train_restarts",
    "tune",
    "tuned_by_gradient",
]


def __getattr__(name: str) -> Any:
    """Load a name when it is first used, so that the workers of a study start quickly."""
    for home, names in _HOMES.items():
        if name in names:
            value = getattr(import_module(f"minimand.tuning.{home}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'minimand.tuning' has no attribute '{name}'")
