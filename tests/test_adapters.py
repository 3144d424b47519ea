"""Models of other libraries train as native ones do, and come back with what was fitted."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from sklearn.datasets import load_digits

import minimand
from minimand import randomness
from minimand.budget import Budget
from minimand.data.splits import Fold
from minimand.errors import ArgumentError, ArgumentTypeError, FileError, ShapeError
from minimand.losses import CrossEntropy, Huber, Logistic, Squared
from minimand.networks import MLP, Linear, adapt
from minimand.networks.base import nested
from minimand.optimizers import SGD, Adam, ClipByNorm
from minimand.optimizers.foreign import FromOptax
from minimand.penalties import L2
from minimand.schedules import Cosine
from minimand.training import Recipe, Trained, loop, train, train_members
from minimand.training.inputs import best_constant

Array = Any
DIGITS = load_digits()
X, Y = (DIGITS.data[:200] / 16).astype(np.float32), DIGITS.target[:200]
RANDOM = np.random.default_rng(0)
FEW = RANDOM.normal(size=(40, 3)).astype(np.float32) * [1, 2, 3] + [0, 1, 2]
REAL = FEW @ [1.0, -2.0, 0.5]
NATIVE = Recipe(
    MLP(hidden=(16,), outputs=10),
    CrossEntropy(),
    Adam(0.01),
    L2(strength=0.01),
    epochs=6,
    batch_size=32,
)


# --- The same numbers, however the network is written ---


def start() -> dict[str, dict[str, Array]]:
    """{"hidden" and "output": {kernel, bias}}: what a native run of seed 0 begins with."""
    network = NATIVE.network
    fold, weight = Fold(np.arange(200), np.arange(0)), np.ones(200)
    params, _ = network.init(randomness.key(0), X[:1])
    params = network.starting_at(params, best_constant(NATIVE, Y, weight, fold).astype(np.float32))
    return {"hidden": params["hidden"]["layer0"], "output": params["output"]}


class Dense(nnx.Module):
    """An MLP as a user of Flax writes it."""

    def __init__(self, rngs: nnx.Rngs):
        self.hidden = nnx.Linear(64, 16, rngs=rngs)
        self.output = nnx.Linear(16, 10, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        return self.output(nnx.relu(self.hidden(x)))


def by_nnx() -> Any:
    model = Dense(nnx.Rngs(5))
    nnx.update(model, start())
    return model


def by_equinox() -> Any:
    own = start()
    model = eqx.nn.MLP(64, 10, 16, 1, key=jax.random.key(5))
    values = [own["hidden"]["kernel"].T, own["hidden"]["bias"]]
    values += [own["output"]["kernel"].T, own["output"]["bias"]]

    def parts(m: Any) -> list[Array]:
        return [part for layer in m.layers for part in (layer.weight, layer.bias)]

    return eqx.tree_at(parts, model, values)


def by_functions() -> Any:
    def init(key: Array, x: Array) -> list[dict[str, Array]]:
        return list(start().values())

    def apply(params: list[dict[str, Array]], x: Array) -> Array:
        first, last = params
        hidden = jax.nn.relu(x @ first["kernel"] + first["bias"])
        return hidden @ last["kernel"] + last["bias"]

    return init, apply


@pytest.fixture(scope="module")
def native() -> Trained:
    return train(NATIVE, X, Y, validation=0.0)


@cache
def trained(made: Callable[[], Any]) -> Trained:
    return train(replace(NATIVE, network=made()), X, Y, validation=0.0)


@pytest.mark.parametrize("made", [by_nnx, by_equinox, by_functions])
def test_it_trains_like_the_native_network_of_the_same_parameters(
    native: Trained, made: Callable[[], Any]
) -> None:
    """A penalty on kernels is part of it, so that they must be found under any library's names."""
    fitted = trained(made)
    np.testing.assert_allclose(fitted.history["train"], native.history["train"], rtol=1e-6)
    np.testing.assert_allclose(fitted.scores(X), native.scores(X), rtol=1e-4, atol=1e-5)
    if made is by_nnx:
        assert fitted.history["train"] == native.history["train"]
        assert np.array_equal(fitted.scores(X), native.scores(X))


