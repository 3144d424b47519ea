"""Parameters by name: which of them a penalty or a constraint acts on, and the constraints.

A constraint has no cost: parameters that break it are brought back after every update.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from types import MappingProxyType
from typing import Any

from minimand.arrays import Array, namespace, norm
from minimand.component import Card, Component, Positive, Range, component
from minimand.errors import ArgumentError, unknown

Params = Any
"""An array, or a nested dictionary of arrays."""

KERNELS = ("kernel",)
ACTIVITY, JACOBIAN = "activity", "jacobian"
REPORTED = (ACTIVITY, JACOBIAN)
"""What a layer may report besides its parameters: its outputs [n, ...], their derivatives."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Chooser(Component):
    """What acts on the parameters of some `kinds` ("kernel", "bias", "scale") in some `layers`.

    A layer is named by any dictionary on the way to a parameter, such as "hidden", "layer0" or
    "output"; without names it is every layer.
    """

    kinds: tuple[str, ...] = KERNELS
    layers: tuple[str, ...] = ()

    def check_names(self, params: Params) -> None:
        """Raise unless every kind and layer chosen is in the parameters, and something is touched.

        Raises:
            UnknownNameError: another name than those of the parameters.
            ArgumentError: the parameters are an array, which has no names, or none is touched.
        """
        if self.layers or self.kinds != KERNELS:
            if not isinstance(params, dict):
                raise ArgumentError(f"{self} chooses parameters by name; here they have none")
            known = {*KERNELS, *REPORTED, *_names(params)}
            for name in (*self.kinds, *self.layers):
                if name not in known:
                    raise unknown("layer or kind of parameter", name, known)
        touched = [*kernels(params, self.kinds, self.layers)]
        if not touched and params and {*REPORTED}.isdisjoint(self.kinds):
            kinds = called(params)
            raise ArgumentError(
                f"{self} acts on none of the parameters, which are called {', '.join(kinds)}; say "
                f"which kinds and layers are meant, such as kinds=('{kinds[-1]}',)"
            )


class Constraint(Chooser):
    """A set that parameters must lie in."""

    kind = "constraint"

    def projected(self, params: Params) -> Params:
        """The nearest parameters in the set; what is not chosen stays."""
        return params


@component
class Unconstrained(Constraint):
    """No constraint.

    >>> Unconstrained().projected(3.0)
    3.0
    """

    card = Card(formula="w", source="no constraint", use="penalties, or nothing at all")


@component
class MaxNorm(Constraint):
    """No unit's incoming weights may be longer than `limit`: longer ones are shortened to it.

    A unit is an entry of a kernel's last axis; a kernel of one axis is one unit.

    >>> import numpy as np
    >>> MaxNorm(limit=1.0).projected({"kernel": np.array([[3.0, 0.0], [4.0, 0.5]])})["kernel"]
    array([[0.6, 0. ],
           [0.8, 0.5]])
    """

    limit: Positive = 3.0
    card = Card(
        formula="w_k ← w_k min(1, c / ‖w_k‖)",
        source="Srebro, Rennie and Jaakkola (2005), Maximum-margin matrix factorization; "
        "Srivastava et al. (2014), Dropout, section 5.1",
        use="large step sizes, together with dropout",
        convex=True,
        search=MappingProxyType({"limit": Range(1.0, 4.0)}),
    )

    def projected(self, params: Params) -> Params:
        self.check_names(params)
        return map_kernels(self._shortened, params, self.kinds, self.layers)

    def _shortened(self, w: Array) -> Array:
        xp = namespace(w)
        units = xp.reshape(w, (-1, w.shape[-1] if w.ndim > 1 else 1))
        length = norm(units.T)
        long = length > self.limit
        by = xp.where(long, self.limit / xp.where(long, length, xp.ones_like(length)), 1.0)
        return xp.reshape(units * xp.astype(by, w.dtype), w.shape)


def kernels(
    params: Params, kinds: tuple[str, ...] = KERNELS, layers: tuple[str, ...] = ()
) -> Iterator[Array]:
    """The arrays that penalties touch: of some kinds, and in some layers (or, without, in all)."""
    if not isinstance(params, dict):
        yield params
    else:
        for name, child in params.items():
            if isinstance(child, dict):
                yield from kernels(child, kinds, () if name in layers else layers)
            elif name in kinds and not layers:
                yield child


def map_kernels(
    change: Callable[[Array], Array],
    params: Params,
    kinds: tuple[str, ...] = KERNELS,
    layers: tuple[str, ...] = (),
) -> Params:
    """`params` with `change` applied to the arrays that penalties touch."""
    if not isinstance(params, dict):
        return change(params)
    return {
        name: map_kernels(change, child, kinds, () if name in layers else layers)
        if isinstance(child, dict)
        else change(child)
        if name in kinds and not layers
        else child
        for name, child in params.items()
    }


def called(params: dict[str, Any]) -> list[str]:
    """The kinds of parameters that there are."""
    inner = (called(child) if isinstance(child, dict) else [name] for name, child in params.items())
    return sorted({*chain.from_iterable(inner)})


def _names(params: dict[str, Any]) -> Iterator[str]:
    """The names of all layers and parameters."""
    for name, child in params.items():
        yield name
        if isinstance(child, dict):
            yield from _names(child)
