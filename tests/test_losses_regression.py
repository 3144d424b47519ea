"""What is special in the regression and margin losses: arguments, edge cases, users' pains."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import integrate, stats
from sklearn import metrics

from minimand.errors import ArgumentError, ShapeError, TargetError
from minimand.losses import (
    MAPE,
    MSLE,
    SMAPE,
    Absolute,
    Cauchy,
    CrammerSinger,
    EpsilonInsensitive,
    Expectile,
    Hinge,
    Huber,
    LogCosh,
    Loss,
    ModifiedHuber,
    Quantile,
    Quantiles,
    Ramp,
    RootMeanSquared,
    Squared,
    SquaredEpsilonInsensitive,
    TukeyBiweight,
    Welsch,
    WestonWatkins,
)

Array = Any
RNG = np.random.default_rng(0)
Z, Y = RNG.normal(size=12), RNG.normal(size=12)
ROBUST = [Cauchy(), Welsch(), TukeyBiweight()]
each_robust = pytest.mark.parametrize("loss", ROBUST, ids=str)


# --- users' pains ---------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [Squared(), Huber(), RootMeanSquared(), LogCosh()], ids=str)
def test_pain_01_silent_broadcasting(loss: Loss) -> None:
    """PyTorch only warns of (n, 1) against (n,), and compares every row with every other."""
    with pytest.raises(ShapeError, match=r"score has shape \(12, 1\) and target \(12,\)"):
        loss(Z[:, None], Y)


def test_pain_02_every_weighted_mean_divides_by_the_weights() -> None:
    """PyTorch's huber_loss divides by n where its mse_loss divides by Σw."""
    weight = np.array([1.0, 3.0])
    for loss, costs in ((Squared(), [4.0, 16.0]), (Huber(delta=1.0), [1.5, 3.5])):
        mean = loss(np.array([2.0, 4.0]), np.zeros(2), weight=weight)
        assert mean == pytest.approx((costs[0] + 3 * costs[1]) / 4)


def test_pain_05_masked_nan_never_poisons_the_root() -> None:
    kept = np.arange(12) % 3 > 0
    bad = np.where(kept, Y, np.nan)
    expected = math.sqrt(np.mean((Z - Y)[kept] ** 2))
    assert RootMeanSquared()(Z, bad, mask=kept) == pytest.approx(expected)
    assert RootMeanSquared()(Z, bad, weight=kept * 2.0) == pytest.approx(expected)
    slope = jax.grad(lambda z: RootMeanSquared()(z, jnp.asarray(bad), mask=kept))(jnp.asarray(Z))
    assert np.all(np.isfinite(slope)) and not np.any(slope[~kept])


def test_pain_06_every_regression_loss_takes_sample_weights() -> None:
    """A weight of 2 is the same row twice; PyTorch's smooth_l1_loss takes none."""
    weight, rows = np.array([2.0, 1.0, 0.0]), np.array([0, 0, 1])
    for loss in (LogCosh(), EpsilonInsensitive(), Expectile(0.3), Welsch(), RootMeanSquared()):
        weighted = loss(Z[:3], Y[:3], weight=weight)
        assert weighted == pytest.approx(loss(Z[rows], Y[rows]), rel=1e-14)


def test_pain_09_the_root_has_a_zero_gradient_at_zero_residuals() -> None:
    """A naive square root of the mean squared error has a NaN gradient there."""
    loss = RootMeanSquared()
    assert loss(Y, Y) == 0 and not loss.gradient(Y, Y).any()
    for mask in (None, np.zeros(12, dtype=bool)):
        slope = jax.grad(lambda z, mask=mask: loss(z, jnp.asarray(Y), mask=mask))(jnp.asarray(Y))
        assert not np.any(slope)
    score = torch.tensor(Y, requires_grad=True)
    loss(score, torch.tensor(Y)).backward()
    assert not score.grad.any()


