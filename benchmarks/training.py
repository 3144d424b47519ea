"""Two networks trained by minimand, a scan written by hand, Keras, PyTorch, Lightning and skorch.

    pip install -r benchmarks/training-requirements.txt
    python benchmarks/training.py [rounds]

Every engine trains in a process of its own, pinned to one core, then to two. `training.md` says
what is measured and holds the tables.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

WARM, SEEDS, RATE = 3, 10, 0.001


@dataclass(frozen=True)
class Task:
    """Rows, and the network trained on them."""

    name: str
    hidden: int
    batch: int
    epochs: int
    classes: int = 10

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """(X, y): the digits of scikit-learn, or classes by the largest of ten noisy scores."""
        if self.name == "digits":
            from sklearn.datasets import load_digits

            X, y = load_digits(return_X_y=True)
            return (X / 16).astype(np.float32), y.astype(np.int32)
        random = np.random.default_rng(0)
        X = random.standard_normal((60_000, 784), dtype=np.float32)
        score = X @ random.standard_normal((784, self.classes), dtype=np.float32)
        noise = 10 * random.standard_normal(score.shape, dtype=np.float32)
        return X, (score + noise).argmax(1).astype(np.int32)


TASKS = {
    "digits": Task("digits", hidden=128, batch=32, epochs=20),
    "60k": Task("60k", hidden=256, batch=128, epochs=3),
}
Fit = Callable[[int], Callable[[np.ndarray], np.ndarray]]
"""Trains with a seed, and gives what maps inputs to scores."""


def minimand(task: Task, X: np.ndarray, y: np.ndarray) -> Fit:
    """`train`, as a user calls it."""
    from minimand.losses import CrossEntropy
    from minimand.networks import MLP
    from minimand.optimizers import Adam
    from minimand.training import Recipe, train

    network, rule = MLP(hidden=(task.hidden,), outputs=task.classes), Adam(learning_rate=RATE)
    recipe = Recipe(network, CrossEntropy(), rule, batch_size=task.batch, epochs=task.epochs)
    return lambda seed: train(recipe, X, y, validation=0.0, seed=seed, progress=False).scores


def scan(task: Task, X: np.ndarray, y: np.ndarray) -> Fit:
    """The same arithmetic as one JAX program: shuffle, gather, step; no guard, history or state."""
    import jax
    import jax.numpy as jnp
    import optax

    n, size = len(X), task.batch
    weights = jnp.pad(jnp.ones(n), (0, -n % size)).reshape(-1, size)
    rule = optax.adam(RATE)

    def scores(params: Any, x: Any) -> Any:
        (A, a), (B, b) = params
        return jax.nn.relu(x @ A + a) @ B + b

    def loss(params: Any, x: Any, target: Any, weight: Any) -> Any:
        each = optax.softmax_cross_entropy_with_integer_labels(scores(params, x), target)
        return jnp.sum(weight * each) / jnp.sum(weight)

    @jax.jit
    def run(X: Any, y: Any, seed: Any) -> Any:
        key, *keys = jax.random.split(jax.random.key(seed), 3)
        widths = (X.shape[1], task.hidden, task.classes)
        draws = (jax.nn.initializers.he_normal(), jax.nn.initializers.lecun_normal())
        shapes = zip(draws, keys, widths[:-1], widths[1:], strict=True)
        params = [(drawn(key, (a, b)), jnp.zeros(b)) for drawn, key, a, b in shapes]

        def epoch(carry: Any, key: Any) -> Any:
            order = jnp.argsort(jax.random.bits(key, (n,)))
            batches = jnp.concatenate([order, order[: -n % size]]).reshape(-1, size)

            def step(carry: Any, batch: Any) -> Any:
                params, state = carry
                index, weight = batch
                cost, slope = jax.value_and_grad(loss)(params, X[index], y[index], weight)
                updates, state = rule.update(slope, state)
                return (optax.apply_updates(params, updates), state), cost

            return jax.lax.scan(step, carry, (batches, weights))

        keys = jax.random.split(key, task.epochs)
        (params, _), costs = jax.lax.scan(epoch, (params, rule.init(params)), keys)
        return params, costs

    def fit(seed: int) -> Callable[[np.ndarray], np.ndarray]:
        params, _ = jax.block_until_ready(run(X, y, seed))
        return lambda x: np.asarray(scores(params, x))

    return fit


def keras(task: Task, X: np.ndarray, y: np.ndarray) -> Fit:
    """`Model.fit` on JAX; one model, set back before every fit: a new one compiles again."""
    os.environ["KERAS_BACKEND"] = "jax"
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    hidden = layers.Dense(task.hidden, activation="relu")
    model = keras.Sequential([keras.Input(X.shape[1:]), hidden, layers.Dense(task.classes)])
    cost = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(RATE), cost)
    model.optimizer.build(model.trainable_variables)
    variables = [*model.variables, *model.optimizer.variables]
    start = [keras.ops.convert_to_numpy(variable) for variable in variables]

    def fit(seed: int) -> Callable[[np.ndarray], np.ndarray]:
        for variable, value in zip(variables, start, strict=True):
            variable.assign(value)
        model.fit(X, y, batch_size=task.batch, epochs=task.epochs, verbose=0)
        return lambda x: model.predict(x, verbose=0)

    return fit


def _module(task: Task, columns: int) -> Any:
    """The network in PyTorch, starting where minimand's does."""
    import torch

    widths = ((columns, task.hidden), (task.hidden, task.classes))
    first, last = (torch.nn.Linear(a, b) for a, b in widths)
    for layer, (width, _), gain in zip((first, last), widths, (2, 1), strict=True):
        scale = (gain / width) ** 0.5 / 0.87962566103423978  # that of a normal cut off at 2
        torch.nn.init.trunc_normal_(layer.weight, std=scale, a=-2 * scale, b=2 * scale)
        torch.nn.init.zeros_(layer.bias)
    return torch.nn.Sequential(first, torch.nn.ReLU(), last)


