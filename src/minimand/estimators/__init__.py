"""The scikit-learn face: estimators for pipelines, searches and everything else that takes them."""

from minimand.estimators.autoencoder import Autoencoder
from minimand.estimators.boltzmann import DeepBeliefClassifier, RestrictedBoltzmannMachine
from minimand.estimators.linear import LinearClassifier, LinearRegressor
from minimand.estimators.network import NetworkClassifier, NetworkRegressor
from minimand.estimators.path import LinearClassifierCV, LinearRegressorCV
from minimand.estimators.search import SearchCV
from minimand.estimators.shorthand import (
    GammaRegressor,
    HuberRegressor,
    PoissonRegressor,
    QuantileRegressor,
    TweedieRegressor,
)

__all__ = [
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
]
