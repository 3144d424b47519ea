"""Parameters on real data of other fields, against scikit-learn and statsmodels: to 1e-6."""

from __future__ import annotations

import tarfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.sparse import csr_array
from scipy.stats import rankdata
from sklearn import linear_model
from statsmodels.genmod import families

from minimand.losses import (
    CrossEntropy,
    Gamma,
    HalfSquared,
    HuberWithScale,
    Logistic,
    Loss,
    Poisson,
    Quantile,
    Tweedie,
)
from minimand.penalties import L1, L2, ElasticNet, Penalty
from minimand.solvers import Objective, minimise

Array = Any
Shared = Callable[[str], Path]
NO_PENALTY = L2(0.0)


def agrees(
    loss: Loss, penalty: Penalty, X: Any, y: Array, slopes: Any, bias: Any, **given: Any
) -> None:
    """The solution has these slopes and intercepts, each to 1e-6 of itself or of the largest."""
    solution = minimise(Objective(loss, penalty), X, y, **given)
    assert solution.converged, solution.summary()
    layer = solution.params["output"]
    size = np.sqrt(np.square(X).mean(axis=0))[:, None]
    kernel, expected = layer["kernel"] * size, np.reshape(slopes, layer["kernel"].shape) * size
    np.testing.assert_allclose(kernel, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())
    np.testing.assert_allclose(layer["bias"] - layer["bias"].mean() * (len(size[0]) > 1),
                               np.ravel(bias), rtol=1e-6)  # fmt: skip


def best_line(x: Array, y: Array, level: float) -> tuple[float, float]:
    """(intercept, slope) of the quantile line, which goes through two points: the best of all."""
    i, j = np.triu_indices(len(y), 1)
    apart = x[i] != x[j]
    i, j = i[apart], j[apart]
    slopes = (y[i] - y[j]) / (x[i] - x[j])
    intercepts = y[i] - slopes * x[i]
    best, found = np.inf, (0.0, 0.0)
    for some in np.array_split(np.arange(len(i)), 200):
        r = y - intercepts[some, None] - slopes[some, None] * x
        costs = np.mean(np.where(r > 0, level * r, (level - 1) * r), axis=1)
        if costs.min() < best:
            best, at = costs.min(), some[costs.argmin()]
            found = float(intercepts[at]), float(slopes[at])
    return found


@pytest.mark.parametrize("level", [0.1, 0.25, 0.5, 0.75, 0.9])
def test_engel_s_lines_are_those_through_two_households(level: float, shared_data: Shared) -> None:
    data = np.loadtxt(shared_data("quantile/engel.csv"), delimiter=",", skiprows=1)
    intercept, slope = best_line(data[:, 0], data[:, 1], level)
    agrees(Quantile(level), NO_PENALTY, data[:, :1], data[:, 1], slope, intercept)


def bikes(shared_data: Shared) -> tuple[Array, Array]:
    days = pd.read_csv(shared_data("bike_sharing/day.csv"))
    names = ["yr", "holiday", "workingday", "temp", "hum", "windspeed"]
    X = np.column_stack([days[names], pd.get_dummies(days["season"], drop_first=True)])
    return X.astype(float), days["cnt"].to_numpy(float)


@pytest.mark.parametrize(
    ("loss", "family"),
    [
        (HalfSquared(), families.Gaussian()),
        (Poisson(), families.Poisson()),
        (Gamma(), families.Gamma(families.links.Log())),
    ],
    ids=["normal", "Poisson", "gamma"],
)
def test_bikes_as_generalised_linear_models(loss: Loss, family: Any, shared_data: Shared) -> None:
    X, y = bikes(shared_data)
    peer = sm.GLM(y, sm.add_constant(X), family=family).fit(tol=1e-14, maxiter=200)
    agrees(loss, NO_PENALTY, X, y, peer.params[1:], peer.params[0])


@pytest.mark.parametrize("power", [1.3, 1.5])
def test_claims_by_exposure(power: float, shared_data: Shared) -> None:
    claims = pd.read_csv(shared_data("insurance/beMTPL97.csv.gz"), nrows=20_000)
    X = claims[["ageph", "bm", "power", "agec"]].to_numpy(float)
    offset, y = np.log(claims["expo"].to_numpy()), claims["amount"].to_numpy() / 1000
    family = families.Tweedie(families.links.Log(), var_power=power)
    peer = sm.GLM(y, sm.add_constant(X), family=family, offset=offset).fit(tol=1e-14, maxiter=200)
    agrees(Tweedie(power=power), NO_PENALTY, X, y, peer.params[1:], peer.params[0], offset=offset)


def test_counts_of_claims_by_exposure(shared_data: Shared) -> None:
    claims = pd.read_csv(shared_data("insurance/beMTPL97.csv.gz"))
    X = claims[["ageph", "bm", "power", "agec", "long", "lat"]].to_numpy(float)
    offset, y = np.log(claims["expo"].to_numpy()), claims["nclaims"].to_numpy(float)
    peer = sm.GLM(y, sm.add_constant(X), family=families.Poisson(), offset=offset).fit(tol=1e-14)
    given = {"offset": offset, "solver": "newton"}  # by itself it ends at 1e-7 of the objective
    agrees(Poisson(), NO_PENALTY, X, y, peer.params[1:], peer.params[0], **given)


