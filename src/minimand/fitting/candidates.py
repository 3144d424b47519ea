"""Candidates: a loss and a kind of model, fitted for any setting and any rows of the bench."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minimand.budget import Budget
from minimand.data import Fold
from minimand.fitting.bench import Bench
from minimand.fitting.model import Fitted
from minimand.losses import Loss
from minimand.penalties import Penalty
from minimand.solvers import Objective, Shape, select
from minimand.tuning import product_grid
from minimand.tuning.grid import Setting

LEAST_NETWORK_ROWS = 100
MANY_ROWS = 5000
"""From so many rows on, a network sees enough in few epochs, and a weak penalty will do."""


@dataclass(frozen=True)
class Attempt:
    """One fit: what scores, how it went, and the evidence that came with it."""

    fitted: Fitted
    status: str
    usable: bool
    history: Mapping[str, Sequence[float]]
    certificate: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Candidate:
    """A loss and a kind of model; `settings` is its grid of hyper-parameters."""

    loss: Loss
    penalty: Penalty
    model: str = ""

    @property
    def name(self) -> str:
        """How tables call it."""
        return f"{self.loss}, {self.model}"

    def obstacle(self, bench: Bench, asked: bool) -> str:
        """Why this candidate is not tried on the bench; empty if it is. `asked`: by its name."""
        if bench.metric.needs_probability and not self.loss.card.proper:
            return f"{bench.metric.name} needs probabilities, which {self.loss} does not give"
        return ""

    def method(self, bench: Bench) -> tuple[str, str]:
        """(method, why this one)."""
        raise NotImplementedError

    def settings(self, bench: Bench) -> list[dict[str, Any]]:
        """The grid of settings to search."""
        raise NotImplementedError

    def run(
        self, bench: Bench, jobs: Sequence[tuple[Setting, Fold]], budget: Budget
    ) -> list[Attempt]:
        """Fit every (setting, rows) job; a fold's test rows are never touched."""
        raise NotImplementedError

    def last(self, bench: Bench, setting: Setting) -> tuple[Attempt, str]:
        """(the fit to keep, what was done for it): by default a fresh one on all rows."""
        everything = Fold(np.arange(len(bench.X)), np.arange(0))
        (outcome,) = self.run(bench, [(setting, everything)], Budget())
        return outcome, f"Refitted {self.name} on {len(bench.X):,} rows"

    def recipe(self, bench: Bench, setting: Setting) -> dict[str, Any]:
        """What reproduces a fit, as plain JSON."""
        raise NotImplementedError

    def penalties(self, strengths: Sequence[float]) -> list[Penalty]:
        """The penalty at several strengths."""
        return [Penalty.from_json(self.penalty.to_json() | {"strength": s}) for s in strengths]


@dataclass(frozen=True)
class Affine(Candidate):
    """A linear model by a deterministic solver."""

    model: str = "linear"

    def obstacle(self, bench: Bench, asked: bool) -> str:
        """A loss that the score 0 minimises cannot be solved for."""
        if self.loss.card.zero_is_optimal:
            return "the score 0 everywhere minimises it, so an exact solution says nothing"
        return super().obstacle(bench, asked)

    def method(self, bench: Bench) -> tuple[str, str]:
        """The solver and why it was selected."""
        solver, why = self._solver(bench)
        return type(solver).__name__, why

    def settings(self, bench: Bench) -> list[dict[str, Any]]:
        """Penalty strengths over the card's range."""
        strengths = self.penalty.card.search["strength"].grid(6)
        return product_grid(penalty=self.penalties(strengths))

    def run(
        self, bench: Bench, jobs: Sequence[tuple[Setting, Fold]], budget: Budget
    ) -> list[Attempt]:
        """Solve one job after another."""
        return [self._solve(bench, setting, fold.train, budget) for setting, fold in jobs]

    def recipe(self, bench: Bench, setting: Setting) -> dict[str, Any]:
        """The objective and the solver."""
        objective = Objective(self.loss, setting["penalty"])
        return {"objective": objective.to_json(), "solver": self._solver(bench)[0].to_json()}

    def _solve(self, bench: Bench, setting: Setting, rows: np.ndarray, budget: Budget) -> Attempt:
        objective, y = Objective(self.loss, setting["penalty"]), bench.encoded(self.loss)
        solver, _ = self._solver(bench)
        solved = solver.minimise(objective, bench.X[rows], y[rows], budget=budget)
        fitted = Fitted(self.loss, bench.encoder(self.loss), solved.params)
        usable = solved.converged or not budget.spent()
        return Attempt(fitted, solved.status, usable, solved.history, vars(solved.certificate))

    def _solver(self, bench: Bench) -> Any:
        objective = Objective(self.loss, self.penalty)
        return select(objective, Shape(len(bench.X), bench.X.shape[1], bench.outputs(self.loss)))


