"""Inference beside statsmodels: the same coefficients, and so the same everything else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import statsmodels.api as sm
from scipy import stats
from sklearn.datasets import load_breast_cancer, load_iris

from minimand.errors import ArgumentError, ArgumentTypeError, DataError, ShapeError, TargetError
from minimand.inference import Inference, infer
from minimand.losses import (
    Absolute,
    BinaryCrossEntropy,
    CrossEntropy,
    Gamma,
    HalfSquared,
    Hinge,
    Huber,
    InverseGaussian,
    Logistic,
    Loss,
    NegativeBinomial,
    Poisson,
    Quantile,
    Squared,
    Tweedie,
)
from minimand.penalties import L1, L2, Penalty
from minimand.solvers import Objective, minimise

families, log = sm.families, sm.families.links.Log


def minimised(
    loss: Loss, X: Any, y: Any, weight: Any = None, penalty: Penalty | None = None
) -> dict[str, Any]:
    """The parameters that this package's own solver finds."""
    return minimise(Objective(loss, penalty or L2(0.0)), X, y, weight).params


def given(beta: Any) -> dict[str, Any]:
    """A peer's coefficients, the constant first: [p + 1], or [p + 1, K - 1] beside class 0."""
    beta = np.asarray(beta, dtype=float)
    if beta.ndim == 1:
        return {"output": {"kernel": beta[1:, None], "bias": beta[:1]}}
    beta = np.hstack([np.zeros((len(beta), 1)), beta])
    return {"output": {"kernel": beta[1:], "bias": beta[0]}}


def bundled(name: str) -> tuple[np.ndarray, np.ndarray]:
    """A data set that comes with statsmodels."""
    data = getattr(sm.datasets, name).load()
    return np.asarray(data.exog, dtype=float).reshape(len(data.endog), -1), np.asarray(
        data.endog, dtype=float
    )


def assert_same(found: Inference, peer: Any, *more: str, rtol: float = 1e-6) -> None:
    """The peer's standard errors, p-values and whatever else is named."""
    ours = {
        "bse": found.standard_errors,
        "pvalues": found.p_values,
        "tvalues": found.statistics,
        "llf": found.log_likelihood,
        "llnull": found.null_log_likelihood,
        "aic": found.aic,
        "bic": found.bic,
        "bic_llf": found.bic,
        "deviance": found.deviance,
        "null_deviance": found.null_deviance,
        "pearson_chi2": found.pearson,
        "scale": found.dispersion,
        "rsquared": found.r_squared,
        "prsquared": found.r_squared,
        "df_resid": found.df_residual,
        "df_model": found.df_model,
    }
    for name in ("bse", "pvalues", "tvalues", *more):
        expected = np.asarray(getattr(peer, name)).T.ravel()
        np.testing.assert_allclose(np.ravel(ours[name]), expected, rtol=rtol, err_msg=name)
    low_high = np.asarray(peer.conf_int()).reshape(-1, 2)
    np.testing.assert_allclose(found.intervals, low_high, rtol=rtol)


LEAST_SQUARES = ("llf", "aic", "bic", "scale", "rsquared", "df_resid", "df_model")
LIKELIHOOD = ("llf", "llnull", "aic", "bic", "prsquared", "df_resid", "df_model")
GLM = ("llf", "llnull", "aic", "bic_llf", "deviance", "null_deviance", "pearson_chi2", "scale")


@pytest.mark.parametrize("loss", [Squared(), HalfSquared()])
@pytest.mark.parametrize("kind", ["observed", "HC0", "HC1", "HC2", "HC3"])
def test_longley_as_ordinary_least_squares(loss: Loss, kind: Any) -> None:
    X, y = bundled("longley")
    peer = sm.OLS(y, sm.add_constant(X)).fit(cov_type="nonrobust" if kind == "observed" else kind)
    found = infer(loss, X, y, given(peer.params), covariance=kind)
    assert_same(found, peer, *LEAST_SQUARES)
    assert found.findings == ()


