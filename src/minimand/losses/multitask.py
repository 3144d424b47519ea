"""Several tasks, one set of parameters: how their losses, or their gradients, become one.

A weighting of losses is called with the losses [T] and gives the sum to descend. A combination of
gradients has `combine`, which takes one gradient for each task, [T, ...] or a JAX pytree of such
arrays, and gives the one to follow. It looks only at the T × T inner products between them, so it
costs little beyond the T gradients, runs under `jax.jit`, and does not care for their scale.
"""

from __future__ import annotations

import dataclasses
from types import MappingProxyType
from typing import Any, Self

from minimand.arrays import (
    Array,
    arange,
    is_float,
    is_half,
    namespace,
    positive_part,
    repeat,
    to_float,
)
from minimand.component import Card, Component, NonNegative, Positive, Range, Real, component
from minimand.errors import ShapeError

SMALLEST_WEIGHT = 1e-3
"""GradNorm lets no task's weight fall below this share of an equal one."""


class GradientCombination(Component):
    """One gradient made of T: a weighted sum whose weights `weigh` reads from their inner products.

    Subclasses give `weigh`.
    """

    kind = "combination"

    def weigh(self, gramian: Array) -> Array:
        """The weight [T] of every task, from the inner products [T, T] up to a common factor."""
        raise NotImplementedError

    def combine(self, gradients: Any) -> Any:
        """The gradient to follow.

        Args:
            gradients: [T, ...], one for each task, or a JAX pytree of such arrays.

        Raises:
            ShapeError: an array has no task axis, or the arrays count different tasks.
        """
        leaves, rebuild = _leaves(gradients)
        weights = self.weigh(_gramian(leaves))
        return rebuild([_weighted_sum(weights, leaf) for leaf in leaves])


@component
class FixedWeights(GradientCombination):
    """The sum of the losses, each times its weight, chosen by hand: one number, or one a task [T].

    A larger weight draws the shared parameters towards its task.

    >>> import numpy as np
    >>> tasks = FixedWeights(weights=np.array([1.0, 0.5]))
    >>> float(tasks(np.array([3.0, 4.0])))
    5.0
    >>> tasks.combine(np.array([[1.0, 0.0], [0.0, 4.0]])).tolist()
    [1.0, 2.0]
    """

    weights: NonNegative = 1.0
    card = Card(
        formula="Σₜ wₜ ℓₜ",
        source="Caruana (1997), Multitask learning; Xin et al. (2022), Do current multi-task "
        "optimization methods in deep learning even help?, for how hard it is to beat",
        use="the first thing to try",
    )

    def __call__(self, losses: Array) -> Array:
        """Σ w ℓ of the losses [T]."""
        return namespace(losses, self.weights).sum(_one_each(self.weights, losses) * losses)

    def weigh(self, gramian: Array) -> Array:
        return _one_each(self.weights, gramian[0, :])


@component
class UncertaintyWeighting(Component):
    """Losses weighted by the noise of their tasks, which is learnt together with the parameters.

    The losses [T] are negative log-likelihoods at noise 1: means of `HalfSquared`, `CrossEntropy`
    and the like. `log_variance` [T] is a leaf to be trained: under JAX take the gradient with
    respect to the weighting itself, in PyTorch pass a tensor that requires a gradient. A larger
    entry makes its task count less. The best
    entry for a fixed loss is log 2ℓ: every task then contributes ½.

    >>> import numpy as np
    >>> tasks = UncertaintyWeighting(log_variance=np.log([1.0, 4.0]))
    >>> float(tasks(np.array([3.0, 4.0])).round(4))  # 3 + 4 / 4 + ½ log 4
    4.6931
    """

    kind = "combination"
    log_variance: Real = 0.0
    card = Card(
        formula="Σₜ exp(-sₜ) ℓₜ + ½ sₜ, sₜ = log σₜ²",
        source="Kendall, Gal and Cipolla (2018), Multi-task learning using uncertainty to weigh "
        "losses, eqs. 7 and 10",
        use="tasks in different units, or of very different noise",
        convex=True,
    )

    def __call__(self, losses: Array) -> Array:
        """Σ exp(-s) ℓ + ½ s of the losses [T]."""
        xp = namespace(losses, self.log_variance)
        s = _one_each(self.log_variance, losses)
        return xp.sum(xp.exp(-s) * losses + 0.5 * s)