def scans(shared_data: Shared) -> tuple[Array, Array]:
    table = pd.read_csv(shared_data("imbalanced/mammography.csv.gz"), header=None)
    return table.iloc[:, :6].to_numpy(float), np.where(table[6].astype(str) == "'1'", 1.0, -1.0)


def test_one_scan_in_forty_by_the_likelihood(shared_data: Shared) -> None:
    X, y = scans(shared_data)
    peer = sm.Logit((y + 1) / 2, sm.add_constant(X)).fit(disp=0, method="newton", tol=1e-14)
    agrees(Logistic(), NO_PENALTY, X, y, peer.params[1:], peer.params[0])


def test_one_scan_in_forty_with_an_l1_penalty(shared_data: Shared) -> None:
    """scikit-learn minimises C Σ ℓ + ‖w‖₁, and penalises no intercept with this solver."""
    X, y = scans(shared_data)
    peer = linear_model.LogisticRegression(
        l1_ratio=1, C=1 / (0.002 * len(y)), solver="saga", tol=1e-13, max_iter=100_000
    ).fit(X, y)
    agrees(Logistic(), L1(0.002), X, y, peer.coef_, peer.intercept_)


@pytest.mark.parametrize("form", [np.asarray, csr_array], ids=["dense", "sparse"])
def test_incomes_by_one_hot_columns(form: Any, shared_data: Shared) -> None:
    table = pd.read_csv(shared_data("adult/adult-train.csv.gz"), header=None, nrows=8000)
    X = pd.get_dummies(table[[1, 3, 5, 6, 7, 8, 9]]).to_numpy(float)
    y = np.where(table[14].str.strip() == ">50K", 1.0, -1.0)
    peer = linear_model.LogisticRegression(
        C=1 / (1e-4 * len(y)), solver="newton-cholesky", tol=1e-12
    ).fit(X, y)
    solution = minimise(Objective(Logistic(), L2(1e-4)), form(X), y)
    layer = solution.params["output"]
    assert solution.converged, solution.summary()
    scale = 1e-6 * np.abs(peer.coef_).max()
    np.testing.assert_allclose(layer["kernel"][:, 0], peer.coef_[0], rtol=1e-6, atol=scale)
    np.testing.assert_allclose(layer["bias"], peer.intercept_, rtol=1e-6, atol=scale)


def houses(shared_data: Shared) -> tuple[Array, Array]:
    with tarfile.open(shared_data("california_housing/housing.tgz")) as archive:
        file = archive.extractfile("housing/housing.csv")
        assert file is not None
        table = pd.read_csv(file).dropna()
    X = table.drop(columns=["median_house_value", "ocean_proximity"]).to_numpy(float)
    return (X - X.mean(axis=0)) / X.std(axis=0), table["median_house_value"].to_numpy() / 1e5


@pytest.mark.parametrize("share", [1.0, 0.5])
@pytest.mark.parametrize("strength", [0.1, 0.01, 0.001])
def test_houses_along_an_elastic_net(strength: float, share: float, shared_data: Shared) -> None:
    X, y = houses(shared_data)
    peer = linear_model.ElasticNet(strength, l1_ratio=share, tol=1e-14, max_iter=10**6).fit(X, y)
    penalty = ElasticNet(strength, share)
    agrees(HalfSquared(), penalty, X, y, peer.coef_, peer.intercept_)


def test_houses_by_least_squares(shared_data: Shared) -> None:
    X, y = houses(shared_data)
    peer = sm.OLS(y, sm.add_constant(X)).fit()
    agrees(HalfSquared(), NO_PENALTY, X, y, peer.params[1:], peer.params[0])


def test_the_outliers_of_hawkins_bradu_and_kass(shared_data: Shared) -> None:
    """scikit-learn minimises Σ (σ + H(r / σ) σ) + α ‖w‖²."""
    data = pd.read_csv(shared_data("robust/hbk.csv")).to_numpy(float)[:, 1:]
    X, y = data[:, :3], data[:, 3]
    peer = linear_model.HuberRegressor(alpha=0.0, tol=1e-12, max_iter=100_000).fit(X, y)
    agrees(HuberWithScale(epsilon=1.35), NO_PENALTY, X, y, peer.coef_, peer.intercept_)


def test_ratings_of_wine_as_five_classes(shared_data: Shared) -> None:
    wine = pd.read_csv(shared_data("ordinal/wine.csv"))
    X = np.column_stack([wine["temp"] == "warm", wine["contact"] == "yes"]).astype(float)
    y = (rankdata(wine["rating"], method="dense") - 1).astype(int)
    peer = linear_model.LogisticRegression(
        C=1 / (0.01 * len(y)), solver="newton-cg", tol=1e-13, max_iter=10_000
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its line search ends at rounding
        peer.fit(X, y)
    intercept = peer.intercept_ - peer.intercept_.mean()
    agrees(CrossEntropy(), L2(0.01), X, y, peer.coef_.T, intercept)