def test_longley_as_certified_by_nist() -> None:
    """https://www.itl.nist.gov/div898/strd/lls/data/Longley.shtml, with the solver's own fit."""
    X, y = bundled("longley")
    found = infer(Squared(), X, y, minimised(Squared(), X, y))
    certified = [
        890420.383607373,
        84.9149257747669,
        0.334910077722432e-1,
        0.488399681651699,
        0.214274163161675,
        0.226073200069370,
        455.478499142212,
    ]
    np.testing.assert_allclose(found.standard_errors, certified, rtol=1e-8)
    assert found.r_squared == pytest.approx(0.995479004577296, rel=1e-12)


@pytest.mark.parametrize("kind", ["observed", "HC0", "HC2", "HC3"])
def test_precisions_are_weighted_least_squares(kind: Any) -> None:
    X, y = bundled("stackloss")
    weight = np.linspace(0.5, 3, len(y))
    model = sm.WLS(y, sm.add_constant(X), weights=weight)
    peer = model.fit(cov_type="nonrobust" if kind == "observed" else kind)
    found = infer(Squared(), X, y, given(peer.params), weight, covariance=kind)
    assert_same(found, peer, *LEAST_SQUARES)


@pytest.mark.parametrize("loss", [Squared(), Poisson(), Huber(delta=2.0), Quantile(level=0.5)])
@pytest.mark.parametrize("kind", ["observed", "HC1", "HC3"])
def test_frequencies_are_repeated_rows(loss: Loss, kind: Any) -> None:
    X, y = bundled("stackloss")
    often = np.arange(len(y)) % 3
    params = minimised(loss, X, y, often)
    counted = infer(loss, X, y, params, often, covariance=kind, weight_kind="frequency")
    repeated = infer(
        loss, np.repeat(X, often, axis=0), np.repeat(y, often), params, covariance=kind
    )
    np.testing.assert_allclose(counted.covariance, repeated.covariance, rtol=1e-9)
    assert counted.rows == repeated.rows == often.sum()
    assert counted.deviance == pytest.approx(repeated.deviance)
    assert counted.log_likelihood == pytest.approx(repeated.log_likelihood)


def test_without_intercept() -> None:
    X, y = bundled("longley")
    peer = sm.OLS(y, X).fit()
    params = {"output": {"kernel": np.asarray(peer.params)[:, None], "bias": np.zeros(1)}}
    assert_same(infer(Squared(), X, y, params, intercept=False), peer, *LEAST_SQUARES)


def test_a_constant_among_the_columns_counts_as_the_intercept() -> None:
    X, y = bundled("longley")
    with_ones = np.column_stack([np.ones(len(y)), X])
    peer = sm.OLS(y, with_ones).fit()
    params = {"output": {"kernel": np.asarray(peer.params)[:, None], "bias": np.zeros(1)}}
    found = infer(Squared(), with_ones, y, params, intercept=False)
    assert_same(found, peer, *LEAST_SQUARES)


@pytest.mark.parametrize("kind", ["observed", "expected", "HC0"])
def test_spector_as_logit(kind: Any) -> None:
    X, y = bundled("spector")
    cov = "HC0" if kind == "HC0" else "nonrobust"
    peer = sm.Logit(y, sm.add_constant(X)).fit(tol=1e-14, disp=0, cov_type=cov)
    by_sign = infer(Logistic(), X, 2 * y - 1, given(peer.params), covariance=kind)
    by_share = infer(BinaryCrossEntropy(), X, y, given(peer.params), covariance=kind)
    for found in (by_sign, by_share):
        assert_same(found, peer, *LIKELIHOOD)
        assert found.deviance == pytest.approx(-2 * peer.llf)
    assert by_sign.pearson == pytest.approx(by_share.pearson)


def test_shares_of_trials_as_binomial() -> None:
    """star98: successes and failures; the weight of a share is its number of trials."""
    X, y = sm.datasets.star98.load().exog, np.asarray(sm.datasets.star98.load().endog, dtype=float)
    X, trials = np.asarray(X, dtype=float), y.sum(axis=1)
    peer = sm.GLM(y, sm.add_constant(X), family=families.Binomial()).fit(tol=1e-14)
    found = infer(BinaryCrossEntropy(), X, y[:, 0] / trials, given(peer.params), trials)
    assert_same(found, peer, "deviance", "null_deviance", "pearson_chi2", "df_resid")
    assert any("vary 14.4 times as much" in finding for finding in found.findings)


