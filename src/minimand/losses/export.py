"""Losses of the catalogue as objectives of XGBoost and LightGBM, and as losses of Keras.

The boosting libraries are handed plain functions: nothing of theirs is imported here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from minimand.arrays import Array, namespace
from minimand.component import find
from minimand.errors import ArgumentError
from minimand.losses.base import JointLoss, Loss

LEAST_HESSIAN = 1e-16
MAX_DELTA_STEP = 0.7
"""The engines' default for Poisson: they multiply its Hessian by exp(0.7), against long steps."""


def as_xgboost(loss: Loss) -> XGBoostObjective:
    """The loss as XGBoost wants it: an objective, a metric, an initial score and an inverse link.

    The result is also the `objective` of an `XGBRegressor`, called as f(target, score).

    Args:
        loss: any loss of single examples; labels 0 and 1 stand for -1 and +1.

    Raises:
        ArgumentError: examples act together in the loss, or it is flat.

    >>> from minimand.losses import Logistic
    >>> logistic, y = as_xgboost(Logistic()), np.array([0, 1, 1, 1])
    >>> logistic.params(y)
    {'base_score': 1.0986122886681098, 'disable_default_eval_metric': True}
    >>> logistic(y, np.zeros(4))[0].tolist()
    [0.5, -0.5, -0.5, -0.5]
    """
    return XGBoostObjective(_boostable(loss))


def as_lightgbm(loss: Loss) -> LightGBMObjective:
    """The loss as LightGBM wants it: an objective, a metric, an initial score, an inverse link.

    LightGBM does not add a custom objective's initial score to its predictions: the mean is
    `response(init_score(y)[0] + booster.predict(X))`. The result is also the `objective` of an
    `LGBMRegressor`, called as f(target, score, weight).

    Args:
        loss: any loss of single examples; labels 0 and 1 stand for -1 and +1.

    Raises:
        ArgumentError: examples act together in the loss, or it is flat.

    >>> from minimand.losses import Squared
    >>> as_lightgbm(Squared()).init_score(np.array([1.0, 2.0, 6.0])).tolist()
    [3.0, 3.0, 3.0]
    """
    return LightGBMObjective(_boostable(loss))


def as_keras(loss: Loss) -> Any:
    """The loss as `model.compile(loss=...)` of Keras 3 wants it, on its JAX and PyTorch backends.

    The mean divides by Σw, and a target of weight 0 never touches the result, even if NaN.

    Args:
        loss: any loss; a network with one output may give [n, 1].
    """
    import keras

    class Exported(keras.losses.Loss):  # type: ignore[misc]
        def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
            score, target = y_pred, y_true
            if not loss.score_axes and score.shape[-1:] == (1,):
                score = score[..., 0]
            if not loss.target_axes and target.shape[-1:] == (1,):
                target = target[..., 0]
            weight, mask = (
                None if given is None else namespace(score).reshape(given, score.shape[:1])
                for given in (sample_weight, getattr(y_pred, "_keras_mask", None))
            )
            return loss(score, target, weight=weight, mask=mask)

    return Exported(name=type(loss).__name__)


