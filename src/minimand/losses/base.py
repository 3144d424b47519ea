"""What a loss is: values per example with closed-form derivatives, and one place that reduces."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar, Literal

import numpy as np

from minimand.arrays import Array, asarray, is_float, is_half, namespace, to_float
from minimand.component import Component, catalogue
from minimand.errors import ArgumentError, ArgumentTypeError, ShapeError, TargetError, unknown

Reduction = Literal["mean", "sum", "none"]
DOMAINS = {
    "regression": ("real", "count", "positive", "fraction"),
    "count": ("real", "count", "positive"),
    "binary": ("sign", "class", "fraction"),
    "multiclass": ("class",),
}
"""The targets of a card that the values of each task can be written as."""


class Loss(Component):
    """A loss ℓ(score, target) of examples.

    A score may have axes beyond the examples (`score_axes`: K classes, the parameters named in
    `scores`, or M points of K numbers), and so may a target (`target_axes`: the columns named in
    `targets`).
    """

    kind = "loss"
    score_axes: ClassVar[int] = 0
    target_axes: ClassVar[int] = 0
    scores: ClassVar[tuple[str, ...]] = ()
    targets: ClassVar[tuple[str, ...]] = ()

    def value(self, score: Array, target: Array) -> Array:
        """ℓ(score, target) for each example, never reduced; the shape is the target's."""
        raise NotImplementedError

    def gradient(self, score: Array, target: Array) -> Array:
        """∂ℓ/∂score for each example; the shape is the score's. By JAX where no form is closed."""
        import jax.numpy

        return by_jax(lambda: self._slope(target)(jax.numpy.asarray(score)), score, target)

    def curvature(self, score: Array, target: Array) -> Array:
        """∂²ℓ/∂score² for each example: the score's shape, or a [K, K] block for K scores.

        By JAX where no form is closed.

        Raises:
            ArgumentError: the loss has no curvature for each example.
        """
        import jax

        if self.score_axes > 1:
            raise ArgumentError(f"{type(self).__name__} has no curvature for each example")

        def compute() -> Array:
            z, slope = jax.numpy.asarray(score), self._slope(target)
            if not self.score_axes:
                return jax.jvp(slope, (z,), (jax.numpy.ones_like(z),))[1]
            units = jax.numpy.eye(z.shape[-1], dtype=z.dtype)
            columns = [jax.jvp(slope, (z,), (jax.numpy.zeros_like(z) + u,))[1] for u in units]
            return jax.numpy.stack(columns, axis=-1)

        return by_jax(compute, score, target)

    def value_and_gradient(self, score: Array, target: Array) -> tuple[Array, Array]:
        """(ℓ, ∂ℓ/∂score) for each example; a loss may share the work between them."""
        return self.value(score, target), self.gradient(score, target)

    def _slope(self, target: Array) -> Callable[[Array], Array]:
        """The gradient of the summed loss as a function of a JAX score."""
        import jax

        def total(score: Array) -> Array:
            return jax.numpy.sum(self.value(score, jax.numpy.asarray(target)))

        slope: Callable[[Array], Array] = jax.grad(total)
        return slope

    def response(self, score: Array) -> Array:
        """What the user reads: the mean, or a probability if the loss is proper."""
        return score

    def decide(self, score: Array) -> Array:
        """The index of the class that a score speaks for."""
        raise NotImplementedError

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The best constant score: the baseline, and the value an output bias starts from.

        Raises:
            ArgumentError: the loss has none.
        """
        raise ArgumentError(f"{type(self).__name__} has no best constant score")

    def check_target(self, target: Array) -> None:
        """Raise `TargetError`, naming the first row, if a target lies outside the domain."""
        raise NotImplementedError

    def from_classes(self, index: Array) -> Array:
        """Class indices 0, 1, ... written as this loss expects its targets."""
        return index

    @property
    def by_row(self) -> bool:
        """Whether each example stands alone, with one score or one for each class."""
        single = not self.score_axes or (self.card.target == "class" and not self.scores)
        return single and not self.target_axes

    def serves(self, task: str) -> bool:
        """Whether `fit` can try this loss for a task."""
        return self.by_row and self.card.target in DOMAINS[task]

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
        score = computable(score)
        if weight is None and mask is None:
            value = self.value(score, target)
            return value, namespace(value).ones_like(value)
        used = self._used(score, target, weight, mask)
        return used * self.value(*self._cleaned(score, target, used)), used

    def _used(self, score: Array, target: Array, weight: Array | None, mask: Array | None) -> Array:
        """The weight of every example, 0 where it is masked."""
        xp = namespace(score, target)
        example = target[..., 0] if self._columns(score, target) else target
        used = xp.ones_like(example, dtype=score.dtype)
        if weight is not None:
            used = to_float(weight, score)
        if mask is not None:
            used = xp.where(xp.astype(mask, xp.bool), used, xp.zeros_like(used))
        return used

    def _cleaned(self, score: Array, target: Array, used: Array) -> tuple[Array, Array]:
        """Score and target with 0 wherever an example weighs nothing."""
        xp = namespace(score, target)
        kept = used != 0

        def clean(array: Array, axes: int) -> Array:
            return xp.where(kept[(..., *(None,) * axes)], array, xp.zeros_like(array))

        return clean(score, self.score_axes), clean(target, self._columns(score, target))

    def _columns(self, score: Array, target: Array) -> int:
        """How many axes this target has beyond the examples."""
        return self.target_axes

    def _check_arrays(self, **arrays: Array | None) -> None:
        loss = type(self).__name__
        for name, array in arrays.items():
            if array is not None and not hasattr(array, "shape"):
                raise ArgumentTypeError(
                    f"{loss}: {name} must be an array, not {array!r}; wrap it in numpy.asarray"
                )
        columns = self._columns(arrays["score"], arrays["target"])
        shape = {n: tuple(a.shape) for n, a in arrays.items() if a is not None}
        score, target = shape.pop("score"), shape.pop("target")
        examples = target[: len(target) - columns]
        if score[: len(score) - self.score_axes] != examples:
            raise ShapeError(
                f"{loss}: score has shape {score} and target {target}; expected score "
                f"{_form(self.score_axes, self.scores)} and target "
                f"{_form(columns, self.targets)} with the same n (nothing is broadcast)"
            )
        for axes, names, got in (
            (self.score_axes, self.scores, score),
            (columns, self.targets, target),
        ):
            if axes and names and got[-1] != len(names):
                raise ShapeError(
                    f"{loss}: the last axis holds {', '.join(names)}; it has {got[-1]}"
                )
        for name, other in shape.items():
            if other != examples:
                raise ShapeError(
                    f"{loss}: {name} has shape {other} and target {target}; it needs one entry "
                    f"for each example, {examples}"
                )


class JointLoss(Loss):
    """A loss in which examples act together: an image, a list, a batch.

    A set has one value: the last axes of the examples, as many as `joint` takes away, form a set. A
    weight or a mask is given for every example; a set counts once, whatever its size, if any of it
    has weight.
    """

    @property
    def by_row(self) -> bool:
        """Examples act together."""
        return False

    def joint(self, score: Array, target: Array, weight: Array) -> Array:
        """One value for each set. `weight` has the examples' shape; 0 means absent."""
        raise NotImplementedError

    def value(self, score: Array, target: Array) -> Array:
        """One value for each set, all of whose examples count the same."""
        return self.joint(score, target, self._used(score, target, None, None))

    def curvature(self, score: Array, target: Array) -> Array:
        """Examples act together, so none has a curvature of its own."""
        raise ArgumentError(f"{type(self).__name__} has no curvature for each example")

    def _weighted(
        self, score: Array, target: Array, weight: Array | None, mask: Array | None
    ) -> tuple[Array, Array]:
        """(value, 1) for every set; (0, 0) for a set that is wholly absent."""
        self._check_arrays(score=score, target=target, weight=weight, mask=mask)
        score = computable(score)
        used = self._used(score, target, weight, mask)
        value = self.joint(*self._cleaned(score, target, used), used)
        xp = namespace(value)
        axes = tuple(range(len(value.shape), len(used.shape)))
        present = to_float(xp.any(used != 0, axis=axes), value)
        return xp.where(present > 0, value, xp.zeros_like(value)), present