@pytest.mark.parametrize("kind", ["observed", "HC0"])
def test_anes96_as_multinomial(kind: Any) -> None:
    X, y = bundled("anes96")
    X, cov = X[:, :5], "HC0" if kind == "HC0" else "nonrobust"
    model = sm.MNLogit(y.astype(int), sm.add_constant(X))
    peer = model.fit(method="newton", tol=1e-14, disp=0, maxiter=50, cov_type=cov)
    params = given(peer.params)
    params["output"]["kernel"] = params["output"]["kernel"] + 7.0  # shared by all classes
    found = infer(CrossEntropy(), X, y.astype(int), params, covariance=kind)
    for name in ("bse", "pvalues"):
        np.testing.assert_allclose(
            {"bse": found.standard_errors, "pvalues": found.p_values}[name],
            np.asarray(getattr(peer, name)).T.ravel(),
            rtol=1e-6,
        )
    for ours, theirs in (
        (found.aic, peer.aic),
        (found.bic, peer.bic),
        (found.r_squared, peer.prsquared),
    ):
        assert ours == pytest.approx(theirs, rel=1e-8)
    assert (found.df_residual, found.df_model) == (peer.df_resid, peer.df_model)
    assert found.names[6] == "y=2 intercept"


def test_two_classes_are_a_logistic_regression() -> None:
    X, y = bundled("spector")
    two = infer(CrossEntropy(), X, y.astype(int), minimised(CrossEntropy(), X, y.astype(int)))
    one = infer(Logistic(), X, 2 * y - 1, minimised(Logistic(), X, 2 * y - 1))
    np.testing.assert_allclose(two.coefficients, one.coefficients, rtol=1e-6)
    np.testing.assert_allclose(two.covariance, one.covariance, rtol=1e-6)
    assert two.pearson == pytest.approx(one.pearson, rel=1e-6)


def test_an_exposure_is_an_offset() -> None:
    X, y = bundled("cpunish")
    exposure = np.linspace(1, 4, len(y))
    model = sm.GLM(y, sm.add_constant(X), family=families.Poisson(), exposure=exposure)
    for kind, cov in (("observed", "nonrobust"), ("sandwich", "HC0")):
        peer = model.fit(tol=1e-14, maxiter=100, cov_type=cov)
        found = infer(Poisson(), X, y, given(peer.params), offset=np.log(exposure), covariance=kind)
        assert_same(found, peer, *GLM)


FAMILIES = {
    Gamma(): families.Gamma(log()),
    InverseGaussian(): families.InverseGaussian(log()),
    Tweedie(power=1.5): families.Tweedie(log(), var_power=1.5),
    NegativeBinomial(dispersion=0.7): families.NegativeBinomial(alpha=0.7),
    Poisson(): families.Poisson(),
}


@pytest.mark.parametrize("weights", ["", "var_weights", "freq_weights"])
@pytest.mark.parametrize("loss", FAMILIES, ids=str)
def test_scotland_as_generalised_linear_models(loss: Loss, weights: str) -> None:
    X, y = bundled("scotland")
    y = np.round(y) if isinstance(loss, (NegativeBinomial, Poisson)) else y
    weight = {"var_weights": np.linspace(0.5, 3, len(y)), "freq_weights": np.arange(len(y)) % 3 + 1}
    chosen: dict[str, Any] = {weights: weight[weights]} if weights else {}
    model = sm.GLM(y, sm.add_constant(X), family=FAMILIES[loss], **chosen)
    peer = model.fit(tol=1e-14, maxiter=200)
    ours: dict[str, Any] = {
        "weight": weight.get(weights),
        "weight_kind": "frequency" if weights == "freq_weights" else "precision",
    }
    assert_same(infer(loss, X, y, given(peer.params), covariance="expected", **ours), peer, *GLM)
    observed = -model.hessian(peer.params, scale=peer.scale, observed=True)
    errors = np.sqrt(np.diag(np.linalg.inv(observed)))
    found = infer(loss, X, y, given(peer.params), **ours)
    np.testing.assert_allclose(found.standard_errors, errors, rtol=1e-6)
    robust = model.fit(tol=1e-14, maxiter=200, cov_type="HC0")
    assert_same(infer(loss, X, y, given(peer.params), covariance="HC0", **ours), robust)