def test_members_of_one_model_equal_runs_alone() -> None:
    recipe = replace(NATIVE, network=by_nnx())
    folds = [Fold(np.arange(150), np.arange(150, 200)), Fold(np.arange(50, 200), np.arange(50))]
    recipes = [recipe, replace(recipe, optimizer=Adam(0.01))]
    together = train_members(recipes, X, Y, folds, [1, 2])
    for k in range(2):
        (alone,) = train_members([recipes[k]], X, Y, [folds[k]], [k + 1])
        np.testing.assert_allclose(
            together[k].history["validation"], alone.history["validation"], rtol=1e-5
        )


# --- Batch statistics ---


class Normalised(nnx.Module):
    """Batch statistics of the inputs themselves, so that they can be checked by hand."""

    def __init__(self, rngs: nnx.Rngs):
        self.norm = nnx.BatchNorm(3, momentum=0.75, rngs=rngs)
        self.output = nnx.Linear(3, 1, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        return self.output(self.norm(x))


class PerExample(eqx.Module):
    """The same in Equinox, whose axis may have any name."""

    norm: eqx.nn.BatchNorm
    output: eqx.nn.Linear

    def __init__(self, key: Array):
        self.norm = eqx.nn.BatchNorm(3, "rows", mode="ema", momentum=0.75)
        self.output = eqx.nn.Linear(3, 1, key=key)

    def __call__(self, x: Array, state: eqx.nn.State) -> tuple[Array, eqx.nn.State]:
        x, state = self.norm(x, state)
        return self.output(x), state


ONE_BATCH = Recipe(Linear(), Squared(), SGD(0.01), batch_size=40, epochs=2)


def test_batch_statistics_of_nnx_move_in_training_and_serve_in_evaluation() -> None:
    """Flax's moving average begins at mean 0 and variance 1."""
    model = Normalised(nnx.Rngs(0))
    fitted = train(replace(ONE_BATCH, network=model), FEW, REAL, validation=0.0)
    moved = 0.75 * 0.25 + 0.25
    mean, variance = moved * FEW.mean(axis=0), 0.75**2 + moved * FEW.var(axis=0)
    norm, output = fitted.params["norm"], fitted.params["output"]
    np.testing.assert_allclose(fitted.network_state["norm"]["mean"], mean, rtol=1e-5)
    np.testing.assert_allclose(fitted.network_state["norm"]["var"], variance, rtol=1e-5)
    z = (FEW - mean) / np.sqrt(variance + 1e-5) * norm["scale"] + norm["bias"]
    by_hand = (z @ output["kernel"] + output["bias"])[:, 0]
    np.testing.assert_allclose(fitted.scores(FEW), by_hand, rtol=1e-4, atol=1e-5)
    assert not model.norm.mean[...].any()  # the user's own is as it was


def test_batch_statistics_of_equinox_move_in_training_and_serve_in_evaluation() -> None:
    """Equinox' moving average begins at the first batch, and all batches here are one."""
    given = eqx.nn.make_with_state(PerExample)(randomness.key(0))
    fitted = train(replace(ONE_BATCH, network=given), FEW, REAL, validation=0.0)
    norm, output = fitted.params["norm"], fitted.params["output"]
    z = (FEW - FEW.mean(axis=0)) / np.sqrt(FEW.var(axis=0) + 1e-5) * norm["scale"] + norm["bias"]
    by_hand = (z @ output["kernel"] + output["bias"])[:, 0]
    np.testing.assert_allclose(fitted.scores(FEW), by_hand, rtol=1e-4, atol=1e-5)
    module, state = fitted.module()
    assert isinstance(module, PerExample)
    one, _ = eqx.nn.inference_mode(module)(jnp.asarray(FEW[0]), state)
    np.testing.assert_allclose(one[0], fitted.scores(FEW)[0], rtol=1e-5)


# --- Dropout ---


class Dropped(nnx.Module):
    """Dropout as Flax has it, between two layers that leave numbers alone."""

    def __init__(self) -> None:
        self.dropout = nnx.Dropout(0.25, rngs=nnx.Rngs(0))
        self.scale = nnx.Param(jnp.ones(()))

    def __call__(self, x: Array) -> Array:
        return self.scale * self.dropout(x)


class DroppedWhenAsked(Dropped):
    """Dropout that the caller switches."""

    def __call__(self, x: Array, train: bool) -> Array:
        return self.scale * self.dropout(x, deterministic=not train)


class DroppedByEquinox(eqx.Module):
    """Dropout of one example."""

    scale: Array
    dropout: eqx.nn.Dropout

    def __call__(self, x: Array, *, key: Array) -> Array:
        return self.scale * self.dropout(x, key=key)


def dropped_by_function(params: dict[str, Array], x: Array, key: Array, train: bool) -> Array:
    kept = jax.random.bernoulli(key, 0.75, x.shape)
    return params["scale"] * jnp.where(kept, x / 0.75, 0) if train else params["scale"] * x


DROPPED = [
    Dropped(),
    DroppedWhenAsked(),
    DroppedByEquinox(jnp.ones(()), eqx.nn.Dropout(0.25)),
    (lambda key, x: {"scale": jnp.ones(())}, dropped_by_function),
]
each_dropped = pytest.mark.parametrize("model", DROPPED, ids=lambda m: type(m).__name__)


@each_dropped
def test_dropout_follows_from_the_key_and_only_while_training(model: Any) -> None:
    network, x = adapt(model), np.ones((2000, 3), np.float32)
    params, state = network.init(randomness.key(0), x)

    def scores(key: int, train: bool) -> Array:
        return network.apply(params, state, x, key=jax.random.key(key), train=train)[0]

    seen = scores(1, True)
    assert set(np.unique(seen)) == {0.0, np.float32(1 / 0.75)}
    assert np.mean(seen == 0) == pytest.approx(0.25, abs=4 * np.sqrt(0.25 * 0.75 / 6000))
    assert len(np.unique(seen, axis=0)) == 8  # rows differ
    assert np.array_equal(seen, scores(1, True))
    assert not np.array_equal(seen, scores(2, True))
    assert np.array_equal(scores(1, False), x)


@each_dropped
def test_a_run_with_dropout_is_repeated_by_its_seed(model: Any) -> None:
    """All rows are one batch, so that another seed can only mean other zeros."""
    recipe = Recipe(model, Squared(), SGD(0.1), batch_size=40, epochs=3)
    first, again, other = (
        train(recipe, FEW[:, :1], REAL, seed=seed, validation=0.0).history["train"]
        for seed in (0, 0, 1)
    )
    assert first == again
    assert not np.allclose(first, other, rtol=1e-3)


# --- What comes back ---


def test_a_fitted_model_comes_back_as_its_own_kind(native: Trained) -> None:
    fitted = trained(by_nnx)
    module, given = fitted.module(), fitted.recipe.network.model
    assert type(module) is Dense and module is not given
    np.testing.assert_allclose(module(X), fitted.scores(X), rtol=1e-5, atol=1e-6)
    assert np.array_equal(given.hidden.kernel[...], start()["hidden"]["kernel"])
    fitted = trained(by_equinox)
    scores = jax.vmap(fitted.module())(X)
    np.testing.assert_allclose(scores, fitted.scores(X), rtol=1e-5, atol=1e-6)
    with pytest.raises(ArgumentError, match=r"MLP.* was not made from a module"):
        native.module()
    with pytest.raises(ArgumentError, match="apply holds no parameters"):
        trained(by_functions).module()


def test_the_fitted_function_leaves_for_anywhere(native: Trained) -> None:
    """Differentiated by JAX, and exported as a program of its own."""
    function = native.function()
    score, slope = jax.value_and_grad(lambda x: function(x[None])[0, 3])(jnp.asarray(X[0]))
    aside = np.eye(64, dtype=np.float32)[20] * 1e-2
    rise = (function((X[0] + aside)[None]) - function((X[0] - aside)[None]))[0, 3] / 2e-2
    assert slope[20] == pytest.approx(float(rise), rel=0.02)
    exported = jax.export.export(jax.jit(function))(jax.ShapeDtypeStruct((5, 64), "float32"))
    np.testing.assert_allclose(exported.call(X[:5]), native.scores(X[:5]), rtol=1e-5, atol=1e-6)
    assert float(score) == pytest.approx(native.scores(X)[0, 3], rel=1e-5)


def test_predictions_are_in_the_terms_of_the_target(native: Trained) -> None:
    assert np.mean(native.predict(X) == Y) > 0.8
    sign = np.sign(REAL - np.median(REAL) + 1e-6)
    fitted = train(Recipe(Linear(), Logistic(), Adam(0.1), epochs=30), FEW, sign)
    assert set(fitted.predict(FEW)) == {-1.0, 1.0} and np.mean(fitted.predict(FEW) == sign) > 0.8
    fitted = train(Recipe(Linear(), Huber(), epochs=1), FEW, REAL)
    assert np.array_equal(fitted.predict(FEW), fitted.scores(FEW))


# --- On disk ---


def test_a_native_network_is_saved_and_trained_on_as_if_it_had_never_left(tmp_path: Path) -> None:
    recipe = replace(NATIVE, network=MLP((8,), 10, norm="batch"), epochs=2, schedule=Cosine(50))
    fitted = train(recipe, X, Y)
    fitted.save(tmp_path / "kept")
    loaded = Trained.load(tmp_path / "kept")
    assert loaded == replace(fitted, params=loaded.params, network_state=loaded.network_state)
    assert np.array_equal(loaded.scores(X), fitted.scores(X))
    on = [train(recipe, X, Y, start=one).history["train"] for one in (loaded, fitted)]
    assert on[0] == on[1] and on[0][0] < fitted.history["train"][0]


def test_what_cannot_be_kept_or_read_says_so(native: Trained, tmp_path: Path) -> None:
    native.save(tmp_path / "kept")
    with pytest.raises(FileError, match=r"cannot write .*kept"):
        native.save(tmp_path / "kept")
    weights = tmp_path / "kept" / "network.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    with pytest.raises(FileError, match=r"cannot read the network in .*kept"):
        Trained.load(tmp_path / "kept")
    with pytest.raises(FileError, match=r"cannot read the network in .*nowhere"):
        Trained.load(tmp_path / "nowhere")
    foreign = replace(native, recipe=replace(NATIVE, network=by_nnx()))
    with pytest.raises(ArgumentError, match="the NNX module Dense cannot be written as JSON"):
        foreign.save(tmp_path / "other")
    foreign = replace(native, recipe=replace(NATIVE, optimizer=optax.adam(1e-3)))
    with pytest.raises(ArgumentError, match="the Optax transformation cannot be written as JSON"):
        foreign.save(tmp_path / "other")
    assert not (tmp_path / "other").exists()


class Spent(Budget):
    """A budget that is spent after two questions."""

    left = 2
    reason = "stopped"

    def spent(self) -> bool:
        self.left -= 1
        return self.left < 0


def test_a_run_of_foreign_parts_resumes_from_its_checkpoint_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Model and optimiser are made anew, as they are in another process."""

    def recipe(learning_rate: float = 1e-2) -> Recipe:
        return Recipe(
            Normalised(nnx.Rngs(3)), Squared(), optax.adam(learning_rate), batch_size=8, epochs=4
        )

    monkeypatch.setattr(loop, "next_chunk", lambda *ignored: 3)
    whole = train(recipe(), FEW, REAL)
    stopped = train(recipe(), FEW, REAL, checkpoints=tmp_path, budget=Spent())
    assert len(stopped.history["epoch"]) < 4
    with pytest.raises(FileError, match="another recipe"):
        train(recipe(2e-2), FEW, REAL, checkpoints=tmp_path, resume=True)
    resumed = train(recipe(), FEW, REAL, checkpoints=tmp_path, resume=True)
    assert resumed.history == whole.history
    for one, other in zip(jax.tree.leaves(resumed.last), jax.tree.leaves(whole.last), strict=True):
        assert np.array_equal(one, other)


# --- The user's own optimiser and loss ---


def test_an_optax_optimiser_trains_as_it_is(native: Trained) -> None:
    """Inside a wrapper, too, where Optax' own clipping is the peer."""
    fitted = train(replace(NATIVE, optimizer=optax.adam(0.01)), X, Y, validation=0.0)
    np.testing.assert_allclose(fitted.history["train"], native.history["train"], rtol=3e-5)
    ours = ClipByNorm(FromOptax(optax.sgd(0.5)), 1.0).transform()
    theirs = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.5))
    slope = {"kernel": jnp.asarray([3.0, 4.0])}
    one, other = (rule.update(slope, rule.init(slope), slope)[0] for rule in (ours, theirs))
    np.testing.assert_allclose(one["kernel"], [-0.3, -0.4], rtol=1e-6)
    np.testing.assert_allclose(one["kernel"], other["kernel"], rtol=1e-6)


