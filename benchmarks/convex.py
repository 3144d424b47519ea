"""Convex problems side by side: minimand with its default settings, and every peer that has them.

    python benchmarks/convex.py --json results.jsonl         # all rows, all peers
    python benchmarks/convex.py --only lasso-10 --scale 0.1  # one row with a tenth of its examples
    python benchmarks/convex.py --json results.jsonl --table # the merged Markdown table

Measured is the process CPU time on one core until the objective lies within 1e-6 (relative) of the
best value that any solver found. The objective is computed here, from the data and the parameters
that a solver returns. minimand runs with its default settings; a peer gets the loosest tolerance
of its ladder that passes, its preferred memory layout, and no charge for compiling. Every entrant
runs in a process of its own, forked before anything was fitted. Median of 3 runs, or a single run
above 20 s; of 31 for the small rows.

The peers live in convex_peers.py, how to measure in convex_protocol.py; convex-requirements.txt
names the versions and says how to install them. Importing this module has no effect but to limit
the threads of the libraries to one:

    problem = make("logistic")  # .objective, .X, .y, .value(kernel, bias)
"""

from __future__ import annotations

import os

for name in ("OMP", "OPENBLAS", "MKL", "NUMBA", "BLIS"):
    os.environ[f"{name}_NUM_THREADS"] = "1"

import argparse
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from scipy.special import logsumexp

from minimand import losses
from minimand.losses import Loss
from minimand.penalties import L1, L2, Penalty
from minimand.solvers import Objective, Solver, minimise

Array = Any

LEVEL = 0.8  # of the quantile rows
EPSILON = 1.35  # of the Huber rows


@dataclass(frozen=True)
class Problem:
    """min over W, b of mean ℓ(X W + b, y) + l1 ‖W‖₁ + ½ l2 ‖W‖²; ℓ is named by `loss`.

    y is -1 or 1 for two classes, 0 ... K - 1 for more. Without `intercept` b is 0.
    """

    loss: str
    X: Array
    y: Array
    l1: float = 0.0
    l2: float = 0.0
    intercept: bool = True

    @property
    def objective(self) -> Objective:
        """The problem in minimand's words."""
        penalty: Penalty = L1(strength=self.l1) if self.l1 else L2(strength=self.l2)
        return Objective(LOSSES[self.loss](), penalty, intercept=self.intercept)

    def value(self, kernel: Array, bias: Array) -> float:
        """The objective at W [p] or [p, K] and b, in float64."""
        kernel = np.asarray(kernel, dtype=np.float64)
        kernel = kernel.reshape(self.X.shape[1], -1)
        scores = self.X @ kernel + np.asarray(bias, dtype=np.float64)
        scores = scores if self.loss == "multinomial" else scores[:, 0]
        cost = COSTS[self.loss](scores, self.y)
        return float(cost + self.l1 * np.abs(kernel).sum() + 0.5 * self.l2 * np.sum(kernel**2))


def multinomial(scores: Array, y: Array) -> Array:
    """The mean negative log-likelihood of the classes y."""
    return np.mean(logsumexp(scores, axis=1) - scores[np.arange(len(y)), y])


def huber_with_scale(scores: Array, y: Array) -> Array:
    """min over σ of mean(σ + σ H(r / σ)), H(u) = u² if |u| ≤ ε, else 2 ε |u| - ε².

    The slope in σ, 1 - mean(min(u², ε²)), rises with σ: bisection finds its zero.
    """
    r = np.abs(y - scores)
    low, high = 1e-12, 2 * np.sqrt(np.mean(r**2)) + 1e-12
    for _ in range(60):
        sigma = (low + high) / 2
        rising = np.mean(np.minimum((r / sigma) ** 2, EPSILON**2)) < 1
        low, high = (low, sigma) if rising else (sigma, high)
    u = r / sigma
    return sigma + sigma * np.mean(np.where(u <= EPSILON, u**2, 2 * EPSILON * u - EPSILON**2))


