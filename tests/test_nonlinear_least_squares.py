"""Nonlinear least squares: NIST's certified answers, SciPy as a peer, and bad input."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from minimand.budget import Budget
from minimand.errors import (
    ArgumentError,
    ArgumentTypeError,
    DataError,
    MinimandError,
    ShapeError,
    UnknownNameError,
)
from minimand.solvers.gauss_newton import GaussNewton, least_squares
from minimand.solvers.nonlinear import Layout
from minimand.solvers.nonlinear_fit import NonlinearFit, digits

Array = Any
Model = Callable[..., Array]
NIST = Path(__file__).parent / "data" / "nist"


# --- NIST's problems ------------------------------------------------------------------------------


def gauss(b: Array, x: Array) -> Array:
    peaks = b[2] * jnp.exp(-(((x - b[3]) / b[4]) ** 2)) + b[5] * jnp.exp(
        -(((x - b[6]) / b[7]) ** 2)
    )
    return b[0] * jnp.exp(-b[1] * x) + peaks


def cubic(b: Array, x: Array) -> Array:
    below = 1 + b[4] * x + b[5] * x**2 + b[6] * x**3
    return (b[0] + b[1] * x + b[2] * x**2 + b[3] * x**3) / below


def lanczos(b: Array, x: Array) -> Array:
    return b[0] * jnp.exp(-b[1] * x) + b[2] * jnp.exp(-b[3] * x) + b[4] * jnp.exp(-b[5] * x)


def enso(b: Array, x: Array) -> Array:
    w = 2 * jnp.pi * x
    year = b[1] * jnp.cos(w / 12) + b[2] * jnp.sin(w / 12)
    first = b[4] * jnp.cos(w / b[3]) + b[5] * jnp.sin(w / b[3])
    return b[0] + year + first + b[7] * jnp.cos(w / b[6]) + b[8] * jnp.sin(w / b[6])


def box(b: Array, x: Array) -> Array:
    return b[0] * (1 - jnp.exp(-b[1] * x))


def chwirut(b: Array, x: Array) -> Array:
    return jnp.exp(-b[0] * x) / (b[1] + b[2] * x)


MODELS: dict[str, tuple[Model, tuple[int, ...]]] = {  # and which parameters are linear
    "Bennett5": (lambda b, x: b[0] * (b[1] + x) ** (-1 / b[2]), (0,)),
    "BoxBOD": (box, (0,)),
    "Chwirut1": (chwirut, ()),
    "Chwirut2": (chwirut, ()),
    "DanWood": (lambda b, x: b[0] * x ** b[1], (0,)),
    "ENSO": (enso, (0, 1, 2, 4, 5, 7, 8)),
    "Eckerle4": (lambda b, x: b[0] / b[1] * jnp.exp(-0.5 * ((x - b[2]) / b[1]) ** 2), (0,)),
    "Gauss1": (gauss, (0, 2, 5)),
    "Gauss2": (gauss, (0, 2, 5)),
    "Gauss3": (gauss, (0, 2, 5)),
    "Hahn1": (cubic, (0, 1, 2, 3)),
    "Kirby2": (
        lambda b, x: (b[0] + b[1] * x + b[2] * x**2) / (1 + b[3] * x + b[4] * x**2),
        (0, 1, 2),
    ),
    "Lanczos1": (lanczos, (0, 2, 4)),
    "Lanczos2": (lanczos, (0, 2, 4)),
    "Lanczos3": (lanczos, (0, 2, 4)),
    "MGH09": (lambda b, x: b[0] * (x**2 + x * b[1]) / (x**2 + x * b[2] + b[3]), (0,)),
    "MGH10": (lambda b, x: b[0] * jnp.exp(b[1] / (x + b[2])), (0,)),
    "MGH17": (
        lambda b, x: b[0] + b[1] * jnp.exp(-x * b[3]) + b[2] * jnp.exp(-x * b[4]),
        (0, 1, 2),
    ),
    "Misra1a": (box, (0,)),
    "Misra1b": (lambda b, x: b[0] * (1 - (1 + b[1] * x / 2) ** -2.0), (0,)),
    "Misra1c": (lambda b, x: b[0] * (1 - (1 + 2 * b[1] * x) ** -0.5), (0,)),
    "Misra1d": (lambda b, x: b[0] * b[1] * x / (1 + b[1] * x), (0,)),
    "Nelson": (lambda b, x: b[0] - b[1] * x[:, 0] * jnp.exp(-b[2] * x[:, 1]), (0, 1)),
    "Rat42": (lambda b, x: b[0] / (1 + jnp.exp(b[1] - b[2] * x)), (0,)),
    "Rat43": (lambda b, x: b[0] / (1 + jnp.exp(b[1] - b[2] * x)) ** (1 / b[3]), (0,)),
    "Roszman1": (
        lambda b, x: b[0] - b[1] * x - jnp.arctan(b[2] / (x - b[3])) / jnp.pi,
        (0, 1),
    ),
    "Thurber": (cubic, (0, 1, 2, 3)),
}


@dataclass(frozen=True)
class Reference:
    x: Array
    y: Array
    starts: Array
    certified: Array
    errors: Array
    value: float
    deviation: float


@cache
def reference(name: str) -> Reference:
    lines = (NIST / f"{name}.dat").read_text("ascii").splitlines()
    table = [line.split("=")[1].split() for line in lines[:60] if re.match(r" +b\d =", line)]
    numbers = np.array(table, dtype=float)

    def stated(what: str) -> float:
        return float(next(line for line in lines if line.startswith(what)).split(":")[1])

    data = np.array([line.split() for line in lines[60:] if line.strip()], dtype=float)
    y = np.log(data[:, 0]) if name == "Nelson" else data[:, 0]
    return Reference(
        data[:, 1] if data.shape[1] == 2 else data[:, 1:],
        y,
        numbers[:, :2].T,
        numbers[:, 2],
        numbers[:, 3],
        stated("Residual Sum of Squares"),
        stated("Residual Standard Deviation"),
    )


@cache
def residual(name: str) -> Model:
    model = MODELS[name][0]
    return jax.jit(lambda b, x, y: y - model(b, x))


def fitted(name: str, start: int, linear: tuple[int, ...] = ()) -> NonlinearFit:
    known = reference(name)
    return least_squares(residual(name), known.starts[start], known.x, known.y, linear=linear)


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("name", MODELS)
def test_nist_is_met_to_eight_digits_from_both_starts(name: str, start: int) -> None:
    known, fit = reference(name), fitted(name, start)
    assert fit.converged, fit.status
    assert fit.degrees_of_freedom == round(known.value / known.deviation**2)
    assert digits(fit.params, known.certified).least > 8
    if name != "Lanczos1":  # its residuals, 1e-13 of y, are themselves rounded at 3 digits
        assert digits(fit.standard_errors, known.errors).least > 8
        assert digits(fit.value, known.value).least > 8
        assert digits(fit.residual_standard_deviation, known.deviation).least > 8


def test_all_of_nists_problems_are_here() -> None:
    assert sorted(MODELS) == sorted(path.stem for path in NIST.glob("*.dat"))
    assert len(MODELS) == 27


SEPARABLE = [name for name, (_, linear) in MODELS.items() if linear]
MGH10_OVERFLOWS = {("MGH10", 0)}  # exp(4e5 / 25000) with a free exponent runs off the numbers


@pytest.mark.parametrize("name", SEPARABLE)
def test_variable_projection_finds_the_same_with_the_linear_parameters_left_out(name: str) -> None:
    known = reference(name)
    for start in (0, 1):
        if (name, start) in MGH10_OVERFLOWS:
            continue
        fit = fitted(name, start, MODELS[name][1])
        assert fit.converged, fit.status
        if name != "Lanczos1":
            assert digits(fit.value, known.value).least > 8
        found, certified = np.sort(np.abs(fit.params)), np.sort(np.abs(known.certified))
        assert digits(found, certified).least > 8  # sorted: MGH17's two exponentials change places


def test_variable_projection_needs_fewer_steps() -> None:
    def steps(name: str, linear: tuple[int, ...]) -> int:
        runs = [fitted(name, start, linear) for start in (0, 1)]
        return sum(len(fit.history["iteration"]) - 1 for fit in runs)

    names = [name for name in SEPARABLE if name != "MGH10"]
    full = {name: steps(name, ()) for name in names}
    projected = {name: steps(name, MODELS[name][1]) for name in names}
    assert sum(projected.values()) < 0.8 * sum(full.values())
    for name in ("MGH17", "Misra1a", "Bennett5", "Nelson"):
        assert projected[name] < full[name]


def test_a_start_that_runs_into_overflow_ends_with_a_status() -> None:
    fit = fitted("MGH10", 0, MODELS["MGH10"][1])
    assert not fit.converged
    assert "has no effect on any residual" in fit.status
    assert fit.certificate.value > 0.1


def test_digits_are_log_relative_errors() -> None:
    found = digits({"a": 1.001, "b": 0.0, "c": np.nan}, {"a": 1.0, "b": 1e-20 * 0, "c": 1.0})
    assert found.each == pytest.approx([3.0, 15.0, 0.0], abs=1e-9)
    assert found.least == 0.0
    assert str(found).splitlines()[1].split() == ["a", "1.001", "1", "3.0"]
    with pytest.raises(ShapeError, match=r"certified has \('params\[0\]',\)"):
        digits([1.0, 2.0], [1.0])


# --- SciPy as a peer ------------------------------------------------------------------------------

X = np.linspace(0.0, 4.0, 30)
Y = 3.0 * np.exp(-1.3 * X) + 0.5 + 0.05 * np.random.default_rng(0).normal(size=30)
START = {"first": 1.0, "rate": 1.0, "rest": 0.0}


def decay(params: Any, x: Array, y: Array) -> Array:
    return y - params["first"] * jnp.exp(-params["rate"] * x) - params["rest"]


def decay_in_numpy(b: Array, x: Array, y: Array) -> Array:
    return y - b[0] * np.exp(-b[1] * x) - b[2]


def decay_slopes(b: Array, x: Array, y: Array) -> Array:
    e = np.exp(-b[1] * x)
    return -np.stack([e, -b[0] * x * e, np.ones_like(x)], axis=1)


def test_parameters_errors_and_weights_agree_with_curve_fit() -> None:
    sigma = np.linspace(0.5, 2.0, 30)
    fit = least_squares(decay, START, X, Y, weight=1 / sigma**2)
    found, covariance = scipy.optimize.curve_fit(
        lambda x, a, k, c: a * np.exp(-k * x) + c,
        X,
        Y,
        [1.0, 1.0, 0.0],
        sigma=sigma,
        ftol=1e-15,
        xtol=1e-15,
    )
    assert fit.names == ("first", "rate", "rest")
    assert fit.estimates == pytest.approx(found, rel=1e-8)
    assert fit.covariance == pytest.approx(covariance, rel=1e-5)
    assert fit.params["rate"] == fit.estimates[1]
    assert fit.standard_errors["rate"] == np.sqrt(fit.covariance[1, 1])
    assert fit.residuals == pytest.approx(decay_in_numpy(found, X, Y), abs=1e-7)
    assert fit.value == pytest.approx(np.sum((fit.residuals / sigma) ** 2))


def test_a_jacobian_given_with_numpy_finds_what_jax_finds() -> None:
    by_jax = least_squares(decay, START, X, Y)
    by_hand = least_squares(decay_in_numpy, [1.0, 1.0, 0.0], X, Y, jac=decay_slopes)
    assert by_hand.params == pytest.approx(by_jax.estimates, rel=1e-9)
    named = least_squares(
        lambda p, x, y: decay_in_numpy(list(p.values()), x, y),
        START,
        X,
        Y,
        jac=lambda p, x, y: dict(zip(p, decay_slopes(list(p.values()), x, y).T, strict=True)),
    )
    assert named.estimates == pytest.approx(by_jax.estimates, rel=1e-9)


@pytest.mark.parametrize(
    "bounds",
    [
        ([0.0, 0.0, 0.7], [5.0, 5.0, 5.0]),
        ([0.0, 0.0, -5.0], [5.0, 1.1, 5.0]),
        ([0.0, 0.0, -5.0], [2.5, 1.1, 0.2]),
        ([-9.0, -9.0, -9.0], [9.0, 9.0, 9.0]),
    ],
)
def test_bounds_agree_with_scipy(bounds: tuple[list[float], list[float]]) -> None:
    start = np.clip([1.0, 1.0, 0.1], *bounds)
    tight = {"xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-15}
    peer = scipy.optimize.least_squares(
        decay_in_numpy, start, decay_slopes, bounds, args=(X, Y), **tight
    )
    fit = least_squares(decay_in_numpy, start, X, Y, jac=decay_slopes, bounds=bounds)
    assert fit.converged
    assert fit.value <= 2 * peer.cost * (1 + 1e-12)
    assert fit.params == pytest.approx(peer.x, abs=1e-6)
    assert np.all((fit.params >= bounds[0]) & (fit.params <= bounds[1]))
    held = np.isin(fit.params, bounds)
    assert np.all((np.diag(fit.covariance) == 0) == held)
    assert fit.degrees_of_freedom == 30 - np.sum(~held)


@pytest.mark.parametrize("name", ["Misra1a", "MGH17", "Thurber", "Rat43", "Gauss1"])
def test_bounds_on_nists_problems_agree_with_scipy(name: str) -> None:
    known = reference(name)
    start = known.certified.copy()
    high = start + 0.5 * np.abs(start)
    start[1] *= 0.9
    high[1] = start[1] + 0.02 * abs(start[1])
    low = start - 0.5 * np.abs(start)
    fit = least_squares(residual(name), start, known.x, known.y, bounds=(low, high))
    with jax.enable_x64(True):
        peer = scipy.optimize.least_squares(
            lambda b: np.asarray(residual(name)(b, known.x, known.y)),
            start,
            "3-point",
            (low, high),
            x_scale="jac",
            xtol=1e-12,
            ftol=1e-14,
            gtol=1e-14,
            max_nfev=2000,
        )
    assert fit.converged, fit.status
    assert fit.params[1] == (high[1] if high[1] < known.certified[1] else fit.params[1])
    assert fit.value <= 2 * peer.cost * (1 + 1e-8)


def test_equal_bounds_fix_a_parameter() -> None:
    fit = least_squares(decay, START, X, Y, bounds=({"rest": 0.0}, {"rest": 0.0}))
    plain = least_squares(
        lambda p, x, y: y - p["first"] * jnp.exp(-p["rate"] * x), {"first": 1.0, "rate": 1.0}, X, Y
    )
    assert fit.params["rest"] == 0.0
    assert fit.estimates[:2] == pytest.approx(plain.estimates, rel=1e-9)
    assert fit.degrees_of_freedom == plain.degrees_of_freedom
    assert fit.standard_errors["rate"] == pytest.approx(plain.standard_errors["rate"], rel=1e-8)


def test_all_parameters_at_a_bound() -> None:
    fit = least_squares(lambda b, y: b - y, 1.0, np.array([3.0, 4.0]), bounds=(0.0, 2.0))
    assert (fit.params, fit.value, fit.degrees_of_freedom) == (2.0, 5.0, 2)
    assert fit.converged


def test_all_parameters_linear_is_ordinary_least_squares() -> None:
    fit = least_squares(lambda b, x, y: y - b[0] - b[1] * x, [0.0, 0.0], X, Y, linear=[0, 1])
    assert fit.converged
    assert fit.params[::-1] == pytest.approx(np.polyfit(X, Y, 1), rel=1e-10)


def test_rows_of_weight_zero_count_for_nothing() -> None:
    y, weight = Y.copy(), np.ones(30)
    y[[3, 7]], weight[[3, 7]] = np.nan, 0.0
    kept = weight > 0
    fit = least_squares(decay, START, X, y, weight=weight)
    fewer = least_squares(decay, START, X[kept], Y[kept])
    assert fit.estimates == pytest.approx(fewer.estimates, rel=1e-9)
    assert fit.covariance == pytest.approx(fewer.covariance, rel=1e-8)
    assert fit.degrees_of_freedom == fewer.degrees_of_freedom == 25
    assert np.isnan(fit.residuals[3])


# --- evidence -------------------------------------------------------------------------------------


def test_the_history_tells_every_step() -> None:
    fit = least_squares(decay, START, X, Y)
    history = fit.history
    assert list(history) == ["iteration", "value", "gradient_norm", "step", "damping"]
    assert history["iteration"] == list(range(len(history["value"])))
    assert np.all(np.diff(history["value"]) <= 1e-12 * fit.value)
    assert history["value"][-1] == pytest.approx(fit.value, rel=1e-14)
    assert history["gradient_norm"][-1] < 1e-8


def test_the_certificate_is_bates_and_watts_offset() -> None:
    theta = np.array([2.9, 1.25, 0.45])
    fit = least_squares(decay_in_numpy, theta, X, Y, jac=decay_slopes, tolerance=1e3)
    assert fit.status == "converged in 0 steps"
    r, q = decay_in_numpy(theta, X, Y), np.linalg.qr(decay_slopes(theta, X, Y))[0]
    along = q @ (q.T @ r)
    offset = np.sqrt(np.sum(along**2) / 3) / np.sqrt(np.sum((r - along) ** 2) / 27)
    assert fit.certificate.kind == "relative offset"
    assert fit.certificate.value == pytest.approx(offset, rel=1e-10)


def test_an_exact_fit_is_certified_by_its_rounding() -> None:
    fit = least_squares(decay, START, X, 3.0 * np.exp(-1.3 * X) + 0.5)
    assert fit.converged and fit.certificate.kind == "rounding"
    assert fit.estimates == pytest.approx([3.0, 1.3, 0.5], rel=1e-13)


def test_the_summary_is_words_and_a_table() -> None:
    known = reference("Misra1a")
    start = dict(zip(["b1", "b2"], known.starts[0], strict=True))
    fit = least_squares(
        lambda p, x, y: y - p["b1"] * (1 - jnp.exp(-p["b2"] * x)), start, known.x, known.y
    )
    lines = fit.summary().splitlines()
    assert lines[0].startswith("sum of squares 0.124551389 on 12 degrees of freedom")
    assert lines[1].startswith("converged in ") and "relative offset" in lines[1]
    # 238.942 ± 2.17881 (Student's t at 97.5 % and 12 degrees of freedom) times 2.70701
    assert lines[4].split() == ["b1", "238.942", "2.71", "233.044", "to", "244.84"]


def test_limits_of_steps_and_time_end_with_a_status() -> None:
    limited = least_squares(decay, START, X, Y, max_iterations=2)
    assert not limited.converged and len(limited.history["value"]) == 3
    assert limited.status.startswith("ended by the limit of 2 steps with relative offset")
    budget = Budget(60)
    budget.interrupted = True
    stopped = least_squares(decay, START, X, Y, budget=budget)
    assert stopped.status.startswith("ended by Ctrl-C") and stopped.params == START


def test_a_singular_jacobian_gives_the_step_of_least_norm_and_says_so() -> None:
    fit = least_squares(lambda b, x, y: y - (b[0] + b[1]) * x, [0.0, 1.0], X, Y)
    slope = X @ Y / (X @ X)
    assert fit.params == pytest.approx([(slope - 1) / 2, (slope + 1) / 2], rel=1e-12)
    assert "params[0], params[1] cannot be told apart" in fit.status
    assert np.all(np.isinf(np.diag(fit.covariance)))
    assert fit.degrees_of_freedom == 29


def test_a_parameter_without_effect_is_named() -> None:
    fit = least_squares(lambda p, x, y: y - p["a"] * x + 0 * p["b"], {"a": 1.0, "b": 2.0}, X, Y)
    assert not fit.converged
    assert "b has no effect on any residual" in fit.status
    assert fit.params["b"] == 2.0 and fit.params["a"] == pytest.approx(X @ Y / (X @ X))


def test_steps_into_overflow_are_rejected() -> None:
    x = np.linspace(0.0, 10.0, 20)
    y = 2.0 * np.exp(0.3 * x)
    for rate in (30.0, -30.0):
        fit = least_squares(lambda b, x, y: y - b[0] * jnp.exp(b[1] * x), [1.0, rate], x, y)
        assert np.all(np.isfinite(fit.params)) and np.isfinite(fit.value)
        assert fit.converged == (digits(fit.params, [2.0, 0.3]).least > 8)


def test_a_plateau_is_not_called_an_optimum() -> None:
    known = reference("BoxBOD")
    fit = GaussNewton(radius=100.0).minimise(residual("BoxBOD"), known.starts[0], known.x, known.y)
    assert fit.converged == (digits(fit.params, known.certified).least > 8)
    assert fit.certificate.value < 1e-6 or not fit.converged


def test_a_wrong_jacobian_is_not_certified() -> None:
    fit = least_squares(
        decay_in_numpy, [1.0, 1.0, 0.0], X, Y, jac=lambda b, x, y: -decay_slopes(b, x, y)
    )
    assert not fit.converged
    assert "no step lowers" in fit.status


def test_a_global_that_changes_between_calls_is_seen() -> None:
    power = 1.0

    def residual(b: Array, x: Array, y: Array) -> Array:
        return y - b * x**power

    y = 2.0 * X**2
    assert not least_squares(residual, 1.0, X, y).value < 1e-10
    power = 2.0
    assert least_squares(residual, 1.0, X, y).params == pytest.approx(2.0, rel=1e-14)


def test_double_precision_leaves_the_users_setting_alone() -> None:
    before = jax.config.jax_enable_x64
    seen = []

    def residual(b: Array, x: Array, y: Array) -> Array:
        seen.append(x.dtype)
        return y - b * x

    least_squares(residual, 1.0, X.astype(np.float32), jnp.asarray(Y))
    assert seen == [np.float64]  # traced once
    assert jax.config.jax_enable_x64 == before
    assert jnp.ones(1).dtype == jnp.float32


# --- forms of parameters and bad input ------------------------------------------------------------


def test_nested_parameters_keep_their_form() -> None:
    start = {"peak": {"height": 1.0, "at": [1.0, 2.0]}, "base": 0.0}
    layout, vector = Layout.of(start)
    assert layout.names == ("peak.height", "peak.at[0]", "peak.at[1]", "base")
    tree = layout.unpack(vector)
    assert tree["peak"]["at"].tolist() == [1.0, 2.0] and tree["base"] == 0.0

    def bumps(p: Any, x: Array, y: Array) -> Array:
        at = p["peak"]["at"]
        return y - p["base"] - p["peak"]["height"] * jnp.exp(-((x - at[0]) ** 2) - (x - at[1]) ** 2)

    fit = least_squares(
        bumps, start, X, Y, linear=["base", "peak.height"], bounds=({"peak": {"at": -5.0}}, np.inf)
    )
    assert fit.params["peak"]["at"].shape == (2,)
    assert fit.params["peak"]["at"].min() >= -5.0


BAD: list[Any] = [
    (
        DataError,
        r"data argument 2 is not finite in row 5",
        {"y": np.where(np.arange(30) == 4, np.nan, Y)},
    ),
    (ShapeError, r"30 and 29 rows", {"y": Y[1:]}),
    (ShapeError, r"returned shape \(30, 30\); expected \(30,\)", {"y": Y[:, None]}),
    (ShapeError, r"returned shape \(\)", {"residual": lambda p, x, y: jnp.sum(x)}),
    (ShapeError, r"returned shape \(\)", {"residual": lambda p, x, y: None}),
    (
        ArgumentError,
        "cannot be traced by JAX",
        {"residual": lambda p, x, y: y - np.exp(p["rate"])},
    ),
    (
        ArgumentError,
        "cannot be traced by JAX",
        {"residual": lambda p, x, y: x if p["rate"] else y},
    ),
    (DataError, "2 rows cannot determine 3 parameters", {"x": X[:2], "y": Y[:2]}),
    (
        DataError,
        "residual is not finite in row 7 at the start",
        {"start": START | {"rate": -1e3}},
    ),
    (ArgumentError, "start has rate = nan", {"start": START | {"rate": np.nan}}),
    (
        ArgumentTypeError,
        "rate must hold numbers, not 'fast'",
        {"start": START | {"rate": "fast"}},
    ),
    (ArgumentError, "start holds no parameter", {"start": {}}),
    (ArgumentError, r"start has rate = 1; .* in \[2, inf\]", {"bounds": ({"rate": 2.0}, {})}),
    (ArgumentError, "low > high", {"bounds": ({"rate": 2.0}, {"rate": 1.0})}),
    (ArgumentTypeError, r"bounds must be \(low, high\)", {"bounds": 3.0}),
    (ShapeError, r"shape \(2,\)", {"bounds": ([0.0, 1.0], np.inf)}),
    (UnknownNameError, "did you mean 'rate'", {"bounds": ({"rats": 0.0}, {})}),
    (UnknownNameError, "did you mean 'first'", {"linear": ["frist"]}),
    (ArgumentError, "not linear in first, rate together", {"linear": ["first", "rate"]}),
    (ArgumentError, "first has bounds", {"linear": ["first"], "bounds": ({"first": 0.0}, {})}),
    (ShapeError, r"weight has shape \(2,\)", {"weight": [1.0, 1.0]}),
    (DataError, "weight is -1.0 in row 1", {"weight": -np.ones(30)}),
    (ArgumentTypeError, "data argument 1 holds", {"x": np.array(["a"] * 30)}),
    (ShapeError, r"jac returned shape \(30, 1\)", {"jac": lambda p, x, y: x}),
    (ArgumentError, "tolerance is -1", {"tolerance": -1.0}),
]


@pytest.mark.parametrize(("error", "message", "change"), BAD)
def test_bad_input_gives_one_sentence(
    error: type[MinimandError], message: str, change: dict[str, Any]
) -> None:
    given: dict[str, Any] = {"residual": decay, "start": START, "x": X, "y": Y} | change
    first = [given.pop(name) for name in ("residual", "start", "x", "y")]
    with pytest.raises(error, match=message) as caught:
        least_squares(*first, **given)
    assert "\n" not in str(caught.value)
