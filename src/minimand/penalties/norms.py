"""Penalties of parameters: small ones, sparse ones, groups that vanish together.

Parameters are an array or nested dictionaries of arrays. A penalty touches an array, or the
entries called "kernel"; biases and norm scales are left alone unless a penalty names them.
"""

from __future__ import annotations

import math
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from minimand.arrays import Array, asarray, namespace, norm, positive_part
from minimand.component import Card, Fraction, NonNegative, Range, component
from minimand.constraints import REPORTED, Chooser, Params
from minimand.constraints import kernels as kernels
from minimand.constraints import map_kernels as map_kernels
from minimand.errors import ArgumentError, ShapeError

ROUNDING = 1e-13
STRENGTHS = MappingProxyType({"strength": Range(1e-5, 1.0, log=True)})


class Penalty(Chooser):
    """A penalty; subclasses say what it costs for one array of parameters.

    One whose `kinds` name "activity" is for what the layers of a network put out, too; with
    "jacobian", for the derivatives of a code by the inputs, `L2` makes an autoencoder contractive.
    """

    kind = "penalty"

    def value(self, params: Params) -> Array:
        """The penalty of all the parameters that it touches."""
        self.check_names(params)
        return sum(self.of(w) for w in kernels(params, self.kinds, self.layers))

    def prox(self, params: Params, step: Array) -> Params:
        """argmin over v of penalty(v) + ‖v - params‖² / (2 step), touched parameters only."""
        return map_kernels(lambda w: self.shrink(w, step), params, self.kinds, self.layers)

    @property
    def on_activities(self) -> bool:
        """Whether it has something to say about activities."""
        return not {*REPORTED}.isdisjoint(self.kinds)

    @property
    def solvable(self) -> bool:
        """Whether linear models can have it."""
        return not self.on_activities

    def of_activities(self, activities: Params, weight: Array) -> Array:
        """Σ w penalty(a) / Σ w over the examples, for JAX arrays.

        `activities` are those that `Network.observed` reports, [n, ...] for each layer; `weight` is
        [n].
        """
        share = weight / namespace(weight).clip(namespace(weight).sum(weight), ROUNDING, None)
        chosen = [*kernels(activities, self.kinds, self.layers)]
        if not chosen:
            raise ArgumentError(
                f"{type(self).__name__}: of the layers chosen, none reports "
                f"{' or '.join(self.kinds)}"
            )
        return sum(self.of_layer(activity, share) for activity in chosen)

    def of_layer(self, activity: Array, share: Array) -> Array:
        """The penalty of what one layer puts out for examples that have shares of the mean."""
        import jax

        return share @ jax.vmap(self.of)(activity)

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

    @property
    def separable(self) -> bool:
        """Whether each row of a kernel becomes zero by itself."""
        return True

    @property
    def entrywise(self) -> bool:
        """Whether it is a sum over the entries of a kernel."""
        return True

    def groups_of(self, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """(the group of every entry of a kernel, its corner): flat; groups become zero together."""
        size = math.prod(shape)
        return np.arange(size), np.full(size, float(self.corner))

    def together(self, rows: Array) -> Array:
        """The indices `rows` of a kernel, and of all the rows that become zero with one of them."""
        return rows

    def on(self, rows: Array) -> Penalty:
        """The penalty of those rows of a kernel alone."""
        return self

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
class Unpenalised(Penalty):
    """No penalty: 0 for all parameters.

    >>> Unpenalised().value({"kernel": np.ones(3)})
    0.0
    """

    card = Card(formula="0", source="no penalty", use="more rows than parameters", convex=True)

    def value(self, params: Params) -> Array:
        return 0.0

    def of(self, w: Array) -> Array:
        return 0.0

    def slope(self, w: Array) -> Array:
        return namespace(w).zeros_like(w)

    def bend(self) -> Array:
        return 0.0

    def shrink(self, w: Array, step: Array) -> Array:
        return w


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


@component
class Group(Penalty):
    """The group lasso: whole groups of rows become zero together.

    `groups` names the group of every row of a kernel [p] or [p, K]; without it each row is one, so
    that a column of the data matters for all K outputs or for none.

    Raises:
        ShapeError: a kernel has another number of rows than `groups` names.

    >>> import numpy as np
    >>> Group(strength=1.0, groups=(0, 0, 1)).prox(np.array([3.0, 4.0, 0.5]), 1.0).round(3).tolist()
    [2.151, 2.869, 0.0]
    """

    strength: NonNegative = 1e-4
    groups: tuple[int, ...] = ()
    card = Card(
        formula="λ Σ √p_g ‖w_g‖, p_g rows in group g",
        source="Yuan and Lin (2006), Model selection and estimation in regression with grouped "
        "variables, eq. 2.1",
        use="columns that belong together, such as the levels of a category",
        convex=True,
        kinks="w_g = 0",
        search=STRENGTHS,
    )

    def of(self, w: Array) -> Array:
        _, roots = self._rows(w)
        return self.strength * namespace(w).sum(roots * self._lengths(w))

    def slope(self, w: Array) -> Array:
        return 0 * w

    def bend(self) -> Array:
        return 0.0

    def shrink(self, w: Array, step: Array) -> Array:
        xp = namespace(w)
        group, roots = self._rows(w)
        lengths = xp.take(self._lengths(w), group)
        by = step * self.strength * xp.take(roots, group)
        kept = positive_part(lengths - by) / xp.where(lengths > 0, lengths, xp.ones_like(lengths))
        return w * xp.reshape(kept, (-1, *(1,) * (w.ndim - 1)))

    @property
    def separable(self) -> bool:
        """Whether no groups are named."""
        return not self.groups

    @property
    def entrywise(self) -> bool:
        return False

    def groups_of(self, shape: tuple[int, ...]) -> tuple[Array, Array]:
        group, roots = self._rows(np.zeros(shape))
        entries = np.repeat(group, math.prod(shape[1:]))
        return entries, self.strength * roots[entries]

    def together(self, rows: Array) -> Array:
        if not self.groups:
            return rows
        names = np.asarray(self.groups)
        return np.flatnonzero(np.isin(names, names[rows]))

    def on(self, rows: Array) -> Penalty:
        return Group(self.strength, tuple(self.groups[i] for i in rows)) if self.groups else self

    def conjugate(self, slope: Array) -> Array:
        return super().conjugate(self._lengths(slope) / self._rows(slope)[1])

    @property
    def corner(self) -> Array:
        return self.strength

    def dual_norm(self, gradient: Array) -> Array:
        """max ‖gradient_g‖ / (λ √p_g): at most 1 if 0 with that gradient is optimal."""
        return super().dual_norm(self._lengths(gradient) / self._rows(gradient)[1])

    def _rows(self, w: Array) -> tuple[Array, Array]:
        """(the group of every row, √p_g of every group)."""
        if self.groups and len(self.groups) != w.shape[0]:
            raise ShapeError(
                f"Group: groups names {len(self.groups)} rows; the kernel has {w.shape[0]}"
            )
        group, members = _members(self.groups or w.shape[0])
        sizes = np.sum(members < len(group), axis=1)
        return asarray(group, w), namespace(w).astype(asarray(np.sqrt(sizes), w), w.dtype)

    def _lengths(self, w: Array) -> Array:
        """‖w_g‖ of every group."""
        xp = namespace(w)
        _, members = _members(self.groups or w.shape[0])
        rows = xp.reshape(w, (w.shape[0], math.prod(w.shape[1:])))
        rows = xp.concat([rows, xp.zeros_like(xp.sum(rows, axis=0, keepdims=True))])
        chosen = xp.take(rows, asarray(members.ravel(), w), axis=0)
        return norm(xp.reshape(chosen, (members.shape[0], members.shape[1] * rows.shape[1])))


@lru_cache(maxsize=32)
def _members(groups: tuple[int, ...] | int) -> tuple[np.ndarray, np.ndarray]:
    """(the group of every row, the rows of every group): the latter filled up with a row too many.

    A number stands for that many rows, each a group.
    """
    names = np.arange(groups) if isinstance(groups, int) else np.asarray(groups)
    group = np.unique(names, return_inverse=True)[1]
    sizes = np.bincount(group)
    order = np.argsort(group, kind="stable")
    place = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    members = np.full((len(sizes), sizes.max(initial=1)), len(group))
    members[group[order], place] = order
    return group, members


def soft_threshold(w: Array, by: Array) -> Array:
    """sign(w) max(|w| - by, 0)."""
    xp = namespace(w)
    return xp.sign(w) * positive_part(xp.abs(w) - by)
