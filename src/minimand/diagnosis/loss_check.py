"""`check_loss`: is a loss what it claims to be? Faults are told in plain words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from minimand.arrays import Array
from minimand.component import register_pytrees
from minimand.diagnosis.checks import Finding
from minimand.errors import ArgumentError, ArgumentTypeError, MinimandError, TargetError
from minimand.losses import Loss
from minimand.losses.base import JointLoss

TARGETS = {
    "real": (-30.0, -1.0, 0.0, 0.5, 2.0, 100.0),
    "positive": (1e-3, 0.5, 1.0, 3.0, 100.0),
    "count": (0.0, 1.0, 3.0, 40.0),
    "fraction": (0.0, 0.2, 0.5, 1.0),
    "sign": (-1.0, 1.0),
    "class": (0, 1, 2),
}
ORDINARY = (-4.3, -2.1, -0.83, -0.17, 0.13, 0.71, 1.9, 3.7)
FAR = (-1e8, -800.0, -30.0, -1e-8, 0.0, 1e-8, 800.0, 1e8)
TAME = 1e3
"""A value that grows by less than this from a score of 300 to one of 600 is a power, not exp."""


def check_loss(loss: Loss | type[Loss], target: Array | None = None) -> list[Finding]:
    """Test a loss, print what was found in plain words, and return the findings.

    Looked at: one value per example, independent of the others; gradient and curvature against
    finite differences; scores far out and scores that equal the target; half precision; masked
    rows; whether JAX can follow the computation; and what the card claims (convex, lipschitz,
    curvature), by sampling.

    Args:
        loss: the loss, or its class with the hyper-parameters at their defaults.
        target: targets to test with; None takes some of the domain on the loss's card.

    Raises:
        ArgumentError: the targets of such a loss cannot be made up, or examples act together in it.

    >>> from minimand.losses import Huber
    >>> check_loss(Huber(delta=0.5))
    Huber(delta=0.5): no fault found.
    []
    """
    bench = _bench(loss, target)
    found: list[Finding] = []
    with np.errstate(all="ignore"):
        for check in CHECKS:
            try:
                found += check(bench)
            except MinimandError as error:
                found = found or [Finding("It cannot be computed", str(error), "repair this first")]
                break
            if found and check is _shape:
                break
    print(f"{bench.loss}: {_number(found)} found.")
    for finding in found:
        print(f"- {finding.what}: {finding.evidence}. Advice: {finding.advice}.")
    return found


@dataclass(frozen=True)
class _Bench:
    """A loss with sample targets [m]; `scores` pairs numbers with them."""

    loss: Loss
    target: Array

    @property
    def outputs(self) -> int:
        """How many scores an example has; 0 stands for a score without an axis."""
        if not self.loss.score_axes:
            return 0
        return len(self.loss.scores) or int(np.max(self.target)) + 1

    @property
    def derivatives(self) -> tuple[str, ...]:
        """Which derivatives the loss defines."""
        return ("gradient", "curvature")[: 1 + (type(self.loss).curvature is not Loss.curvature)]

    def pairs(self, numbers: Any) -> tuple[Array, Array]:
        """Every number with every target: scores [n] or [n, K], and targets [n]."""
        score = np.repeat(np.asarray(numbers, dtype=float), len(self.target))
        target = np.tile(self.target, len(score) // len(self.target))
        if self.outputs:
            turns = 0.7 * np.cos(np.arange(self.outputs) + np.arange(len(score))[:, None])
            score = score[:, None] * turns
        return score, target

    def where(self, score: Array, target: Array, bad: Array) -> str:
        """The first bad pair, in words."""
        row = int(np.flatnonzero(bad.reshape(len(target), -1).any(axis=1))[0])
        return f"at score {np.array2string(score[row], precision=4)}, target {target[row]:g}"


def _shape(bench: _Bench) -> Iterator[Finding]:
    score, target = bench.pairs(ORDINARY)
    value = np.asarray(bench.loss.value(score, target))
    if value.shape != target.shape:
        yield Finding(
            "It does not return one value for each example",
            f"shape {value.shape} for targets of shape {target.shape}",
            "return the values without a mean or a sum",
        )
        return
    others = np.arange(len(target)) % 2 == 1
    moved = np.where(others[:, None] if bench.outputs else others, 0.9 * score, score)
    again = np.asarray(bench.loss.value(moved, target))
    bad = ~others & ~np.isclose(value, again, rtol=1e-9, equal_nan=True)
    if np.any(bad):
        yield Finding(
            "The value of an example depends on the other examples",
            bench.where(score, target, bad),
            "compute each value from its own score and target",
        )
    if not np.all(np.isfinite(value)):
        yield Finding(
            "It is not finite at ordinary scores",
            bench.where(score, target, ~np.isfinite(value)),
            "keep logarithms and roots away from 0 and below",
        )


def _traceable(bench: _Bench) -> Iterator[Finding]:
    import jax

    register_pytrees()
    score, target = bench.pairs(ORDINARY)
    try:
        jax.jit(bench.loss.value)(score, target)
    except (ArgumentError, jax.errors.JAXTypeError) as error:
        yield Finding(
            "JAX cannot follow it, so no network can be trained with it",
            str(error.__cause__ or error).partition("\n")[0].rstrip("."),
            "use operators and jax.numpy, and jax.numpy.where instead of if",
        )


def _gradient(bench: _Bench) -> Iterator[Finding]:
    score, target = bench.pairs(ORDINARY)
    yield from _compared("gradient", bench, score, target, bench.loss.value, bench.loss.gradient)


def _curvature(bench: _Bench) -> Iterator[Finding]:
    score, target = bench.pairs(ORDINARY)
    loss = bench.loss
    if "curvature" in bench.derivatives:
        yield from _compared("curvature", bench, score, target, loss.gradient, loss.curvature)


def _compared(
    name: str,
    bench: _Bench,
    score: Array,
    target: Array,
    function: Callable[[Array, Array], Array],
    derivative: Callable[[Array, Array], Array],
) -> Iterator[Finding]:
    """A derivative against central differences, wherever the two sides agree."""
    claimed = np.asarray(derivative(score, target))
    wanted = score.shape + ((bench.outputs,) if bench.outputs and name == "curvature" else ())
    if claimed.shape != wanted:
        evidence = f"{claimed.shape} instead of {wanted}"
        yield Finding(f"The {name} has the wrong shape", evidence, "see the docstrings of Loss")
        return
    step = 1e-5
    for unit in np.eye(bench.outputs) if bench.outputs else [np.ones(())]:
        here = np.asarray(function(score, target))
        right = (np.asarray(function(score + step * unit, target)) - here) / step
        left = (here - np.asarray(function(score - step * unit, target))) / step
        ours = claimed @ unit if bench.outputs else claimed
        scale = 1 + np.abs(left) + np.abs(right) + 1e-3 * np.abs(here)
        smooth = np.abs(right - left) < 1e-2 * scale
        bad = smooth & ~(np.abs(ours - (left + right) / 2) < 1e-4 * scale)
        if np.any(bad):
            row = tuple(np.argwhere(bad)[0])
            yield Finding(
                f"The {name} is wrong",
                f"it is {ours[row]:.6g} {bench.where(score, target, bad)}; finite differences give "
                f"{(left + right)[row] / 2:.6g}",
                "derive it again, or let JAX derive it (@minimand.loss)",
            )
            return


def _extremes(bench: _Bench) -> Iterator[Finding]:
    score, target = bench.pairs(FAR)
    value = np.asarray(bench.loss.value(score, target))
    near, beyond = (
        np.abs(bench.loss.value(*bench.pairs(np.clip(FAR, -most, most)))) for most in (300, 600)
    )
    bad = ~np.isfinite(value) & (beyond < TAME * (1 + near))
    if np.any(bad):
        yield Finding(
            "It overflows far out",
            f"{value[bad][0]} {bench.where(score, target, bad)}",
            "use a form that is stable in the tails, such as minimand.arrays.log1pexp or logsumexp",
        )
    places = [(score, target)] + [(target.astype(float), target)] * (not bench.outputs)
    for name in bench.derivatives:
        for score, target in places:
            slope = np.asarray(getattr(bench.loss, name)(score, target)).reshape(len(target), -1)
            value = np.asarray(bench.loss.value(score, target))
            bad = np.any(np.isnan(slope), axis=1) & np.isfinite(value)
            if np.any(bad):
                yield Finding(
                    f"The {name} is NaN",
                    f"{bench.where(score, target, bad)}, where the value is finite",
                    "keep roots, logarithms and quotients away from 0, also in the branch of a "
                    "where that is not taken",
                )
                break


def _half_precision(bench: _Bench) -> Iterator[Finding]:
    score, target = bench.pairs(ORDINARY)
    half = score.astype(np.float16)
    true = np.asarray(bench.loss.value(half.astype(float), target))
    ours = np.asarray(bench.loss(half, target, reduction="none"), dtype=float)
    bad = ~np.isclose(ours, true, rtol=1e-3, atol=1e-4)
    if np.any(bad):
        yield Finding(
            "Half precision gives another value",
            f"{ours[bad][0]:.6g} instead of {true[bad][0]:.6g} {bench.where(score, target, bad)}",
            "avoid differences of nearly equal numbers",
        )


def _masks(bench: _Bench) -> Iterator[Finding]:
    score, target = bench.pairs(ORDINARY)
    spoilt, mask = score.copy(), np.arange(len(target)) % 3 > 0
    spoilt[~mask] = np.nan
    masked = float(bench.loss(spoilt, target, mask=mask))
    kept = float(np.mean(np.asarray(bench.loss.value(score, target))[mask]))
    if not np.isclose(masked, kept, rtol=1e-9):
        yield Finding(
            "A masked row changes the result",
            f"{masked:.6g} with rows masked, {kept:.6g} without these rows",
            "the value at score 0 and target 0, which stand in for masked rows, must be finite",
        )


def _claims(bench: _Bench) -> Iterator[Finding]:
    loss, random = bench.loss, np.random.default_rng(0)
    score, target = bench.pairs(np.repeat(ORDINARY, 40))
    one, other = (score * random.exponential(4.0, score.shape) for _ in range(2))
    share = random.uniform(0.1, 0.9, len(target))
    mixed = share[:, None] if bench.outputs else share
    left, right = (np.asarray(loss.value(z, target)) for z in (one, other))
    between = np.asarray(loss.value(mixed * one + (1 - mixed) * other, target))
    above = between - share * left - (1 - share) * right
    bad = above > 1e-9 * (1 + np.abs(left) + np.abs(right))
    if loss.card.convex and np.any(bad):
        row = int(np.argmax(above))
        yield Finding(
            "It is not convex, although its card says so",
            f"with target {target[row]:g} it lies above the chord between the scores "
            f"{np.round(one[row], 3)} and {np.round(other[row], 3)}",
            "declare convex=False; solvers would stop at points that are not minima",
        )
    score, target = bench.pairs(ORDINARY)
    gradient = loss.gradient(score, target)
    met = {"lipschitz": np.linalg.norm(gradient, axis=-1) if bench.outputs else np.abs(gradient)}
    if "curvature" in bench.derivatives:
        curvature = loss.curvature(score, target)
        met["curvature"] = np.linalg.eigvalsh(curvature) if bench.outputs else curvature
    for name, sizes in met.items():
        most = float(np.max(sizes))
        bound = loss.fact(name)
        if bound is not None and most > bound * (1 + 1e-9):
            yield Finding(
                f"Its card claims {name} = {bound:g}, which is too small",
                f"{most:.6g} was met",
                "correct the card, or leave that fact out",
            )


CHECKS = (
    _shape,
    _traceable,
    _gradient,
    _curvature,
    _extremes,
    _half_precision,
    _masks,
    _claims,
)


def _bench(loss: Loss | type[Loss], target: Array | None) -> _Bench:
    loss = loss() if isinstance(loss, type) and issubclass(loss, Loss) else loss
    if not isinstance(loss, Loss):
        raise ArgumentTypeError(
            f"check_loss takes a loss, not {loss!r}; @minimand.loss makes one of a function"
        )
    loss.check_minimisable()
    if isinstance(loss, JointLoss) or loss.target_axes:
        raise ArgumentError(
            f"check_loss looks at losses of single examples with one target each; in "
            f"{type(loss).__name__} several act together"
        )
    if target is None and loss.card.target not in TARGETS:
        raise ArgumentError(
            f"name some targets for {type(loss).__name__}: check_loss(loss, target)"
        )
    if target is None:
        return _Bench(loss, np.asarray([y for y in TARGETS[loss.card.target] if _fits(loss, y)]))
    loss.check_target(np.asarray(target))
    return _Bench(loss, np.asarray(target))


def _fits(loss: Loss, target: float) -> bool:
    try:
        loss.check_target(np.asarray([target]))
    except TargetError:
        return False
    return True


def _number(found: list[Finding]) -> str:
    return {0: "no fault", 1: "one fault"}.get(len(found), f"{len(found)} faults")