def _of(module: Any) -> Callable[[np.ndarray], np.ndarray]:
    import torch

    def scores(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            found: np.ndarray = module(torch.from_numpy(x)).numpy()
        return found

    return scores


def pytorch(task: Task, X: np.ndarray, y: np.ndarray) -> Fit:
    """A loop that slices tensors, with the fused Adam: what PyTorch can do without compiling."""
    import torch

    def fit(seed: int) -> Callable[[np.ndarray], np.ndarray]:
        torch.manual_seed(seed)
        data, target = torch.from_numpy(X), torch.from_numpy(y).long()
        module = _module(task, X.shape[1])
        rule = torch.optim.Adam(module.parameters(), lr=RATE, fused=True)
        for _ in range(task.epochs):
            for batch in torch.randperm(len(data)).split(task.batch):
                rule.zero_grad()
                cost = torch.nn.functional.cross_entropy(module(data[batch]), target[batch])
                cost.backward()
                rule.step()
        return _of(module)

    return fit


def lightning(task: Task, X: np.ndarray, y: np.ndarray) -> Fit:
    """`Trainer.fit` as it comes, less what it prints."""
    import logging
    import warnings

    import torch
    from lightning import LightningModule, Trainer
    from torch.utils.data import DataLoader, TensorDataset

    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Model(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.inside = _module(task, X.shape[1])

        def training_step(self, batch: Any, number: int) -> Any:
            x, target = batch
            return torch.nn.functional.cross_entropy(self.inside(x), target)

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=RATE)

    def fit(seed: int) -> Callable[[np.ndarray], np.ndarray]:
        torch.manual_seed(seed)
        rows = TensorDataset(torch.from_numpy(X), torch.from_numpy(y).long())
        model, loader = Model(), DataLoader(rows, batch_size=task.batch, shuffle=True)
        with tempfile.TemporaryDirectory() as folder:
            trainer = Trainer(
                max_epochs=task.epochs,
                accelerator="cpu",
                default_root_dir=folder,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            trainer.fit(model, loader)
        return _of(model.inside)

    return fit


def skorch(task: Task, X: np.ndarray, y: np.ndarray) -> Fit:
    """`NeuralNetClassifier.fit` without validation."""
    import torch
    from skorch import NeuralNetClassifier

    def fit(seed: int) -> Callable[[np.ndarray], np.ndarray]:
        torch.manual_seed(seed)
        net = NeuralNetClassifier(
            _module(task, X.shape[1]),
            criterion=torch.nn.CrossEntropyLoss,
            optimizer=torch.optim.Adam,
            lr=RATE,
            batch_size=task.batch,
            max_epochs=task.epochs,
            iterator_train__shuffle=True,
            train_split=None,
            verbose=0,
        )
        net.fit(X, y.astype(np.int64))
        return _of(net.module_)

    return fit


ENGINES: dict[str, Callable[[Task, np.ndarray, np.ndarray], Fit]] = {
    "minimand": minimand,
    "scan by hand": scan,
    "Keras on JAX": keras,
    "PyTorch, sliced": pytorch,
    "Lightning": lightning,
    "skorch": skorch,
}


def cross_entropy(score: np.ndarray, y: np.ndarray) -> float:
    """The mean over rows."""
    score = score - score.max(1, keepdims=True)
    logs = np.log(np.exp(score).sum(1)) - score[np.arange(len(y)), y]
    return float(logs.mean())


def timed(engine: str, task: Task, warm: int) -> dict[str, Any]:
    """(wall, CPU) seconds of the first fit of this process and of the best later one."""
    X, y = task.data()
    fit, seconds = ENGINES[engine](task, X, y), []
    for seed in range(1 + warm):
        begun = time.perf_counter(), time.process_time()
        scores = fit(seed)
        seconds.append((time.perf_counter() - begun[0], time.process_time() - begun[1]))
    later = list(zip(*seconds[1:], strict=True))
    return {
        "cold": seconds[0],
        "warm": [min(each) for each in later] or None,
        "loss": cross_entropy(scores(X), y),
    }


def losses(engine: str) -> list[tuple[float, float]]:
    """(training, test) losses of the digits, of ten seeds; every fifth row is tested on."""
    task = TASKS["digits"]
    X, y = task.data()
    test = np.arange(len(X)) % 5 == 0
    fit, found = ENGINES[engine](task, X[~test], y[~test]), []
    for seed in range(SEEDS):
        scores = fit(seed)
        found.append(tuple(cross_entropy(scores(X[rows]), y[rows]) for rows in (~test, test)))
    return found


def child(cores: int, *arguments: str, **environment: str) -> Any:
    """What another process of this file prints, which has so many cores."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(cores))
    command = [sys.executable, __file__, "child", str(cores), *arguments]
    env = os.environ | threads | environment
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=env)
    return json.loads(run.stdout.splitlines()[-1])


def pinned(cores: int) -> None:
    """Keep this process on the first cores it may use; XLA and PyTorch then start one thread each.

    Where the system cannot pin (macOS, Windows), only the thread counts hold.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])


