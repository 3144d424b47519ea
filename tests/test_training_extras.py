"""Augmentation, constraints, precision, what happens when numbers break, and going on."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.metrics import roc_auc_score

import minimand
from minimand.budget import Budget
from minimand.component import Card
from minimand.constraints import MaxNorm
from minimand.data.augmentation import GaussianNoise, MixUp
from minimand.data.splits import Fold
from minimand.errors import ArgumentError, SolverError
from minimand.losses import CrossEntropy, Logistic, Squared
from minimand.metrics import AUC, MSE, Metric, Prediction
from minimand.networks import MLP, Linear
from minimand.optimizers import SAM, SGD, Accumulate, Adam, Averaged, ClipByValue, Lion, Sophia
from minimand.penalties import L1
from minimand.schedules import ReduceOnPlateau
from minimand.training import Recipe, Trained, train, train_members
from minimand.training.progress import Event, progress_bar

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(96, 4)).astype(np.float32)
Y = (X @ [1.0, -2.0, 0.5, 0.0] + 0.1 * RANDOM.normal(size=96)).astype(np.float32)
LINE = Recipe(Linear(), Squared(), SGD(learning_rate=0.05), batch_size=16, epochs=4)


def test_noise_on_the_inputs_acts_like_a_ridge() -> None:
    """Bishop (1995): for a linear model, noise of variance s² is the penalty s² ‖w‖²."""
    recipe = replace(LINE, epochs=400, optimizer=SGD(learning_rate=0.01))
    noisy = train(replace(recipe, augmentation=GaussianNoise(stddev=1.0)), X, Y, validation=0)
    centred, y = X - X.mean(axis=0), Y - Y.mean()
    ridge = np.linalg.solve(centred.T @ centred + 96 * np.eye(4), centred.T @ y)
    np.testing.assert_allclose(noisy.params["output"]["kernel"][:, 0], ridge, atol=0.15)


def test_mixed_batches_train_a_classifier() -> None:
    recipe = Recipe(
        MLP(hidden=(16,), outputs=2), CrossEntropy(), Adam(0.01), epochs=30, batch_size=16,
        augmentation=MixUp(alpha=0.4),
    )  # fmt: skip
    fitted = train(recipe, X, (Y > 0).astype(int), validation=0)
    assert np.mean(fitted.scores(X).argmax(axis=1) == (Y > 0)) > 0.9


def test_a_constraint_holds_after_every_update() -> None:
    recipe = replace(LINE, constraint=MaxNorm(limit=0.3))
    fitted = train(recipe, X, Y, validation=0)
    assert np.linalg.norm(fitted.params["output"]["kernel"]) <= 0.3 * (1 + 1e-6)


def test_a_penalty_of_activities_makes_them_small() -> None:
    recipe = Recipe(MLP(hidden=(16,)), Squared(), Adam(0.01), epochs=20, batch_size=16)

    def activity(recipe: Recipe) -> float:
        fitted = train(recipe, X, Y, validation=0)
        _, _, seen = recipe.network.observed(
            fitted.params, {}, X, key=jax.random.key(0), train=False
        )
        return float(np.mean(np.abs(jax.tree.leaves(seen)[0])))

    sparse = replace(recipe, penalty=L1(strength=0.3, kinds=("activity",)))
    assert activity(sparse) < 0.5 * activity(recipe)


@pytest.mark.parametrize("optimizer", [SAM(SGD(0.05)), Sophia(learning_rate=0.01)], ids=str)
def test_rules_that_ask_for_more_than_a_gradient_train(optimizer: object) -> None:
    fitted = train(replace(LINE, optimizer=optimizer, epochs=20), X, Y, validation=0)
    assert fitted.history["train"][-1] < 0.5 * fitted.history["train"][0]


def test_a_plateau_lowers_the_step_size() -> None:
    """The first step of 1e-9 shows no progress, so every epoch halves what follows."""
    plateau = ReduceOnPlateau(decay_rate=0.5, patience=1, min_delta=1.0)
    recipe = replace(LINE, schedule=plateau, optimizer=SGD(1e-9), epochs=4)
    fitted = train(recipe, X, Y, validation=0)
    assert float(plateau.factor(fitted.last["memory"])) < 0.5


def test_half_precision_reaches_nearly_the_same_parameters() -> None:
    full = train(replace(LINE, epochs=20), X, Y, validation=0)
    half = train(replace(LINE, epochs=20, precision="bfloat16"), X, Y, validation=0)
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(half.params))
    np.testing.assert_allclose(
        half.params["output"]["kernel"], full.params["output"]["kernel"], atol=0.03
    )


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_target_that_overflows_is_named(precision: str) -> None:
    """The squared residual of row 18 alone exceeds what single precision holds."""
    y = np.zeros(96, np.float32)
    y[17] = 2e19
    recipe = replace(LINE, precision=precision, optimizer=SGD(learning_rate=1e-9))
    with pytest.raises(SolverError, match="the loss of row 18 stopped being finite in epoch 1"):
        train(recipe, X, y, validation=0)


def restarted(name: str, values: np.ndarray) -> Trained:
    """A finished run that goes on from other parameters."""
    first = train(LINE, X, Y, validation=0)
    output = first.last["params"]["output"] | {name: values.astype(np.float32)}
    return replace(first, last=first.last | {"params": {"output": output}})


def test_a_gradient_that_is_not_finite_is_named() -> None:
    """√|r| has no slope at r = 0, where the row of zeros lies as long as b is 0."""

    @minimand.loss
    def root(score: Any, target: Any) -> Any:
        return jnp.sqrt(jnp.abs(score - target))

    x, y = X.copy(), np.abs(Y) + 5
    x[40], y[40] = 0, 0
    recipe, at = replace(LINE, loss=root(), batch_size=96), restarted("bias", np.zeros(1))
    named = r"the gradient of output.bias\[0\] stopped being finite in epoch 1, step 1;"
    with pytest.raises(SolverError, match=named):
        train(recipe, x, y, validation=0, start=at)


def test_a_parameter_that_is_not_finite_is_named() -> None:
    at = restarted("kernel", np.array([[1.0], [2.0], [3.0], [np.nan]]))
    with pytest.raises(SolverError, match=r"the parameter output.kernel\[3, 0\] stopped being"):
        train(LINE, X, Y, validation=0, start=at)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_gradient_is_named_at_its_step_though_losses_stay_finite(precision: str) -> None:
    """Symbol 5 has the score √0, whose slope is no number; it is seen once in an epoch."""

    def init(key: Any, x: Any) -> Any:
        return {"table": {"kernel": jnp.ones(8).at[5].set(0.0)}}

    def apply(params: Any, x: Any) -> Any:
        return jnp.sqrt(jnp.abs(params["table"]["kernel"][x[:, 0].astype(int)]))

    x = np.zeros((96, 1), np.float32)
    x[37] = 5
    recipe = Recipe((init, apply), Squared(), SGD(0.01), batch_size=8, epochs=1)
    recipe = replace(recipe, precision=precision)

    def ended(optimizer: Any) -> SolverError:
        with pytest.raises(SolverError) as caught:
            train(replace(recipe, optimizer=optimizer), x, Y, validation=0)
        return caught.value

    error = ended(SGD(0.01))
    named = re.match(
        r"the gradient of table.kernel\[5\] stopped .* epoch 1, step (\d+);", str(error)
    )
    assert named and str(ended(Accumulate(SGD(0.01), steps=4))).startswith(named[0])
    before = max(1, int(named[1]) - 1)
    fitted = train(recipe, x, Y, validation=0, budget=Budget(steps=before))
    np.testing.assert_array_equal(
        fitted.last["params"]["table"]["kernel"], error.trained.last["params"]["table"]["kernel"]
    )
    with pytest.raises(SolverError):
        train(recipe, x, Y, validation=0, budget=Budget(steps=before + 1))


def test_a_batch_may_be_skipped() -> None:
    y = Y.copy()
    y[17] = 3e25
    recipe = replace(LINE, on_non_finite="skip", epochs=60)
    start = train(replace(LINE, epochs=1), X, Y, validation=0)
    fitted = train(recipe, X, y, validation=0, start=start)
    assert fitted.finite and fitted.status.endswith("batches passed over: 60")
    np.testing.assert_allclose(fitted.params["output"]["kernel"][:, 0], [1, -2, 0.5, 0], atol=0.2)


@pytest.mark.parametrize(
    "rule",
    [ClipByValue(SGD(0.05)), Lion(), Averaged(ClipByValue(SGD(0.05))), optax.sign_sgd(0.01)],
    ids=["clipped", "Lion", "clipped and averaged", "Optax"],
)
def test_an_infinite_gradient_is_found_though_the_rule_hides_it(rule: Any) -> None:
    """The loss of the row is finite, its slope 2 x r is not; a cut or a sign would go on."""
    x, y = X.copy(), Y.copy()
    x[17, 0], y[17] = 1e25, 1e19
    kernel = {"output": {"kernel": np.zeros((4, 1), np.float32)}}
    with pytest.raises(SolverError, match=r"the gradient of output\.kernel.* in epoch 1") as raised:
        train(replace(LINE, optimizer=rule), x, y, validation=0, start=kernel)
    assert np.all(np.isfinite(raised.value.trained.last["params"]["output"]["kernel"]))


def test_a_step_size_that_is_too_long_is_halved_until_it_fits() -> None:
    recipe = replace(LINE, optimizer=SGD(learning_rate=50.0), epochs=400)
    with pytest.raises(SolverError):
        train(recipe, X, Y, validation=0)
    fitted = train(replace(recipe, on_non_finite="halve"), X, Y, validation=0)
    assert fitted.finite and fitted.last["rate"] < 1
    assert fitted.history["train"][-1] < np.var(Y)


def test_going_back_does_not_depend_on_how_the_run_is_cut(tmp_path: Path) -> None:
    """Going back to the lowest epoch gives the same bits in one piece and in two."""
    recipe = replace(LINE, optimizer=SGD(learning_rate=50.0), epochs=40, on_non_finite="halve")
    whole = train(recipe, X, Y, validation=0)
    assert whole.last["rate"] < 1
    train(recipe, X, Y, validation=0, checkpoints=tmp_path, budget=Budget(steps=57))
    again = train(recipe, X, Y, validation=0, checkpoints=tmp_path, resume=True)
    assert again.history == whole.history
    assert max(tmp_path.glob("step-*")).name == f"step-{240:010d}.safetensors"
    jax.tree.map(np.testing.assert_array_equal, again.last, whole.last)


def test_a_watched_loss_that_is_never_finite_keeps_the_last_parameters() -> None:
    recipe = replace(LINE, epochs=5, patience=3)
    y = Y.copy()
    y[90] = 3e25
    fold = Fold(np.arange(80), np.arange(80, 96))
    (fitted,) = train_members([recipe], X, y, [fold], [0])
    assert fitted.status == "stopped early after 3 epochs; what was watched was never finite"
    jax.tree.map(np.testing.assert_array_equal, fitted.params, fitted.last["params"])


def test_a_run_goes_on_from_an_earlier_one() -> None:
    recipe = replace(LINE, optimizer=SGD(learning_rate=0.01, momentum=0.9))
    first = train(recipe, X, Y, validation=0)
    second = train(recipe, X, Y, validation=0, start=first)
    assert second.history["train"][0] < first.history["train"][0]
    assert second.history["train"][-1] <= first.history["train"][-1]


def test_listeners_hear_of_every_epoch_once() -> None:
    heard: list[Event] = []
    fitted = train(LINE, X, Y, listeners=[heard.append])
    lines = [line for event in heard for line in event.lines]
    assert [line[0] for line in lines] == [1, 2, 3, 4]
    np.testing.assert_allclose([line[1] for line in lines], fitted.history["train"], rtol=1e-6)
    assert heard[-1].step == heard[-1].steps and heard[-1].seconds_left == 0
    assert all(event.examples_per_second > 0 for event in heard)


def test_listeners_hear_a_metric_as_it_is_and_time_since_the_run_was_resumed(
    tmp_path: Path,
) -> None:
    recipe = Recipe(Linear(), Logistic(), SGD(0.5), metric=AUC(), batch_size=16, epochs=8)
    heard: list[Event] = []
    y = np.where(Y > 0, 1, -1)
    train(recipe, X, y, checkpoints=tmp_path, budget=Budget(steps=24))
    fitted = train(recipe, X, y, checkpoints=tmp_path, resume=True, listeners=[heard.append])
    lines = [line for event in heard for line in event.lines]
    np.testing.assert_allclose(
        [line[2] for line in lines], fitted.history["validation"][4:], rtol=1e-6
    )
    assert all(line[2] > 0.5 for line in lines) and heard[0].begun == 24
    assert replace(heard[0], seconds=3.0, step=27, steps=30).seconds_left == 3.0


def test_a_goal_needs_rows_to_reach_it_on() -> None:
    with pytest.raises(ArgumentError, match="no validation rows to reach it on"):
        train(replace(LINE, goal=0.1), X, Y, validation=0)


@pytest.mark.timed
def test_the_bar_costs_less_than_a_hundredth_of_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    """It is drawn twice a second, so that 5 ms of a processor would be a hundredth."""
    lines = [(7, 0.25, 0.5)]
    with progress_bar(True) as draw:
        begun = time.process_time()
        for step in range(200):
            draw(Event(step, 10**4, step // 10, 1000, 0, step / 2, 3e5, 1, lines))
        assert (time.process_time() - begun) / 200 < 0.005
    assert "validation 0.5" in capsys.readouterr().err


def test_a_metric_that_is_a_function_is_refused() -> None:
    with pytest.raises(TypeError, match=r"derived from minimand\.metrics\.Metric"):
        replace(LINE, metric=roc_auc_score)


def test_parameters_of_any_network_can_be_saved(tmp_path: Path) -> None:
    from flax import nnx
    from safetensors.numpy import load_file

    fitted = train(replace(LINE, network=nnx.Linear(4, 1, rngs=nnx.Rngs(0))), X, Y, validation=0)
    fitted.save_parameters(tmp_path / "line.safetensors")
    found = load_file(tmp_path / "line.safetensors")
    np.testing.assert_array_equal(found["params.kernel"], fitted.params["kernel"])


def test_losses_are_written_for_tensorboard(tmp_path) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from minimand.training.tensorboard import TensorBoard

    fitted = train(LINE, X, Y, listeners=[TensorBoard(tmp_path)])
    read = EventAccumulator(str(tmp_path))
    read.Reload()
    written = [event.value for event in read.Scalars("loss/train")]
    np.testing.assert_allclose(written, fitted.history["train"], rtol=1e-6)


def test_early_stopping_may_watch_a_metric() -> None:
    """The area under the curve of each epoch is what scikit-learn says of the scores then."""
    recipe = Recipe(
        MLP(hidden=(8,)),
        Logistic(),
        Adam(0.003),
        epochs=12,
        patience=3,
        batch_size=16,
        metric=AUC(),
    )  # fmt: skip
    target = np.where(Y > 0.5, 1.0, -1.0)
    fitted = train(recipe, X, target, validation=0.3)
    held = np.sort(np.random.default_rng(0).permutation(96)[:29])
    best = max(fitted.history["validation"])
    assert roc_auc_score(target[held], fitted.scores(X[held])) == pytest.approx(best, abs=1e-6)
    assert fitted.history["validation"][fitted.best_epoch - 1] == best


class MedianOfNumPy(Metric):
    """A metric as a user writes it: of NumPy arrays, whatever the library of the caller."""

    greater_is_better = True
    card = Card("-median |y - ŷ|", "here", "the typical error", ("regression",))

    def __call__(self, target: Any, prediction: Prediction, weight: Any = None) -> float:
        assert type(target) is type(prediction.value) is type(weight) is np.ndarray
        return -float(np.median(np.abs(target - prediction.value)[weight > 0]))


def test_a_metric_of_ones_own_may_be_watched() -> None:
    kept = replace(LINE, metric=MedianOfNumPy(), patience=20)
    fitted = train(kept, X, Y, validation=0.25)
    held = np.sort(np.random.default_rng(0).permutation(96)[:24])
    expected = -np.median(np.abs(fitted.scores(X[held]) - Y[held]))
    assert max(fitted.history["validation"]) == pytest.approx(expected, rel=1e-4)


def test_a_watched_metric_counts_rows_by_their_weight() -> None:
    weight = np.arange(96) % 3
    fold = Fold(np.arange(48), np.arange(48, 96))
    watching = replace(LINE, metric=MSE(), patience=50)
    (fitted,) = train_members([watching], X, Y, [fold], [0], weight=weight)
    missed = (fitted.scores(X[48:]) - Y[48:]) ** 2
    expected = np.average(missed, weights=weight[48:])
    assert min(fitted.history["validation"]) == pytest.approx(expected, rel=1e-5)


def test_a_metric_that_cannot_judge_the_loss_is_refused() -> None:
    with pytest.raises(ArgumentError, match="the metric auc is for binary"):
        replace(LINE, metric=AUC())


def test_a_run_ends_at_its_goal() -> None:
    fitted = train(replace(LINE, epochs=200, goal=0.5), X, Y, validation=0.3)
    assert fitted.history["validation"][-1] <= 0.5 < fitted.history["validation"][-2]
    assert fitted.status.startswith("reached the goal of 0.5 in epoch")