def test_zeros_and_a_positive_rest_as_tweedie(shared_data: Callable[[str], Path]) -> None:
    claims = pd.read_csv(shared_data("insurance/beMTPL97.csv.gz"), nrows=2000)
    X, y = claims[["ageph", "bm", "power"]], claims["amount"] / 1000
    loss, family = Tweedie(power=1.6), families.Tweedie(log(), var_power=1.6)
    peer = sm.GLM(y, sm.add_constant(X), family=family, offset=np.log(claims["expo"])).fit(
        tol=1e-14, maxiter=200
    )
    found = infer(
        loss, X, y, given(peer.params), offset=np.log(claims["expo"]), covariance="expected"
    )
    assert_same(found, peer, *GLM)
    assert found.names == ("intercept", "ageph", "bm", "power")


@pytest.mark.parametrize("level", [0.1, 0.5, 0.75])
@pytest.mark.parametrize(("kind", "vcov"), [("observed", "iid"), ("HC0", "robust")])
def test_engel_as_quantile_regression(level: float, kind: Any, vcov: str) -> None:
    X, y = bundled("engel")
    peer = sm.QuantReg(y, sm.add_constant(X)).fit(q=level, vcov=vcov)
    found = infer(Quantile(level=level), X, y, given(peer.params), covariance=kind)
    assert_same(found, peer, "df_resid", "df_model")
    assert found.r_squared == pytest.approx(
        peer.prsquared, rel=1e-4
    )  # their constant is no optimum
    assert found.log_likelihood is None and found.aic is None
    if level == 0.5:
        half = infer(Absolute(), X, y, given(peer.params), covariance=kind)
        np.testing.assert_allclose(half.covariance, found.covariance)
        assert found.r_squared == pytest.approx(peer.prsquared, rel=1e-9)


def test_powell_lets_the_density_of_errors_differ() -> None:
    """Koenker (2005), section 3.4.2, from statsmodels' bandwidth; errors that grow with income."""
    y, X = bundled("engel")[0][:, 0], bundled("engel")[1][:, None]
    peer = sm.QuantReg(y, sm.add_constant(X)).fit(q=0.5)
    found = infer(Absolute(), X, y, given(peer.params), covariance="sandwich")
    Z, u = sm.add_constant(X), np.asarray(peer.resid) / peer.bandwidth
    density = np.where(np.abs(u) < 1, 0.75 * (1 - u**2), 0) / peer.bandwidth
    bread = np.linalg.inv((Z * density[:, None]).T @ Z)
    np.testing.assert_allclose(found.covariance, 0.25 * bread @ (Z.T @ Z) @ bread, rtol=1e-6)
    assert found.standard_errors[1] > 1.5 * peer.bse[1]


def test_stackloss_as_robust_linear_model() -> None:
    """Their Huber takes the scale of the residuals as its unit, ours that of the target."""
    X, y = bundled("stackloss")
    peer = sm.RLM(y, sm.add_constant(X)).fit(tol=1e-13, maxiter=500)
    loss = Huber(delta=1.345 * peer.scale)
    assert_same(infer(loss, X, y, given(peer.params)), peer, "df_resid", "df_model")
    found = infer(loss, X, y, minimised(loss, X, y))
    np.testing.assert_allclose(found.coefficients, peer.params, rtol=1e-6)


@pytest.mark.parametrize("loss", [Huber(delta=2.0), Quantile(level=0.5), Squared()], ids=str)
@pytest.mark.parametrize("kind", ["observed", "HC0"])
def test_equal_precisions_change_no_standard_error(loss: Loss, kind: Any) -> None:
    X, y = bundled("stackloss")
    params, three = minimised(loss, X, y), np.full(len(y), 3.0)
    weighted = infer(loss, X, y, params, three, covariance=kind)
    np.testing.assert_allclose(
        weighted.covariance, infer(loss, X, y, params, covariance=kind).covariance, rtol=1e-9
    )