@component
class GradNorm(FixedWeights):
    """Weights that are moved, step by step, until tasks that learn at one rate pull equally hard.

    After each step of the parameters replace the weighting by `update(gradients, progress)`. A
    larger `alpha` pulls harder for the tasks that lag behind; 0 makes all weighted gradients
    equally long. `learning_rate` is the size of a step of the weights, which always add up to T.

    >>> import numpy as np
    >>> gradients = np.array([[10.0, 0.0], [0.0, 1.0]])
    >>> tasks = GradNorm(learning_rate=0.01).update(gradients, progress=np.array([1.0, 1.0]))
    >>> tasks.weights.round(3).tolist()  # the task with the long gradient loses weight
    [0.942, 1.058]
    """

    alpha: NonNegative = 1.5
    learning_rate: Positive = 0.025
    card = Card(
        formula="w ← w - η ∂/∂w Σₜ |wₜ ‖gₜ‖ - ḡ rₜ^α|, ḡ = meanₜ wₜ ‖gₜ‖ held fixed, "
        "rₜ = progressₜ / mean progress; then w ← T w / Σ w",
        source="Chen et al. (2018), GradNorm, eqs. 1 and 2, algorithm 1",
        use="tasks that learn at different rates",
        search=MappingProxyType({"alpha": Range(0.5, 3.0)}),
    )

    def update(self, gradients: Any, progress: Array) -> Self:
        """The weighting with moved weights [T].

        Args:
            gradients: [T, ...] (or a JAX pytree), of the unweighted losses with respect to the
                shared parameters, in practice those of the last shared layer.
            progress: [T], the loss of each task divided by its loss at the start.
        """
        xp = namespace(progress)
        squares = sum(xp.sum(leaf * leaf, axis=-1) for leaf in map(_rows, _leaves(gradients)[0]))
        length = xp.sqrt(squares)
        weights = _one_each(self.weights, progress)
        lag = _ratio(progress, xp.mean(progress)) ** self.alpha
        excess = weights * length - xp.mean(weights * length) * lag
        moved = weights - self.learning_rate * xp.sign(excess) * length
        kept = SMALLEST_WEIGHT + positive_part(moved - SMALLEST_WEIGHT)
        return dataclasses.replace(self, weights=kept / xp.mean(kept))


@component
class PCGrad(GradientCombination):
    """The sum of the gradients, each first freed of what conflicts with the others.

    A gradient that points against another is projected onto its normal plane, one other task after
    the next: cyclically from its own number, where the paper draws the order. Two tasks have only
    one order.

    >>> import numpy as np
    >>> PCGrad().combine(np.array([[1.0, 0.0], [-1.0, 1.0]])).tolist()  # [0.5, 0.5] + [0, 1]
    [0.5, 1.5]
    """

    card = Card(
        formula="Σₜ gₜ, where for every other task j: gₜ ← gₜ - min(0, gₜ·gⱼ) / ‖gⱼ‖² gⱼ",
        source="Yu et al. (2020), Gradient surgery for multi-task learning, algorithm 1",
        use="tasks whose gradients conflict",
    )

    def weigh(self, gramian: Array) -> Array:
        xp = namespace(gramian)
        mixture = identity = _identity(gramian)
        for shift in range(1, gramian.shape[0]):
            other = xp.roll(identity, -shift, axis=0)
            product = xp.sum((mixture @ gramian) * other, axis=-1)
            square = xp.sum(other * xp.sum(identity * gramian, axis=-1), axis=-1)
            conflict = _ratio(positive_part(-product), square)
            mixture = mixture + conflict[:, None] * other
        return xp.sum(mixture, axis=0)


@component
class MGDA(GradientCombination):
    """The shortest weighted mean of the gradients: it descends every task, or is 0.

    At 0 no task can gain without another's loss. A task with a short gradient weighs most, so
    gradients of different units should be normalised first.

    >>> import numpy as np
    >>> MGDA().combine(np.array([[1.0, 0.0], [0.0, 2.0]])).round(12).tolist()
    [0.8, 0.4]
    """

    card = Card(
        formula="Σₜ wₜ gₜ, w = argmin ‖Σₜ wₜ gₜ‖ over w ≥ 0, Σₜ wₜ = 1",
        source="Désidéri (2012), Multiple-gradient descent algorithm; Sener and Koltun (2018), "
        "Multi-task learning as multi-objective optimization, eq. 3",
        use="a point where no task can gain without another's loss",
    )

    def weigh(self, gramian: Array) -> Array:
        return _best_mixture(gramian, namespace(gramian).zeros_like(gramian[0, :]), 1.0)


@component
class CAGrad(GradientCombination):
    """Near the mean gradient, the direction whose worst improvement of any task is the best.

    A larger `radius` (the paper's c, below 1 to reach a minimum of the mean loss) departs further
    from the mean, up to `radius` times its length; 0 is the mean.

    >>> import numpy as np
    >>> CAGrad(radius=0.0).combine(np.array([[1.0, 0.0], [0.0, 2.0]])).tolist()
    [0.5, 1.0]
    """

    radius: NonNegative = 0.5
    card = Card(
        formula="g₀ + c ‖g₀‖ g_w / ‖g_w‖, g₀ = meanₜ gₜ, g_w = Σₜ wₜ gₜ, "
        "w = argmin g_w·g₀ + c ‖g₀‖ ‖g_w‖ over w ≥ 0, Σₜ wₜ = 1",
        source="Liu et al. (2021), Conflict-averse gradient descent, algorithm 1",
        use="the mean of the tasks, without leaving one behind",
        search=MappingProxyType({"radius": Range(0.2, 0.8)}),
    )

    def weigh(self, gramian: Array) -> Array:
        xp = namespace(gramian, self.radius)
        count = gramian.shape[0]
        reach = self.radius * xp.sqrt(positive_part(xp.sum(gramian))) / count
        mixture = _best_mixture(gramian, xp.mean(gramian, axis=0), reach)
        length = xp.sqrt(positive_part(mixture @ gramian @ mixture))
        return 1 / count + _ratio(reach, length) * mixture