def test_pain_13_accumulation_of_the_root_is_refused_and_the_exact_way_is_named() -> None:
    with pytest.raises(ArgumentError, match=r"Squared\(\).total"):
        RootMeanSquared().total(Z, Y)
    parts = [Squared().total(Z[rows], Y[rows]) for rows in (slice(0, 5), slice(5, None))]
    value, weight = np.sum(parts, axis=0)
    assert math.sqrt(value / weight) == pytest.approx(RootMeanSquared()(Z, Y))


@pytest.mark.parametrize("loss", [Squared(), RootMeanSquared(), Cauchy()], ids=str)
def test_pain_15_half_precision_does_not_overflow(loss: Loss) -> None:
    """Keras' float16 mean squared error of 70,000 elements is NaN."""
    score = np.full(70_000, 300.0)
    low = jnp.asarray(score, jnp.float16)
    exact = loss(score, np.zeros_like(score))
    assert float(loss(low, jnp.zeros_like(low))) == pytest.approx(float(exact), rel=1e-6)
    slope = jax.grad(lambda z: loss(z, jnp.zeros_like(z), reduction="sum"))(low)
    assert np.all(np.isfinite(slope.astype(jnp.float32)))


# --- the root of the mean squared error -----------------------------------------------------------


def test_the_root_equals_scikit_learns() -> None:
    weight = np.linspace(0, 2, 12)
    theirs = metrics.root_mean_squared_error(Y, Z, sample_weight=weight)
    assert RootMeanSquared()(Z, Y, weight=weight) == pytest.approx(theirs, rel=1e-14)


def test_the_closed_gradient_of_the_root_equals_autodiff() -> None:
    score, target = torch.tensor(Z, requires_grad=True), torch.tensor(Y)
    torch.sqrt(F.mse_loss(score, target)).backward()
    np.testing.assert_allclose(RootMeanSquared().gradient(Z, Y), score.grad, rtol=1e-13)
    with jax.enable_x64(True):
        slope = jax.jit(jax.grad(lambda z: RootMeanSquared()(z, jnp.asarray(Y))))(jnp.asarray(Z))
        np.testing.assert_allclose(slope, score.grad, rtol=1e-12)


def test_the_root_is_convex_and_has_the_unit_of_the_target() -> None:
    loss, zero = RootMeanSquared(), np.zeros(12)
    assert loss(0.3 * Z + 0.7 * Y, zero) <= 0.3 * loss(Z, zero) + 0.7 * loss(Y, zero)
    assert loss(1000 * Z, 1000 * Y) == pytest.approx(1000 * loss(Z, Y))


def test_each_row_of_a_table_is_a_batch_of_its_own() -> None:
    score, target = Z.reshape(3, 4), Y.reshape(3, 4)
    roots = [RootMeanSquared()(z, y) for z, y in zip(score, target, strict=True)]
    np.testing.assert_allclose(RootMeanSquared()(score, target, reduction="none"), roots)
    assert RootMeanSquared()(score, target) == pytest.approx(np.mean(roots))


def test_the_root_has_the_mean_as_constant_and_no_curvature_for_each_example() -> None:
    assert RootMeanSquared().constant(np.array([0.0, 3.0]), np.array([1, 2])) == 2.0
    with pytest.raises(ArgumentError, match="no curvature"):
        RootMeanSquared().curvature(Z, Y)
    with pytest.raises(TargetError, match="row 2 is nan"):
        RootMeanSquared().check_target(np.array([0.0, np.nan]))


# --- robust losses --------------------------------------------------------------------------------


@each_robust
def test_the_default_scale_keeps_95_percent_efficiency(loss: Loss) -> None:
    """Holland and Welsch (1977): (E ψ')² / E ψ² under the standard normal distribution."""

    def expected(f: Any) -> float:
        points = (-loss.scale, loss.scale)  # type: ignore[attr-defined]
        normal = stats.norm.pdf
        return integrate.quad(lambda r: f(np.float64(r)) * normal(r), -9, 9, points=points)[0]

    zero = np.float64(0)
    bend = expected(lambda r: loss.curvature(r, zero))
    square = expected(lambda r: loss.gradient(r, zero) ** 2)
    assert bend**2 / square == pytest.approx(0.95, abs=1e-3)