@pytest.mark.parametrize("kind", ["observed", "HC1", "HC3"])
@pytest.mark.parametrize("form", [scipy.sparse.csr_array, scipy.sparse.csc_matrix])
def test_sparse_columns_say_what_dense_ones_say(kind: Any, form: Any) -> None:
    X, y = load_breast_cancer(return_X_y=True)
    X, y = (X[:, :5] - X[:, :5].mean(axis=0)) / X[:, :5].std(axis=0), 2.0 * y - 1
    X[np.abs(X) < 0.3] = 0
    params = minimised(Logistic(), X, y)
    dense, sparse = (infer(Logistic(), Z, y, params, covariance=kind) for Z in (X, form(X)))
    np.testing.assert_allclose(sparse.covariance, dense.covariance, rtol=1e-7)
    assert sparse.findings == dense.findings == ()


def test_rows_without_weight_leave_no_trace() -> None:
    X, y = bundled("longley")
    params, weight = minimised(Squared(), X[:13], y[:13]), np.ones(len(y))
    weight[13:], X[13:] = 0, np.nan
    found = infer(Squared(), X, y, params, weight)
    kept = infer(Squared(), X[:13], y[:13], params)
    np.testing.assert_array_equal(found.covariance, kept.covariance)
    assert found.rows == 13


@pytest.mark.parametrize(("loss", "halves"), [(HalfSquared(), 1), (Squared(), 2)])
def test_a_ridge_has_the_covariance_of_its_posterior(loss: Loss, halves: int) -> None:
    """Gaussian prior: (XᵀX / σ² + λ n / σ² I)⁻¹, the constant free; df by the trace of the hat."""
    X, y = bundled("stackloss")
    n, strength = len(y), 0.5
    penalty = L2(strength * halves)
    found = infer(loss, X, y, minimised(loss, X, y, penalty=penalty), penalty=penalty)
    Z = sm.add_constant(X)
    bread = np.linalg.inv(Z.T @ Z + n * strength * np.diag([0, 1, 1, 1]))
    used = np.trace(bread @ Z.T @ Z)
    residual = y - Z @ found.coefficients
    np.testing.assert_allclose(found.covariance, bread * (residual @ residual) / (n - used))
    assert found.parameters == pytest.approx(used)
    assert [f"penalised by {penalty}" in finding for finding in found.findings] == [True]


def test_penalised_classes_have_the_curvature_of_their_objective() -> None:
    """Against finite differences, with the part common to all classes minimised out."""
    X, y = load_iris(return_X_y=True)
    X, penalty = X[:, :2] - X[:, :2].mean(axis=0), L2(0.05)
    found = infer(
        CrossEntropy(), X, y, minimised(CrossEntropy(), X, y, penalty=penalty), penalty=penalty
    )
    Z = sm.add_constant(X)

    def objective(beta: np.ndarray) -> float:
        differences = np.hstack([np.zeros((3, 1)), beta.reshape(2, 3).T])
        slopes = differences[1:] - differences[1:].mean(axis=1, keepdims=True)
        cost = np.sum(CrossEntropy().value(Z @ differences, y))
        return float(cost + 0.5 * len(y) * 0.05 * np.sum(slopes**2))

    step, eye = 1e-3, np.eye(6)
    hessian = [
        [
            sum(
                s * t * objective(found.coefficients + step * (s * a + t * b))
                for s in (1, -1)
                for t in (1, -1)
            )
            / (4 * step**2)
            for a in eye
        ]
        for b in eye
    ]
    np.testing.assert_allclose(found.covariance, np.linalg.inv(hessian), rtol=1e-4)
    assert len(found.findings) == 1


@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_array, np.float32])
def test_dependent_columns_are_named(form: Any) -> None:
    """The coefficients that the data do determine keep the standard errors of a full-rank fit."""
    X, y = load_iris(return_X_y=True)
    dependent = np.column_stack([X, X[:, 0] + X[:, 1], np.zeros(len(y))])
    kernel = minimised(Squared(), X, y)["output"]
    params = {
        "output": {
            "kernel": np.vstack([kernel["kernel"], np.zeros((2, 1))]),
            "bias": kernel["bias"],
        }
    }
    names = ["a", "b", "c", "d", "a+b", "zero"]
    found = infer(Squared(), form(dependent), y, params, names=names)
    full = infer(Squared(), X, y, minimised(Squared(), X, y))
    lost = [0 if np.isfinite(error) else 1 for error in found.standard_errors]
    assert lost == [0, 1, 1, 0, 0, 1, 1]
    np.testing.assert_allclose(
        found.standard_errors[[0, 3, 4]], full.standard_errors[[0, 3, 4]], rtol=1e-5
    )
    assert found.df_residual == full.df_residual
    assert found.findings[0].startswith("the columns a, b, a+b, zero depend on one another")
    assert found.findings[0].endswith("drop 2 of them")


