"""Penalties: proximal maps against direct minimisation, and which parameters they touch."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize
from sklearn.linear_model import Lasso

from minimand.component import catalogue
from minimand.errors import ShapeError
from minimand.penalties import L1, L2, ElasticNet, Group, Penalty, Unpenalised

PENALTIES = [
    made(strength=0.7)
    for made in catalogue("penalty").values()
    if made().solvable and made is not Unpenalised
]
each_penalty = pytest.mark.parametrize("penalty", PENALTIES, ids=str)


@each_penalty
@given(w=st.floats(-5, 5), step=st.floats(0.01, 10))
def test_prox_is_the_minimiser_of_its_definition(penalty: Penalty, w: float, step: float) -> None:
    def definition(v: float) -> float:
        return float(penalty.value(np.array([v]))) + (v - w) ** 2 / (2 * step)

    ours = float(penalty.prox(np.array([w]), step)[0])
    found = optimize.minimize_scalar(definition, bounds=(-6, 6), options={"xatol": 1e-11}).x
    assert ours == pytest.approx(found, abs=1e-5)
    assert definition(ours) <= definition(found) + 1e-15


@each_penalty
def test_prox_of_zero_strength_changes_nothing(penalty: Penalty) -> None:
    w = np.array([-2.0, 0.0, 3.0])
    np.testing.assert_array_equal(type(penalty)(strength=0.0).prox(w, 1.0), w)


def test_values_by_hand() -> None:
    w = np.array([3.0, -4.0])
    assert L1(strength=2.0).value(w) == 14
    assert L2(strength=2.0).value(w) == 25
    assert ElasticNet(strength=2.0, l1_ratio=0.25).value(w) == 0.25 * 14 + 0.75 * 25


def test_elastic_net_ends_in_lasso_and_ridge() -> None:
    w = np.array([3.0, -0.2, 0.0])
    for ratio, end in ((1.0, L1(strength=0.3)), (0.0, L2(strength=0.3))):
        net = ElasticNet(strength=0.3, l1_ratio=ratio)
        assert net.value(w) == pytest.approx(end.value(w))
        np.testing.assert_allclose(net.prox(w, 0.9), end.prox(w, 0.9))
        assert net.smooth == end.smooth and net.bend() == end.bend()


@each_penalty
def test_slope_and_bend_are_derivatives_of_the_smooth_part(penalty: Penalty) -> None:
    w, h = np.array([0.8, -1.5]), 1e-5
    for i, unit in enumerate(np.eye(2)):
        ends = [penalty.of(w - h * unit), penalty.of(w + h * unit)]
        corner = penalty.corner * np.sign(w[i])
        assert penalty.slope(w)[i] + corner == pytest.approx((ends[1] - ends[0]) / (2 * h))
        bend = (ends[1] - 2 * penalty.of(w) + ends[0]) / h**2
        assert penalty.bend() == pytest.approx(bend, abs=1e-4)


@each_penalty
def test_card_is_convex_and_names_the_kink(penalty: Penalty) -> None:
    a, b = np.array([1.0, -2.0, 0.1]), np.array([-3.0, 4.0, 0.2])
    assert penalty.value((a + b) / 2) <= (penalty.value(a) + penalty.value(b)) / 2
    assert bool(penalty.card.kinks) != penalty.smooth
    assert (penalty.corner > 0) != penalty.smooth


@each_penalty
def test_kernels_are_touched_and_biases_are_not(penalty: Penalty) -> None:
    layer = {"kernel": np.ones((2, 2)), "bias": np.full(2, 5.0), "scale": np.full(2, 5.0)}
    params = {"hidden": {"first": layer}, "output": layer}
    assert penalty.value(params) == pytest.approx(2 * penalty.value(layer["kernel"]))
    shrunk = penalty.prox(params, 0.5)
    for part in (shrunk["hidden"]["first"], shrunk["output"]):
        assert np.all(part["kernel"] < 1)
        assert part["bias"].tolist() == [5, 5] and part["scale"].tolist() == [5, 5]
    slope = jax.grad(penalty.value)(jax.tree.map(jnp.asarray, params))
    assert not np.any(slope["output"]["bias"]) and np.all(slope["output"]["kernel"] > 0)


def test_dual_norm_tells_where_the_lasso_becomes_zero() -> None:
    """scikit-learn's lasso loses its last coefficient where the dual norm reaches 1."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 4))
    y = X @ [1.0, -2.0, 0.0, 0.5]
    gradient = -X.T @ y / len(y)
    enough = float(L1(strength=1.0).dual_norm(gradient))
    for factor, empty in ((1.001, True), (0.999, False)):
        strength = factor * enough
        lasso = Lasso(alpha=strength, fit_intercept=False, tol=1e-12).fit(X, y)
        assert (not np.any(lasso.coef_)) == empty
        assert (L1(strength=strength).dual_norm(gradient) <= 1) == empty