def _best_mixture(gramian: Array, linear: Array, reach: Array) -> Array:
    """The w on the simplex that minimises linear·w + reach √(wᵀ M w), by pairwise Frank-Wolfe.

    Each step moves weight from one task to another, for the pair that gains most by an exact line
    search. Two tasks are solved by one step; more converge linearly, as Lacoste-Julien and Jaggi
    (2015), On the global linear convergence of Frank-Wolfe optimization variants, show.
    """
    xp = namespace(gramian)
    count = gramian.shape[0]
    identity = _identity(gramian)
    square = xp.sum(identity * gramian, axis=-1)
    # From task j to task i the function of the weight γ moved is a γ + reach √(p + 2 q γ + r γ²).
    a, r = _differences(linear), positive_part(square[:, None] + square - 2 * gramian)
    curved = positive_part(reach * reach * r - a * a)

    def step(w: Array) -> Array:
        image = gramian @ w
        p, q = positive_part(w @ image), _differences(image)
        depth = xp.sqrt(_ratio(positive_part(p * r - q * q), curved))
        inside = _ratio(-a * depth - q, r)
        most = w + xp.zeros_like(gramian)
        moved = xp.where(curved > 0, inside, xp.where(a < 0, most, xp.zeros_like(most)))
        moved = xp.minimum(positive_part(moved), most)
        gain = a * moved + reach * xp.sqrt(positive_part(p + 2 * q * moved + r * moved * moved))
        pair = arange(count * count, gramian) == xp.argmin(gain)
        chosen = moved * to_float(xp.reshape(pair, (count, count)), gramian)
        return w + xp.sum(chosen, axis=1) - xp.sum(chosen, axis=0)

    return repeat(step, xp.mean(identity, axis=0), 10 * count)


def _differences(x: Array) -> Array:
    """xᵢ - xⱼ, [T, T]."""
    return x[:, None] - x


def _leaves(gradients: Any) -> tuple[list[Array], Any]:
    """The arrays [T, ...] of the gradients, and what puts their combinations together again."""
    if hasattr(gradients, "shape"):
        leaves, rebuild = [gradients], lambda arrays: arrays[0]
    else:
        import jax

        leaves, structure = jax.tree.flatten(gradients)

        def rebuild(arrays: list[Array]) -> Any:
            return jax.tree.unflatten(structure, arrays)

    shapes = [tuple(leaf.shape) for leaf in leaves]
    if not shapes or len({shape[:1] for shape in shapes}) > 1 or () in shapes:
        raise ShapeError(
            f"gradients have shapes {shapes}; the first axis of each array must count the tasks"
        )
    return leaves, rebuild


def _gramian(leaves: list[Array]) -> Array:
    """The inner products [T, T], of the gradients divided by their largest entry."""
    rows = [_rows(leaf) for leaf in leaves]
    xp = namespace(*rows)
    largest = xp.max(xp.stack([xp.max(xp.abs(leaf)) for leaf in rows]))
    scale = xp.where(largest > 0, largest, xp.ones_like(largest))
    return sum((leaf / scale) @ xp.matrix_transpose(leaf / scale) for leaf in rows)


def _rows(leaf: Array) -> Array:
    """[T, d], in at least single precision."""
    xp = namespace(leaf)
    leaf = xp.astype(leaf, xp.float32) if is_half(leaf) else leaf
    leaf = leaf if is_float(leaf) else xp.astype(leaf, xp.asarray(0.0).dtype)
    return xp.reshape(leaf, (leaf.shape[0], -1))


def _weighted_sum(weights: Array, leaf: Array) -> Array:
    xp = namespace(weights, leaf)
    total = to_float(weights, _rows(leaf)) @ _rows(leaf)
    return to_float(xp.reshape(total, tuple(leaf.shape[1:])), leaf)


def _one_each(number: Any, like: Array) -> Array:
    """A hyper-parameter as an array of the shape [T] of `like`."""
    shape = tuple(getattr(number, "shape", ()))
    if shape not in ((), tuple(like.shape)):
        raise ShapeError(
            f"a hyper-parameter of shape {shape} for {like.shape[0]} tasks; give one number, "
            f"or one for each task"
        )
    return number * namespace(number, like).ones_like(like)


def _identity(gramian: Array) -> Array:
    numbers = arange(gramian.shape[0], gramian)
    return to_float(numbers[:, None] == numbers, gramian)


def _ratio(above: Array, below: Array) -> Array:
    """above / below, and 0 where below is 0."""
    xp = namespace(above, below)
    empty = below == 0
    quotient = above / xp.where(empty, xp.ones_like(below), below)
    return xp.where(empty, xp.zeros_like(quotient), quotient)