def separated(name: str) -> tuple[Loss, np.ndarray, np.ndarray]:
    X, y = load_iris(return_X_y=True)
    match name:
        case "two classes":
            return Logistic(), X, np.where(y == 0, -1.0, 1.0)
        case "one of three classes":
            return CrossEntropy(), X, y
    group = (np.arange(150) % 5 == 0).astype(float)
    count = np.where(group > 0, 0, np.arange(150) % 4)
    return Poisson(), np.column_stack([X[:, 0], group]), count


@pytest.mark.parametrize("name", ["two classes", "one of three classes", "a group of zeros"])
def test_separable_rows_are_found(name: str) -> None:
    loss, X, y = separated(name)
    found = infer(loss, X, y, minimised(loss, X, y))
    assert "run to infinity" in found.findings[0]
    assert np.max(found.standard_errors) > 1e3
    assert np.max(found.p_values) > 0.99


def test_overlapping_rows_are_not_called_separable() -> None:
    X, y = load_breast_cancer(return_X_y=True)
    y = 2.0 * y - 1
    assert infer(Logistic(), X[:, :8], y, minimised(Logistic(), X[:, :8], y)).findings == ()


def test_parameters_off_the_minimum_are_found() -> None:
    X, y = bundled("longley")
    params = minimised(Squared(), X, y)
    error = infer(Squared(), X, y, params).standard_errors[0]
    params["output"]["bias"] = params["output"]["bias"] + error
    (finding,) = infer(Squared(), X, y, params).findings
    assert "not at the minimum" in finding


def test_a_perfect_fit_has_no_errors() -> None:
    X = bundled("longley")[0]
    y = 3 + X[:, 0]
    found = infer(Squared(), X, y, given([3, 1, 0, 0, 0, 0, 0]))
    np.testing.assert_array_equal(found.standard_errors, np.zeros(7))
    assert found.r_squared == 1
    assert found.log_likelihood == np.inf
    assert "nan" in found.summary()  # the statistics of the zeros


def test_counts_that_are_all_zero() -> None:
    X = bundled("longley")[0]
    found = infer(Poisson(), X, np.zeros(16), given([-30, 0, 0, 0, 0, 0, 0]))
    assert "run to infinity" in found.findings[0]
    assert np.min(found.p_values) > 0.99


def test_the_summary_holds_what_statsmodels_prints() -> None:
    data = sm.datasets.longley.load()
    peer = sm.OLS(data.endog, sm.add_constant(data.exog)).fit()
    found = infer(Squared(), data.exog, data.endog, given(peer.params))
    text = found.summary()
    assert str(found) == text
    for shown in ("No. Observations:", "Df Residuals:", "R-squared:", "P>|t|", "[0.025", "0.9955"):
        assert shown in text
    (year,) = (line.split()[1:] for line in text.split("\n") if line.lstrip().startswith("YEAR"))
    low_high = peer.conf_int().loc["YEAR"]
    expected = [getattr(peer, n)["YEAR"] for n in ("params", "bse", "tvalues", "pvalues")]
    np.testing.assert_allclose(np.array(year, dtype=float), [*expected, *low_high], rtol=0.02)
    assert len({len(line) for line in text.split("\n") if line[0] in "=-"}) == 1


def test_the_table_is_a_frame() -> None:
    X, y = bundled("spector")
    found = infer(Logistic(), X, 2 * y - 1, minimised(Logistic(), X, 2 * y - 1), level=0.9)
    frame = pd.DataFrame(found.table()).set_index("name")
    assert frame.loc["x1", "coefficient"] == found.coefficients[1]
    half = stats.norm.ppf(0.95) * frame["standard_error"]
    np.testing.assert_allclose(frame["high"] - frame["coefficient"], half)


