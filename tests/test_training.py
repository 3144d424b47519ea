"""The compiled run equals a plain loop, K members equal K runs, and every ending is a clear one."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest
from sklearn import datasets

from minimand import randomness
from minimand.budget import Budget
from minimand.data.splits import Fold
from minimand.errors import ArgumentError, DataError, ShapeError, SolverError, TargetError
from minimand.losses import (
    Absolute,
    Contrastive,
    Cox,
    CrossEntropy,
    Exponential,
    GaussianNLL,
    Hinge,
    Huber,
    Logistic,
    Loss,
    Perceptron,
    Poisson,
    Quantile,
    Quantiles,
    Squared,
    SquaredHinge,
    ZeroOne,
)
from minimand.networks import MLP, Linear
from minimand.networks.base import count
from minimand.optimizers import SGD, Adam, ClipByNorm, GradientDescent, Optimizer
from minimand.penalties import L1, L2
from minimand.schedules import Exponential as ExponentialDecay
from minimand.schedules import InverseTime
from minimand.training import Recipe, Trained, members, train, train_members
from minimand.training.batches import ROUNDS, Rows, permutation, shuffled

RNG = np.random.default_rng(0)
X = RNG.normal(size=(70, 3))
Y = np.sin(X[:, 0]) + X[:, 1] * X[:, 2] + 0.1 * RNG.normal(size=70)
ALL = Fold(np.arange(70), np.arange(0))
SPLIT = Fold(np.arange(50), np.arange(50, 70))
SMALL = Recipe(MLP(hidden=(8,)), Squared(), SGD(learning_rate=0.05), batch_size=16, epochs=6)


def leaves(fitted: Trained) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(fitted.params)]


def assert_close(a: Trained, b: Trained, rtol: float = 1e-6) -> None:
    for one, other in zip(leaves(a), leaves(b), strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol * np.abs(other).max())
    assert a.best_epoch == b.best_epoch
    np.testing.assert_allclose(a.history["train"], b.history["train"], rtol=10 * rtol)


# --- The plain twin: NumPy, a Python loop, gradients by hand ---


def forward(p: Any, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores and hidden values of one hidden layer of tanh."""
    first, last = p["hidden"]["layer0"], p["output"]
    hidden = np.tanh(x @ first["kernel"] + first["bias"])
    return hidden @ last["kernel"][:, 0] + last["bias"], hidden


def slopes(p: Any, x: np.ndarray, y: np.ndarray, strength: float) -> tuple[float, Any]:
    """The sum of squared errors, and the gradient of their mean plus ½ λ ‖kernels‖²."""
    score, hidden = forward(p, x)
    d_score = 2 * (score - y) / len(y)
    first, last = p["hidden"]["layer0"], p["output"]
    d_hidden = np.outer(d_score, last["kernel"][:, 0]) * (1 - hidden**2)
    layer = {"kernel": x.T @ d_hidden + strength * first["kernel"], "bias": d_hidden.sum(axis=0)}
    output = {"kernel": hidden.T @ d_score[:, None] + strength * last["kernel"]}
    output["bias"] = d_score.sum(keepdims=True)
    return float(np.sum((score - y) ** 2)), {"hidden": {"layer0": layer}, "output": output}


def plain_order(key: Any, n: int) -> list[int]:
    """Hoang, Morris and Rogaway (2012), figure 1: each row walks alone, in plain integers."""
    order = list(range(n))
    for first, second in np.asarray(jax.random.bits(key, (ROUNDS, 2))).tolist():
        for place, x in enumerate(order):
            other = (first - x) % n
            bits = (max(x, other) * 0x9E3779B1 + first) % 2**32
            bits = (bits ^ bits >> 16) * 0x85EBCA6B % 2**32 ^ second
            for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
                bits = (bits ^ bits >> shift) * factor % 2**32
            order[place] = other if (bits ^ bits >> 16) >= 2**31 else x
    return order