def speed(cores: int, task: Task, rounds: int, cache: str) -> None:
    """One table; the best of all rounds counts."""
    found: dict[str, list[dict[str, Any]]] = {engine: [] for engine in ENGINES}
    for number in range(rounds):
        for engine, runs in found.items():
            of = {"MINIMAND_CACHE_DIR": f"{cache}/{cores}-{task.name}-{number}"}
            runs.append(child(cores, "time", engine, task.name, str(WARM), **of))
    best = {
        engine: {when: np.min([run[when] for run in runs], axis=0) for when in ("cold", "warm")}
        for engine, runs in found.items()
    }
    print(f"\n{task.name}, {cores} {'core' if cores == 1 else 'cores'}\n")
    print("| engine | cold s | CPU | warm s | CPU | / scan by hand | CPU | loss |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for engine, one in best.items():
        ratio = one["warm"] / best["scan by hand"]["warm"]
        cells = [f"{v:.3f}" for v in (*one["cold"], *one["warm"])] + [f"{v:.2f}" for v in ratio]
        loss = np.mean([run["loss"] for run in found[engine]])
        print(f"| {engine} | {' | '.join(cells)} | {loss:.4f} |", flush=True)


def second_process(cores: int, cache: str) -> None:
    """The digits in a process whose program an earlier one has compiled."""
    of = {"MINIMAND_CACHE_DIR": f"{cache}/again-{cores}"}
    runs = [child(cores, "time", "minimand", "digits", "0", **of)["cold"] for _ in range(6)]
    wall, cpu = np.min(runs[1:], axis=0)
    print(f"\ndigits in a second process, {cores} core(s): {wall:.3f} s, CPU {cpu:.3f} s")


def agreement() -> None:
    """Whether minimand's final losses could be PyTorch's."""
    from scipy import stats

    ours, theirs = (np.array(child(2, "losses", e)) for e in ("minimand", "PyTorch, sliced"))
    print("\n| loss of | minimand | PyTorch | difference, 95 % interval | KS p |")
    print("| --- | --- | --- | --- | --- |")
    for name, a, b in zip(("training rows", "test rows"), ours.T, theirs.T, strict=True):
        low, high = stats.ttest_ind(a, b, equal_var=False).confidence_interval()
        means = [f"{v.mean():.5f} ± {v.std(ddof=1):.5f}" for v in (a, b)]
        p = stats.ks_2samp(a, b).pvalue
        print(f"| {name} | {' | '.join(means)} | {low:+.5f} to {high:+.5f} | {p:.2f} |")


def main(rounds: int) -> None:
    """All tables."""
    print(f"{datetime.date.today()}, {platform.machine()}, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as cache:
        for cores in (1, 2):
            for task in TASKS.values():
                speed(cores, task, rounds, cache)
            second_process(cores, cache)
    agreement()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["child", cores, *what]:
            pinned(int(cores))
            match what:
                case ["time", engine, task, warm]:
                    print(json.dumps(timed(engine, TASKS[task], int(warm))))
                case ["losses", engine]:
                    print(json.dumps(losses(engine)))
        case given:
            main(int(given[0]) if given else 1)
