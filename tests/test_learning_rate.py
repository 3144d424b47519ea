"""The rate that the range test chooses fits the curvature, trains well, and always exists."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import optax
import pytest
from sklearn import datasets

from minimand import NetworkClassifier
from minimand.errors import ArgumentError, SolverError
from minimand.losses import CrossEntropy, Squared
from minimand.networks import MLP, Linear
from minimand.optimizers import SGD, Adam, ClipByNorm, GradientDescent
from minimand.schedules import Warmup
from minimand.training import Recipe, train
from minimand.tuning import learning_rate
from minimand.tuning.learning_rate import range_test, resolved

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(200, 3)) * [1.0, 2.0, 4.0]
Y = X @ [1.0, -2.0, 0.5] + 0.1 * RANDOM.normal(size=200)
LINE = Recipe(Linear(), Squared(), GradientDescent(), batch_size=200)


def curvature(X: np.ndarray) -> float:
    """The largest eigenvalue of the Hessian of the mean of ½ r², intercept included."""
    design = np.column_stack([X, np.ones(len(X))])
    return float(np.linalg.eigvalsh(design.T @ design / len(X))[-1])


def test_the_rate_lies_below_the_limit_of_a_quadratic() -> None:
    """Gradient descent diverges from 2 / λ on, and is quick not far below."""
    test = range_test(LINE, X, Y)
    scale = 2 if float(Squared()(np.array([1.0]), np.array([0.0]))) == 1.0 else 1
    limit = 2 / (scale * curvature(X))
    assert limit / 100 < test.chosen < limit
    assert np.all(test.losses[test.rates > 1.2 * limit] > 1e3 * test.losses.min())
    assert test.losses.shape == test.rates.shape == (32,)


def test_the_rate_follows_the_scale_of_the_inputs() -> None:
    centred = X - X.mean(axis=0)
    one, other = range_test(LINE, centred, Y), range_test(LINE, 100 * centred, Y)
    assert other.chosen < 1e-2 * one.chosen
    assert other.chosen < 2 / curvature(100 * centred)


@pytest.mark.parametrize("power", [4.0, -8.0, -2.0])
def test_rates_beyond_the_first_ones_are_found(
    power: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a made-up loss that is least at 10^power; half of that is chosen."""

    def held_out(recipes: list[Recipe], *rest: object) -> np.ndarray:
        return np.array([abs(np.log10(r.optimizer.learning_rate) - power) for r in recipes])

    monkeypatch.setattr(learning_rate, "_held_out", held_out)
    test = range_test(replace(LINE, optimizer=SGD()), X, Y)
    assert len(test.rates) == (32 if power == -2 else 64)
    assert np.all(np.diff(test.rates) > 0)
    assert np.log10(2 * test.chosen) == pytest.approx(power, abs=0.15)
    assert f"{test.chosen:.2g}" in test.reason


def test_only_the_rate_changes_and_nothing_else_is_touched() -> None:
    recipe = replace(LINE, optimizer=ClipByNorm(SGD(momentum=0.5), max_norm=3.0), batch_size=16)
    before = repr(recipe)
    test = range_test(recipe, X, Y)
    rule = SGD(learning_rate=test.chosen, momentum=0.5)
    assert test.recipe == replace(recipe, optimizer=ClipByNorm(rule, max_norm=3.0))
    assert repr(recipe) == before


def test_the_same_seed_chooses_the_same_rate() -> None:
    recipe = replace(LINE, optimizer=SGD(), batch_size=16)
    one, other = range_test(recipe, X, Y, seed=3), range_test(recipe, X, Y, seed=3)
    np.testing.assert_array_equal(one.losses, other.losses)
    assert resolved(recipe, X, Y, seed=3) == one.recipe


def test_it_trains_where_the_usual_rate_fails() -> None:
    """Diabetes with its inputs in other units: the usual rate of SGD breaks."""
    inputs, target = datasets.load_diabetes(return_X_y=True)
    inputs, target = 10 * inputs / inputs.std(axis=0), (target - target.mean()) / target.std()
    recipe = Recipe(Linear(), Squared(), SGD(), batch_size=32, epochs=40)
    with pytest.raises(SolverError):
        train(recipe, inputs, target)
    fitted = train(resolved(recipe, inputs, target), inputs, target)
    assert min(fitted.history["validation"]) < 0.65


