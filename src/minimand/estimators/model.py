"""What linear models share: coefficients with a certificate, or learnt part by part."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from minimand.arrays import Array
from minimand.component import Component
from minimand.errors import ArgumentError
from minimand.estimators.base import Estimator
from minimand.estimators.libraries import on_host
from minimand.inference import Inference, infer
from minimand.losses import Loss
from minimand.solvers import Objective, Solution, Solver, minimise
from minimand.solvers.streaming import Stream

Problems = list[tuple[Loss, Array]]
"""The loss and the target of every problem that one fit solves."""


class LinearModel(Estimator):
    """An affine score X W + b whose coefficients come with a certificate.

    After `fit`: `coef_`, `intercept_`, `n_iter_`, `certificate_` (how far from the optimum, at
    most) and `solution_` (all the evidence; a tuple where several problems were solved). Nothing
    keeps the data. After `partial_fit`, `streams_` take the place of the last two, and `n_iter_`
    counts the calls.
    """

    streams_: tuple[Stream, ...]
    _streams: ClassVar[bool] = True
    """Whether it learns from parts of the data."""

    @property
    def _components(self) -> dict[str, type[Component]]:
        return super()._components | {"solver": Solver}

    def summary(self) -> str:
        """How the fit ended and what proves it, in sentences."""
        check_is_fitted(self, "solution_")
        return "\n".join(solution.summary() for solution in self._solved())

    def _inferred(self, loss: Loss, *data: Any, **options: Any) -> Inference:
        """`infer` with what this fit knows by itself."""
        check_is_fitted(self, "solution_")
        if isinstance(self.solution_, tuple):
            raise ArgumentError(
                f"{len(self.solution_)} problems were solved apart (several quantiles, or each "
                f"class against the rest); fit them one at a time for inference"
            )
        known = {"intercept": self.fit_intercept, "penalty": self._chosen_penalty()}
        if hasattr(self, "feature_names_in_"):
            known["names"] = self.feature_names_in_.tolist()
        X, y, *rest = data
        return infer(loss, X, y, self.solution_.params, *rest, **known | options)

    def _objective(self, loss: Loss) -> Objective:
        return Objective(loss, self._chosen_penalty(), self.fit_intercept)

    def _chosen_solver(self) -> Any:
        return self._component("solver") or "auto"

    def _solve(
        self, problems: Problems, X: Array, weight: Array | None, offset: Array | None
    ) -> None:
        """Solve one problem after another and keep what comes out."""
        solver, starts = self._chosen_solver(), self._starts(len(problems), X.shape[1])
        self._keep(
            [
                minimise(
                    self._objective(loss),
                    *(X, y, weight),
                    offset=offset,
                    start=start,
                    solver=solver,
                )
                for (loss, y), start in zip(problems, starts, strict=True)
            ]
        )

    def _starts(self, problems: int, columns: int) -> list[Any]:
        """Where to start each problem: at the last fit's answer if that is asked for and fits."""
        if self.warm_start and hasattr(self, "solution_"):
            starts = [solution.params for solution in self._solved()]
            if len(starts) == problems and len(starts[0]["output"]["kernel"]) == columns:
                return starts
        return [None] * problems

    def _solved(self) -> tuple[Solution, ...]:
        return self.solution_ if isinstance(self.solution_, tuple) else (self.solution_,)

    def _keep(self, solutions: Sequence[Solution]) -> None:
        """Keep the evidence of the solutions and the coefficients of all of them together."""
        for solution in solutions:
            if not solution.converged:
                warnings.warn(solution.status, ConvergenceWarning, stacklevel=4)
        if hasattr(self, "streams_"):
            del self.streams_
        self.solution_ = tuple(solutions) if len(solutions) > 1 else solutions[0]
        self.certificate_ = max((s.certificate for s in solutions), key=lambda c: c.value)
        self.n_iter_ = max(max(1, len(s.history["value"]) - 1) for s in solutions)
        self._show(solutions)

    def _learn(
        self, problems: Problems, X: Array, weight: Array | None, offset: Array | None, outputs: int
    ) -> None:
        """Take in more rows of every problem."""
        if hasattr(self, "solution_"):
            del self.solution_, self.certificate_
            warnings.warn(
                "fit keeps nothing that partial_fit could go on from, so that these rows are the "
                "first; give all parts of the data to partial_fit",
                stacklevel=3,
            )
        if not hasattr(self, "streams_"):
            self.streams_ = tuple(Stream(self._objective(loss), outputs) for loss, _ in problems)
        for stream, (_, y) in zip(self.streams_, problems, strict=True):
            stream.learn(X, y, weight, offset)
        self.n_iter_ = self.streams_[0].parts
        self._show(self.streams_)

    def _show(self, solutions: Sequence[Any]) -> None:
        """Set `coef_` and `intercept_`."""
        layers = [solution.params["output"] for solution in solutions]
        kernel = np.hstack([layer["kernel"] for layer in layers])
        self._set_coefficients(kernel, np.concatenate([layer["bias"] for layer in layers]))

    def _set_coefficients(self, kernel: Array, bias: Array) -> None:
        """Set `coef_` and `intercept_` of W [p, K] and b [K]."""
        raise NotImplementedError

    def _scores(self, X: Array) -> Array:
        return X @ on_host(self.coef_).T + on_host(self.intercept_)