def plain_twin(recipe: Recipe, fold: Fold, seed: int) -> tuple[Any, list[float], list[float]]:
    """Nesterov's SGD with a decaying step and early stopping, as a textbook writes it."""
    rule: Any = recipe.optimizer
    key = randomness.key(seed)
    p = jax.tree.map(np.float64, recipe.network.init(key, X[:1].astype(np.float32))[0])
    p["output"]["bias"] = np.array([Y[fold.train].mean()])
    v = jax.tree.map(np.zeros_like, p)
    best, best_p, best_epoch, step = np.inf, p, 0, 0
    train_losses, validation_losses = [], []
    for epoch in range(recipe.epochs):
        rows, total = fold.train[plain_order(jax.random.fold_in(key, epoch), len(fold.train))], 0.0
        for begin in range(0, len(rows), recipe.batch):
            batch = rows[begin : begin + recipe.batch]
            loss, g = slopes(p, X[batch], Y[batch], float(recipe.penalty.strength))
            v = jax.tree.map(lambda v, g: rule.momentum * v + g, v, g)
            ahead = jax.tree.map(lambda v, g: g + rule.momentum * v, v, g)
            rate = rule.learning_rate * recipe.schedule(step)
            p = jax.tree.map(lambda p, move, rate=rate: p - rate * move, p, ahead)
            total, step = total + loss, step + 1
        train_losses.append(total / len(rows))
        validation_losses.append(float(np.mean((forward(p, X[fold.test])[0] - Y[fold.test]) ** 2)))
        if validation_losses[-1] < best - recipe.min_delta:
            best, best_p, best_epoch = validation_losses[-1], p, epoch + 1
        if epoch + 1 - best_epoch >= recipe.patience:
            break
    return best_p, train_losses, validation_losses


