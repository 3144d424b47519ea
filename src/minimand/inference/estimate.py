"""How sure the coefficients of a classical linear fit are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np

from minimand.arrays import Array
from minimand.errors import ArgumentError, DataError, unknown
from minimand.inference.design import Design, inverse
from minimand.inference.families import family_of
from minimand.inference.family import Family, FittedRows
from minimand.inference.inputs import Fitted, read
from minimand.inference.result import Inference
from minimand.losses import Loss
from minimand.penalties import L2, Penalty

Covariance = Literal["observed", "expected", "sandwich", "HC0", "HC1", "HC2", "HC3"]
WeightKind = Literal["precision", "frequency"]
MODEL_BASED = ("observed", "expected")


@np.errstate(divide="ignore", over="ignore", invalid="ignore")
def infer(
    loss: Loss,
    X: Array,
    y: Array,
    params: dict[str, Any],
    weight: Array | None = None,
    offset: Array | None = None,
    *,
    intercept: bool = True,
    covariance: Covariance = "observed",
    level: float = 0.95,
    names: Sequence[str] | None = None,
    penalty: Penalty | None = None,
    weight_kind: WeightKind = "precision",
) -> Inference:
    """Standard errors, tests and measures of fit for the minimum `params` of a linear objective.

    The covariance is φ H⁻¹, with H = Σ w ℓ'' x xᵀ and the dispersion φ by Pearson's χ² / (n - p)
    where the family has one, or the sandwich H⁻¹ (Σ w² ℓ'² x xᵀ) H⁻¹.

    Args:
        loss: Squared, HalfSquared, Logistic, BinaryCrossEntropy, CrossEntropy, Poisson, Gamma,
            InverseGaussian, Tweedie, NegativeBinomial, Quantile, Absolute or Huber.
        X: [n, p], dense, scipy.sparse or a frame, whose columns then give the names.
        y: [n], as the loss wants it.
        params: {"output": {"kernel": [p, K], "bias": [K]}}, as in `Solution.params`. For K classes
            the coefficients are differences to class 0.
        weight: [n], not negative; rows of weight 0 are left out.
        offset: [n], added to every score: the logarithm of an exposure, say.
        intercept: whether the bias was estimated; if not, it must be 0.
        covariance: "observed" information; "expected" information (for Gamma, InverseGaussian,
            Tweedie and NegativeBinomial another one, and the default of R's `glm`); "sandwich",
            which is "HC0"; or "HC1", "HC2", "HC3" with their corrections for small samples.
            For Quantile and Absolute, "observed" and "HC0" are "iid" and "robust" of statsmodels,
            with one density of errors for all rows, and "sandwich" is Powell's, which lets them
            differ (Koenker, 2005, section 3.4.2). For Huber, "observed" is H1 of Huber (1981).
        level: of the confidence intervals.
        names: [p], of the columns; x1, x2, ... unless given.
        penalty: the one of the objective, if it has one; an L2 penalty. The covariance is then the
            inverse Hessian of the penalised objective, and everything holds given the penalty.
        weight_kind: a "precision" divides the variance of its row (variance weights, as in WLS); a
            "frequency" says how many equal observations the row stands for.

    Raises:
        ArgumentError: a loss, penalty or setting for which there is no such theory.
        ShapeError, DataError: arrays that do not fit together, or too few rows.

    Source: McCullagh and Nelder (1989), Generalized Linear Models; MacKinnon and White (1985),
        Some heteroskedasticity-consistent covariance matrix estimators.

    >>> from minimand.losses import Squared
    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0.0, 1.0, 1.0, 2.0])
    >>> fit = {"output": {"kernel": np.array([[0.6]]), "bias": np.array([0.1])}}
    >>> infer(Squared(), X, y, fit).standard_errors.round(4).tolist()
    [0.2646, 0.1414]
    """
    penalty = penalty or L2(0.0)
    _check_settings(covariance, level, penalty, weight_kind)
    family = family_of(loss)
    frequency = weight_kind == "frequency"
    fitted = read(
        loss, X, y, params, weight, offset, intercept=intercept, names=names, frequency=frequency
    )
    rows, outputs = fitted.rows, fitted.beta.shape[1]
    strength = float(family.unit * penalty.bend() * rows.weight.sum())
    _check_theory(family, fitted, covariance, strength)

    design = Design(fitted.X, intercept, whole=strength > 0)
    ridge = strength * _ridge(design, intercept, outputs)
    bread = inverse(_information(design, rows, family.bread(rows, covariance)) + ridge)
    bends = family.expected(rows) if covariance == "expected" else family.modelled(rows)
    information = _information(design, rows, bends)
    modelled = inverse(information + ridge)
    parameters = float(np.sum(modelled * information)) if strength else float(len(information))
    df = rows.count - parameters
    dispersion = family.factor(rows, df)
    if covariance in MODEL_BASED:
        turned = dispersion * modelled
    else:
        turned = bread @ _meat(covariance, family, rows, design, bread, df) @ bread

    gamma = np.linalg.lstsq(design.back, fitted.beta)[0].T.ravel()
    slope = design.pull(_weighted(rows.weight, family.gradient(rows))) + ridge @ gamma
    constant = intercept or (not strength and design.spans_constant())
    null = replace(rows, score=family.null(rows, constant))
    known = family.likelihood
    return Inference(
        loss=str(loss),
        family=family.name,
        covariance_kind=covariance,
        distribution="t" if family.student and covariance in family.studentised else "z",
        level=level,
        names=fitted.names if outputs == 1 else _by_class(fitted.names, outputs),
        coefficients=fitted.beta.T.ravel(),
        covariance=_turned_back(design, turned, outputs),
        rows=rows.count,
        df_model=parameters - outputs * constant,
        df_residual=df,
        parameters=parameters,
        dispersion=dispersion if known else None,
        log_likelihood=family.log_likelihood(rows, dispersion) if known else None,
        null_log_likelihood=family.log_likelihood(null, dispersion) if known else None,
        deviance=family.deviance(rows),
        null_deviance=family.deviance(null),
        pearson=family.pearson(rows) if known else None,
        findings=(
            *_dependent(fitted.names, design),
            *_not_a_minimum(family, rows, design, bread @ slope, turned),
            *_penalised(penalty),
            *_overdispersed(family, rows, df),
        ),
    )


def _check_settings(covariance: str, level: float, penalty: Penalty, weight_kind: str) -> None:
    for setting, value, allowed in (
        ("covariance", covariance, get_args(Covariance)),
        ("weight_kind", weight_kind, get_args(WeightKind)),
    ):
        if value not in allowed:
            raise unknown(setting, value, allowed)
    if not 0 < level < 1:
        raise ArgumentError(f"level is {level}; it must lie in (0, 1), such as 0.95")
    if not penalty.smooth:
        raise ArgumentError(
            f"coefficients that {penalty} has selected have no such standard errors; fit with an "
            f"L2 penalty, or without one"
        )


def _check_theory(family: Family, fitted: Fitted, covariance: str, strength: float) -> None:
    rows, width = fitted.rows, fitted.beta.size
    if not strength and not rows.count > width:
        raise DataError(
            f"{rows.count:g} rows leave nothing to estimate the errors of {width} coefficients "
            f"from; give more rows or fewer columns, or fit with an L2 penalty"
        )
    if strength and not family.likelihood:
        raise ArgumentError(
            f"there are no standard errors for {family.loss} with a penalty; fit without one"
        )
    unequal = not rows.frequency and np.ptp(rows.weight) > 0
    if unequal and covariance in MODEL_BASED and not family.likelihood:
        raise ArgumentError(
            f"with unequal precisions {family.loss} has only sandwich standard errors; take "
            f"covariance='sandwich', or weight_kind='frequency' if weights count rows"
        )
    if fitted.beta.shape[1] > 1 and covariance in ("HC2", "HC3"):
        raise ArgumentError(f"{covariance} needs one score a row; take covariance='HC1'")


def _weighted(weight: Array, values: Array) -> Array:
    return weight.reshape(-1, *[1] * (values.ndim - 1)) * values


def _information(design: Design, rows: FittedRows, bends: Array) -> Array:
    return design.information(_weighted(rows.weight, bends))


def _ridge(design: Design, intercept: bool, outputs: int) -> Array:
    """The Hessian of ½ ‖W‖² in the coordinates of the design.

    For differences to class 0 the free common part of W is chosen to make it least.
    """
    penalised = np.ones(len(design.back))
    penalised[: int(intercept)] = 0
    between = np.eye(outputs) - (outputs > 1) / (outputs + 1)
    return np.kron(between, design.back.T @ (penalised[:, None] * design.back))


def _meat(
    kind: str, family: Family, rows: FittedRows, design: Design, bread: Array, df: float
) -> Array:
    """The covariance of the gradient, Σ (w ℓ')² x xᵀ, with the correction of its kind."""
    slopes, power = family.gradient(rows), {"HC2": 0.5, "HC3": 1.0}.get(kind, 0.0)
    if power:
        once = family.bread(rows, kind) * (1.0 if rows.frequency else rows.weight)
        left = 1 - once * design.leverage(bread)
        for row in np.flatnonzero(left < 1e-9)[:1]:
            raise DataError(
                f"row {row + 1} of those with weight decides its own fitted value, so {kind} does "
                f"not exist; take covariance='HC1'"
            )
        slopes = slopes / left**power
    squares = slopes**2 if slopes.ndim == 1 else slopes[:, :, None] * slopes[:, None, :]
    times = rows.weight if rows.frequency else rows.weight**2
    meat = design.information(_weighted(times, squares))
    return meat * rows.count / df if kind == "HC1" else meat


def _turned_back(design: Design, turned: Array, outputs: int) -> Array:
    """The covariance of the coefficients; NaN for those that the data do not determine."""
    back = np.kron(np.eye(outputs), design.back)
    covariance = np.asarray(back @ turned @ back.T)
    lost = np.tile(design.dependent, outputs)
    covariance[lost], covariance[:, lost] = np.nan, np.nan
    return covariance


def _by_class(names: tuple[str, ...], outputs: int) -> tuple[str, ...]:
    return tuple(f"y={k + 1} {name}" for k in range(outputs) for name in names)


def _dependent(names: tuple[str, ...], design: Design) -> tuple[str, ...]:
    found = [name for name, lost in zip(names, design.dependent, strict=True) if lost]
    if not found:
        return ()
    spare = len(design.back) - design.back.shape[1]
    return (
        f"the columns {', '.join(found)} depend on one another linearly (or are 0), so their "
        f"coefficients are not determined and have no standard errors; drop {spare} of them",
    )


def _not_a_minimum(
    family: Family, rows: FittedRows, design: Design, step: Array, covariance: Array
) -> tuple[str, ...]:
    """What the Newton step from the parameters says about them."""
    if not family.smooth:
        return ()
    errors = np.sqrt(np.maximum(np.diag(covariance), np.finfo(float).tiny))
    doubt = float(np.max(np.abs(step) / errors))
    moved = np.max(np.abs(design.push(step)), axis=1) > 0.5
    if family.endless and (errors.max() > 1e100 or (doubt < 0.1 and moved.any())):
        return (
            f"the loss still falls as the scores of {moved.sum()} rows run to infinity (classes "
            f"that the columns separate, or a group whose targets are all 0), so some coefficients "
            f"have no finite estimate and huge standard errors; add an L2 penalty or drop columns",
        )
    if doubt > 0.01:
        return (
            f"the parameters are not at the minimum: a Newton step would move them by {doubt:.2g} "
            f"standard errors; minimise further, and pass the fit's weight, offset and penalty",
        )
    return ()


def _penalised(penalty: Penalty) -> tuple[str, ...]:
    if not penalty.bend() > 0:
        return ()
    return (
        f"the fit is penalised by {penalty}: coefficients are shrunk, and standard errors, "
        f"intervals and p-values hold given the penalty",
    )


def _overdispersed(family: Family, rows: FittedRows, df: float) -> tuple[str, ...]:
    if not family.counted(rows):
        return ()
    ratio = family.pearson(rows) / df
    if not ratio > 2:
        return ()
    return (
        f"the targets vary {ratio:.1f} times as much as the {family.name} family says, so "
        f"model-based standard errors are too small; take covariance='sandwich' or another loss",
    )
