"""The array helpers against mpmath, and which library an array belongs to."""

from __future__ import annotations

import array_api_strict
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minimand.arrays import (
    is_float,
    is_half,
    log1pexp,
    log_softmax,
    logsumexp,
    namespace,
    positive_part,
    scan,
    sigmoid,
    softmax,
    softmax_and_rest,
    to_float,
    xlogy,
)
from minimand.errors import ArgumentTypeError

Z = np.array([-800.0, -700.0, -40.0, -1.0, -1e-8, 0.0, 1e-8, 1.0, 40.0, 700.0, 800.0])


def exact(function, *rows) -> np.ndarray:
    with mpmath.workdps(400):
        return np.array([float(function(*map(mpmath.mpf, row))) for row in zip(*rows, strict=True)])


@pytest.mark.parametrize(
    ("ours", "definition"),
    [
        (sigmoid, lambda z: 1 / (1 + mpmath.exp(-z))),
        (log1pexp, lambda z: mpmath.log(1 + mpmath.exp(z))),
        (positive_part, lambda z: max(z, 0)),
    ],
)
def test_functions_are_exact_in_the_tails(ours, definition) -> None:
    np.testing.assert_allclose(ours(Z), exact(definition, Z), rtol=1e-14, atol=1e-300)


@pytest.mark.parametrize(
    ("function", "first", "second"),
    [
        (log1pexp, lambda p, q: p, lambda p, q: p * q),
        (sigmoid, lambda p, q: p * q, lambda p, q: p * q * (q - p)),
    ],
)
def test_autodiff_is_right_at_zero_and_in_the_tails(function, first, second) -> None:
    with jax.enable_x64(True):
        z = jnp.array([-30.0, -1.0, 0.0, -0.0, 1.0, 30.0])
        p, q = 1 / (1 + np.exp(-np.asarray(z))), 1 / (1 + np.exp(np.asarray(z)))
        slope = jax.grad(function)
        np.testing.assert_allclose(jax.vmap(slope)(z), first(p, q), rtol=1e-12)
        np.testing.assert_allclose(jax.vmap(jax.grad(slope))(z), second(p, q), rtol=1e-12)
    at_zero = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    function(at_zero).sum().backward()
    assert at_zero.grad.item() == first(0.5, 0.5)


@given(st.lists(st.floats(-800, 800), min_size=2, max_size=5))
def test_logsumexp_and_softmax_against_mpmath(z: list[float]) -> None:
    with mpmath.workdps(50):
        terms = [mpmath.exp(mpmath.mpf(v)) for v in z]
        total = mpmath.fsum(terms)
        shares = [float(t / total) for t in terms]
        assert float(logsumexp(np.array(z))) == pytest.approx(
            float(mpmath.log(total)), rel=1e-13, abs=1e-13
        )
    np.testing.assert_allclose(softmax(np.array(z)), shares, rtol=1e-12, atol=1e-300)


ROWS = [
    [800.0, -800.0, 0.0],
    [40.0, 0.0, -1.0],
    [1.0, 1.0, -30.0],
    [-2.0, -2.0, -2.0],
    [1e-8, 0, -9],
]


@pytest.mark.parametrize("library", [np.asarray, jnp.asarray, torch.asarray])
@pytest.mark.parametrize("row", ROWS)
def test_log_softmax_and_rest_keep_full_relative_precision(library, row: list[float]) -> None:
    """Also where one share is nearly 1, and where several scores tie for the largest."""
    with mpmath.workdps(400):
        e = [mpmath.exp(mpmath.mpf(v)) for v in row]
        logs = [float(mpmath.log(x / mpmath.fsum(e))) for x in e]
        shares = [float(x / mpmath.fsum(e)) for x in e]
        rests = [float(mpmath.fsum(e[:k] + e[k + 1 :]) / mpmath.fsum(e)) for k in range(len(e))]
    with jax.enable_x64(True):
        z = library(np.array(row))
        p, rest = softmax_and_rest(z)
        for ours, exact_row in ((log_softmax(z), logs), (p, shares), (rest, rests)):
            np.testing.assert_allclose(ours, exact_row, rtol=1e-13, atol=1e-300)


