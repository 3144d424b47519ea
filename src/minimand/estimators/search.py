"""`SearchCV`: a study's search in the place of scikit-learn's `GridSearchCV`."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from joblib import (  # type: ignore[import-untyped, unused-ignore]
    effective_n_jobs,
    parallel_config,
)
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils import check_random_state

from minimand.arrays import Array
from minimand.budget import Budget
from minimand.data.splits import Fold
from minimand.errors import ArgumentError
from minimand.estimators.network import NetworkEstimator
from minimand.estimators.together import Place, Wish, giving, populations, together, wishes

if TYPE_CHECKING:
    from minimand.training import Trained
    from minimand.tuning.pruning import ByFolds
    from minimand.tuning.selection import Selected
    from minimand.tuning.study import Study
    from minimand.tuning.trial import Asked, Outcome

BATCH = 16
"""How many settings of a network are proposed and trained together."""
Results = Mapping[str, Any]
Evaluate = Callable[[Sequence[Mapping[str, Any]]], Results]
Outcomes = Callable[[Sequence[Mapping[str, Any]]], "Sequence[Outcome]"]


class SearchCV(BaseSearchCV):  # type: ignore[misc]
    """Search parameters by cross-validation, and choose among the best by runs with fresh seeds.

    It takes the place of scikit-learn's searches: names such as `step__parameter`, `cv_results_`,
    `best_estimator_`, several metrics, sample weights and metadata routing are as there. A network
    of minimand, alone or at the end of a pipeline, is trained for many settings and all folds as
    members of one program, with the scores that one fit after the other would give.

    After `fit` there are also `study_` (see `minimand.tuning.Study`; one in memory stays behind
    when the search is pickled) and `selected_` (see `minimand.tuning.Selected`): the row that
    `best_index_` names is its choice, which need not be the greatest noisy mean. `cv_results_`
    holds stored trials first, without times.

    Args:
        estimator: any estimator of scikit-learn's kind.
        space: from the name of a parameter to `Float`, `Int` or `Choice`, to a list of values, or
            to SciPy's `uniform`, `loguniform` or `randint`.
        sampler: "tpe", "random", "sobol", "grid", "gp", "cma-es", or a sampler of Optuna.
        trials: how many settings in all.
        pruning: end poor settings of a network after few epochs, by successive halving, by
            Hyperband, or by ASHA; the table shows what they were worth then.
        seeds: with how many fresh seeds the finalists run again, if the estimator has a
            `random_state`; 0: none.
        budget: seconds after which the search ends with what it has. Ctrl-C does the same.
        storage: None (memory), a file, or the URL of a database where the study goes on.
        study_name: of the study in the storage.
        scoring: as in `GridSearchCV`; of several metrics the study follows the one of `refit`.
        n_jobs: how many fits at a time; for networks how many members, by default all cores.
        refit: as in `GridSearchCV`.
        cv: as in `GridSearchCV`; every setting gets the same folds.
        random_state: decides what is proposed and the fresh seeds.
        verbose: as in `GridSearchCV`.
        pre_dispatch: as in `GridSearchCV`.
        error_score: as in `GridSearchCV`.
        return_train_score: as in `GridSearchCV`.

    >>> from minimand.estimators import LinearClassifier
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> space = {"penalty__strength": [1e-4, 1e-2, 1.0]}
    >>> search = SearchCV(LinearClassifier(), space, sampler="grid").fit(X, y)
    >>> search.best_params_, search.score(X, y) > 0.95
    ({'penalty__strength': 0.0001}, True)
    """

    def __init__(
        self,
        estimator: Any,
        space: Mapping[str, Any],
        *,
        sampler: Any = "tpe",
        trials: int = 64,
        pruning: Literal[None, "halving", "hyperband", "asha"] = None,
        seeds: int = 3,
        budget: float | None = None,
        storage: Any = None,
        study_name: str = "study",
        scoring: Any = None,
        n_jobs: int | None = None,
        refit: Any = True,
        cv: Any = None,
        random_state: Any = None,
        verbose: int = 0,
        pre_dispatch: int | str = "2*n_jobs",
        error_score: Any = np.nan,
        return_train_score: bool = False,
    ) -> None:
        super().__init__(
            estimator,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.space = space
        self.sampler = sampler
        self.trials = trials
        self.pruning = pruning
        self.seeds = seeds
        self.budget = budget
        self.storage = storage
        self.study_name = study_name
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Search on rows X [n, p] and targets y [n], and fit the choice to all of them.

        Raises:
            ArgumentError: a space, a sampler or a storage that cannot be used.
            SolverError: no setting could be fitted on all folds.
            ValueError: nothing could be fitted, as in scikit-learn.
        """
        self._run = _Run()
        try:
            with parallel_config("sequential") if self._networks else nullcontext():
                super().fit(X, y, **params)
            self.study_: Study = self._run.study
            return self
        finally:
            del self._run
            self.__dict__.pop("_checked_cv_orig", None)

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__().copy()
        state.pop("_run", None)
        if "study_" in state and self.study_.storage is None:
            del state["study_"]
        return state

    @property
    def _last(self) -> Any:
        """The estimator at the end of a pipeline, or else the only one."""
        return getattr(self.estimator, "_final_estimator", self.estimator)

    @property
    def _networks(self) -> bool:
        """Whether settings can be trained together."""
        return isinstance(self._last, NetworkEstimator)

    def _get_routed_params_for_fit(self, params: Any) -> Any:
        routed = super()._get_routed_params_for_fit(params)
        self._run.params = routed.estimator.fit
        return routed

    def _check_input_parameters(self, X: Any, y: Any, split_params: Any) -> None:
        """Called by `fit` before anything is fitted: from here on the folds stay as they are."""
        run = self._run
        run.X, run.y = X, y
        splitter: Any = self._checked_cv_orig
        run.folds = [Fold(*fold) for fold in splitter.split(X, y, **split_params)]
        self._checked_cv_orig: Any = _Fixed(run.folds)

    def _run_search(self, evaluate_candidates: Evaluate) -> None:
        from minimand.estimators.dimensions import dimensions
        from minimand.tuning.selection import select
        from minimand.tuning.study import Study

        run, random = self._run, check_random_state(self.random_state)
        if self.storage is not None and isinstance(self.scoring, list | tuple | dict):
            raise ArgumentError("a storage keeps one score of a fold; give one scoring, or none")
        seed, *fresh = random.randint(2**31 - 1, size=1 + self.seeds).tolist()
        run.study = study = Study(
            dimensions(self.space),
            storage=self.storage,
            name=self.study_name,
            sampler=self.sampler,
            direction="maximize",
            seed=seed,
        )
        run.known = [
            (t.number, dict(t.setting), t.scores)
            for t in study.trials
            if len(t.scores) == len(run.folds)
        ]
        self._fill(study, evaluate_candidates)
        names = [name for name in self.estimator.get_params() if _is_seed(name)]
        again = bool(fresh and names and not set(names) & set(self.space))

        def rerun(settings: Sequence[Mapping[str, Any]], seeds: Sequence[int]) -> Array:
            run.shown = len(run.numbers)
            seeded = [s | dict.fromkeys(names, seed) for s in map(dict, settings) for seed in seeds]
            return self._scores(seeded, evaluate_candidates).reshape(len(settings), -1)

        self.selected_: Selected = select(
            [trial for trial in study.trials if trial.number in run.rows],
            rerun if again else None,
            direction="maximize",
            folds=run.folds,
            seeds=fresh or [0],
        )

    def _fill(self, study: Study, evaluate_candidates: Evaluate) -> None:
        """Ask, fit and tell until the study has its trials, or the budget is spent."""
        run = self._run
        outcomes, batch = self._evaluation(study, evaluate_candidates)
        with Budget(self.budget) as budget:
            while asked := study.ask(batch, limit=self.trials):
                try:
                    found = self._tried(asked, outcomes)
                except BaseException:
                    for one in asked:
                        study.release(one)
                    raise
                for one, outcome in zip(asked, found, strict=True):
                    study.tell(one, *outcome)
                if budget.spent():
                    break
        if not run.numbers:  # scikit-learn needs one at least, so the last comes first again
            number, setting, _ = run.known.pop()
            run.numbers = [number]
            self._scores([setting], evaluate_candidates)

    def _evaluation(self, study: Study, evaluate: Evaluate) -> tuple[Outcomes, int]:
        """(what gives the outcome of each setting, how many settings it takes at a time)."""
        from minimand.tuning.pruning import pruned
        from minimand.tuning.trial import Outcome

        if self.pruning is None:
            batch = BATCH if self._networks else effective_n_jobs(self.n_jobs)
            return lambda settings: list(map(Outcome, self._scores(settings, evaluate))), batch
        if not self._networks:
            raise ArgumentError(
                f"pruning='{self.pruning}' ends networks after few epochs, and "
                f"{type(self._last).__name__} is none; leave pruning out"
            )
        start = partial(self._start, evaluate=evaluate)
        return pruned(self.pruning, start, self._last.max_iter, study, BATCH)

    def _tried(self, asked: Sequence[Asked], outcomes: Outcomes) -> Sequence[Outcome]:
        """What came of each; where nothing at all could be fitted, `error_score`."""
        from minimand.tuning.trial import Outcome

        run, settings = self._run, [dict(one.setting) for one in asked]
        try:
            found = outcomes(settings)
        except ValueError as error:
            if not run.numbers or "fits failed" not in str(error):
                raise
            warnings.warn(str(error), FitFailedWarning, stacklevel=2)
            scores = np.full(len(run.folds), float(self.error_score))
            run.known += [(a.number, s, scores) for a, s in zip(asked, settings, strict=True)]
            return [Outcome(scores)] * len(asked)
        run.numbers += [one.number for one in asked]
        return found

    def _scores(self, settings: Sequence[Mapping[str, Any]], evaluate: Evaluate) -> Array:
        """[settings, folds] test scores, networks trained together."""
        if not self._networks:
            return self._judged(settings, evaluate)
        _, wanted = self._wishes(settings)
        ready = together(wanted, self.n_jobs)
        return self._judged(settings, evaluate, list(zip(wanted, ready, strict=True)))

    def _start(self, settings: Sequence[Mapping[str, Any]], evaluate: Evaluate) -> ByFolds:
        """The networks of these settings, to be trained epoch by epoch."""
        from minimand.tuning.pruning import ByFolds

        places, wanted = self._wishes(settings)
        parts = [
            (population, [places[number] for number in group])
            for population, group in populations(wanted, self.n_jobs)
        ]

        def score(networks: Mapping[Place, Trained]) -> Array:
            ready = [networks.get(place) for place in places]
            return self._judged(settings, evaluate, list(zip(wanted, ready, strict=True)))

        return ByFolds(len(settings), len(self._run.folds), parts, score)

    def _judged(
        self,
        settings: Sequence[Mapping[str, Any]],
        evaluate: Evaluate,
        networks: Sequence[tuple[Wish, Trained | None]] = (),
    ) -> Array:
        """[settings, folds] test scores, by the metric of `refit` if there are several.

        `networks` are ready when their estimators are fitted.
        """
        run = self._run
        if networks:
            run.share = (time.perf_counter() - run.begun) / (len(settings) * len(run.folds))
        with giving(networks):
            results = evaluate(settings)
        if run.shown is not None:
            results = run.again
        means = [name for name in results if name.startswith("mean_test_")]
        metric = self.refit if isinstance(self.refit, str) else means[0].removeprefix("mean_test_")
        folds = [results[f"split{k}_test_{metric}"] for k in range(len(run.folds))]
        return np.column_stack(folds)[-len(settings) :]

    def _wishes(self, settings: Sequence[Mapping[str, Any]]) -> tuple[list[Place], list[Wish]]:
        """The networks that these settings need, each with its setting and its fold."""
        run = self._run
        run.begun = time.perf_counter()
        return wishes(self.estimator, settings, run.X, run.y, run.folds, run.params)

    def _format_results(
        self, candidate_params: Any, n_splits: int, out: Any, more_results: Any = None
    ) -> Results:
        """`cv_results_`: trials from elsewhere first, and without the runs with fresh seeds."""
        run = self._run
        for one in out[run.timed :]:
            one["fit_time"] += run.share
        run.timed = len(out)
        if run.shown is not None:
            cut = run.shown
            run.again = super()._format_results(
                candidate_params[cut:], n_splits, out[cut * n_splits :]
            )
            candidate_params, out = candidate_params[:cut], out[: cut * n_splits]
        settings = [setting for _, setting, _ in run.known] + list(candidate_params)
        known = [_out(score, out[0]) for _, _, scores in run.known for score in scores]
        results: Results = super()._format_results(settings, n_splits, known + out, more_results)
        return results

    def _select_best_index(self, refit: Any, refit_metric: str, results: Results) -> int:  # type: ignore[override, unused-ignore]
        if callable(refit):
            return int(super()._select_best_index(refit, refit_metric, results))
        return self._run.rows.index(self.selected_.trial.number)