class PointwiseLoss(Loss):
    """A loss of one score per target."""

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The constant at which the weighted mean gradient changes sign."""
        target = np.asarray(target, dtype=float)
        share = np.ones(target.shape) if weight is None else np.asarray(weight, dtype=float)
        share = share / share.sum()

        def rise(constant: float) -> tuple[float, float]:
            score = np.full(target.shape, constant)
            slope, bend = self.gradient(score, target), self.curvature(score, target)
            return float(np.vdot(share, slope)), float(np.vdot(share, bend))

        low, high = float(np.min(target)), float(np.max(target))
        return crossing(rise, low, high, 0.5 * (low + high))


def crossing(
    rise: Callable[[float], tuple[float, float]],
    low: float,
    high: float,
    start: float,
    small: float = 0.0,
) -> float:
    """Where a function that rises from `low` to `high` is at most `small` in size.

    `rise` gives (value, slope). By Newton's steps, or by halving (doubling, if `high` is infinite)
    where they lead too far.

    >>> round(crossing(lambda x: (x**3 - 8, 3 * x**2), 0.0, math.inf, 1.0), 12)
    2.0
    """
    x = start
    for _ in range(200):
        value, slope = rise(x)
        low, high = (low, x) if value > 0 else (x, high)
        ahead = x - value / slope if slope > 0 else math.inf
        if not low < ahead < high:
            ahead = 2 * x if math.isinf(high) else 0.5 * (low + high)
        if abs(value) <= small or abs(ahead - x) <= 1e-15 * abs(x):
            break
        x = ahead
    return x


def computable(score: Array) -> Array:
    """The score in a floating dtype of at least single precision."""
    xp = namespace(score)
    if is_half(score):
        return xp.astype(score, xp.float32)
    return score if is_float(score) else xp.astype(score, xp.asarray(0.0).dtype)


def _form(axes: int, names: tuple[str, ...]) -> str:
    return ("[n]", f"[n, {len(names) or 'K'}]", "[n, M, K]")[axes]


def by_jax(compute: Callable[[], Array], *arrays: Array) -> Array:
    """compute(), in double precision and as an array like the first, unless an array is JAX's."""
    import jax

    if namespace(*arrays) is jax.numpy:
        return compute()
    with jax.enable_x64(True):
        found = np.array(compute())  # a copy, since PyTorch wants to be able to write to it
    return asarray(found, arrays[0])


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


def check_finite(loss: Loss, target: Array) -> None:
    """Raise `TargetError` unless every target is a finite number."""
    reject(loss, target, ~np.isfinite(target), "not a finite number", "drop or repair that row")


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
