"""Penalties: what is added to the cost to prefer small or sparse parameters.

Parameters are an array or nested dictionaries of arrays. A penalty touches an array, or the
entries called "kernel"; biases and norm scales are left alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Any

from minimand.arrays import Array, namespace, positive_part
from minimand.component import Card, Component, Fraction, NonNegative, Range, component

Params = Any
"""An array, or a nested dictionary of arrays."""

ROUNDING = 1e-13
STRENGTHS = MappingProxyType({"strength": Range(1e-5, 1.0, log=True)})


class Penalty(Component):
    """A penalty; subclasses say what it costs for one array of parameters."""

    kind = "penalty"

    def value(self, params: Params) -> Array:
        """The penalty of all the parameters that it touches."""
        return sum(self.of(w) for w in kernels(params))

    def prox(self, params: Params, step: Array) -> Params:
        """argmin over v of penalty(v) + ‖v - params‖² / (2 step), touched parameters only."""
        return map_kernels(lambda w: self.shrink(w, step), params)

    def of(self, w: Array) -> Array:
        """The penalty of one array."""
        raise NotImplementedError

    def slope(self, w: Array) -> Array:
        """The gradient of the smooth part for one array."""
        raise NotImplementedError

    def bend(self) -> Array:
        """The curvature of the smooth part, the same for every entry."""
        raise NotImplementedError

    def shrink(self, w: Array, step: Array) -> Array:
        """The proximal map of one array."""
        raise NotImplementedError

    def conjugate(self, slope: Array) -> Array:
        """sup over w of ⟨slope, w⟩ - penalty(w), for one array; infinite where it is unbounded."""
        xp = namespace(slope)
        beyond = positive_part(xp.abs(slope) - self.corner * (1 + ROUNDING))
        bend = self.bend()
        if bend > 0:
            return xp.sum(beyond * beyond) / (2 * bend)
        return math.inf if xp.any(beyond > 0) else 0.0

    @property
    def corner(self) -> Array:
        """The slope of the penalty just right of 0: the size of its kink there."""
        return 0.0

    @property
    def smooth(self) -> bool:
        """Whether the penalty has a gradient everywhere."""
        return bool(self.corner == 0)

    def dual_norm(self, gradient: Array) -> Array:
        """max |gradient| / corner: at most 1 if the parameters 0 with that gradient are optimal."""
        xp = namespace(gradient)
        top = xp.max(xp.abs(gradient))
        if self.smooth:
            return xp.where(top > 0, xp.full_like(top, math.inf), xp.zeros_like(top))
        return top / self.corner


@component
class ElasticNet(Penalty):
    """A mixture of L1 and L2; `l1_ratio` 1 is the lasso, 0 is ridge.

    >>> import numpy as np
    >>> float(ElasticNet(strength=1.0, l1_ratio=0.5).value(np.array([3.0, -4.0])))
    9.75
    """

    strength: NonNegative = 1e-4
    l1_ratio: Fraction = 0.5
    card = Card(
        formula="λ (ρ ‖w‖₁ + ½ (1 - ρ) ‖w‖²)",
        source="Zou and Hastie (2005), Regularization and variable selection via the elastic net",
        use="sparse parameters when columns are correlated",
        convex=True,
        kinks="w = 0",
        search=MappingProxyType(STRENGTHS | {"l1_ratio": Range(0.1, 0.9)}),
    )

    def of(self, w: Array) -> Array:
        xp = namespace(w)
        l1, l2 = xp.sum(xp.abs(w)), xp.sum(w * w)
        return self.strength * (self.l1_ratio * l1 + 0.5 * (1 - self.l1_ratio) * l2)

    def slope(self, w: Array) -> Array:
        return self.bend() * w

    def bend(self) -> Array:
        return self.strength * (1 - self.l1_ratio)

    def shrink(self, w: Array, step: Array) -> Array:
        return soft_threshold(w, step * self.corner) / (1 + step * self.bend())

    @property
    def corner(self) -> Array:
        return self.strength * self.l1_ratio


@component
class L1(Penalty):
    """The lasso: drives parameters to exactly zero.

    >>> import numpy as np
    >>> L1(strength=1.0).prox(np.array([3.0, -0.5]), 1.0).tolist()
    [2.0, -0.0]
    """

    strength: NonNegative = 1e-4
    card = Card(
        formula="λ ‖w‖₁",
        source="Tibshirani (1996), Regression shrinkage and selection via the lasso",
        use="sparse parameters: most columns do not matter",
        convex=True,
        kinks="w = 0",
        search=STRENGTHS,
    )

    def of(self, w: Array) -> Array:
        xp = namespace(w)
        return self.strength * xp.sum(xp.abs(w))

    def slope(self, w: Array) -> Array:
        return 0 * w

    def bend(self) -> Array:
        return 0.0

    def shrink(self, w: Array, step: Array) -> Array:
        return soft_threshold(w, step * self.strength)

    @property
    def corner(self) -> Array:
        return self.strength


@component
class L2(Penalty):
    """Ridge, or weight decay: keeps parameters small.

    >>> import numpy as np
    >>> float(L2(strength=0.1).value({"kernel": np.array([3.0, 4.0]), "bias": np.array([9.0])}))
    1.25
    """

    strength: NonNegative = 1e-4
    card = Card(
        formula="½ λ ‖w‖²",
        source="Hoerl and Kennard (1970), Ridge regression",
        use="correlated or many columns; makes a convex problem well posed",
        convex=True,
        curvature=lambda penalty: penalty.strength,
        search=STRENGTHS,
    )

    def of(self, w: Array) -> Array:
        return 0.5 * self.strength * namespace(w).sum(w * w)

    def slope(self, w: Array) -> Array:
        return self.strength * w

    def bend(self) -> Array:
        return self.strength

    def shrink(self, w: Array, step: Array) -> Array:
        return w / (1 + step * self.strength)


def soft_threshold(w: Array, by: Array) -> Array:
    """sign(w) max(|w| - by, 0)."""
    xp = namespace(w)
    return xp.sign(w) * positive_part(xp.abs(w) - by)


def kernels(params: Params) -> Iterator[Array]:
    """The arrays that penalties touch."""
    if not isinstance(params, dict):
        yield params
    else:
        for name, child in params.items():
            if isinstance(child, dict) or name == "kernel":
                yield from kernels(child)


def map_kernels(change: Callable[[Array], Array], params: Params) -> Params:
    """`params` with `change` applied to the arrays that penalties touch."""
    if not isinstance(params, dict):
        return change(params)
    return {
        name: map_kernels(change, child) if isinstance(child, dict) or name == "kernel" else child
        for name, child in params.items()
    }
