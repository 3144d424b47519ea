"""scikit-learn's own checks of what an estimator must do, all of them."""

from __future__ import annotations

from typing import Any

from sklearn.utils.estimator_checks import parametrize_with_checks

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
    TweedieRegressor,
)

LINEAR = [
    LinearRegressor(),
    LinearRegressor("huber(delta=0.5)", penalty="l2"),
    LinearRegressor("half_squared", penalty="l1(strength=0.01)"),
    PoissonRegressor(),
    GammaRegressor(),
    TweedieRegressor(),
    QuantileRegressor(),
    QuantileRegressor(penalty="l2"),
    HuberRegressor(),
    LinearRegressorCV(strengths=5),
    LinearClassifier(),
    LinearClassifier("hinge", solver="interior_point(tolerance=1e-14)"),
    LinearClassifier("squared_hinge"),
    LinearClassifierCV(strengths=3, cv=3),
]
NETWORKS = [
    Autoencoder((4, 2), "tanh", max_iter=60, random_state=0),
    NetworkRegressor((4,), max_iter=120, random_state=0),
    NetworkClassifier((4,), "sigmoid", max_iter=60, random_state=0),
    DeepBeliefClassifier((4,), max_iter=60, pretraining_iter=1, random_state=0),
    RestrictedBoltzmannMachine(3, n_iter=1, random_state=0),
]
"""The second classifier ends with the program of the first, and a pass is a run of one epoch."""
WEIGHTS = (
    "check_sample_weight_equivalence_on_dense_data",
    "check_sample_weight_equivalence_on_sparse_data",
)
UNDETERMINED = dict.fromkeys(
    WEIGHTS,
    "the check has more columns than rows: without a penalty many lines go through all rows, and "
    "an interior point ends at any of them",
)
STOCHASTIC = dict.fromkeys(
    WEIGHTS,
    "training goes by random batches, which a repeated row enters more than once and a weighted "
    "one once, so that only the expected step is the same",
)


def undetermined(estimator: Any) -> dict[str, str]:
    interpolating = isinstance(estimator, (HuberRegressor, QuantileRegressor))
    return UNDETERMINED if interpolating and not estimator.penalty else {}


@parametrize_with_checks(LINEAR, expected_failed_checks=undetermined)
def test_linear(estimator: Any, check: Any) -> None:
    check(estimator)


@parametrize_with_checks(NETWORKS, expected_failed_checks=lambda estimator: STOCHASTIC)
def test_networks(estimator: Any, check: Any) -> None:
    check(estimator)
