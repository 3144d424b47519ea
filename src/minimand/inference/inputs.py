"""The arrays of a fit, checked, with the rows that weigh nothing left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse

from minimand.arrays import Array
from minimand.errors import ArgumentError, ArgumentTypeError, DataError, ShapeError
from minimand.inference.family import FittedRows
from minimand.losses import Loss


@dataclass(frozen=True)
class Fitted:
    """A linear model and the rows it was fitted to; `beta` [p, outputs] goes with `names` [p].

    With K classes the outputs are 1 ... K - 1, and `beta` holds differences to class 0.
    """

    names: tuple[str, ...]
    X: Any
    rows: FittedRows
    beta: Array


def read(
    loss: Loss,
    X: Any,
    y: Any,
    params: dict[str, Any],
    weight: Any,
    offset: Any,
    *,
    intercept: bool,
    names: Sequence[str] | None,
    frequency: bool,
) -> Fitted:
    """The arguments of `infer` as double precision.

    Raises:
        ArgumentError, ShapeError, DataError: what does not fit together, or is not finite.
    """
    names = tuple(names or (str(name) for name in getattr(X, "columns", ())))
    X = X.tocsr() if scipy.sparse.issparse(X) else np.asarray(X)
    y = np.asarray(y)
    if X.ndim != 2 or y.shape != X.shape[:1] or not X.size:
        raise ShapeError(f"X has shape {X.shape} and y {y.shape}; expected [n, p] and [n]")
    n, p = X.shape
    names = names or tuple(f"x{j + 1}" for j in range(p))
    if len(names) != p:
        raise ShapeError(f"there are {len(names)} names for {p} columns; give one for each")
    kernel, bias = _layer(loss, params, p)
    if not intercept and np.any(bias):
        raise ArgumentError(f"the bias is {bias.tolist()}; without an intercept it must be 0")
    weight = _vector("weight", weight, n, 1.0)
    if not np.all(weight >= 0) or not weight.any():
        raise DataError(f"weights must not be negative nor all 0; the least is {weight.min():g}")
    if frequency and np.any(weight != np.rint(weight)):
        raise DataError("frequencies must be whole numbers; for others use weight_kind='precision'")
    offset = _vector("offset", offset, n, 0.0)
    if loss.score_axes and np.any(offset):
        raise ArgumentError(f"{loss} is not changed by an offset of all classes; leave it out")
    kept = np.flatnonzero(weight)
    X, y, weight, offset = X[kept], y[kept], weight[kept], offset[kept]
    _check_finite(X, kept)
    loss.check_target(y)
    score = np.asarray(X @ kernel + bias)
    beta = np.vstack([bias, kernel]) if intercept else kernel
    if loss.score_axes:
        y, beta = _classes(y, len(bias)), beta[:, 1:] - beta[:, :1]
    else:
        y, score = y.astype(float), score[:, 0] + offset
    count = float(weight.sum()) if frequency else float(len(y))
    rows = FittedRows(y, score, weight, offset, count, frequency)
    return Fitted(("intercept", *names) if intercept else names, X, rows, beta)


def _layer(loss: Loss, params: dict[str, Any], p: int) -> tuple[Array, Array]:
    """(kernel [p, K], bias [K])."""
    try:
        layer = params["output"]
        kernel, bias = (np.asarray(layer[part], dtype=float) for part in ("kernel", "bias"))
    except (KeyError, TypeError, IndexError):
        raise ArgumentTypeError(
            'params must be {"output": {"kernel": [p, K], "bias": [K]}}, as in Solution.params'
        ) from None
    many = bool(loss.score_axes)
    if kernel.ndim != 2 or len(kernel) != p or (kernel.shape[1] > 1) != many:
        wanted = "K] for K classes" if many else "1]"
        raise ShapeError(f"the kernel has shape {kernel.shape}; expected [{p}, {wanted}")
    if bias.shape != kernel.shape[1:]:
        raise ShapeError(f"the bias has shape {bias.shape}; expected {kernel.shape[1:]}")
    if not (np.all(np.isfinite(kernel)) and np.all(np.isfinite(bias))):
        raise DataError("params hold a number that is not finite; the fit has no optimum there")
    return kernel, bias


def _vector(name: str, values: Any, n: int, default: float) -> Array:
    vector = np.full(n, default) if values is None else np.asarray(values, dtype=float)
    if vector.shape != (n,):
        raise ShapeError(f"{name} has shape {vector.shape}; expected ({n},)")
    for row in np.flatnonzero(~np.isfinite(vector))[:1]:
        raise DataError(f"{name} holds {vector[row]} in row {row + 1}; drop or repair that row")
    return vector


def _check_finite(X: Any, kept: Array) -> None:
    cells = X.tocoo() if scipy.sparse.issparse(X) else None
    values = X if cells is None else cells.data
    for bad in np.argwhere(~np.isfinite(values))[:1]:
        row, column = bad if cells is None else (cells.row[bad[0]], cells.col[bad[0]])
        raise DataError(
            f"X holds {values[tuple(bad)]} in row {kept[row] + 1}, column {column + 1}; drop or "
            f"repair that row"
        )


def _classes(y: Array, count: int) -> Array:
    for row in np.flatnonzero(~((y >= 0) & (y < count)))[:1]:
        raise DataError(
            f"y holds class {y[row]:g} in row {row + 1}; params know the classes 0 to {count - 1}"
        )
    return y.astype(np.int64)