@pytest.mark.parametrize(("patience", "min_delta", "epochs"), [(30, 0.0, 12), (2, 0.02, 60)])
def test_the_compiled_run_equals_a_plain_loop(patience: int, min_delta: float, epochs: int) -> None:
    recipe = Recipe(
        MLP(hidden=(8,), activation="tanh"),
        Squared(),
        SGD(learning_rate=0.05, momentum=0.8, nesterov=True),
        L2(0.01),
        InverseTime(decay_rate=1.0, decay_steps=30.0),
        batch_size=16,
        epochs=epochs,
        patience=patience,
        min_delta=min_delta,
    )
    params, train_losses, validation_losses = plain_twin(recipe, SPLIT, seed=3)
    (fitted,) = train_members([recipe], X, Y, [SPLIT], [3])
    assert len(fitted.history["train"]) == len(train_losses)
    assert len(train_losses) < epochs or patience == 30
    np.testing.assert_allclose(fitted.history["train"], train_losses, rtol=1e-5)
    np.testing.assert_allclose(fitted.history["validation"], validation_losses, rtol=1e-5)
    for found, expected in zip(leaves(fitted), jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


# --- Members ---


def test_members_in_one_program_equal_runs_alone() -> None:
    recipes = [
        replace(SMALL, optimizer=SGD(learning_rate=rate, momentum=momentum), penalty=L2(strength))
        for rate, momentum, strength in [(0.05, 0.0, 0.0), (0.01, 0.9, 0.1), (0.1, 0.5, 0.01)]
    ]
    folds = [SPLIT, Fold(np.arange(20, 70), np.arange(20)), Fold(np.arange(0, 50), SPLIT.test)]
    together = train_members(recipes, X, Y, folds, [0, 1, 2])
    for k, fitted in enumerate(together):
        (alone,) = train_members([recipes[k]], X, Y, [folds[k]], [k])
        assert_close(fitted, alone)


def test_folds_of_unequal_length_share_a_program() -> None:
    """The shorter one is padded with rows of weight 0, which changes no gradient step."""
    short = Fold(np.arange(0, 48), np.arange(48, 70))
    recipe = replace(SMALL, batch_size=70, epochs=20)
    together = train_members([recipe] * 2, X, Y, [short, ALL], [5, 5])
    (alone,) = train_members([recipe], X, Y, [short], [5])
    assert_close(together[0], alone, rtol=1e-5)


def test_a_members_early_end_does_not_touch_the_others() -> None:
    recipes = [
        replace(SMALL, epochs=40, patience=2, optimizer=SGD(learning_rate=rate))
        for rate in (1e-4, 0.15)
    ]
    together = train_members(recipes, X, Y, [SPLIT] * 2, [0, 0])
    lengths = {len(fitted.history["train"]) for fitted in together}
    assert len(lengths) == 2
    for recipe, fitted in zip(recipes, together, strict=True):
        assert_close(fitted, train_members([recipe], X, Y, [SPLIT], [0])[0])


@pytest.mark.parametrize(
    ("recipes", "folds", "seeds", "text"),
    [
        ([SMALL], [ALL, ALL], [0], "1 recipes, 2 folds and 1 seeds"),
        ([], [], [], "0 recipes"),
        ([SMALL, replace(SMALL, epochs=7)], [ALL] * 2, [0, 0], "differ in numbers only"),
        ([SMALL], [ALL], [-1], "seed is -1"),
        ([SMALL], [ALL], [2**32], "seed is 4294967296"),
    ],
)
def test_members_that_do_not_fit_together_are_refused(
    recipes: Any, folds: Any, seeds: Any, text: str
) -> None:
    with pytest.raises(ArgumentError, match=text):
        train_members(recipes, X, Y, folds, seeds)


# --- Stopping ---


def test_the_best_parameters_are_restored() -> None:
    recipe = replace(SMALL, epochs=60, patience=4, optimizer=SGD(learning_rate=0.2))
    (fitted,) = train_members([recipe], X, Y, [SPLIT], [1])
    watched = fitted.history["validation"]
    again = float(np.mean((fitted.scores(X[SPLIT.test]) - Y[SPLIT.test]) ** 2))
    assert "stopped early" in fitted.status
    assert len(watched) == fitted.best_epoch + recipe.patience < recipe.epochs
    assert fitted.best_epoch == int(np.argmin(watched)) + 1
    assert again == pytest.approx(min(watched), rel=1e-5)


def test_without_validation_the_last_parameters_are_returned() -> None:
    fitted = train(SMALL, X, Y, validation=0.0, seed=4)
    longer = train(replace(SMALL, epochs=7), X, Y, validation=0.0, seed=4)
    after = float(np.mean((fitted.scores(X) - Y) ** 2))
    assert fitted.best_epoch == 6
    assert fitted.status == "ran all 6 epochs; the best was epoch 6"
    assert np.allclose(fitted.history["validation"], 0)
    assert fitted.history["train"] == longer.history["train"][:6]
    assert after < fitted.history["train"][-1]


def test_a_larger_min_delta_stops_no_later() -> None:
    slow = replace(SMALL, optimizer=SGD(learning_rate=0.002), epochs=80, patience=3)
    recipes = [replace(slow, min_delta=delta) for delta in (0.0, 0.01, 0.1)]
    fitted = train_members(recipes, X, Y, [SPLIT] * 3, [0] * 3)
    lengths = [len(run.history["train"]) for run in fitted]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] > lengths[-1]


# --- Batches ---


@pytest.mark.parametrize("size", [1, 7, 32, 70, 100])
def test_an_epoch_sees_every_row_exactly_once(size: int) -> None:
    rows = Rows(np.arange(70, dtype=np.int32) + 5, np.ones(70, dtype=np.float32))
    index, weight = map(np.asarray, shuffled(rows, size, randomness.key(0)))
    assert index.shape[1] == min(size, 70)
    assert sorted(index[weight > 0].tolist()) == list(range(5, 75))
    assert weight.sum() == 70
    assert size == 1 or index.ravel()[:70].tolist() != list(range(5, 75))