def bad_input() -> dict[str, tuple[type[Exception], str, Callable[[], Any]]]:
    """What is wrong: the error, what its text says, the call."""
    X, y = bundled("longley")
    fit = given(np.zeros(7))
    three = {"output": {"kernel": np.zeros((6, 3)), "bias": np.zeros(3)}}
    ramp, classes = np.linspace(1, 2, 16), np.arange(16) % 3
    hole = np.where(np.arange(96).reshape(16, 6) == 7, np.inf, X)
    own = np.vstack([np.zeros((15, 6)), np.arange(1.0, 7.0)])
    return {
        "loss": (ArgumentError, "supports Absolute, .*Tweedie", lambda: infer(Hinge(), X, y, fit)),
        "pos_weight": (
            ArgumentError,
            "only with pos_weight=1",
            lambda: infer(BinaryCrossEntropy(pos_weight=2.0), X, y, fit),
        ),
        "smoothing": (
            ArgumentError,
            "label_smoothing=0",
            lambda: infer(CrossEntropy(label_smoothing=0.1), X, classes, three),
        ),
        "covariance": (
            ArgumentError,
            "did you mean 'HC1'",
            lambda: infer(Squared(), X, y, fit, covariance="hc1"),  # type: ignore[arg-type]
        ),
        "level": (ArgumentError, "level is 95", lambda: infer(Squared(), X, y, fit, level=95)),
        "lasso": (ArgumentError, "L1", lambda: infer(Squared(), X, y, fit, penalty=L1(0.1))),
        "penalised quantile": (
            ArgumentError,
            "with a penalty",
            lambda: infer(Absolute(), X, y, fit, penalty=L2(0.1)),
        ),
        "unequal precisions": (
            ArgumentError,
            "covariance='sandwich'",
            lambda: infer(Huber(), X, y, fit, ramp),
        ),
        "few rows": (
            DataError,
            "6 rows leave nothing",
            lambda: infer(Squared(), X[:6], y[:6], fit),
        ),
        "X and y": (
            ShapeError,
            r"\(16, 6\) and y \(15,\)",
            lambda: infer(Squared(), X, y[1:], fit),
        ),
        "kernel": (
            ShapeError,
            r"expected \[5, 1\]",
            lambda: infer(Squared(), X[:, 1:], y, fit),
        ),
        "params": (ArgumentTypeError, "params must be", lambda: infer(Squared(), X, y, {})),
        "names": (ShapeError, "1 names for 6", lambda: infer(Squared(), X, y, fit, names=["a"])),
        "infinite": (DataError, "row 2, column 2", lambda: infer(Squared(), hole, y, fit)),
        "infinite sparse": (
            DataError,
            "row 2, column 2",
            lambda: infer(Squared(), scipy.sparse.csr_array(hole), y, fit),
        ),
        "weight": (DataError, "least is -1", lambda: infer(Squared(), X, y, fit, ramp - 2)),
        "frequency": (
            DataError,
            "whole numbers",
            lambda: infer(Squared(), X, y, fit, ramp, weight_kind="frequency"),
        ),
        "target": (TargetError, "row 1", lambda: infer(Poisson(), X, -y, fit)),
        "class": (
            DataError,
            "class 3 in row 16",
            lambda: infer(CrossEntropy(), X, np.append(classes[:15], 3), three),
        ),
        "offset of classes": (
            ArgumentError,
            "not changed by an offset",
            lambda: infer(CrossEntropy(), X, classes, three, offset=ramp),
        ),
        "bias": (
            ArgumentError,
            "must be 0",
            lambda: infer(Squared(), X, y, given(np.ones(7)), intercept=False),
        ),
        "far off": (
            DataError,
            "not finite at these parameters",
            lambda: infer(Poisson(), X, y, given(np.full(7, 1e3))),
        ),
        "equal residuals": (
            DataError,
            "half of the residuals are equal",
            lambda: infer(Absolute(), X, 0 * y, fit),
        ),
        "leverage": (
            DataError,
            "row 16 .* HC3 does not exist",
            lambda: infer(Squared(), own[:, :1], y, given([0, 0]), covariance="HC3"),
        ),
    }


BAD = bad_input()


@pytest.mark.parametrize("change", list(BAD))
def test_bad_input_is_one_sentence(change: str) -> None:
    error, text, call = BAD[change]
    with pytest.raises(error, match=text) as caught:
        call()
    assert "\n" not in str(caught.value)
