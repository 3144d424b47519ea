"""Metrics against scikit-learn, on random and on awkward data."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given
from hypothesis import strategies as st

from minimand.component import catalogue
from minimand.errors import ArgumentError
from minimand.metrics import (
    AUC,
    DEFAULT,
    F1,
    MSE,
    R2,
    Accuracy,
    Formula,
    LogLoss,
    Metric,
    Pinball,
    Prediction,
)

PEERS: dict[str, Callable[..., float]] = {
    "MSE": lambda y, p, **w: sk.mean_squared_error(y, p.value, **w),
    "RMSE": lambda y, p, **w: sk.root_mean_squared_error(y, p.value, **w),
    "MAE": lambda y, p, **w: sk.mean_absolute_error(y, p.value, **w),
    "MedianAE": lambda y, p, **w: sk.median_absolute_error(y, p.value, **w),
    "R2": lambda y, p, **w: sk.r2_score(y, p.value, **w),
    "Pinball": lambda y, p, **w: sk.mean_pinball_loss(y, p.value, alpha=0.5, **w),
    "PoissonDeviance": lambda y, p, **w: sk.mean_poisson_deviance(y, p.value, **w),
    "Accuracy": lambda y, p, **w: sk.accuracy_score(y, p.value, **w),
    "Error": lambda y, p, **w: sk.zero_one_loss(y, p.value, **w),
    "BalancedAccuracy": lambda y, p, **w: sk.balanced_accuracy_score(y, p.value, **w),
    "F1": lambda y, p, **w: sk.f1_score(
        y, p.value, average="macro" if y.max() > 1 else "binary", **w
    ),
    "LogLoss": lambda y, p, **w: sk.log_loss(y, p.probability, **w),
    "AUC": lambda y, p, **w: sk.roc_auc_score(y, p.score, **w),
}
METRICS = [made() for made in catalogue("metric").values()]


def sample(task: str, seed: int) -> tuple[np.ndarray, Prediction]:
    """Targets and predictions of a task; binary scores are rounded so that some are equal."""
    rng, n = np.random.default_rng(seed), 60
    if task == "regression":
        return rng.normal(size=n), Prediction(rng.normal(size=n))
    if task == "count":
        return rng.poisson(3.0, n), Prediction(rng.gamma(3.0, size=n))
    classes = 2 if task == "binary" else 4
    probability = rng.dirichlet(np.ones(classes), n)
    value = probability.argmax(axis=1)
    target = np.where(rng.random(n) < 0.5, value, rng.integers(0, classes, n))
    return target, Prediction(value, probability, probability[:, -1].round(1))


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    ("metric", "task"), [(m, t) for m in METRICS for t in m.card.tasks], ids=str
)
def test_same_as_scikit_learn(metric: Metric, task: str, seed: int) -> None:
    target, prediction = sample(task, seed)
    peer = PEERS[type(metric).__name__]
    assert metric(target, prediction) == pytest.approx(peer(target, prediction), rel=1e-12)


@pytest.mark.parametrize(
    ("metric", "task"), [(m, t) for m in METRICS for t in m.card.tasks], ids=str
)
def test_weights_are_scikit_learns_sample_weight(metric: Metric, task: str) -> None:
    target, prediction = sample(task, 6)
    weight = np.random.default_rng(7).integers(0, 4, len(target)) / 2
    peer = PEERS[type(metric).__name__](target, prediction, sample_weight=weight)
    assert metric(target, prediction, weight) == pytest.approx(peer, rel=1e-12)
    twice = np.repeat(np.arange(len(target)), (2 * weight).astype(int))
    repeated = metric(target[twice], prediction.rows(twice))
    assert metric(target, prediction, weight) == pytest.approx(repeated, rel=1e-12)


@pytest.mark.parametrize(
    ("metric", "task"), [(m, t) for m in METRICS for t in m.card.tasks], ids=str
)
def test_jax_traces_every_metric_of_the_catalogue(metric: Formula, task: str) -> None:
    target, prediction = sample(task, 8)
    parts = (prediction.value, prediction.probability, prediction.score)
    classes = None if prediction.probability is None else prediction.probability.shape[1]
    weight = np.arange(len(target)) % 3

    @jax.jit
    def traced(target: Any, parts: Any, weight: Any) -> Any:
        return metric.value(target, Prediction(*parts, classes), weight)

    expected = metric(target, prediction, weight)
    assert float(traced(target, parts, weight)) == pytest.approx(expected, rel=1e-5)


def test_a_metric_of_no_rows_that_count_is_undefined() -> None:
    assert math.isnan(MSE()(np.ones(2), Prediction(np.zeros(2)), np.zeros(2)))


@pytest.mark.parametrize("metric", METRICS, ids=str)
def test_the_truth_scores_best_in_the_direction_the_metric_names(metric: Metric) -> None:
    for task in metric.card.tasks:
        target, prediction = sample(task, 3)
        certain = np.eye(target.max() + 1)[target] if prediction.probability is not None else None
        perfect = Prediction(target, certain, target)
        best, other = metric(target, perfect), metric(target, prediction)
        assert metric.sign * best > metric.sign * other
        assert best == pytest.approx(metric.range[metric.greater_is_better], abs=1e-5)
        assert metric.range[0] <= other <= metric.range[1]


def test_the_default_of_each_task_serves_it() -> None:
    assert set(DEFAULT) == {"regression", "count", "binary", "multiclass"}
    assert all(task in metric.card.tasks for task, metric in DEFAULT.items())


def test_mse_of_the_textbook() -> None:
    assert MSE()(np.array([3, -0.5, 2, 7]), Prediction(np.array([2.5, 0, 2, 8]))) == 0.375


@pytest.mark.parametrize("level", [0.1, 0.9])
def test_pinball_level_is_scikit_learns_alpha(level: float) -> None:
    target, prediction = sample("regression", 4)
    expected = sk.mean_pinball_loss(target, prediction.value, alpha=level)
    assert Pinball(level=level)(target, prediction) == pytest.approx(expected, rel=1e-12)


def test_larger_pinball_level_makes_low_predictions_dearer() -> None:
    low = Prediction(np.array([-1.0]))
    assert Pinball(level=0.9)(np.zeros(1), low) > Pinball(level=0.1)(np.zeros(1), low)


@pytest.mark.parametrize("predicted", [[2.0, 2.0, 2.0], [1.0, 2.0, 3.0]])
def test_r2_of_a_constant_target_is_scikit_learns(predicted: list[float]) -> None:
    target = np.full(3, 2.0)
    assert R2()(target, Prediction(np.array(predicted))) == sk.r2_score(target, predicted)


@pytest.mark.parametrize("value", [[0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 1, 0]])
@pytest.mark.parametrize("target", [[0, 0, 1, 1], [0, 0, 0, 0], [0, 1, 2, 2]])
def test_f1_when_a_class_is_absent(target: list[int], value: list[int]) -> None:
    average = "macro" if max(target) > 1 else "binary"
    expected = sk.f1_score(target, value, average=average, zero_division=0.0)
    assert F1()(np.array(target), Prediction(np.array(value))) == expected


def test_auc_of_one_class_is_undefined_and_of_equal_scores_is_a_half() -> None:
    scores = Prediction(np.zeros(3), score=np.zeros(3))
    assert math.isnan(AUC()(np.ones(3, dtype=int), scores))
    assert AUC()(np.array([0, 1, 1]), scores) == 0.5


@given(st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=2, max_size=30))
def test_auc_with_ties_is_scikit_learns(rows: list[tuple[bool, int]]) -> None:
    target, score = np.array(rows, dtype=int).T
    if 0 < target.sum() < len(target):
        expected = sk.roc_auc_score(target, score)
        assert AUC()(target, Prediction(target, score=score)) == pytest.approx(expected, rel=1e-12)


def test_log_loss_of_a_certain_mistake_is_finite() -> None:
    certain = Prediction(np.array([1]), np.array([[0.0, 1.0]]))
    assert LogLoss()(np.array([0]), certain) == pytest.approx(15 * math.log(10))


def test_log_loss_without_probabilities_is_refused() -> None:
    with pytest.raises(ArgumentError, match="proper loss"):
        LogLoss()(np.array([0]), Prediction(np.array([0])))


def test_rows_of_a_prediction() -> None:
    target, prediction = sample("binary", 5)
    part = prediction.rows(np.arange(10))
    assert len(part.value) == len(part.probability) == len(part.score) == 10
    assert Accuracy()(target[:10], part) == sk.accuracy_score(target[:10], prediction.value[:10])
    assert Prediction(target).rows(np.arange(2)).probability is None


@pytest.mark.parametrize("metric", [*METRICS, Pinball(level=0.9)], ids=str)
def test_the_name_of_a_metric_reads_back(metric: Metric) -> None:
    assert metric.name == metric.name.lower()
    assert Metric.parse(metric.name) == metric