COSTS: dict[str, Callable[[Array, Array], Array]] = {
    "half_squared": lambda z, y: 0.5 * np.mean((z - y) ** 2),
    "logistic": lambda z, y: np.mean(np.logaddexp(0, -y * z)),
    "multinomial": multinomial,
    "poisson": lambda z, y: np.mean(np.exp(z) - y * z),
    "huber": huber_with_scale,
    "quantile": lambda z, y: np.mean(np.maximum(LEVEL * (y - z), (LEVEL - 1) * (y - z))),
    "squared_hinge": lambda z, y: np.mean(np.maximum(0, 1 - y * z) ** 2),
    "hinge": lambda z, y: np.mean(np.maximum(0, 1 - y * z)),
}
"""The mean loss from outside minimand: plain formulas."""

LOSSES: dict[str, Callable[[], Loss]] = {
    "half_squared": losses.HalfSquared,
    "logistic": losses.Logistic,
    "multinomial": losses.CrossEntropy,
    "poisson": losses.Poisson,
    "huber": lambda: losses.HuberWithScale(epsilon=EPSILON),
    "quantile": lambda: losses.Quantile(level=LEVEL),
    "squared_hinge": losses.SquaredHinge,
    "hinge": losses.Hinge,
}


def make(row: str, scale: float = 1.0) -> Problem:
    """The problem of a row, with a fraction `scale` of its examples."""
    return ROWS[row].make(scale)


@dataclass(frozen=True)
class Row:
    """A row of the table: what it is called, how it is made, and who has it."""

    title: str
    recipe: Callable[..., Problem]
    n: int
    p: int
    options: dict[str, Any]

    @property
    def small(self) -> bool:
        """Whether a fit takes milliseconds, so that the first call is of interest."""
        return self.n <= 2000 and self.p < 100

    def make(self, scale: float) -> Problem:
        """The problem, with a fraction `scale` of its examples."""
        n = max(50, round(scale * self.n))
        return self.recipe(np.random.default_rng(0), n, self.p, **self.options)


def features(random: np.random.Generator, n: int, p: int, order: Any = "C") -> Array:
    """Columns of mean 0 and variance 1; neighbours have correlation ½, as an autoregression."""
    X = random.standard_normal((n, p))
    for column in range(1, p):
        X[:, column] = 0.5 * X[:, column - 1] + np.sqrt(0.75) * X[:, column]
    return np.asarray(X, order=order)


def signal(
    random: np.random.Generator, X: Array, spread: float, outputs: int | None = None
) -> Array:
    """Scores X w of standard deviation `spread`, w normal."""
    scores = X @ random.standard_normal((X.shape[1], outputs) if outputs else X.shape[1])
    return scores * (spread / scores.std(axis=0))


def signs(random: np.random.Generator, scores: Array) -> Array:
    """Two classes with P(+1) = 1 / (1 + exp(-score))."""
    return np.where(random.logistic(size=len(scores)) < scores, 1.0, -1.0)


def ill_scaled(random: np.random.Generator, X: Array) -> Array:
    """The columns in units between 10^-1.5 and 10^1.5."""
    return X * 10 ** random.uniform(-1.5, 1.5, X.shape[1])


def logistic(random: np.random.Generator, n: int, p: int, scaled: bool = False) -> Problem:
    """Two classes, λ = 1 / n (C = 1)."""
    X = features(random, n, p)
    y = signs(random, 0.5 + signal(random, X, 1.5))
    return Problem("logistic", ill_scaled(random, X) if scaled else X, y, l2=1 / n)


def classes(random: np.random.Generator, n: int, p: int, K: int, scaled: bool = False) -> Problem:
    """K classes by softmax, λ = 1 / n (C = 1)."""
    X = features(random, n, p)
    y = np.argmax(signal(random, X, 1.5, K) + random.gumbel(size=(n, K)), axis=1)
    return Problem("multinomial", ill_scaled(random, X) if scaled else X, y, l2=1 / n)


def poisson(random: np.random.Generator, n: int, p: int) -> Problem:
    """Counts of mean exp(score), no penalty."""
    X = features(random, n, p)
    return Problem("poisson", X, random.poisson(np.exp(1 + signal(random, X, 0.5))).astype(float))


def huber(random: np.random.Generator, n: int, p: int) -> Problem:
    """A tenth of the targets far off; scikit-learn's alpha = 1e-4 against the sum of the losses."""
    X = features(random, n, p)
    noise = random.standard_normal(n) * np.where(random.random(n) < 0.1, 10.0, 1.0)
    return Problem("huber", X, 2 + signal(random, X, 3.0) + noise, l2=2e-4 / n)


