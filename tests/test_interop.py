"""Losses inside the loops of PyTorch, Optax and Keras, next to those libraries' own losses."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import array_api_strict
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from sklearn.datasets import load_diabetes, load_iris
from torch import nn
from torch._dynamo.testing import CompileCounter

from minimand.losses import Absolute, CrossEntropy, Huber, Logistic, Loss, Poisson, Squared

Array = Any
Criterion = Callable[[Any, Any], Any]


def data(loss: Loss) -> tuple[Array, Array]:
    if loss.score_axes:
        X, y = load_iris(return_X_y=True)
    else:
        X, y = load_diabetes(return_X_y=True)
        y = np.sign(y - 150.5) if isinstance(loss, Logistic) else y / 100
    return ((X - X.mean(axis=0)) / X.std(axis=0)).astype(np.float32), y


PEERS = [
    (Squared(), nn.MSELoss()),
    (Absolute(), nn.L1Loss()),
    (Huber(delta=0.5), nn.HuberLoss(delta=0.5)),
    (Logistic(), nn.SoftMarginLoss()),
    (Poisson(), nn.PoissonNLLLoss()),
    (CrossEntropy(), nn.CrossEntropyLoss()),
]
each_peer = pytest.mark.parametrize(("loss", "criterion"), PEERS, ids=lambda x: str(x)[:18])


# --- PyTorch --------------------------------------------------------------------------------------


def trained(criterion: Criterion, X: Array, y: Array, outputs: int) -> list[float]:
    """The costs of a plain loop, and the weights it ends with."""
    torch.manual_seed(0)
    model = nn.Linear(X.shape[1], outputs or 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    costs = []
    for _ in range(10):
        score = model(X) if outputs else model(X).squeeze(-1)
        cost = criterion(score, y)
        optimizer.zero_grad()
        cost.backward()
        optimizer.step()
        costs.append(float(cost.detach()))
    return [*costs, *model.weight.detach().ravel().tolist()]


@each_peer
def test_a_loss_is_a_drop_in_for_a_torch_criterion(loss: Loss, criterion: Criterion) -> None:
    X, y = map(torch.tensor, data(loss))
    y, outputs = (y, 3) if loss.score_axes else (y.float(), 0)
    ours, theirs = (trained(c, X, y, outputs) for c in (loss, criterion))
    np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6)


@each_peer
def test_torch_compiles_the_call_to_one_graph_with_its_backward(
    loss: Loss, criterion: Criterion
) -> None:
    torch._dynamo.reset()
    X, y = (torch.tensor(a[:20]) for a in data(loss))
    score = X[:, :3].clone() if loss.score_axes else X[:, 0].clone()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    slopes = []
    for function in (compiled, loss):
        leaf = score.clone().requires_grad_()
        function(leaf, y, weight=torch.ones(20), mask=y == y).backward()
        slopes.append(leaf.grad)
    torch.testing.assert_close(*slopes)


@pytest.mark.filterwarnings("ignore:.torch.jit.script_method:DeprecationWarning")  # PyTorch's own
@pytest.mark.timeout(300)
def test_torch_inductor_makes_native_code_of_calls_and_their_backward(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three losses in one graph, since each graph keeps the compiler busy for ten seconds."""
    if not any(map(shutil.which, ("c++", "g++", "clang++"))):
        pytest.skip("torch.compile with the inductor needs a C++ compiler")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()
    losses = Huber(delta=0.5), Logistic(), CrossEntropy()
    weight, (X, y) = torch.arange(20.0), (torch.tensor(a[:20]) for a in data(losses[2]))
    targets = X[:, 3], 2 * (y > 0) - 1, y

    def costs(score: Array) -> list[Array]:
        scores = score[:, 0], score[:, 1], score
        each = zip(losses, scores, targets, strict=True)
        return [loss(z, target, weight=weight) for loss, z, target in each]

    options = {"cpp_cache_precompile_headers": False}
    found = []
    for function in (torch.compile(costs, fullgraph=True, options=options), costs):
        leaf = X[:, :3].clone().requires_grad_()
        values = torch.stack(function(leaf))
        (values @ torch.tensor([1.0, 10.0, 100.0])).backward()
        found.append((values.detach(), leaf.grad))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize(("number", "graphs"), [(float, 2), (torch.tensor, 1)])
def test_other_numbers_do_not_compile_again(number: Callable[[float], Any], graphs: int) -> None:
    """Plain floats: once for the first, once for all others. Tensors: once."""
    torch._dynamo.reset()
    counter = CompileCounter()

    @torch.compile(fullgraph=True, backend=counter)
    def cost(loss: Loss, score: Array, target: Array) -> Array:
        return loss(score, target)

    score, target = torch.linspace(-5, 5, 9), torch.zeros(9)
    for delta in (0.5, 1.0, 2.0, 3.0, 4.0):
        ours = cost(Huber(delta=number(delta)), score, target)
        torch.testing.assert_close(ours, nn.HuberLoss(delta=delta)(score, target))
    assert counter.frame_count == graphs


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_scores_get_half_precision_slopes(dtype: torch.dtype) -> None:
    """70,000 squares of 300 overflow float16, whose largest number is 65,504; their mean is 9e4."""
    score = torch.full((70_000,), 300.0, dtype=dtype, requires_grad=True)
    cost = Squared()(score, torch.zeros(70_000, dtype=dtype))
    cost.backward()
    assert (cost.item(), cost.dtype, score.grad.dtype) == (90_000.0, torch.float32, dtype)