def test_an_optax_rule_with_a_line_search_says_that_it_cannot_be_had() -> None:
    with pytest.raises(ArgumentError, match=r"transformation cannot make its update .*value_fn"):
        train(replace(ONE_BATCH, optimizer=optax.lbfgs()), FEW, REAL)


def test_a_schedule_inside_the_optax_optimiser_runs() -> None:
    falling = optax.exponential_decay(0.1, 1, 0.5)
    fitted = train(replace(ONE_BATCH, optimizer=optax.sgd(falling)), FEW, REAL, validation=0.0)
    by_hand = np.zeros(4)
    by_hand[3] = REAL.mean()  # the output bias starts from the best constant
    kernel, _ = Linear().init(randomness.key(0), FEW[:1])
    by_hand[:3] = kernel["output"]["kernel"][:, 0]
    design = np.column_stack([FEW, np.ones(40)])
    for rate in (0.1, 0.05):
        by_hand -= rate * 2 * design.T @ (design @ by_hand - REAL) / 40
    np.testing.assert_allclose(fitted.last["params"]["output"]["bias"][0], by_hand[3], rtol=1e-4)


def test_a_loss_a_model_and_an_optimiser_of_the_users_own_together() -> None:
    @minimand.loss(convex=True)
    def tilted(score: Array, target: Array, low: float = 0.2) -> Array:
        r = score - target
        return jnp.where(r < 0, 1 - low, low) * abs(r)

    recipe = Recipe(eqx.nn.Linear(3, 1, key=jax.random.key(0)), tilted(), optax.adam(0.1))
    fitted = train(replace(recipe, epochs=60), FEW, np.full(40, 2.0), validation=0.0)
    np.testing.assert_allclose(fitted.scores(FEW), 2.0, atol=0.3)