@pytest.mark.parametrize("row", ROWS)
def test_autodiff_of_log_softmax_and_rest_is_right_at_ties(row: list[float]) -> None:
    """∂ log pₖ / ∂zⱼ = δ - pⱼ, ∂(1 - pₖ) / ∂zⱼ = -pₖ (δ - pⱼ), and the second derivative."""
    with jax.enable_x64(True):
        z = jnp.array(row)
        p, one = softmax(np.array(row)), np.eye(len(row))
        covariance = np.diag(p) - np.outer(p, p)
        np.testing.assert_allclose(jax.jacobian(log_softmax)(z), one - p, atol=1e-15)
        rest = jax.jacobian(lambda z: softmax_and_rest(z)[1])(z)
        np.testing.assert_allclose(rest, -covariance, atol=1e-15)
        first = jax.hessian(lambda z: log_softmax(z)[0])(z)
        np.testing.assert_allclose(first, -covariance, atol=1e-15)


@pytest.mark.parametrize("library", [np.asarray, jnp.asarray, torch.asarray])
def test_scan_takes_entries_in_turn(library) -> None:
    """Horner's rule: 2 x² + 3 x + 4 at x = 10, twice in one state."""
    x, factors = library([10.0, 100.0]), library([2.0, 3.0, 4.0])
    found = scan(lambda state, a: (state[1], state[1] * x + a), (0 * x, 0 * x), factors)
    assert found[1].tolist() == [234.0, 20304.0]
    assert found[0].tolist() == [23.0, 203.0]


def test_xlogy_is_zero_where_x_is_zero() -> None:
    x, y = np.array([0.0, 0.0, 2.0]), np.array([0.0, -1.0, 3.0])
    np.testing.assert_allclose(xlogy(x, y), [0, 0, 2 * np.log(3)])


@pytest.mark.parametrize(
    ("array", "name"),
    [
        (np.ones(2), "numpy"),
        (np.float32(1), "numpy"),
        (2.0, "numpy"),
        (jnp.ones(2), "jax.numpy"),
        (torch.ones(2), "array_api_compat.torch"),
        (array_api_strict.ones(2), "array_api_strict"),
    ],
    ids=lambda x: type(x).__name__,
)
def test_namespace_finds_the_library(array, name: str) -> None:
    assert namespace(array).__name__ == name
    assert namespace(1.0, array).__name__ == name


def test_namespace_of_numpy_and_a_tracer_is_jax() -> None:
    jax.jit(lambda x: 0 * x if namespace(np.ones(2), x) is jnp else pytest.fail("numpy"))(1.0)


@pytest.mark.parametrize("bad", [[1.0], "ones", None, {"a": 1}])
def test_what_is_not_an_array_is_refused(bad) -> None:
    with pytest.raises(ArgumentTypeError, match=f"got {type(bad).__name__}"):
        namespace(bad)


def test_dtypes_are_recognised() -> None:
    halves = [np.ones(1, np.float16), jnp.ones(1, jnp.bfloat16), torch.ones(1).bfloat16()]
    assert all(is_half(a) and is_float(a) for a in halves)
    assert not is_half(np.ones(1)) and not is_float(np.ones(1, int))
    assert not is_float(torch.ones(1, dtype=torch.bool))
    assert is_float(array_api_strict.ones(1))


def test_to_float_takes_the_floating_dtype_and_never_rounds() -> None:
    assert to_float(np.array([1, 0]), np.ones(2, np.float32)).dtype == np.float32
    assert to_float(np.array([True]), np.ones(1)).dtype == np.float64
    assert to_float(np.array([0.5]), np.array([1])).tolist() == [0.5]
