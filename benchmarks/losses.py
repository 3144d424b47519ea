"""Losses side by side: minimand on JAX and NumPy, PyTorch eager, scikit-learn's Cython.

Value and gradient of the mean loss over n scores in float32, on one core:

    python benchmarks/losses.py [n]

Prints a Markdown table; the last column is peer / minimand, so more than 1 means that minimand is
faster. Each figure is the best of many calls, taken in turns with the peer's.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import jax
import numpy as np
import sklearn._loss as cython
import torch
import torch.nn.functional as F

from minimand import losses
from minimand.losses import Loss

CLASSES = 10
ROUNDS = 30


def best_in_turns(ours: Callable[[], Any], theirs: Callable[[], Any]) -> tuple[float, float]:
    """The shortest time of each, in seconds; the calls alternate."""
    times = ([], [])
    for _ in range(ROUNDS):
        for call, taken in zip((ours, theirs), times, strict=True):
            begun = time.perf_counter()
            call()
            taken.append(time.perf_counter() - begun)
    return min(times[0]), min(times[1])


def jax_call(loss: Loss, score: np.ndarray, target: np.ndarray) -> Callable[[], Any]:
    """Value and gradient of the mean, compiled."""
    compiled = jax.jit(jax.value_and_grad(lambda z, y: loss(z, y)))
    z, y = jax.device_put(score), jax.device_put(target)
    jax.block_until_ready(compiled(z, y))
    return lambda: jax.block_until_ready(compiled(z, y))


def torch_call(
    criterion: Callable[..., torch.Tensor], score: np.ndarray, target: np.ndarray
) -> Callable[[], Any]:
    """Value and gradient of the mean, as in a plain training loop."""
    z, y = torch.from_numpy(score).requires_grad_(), torch.from_numpy(target)

    def call() -> None:
        z.grad = None
        criterion(z, y).backward()

    return call


def numpy_call(loss: Loss, score: np.ndarray, target: np.ndarray) -> Callable[[], Any]:
    """Value, gradient and curvature of every example."""

    def call() -> None:
        loss.value(score, target)
        loss.gradient(score, target)
        loss.curvature(score, target)

    return call


def cython_call(loss: Any, score: np.ndarray, target: np.ndarray) -> Callable[[], Any]:
    """Gradient and Hessian in one pass, after the value in another."""

    def call() -> None:
        loss.loss(target, score)
        loss.gradient_hessian(target, score)

    return call


def table(title: str, heads: str, rows: list[tuple[str, tuple[float, float]]]) -> None:
    """Print one Markdown table of times in milliseconds."""
    print(f"\n{title}\n\n| {heads} | ratio |\n| --- | ---: | ---: | ---: |")
    for name, (ours, theirs) in rows:
        print(f"| {name} | {1e3 * ours:.2f} | {1e3 * theirs:.2f} | {theirs / ours:.2f} |")


def main(n: int) -> None:
    """Measure and print both tables."""
    random = np.random.default_rng(0)
    score = random.normal(size=n).astype(np.float32)
    real = random.normal(size=n).astype(np.float32)
    sign = np.where(random.random(n) < 0.5, np.float32(-1), np.float32(1))
    zero_one = (sign + 1) / 2
    count = random.poisson(2.0, size=n).astype(np.float32)
    positive = random.gamma(2.0, size=n).astype(np.float32)
    pair = random.normal(size=(n, 2)).astype(np.float32)
    wide = random.normal(size=(n // CLASSES, CLASSES)).astype(np.float32)
    index = random.integers(CLASSES, size=n // CLASSES)
    shares = random.dirichlet(np.ones(CLASSES), size=n // CLASSES).astype(np.float32)

    def gaussian_nll_loss(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.gaussian_nll_loss(z[:, 0], y, z[:, 1].exp(), full=True)

    frames, length = 50, 10
    sequences = n // (frames * 2 * CLASSES)
    heard = random.normal(size=(sequences, frames, 2 * CLASSES)).astype(np.float32)
    labels = random.integers(1, 2 * CLASSES, size=(sequences, length))
    spoken = np.concatenate([np.full((sequences, 1), frames), labels], axis=1)

    def ctc_loss(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        log_p = F.log_softmax(z, dim=-1).transpose(0, 1)
        lengths = torch.full((len(y),), length)
        return F.ctc_loss(log_p, y[:, 1:], y[:, 0], lengths, reduction="sum") / len(y)

    def kl_div(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.kl_div(F.log_softmax(z, dim=-1), y, reduction="batchmean")

    criteria = (
        (losses.Squared(), score, real, F.mse_loss, real),
        (losses.Absolute(), score, real, F.l1_loss, real),
        (losses.Huber(delta=1.0), score, real, F.huber_loss, real),
        (losses.Logistic(), score, sign, F.soft_margin_loss, sign),
        (losses.Logistic(), score, sign, F.binary_cross_entropy_with_logits, zero_one),
        (
            losses.BinaryCrossEntropy(),
            score,
            zero_one,
            F.binary_cross_entropy_with_logits,
            zero_one,
        ),
        (losses.Poisson(), score, count, F.poisson_nll_loss, count),
        (losses.GaussianNLL(), pair, real, gaussian_nll_loss, real),
        (losses.CrossEntropy(), wide, index, F.cross_entropy, index),
        (losses.CrossEntropy(), wide, shares, F.cross_entropy, shares),
        (losses.KL(), wide, shares, kl_div, shares),
        (losses.CrammerSinger(), wide, index, F.multi_margin_loss, index),
        (losses.CTC(), heard, spoken, ctc_loss, spoken),
    )
    table(
        f"Value and gradient of the mean, n = {n:,}, float32, one core, milliseconds.",
        "loss | minimand, jax.jit | PyTorch eager",
        [
            (
                f"{type(loss).__name__}, {criterion.__name__}",
                best_in_turns(jax_call(loss, z, y), torch_call(criterion, z, peer_target)),
            )
            for loss, z, y, criterion, peer_target in criteria
        ],
    )

    compiled = (
        (losses.HalfSquared(), score, real, cython.HalfSquaredError(), real),
        (losses.Absolute(), score, real, cython.AbsoluteError(), real),
        (losses.Huber(delta=1.0), score, real, cython.HuberLoss(delta=1.0), real),
        (losses.Quantile(level=0.8), score, real, cython.PinballLoss(quantile=0.8), real),
        (losses.Logistic(), score, sign, cython.HalfBinomialLoss(), zero_one),
        (losses.Poisson(), score, count, cython.HalfPoissonLoss(), count),
        (losses.Gamma(), score, positive, cython.HalfGammaLoss(), positive),
        (losses.Tweedie(), score, positive, cython.HalfTweedieLoss(power=1.5), positive),
    )
    table(
        f"Value, gradient and curvature of every example, n = {n:,}, float32, one core, ms.",
        "loss | minimand, NumPy | scikit-learn, Cython",
        [
            (
                f"{type(loss).__name__}, {type(peer).__name__}",
                best_in_turns(numpy_call(loss, z, y), cython_call(peer, z, peer_target)),
            )
            for loss, z, y, peer, peer_target in compiled
        ],
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
