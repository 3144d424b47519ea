"""What is inferred from a fit, and how it is printed."""

from __future__ import annotations

import html
import textwrap
from dataclasses import dataclass, field
from functools import cached_property
from itertools import zip_longest
from typing import Any

import numpy as np
from scipy import special

from minimand.arrays import Array


@dataclass(frozen=True)
class Inference:
    """Coefficients with their covariance, and how well the model describes the data.

    Args:
        names: [m], of the coefficients; "y=2 x1" is that of x1 for class 2 beside class 0.
        coefficients: [m].
        covariance: [m, m], of the kind `covariance_kind`; NaN where the data determine nothing.
        distribution: of coefficient / standard error: "t" with `df_residual`, or "z" (normal).
        rows: the number of observations.
        df_model, df_residual: degrees of freedom besides the constant, and left over.
        parameters: the number of coefficients estimated; under a penalty, the effective number.
        dispersion: φ; None if the loss has no likelihood.
        log_likelihood, null_log_likelihood: of the model, and of a constant alone; None without.
        deviance, null_deviance: 2 (the saturated log-likelihood - that of the model) φ; the sum of
            the loss if it has no likelihood.
        pearson: Σ w (y - μ)² / V(μ); None if the loss has no likelihood.
        findings: sentences about what makes the numbers doubtful.
    """

    loss: str
    family: str
    covariance_kind: str
    distribution: str
    level: float
    names: tuple[str, ...]
    coefficients: Array
    covariance: Array = field(repr=False)
    rows: float
    df_model: float
    df_residual: float
    parameters: float
    dispersion: float | None
    log_likelihood: float | None
    null_log_likelihood: float | None
    deviance: float
    null_deviance: float
    pearson: float | None
    findings: tuple[str, ...]

    @cached_property
    def standard_errors(self) -> Array:
        """The roots of the diagonal of `covariance`, [m]."""
        return np.sqrt(np.diag(self.covariance))

    @cached_property
    def statistics(self) -> Array:
        """Coefficients divided by their standard errors, [m]."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.coefficients / self.standard_errors

    @cached_property
    def p_values(self) -> Array:
        """The chance of a statistic at least that far from 0 if the coefficient were 0, [m]."""
        size = -np.abs(self.statistics)
        tail = special.ndtr(size) if self.distribution == "z" else self._t(special.stdtr, size)
        return np.asarray(2 * tail)

    @cached_property
    def intervals(self) -> Array:
        """Confidence intervals at `level`, [m, 2]."""
        top = 0.5 + self.level / 2
        reach = special.ndtri(top) if self.distribution == "z" else self._t(special.stdtrit, top)
        half = reach * self.standard_errors
        return np.stack([self.coefficients - half, self.coefficients + half], axis=1)

    @property
    def aic(self) -> float | None:
        """Akaike's criterion, 2 k - 2 log L; k counts coefficients, not the dispersion."""
        return None if self.log_likelihood is None else 2 * (self.parameters - self.log_likelihood)

    @property
    def bic(self) -> float | None:
        """Schwarz's criterion, k log n - 2 log L."""
        if self.log_likelihood is None:
            return None
        return float(self.parameters * np.log(self.rows) - 2 * self.log_likelihood)

    @property
    def r_squared(self) -> float:
        """The share of the null deviance that the model explains, 1 - D / D₀.

        It is R² for squared losses, McFadden's for classes and that of Koenker and Machado (1999)
        for quantiles.
        """
        return 1 - self.deviance / self.null_deviance if self.null_deviance else float("nan")

    def table(self) -> dict[str, list[Any]]:
        """The coefficients as plain columns, which any data frame takes."""
        return {
            "name": list(self.names),
            "coefficient": self.coefficients.tolist(),
            "standard_error": self.standard_errors.tolist(),
            "statistic": self.statistics.tolist(),
            "p_value": self.p_values.tolist(),
            "low": self.intervals[:, 0].tolist(),
            "high": self.intervals[:, 1].tolist(),
        }

    def summary(self) -> str:
        """The measures of fit and the coefficients, as one table of text."""
        lines = self._lines()
        width = len(lines[0])
        title = f"{self.family} regression, minimising {self.loss}".center(width).rstrip()
        rule, line = "=" * width, "-" * width
        parts = [title, rule, *self._measures(width), rule, lines[0], line, *lines[1:], rule]
        for finding in self.findings:
            parts += textwrap.wrap(finding[0].upper() + finding[1:] + ".", width)
        return "\n".join(parts)

    def __str__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self.summary())}</pre>"

    def _t(self, function: Any, value: Any) -> Any:
        return function(self.df_residual, value)

    def _measures(self, width: int) -> list[str]:
        """The measures that exist, two a line."""
        squared = "R-squared" if self.family == "Gaussian" else "Pseudo R-squ."
        scored = "Summed loss" if self.log_likelihood is None else "Deviance"
        measures: dict[str, str | float | None] = {
            "No. Observations": f"{self.rows:.10g}",
            "Covariance Type": self.covariance_kind,
            "Df Residuals": f"{round(self.df_residual, 3):.10g}",
            "Df Model": f"{round(self.df_model, 3):.10g}",
            "Log-Likelihood": self.log_likelihood,
            "LL-Null": self.null_log_likelihood,
            "AIC": self.aic,
            "BIC": self.bic,
            scored: self.deviance,
            "Pearson chi2": self.pearson,
            "Scale": self.dispersion,
            squared: f"{self.r_squared:.4f}",
        }
        half = width // 2 - 3
        cells = []
        for name, value in measures.items():
            if value is not None:
                text = value if isinstance(value, str) else _number(value)
                cells.append(f"{name}:{text:>{half - len(name)}}")
        pairs = zip_longest(cells[::2], cells[1::2], fillvalue="")
        return [f"{left}    {right}".rstrip() for left, right in pairs]

    def _lines(self) -> list[str]:
        """The head of the table of coefficients, and its rows."""
        wide = max(12, min(30, max(map(len, self.names))))
        letter = self.distribution
        ends = (f"[{0.5 - self.level / 2:.4g}", f"{0.5 + self.level / 2:.4g}]")
        heads = ("coef", "std err", letter, f"P>|{letter}|", *ends)
        lines = [" " * wide + "".join(f"{head:>11}" for head in heads)]
        for name, *numbers in zip(*self.table().values(), strict=True):
            shown = [f"{_number(value):>11}" for value in numbers]
            shown[3] = f"{numbers[3]:11.3f}"
            lines.append(f"{name[:wide]:>{wide}}" + "".join(shown))
        return lines


def _number(value: float) -> str:
    """`value` in at most 10 characters.

    >>> _number(15.0), _number(-1829.154), _number(-3.21234e-7)
    ('15', '-1829.2', '-3.212e-07')
    """
    return f"{value:.5g}" if 0.01 <= abs(value) < 99999.5 else f"{value:.4g}"