# --- Bad input ---


class Flat(nnx.Module):
    """Scores of a shape that are none."""

    def __call__(self, x: Array) -> Array:
        return x.sum()


@pytest.mark.parametrize(
    ("model", "error", "sentence"),
    [
        (3, ArgumentTypeError, r"a network must be .*, not int"),
        (jnp.sin, ArgumentTypeError, r"or a pair \(init, apply\), not"),
        (nnx.Dict(), ArgumentTypeError, r"not Dict"),
        (Dense(nnx.Rngs(0)), ShapeError, r"Dense cannot take inputs of shape \[2, 3\]"),
        (nnx.Linear(3, 2, rngs=nnx.Rngs(0)), ShapeError, r"gives 2 scores; Squared needs 1"),
        (Flat(), ShapeError, r"Flat gives shape \[\] for 2 rows of \[3\]"),
        (
            (lambda key, x: ({}, 0.0), lambda params, state, x: (x[:, 0], x)),
            ShapeError,
            r"lambda> changes the shapes or types of its state",
        ),
    ],
    ids=["number", "function", "not callable", "inputs", "outputs", "scores", "state"],
)
def test_what_cannot_be_trained_says_so(model: Any, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        train(Recipe(model, Squared()), FEW, REAL)


def test_names_of_other_trees_are_kept_apart() -> None:
    assert nested({("a", "b"): 1, ("a", "c"): 2, ("d",): 3}) == {"a": {"b": 1, "c": 2}, "d": 3}


# --- Keras ---

KERAS = """
import warnings
warnings.simplefilter("error")
import jax, keras, numpy as np
from keras import layers
from dataclasses import replace
from minimand.errors import ArgumentError
from minimand.losses import Squared
from minimand.optimizers import SGD
from minimand.training import Recipe, train
from test_adapters import FEW, NATIVE, ONE_BATCH, REAL, X, Y, start

own = start()
model = keras.Sequential([
    keras.Input((64,)), layers.Dense(16, activation="relu", name="a"), layers.Dense(10, name="b")])
model.set_weights([own[layer][name] for layer in own for name in ("kernel", "bias")])
native = train(NATIVE, X, Y, validation=0.0)
fitted = train(replace(NATIVE, network=model), X, Y, validation=0.0)
np.testing.assert_allclose(fitted.history["train"], native.history["train"], rtol=1e-6)
np.testing.assert_allclose(fitted.scores(X), native.scores(X), rtol=1e-4, atol=1e-5)
assert np.array_equal(model.weights[0].value, own["hidden"]["kernel"])
assert fitted.module() is model
np.testing.assert_allclose(model(X), fitted.scores(X), rtol=1e-5, atol=1e-6)
again = train(fitted.recipe, X, Y, validation=0.0)
assert again.history == fitted.history

class Mine(keras.Model):
    def __init__(self):
        super().__init__()
        self.norm = layers.BatchNormalization(momentum=0.75)
        self.dropout = layers.Dropout(0.5)
        self.out = layers.Dense(1)
    def call(self, x, training=None):
        return self.out(self.dropout(self.norm(x, training=training), training=training))

model = Mine()
model(FEW)
recipe = replace(ONE_BATCH, network=model)
first, same, other = (train(recipe, FEW, REAL, validation=0.0, seed=s) for s in (0, 0, 1))
assert first.history == same.history
assert abs(first.history["train"][0] / other.history["train"][0] - 1) > 1e-3
moved = (1 - 0.75**2) * FEW.mean(axis=0)
(state,) = first.network_state.values()
np.testing.assert_allclose(state["batch_normalization"]["moving_mean"], moved, rtol=1e-5)
assert np.array_equal(first.scores(FEW), first.scores(FEW))
np.testing.assert_allclose(first.module()(FEW)[:, 0], first.scores(FEW), rtol=1e-4, atol=1e-5)

twins = keras.Sequential([keras.Input((3,)), layers.Dense(1, kernel_regularizer="l2")])
keras.config.set_dtype_policy("mixed_bfloat16")
half = keras.Sequential([keras.Input((64,)), layers.Dense(16, "relu"), layers.Dense(10)])
keras.config.set_dtype_policy("float32")
half.set_weights([own[layer][name] for layer in own for name in ("kernel", "bias")])
rough = train(replace(NATIVE, network=half), X, Y, validation=0.0)
assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(rough.params))
np.testing.assert_allclose(rough.history["train"], native.history["train"], rtol=0.02)
assert np.abs(rough.scores(X) - native.scores(X)).max() > 1e-4

shapeless = keras.Sequential([layers.Dense(1)])
for bad, how in ((shapeless, {}), (twins, {}), (half, {"precision": "bfloat16"})):
    try:
        Recipe(bad, Squared(), **how)
    except ArgumentError as error:
        print(error)
"""


def run_with_keras(backend: str, script: str) -> str:
    if importlib.util.find_spec("keras") is None:  # importing it here would settle its backend
        pytest.skip("needs keras")
    environment = os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": _path()}
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def _path() -> str:
    return os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])


def test_keras_trains_like_the_native_network_and_keeps_its_statistics_and_dropout() -> None:
    unbuilt, regularised, rough = run_with_keras("jax", KERAS).splitlines()
    assert unbuilt.startswith("the Keras model has no parameters yet; begin it with keras.Input")
    assert regularised.startswith("the Keras model has regularisers of its own")
    assert "leave precision at 'float32' and make the model under that policy" in rough


def test_keras_on_another_backend_is_refused_in_a_sentence() -> None:
    script = """
import keras
from minimand.errors import ArgumentError
from minimand.networks import adapt
try:
    adapt(keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)]))
except ArgumentError as error:
    print(error)
"""
    said = run_with_keras("torch", script)
    assert said == "Keras runs on torch here; set KERAS_BACKEND=jax before it is imported\n"