@each_robust
def test_larger_scale_treats_more_residuals_as_ordinary(loss: Any) -> None:
    """The pull per unit of residual is that of least squares for longer."""
    r = np.array([1e-6, 3.0])
    weights = [type(loss)(scale=s).gradient(r, np.zeros(2)) / r for s in (2.0, 5.0)]
    assert weights[0][1] / weights[0][0] < weights[1][1] / weights[1][0] < 1


@each_robust
def test_a_gross_outlier_is_left_out(loss: Loss) -> None:
    sample = np.array([-0.2, 0.0, 0.1, 0.1, 1e6])
    assert abs(loss.constant(sample)) < 0.1 < abs(np.mean(sample))


def test_the_textbooks_gaussian_is_a_similarity_and_this_is_one_minus_it() -> None:
    r, similarity = np.array([0.0, 2.0]), np.exp(-(np.array([0.0, 2.0]) ** 2) / (2 * 1.5**2))
    np.testing.assert_allclose(Welsch(scale=1.5).value(r, np.zeros(2)), 1 - similarity)
    assert Welsch().value(r, np.zeros(2)).argmin() == similarity.argmax() == 0


def test_huge_residuals_are_finite_in_single_precision() -> None:
    r = np.array([1e15, -1e15], dtype=np.float32)
    for loss in (*ROBUST, LogCosh(), Huber()):
        for found in (loss.value(r, 0 * r), loss.gradient(r, 0 * r), loss.curvature(r, 0 * r)):
            assert found.dtype == np.float32 and np.all(np.isfinite(found))


# --- quantiles, expectiles and tubes --------------------------------------------------------------


def test_several_quantiles_cost_the_sum_of_each() -> None:
    score, levels = RNG.normal(size=(12, 2)), (0.2, 0.7)
    alone = [Quantile(t).value(score[:, i], Y) for i, t in enumerate(levels)]
    np.testing.assert_allclose(Quantiles(levels).value(score, Y), sum(alone))


def test_larger_crossing_makes_the_wrong_order_dearer_and_leaves_the_right_one_alone() -> None:
    """Scores in the order 2, 1, 3: one neighbour is wrong, by 1."""
    wrong, right = np.array([[2.0, 1.0, 3.0]]), np.array([[1.0, 2.0, 3.0]])
    free, dear = Quantiles(), Quantiles(crossing=5.0)
    zero = np.zeros(1)
    assert dear.value(wrong, zero) - free.value(wrong, zero) == pytest.approx(5.0)
    assert dear.value(right, zero) == free.value(right, zero)
    push = dear.gradient(wrong, zero) - free.gradient(wrong, zero)
    assert push.tolist() == [[5.0, -5.0, 0.0]]


def test_the_gradient_of_crossing_quantiles_equals_autodiff() -> None:
    loss, score = Quantiles(levels=(0.1, 0.3, 0.5, 0.9), crossing=0.7), RNG.normal(size=(12, 4))
    by_torch = torch.tensor(score, requires_grad=True)
    loss(by_torch, torch.tensor(Y), reduction="sum").backward()
    np.testing.assert_allclose(loss.gradient(score, Y), by_torch.grad, rtol=1e-13)


def test_larger_levels_raise_the_constants_and_the_response_never_crosses() -> None:
    loss = Quantiles(levels=(0.1, 0.5, 0.9))
    assert np.all(np.diff(loss.constant(np.arange(100.0))) > 0)
    assert loss.response(np.array([[3.0, 1.0, 2.0]])).tolist() == [[1.0, 2.0, 3.0]]


def test_sorting_crossed_quantiles_never_costs_more() -> None:
    """Chernozhukov, Fernández-Val and Galichon (2010), proposition 4, for every single row."""
    loss, score = Quantiles(levels=(0.1, 0.5, 0.9)), 2 * RNG.normal(size=(200, 3))
    target = RNG.normal(size=200)
    assert np.all(loss.value(loss.response(score), target) <= loss.value(score, target) + 1e-12)


