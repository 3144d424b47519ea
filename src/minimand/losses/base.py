"""What a loss is: values per example with closed-form derivatives, and one place that reduces."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from minimand.arrays import Array, is_float, is_half, namespace, to_float
from minimand.component import Component, catalogue
from minimand.errors import ArgumentError, ArgumentTypeError, ShapeError, TargetError, unknown

Reduction = Literal["mean", "sum", "none"]


class Loss(Component):
    """A loss ℓ(score, target). `score_axes` counts the axes a score has beyond its target."""

    kind = "loss"
    score_axes: ClassVar[int] = 0

    def value(self, score: Array, target: Array) -> Array:
        """ℓ(score, target) for each example, never reduced; the shape is the target's."""
        raise NotImplementedError

    def gradient(self, score: Array, target: Array) -> Array:
        """∂ℓ/∂score for each example; the shape is the score's."""
        raise NotImplementedError

    def curvature(self, score: Array, target: Array) -> Array:
        """∂²ℓ/∂score² for each example: the score's shape, or a [K, K] block for K scores."""
        raise NotImplementedError

    def response(self, score: Array) -> Array:
        """What the user reads: the mean, or a probability if the loss is proper."""
        return score

    def decide(self, score: Array) -> Array:
        """The index of the class that a score speaks for."""
        raise NotImplementedError

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The best constant score: the baseline, and the value an output bias starts from."""
        raise NotImplementedError

    def check_target(self, target: Array) -> None:
        """Raise `TargetError`, naming the first row, if a target lies outside the domain."""
        raise NotImplementedError

    def from_classes(self, index: Array) -> Array:
        """Class indices 0, 1, ... written as this loss expects its targets."""
        return index

    def check_minimisable(self) -> None:
        """Raise `ArgumentError` if the loss has no slope to follow."""

    def __call__(
        self,
        score: Array,
        target: Array,
        *,
        weight: Array | None = None,
        mask: Array | None = None,
        reduction: Reduction = "mean",
    ) -> Array:
        """The reduced loss: Σ w ℓ / Σ w ("mean"), Σ w ℓ ("sum") or w ℓ per example ("none").

        Args:
            score: [n] (or [n, K] for a loss over K classes), raw model output.
            target: [n].
            weight: [n], not negative. An entry of weight 0 never touches the result, even if NaN.
            mask: [n], False leaves an entry out. All masked: the mean is 0 with zero gradient.
            reduction: "mean", "sum" or "none".

        Half precision is computed and accumulated in float32.

        Raises:
            ArgumentTypeError: an argument is not an array.
            ShapeError: the shapes are not the same; nothing is broadcast.
        """
        value, used = self._weighted(score, target, weight, mask)
        xp = namespace(value)
        match reduction:
            case "none":
                return value
            case "sum":
                return xp.sum(value)
            case "mean":
                total = xp.sum(used)
                return xp.sum(value) / xp.where(total > 0, total, xp.ones_like(total))
        raise unknown("reduction", reduction, ("mean", "sum", "none"))

    def total(
        self,
        score: Array,
        target: Array,
        *,
        weight: Array | None = None,
        mask: Array | None = None,
    ) -> tuple[Array, Array]:
        """(Σ w ℓ, Σ w): add these over batches or devices and divide once for the exact mean."""
        value, used = self._weighted(score, target, weight, mask)
        xp = namespace(value)
        return xp.sum(value), xp.sum(used)

    def _weighted(
        self, score: Array, target: Array, weight: Array | None, mask: Array | None
    ) -> tuple[Array, Array]:
        """(w ℓ, w), with entries that are masked or weigh nothing replaced before they are used."""
        self._check_arrays(score=score, target=target, weight=weight, mask=mask)
        xp = namespace(score, target)
        if is_half(score):
            score = xp.astype(score, xp.float32)
        elif not is_float(score):
            score = xp.astype(score, xp.asarray(0.0).dtype)
        if weight is None and mask is None:
            value = self.value(score, target)
            return value, namespace(value).ones_like(value)
        ones = xp.ones_like(target, dtype=score.dtype)
        used = ones if weight is None else to_float(weight, score)
        kept = used != 0
        if mask is not None:
            kept = kept & (mask != 0)
        used = xp.where(kept, used, xp.zeros_like(used))
        kept_score = kept[..., None] if self.score_axes else kept
        safe_score = xp.where(kept_score, score, xp.zeros_like(score))
        safe_target = xp.where(kept, target, xp.zeros_like(target))
        return used * self.value(safe_score, safe_target), used

    def _check_arrays(self, **arrays: Array | None) -> None:
        loss = type(self).__name__
        for name, array in arrays.items():
            if array is not None and not hasattr(array, "shape"):
                raise ArgumentTypeError(
                    f"{loss}: {name} must be an array, not {array!r}; wrap it in numpy.asarray"
                )
        shape = {n: tuple(a.shape) for n, a in arrays.items() if a is not None}
        score, target = shape.pop("score"), shape.pop("target")
        if len(score) != len(target) + self.score_axes or score[: len(target)] != target:
            wanted = "one more axis of classes than" if self.score_axes else "the shape of"
            raise ShapeError(
                f"{loss}: score has shape {score} and target {target}; the score must have "
                f"{wanted} the target (nothing is broadcast)"
            )
        for name, other in shape.items():
            if other != target:
                raise ShapeError(
                    f"{loss}: {name} has shape {other} and target {target}; they must be the same"
                )


class PointwiseLoss(Loss):
    """A loss of one score per target."""

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The constant at which the weighted mean gradient changes sign, by bisection."""
        target = np.asarray(target, dtype=float)
        low, high = np.min(target), np.max(target)
        for _ in range(200):
            middle = 0.5 * (low + high)
            slope = np.average(self.gradient(np.full(target.shape, middle), target), weights=weight)
            low, high = (low, middle) if slope > 0 else (middle, high)
        return 0.5 * (low + high)


def reject(loss: Loss, target: Array, bad: Array, what: str, todo: str) -> None:
    """Raise `TargetError` for the first row where `bad` holds."""
    rows = np.flatnonzero(bad)
    if rows.size:
        row = int(rows[0])
        more = f" (and {rows.size - 1} more)" if rows.size > 1 else ""
        value = np.asarray(target).ravel()[row]
        raise TargetError(
            f"{type(loss).__name__}: target row {row + 1}{more} is {value!s}, {what}; {todo}"
        )


def surrogates() -> tuple[str, ...]:
    """The losses that can be descended in place of the 0-1 error, read from the cards."""
    found = catalogue("loss").items()
    return tuple(n for n, c in found if c.card.target in ("sign", "class") and c.card.convex)


def refuse_to_minimise(loss: Loss) -> None:
    """Raise `ArgumentError` for a loss that is flat almost everywhere, naming its surrogates."""
    raise ArgumentError(
        f"{type(loss).__name__} is flat almost everywhere and cannot be descended; minimise one "
        f"of its surrogates ({', '.join(surrogates())}) and keep it as the metric"
    )