def quantile(random: np.random.Generator, n: int, p: int) -> Problem:
    """Noise that widens with the first column, no penalty."""
    X = features(random, n, p)
    noise = random.standard_normal(n) * (1 + np.abs(X[:, 0]))
    return Problem("quantile", X, 2 + signal(random, X, 3.0) + noise)


def margin(random: np.random.Generator, n: int, p: int, loss: str) -> Problem:
    """Two classes, C = 1 against the sum of the losses."""
    X = features(random, n, p)
    return Problem(loss, X, signs(random, 0.5 + signal(random, X, 3.0)), l2=1 / n)


def squares(random: np.random.Generator, n: int, p: int, l2: float = 0.0) -> Problem:
    """Ordinary least squares, or ridge."""
    X = features(random, n, p)
    return Problem("half_squared", X, 2 + signal(random, X, 3.0) + random.standard_normal(n), l2=l2)


def lasso(random: np.random.Generator, n: int, p: int, part: int, density: float = 1.0) -> Problem:
    """A hundredth of the columns matter; λ is the least that leaves none, divided by `part`.

    Sparse columns go without an intercept, as most peers slow down by an order with one.
    """
    intercept = density == 1
    if density < 1:
        X = scipy.sparse.random_array(
            (n, p), density=density, format="csc", rng=random, data_sampler=random.standard_normal
        )
    else:
        X = features(random, n, p, "F")
    y = sparse_signal(random, X) + 0.3 * random.standard_normal(n)
    strongest = np.max(np.abs(X.T @ (y - y.mean() * intercept))) / n
    return Problem("half_squared", X, y, l1=strongest / part, intercept=intercept)


def sparse_logistic(random: np.random.Generator, n: int, p: int, part: int) -> Problem:
    """The same for two classes."""
    X = features(random, n, p, "F")
    y = signs(random, 2 * sparse_signal(random, X))
    strongest = np.max(np.abs(X.T @ (y - y.mean()))) / (2 * n)
    return Problem("logistic", X, y, l1=strongest / part)


