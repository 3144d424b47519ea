"""minimand chooses the loss for what you care about, minimises it, and shows the evidence."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minimand.diagnosis import check_loss, recommend
    from minimand.estimators import (
        Autoencoder,
        DeepBeliefClassifier,
        GammaRegressor,
        HuberRegressor,
        LinearClassifier,
        LinearClassifierCV,
        LinearRegressor,
        LinearRegressorCV,
        NetworkClassifier,
        NetworkRegressor,
        PoissonRegressor,
        QuantileRegressor,
        RestrictedBoltzmannMachine,
        SearchCV,
        TweedieRegressor,
    )
    from minimand.fitting import Comparison, Fit, compare, fit, load
    from minimand.inference import infer
    from minimand.losses import as_keras, as_lightgbm, as_xgboost, loss
    from minimand.solvers import Objective, least_squares, minimise, path, select
    from minimand.training import Recipe, train
    from minimand.tuning import Choice, Float, Int, Study, minimize, tune

__version__ = "0.1.0"
__all__ = [
    "Autoencoder",
    "Choice",
    "Comparison",
    "DeepBeliefClassifier",
    "Fit",
    "Float",
    "GammaRegressor",
    "HuberRegressor",
    "Int",
    "LinearClassifier",
    "LinearClassifierCV",
    "LinearRegressor",
    "LinearRegressorCV",
    "NetworkClassifier",
    "NetworkRegressor",
    "Objective",
    "PoissonRegressor",
    "QuantileRegressor",
    "Recipe",
    "RestrictedBoltzmannMachine",
    "SearchCV",
    "Study",
    "TweedieRegressor",
    "as_keras",
    "as_lightgbm",
    "as_xgboost",
    "check_loss",
    "compare",
    "fit",
    "infer",
    "least_squares",
    "load",
    "loss",
    "minimise",
    "minimize",
    "path",
    "recommend",
    "select",
    "train",
    "tune",
]

_HOMES = {
    "diagnosis": ("check_loss", "recommend"),
    "estimators": (
        "Autoencoder",
        "DeepBeliefClassifier",
        "GammaRegressor",
        "HuberRegressor",
        "LinearClassifier",
        "LinearClassifierCV",
        "LinearRegressor",
        "LinearRegressorCV",
        "NetworkClassifier",
        "NetworkRegressor",
        "PoissonRegressor",
        "QuantileRegressor",
        "RestrictedBoltzmannMachine",
        "SearchCV",
        "TweedieRegressor",
    ),
    "fitting": ("Comparison", "Fit", "compare", "fit", "load"),
    "losses": ("as_keras", "as_lightgbm", "as_xgboost", "loss"),
    "inference": ("infer",),
    "solvers": ("Objective", "least_squares", "minimise", "path", "select"),
    "training": ("Recipe", "train"),
    "tuning": ("Choice", "Float", "Int", "Study", "minimize", "tune"),
}
_ROOMS = (
    "data",
    "losses",
    "metrics",
    "networks",
    "optimizers",
    "penalties",
    "schedules",
    "solvers",
    "tuning",
)


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, so that `import minimand` stays quick."""
    if name in _ROOMS:
        return import_module(f"minimand.{name}")
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"minimand.{home}"), name)
    raise AttributeError(f"module 'minimand' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_ROOMS})