def test_every_order_of_four_rows_is_as_likely_as_any_other() -> None:
    """Pearson's test; 49.7 is the 0.999 quantile of χ² with 23 degrees of freedom."""
    keys = jax.vmap(jax.random.key)(np.arange(24_000, dtype=np.uint32))
    orders = np.asarray(jax.vmap(lambda key: permutation(key, 4, 4))(keys))
    counts = np.unique(orders, axis=0, return_counts=True)[1]
    assert len(counts) == 24
    assert np.sum((counts - 1000) ** 2 / 1000) < 49.7


def test_rows_far_apart_and_neighbours_meet_in_a_batch_equally_often() -> None:
    keys = jax.vmap(jax.random.key)(np.arange(4_000, dtype=np.uint32))
    batch = np.asarray(jax.vmap(lambda key: permutation(key, 90, 90))(keys)).reshape(-1, 9, 10)
    held = np.zeros((*batch.shape[:2], 90))
    np.put_along_axis(held, batch, 1.0, axis=2)
    together = np.einsum("ebi,ebj->ij", held, held)[~np.eye(90, dtype=bool)] / 4_000
    deviation = np.sqrt(9 / 89 * (1 - 9 / 89) / 4_000)
    assert abs(together.mean() - 9 / 89) < 1e-12
    assert abs(together.std() / deviation - 1) < 0.05


def test_a_partial_batch_weighs_what_its_rows_weigh() -> None:
    """With a zero input only the bias moves: b ← b - η 2 (b - mean of the batch)."""
    y = np.arange(5.0)
    recipe = Recipe(Linear(), Squared(), SGD(learning_rate=0.5), batch_size=3, epochs=1)
    fitted = train(recipe, np.zeros((5, 1)), y, validation=0.0)
    # A step of ½ puts the bias on the batch's mean; the last batch holds two of the five rows.
    pairs = {(a + b) / 2 for a in range(5) for b in range(a)}
    assert float(fitted.scores(np.zeros((1, 1)))[0]) in pairs


def test_batches_larger_than_the_data_are_the_whole_data() -> None:
    whole = train(replace(SMALL, batch_size=70), X, Y, validation=0.0)
    assert_close(train(replace(SMALL, batch_size=1000), X, Y, validation=0.0), whole)


def test_full_batches_descend_to_the_least_squares_line() -> None:
    recipe = Recipe(Linear(), Squared(), SGD(learning_rate=0.1), batch_size=70, epochs=400)
    fitted = train(recipe, X, Y, validation=0.0)
    expected = np.linalg.lstsq(np.column_stack([X, np.ones(70)]), Y)[0]
    found = np.append(fitted.params["output"]["kernel"][:, 0], fitted.params["output"]["bias"])
    np.testing.assert_allclose(found, expected, atol=1e-5)


# --- Weights ---


def test_rows_of_weight_zero_never_touch_the_result() -> None:
    weight = np.where(np.arange(70) % 5 == 0, 0.0, 1.0)
    bad_X, bad_y = X.copy(), Y.copy()
    bad_X[weight == 0], bad_y[weight == 0] = np.nan, np.nan
    (found,) = train_members([SMALL], bad_X, bad_y, [SPLIT], [0], weight=weight)
    (plain,) = train_members([SMALL], X, Y, [SPLIT], [0], weight=weight)
    assert all(map(np.array_equal, leaves(found), leaves(plain)))


def test_integer_weights_equal_repeated_rows() -> None:
    times = np.arange(70) % 3
    recipe = replace(SMALL, batch_size=1000, epochs=20)
    (weighted,) = train_members([recipe], X, Y, [ALL], [0], weight=times)
    repeated = train(recipe, np.repeat(X, times, axis=0), np.repeat(Y, times), validation=0.0)
    assert_close(weighted, repeated, rtol=1e-5)


