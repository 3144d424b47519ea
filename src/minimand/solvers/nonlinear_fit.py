"""What a nonlinear fit found, how sure it is, and how many digits of it are right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import stdtrit

from minimand.arrays import Array
from minimand.errors import ShapeError
from minimand.solvers.certificate import Certificate
from minimand.solvers.nonlinear import Layout, Residuals
from minimand.solvers.tangent import Tangent


@dataclass(frozen=True)
class NonlinearFit:
    """Parameters in the form of the start, with the evidence for them.

    `value` is the weighted sum of squares, `residuals` [n] are as the function gave them,
    `covariance` [p, p] is that of the linearised model, in the order of `names`. A parameter at a
    bound counts as known: its variance is 0. One that the data do not determine has variance ∞.
    """

    params: Any
    value: float
    residuals: Array = field(repr=False)
    status: str
    converged: bool
    certificate: Certificate
    history: dict[str, list[float]] = field(repr=False)
    names: tuple[str, ...]
    covariance: Array = field(repr=False)
    degrees_of_freedom: int

    @classmethod
    def of(
        cls,
        problem: Residuals,
        theta: Array,
        status: str,
        converged: bool,
        history: dict[str, list[float]],
    ) -> NonlinearFit:
        """The fit at θ, measured from the data anew."""
        point = problem.at(theta)
        lengths = np.linalg.norm(point.jacobian, axis=0)
        scale = np.where(lengths > 0, lengths, 1.0)
        tangent = Tangent(point, problem.low, problem.high, scale, problem.freedom)
        spread, determined = tangent.covariance()
        names = problem.layout.names
        unfelt = ~determined & (lengths == 0)
        for blind, what in (
            (unfelt, "has no effect on any residual there: choose another start, or drop it"),
            (~determined & ~unfelt, "cannot be told apart by these data: the Jacobian is singular"),
        ):
            if blind.any():
                status += f"; {', '.join(np.array(names)[blind])} {what}"
        converged = converged and not unfelt.any()
        freedom = problem.rows - len(tangent.values)
        with np.errstate(invalid="ignore"):
            covariance = spread * (point.value / freedom if freedom else np.nan)
        return cls(
            problem.layout.unpack(theta),
            point.value,
            problem.evaluate(theta)[0],
            status,
            converged,
            _certificate(tangent),
            history,
            names,
            covariance,
            freedom,
        )

    @property
    def estimates(self) -> Array:
        """The parameters as a vector [p], in the order of `names`."""
        return Layout.of(self.params)[1]

    @property
    def standard_errors(self) -> Any:
        """The standard error of every parameter, in the form of the parameters."""
        return Layout.of(self.params)[0].unpack(np.sqrt(np.diag(self.covariance)))

    @property
    def residual_standard_deviation(self) -> float:
        """√(value / degrees of freedom)."""
        freedom = self.degrees_of_freedom
        return float(np.sqrt(self.value / freedom)) if freedom else float("nan")

    def summary(self, level: float = 0.95) -> str:
        """How it ended, what proves it, and a table with Student's intervals of the parameters."""
        errors = np.sqrt(np.diag(self.covariance))
        width = stdtrit(self.degrees_of_freedom, (1 + level) / 2) * errors
        rows = [("parameter", "estimate", "standard error", f"{level:.0%} interval")]
        rows += [
            (name, f"{b:.6g}", f"{s:.3g}", f"{b - w:.6g} to {b + w:.6g}")
            for name, b, s, w in zip(self.names, self.estimates, errors, width, strict=True)
        ]
        return (
            f"sum of squares {self.value:.9g} on {self.degrees_of_freedom} degrees of freedom, "
            f"residual standard deviation {self.residual_standard_deviation:.6g}\n"
            f"{self.status}; {self.certificate.sentence}\n\n{_table(rows)}"
        )


@dataclass(frozen=True)
class Digits:
    """Digits of agreement of each number; printed as a table."""

    names: tuple[str, ...]
    got: Array
    certified: Array
    each: Array

    @property
    def least(self) -> float:
        """The digits of the number that agrees least."""
        return float(np.min(self.each))

    def __str__(self) -> str:
        rows = [("", "got", "certified", "digits")]
        rows += [
            (name, f"{g:.11g}", f"{c:.11g}", f"{d:.1f}")
            for name, g, c, d in zip(self.names, self.got, self.certified, self.each, strict=True)
        ]
        return _table(rows)


def digits(got: Any, certified: Any) -> Digits:
    """How many decimal digits agree: the log relative error, from 0 to 15 for every number.

    -log₁₀(|got - certified| / |certified|), and without the division where certified is 0.

    Args:
        got: numbers: an array, or a dictionary of numbers or arrays.
        certified: the right numbers, in the same form.

    Raises:
        ShapeError: the two do not have the same form.

    Source: McCullough (1998), Assessing the reliability of statistical software: part I, (1).

    >>> print(digits({"a": 3.1416, "b": 2.0}, {"a": 3.14159265, "b": 2.0}))
          got   certified  digits
    a  3.1416  3.14159265     5.6
    b       2           2    15.0
    """
    if isinstance(certified, Mapping) and isinstance(got, Mapping):
        got = {name: got[name] for name in certified if name in got}
    layout, right = Layout.of(certified)
    other, found = Layout.of(got)
    if other != layout:
        raise ShapeError(f"got has the numbers {other.names}; certified has {layout.names}")
    error = np.abs(found - right) / np.where(right == 0, 1.0, np.abs(right))
    each = np.clip(-np.log10(np.maximum(error, 1e-15)), 0.0, 15.0)
    return Digits(layout.names, found, right, np.where(np.isnan(error), 0.0, each))


def _certificate(tangent: Tangent) -> Certificate:
    if tangent.exact:
        value = tangent.gain / tangent.point.size if tangent.point.size else 0.0
        sentence = f"what is left to gain is {value:.1e} of the size of the model: rounding"
        return Certificate("rounding", value, sentence)
    sentence = (
        f"the next step is {tangent.offset:.1e} of the parameters' uncertainty (the relative "
        f"offset) and the scaled gradient {tangent.gradient_norm:.1e} (both 0 at the optimum)"
    )
    return Certificate("relative offset", tangent.offset, sentence)


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    """Columns flush right, but for the names."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