@dataclass
class _Run:
    """What one call of `fit` works on.

    `known` are trials that this call has no fits of (number, setting, scores); `numbers` are those
    of the trials it has fitted, `shown` how many of its candidates are trials.
    """

    X: Any = None
    y: Any = None
    params: Any = None
    folds: list[Fold] = field(default_factory=list)
    study: Any = None
    known: list[tuple[int, dict[str, Any], Array]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    shown: int | None = None
    again: Results = field(default_factory=dict)
    begun: float = 0.0
    share: float = 0.0
    timed: int = 0

    @property
    def rows(self) -> list[int]:
        """The number of the trial in every row of `cv_results_`."""
        return [number for number, _, _ in self.known] + self.numbers


class _Fixed:
    """A splitter whose folds are known."""

    def __init__(self, folds: Sequence[Fold]) -> None:
        self._folds = folds

    def get_n_splits(self, *args: Any, **params: Any) -> int:
        return len(self._folds)

    def split(self, *args: Any, **params: Any) -> Any:
        return ((fold.train, fold.test) for fold in self._folds)


def _is_seed(name: str) -> bool:
    return name.rpartition("__")[2] == "random_state"


def _out(score: float, like: Mapping[str, Any]) -> dict[str, Any]:
    """What scikit-learn would have of a fit that gave this score."""
    made: dict[str, Any] = dict.fromkeys(like, np.nan) | {"fit_error": None}
    for name in {"test_scores", "train_scores"} & made.keys():
        value = score if name == "test_scores" else np.nan
        parts = like[name]
        made[name] = dict.fromkeys(parts, value) if isinstance(parts, dict) else value
    return made