def test_a_run_does_not_see_the_rows_outside_its_fold() -> None:
    other = np.where(np.arange(70) < 50, Y, 1e6)
    (fitted,) = train_members([SMALL], X, Y, [Fold(SPLIT.train, np.arange(0))], [0])
    (hidden,) = train_members([SMALL], X, other, [Fold(SPLIT.train, np.arange(0))], [0])
    assert all(map(np.array_equal, leaves(fitted), leaves(hidden)))


# --- Determinism ---


def test_the_same_seed_gives_the_same_bits_and_another_seed_others() -> None:
    one, two, other = (train(SMALL, X, Y, seed=seed) for seed in (7, 7, 8))
    assert one.history == two.history
    assert all(map(np.array_equal, leaves(one), leaves(two)))
    assert not np.allclose(one.history["train"], other.history["train"])


def test_how_epochs_are_cut_into_chunks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = replace(SMALL, epochs=30)
    results = []
    for seconds in (0.0, 100.0):
        monkeypatch.setattr(members, "CHUNK_SECONDS", seconds)
        results.append(train(recipe, X, Y))
    assert results[0].history == results[1].history
    assert all(map(np.array_equal, leaves(results[0]), leaves(results[1])))


# --- Runs that diverge ---


def test_a_loss_that_is_not_finite_raises_and_names_the_epoch() -> None:
    recipe = replace(SMALL, optimizer=SGD(learning_rate=1e20))
    named = r"the score of row \d+ stopped .* epoch 1, step 2; lower the learning rate of SGD\("
    with pytest.raises(SolverError, match=named):
        train(recipe, X, Y)


def test_a_diverging_member_ends_alone_with_its_last_good_parameters() -> None:
    recipe = Recipe(Linear(), Squared(), batch_size=70, epochs=200, patience=200)
    rates = (0.1, 30.0)
    recipes = [replace(recipe, optimizer=SGD(learning_rate=rate)) for rate in rates]
    healthy, sick = train_members(recipes, X, Y, [ALL] * 2, [0, 0])
    (alone,) = train_members(recipes[:1], X, Y, [ALL], [0])
    assert healthy.finite and len(healthy.history["train"]) == 200
    assert_close(healthy, alone)
    assert not sick.finite
    epoch = len(sick.history["train"])
    assert 2 < epoch < 200
    assert f"in epoch {epoch + 1}" in sick.status and "learning_rate=30.0" in sick.status
    assert sick.best_epoch == epoch
    assert all(np.all(np.isfinite(leaf)) for leaf in leaves(sick))


@pytest.mark.parametrize("rule", [GradientDescent(0.1), ClipByNorm(GradientDescent(0.1), 1e9)])
def test_gradient_descent_sees_every_row_unless_told_otherwise(rule: Optimizer) -> None:
    """One step of the textbook from where the network begins."""
    recipe = Recipe(Linear(), Squared(), rule, epochs=1)
    (fitted,) = train_members([recipe], X, Y, [ALL], [0])
    kernel = np.asarray(Linear().init(randomness.key(0), X[:1])[0]["output"]["kernel"], float)
    slope = 2 * X.T @ (X @ kernel[:, 0] + Y.mean() - Y) / len(Y)
    np.testing.assert_allclose(
        fitted.params["output"]["kernel"][:, 0], kernel[:, 0] - 0.1 * slope, rtol=1e-5
    )
    assert replace(recipe, optimizer=SGD()).batch == 32
    assert replace(recipe, batch_size=7).batch == 7


def test_parameters_that_overflow_in_the_last_step_are_noticed() -> None:
    """The loss of the only epoch is finite; the step that it asks for is not."""
    recipe = Recipe(Linear(), Squared(), SGD(learning_rate=3e38), batch_size=70, epochs=1)
    (fitted,) = train_members([recipe], X, 10 * Y, [ALL], [0])
    assert not fitted.finite
    assert "after their update stopped being finite in epoch 1, step 1" in fitted.status
    assert all(np.all(np.isfinite(leaf)) for leaf in leaves(fitted))


# --- Ending early ---