@pytest.mark.parametrize("levels", [(), (0.5, 0.1), (0.5, 0.5), (0.0, 0.5), (0.5, math.nan)])
def test_levels_out_of_order_or_range_are_refused(levels: tuple[float, ...]) -> None:
    with pytest.raises(ArgumentError, match="levels is"):
        Quantiles(levels=levels)


def test_quantiles_need_one_score_for_each_level() -> None:
    with pytest.raises(ShapeError, match=r"quantile 0.1, quantile 0.5, quantile 0.9; it has 2"):
        Quantiles()(np.zeros((4, 2)), np.zeros(4))


def test_several_quantiles_read_back_from_json_and_text() -> None:
    loss = Quantiles(levels=(0.25, 0.75), crossing=2.0)
    assert Loss.from_json(loss.to_json()) == loss == Loss.parse(str(loss))


def test_larger_expectile_level_makes_low_predictions_dearer_and_raises_the_constant() -> None:
    low, high = Expectile(level=0.2), Expectile(level=0.9)
    prediction, zero = np.array([-1.0, 1.0]), np.zeros(2)
    assert high.value(prediction, zero)[0] > low.value(prediction, zero)[0]
    assert high.value(prediction, zero)[1] < low.value(prediction, zero)[1]
    assert low.constant(np.arange(100.0)) < high.constant(np.arange(100.0))


@pytest.mark.parametrize("loss", [EpsilonInsensitive, SquaredEpsilonInsensitive])
def test_larger_epsilon_widens_the_tube_of_free_errors(loss: type[Any]) -> None:
    r, zero = np.array([0.3, -0.3, 2.0]), np.zeros(3)
    narrow, wide = loss(epsilon=0.1), loss(epsilon=0.5)
    assert np.all(narrow.value(r, zero) > wide.value(r, zero))
    assert wide.value(r, zero)[:2].tolist() == wide.gradient(r, zero)[:2].tolist() == [0.0, 0.0]


def test_no_tube_is_the_absolute_error() -> None:
    np.testing.assert_array_equal(EpsilonInsensitive(0.0).value(Z, Y), Absolute().value(Z, Y))


# --- percentages and ratios -----------------------------------------------------------------------


def test_percentages_of_makridakis() -> None:
    """Makridakis (1993): 150 for 100 is 50 % off, 100 for 150 is 33 %; symmetrically both 40 %."""
    forecast, actual = np.array([150.0, 100.0]), np.array([100.0, 150.0])
    np.testing.assert_allclose(MAPE().value(forecast, actual), [1 / 2, 1 / 3])
    np.testing.assert_allclose(SMAPE().value(forecast, actual), [0.4, 0.4])


def test_relative_losses_are_scikit_learns_metrics() -> None:
    actual, forecast = np.exp(Y), np.exp(Z)
    theirs = metrics.mean_absolute_percentage_error(actual, forecast)
    assert MAPE()(forecast, actual) == pytest.approx(theirs, rel=1e-14)
    theirs = metrics.mean_squared_log_error(actual, forecast)
    assert MSLE()(np.log1p(forecast), actual) == pytest.approx(theirs, rel=1e-13)
    np.testing.assert_allclose(MSLE().response(np.log1p(forecast)), forecast, rtol=1e-14)


def test_the_constant_of_percentages_is_the_median_of_reweighed_targets() -> None:
    """Gneiting (2011): of density f(y) / y. Here the weights 1, 1/2, 1/4, 1/8 give 1 the half."""
    assert MAPE().constant(np.array([1.0, 2.0, 4.0, 8.0])) == 1.0


def test_the_best_constant_of_log_errors_tells_the_mean_of_logs() -> None:
    counts = np.array([0.0, 1.0, 7.0])
    assert MSLE().response(MSLE().constant(counts)) == pytest.approx(16 ** (1 / 3) - 1)


