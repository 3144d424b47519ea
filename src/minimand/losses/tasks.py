"""Losses of several tasks at once, side by side in the scores and in the columns of the target."""

from __future__ import annotations

from itertools import accumulate, pairwise

import numpy as np

from minimand.arrays import Array, as_like, namespace, to_float
from minimand.component import Card, Count, NonNegative, component
from minimand.errors import ArgumentError, ShapeError, TargetError
from minimand.losses.base import Loss
from minimand.losses.margin import Logistic
from minimand.losses.regression import HalfSquared

LEAST_NOISE = 1e-6


@component
class MultiTask(Loss):
    """The sum of the losses of T tasks, each times its weight.

    Task t reads its `widths[t]` of the scores [n, Σ widths], which stand side by side, and column t
    of the target [n, T]. A target that is NaN is missing: that task says nothing of that row.
    `weights` is one number for all tasks, or one for each. A larger weight draws the shared
    parameters towards its task.

    Raises:
        ArgumentError: `losses` and `widths` are not equally many, or a loss is none of single rows.

    >>> loss = MultiTask(losses=(HalfSquared(), Logistic()), widths=(1, 1))
    >>> score, target = np.array([[3.0, 0.0]]), np.array([[1.0, 1.0]])
    >>> loss.value(score, target).round(4).tolist()  # ½ 2² + log 2
    [2.6931]
    >>> loss.value(score, np.array([[1.0, np.nan]])).tolist()
    [2.0]
    """

    losses: tuple[Loss, ...] = (HalfSquared(), Logistic())
    widths: tuple[Count, ...] = (1, 1)
    weights: NonNegative = 1.0
    score_axes = 1
    target_axes = 1
    card = Card(
        formula="Σₜ wₜ ℓₜ(zₜ, yₜ)",
        source="Caruana (1997), Multitask learning",
        use="one network for several targets, some of which may be missing",
        target="features",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < len(self.losses) == len(self.widths):
            raise ArgumentError(
                f"{type(self).__name__}: {len(self.losses)} losses and {len(self.widths)} widths; "
                f"give the number of scores of each loss"
            )
        for loss, width in zip(self.losses, self.widths, strict=True):
            if not loss.by_row or (width > 1 and not loss.score_axes):
                raise ArgumentError(
                    f"{type(self).__name__}: {loss} cannot be a task of {width} scores; take one "
                    f"of single rows, with one score or one for each class"
                )

    def value(self, score: Array, target: Array) -> Array:
        """The weighted sum over the tasks whose targets are there, [n]."""
        return namespace(score).sum(
            self._shares(score, target) * self._values(score, target), axis=-1
        )

    def gradient(self, score: Array, target: Array) -> Array:
        """The gradients of the tasks side by side, each times its weight."""
        return namespace(score).concat(
            self._slopes(score, target, self._shares(score, target)), axis=-1
        )

    def response(self, score: Array) -> Array:
        """The responses of the tasks side by side."""
        said = [_matrix(loss.response(z), score) for loss, z in self._pieces(score)]
        return namespace(score).concat(said, axis=-1)

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The best constant of each task on the rows that it has."""
        weight = np.ones(len(target)) if weight is None else np.asarray(weight)
        found = []
        for task, (loss, width) in enumerate(zip(self.losses, self.widths, strict=True)):
            y, known = self._column(np.asarray(target), task)
            own = np.atleast_1d(loss.constant(y[known], weight[known]))
            found.append(np.pad(own, (0, width - len(own)), mode="minimum"))
        return np.concatenate(found)

    def check_target(self, target: Array) -> None:
        """Each column must suit its task where it is not missing, and be there somewhere."""
        target = np.asarray(target)
        if target.ndim != 2 or target.shape[1] != len(self.losses):
            raise ShapeError(
                f"{type(self).__name__}: target has shape {target.shape}; it needs one column for "
                f"each of {len(self.losses)} tasks"
            )
        for task, loss in enumerate(self.losses):
            y, known = self._column(target, task)
            if not known.any():
                raise TargetError(f"{type(self).__name__}: column {task + 1} is empty in every row")
            loss.check_target(np.where(known, y, y[known][0]))

    def _check_arrays(self, **arrays: Array | None) -> None:
        super()._check_arrays(**arrays)
        score, target = arrays["score"], arrays["target"]
        assert score is not None and target is not None
        if (score.shape[-1], target.shape[-1]) != (self._wide(), len(self.losses)):
            raise ShapeError(
                f"{type(self).__name__}: score has shape {tuple(score.shape)} and target "
                f"{tuple(target.shape)}; expected [n, {self._wide()}] and [n, {len(self.losses)}]"
            )

    def _wide(self) -> int:
        """How many scores a row has."""
        return sum(self.widths)

    def _pieces(self, score: Array) -> list[tuple[Loss, Array]]:
        """(loss, scores) of every task: [n], or [n, K] if it takes one for each class."""
        ends = (0, *accumulate(self.widths))
        return [
            (loss, score[..., a:b] if loss.score_axes else score[..., a])
            for loss, (a, b) in zip(self.losses, pairwise(ends), strict=True)
        ]

    def _parts(self, score: Array, target: Array) -> list[tuple[Loss, Array, Array]]:
        """(loss, scores, targets) of every task, 0 standing for a target that is missing."""
        xp = namespace(score)
        target = to_float(target, score)
        there = xp.where(xp.isnan(target), xp.zeros_like(target), target)
        return [
            (loss, z, xp.astype(there[..., t], xp.int32) if loss.score_axes else there[..., t])
            for t, (loss, z) in enumerate(self._pieces(score))
        ]

    def _values(self, score: Array, target: Array) -> Array:
        """[n, T]: the loss of every task."""
        values = [loss.value(z, y) for loss, z, y in self._parts(score, target)]
        return namespace(score).stack(values, axis=-1)

    def _slopes(self, score: Array, target: Array, shares: Array) -> list[Array]:
        """[n, K] of every task: its gradient, times its share [n, T]."""
        slopes = [loss.gradient(z, y) for loss, z, y in self._parts(score, target)]
        return [shares[..., t, None] * _matrix(g, score) for t, g in enumerate(slopes)]

    def _shares(self, score: Array, target: Array) -> Array:
        """[n, T]: the weight of every task, 0 where its target is missing."""
        return _there(score, target) * as_like(self.weights, score)

    def _column(self, target: Array, task: int) -> tuple[np.ndarray, np.ndarray]:
        """(column of a task as its loss takes it, whether each entry is there)."""
        y = np.asarray(target, dtype=float)[:, task]
        known = ~np.isnan(y)
        whole = self.losses[task].score_axes and np.all(y[known] == np.floor(y[known]))
        return np.where(known, y, 0).astype(int) if whole else np.where(known, y, 0.0), known


@component
class UncertainTasks(MultiTask):
    """The sum of the losses of T tasks, each weighed by a noise that is learnt with them.

    After the scores of the tasks come T more: the logarithms s of the noise variances, which
    `MultiHead(uncertain=True)` holds as parameters. `weights` multiply the losses as well.

    >>> loss = UncertainTasks(losses=(HalfSquared(), HalfSquared()), widths=(1, 1))
    >>> score = np.array([[1.0, 2.0, 0.0, np.log(4.0)]])
    >>> loss.value(score, np.zeros((1, 2))).round(4).tolist()  # ½ + 2 / 4 + ½ log 4
    [1.6931]
    """

    card = Card(
        formula="Σₜ exp(-sₜ) wₜ ℓₜ(zₜ, yₜ) + ½ sₜ, sₜ = log σₜ²",
        source="Kendall, Gal and Cipolla (2018), Multi-task learning using uncertainty to weigh "
        "losses, eqs. 7 and 10",
        use="tasks in different units, or of very different noise",
        target="features",
    )

    def value(self, score: Array, target: Array) -> Array:
        s = score[..., -len(self.losses) :]
        own = self._shares(score, target) * self._values(score, target)
        return namespace(score).sum(own + 0.5 * _there(score, target) * s, axis=-1)

    def gradient(self, score: Array, target: Array) -> Array:
        """exp(-s) w ∇ℓ of the tasks side by side, then ½ - exp(-s) w ℓ of each."""
        shares = self._shares(score, target)
        rise = 0.5 * _there(score, target) - shares * self._values(score, target)
        return namespace(score).concat([*self._slopes(score, target, shares), rise], axis=-1)

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The best constant of each task, and the noise that it leaves: s = log 2 w ℓ."""
        best = super().constant(target, weight)
        there = ~np.isnan(np.asarray(target, dtype=float))
        share = there * (1 if weight is None else np.asarray(weight)[:, None])
        score = np.tile(np.append(best, np.zeros(len(self.losses))), (len(share), 1))
        left = np.sum(share * self._values(score, target), axis=0) / np.sum(share, axis=0)
        return np.append(best, np.log(np.maximum(2 * self.weights * left, LEAST_NOISE)))

    def _wide(self) -> int:
        return super()._wide() + len(self.losses)

    def _shares(self, score: Array, target: Array) -> Array:
        noise = score[..., -len(self.losses) :]
        return super()._shares(score, target) * namespace(score).exp(-noise)


def _there(score: Array, target: Array) -> Array:
    """1 for a target, 0 for one that is missing."""
    target = to_float(target, score)
    return to_float(~namespace(target).isnan(target), score)


def _matrix(values: Array, score: Array) -> Array:
    """[n] as [n, 1], where scores are [n, K]."""
    return values if len(values.shape) == len(score.shape) else values[..., None]