LONG = replace(SMALL, epochs=10**6, batch_size=8)


def test_a_budget_ends_a_run_with_what_there_is() -> None:
    train(LONG, X, Y, validation=0.0, budget=Budget(0.1))  # compiles what comes before epoch 1
    begun = time.monotonic()
    fitted = train(LONG, X, Y, validation=0.0, budget=Budget(1.0))
    assert time.monotonic() - begun < 20
    ran = len(fitted.history["train"])
    assert 0 < ran < LONG.epochs
    assert fitted.status == f"ended after {ran} of 1000000 epochs (budget of 1 s spent)"
    assert np.all(np.isfinite(fitted.scores(X)))


@pytest.mark.parametrize("budget", ["none", "given", "entered"])
def test_ctrl_c_ends_a_run_with_what_there_is(budget: str) -> None:
    before = signal.getsignal(signal.SIGINT)
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    if budget == "none":
        fitted = train(LONG, X, Y, validation=0.0)
    elif budget == "given":
        fitted = train(LONG, X, Y, validation=0.0, budget=Budget(600))
    else:
        with Budget() as entered:
            fitted = train(LONG, X, Y, validation=0.0, budget=entered)
            assert entered.spent()
    timer.join()
    assert "(Ctrl-C)" in fitted.status
    assert np.all(np.isfinite(fitted.scores(X)))
    assert signal.getsignal(signal.SIGINT) is before