def sparse_signal(random: np.random.Generator, X: Array) -> Array:
    """Scores of standard deviation 1 from a hundredth of the columns, at least 3."""
    w = np.zeros(X.shape[1])
    chosen = random.choice(len(w), max(3, len(w) // 100), replace=False)
    w[chosen] = random.standard_normal(len(chosen))
    scores = X @ w
    return scores / scores.std()


def _small(n: int, p: int) -> dict[str, Row]:
    kinds: tuple[tuple[str, str, Callable[..., Problem], dict[str, Any]], ...] = (
        ("ols", "least squares", squares, {}),
        ("ridge", "ridge", squares, {"l2": 1 / n}),
        ("logistic", "logistic L2", logistic, {}),
        ("multinomial", "multinomial, K = 3", classes, {"K": 3}),
        ("poisson", "Poisson", poisson, {}),
        ("lasso", "lasso, α_max/10", lasso, {"part": 10}),
        ("quantile", "quantile, τ = 0.8", quantile, {}),
        ("huber", "Huber with scale", huber, {}),
    )
    return {
        f"{name}-{n}": Row(f"{title}, {n:,} × {p}", recipe, n, p, options)
        for name, title, recipe, options in kinds
    }


ROWS = {
    "logistic": Row("logistic L2 100k×200", logistic, 100_000, 200, {}),
    "logistic-scaled": Row("same, scales 10^±1.5", logistic, 100_000, 200, {"scaled": True}),
    "multinomial": Row("multinomial 50k×100, K = 10", classes, 50_000, 100, {"K": 10}),
    "multinomial-scaled": Row(
        "same, scales 10^±1.5", classes, 50_000, 100, {"K": 10, "scaled": True}
    ),
    "poisson": Row("Poisson 200k×100", poisson, 200_000, 100, {}),
    "huber": Row("Huber with scale 100k×100", huber, 100_000, 100, {}),
    "quantile-20k": Row("quantile 20k×50, τ = 0.8", quantile, 20_000, 50, {}),
    "quantile-200k": Row("quantile 200k×50, τ = 0.8", quantile, 200_000, 50, {}),
    "squared-hinge": Row("squared hinge 50k×100", margin, 50_000, 100, {"loss": "squared_hinge"}),
    "hinge": Row("hinge 50k×100", margin, 50_000, 100, {"loss": "hinge"}),
    "lasso-10": Row("lasso 2k×10k, α_max/10", lasso, 2000, 10_000, {"part": 10}),
    "lasso-100": Row("same, α_max/100", lasso, 2000, 10_000, {"part": 100}),
    "lasso-sparse-10": Row(
        "lasso CSC 20k×50k, α_max/10", lasso, 20_000, 50_000, {"part": 10, "density": 0.001}
    ),
    "lasso-sparse-100": Row(
        "same, α_max/100", lasso, 20_000, 50_000, {"part": 100, "density": 0.001}
    ),
    "logistic-l1-10": Row("L1-logistic 5k×5k, α_max/10", sparse_logistic, 5000, 5000, {"part": 10}),
    "logistic-l1-50": Row("same, α_max/50", sparse_logistic, 5000, 5000, {"part": 50}),
    "ols": Row("least squares 1M×100", squares, 1_000_000, 100, {}),
    **_small(150, 10),
    **_small(2000, 20),
}


def ours(problem: Problem) -> Callable[[float], tuple[Array, Array, str]]:
    """minimand as it comes at tolerance 0, else the solver that it chose with that tolerance."""
    objective, X, y = problem.objective, problem.X, problem.y

    def fit(tolerance: float) -> tuple[Array, Array, str]:
        solution = minimise(objective, X, y)
        if tolerance:
            solution = minimise(objective, X, y, solver=tightened(solution.solver, tolerance))
        layer = solution.params["output"]
        note = f"{solution.solver.partition('(')[0]}, {solution.certificate.sentence}"
        return layer["kernel"], layer["bias"], note

    return fit


def tightened(text: str, tolerance: float) -> Any:
    """The solver with another tolerance, if it has one."""
    solver: Any = Solver.parse(text)
    has = any(field.name == "tolerance" for field in fields(solver))
    return replace(solver, tolerance=tolerance) if has else solver


def measure(name: str, scale: float, peers: str, cap: float) -> list[Any]:
    """The records of a row: two references run tight, minimand, and the peers asked for."""
    from convex_peers import Peer, peers_of
    from convex_protocol import Record, Trial

    row, problem = ROWS[name], make(name, scale)
    n, p = problem.X.shape
    twin = None if row.small else make(name, min(n / 10, 10 * p) / row.n)
    rivals = peers_of(name, problem.loss, row.small)
    entrants = [
        Peer("reference minimand", ours, (1e-12,)),
        replace(rivals[0], name=f"reference {rivals[0].name}", ladder=(1e-10,)),
        Peer("minimand", ours, (0.0,)),
        *(peer for peer in rivals if peers == "all" or peers in peer.name),
    ]
    best, records = float("inf"), []
    for entrant in entrants:
        trial = Trial(entrant.prepare, problem, twin, entrant.ladder, 31 if row.small else 3, cap)
        record = trial.run(Record(name, entrant.name, scale), best)
        if row.small:
            once = replace(trial, ladder=(record.tolerance,), repeats=1)
            record.first = once.run(Record(name, entrant.name, scale), best).seconds
        best = min(best, record.value)
        print(
            name,
            record.entrant,
            f"{record.seconds:.4g} s",
            record.value,
            record.failure,
            flush=True,
        )
        records.append(record)
    return records


def main() -> None:
    """Run what the command line asks for, and print the table."""
    from convex_protocol import append, load, table

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", action="append", choices=ROWS, help="a row, or several")
    parser.add_argument("--peers", default="all", help="all, none, or part of a peer's name")
    parser.add_argument("--scale", type=float, default=1.0, help="fraction of the examples")
    parser.add_argument("--cap", type=float, default=60.0, help="seconds of CPU for one fit")
    parser.add_argument("--json", type=Path, help="file to which the records are added")
    parser.add_argument("--table", action="store_true", help="print what that file holds; no runs")
    asked = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    found = []
    for name in () if asked.table else asked.only or ROWS:
        for record in measure(name, asked.scale, asked.peers, asked.cap):
            found.append(record)
            if asked.json:
                append(asked.json, record)
    if asked.json:
        found = load(asked.json)
    titles = {name: row.title for name, row in ROWS.items()}
    print(table(found, titles, {name for name, row in ROWS.items() if row.small}))


if __name__ == "__main__":
    main()