def test_it_is_about_as_good_as_any_rate_ten_times_as_long() -> None:
    """On average over five seeds: held-out losses of one vary by more than rates do."""
    inputs, classes = datasets.load_digits(return_X_y=True)
    inputs = (inputs / 16).astype(np.float32)
    recipe = Recipe(MLP(hidden=(32,), outputs=10), CrossEntropy(), SGD(), epochs=40)

    def ends(rate: float, seed: int) -> float:
        own = replace(recipe, optimizer=SGD(learning_rate=rate))
        try:
            return min(train(own, inputs, classes, seed=seed).history["validation"])
        except SolverError:
            return np.inf

    seeds = range(5)
    chosen = [ends(range_test(recipe, inputs, classes, seed=seed).chosen, seed) for seed in seeds]
    fixed = [[ends(rate, seed) for seed in seeds] for rate in (0.003, 0.03, 0.1, 0.3, 1.0)]
    assert np.mean(chosen) < 1.3 * np.min(np.mean(fixed, axis=1))


def test_a_schedule_does_not_hide_the_peak() -> None:
    recipe = replace(LINE, optimizer=SGD(), batch_size=16)
    warm = replace(recipe, schedule=Warmup(steps=10_000))
    assert range_test(warm, X, Y).chosen == range_test(recipe, X, Y).chosen
    assert resolved(warm, X, Y).schedule == warm.schedule


def test_noise_has_a_rate_too_and_the_reason_says_so() -> None:
    noise = RANDOM.normal(size=200)
    test = range_test(replace(LINE, optimizer=SGD(), batch_size=16), X, noise)
    assert 0 < test.chosen < np.inf
    assert "best constant" in test.reason


def test_a_handful_of_rows_is_enough() -> None:
    test = range_test(replace(LINE, optimizer=SGD()), X[:2], Y[:2], steps=10)
    assert 0 < test.chosen < np.inf


def test_weights_of_rows_count() -> None:
    """Rows of weight 0 might as well be absent, so wild ones among them change nothing."""
    wild = Y.copy()
    wild[::2] = 1e6
    weight = np.arange(200) % 2
    recipe = replace(LINE, optimizer=SGD(), batch_size=16)
    one, other = (range_test(recipe, X, y, weight=weight) for y in (Y, wild))
    np.testing.assert_array_equal(one.losses, other.losses)


def test_the_neighbours_of_rates_that_break_are_passed_over() -> None:
    best = learning_rate._best
    assert best(np.array([3.0, 2.0, 1.0, 0.5, np.inf])) == 2
    assert best(np.array([3.0, 1.0, 1.0, 1.0, 3.0, 0.9, 9.0])) == 2
    assert best(np.array([np.inf, 1.0, np.inf])) == 1


def test_no_finite_loss_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning_rate, "_held_out", lambda recipes, *rest: np.full(32, np.inf))
    with pytest.raises(SolverError, match=r"not finite at any learning rate from .* scale"):
        range_test(LINE, X, Y)


def test_a_rule_without_a_rate_is_refused() -> None:
    with pytest.raises(ArgumentError, match="has no learning rate"):
        range_test(replace(LINE, optimizer=optax.sgd(0.1)), X, Y)


# --- In an estimator ---


def test_an_estimator_takes_a_rate_or_finds_one() -> None:
    X, y = datasets.load_wine(return_X_y=True)
    given = NetworkClassifier((8,), learning_rate=0.02, max_iter=3, random_state=0).fit(X, y)
    assert given.trained_.recipe.optimizer == Adam(learning_rate=0.02)
    found = NetworkClassifier((8,), learning_rate="auto", max_iter=40, random_state=0).fit(X, y)
    assert "of 32 learning rates" in found.status_
    assert found.score(X, y) > 0.95
    rate = found.trained_.recipe.optimizer.learning_rate
    assert found.partial_fit(X, y).trained_.recipe.optimizer.learning_rate == rate
    with pytest.raises(ArgumentError, match="learning_rate is 'aut'"):
        NetworkClassifier((8,), learning_rate="aut").fit(X, y)