@dataclass(frozen=True)
class Objective:
    """What both engines share.

    A step of boosting is Newton's, -Σg / (Σh + λ), so the Hessian must be positive. Where the loss
    has none (|r|, the outside of Huber's) or a negative one, the card's curvature bound stands in,
    or 1 if it has no bound: this is what both engines do for their own quantile losses. The squared
    error is halved, as it is by both.
    """

    loss: Loss

    def __call__(
        self, target: Array, score: Array, sample_weight: Array | None = None
    ) -> tuple[Array, Array]:
        """(gradient, Hessian), [n] or [n, K], times the weights; the Hessian is its diagonal."""
        score, target = np.asarray(score, dtype=float), self.target(target)
        with np.errstate(over="ignore"):
            gradient = self.loss.gradient(score, target)
            hessian = self.loss.curvature(score, target)
        if self.loss.score_axes:
            hessian = np.einsum("...ii->...i", hessian)
        stand_in = self.loss.fact("curvature") or 1.0
        hessian = np.where(hessian > 0, np.maximum(hessian, LEAST_HESSIAN), stand_in)
        hessian = hessian * self._factor(score.shape[-1])
        weight = np.asarray(0.5 if self._is("Squared") else 1.0)
        if sample_weight is not None and np.size(sample_weight):
            weight = weight * np.asarray(sample_weight, dtype=float)
            weight = weight[:, None] if self.loss.score_axes else weight
        return weight * gradient, weight * hessian

    def objective(self, score: Array, data: Any) -> tuple[Array, Array]:
        """(gradient, Hessian) at the scores of a training set with its labels and weights."""
        return self(data.get_label(), score, data.get_weight())

    def response(self, score: Array) -> Array:
        """The inverse link: the mean or the probabilities that raw predictions stand for."""
        return self.loss.response(np.asarray(score, dtype=float))

    def target(self, label: Array) -> Array:
        """The engine's labels as the loss expects them, checked."""
        label = np.asarray(label)
        if self.loss.card.target == "sign":
            label = np.where(label == 0, -1, label)
        self.loss.check_target(label)
        return label.astype(np.int64 if self.loss.card.target == "class" else float)

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The best constant score: a number, or one for each of K scores."""
        return np.asarray(self.loss.constant(self.target(target), weight), dtype=float)

    def _mean(self, score: Array, data: Any) -> float:
        weight, target = data.get_weight(), self.target(data.get_label())
        weight = None if weight is None or not len(weight) else np.asarray(weight, dtype=float)
        return float(self.loss(np.asarray(score, dtype=float), target, weight=weight))

    def _factor(self, scores: int) -> float:
        """What the engine multiplies the Hessian of such a loss by."""
        if self.loss.card.target == "class":
            return self._class_factor(scores)
        return math.exp(MAX_DELTA_STEP) if self._is("Poisson") else 1.0

    def _class_factor(self, classes: int) -> float:
        raise NotImplementedError

    def _is(self, name: str) -> bool:
        """Whether it is the loss of the catalogue with that name, for which engines differ."""
        return type(self.loss) is find("loss", name)


class XGBoostObjective(Objective):
    """`xgboost.train(e.params(y), data, obj=e.objective, custom_metric=e.metric)`."""

    def metric(self, score: Array, data: Any) -> tuple[str, float]:
        """(name, weighted mean loss), for `custom_metric`."""
        return type(self.loss).__name__, self._mean(score, data)

    def params(self, target: Array, weight: Array | None = None) -> dict[str, Any]:
        """The parameters of `xgboost.train` that belong to the loss; merge your own with `|`."""
        start = self.constant(target, weight).tolist()
        params: dict[str, Any] = {"base_score": start, "disable_default_eval_metric": True}
        if self.loss.score_axes:
            params["num_class"] = len(start)
        if self._is("Poisson"):
            params["max_delta_step"] = MAX_DELTA_STEP
        return params

    def base_score(self, target: Array, weight: Array | None = None) -> Array:
        """The score that boosting starts from; it is part of XGBoost's predictions."""
        return self.constant(target, weight)

    def _class_factor(self, classes: int) -> float:
        return 2.0


class LightGBMObjective(Objective):
    """`lightgbm.train(e.params(y), Dataset(X, y, init_score=e.init_score(y)), feval=e.metric)`."""

    def metric(self, score: Array, data: Any) -> tuple[str, float, bool]:
        """(name, weighted mean loss, False: greater is not better), for `feval`."""
        return type(self.loss).__name__, self._mean(score, data), False

    def params(self, target: Array, weight: Array | None = None) -> dict[str, Any]:
        """The parameters of `lightgbm.train` that belong to the loss; merge your own with `|`."""
        params: dict[str, Any] = {"objective": self.objective, "metric": "none"}
        if self.loss.score_axes:
            params["num_class"] = len(self.constant(target, weight))
        return params

    def init_score(self, target: Array, weight: Array | None = None) -> Array:
        """The score that boosting starts from, for each row: [n] or [n, K]."""
        start = self.constant(target, weight)
        return np.broadcast_to(start, (len(target), *start.shape)).copy()

    def _class_factor(self, classes: int) -> float:
        return classes / (classes - 1)


def _boostable(loss: Loss) -> Loss:
    loss.check_minimisable()
    if isinstance(loss, JointLoss) or loss.target_axes or loss.score_axes > 1:
        raise ArgumentError(
            f"{type(loss).__name__} cannot be boosted: a tree needs a loss of single examples with "
            f"one target each; choose one such as Huber or Logistic"
        )
    return loss
