"""Paths of strengths: peers' solutions along them, where they begin and where they end."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import scipy.sparse
import statsmodels.api as sm
from sklearn import datasets
from sklearn.linear_model import LogisticRegression, Ridge, enet_path

from minimand.budget import Budget
from minimand.errors import ArgumentError
from minimand.losses import CrossEntropy, HalfSquared, Logistic, Loss, Poisson, Squared
from minimand.penalties import L1, L2, ElasticNet, Group, Penalty
from minimand.solvers import Objective, minimise
from minimand.solvers.path import Path, path
from minimand.solvers.proximal_newton import ProximalNewton

NEWTON = ProximalNewton()


@cache
def load(name: str) -> tuple[np.ndarray, np.ndarray]:
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    return X, 2.0 * y - 1 if name == "breast_cancer" else y


@pytest.mark.parametrize(("penalty", "ratio"), [(L1(), 1.0), (ElasticNet(l1_ratio=0.4), 0.4)])
def test_a_path_is_that_of_scikit_learn(penalty: Penalty, ratio: float) -> None:
    X, y = load("diabetes")
    found = path(Objective(HalfSquared(), penalty), X, y, count=20, solver=NEWTON)
    alphas, coefs, _ = enet_path(
        X, y - y.mean(), l1_ratio=ratio, eps=1e-3, alphas=20, tol=1e-14, max_iter=10**6
    )
    np.testing.assert_allclose(found.strengths, alphas[: len(found)], rtol=1e-9)
    assert found.coefs.shape == (len(found), 10, 1)
    np.testing.assert_allclose(found.coefs[:, :, 0], coefs.T[: len(found)], atol=1e-5)


@pytest.mark.parametrize(
    ("loss", "penalty", "name"),
    [
        (Squared(), L1(), "diabetes"),
        (Logistic(), L1(), "breast_cancer"),
        (Logistic(), ElasticNet(l1_ratio=0.2), "breast_cancer"),
        (Logistic(), Group(groups=tuple(np.arange(30) // 3)), "breast_cancer"),
        (Poisson(), L1(), "diabetes"),
        (CrossEntropy(), L1(), "iris"),
    ],
    ids=str,
)
def test_every_solution_is_the_one_from_nothing(loss: Loss, penalty: Penalty, name: str) -> None:
    X, y = load(name)
    found = path(Objective(loss, penalty), X, y, count=8, ratio=0.01, solver=NEWTON)
    assert not np.any(found.coefs[0]) and np.any(found.coefs[1])
    assert np.all(np.diff(found.strengths) < 0)
    for strength, solution in zip(found.strengths, found, strict=True):
        assert solution.converged, solution.status
        made = type(penalty)(**{**vars(penalty), "strength": strength})
        alone = NEWTON.minimise(Objective(loss, made), X, y)
        assert solution.value == pytest.approx(alone.value, rel=2e-6)
        np.testing.assert_allclose(
            solution.params["output"]["kernel"],
            alone.params["output"]["kernel"],
            atol=2e-3 * np.max(np.abs(found.coefs)),
        )


def test_ridge_begins_at_a_thousandth_of_a_lasso_and_agrees_with_scikit_learn() -> None:
    X, y = load("diabetes")
    found = path(Objective(HalfSquared(), L2()), X, y, count=7)
    top = np.max(np.abs(X.T @ (y - y.mean()))) / len(y)
    assert found.strengths[0] == pytest.approx(1000 * top)
    for strength, coef in zip(found.strengths, found.coefs, strict=True):
        peer = Ridge(strength * len(y), solver="svd").fit(X, y)
        np.testing.assert_allclose(coef[:, 0], peer.coef_, rtol=1e-6)


def test_weights_offsets_and_sparse_data_go_along() -> None:
    X, y = load("breast_cancer")
    X = np.where(np.abs(X) > 1, X, 0.0)
    rng = np.random.default_rng(0)
    weight, offset = rng.uniform(0, 2, len(y)), rng.normal(size=len(y))
    objective = Objective(Logistic(), L1())
    strengths = [0.02, 0.1]
    dense = path(objective, X, y, weight, offset=offset, strengths=strengths, solver=NEWTON)
    sparse = path(
        objective,
        scipy.sparse.csc_array(X),
        y,
        weight,
        offset=offset,
        strengths=strengths,
        solver="proximal_newton",
    )
    assert dense.strengths.tolist() == [0.1, 0.02]
    np.testing.assert_allclose(dense.coefs, sparse.coefs, atol=1e-6)
    alone = minimise(Objective(Logistic(), L1(0.02)), X, y, weight, offset=offset, solver=NEWTON)
    np.testing.assert_allclose(dense.coefs[-1], alone.params["output"]["kernel"], atol=1e-6)


def test_the_share_explained_is_r_squared() -> None:
    X, y = load("diabetes")
    found = path(Objective(Squared(), L1()), X, y, count=10, solver=NEWTON)
    for solution, share in zip(found, found.explained, strict=True):
        residual = y - solution.scores(X)
        assert share == pytest.approx(1 - residual.var() / y.var(), abs=1e-9)


def test_the_share_explained_of_a_count_is_of_the_deviance() -> None:
    """scikit-learn's d2_tweedie_score with power 1."""
    from sklearn.metrics import d2_tweedie_score

    X, y = load("diabetes")
    y = np.round(y / 40)
    assert np.any(y == 1)
    found = path(Objective(Poisson(), L1()), X, y, count=5, solver=NEWTON)
    for solution, share in zip(found, found.explained, strict=True):
        expected = d2_tweedie_score(y, np.exp(solution.scores(X)), power=1)
        assert share == pytest.approx(expected, abs=1e-9)