def test_nothing_is_copied_and_the_device_is_kept() -> None:
    """Tensors on the meta device have no numbers, so that a copy elsewhere would fail."""
    for loss, _ in PEERS:
        shape = (5, 3) if loss.score_axes else (5,)
        score = torch.empty(shape, device="meta", requires_grad=True)
        target = torch.empty(5, device="meta", dtype=torch.int64)
        cost = loss(score, target, weight=torch.empty(5, device="meta"))
        cost.backward()
        assert cost.device.type == score.grad.device.type == "meta"


# --- JAX with Optax -------------------------------------------------------------------------------


def test_a_loss_serves_an_optax_loop() -> None:
    X, y = map(jnp.asarray, data(CrossEntropy()))
    rule = optax.adam(0.05)

    def run(cost: Criterion) -> Array:
        @jax.jit
        def step(params: Array, state: Any) -> Any:
            slope = jax.grad(lambda p: cost(X @ p, y))(params)
            update, state = rule.update(slope, state)
            return optax.apply_updates(params, update), state

        params = jnp.zeros((4, 3))
        state = rule.init(params)
        for _ in range(10):
            params, state = step(params, state)
        return params

    def theirs(score: Array, target: Array) -> Array:
        return optax.losses.softmax_cross_entropy_with_integer_labels(score, target).mean()

    np.testing.assert_allclose(run(CrossEntropy()), run(theirs), rtol=1e-4, atol=1e-6)


# --- the strict array API -------------------------------------------------------------------------


@each_peer
def test_the_strict_array_api_is_enough(loss: Loss, criterion: Criterion) -> None:
    X, y = (a[:20] for a in data(loss))
    score = (X[:, :3] if loss.score_axes else X[:, 0]).astype(float)
    weight = np.arange(20.0)
    with array_api_strict.ArrayAPIStrictFlags(api_version="2024.12"):
        strict = [array_api_strict.asarray(a) for a in (score, y, weight)]
        cost = loss(*strict[:2], weight=strict[2])
        slope = loss.gradient(*strict[:2])
    assert float(cost) == pytest.approx(float(loss(score, y, weight=weight)), rel=1e-12)
    np.testing.assert_allclose(np.asarray(slope), loss.gradient(score, y), rtol=1e-12)


# --- Keras ----------------------------------------------------------------------------------------

KERAS = """
import warnings
warnings.simplefilter("error")
import keras, numpy as np
from minimand import as_keras
from minimand.losses import CrossEntropy, Squared

rng = np.random.default_rng(0)
X = rng.normal(size=(64, 3)).astype("float32")
y, label = (X @ [1, 2, 3]).astype("float32"), rng.integers(0, 3, 64)
w = rng.integers(0, 3, 64).astype("float32")
spoilt = np.where(w > 0, y, np.nan)

def costs(loss, y, outputs=1, w=None):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(outputs)])
    model.compile(optimizer=keras.optimizers.SGD(0.05), loss=loss)
    return model.fit(X, y, sample_weight=w, epochs=2, batch_size=16, verbose=0).history["loss"]

by_weight = keras.losses.MeanSquaredError(reduction="mean_with_sample_weight")
sparse = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
for ours, theirs in [
    (costs(as_keras(Squared()), y), costs("mse", y)),
    (costs(as_keras(Squared()), y, w=w), costs(by_weight, y, w=w)),
    (costs(as_keras(Squared()), spoilt, w=w), costs(by_weight, y, w=w)),
    (costs(as_keras(CrossEntropy()), label, 3), costs(sparse, label, 3)),
]:
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
print(keras.backend.backend(), "agrees")
"""


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_keras_trains_with_it_as_with_its_own(backend: str) -> None:
    if importlib.util.find_spec("keras") is None:  # importing it here would settle its backend
        pytest.skip("needs keras")
    environment = os.environ | {"KERAS_BACKEND": backend}
    run = subprocess.run(
        [sys.executable, "-c", KERAS], capture_output=True, text=True, env=environment
    )
    assert run.stdout.strip() == f"{backend} agrees", run.stderr


# --- what is loaded -------------------------------------------------------------------------------


def test_losses_and_exports_load_no_array_library_but_numpy() -> None:
    code = (
        "import sys, numpy as np\n"
        "from minimand import as_lightgbm, as_xgboost, loss\n"
        "from minimand.losses import Huber, Logistic\n"
        "Huber()(np.ones(2), np.zeros(2)), as_xgboost(Logistic()), as_lightgbm(Logistic())\n"
        "def cubes(score, target): return (score - target) ** 3\n"
        "loss(cubes)()\n"
        "heavy = {'jax', 'torch', 'scipy', 'sklearn', 'keras', 'xgboost', 'lightgbm'}\n"
        "print(*heavy & {*sys.modules})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""