def test_dual_norm_of_a_smooth_penalty_is_infinite_unless_the_gradient_is_zero() -> None:
    for smooth in (L2(strength=1.0), ElasticNet(l1_ratio=0.0), L1(strength=0.0)):
        assert smooth.dual_norm(np.array([0.0, 1e-9])) == np.inf
        assert smooth.dual_norm(np.zeros(2)) == 0


@each_penalty
def test_larger_strength_shrinks_more(penalty: Penalty) -> None:
    stronger = type(penalty)(strength=2 * penalty.strength)
    assert abs(stronger.prox(np.array([2.0]), 0.1)[0]) < abs(penalty.prox(np.array([2.0]), 0.1)[0])


def test_larger_l1_ratio_leaves_fewer_parameters() -> None:
    w = np.linspace(-1, 1, 21)
    left = [
        np.count_nonzero(ElasticNet(strength=0.8, l1_ratio=r).prox(w, 1.0)) for r in (0, 0.5, 1)
    ]
    assert left == sorted(left, reverse=True) and left[0] > left[1] > left[2]


@each_penalty
def test_strengths_can_be_mapped(penalty: Penalty) -> None:
    w = jnp.array([1.0, -2.0])
    many = jax.tree.map(lambda leaf: jnp.asarray(leaf) * jnp.ones(3), penalty)
    values = jax.jit(jax.vmap(lambda one: one.value(w)))(many)
    np.testing.assert_allclose(values, float(penalty.value(np.asarray(w))), rtol=1e-6)


PAIRS = Group(strength=2.0, groups=(7, 3, 7))


def test_group_values_by_hand() -> None:
    """Rows 1 and 3 are the group 7: √2 · 5; row 2 is the group 3: 1 · 2."""
    w = np.array([3.0, -2.0, 4.0])
    assert PAIRS.value(w) == pytest.approx(2 * (np.sqrt(2) * 5 + 2))
    assert PAIRS.dual_norm(w) == pytest.approx(max(5 / np.sqrt(2), 2) / 2)
    assert Group(strength=2.0).value(np.array([[3.0, 4.0], [0.0, 1.0]])) == pytest.approx(12)


def test_group_prox_takes_a_whole_group_or_shortens_it() -> None:
    w = np.array([0.3, -3.0, 0.4])
    assert PAIRS.prox(w, 0.2).tolist() == [0.0, pytest.approx(-2.6), 0.0]
    longer = PAIRS.prox(10 * w, 0.2)
    np.testing.assert_allclose(longer[[0, 2]], np.array([3.0, 4.0]) * (1 - 0.4 * np.sqrt(2) / 5))


def test_group_prox_is_the_minimiser_of_its_definition() -> None:
    w = np.array([1.5, -3.0, 0.4])
    found = PAIRS.prox(w, 0.5)
    start = float(PAIRS.value(found) + np.sum((found - w) ** 2))
    for move in np.random.default_rng(0).normal(size=(200, 3)):
        for size in (1e-1, 1e-4):
            moved = found + size * move
            assert PAIRS.value(moved) + np.sum((moved - w) ** 2) >= start


def test_group_conjugate_is_the_indicator_of_its_dual_ball() -> None:
    slope = np.array([3.0, -1.0, 4.0])
    inside = slope / float(PAIRS.dual_norm(slope))
    assert PAIRS.conjugate(inside) == 0
    assert PAIRS.conjugate(1.001 * inside) == np.inf


def test_rows_of_a_group_go_together() -> None:
    assert PAIRS.together(np.array([2])).tolist() == [0, 2]
    assert PAIRS.on(np.array([1, 2])) == Group(strength=2.0, groups=(3, 7))
    for penalty in (L1(), Group()):
        assert penalty.together(np.array([2])).tolist() == [2]
        assert penalty.on(np.array([1])) == penalty
    assert Group().separable and not PAIRS.separable


def test_group_has_a_finite_slope_at_zero_and_runs_under_jax() -> None:
    at_zero = jax.grad(PAIRS.value)(jnp.zeros(3))
    assert at_zero.tolist() == [0, 0, 0]
    shrunk = jax.jit(PAIRS.prox)(jnp.array([0.3, -3.0, 0.4]), 0.2)
    np.testing.assert_allclose(shrunk, [0, -2.6, 0], atol=1e-6)


def test_groups_must_name_every_row() -> None:
    with pytest.raises(ShapeError, match="groups names 3 rows; the kernel has 2"):
        PAIRS.value(np.ones(2))


def test_no_penalty_is_one_of_strength_zero() -> None:
    params = {"kernel": np.array([1.0, -2.0]), "bias": np.array([3.0])}
    none, weak = Unpenalised(), L2(strength=0.0)
    assert none.value(params) == weak.value(params) == 0
    for one, other in zip(
        jax.tree.leaves(none.prox(params, 0.5)),
        jax.tree.leaves(weak.prox(params, 0.5)),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(none.slope(params["kernel"]), weak.slope(params["kernel"]))
    assert none.bend() == weak.bend() and none.smooth and none.dual_norm(np.zeros(2)) == 0