@dataclass(frozen=True)
class Perceptrons(Candidate):
    """A multilayer perceptron by the compiled engine; all jobs are members of one program."""

    model: str = "mlp"

    def obstacle(self, bench: Bench, asked: bool) -> str:
        """Too few rows leave nothing for early stopping to watch."""
        if len(bench.X) < LEAST_NETWORK_ROWS and not asked:
            return (
                f"{len(bench.X)} training rows are fewer than the {LEAST_NETWORK_ROWS} that "
                f"early stopping needs (models=['mlp'] or --model mlp insists)"
            )
        return super().obstacle(bench, asked)

    def method(self, bench: Bench) -> tuple[str, str]:
        """The update rule."""
        recipe = self._recipe(bench, self.settings(bench)[0])
        rule = type(recipe.optimizer).__name__
        return rule, f"a network in batches of {recipe.batch}, stopped early"

    def settings(self, bench: Bench) -> list[dict[str, Any]]:
        """Step sizes over the rule's range, each with penalties from weak to firm."""
        from minimand.optimizers import Adam

        rates = Adam.card.search["learning_rate"].grid(3)
        strengths = (1e-4, 1e-3, 1e-2) if len(bench.X) < MANY_ROWS else (1e-4, 1e-3)
        return product_grid(learning_rate=rates, penalty=self.penalties(strengths))

    def run(
        self, bench: Bench, jobs: Sequence[tuple[Setting, Fold]], budget: Budget
    ) -> list[Attempt]:
        """Train all jobs at once; a tenth of each job's rows is watched for early stopping."""
        from minimand.training import train_members

        if not jobs:
            return []
        trained = train_members(
            [self._recipe(bench, setting) for setting, _ in jobs],
            bench.X,
            bench.encoded(self.loss),
            [watched_tenth(fold.train, bench.seed) for _, fold in jobs],
            [bench.seed] * len(jobs),
            budget=budget,
        )
        encoder = bench.encoder(self.loss)
        return [
            Attempt(
                Fitted(self.loss, encoder, t.params, t.recipe, t.network_state),
                t.status,
                t.finite and bool(t.history["epoch"]),
                t.history,
            )
            for t in trained
        ]

    def recipe(self, bench: Bench, setting: Setting) -> dict[str, Any]:
        """The recipe of the run."""
        return {"recipe": self._recipe(bench, setting).to_json()}

    def _recipe(self, bench: Bench, setting: Setting) -> Any:
        from minimand.networks import MLP
        from minimand.optimizers import Adam
        from minimand.schedules import Exponential
        from minimand.training import Recipe

        rows = len(bench.X)
        batch = int(np.clip(2 ** round(np.log2(rows / 50)), 16, 256))
        epochs, patience = (200, 20) if rows < MANY_ROWS else (20, 4)
        halving = epochs / 10 * np.ceil(0.9 * rows / batch)
        return Recipe(
            MLP(hidden=(100,), outputs=bench.outputs(self.loss)),
            self.loss,
            Adam(learning_rate=setting["learning_rate"]),
            setting["penalty"],
            Exponential(decay_rate=0.5, decay_steps=halving),
            batch_size=batch,
            epochs=epochs,
            patience=patience,
        )


MODELS: dict[str, type[Candidate]] = {"linear": Affine, "mlp": Perceptrons}


def watched_tenth(rows: np.ndarray, seed: int) -> Fold:
    """The rows split into nine tenths to descend on and one tenth to watch."""
    order = np.random.default_rng(seed).permutation(rows)
    watched = max(1, len(rows) // 10)
    return Fold(np.sort(order[watched:]), np.sort(order[:watched]))