def test_a_path_ends_when_all_is_explained() -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(50, 5))
    found = path(Objective(Squared(), L1()), X, X[:, 0] - X[:, 1], count=200, solver=NEWTON)
    assert len(found) < 200 and found.explained[-1] > 0.999
    assert "little is left" in found.status


def test_fewer_rows_than_columns_end_a_path_sooner() -> None:
    rng = np.random.default_rng(2)
    y = rng.normal(size=20)
    for columns, ratio in ((10, 1e-3), (40, 1e-2)):
        X = rng.normal(size=(20, columns))
        found = path(Objective(HalfSquared(), L1()), X, y, count=4, solver=NEWTON)
        assert found.strengths[-1] / found.strengths[0] == pytest.approx(ratio)


def test_strong_penalties_of_a_logistic_path_are_those_of_scikit_learn() -> None:
    """C = 1 / (n λ): no slope is left just where liblinear's and ours begin."""
    X, y = load("breast_cancer")
    objective = Objective(Logistic(), L1(), intercept=False)
    top = path(objective, X, y, count=1, solver=NEWTON).strengths[0]
    for factor, empty in ((1.001, True), (0.99, False)):
        peer = LogisticRegression(
            C=1 / (factor * top * len(y)),
            l1_ratio=1.0,
            solver="liblinear",
            fit_intercept=False,
            tol=1e-8,
            max_iter=10_000,
        )
        assert (not np.any(peer.fit(X, y).coef_)) == empty


def test_a_path_reads_and_tells() -> None:
    X, y = load("diabetes")
    found = path(Objective(Squared(), L1()), X, y, strengths=(1.0, 30.0), solver=NEWTON)
    assert isinstance(found, Path) and len(found) == 2
    assert [s.value for s in found] == [found[0].value, found[1].value]
    text = found.summary()
    assert "strength" in text and "30" in text and "of the optimum" in text
    assert text.endswith("the whole path of 2 strengths")


def test_a_budget_ends_a_path() -> None:
    budget = Budget()
    budget.interrupted = True
    found = path(Objective(Squared(), L1()), *load("diabetes"), solver=NEWTON, budget=budget)
    assert len(found) == 1 and "Ctrl-C" in found.status


@pytest.mark.parametrize(
    "wrong", [{"ratio": 2.0}, {"count": 0}, {"strengths": [-1.0]}, {"strengths": []}]
)
def test_senseless_arguments_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ArgumentError):
        path(Objective(Squared(), L1()), *load("diabetes"), **wrong)  # type: ignore[arg-type]


def test_a_solver_that_does_not_suit_is_refused() -> None:
    with pytest.raises(ArgumentError, match="cannot minimise"):
        path(Objective(Squared(), L1()), *load("diabetes"), solver="newton")


def test_a_path_beside_an_offset_begins_where_the_constant_model_ends() -> None:
    """The strongest penalty and the share explained are those of a constant beside the offset."""
    random = np.random.default_rng(0)
    X, offset = random.normal(size=(200, 6)), 2 * random.normal(size=200)
    y = random.poisson(np.exp(offset + 0.3 * X[:, 0])).astype(float)
    found = path(Objective(Poisson(), L1()), X, y, offset=offset, count=6)
    null = sm.GLM(y, np.ones(200), family=sm.families.Poisson(), offset=offset).fit(tol=1e-14)
    strongest = np.max(np.abs(X.T @ (y - null.mu))) / 200
    assert found.strengths[0] == pytest.approx(strongest, rel=1e-8)
    mean = np.exp(found[-1].scores(X, offset))
    deviance = 2 * np.sum(np.where(y > 0, y * np.log(np.where(y > 0, y, 1.0) / mean), 0) - y + mean)
    assert found.explained[-1] == pytest.approx(1 - deviance / null.null_deviance, abs=1e-6)