def test_a_user_who_computes_in_double_precision_gets_the_same_run() -> None:
    plain = train(SMALL, X, Y)
    with jax.enable_x64(True):
        other = train(SMALL, X, Y)
    assert plain.history == other.history
    for one, two in zip(leaves(plain), leaves(other), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_budget_of_steps_ends_in_mid_epoch_and_judges_what_there_is() -> None:
    """Seven steps are one epoch of four and three more of the next."""
    recipe = replace(SMALL, optimizer=Adam(), epochs=5, patience=5)
    with Budget(steps=7) as budget:
        (fitted,) = train_members([recipe], X, Y, [SPLIT], [0], budget=budget)
    assert fitted.status == "ended after 2 of 5 epochs (budget of 7 steps spent)"
    (count,) = {int(c) for c in jax.tree.leaves(fitted.last["optimizer"]) if np.ndim(c) == 0}
    assert count == 7
    fresh = replace(fitted, params=fitted.last["params"])
    watched = np.mean((fresh.scores(X[SPLIT.test]) - Y[SPLIT.test]) ** 2)
    assert fitted.history["validation"][1] == pytest.approx(watched, rel=1e-5)


def test_a_budget_spent_before_the_start_gives_the_baseline() -> None:
    budget = Budget()
    budget.interrupted = True
    recipe = Recipe(Linear(), Squared(), epochs=3)
    fitted = train(recipe, X, Y, validation=0.0, budget=budget)
    assert fitted.status == "ended after 0 of 3 epochs (Ctrl-C)"
    np.testing.assert_allclose(fitted.params["output"]["bias"], Y.mean(), rtol=1e-5)


def test_the_progress_bar_is_silent_off_a_terminal_and_drawn_on_demand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for progress, drawn in ((None, False), (False, False), (True, True)):
        screen = io.StringIO()
        monkeypatch.setattr("sys.stderr", screen)
        train(SMALL, X, Y, progress=progress)
        assert bool(screen.getvalue()) is drawn
    assert "6/6" in screen.getvalue() and "validation" in screen.getvalue()


# --- Parts of a recipe ---


def test_the_zero_one_error_is_no_recipe() -> None:
    with pytest.raises(ArgumentError, match="surrogates"):
        Recipe(Linear(), ZeroOne())


@pytest.mark.parametrize("penalty", [L1(0.5), L2(0.5)])
def test_a_penalty_shrinks_kernels_and_leaves_biases_alone(penalty: Any) -> None:
    """A linear fit of a constant: the kernels go to zero, the bias stays at the mean."""
    recipe = Recipe(
        Linear(), Squared(), SGD(learning_rate=0.05), penalty, batch_size=70, epochs=200
    )
    fitted = train(recipe, X - X.mean(axis=0), np.full(70, 100.0), validation=0.0)
    assert np.all(np.abs(fitted.params["output"]["kernel"]) < 0.05)
    np.testing.assert_allclose(fitted.params["output"]["bias"], 100.0, rtol=1e-5)


def one_weight(recipe: Recipe) -> float:
    """The kernel after training on the single row x = 1, y = 0."""
    fitted = train(recipe, np.ones((1, 1)), np.zeros(1), validation=0.0)
    return float(fitted.params["output"]["kernel"][0, 0])


def kernel_by_hand(steps: int, rates: Any, momentum: float = 0.0) -> float:
    """w and b feel the same gradient 2 (w + b); b starts at the mean, 0."""
    params, _ = Linear().init(randomness.key(0), np.ones((1, 1), np.float32))
    w, b, v = float(params["output"]["kernel"][0, 0]), 0.0, 0.0
    for step in range(steps):
        v = momentum * v + 2 * (w + b)
        w, b = w - rates(step) * v, b - rates(step) * v
    return w


def test_a_schedule_acts_on_every_step() -> None:
    schedule = ExponentialDecay(decay_rate=0.5, decay_steps=1.0)
    recipe = Recipe(Linear(), Squared(), SGD(learning_rate=0.1), schedule=schedule, epochs=3)
    assert one_weight(recipe) == pytest.approx(kernel_by_hand(3, lambda t: 0.1 * 0.5**t), rel=1e-5)


def test_momentum_sums_the_gradients() -> None:
    recipe = Recipe(Linear(), Squared(), SGD(learning_rate=0.1, momentum=0.9), epochs=4)
    assert one_weight(recipe) == pytest.approx(kernel_by_hand(4, lambda t: 0.1, 0.9), rel=1e-5)


def test_the_first_step_of_adam_has_the_length_of_its_rate() -> None:
    """Kingma and Ba (2015), section 2.1: |Δ| ≈ η when there has been one gradient only."""
    recipe = Recipe(Linear(), Squared(), Adam(learning_rate=0.01), epochs=1)
    start = kernel_by_hand(0, None)
    assert abs(one_weight(recipe) - start) == pytest.approx(0.01, rel=1e-4)


@pytest.mark.parametrize(
    "loss",
    [Squared(), Absolute(), Huber(), Quantile(0.3), Poisson(), Logistic(), Hinge(), SquaredHinge(),
     Perceptron(), Exponential(), CrossEntropy()],
    ids=str,
)  # fmt: skip
def test_every_loss_descends(loss: Loss) -> None:
    y = {"real": Y, "count": np.round(np.exp(Y)), "class": np.digitize(Y, [-0.5, 0.5])}
    y["sign"] = np.where(Y > 0, 1.0, -1.0)
    target = y[loss.card.target]
    recipe = Recipe(MLP(hidden=(16,), outputs=3 if loss.score_axes else 1), loss, Adam(0.01),
                    epochs=40)  # fmt: skip
    history = train(recipe, X, target, validation=0.0).history["train"]
    assert history[-1] < 0.8 * history[0]


TIMES = np.stack([np.exp(-Y), np.ones(70)], axis=1)
SHARES = np.stack([Y > 0, Y <= 0], axis=1).astype(float)


@pytest.mark.parametrize(
    ("loss", "outputs", "target"),
    [
        (GaussianNLL(), 2, Y),
        (Quantiles(), 3, Y),
        (Cox(), 1, TIMES),
        (CrossEntropy(), 2, SHARES),
        (Contrastive(), 4, (Y > 0).astype(int)),
    ],
    ids=["two scores", "three levels", "two target columns", "soft classes", "a joint loss"],
)
def test_losses_of_other_shapes_descend(loss: Loss, outputs: int, target: np.ndarray) -> None:
    recipe = Recipe(MLP(hidden=(16,), outputs=outputs), loss, Adam(0.01), epochs=40)
    history = train(recipe, X, target, validation=0.0).history["train"]
    assert history[-1] < 0.9 * history[0]


def test_digits_are_learnt() -> None:
    pixels, digit = datasets.load_digits(return_X_y=True)
    recipe = Recipe(MLP(hidden=(64,), outputs=10), CrossEntropy(), epochs=20)
    order = np.random.default_rng(0).permutation(len(digit))
    learnt, test = order[:1400], order[1400:]
    fitted = train(recipe, pixels[learnt] / 16, digit[learnt])
    found = fitted.recipe.loss.decide(fitted.scores(pixels[test] / 16))
    assert np.mean(found == digit[test]) > 0.95
    assert count(fitted.params) == 64 * 64 + 64 + 64 * 10 + 10


def test_a_class_that_is_not_among_the_training_rows_is_allowed() -> None:
    y = np.repeat([0, 1, 2], [40, 29, 1])
    recipe = Recipe(MLP(hidden=(4,), outputs=4), CrossEntropy(), epochs=2)
    (fitted,) = train_members([recipe], X, y, [Fold(np.arange(69), np.array([69]))], [0])
    assert fitted.finite
    assert fitted.scores(X).shape == (70, 4)


# --- Bad input ---


@pytest.mark.parametrize(
    ("x", "y", "keywords", "error", "text"),
    [
        (X, Y[:5], {}, ShapeError, r"X has shape \(70, 3\), y \(5,\)"),
        (X[:, 0], Y, {}, ShapeError, r"X has shape \(70,\)"),
        (X[:0], Y[:0], {}, ShapeError, "n ≥ 1"),
        (np.where(np.isin(X, X[2, 1]), np.inf, X), Y, {}, DataError, "inf in row 3, column 2"),
        (X, np.where(np.isin(Y, Y[4]), np.nan, Y), {}, TargetError, "row 5 is nan"),
        (X, Y, {"validation": 1.0}, ArgumentError, "validation is 1.0"),
        (X, Y, {"validation": float("nan")}, ArgumentError, "validation is nan"),
        (X, Y, {"seed": -1}, ArgumentError, "seed is -1"),
        (X[:1], Y[:1], {"validation": 0.9}, DataError, "no rows are left"),
    ],
)
def test_bad_input_is_one_sentence(
    x: Any, y: Any, keywords: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        train(SMALL, x, y, **keywords)


@pytest.mark.parametrize(
    ("weight", "error"),
    [
        (np.ones(3), ShapeError),
        (np.zeros(70), DataError),
        (-np.ones(70), DataError),
        (np.full(70, np.nan), DataError),
        (np.full(70, np.inf), DataError),
        (np.where(np.arange(70) < 50, 0.0, 1.0), DataError),
    ],
)
def test_bad_weights_are_refused(weight: np.ndarray, error: type[Exception]) -> None:
    with pytest.raises(error):
        train_members([SMALL], X, Y, [SPLIT], [0], weight=weight)


@pytest.mark.parametrize(
    ("network", "loss", "y"),
    [
        (Linear(outputs=2), Squared(), Y),
        (Linear(outputs=2), CrossEntropy(), np.arange(70) % 3),
        (Linear(), CrossEntropy(), np.arange(70) % 3),
    ],
)
def test_a_network_with_the_wrong_number_of_scores_is_refused(
    network: Any, loss: Loss, y: np.ndarray
) -> None:
    with pytest.raises(ShapeError, match=rf"{network.outputs} scores; {loss} needs"):
        train(Recipe(network, loss), X, y)


def test_labels_that_the_loss_does_not_know_are_refused() -> None:
    with pytest.raises(TargetError, match="write 2\\*y - 1"):
        train(Recipe(Linear(), Logistic()), X, (Y > 0).astype(int))
