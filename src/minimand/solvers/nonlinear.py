"""What a nonlinear least-squares problem is: named parameters, residuals, and their Jacobian."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from minimand.arrays import Array
from minimand.errors import ArgumentError, ArgumentTypeError, DataError, ShapeError, unknown

Residual = Callable[..., Array]
Evaluate = Callable[[Array], tuple[Array, Array]]


@dataclass(frozen=True)
class Point:
    """Weighted residuals [n] and their Jacobian [n, k] at `theta` [k], part of `full` [p].

    `size` is the length of |J| |full|, what the rounding of the residuals is relative to.
    """

    theta: Array
    residuals: Array
    jacobian: Array
    full: Array
    size: float

    @cached_property
    def value(self) -> float:
        """The weighted sum of squares."""
        with np.errstate(over="ignore"):
            return float(self.residuals @ self.residuals)

    @property
    def finite(self) -> bool:
        """Whether the sum of squares and the Jacobian are numbers that can be used."""
        return math.isfinite(self.value) and bool(np.all(np.isfinite(self.jacobian)))


@dataclass(frozen=True)
class Layout:
    """Where the numbers of an array, or of nested dictionaries of arrays, stand in one vector.

    >>> layout, vector = Layout.of({"rate": 2.0, "peak": [1.0, 3.0]})
    >>> layout.names, layout.unpack(vector)["peak"]
    (('rate', 'peak[0]', 'peak[1]'), array([1., 3.]))
    """

    leaves: tuple[tuple[tuple[str, ...], tuple[int, ...]], ...]

    @classmethod
    def of(cls, tree: Any) -> tuple[Layout, Array]:
        """The layout of `tree`, and its numbers as a vector."""
        leaves = [(path, _numbers(".".join(path), leaf)) for path, leaf in _leaves(tree)]
        if not sum(a.size for _, a in leaves):
            raise ArgumentError("start holds no parameter; give an array or a dict of numbers")
        layout = cls(tuple((path, a.shape) for path, a in leaves))
        return layout, np.concatenate([a.ravel() for _, a in leaves])

    @cached_property
    def names(self) -> tuple[str, ...]:
        """One name per number: `rate`, `peak[0]`, and for a start without names `params[0]`."""
        found = []
        for path, shape in self.leaves:
            base = ".".join(path) or "params"
            places = np.ndindex(*shape)
            found += [base + (f"[{', '.join(map(str, i))}]" if i else "") for i in places]
        return tuple(found)

    def unpack(self, vector: Array) -> Any:
        """The tree of a vector of NumPy or JAX."""
        tree: dict[str, Any] = {}
        for (path, shape), part in zip(self.leaves, self._parts(vector), strict=True):
            leaf = part.reshape(shape)[()]
            if not path:
                return leaf
            node = tree
            for key in path[:-1]:
                node = node.setdefault(key, {})
            node[path[-1]] = leaf
        return tree

    def columns(self, tree: Any, rows: int) -> Array:
        """The Jacobian [rows, p] from an array like it, or a tree of [rows, ...]."""
        if not isinstance(tree, Mapping):
            return np.asarray(tree, dtype=float).reshape(rows, -1)
        blocks = [np.asarray(leaf, dtype=float).reshape(rows, -1) for _, leaf in _leaves(tree)]
        return np.hstack(blocks)

    def fill(self, what: str, tree: Any, default: float) -> Array:
        """A vector from one number for all, an array, or a dictionary that may leave some out."""
        given = dict(_leaves(tree))
        if () in given:
            given = {path: given[()] for path, _ in self.leaves}
        known = [path for path, _ in self.leaves]
        for path in given:
            if path not in known:
                raise unknown(f"parameter in {what}", ".".join(path), map(".".join, known))
        parts = []
        for path, shape in self.leaves:
            values = _numbers(what, given.get(path, default))
            if values.shape not in ((), shape):
                raise ShapeError(f"{what} has shape {values.shape}; expected {shape}")
            parts.append(np.broadcast_to(values, shape).ravel())
        return np.concatenate(parts)

    def positions(self, names: Iterable[str | int]) -> Array:
        """Which numbers are meant, by the name of a parameter or by a position."""
        chosen = np.zeros(len(self.names), dtype=bool)
        bases = [n.partition("[")[0] for n in self.names]
        for name in names:
            if isinstance(name, int) and 0 <= name < len(chosen):
                chosen[name] = True
            elif name in self.names or name in bases:
                chosen |= [name in pair for pair in zip(self.names, bases, strict=True)]
            else:
                raise unknown("parameter in linear", name, {*self.names, *bases})
        return chosen

    def _parts(self, vector: Array) -> Iterator[Array]:
        begin = 0
        for _, shape in self.leaves:
            yield vector[begin : (begin := begin + math.prod(shape))]


class Residuals:
    """√weight · residual(params, data ...) and its Jacobian, as functions of one vector.

    Rows of weight 0 count for nothing, whatever they hold.
    """

    def __init__(
        self,
        residual: Residual,
        start: Any,
        data: tuple[Any, ...],
        jac: Residual | None,
        bounds: tuple[Any, Any] | None,
        weight: Array | None,
    ):
        self.layout, self.start = Layout.of(start)
        low, high = _pair(bounds)
        self.low = self.layout.fill("the lower bounds", low, -np.inf)
        self.high = self.layout.fill("the upper bounds", high, np.inf)
        self._check_bounds()
        arrays = [_data(number, values) for number, values in enumerate(data, 1)]
        lengths = [len(a) for a in arrays if a.ndim]
        if len(set(lengths)) > 1:
            raise ShapeError(f"the data have {_listed(lengths)} rows; expected as many in each")
        rows = lengths[0] if lengths else None
        self.root = _root(weight, rows)
        _check_rows(arrays, self.root)
        self.evaluate = (
            _by_jax(residual, self.layout, arrays, rows)
            if jac is None
            else _given(residual, jac, self.layout, arrays, rows)
        )
        self.rows = self._checked_rows()
        self.freedom = self.rows - len(self.start)

    def at(self, theta: Array) -> Point:
        """The point θ [p]."""
        with np.errstate(all="ignore"):
            residuals, jacobian = self.evaluate(theta)
            if self.root is not None:
                kept = self.root > 0
                residuals = np.where(kept, residuals * self.root, 0.0)
                jacobian = np.where(kept[:, None], jacobian * self.root[:, None], 0.0)
            size = float(np.linalg.norm(np.abs(jacobian) @ np.abs(theta)))
        return Point(theta, residuals, jacobian, theta, size)

    def _check_bounds(self) -> None:
        for name, value, low, high in zip(
            self.layout.names, self.start, self.low, self.high, strict=True
        ):
            if not low <= high:
                raise ArgumentError(f"the bounds of {name} are {low:g} and {high:g}; low > high")
            if not (low <= value <= high and math.isfinite(value)):
                raise ArgumentError(
                    f"start has {name} = {value:g}; it must be finite and in [{low:g}, {high:g}]"
                )

    def _checked_rows(self) -> int:
        """How many rows count, after a look at the start."""
        point = self.at(self.start)
        found = {"the residual": point.residuals[:, None], "the Jacobian": point.jacobian}
        for what, values in found.items():
            for row in np.flatnonzero(~np.isfinite(values).all(axis=1))[:1]:
                raise DataError(
                    f"{what} is not finite in row {row + 1} at the start; "
                    f"choose a start where the model can be computed"
                )
        if not math.isfinite(point.value):
            raise DataError("the sum of squares overflows at the start; choose a nearer start")
        rows = len(point.residuals) if self.root is None else int(np.sum(self.root > 0))
        free = int(np.sum(self.low < self.high))
        if rows < free:
            raise DataError(
                f"{rows} rows cannot determine {free} parameters; "
                f"give more rows, or fix parameters by equal bounds"
            )
        return rows


def _by_jax(residual: Residual, layout: Layout, arrays: list[Array], rows: int | None) -> Evaluate:
    """Residuals and Jacobian in double precision, compiled as one program.

    A function may read what has changed since, so its program is kept for later calls only if it
    is jitted already.
    """
    import jax

    again = isinstance(residual, jax.stages.Wrapped)
    program = (_program if again else _program.__wrapped__)(residual, layout, rows)
    untraceable = (
        jax.errors.ConcretizationTypeError,
        jax.errors.TracerArrayConversionError,
        jax.errors.TracerIntegerConversionError,
    )

    def evaluate(theta: Array) -> tuple[Array, Array]:
        with jax.enable_x64(True):
            try:
                found, jacobian = program(theta, *arrays)
            except untraceable:
                raise ArgumentError(
                    "residual cannot be traced by JAX: write it with jax.numpy and without "
                    "branches on values, or give its Jacobian as jac"
                ) from None
            return np.asarray(found), np.asarray(jacobian)

    return evaluate


@lru_cache(maxsize=64)
def _program(residual: Residual, layout: Layout, rows: int | None) -> Any:
    import jax

    def both(theta: Array, *data: Array) -> tuple[Array, Array]:
        def function(vector: Array) -> Array:
            found = residual(layout.unpack(vector), *data)
            _check_shape(found, rows)
            return jax.numpy.asarray(found, dtype=float)

        found, push = jax.linearize(function, theta)
        return found, jax.vmap(push, out_axes=-1)(jax.numpy.eye(len(theta)))

    return jax.jit(both)


def _given(
    residual: Residual, jac: Residual, layout: Layout, arrays: list[Array], rows: int | None
) -> Evaluate:
    """Residuals and Jacobian by the functions given."""

    def evaluate(theta: Array) -> tuple[Array, Array]:
        params = layout.unpack(theta)
        found = residual(params, *arrays)
        _check_shape(found, rows)
        found = np.asarray(found, dtype=float)
        jacobian = layout.columns(jac(params, *arrays), len(found))
        if jacobian.shape != (len(found), len(theta)):
            raise ShapeError(
                f"jac returned shape {jacobian.shape}; expected {(len(found), len(theta))}, "
                f"a row per residual and a column per parameter"
            )
        return found, jacobian

    return evaluate


def _check_shape(found: Any, rows: int | None) -> None:
    shape = np.shape(found)
    if len(shape) != 1 or rows not in (None, shape[0]):
        wanted = "[n]" if rows is None else f"({rows},)"
        raise ShapeError(f"residual returned shape {shape}; expected {wanted}, one number per row")


def _pair(bounds: Any) -> tuple[Any, Any]:
    if bounds is None:
        return -np.inf, np.inf
    if not (isinstance(bounds, (tuple, list)) and len(bounds) == 2):
        raise ArgumentTypeError(f"bounds must be (low, high), not {bounds!r}")
    return bounds[0], bounds[1]


def _leaves(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(tree, Mapping):
        for key, branch in tree.items():
            yield from _leaves(branch, (*path, str(key)))
    else:
        yield path, tree


def _numbers(what: str, values: Any) -> Array:
    try:
        return np.array(values, dtype=float)
    except (TypeError, ValueError):
        raise ArgumentTypeError(f"{what or 'start'} must hold numbers, not {values!r}") from None


def _data(number: int, values: Any) -> Array:
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise ArgumentTypeError(
            f"data argument {number} holds {array.dtype}; encode it as numbers first"
        )
    return array if array.dtype.kind == "b" else array.astype(float)


def _root(weight: Array | None, rows: int | None) -> Array | None:
    if weight is None:
        return None
    weight = np.asarray(weight, dtype=float)
    if weight.ndim != 1 or rows not in (None, len(weight)):
        wanted = "[n]" if rows is None else f"({rows},)"
        raise ShapeError(f"weight has shape {weight.shape}; expected {wanted}")
    for row in np.flatnonzero(~((weight >= 0) & np.isfinite(weight)))[:1]:
        raise DataError(f"weight is {weight[row]} in row {row + 1}; it must be finite and not < 0")
    root: Array = np.sqrt(weight)
    return root


def _check_rows(arrays: list[Array], root: Array | None) -> None:
    for number, array in enumerate(arrays, 1):
        bad = ~np.isfinite(np.atleast_1d(array)).reshape(len(np.atleast_1d(array)), -1).all(axis=1)
        if root is not None and array.ndim:
            bad &= root > 0
        for row in np.flatnonzero(bad)[:1]:
            raise DataError(
                f"data argument {number} is not finite in row {row + 1}; "
                f"drop or repair that row, or give it weight 0"
            )


def _listed(numbers: list[int]) -> str:
    return " and ".join(map(str, dict.fromkeys(numbers)))