def test_smape_rises_from_zero_scores_and_is_free_where_both_are_zero() -> None:
    score, target = jnp.zeros(2), jnp.asarray([0.0, 5.0])
    slope = jax.grad(lambda z: SMAPE()(z, target, reduction="sum"))(score)
    np.testing.assert_allclose(slope, SMAPE().gradient(score, target))
    assert SMAPE().value(score, target).tolist() == [0.0, 2.0] and slope[0] == 0 > slope[1]


# --- margins --------------------------------------------------------------------------------------


def test_larger_cap_lets_rows_further_on_the_wrong_side_pull() -> None:
    margins, one = np.array([-0.5, -2.5, -9.0]), np.ones(3)
    assert Ramp(cap=2.0).gradient(margins, one).tolist() == [-1.0, 0.0, 0.0]
    assert Ramp(cap=4.0).gradient(margins, one).tolist() == [-1.0, -1.0, 0.0]
    assert Ramp(cap=100.0).value(margins, one).tolist() == Hinge().value(margins, one).tolist()


def test_modified_huber_pulls_a_wrong_label_with_bounded_force() -> None:
    assert ModifiedHuber().gradient(np.array([-1.0, -1e6]), np.ones(2)).tolist() == [-4.0, -4.0]


def test_the_hinge_of_crammer_and_singer_is_scikit_learns() -> None:
    score, target = RNG.normal(size=(30, 4)), RNG.integers(0, 4, 30)
    theirs = metrics.hinge_loss(target, score, labels=range(4))
    assert CrammerSinger()(score, target) == pytest.approx(theirs, rel=1e-14)


def test_two_classes_make_both_multiclass_hinges_the_hinge_of_the_difference() -> None:
    score, target = RNG.normal(size=(30, 2)), RNG.integers(0, 2, 30)
    hinge = Hinge().value(score[:, 1] - score[:, 0], 2 * target - 1)
    np.testing.assert_allclose(CrammerSinger().value(score, target), hinge, atol=1e-15)
    np.testing.assert_allclose(WestonWatkins().value(score, target), hinge, atol=1e-15)


def test_tied_rivals_share_the_slope() -> None:
    """At zero scores, where training may start: the class itself gains, its rivals lose alike."""
    score, target = np.zeros((1, 3)), np.array([1])
    assert CrammerSinger().gradient(score, target).tolist() == [[0.5, -1.0, 0.5]]
    assert WestonWatkins().gradient(score, target).tolist() == [[1.0, -2.0, 1.0]]


def test_no_class_below_one_half_wins_the_hinge_of_crammer_and_singer() -> None:
    """Liu (2007), Fisher consistency of multicategory support vector machines."""
    loss = CrammerSinger()
    np.testing.assert_allclose(loss.constant(np.array([0, 0, 1, 1, 2])), 0, atol=1e-9)
    assert loss.decide(loss.constant(np.array([0, 0, 2, 2, 2]))) == 2


def test_the_steepest_slope_of_weston_and_watkins_grows_with_the_classes() -> None:
    for classes in (2, 5):
        slope = WestonWatkins().gradient(np.zeros((1, classes)), np.array([0]))
        assert np.linalg.norm(slope) == pytest.approx(math.sqrt(classes * (classes - 1)))


@pytest.mark.parametrize("loss", [CrammerSinger(), WestonWatkins()], ids=str)
def test_a_multiclass_hinge_of_one_score_is_refused(loss: Loss) -> None:
    with pytest.raises(ShapeError, match="2 or more classes"):
        loss(np.zeros((4, 1)), np.zeros(4, dtype=int))


@pytest.mark.parametrize("loss", [CrammerSinger(), WestonWatkins()], ids=str)
def test_a_multiclass_hinge_tells_the_class_and_not_its_probability(loss: Loss) -> None:
    """The best scores stay the same while the chances of the winner change."""
    shares = ([6, 4], [9, 1])
    one, other = (loss.constant(np.repeat(range(2), share)) for share in shares)
    np.testing.assert_allclose(one, other, atol=1e-9)
