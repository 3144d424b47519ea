"""A user's plain function as a loss, and the check that looks for its mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.linear_model import LogisticRegression

import minimand
from minimand import check_loss
from minimand.arrays import log1pexp, namespace
from minimand.component import OpenFraction, Positive, catalogue
from minimand.errors import ArgumentError, ShapeError, TargetError, UnknownNameError
from minimand.losses import CrossEntropy, Huber, Logistic, Loss, Poisson, Squared
from minimand.networks import MLP
from minimand.optimizers import Adam
from minimand.penalties import L2
from minimand.solvers import Objective, minimise
from minimand.training import Recipe, train

Array = Any


def made(name: str) -> Any:
    """A user's loss that equals one of the catalogue."""
    match name:
        case "squares":

            @minimand.loss(convex=True, tasks=())
            def squares(score: Array, target: Array) -> Array:
                return (score - target) ** 2

            return squares
        case "bounded_huber":

            @minimand.loss(convex=True)
            def bounded_huber(score: Array, target: Array, delta: Positive = 1.35) -> Array:
                "Like Huber's."
                r = jnp.abs(score - target)
                return jnp.where(r <= delta, r * r / 2, delta * (r - delta / 2))

            return bounded_huber
        case "logit":

            @minimand.loss(target="sign", convex=True, proper=True, response=jax.nn.sigmoid)
            def logit(score: Array, target: Array) -> Array:
                return log1pexp(-target * score)

            return logit
        case "softmax":

            @minimand.loss(target="class", convex=True, proper=True, response=jax.nn.softmax)
            def softmax(score: Array, target: Array) -> Array:
                own = jnp.take_along_axis(score, target[..., None], -1)[..., 0]
                return jax.nn.logsumexp(score, axis=-1) - own

            return softmax
    raise AssertionError(name)


TWINS = {"squares": Squared(), "bounded_huber": Huber(), "logit": Logistic()}
each_twin = pytest.mark.parametrize(("name", "twin"), TWINS.items(), ids=str)
SCORE = np.array([-2.3, -0.4, 0.2, 1.1, 5.0])


@each_twin
def test_a_function_equals_its_twin_of_the_catalogue_in_double_precision(
    name: str, twin: Loss
) -> None:
    target = np.array([1.0, -1.0, 1.0, -1.0, 1.0])
    loss = made(name)()
    for method in ("value", "gradient", "curvature"):
        ours, theirs = getattr(loss, method)(SCORE, target), getattr(twin, method)(SCORE, target)
        assert isinstance(ours, np.ndarray) and ours.dtype == np.float64
        np.testing.assert_allclose(ours, theirs, rtol=1e-13)
    np.testing.assert_allclose(loss.response(SCORE), twin.response(SCORE), rtol=1e-13)
    assert float(loss(SCORE, target)) == pytest.approx(float(twin(SCORE, target)), rel=1e-13)


def test_several_scores_have_a_block_of_curvature() -> None:
    score = np.random.default_rng(0).normal(size=(6, 3))
    target = np.array([0, 1, 2, 2, 1, 0])
    ours, theirs = made("softmax")(), CrossEntropy()
    for method in ("value", "gradient", "curvature"):
        np.testing.assert_allclose(
            getattr(ours, method)(score, target),
            getattr(theirs, method)(score, target),
            rtol=1e-12,
            atol=1e-15,
        )
    np.testing.assert_array_equal(ours.decide(score), theirs.decide(score))
    np.testing.assert_allclose(ours.response(score), theirs.response(score), rtol=1e-12)
    np.testing.assert_allclose(ours.constant(target), 0, atol=1e-6)


@each_twin
def test_the_constant_is_the_twins(name: str, twin: Loss) -> None:
    y = np.array([-1.0, 1.0, 1.0, 1.0, -1.0])
    y = y if name == "logit" else 3 * y + np.arange(5)
    weight = np.array([1.0, 2.0, 1.0, 0.5, 1.0])
    for w in (None, weight):
        assert made(name)().constant(y, w) == pytest.approx(float(twin.constant(y, w)), rel=1e-9)


def test_hyperparameters_are_fields() -> None:
    @minimand.loss
    def tilted(score: Array, target: Array, level: OpenFraction = 0.5, power: int = 2) -> Array:
        r = score - target
        return abs(r) ** power * (r > 0) * level

    made_here = tilted(level=0.25)
    assert (made_here._dynamic, made_here._static) == (("level",), ("power",))
    assert made_here.value(np.array([3.0]), np.array([1.0])) == pytest.approx(1.0)
    assert str(made_here) == "Tilted(level=0.25)" and Loss.parse("tilted(level=0.25)") == made_here
    assert Loss.from_json(made_here.to_json()) == made_here
    with pytest.raises(ArgumentError, match=r"level is 1.5; it must lie in \(0, 1\)"):
        tilted(level=1.5)


def test_hyperparameters_can_be_mapped_and_differentiated() -> None:
    with jax.enable_x64(True):
        target, cls = np.zeros(5), made("bounded_huber")
        together = cls(delta=np.array([0.5, 1.0, 2.0]))
        mapped = jax.jit(jax.vmap(lambda one: one(jnp.asarray(SCORE), target)))(together)
        alone = [Huber(delta=d)(SCORE, target) for d in (0.5, 1.0, 2.0)]
        np.testing.assert_allclose(mapped, alone, rtol=1e-12)
        slope = jax.grad(lambda one: one(jnp.asarray(SCORE), target))(cls())
        wanted = jax.grad(lambda one: one(jnp.asarray(SCORE), target))(Huber())
        assert slope.delta == pytest.approx(float(wanted.delta))


def test_operators_and_namespace_serve_torch_with_autograd() -> None:
    @minimand.loss(convex=True)
    def cosh(score: Array, target: Array) -> Array:
        return namespace(score).cosh(score - target)

    score = torch.tensor(SCORE, requires_grad=True)
    target = torch.zeros(5, dtype=torch.float64)
    cosh()(score, target, reduction="sum").backward()
    np.testing.assert_allclose(score.grad, np.sinh(SCORE))
    gradient = cosh().gradient(score.detach(), target)
    assert isinstance(gradient, torch.Tensor)
    np.testing.assert_allclose(gradient, np.sinh(SCORE), rtol=1e-12)


# --- fit, recipe, solver --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["squares", "bounded_huber", "logit"])
def test_solvers_find_the_twins_optimum(name: str) -> None:
    X, y = (
        load_breast_cancer(return_X_y=True) if name == "logit" else load_diabetes(return_X_y=True)
    )
    X, y = X[:200], y[:200].astype(float)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    y = 2 * y - 1 if name == "logit" else (y - y.mean()) / y.std()
    solutions = []
    for loss in (made(name)(), TWINS[name]):
        objective = Objective(loss, L2(strength=0.1))
        solutions.append(minimise(objective, X, y))
    ours, theirs = solutions
    assert ours.converged and ours.value == pytest.approx(theirs.value, rel=1e-9)
    np.testing.assert_allclose(
        ours.params["output"]["kernel"], theirs.params["output"]["kernel"], rtol=1e-4, atol=1e-6
    )


def test_the_solution_is_scikit_learns() -> None:
    X, y = load_breast_cancer(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    objective = Objective(made("logit")(), L2(strength=1.0))
    solved = minimise(objective, X, 2.0 * y - 1)
    peer = LogisticRegression(C=1 / len(y), tol=1e-10, max_iter=1000).fit(X, y)
    np.testing.assert_allclose(solved.params["output"]["kernel"][:, 0], peer.coef_[0], atol=1e-6)


def test_a_recipe_trains_a_network_with_it() -> None:
    X, y = load_iris(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    network = MLP(hidden=(8,), outputs=3)
    recipe = Recipe(network, made("softmax")(), Adam(learning_rate=0.03), epochs=20)
    trained = train(recipe, X, y, validation=0.0)
    assert trained.history["train"][-1] < 0.15 < np.log(3)


def test_fit_and_compare_take_it_by_object_and_by_name(tmp_path: Path) -> None:
    cls = made("bounded_huber")
    question = {"metric": "mae", "models": ["linear"], "folds": 2, "verbose": False}
    losses = [cls(delta=1.0), "huber(delta=1.0)"]
    compared = minimand.compare("diabetes", loss=losses, **question)
    ours, theirs = (candidate["mean"] for candidate in compared.run["candidates"])
    assert ours == pytest.approx(theirs, rel=1e-4)
    fitted = minimand.fit("diabetes", loss="bounded_huber", out=tmp_path / "run", **question)
    assert str(fitted.run["candidates"][0]["loss"]).startswith("BoundedHuber")
    frame = load_diabetes(as_frame=True).data[:5]
    loaded = minimand.load(tmp_path / "run")
    assert len(loaded.predict(pl.from_pandas(frame))) == 5


def test_it_is_not_tried_unless_asked_for() -> None:
    made("squares")
    compared = minimand.compare("diabetes", models=["linear"], verbose=False)
    assert "Squares" not in {c["loss"] for c in compared.run["candidates"]}


# --- what is refused ------------------------------------------------------------------------------


def test_the_name_of_a_catalogue_loss_is_taken() -> None:
    def huber(score: Array, target: Array) -> Array:
        return score - target

    with pytest.raises(ArgumentError, match="the catalogue has a loss called Huber"):
        minimand.loss(huber)
    assert catalogue("loss")["Huber"] is Huber


def test_a_definition_may_be_repeated() -> None:
    first, second = made("squares"), made("squares")
    assert first is not second and catalogue("loss")["Squares"] is second


@pytest.mark.parametrize(
    ("facts", "message"),
    [({"target": "nominal"}, "unknown target 'nominal'"), ({"convexe": True}, "mean 'convex'")],
)
def test_unknown_facts_are_refused(facts: dict[str, Any], message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        minimand.loss(**facts)(lambda score, target: score)


def test_arguments_need_a_default_and_a_free_name() -> None:
    with pytest.raises(ArgumentError, match="the argument delta needs a default"):

        @minimand.loss
        def no_default(score: Array, target: Array, delta: float) -> Array:
            return score - target

    with pytest.raises(ArgumentError, match="no argument may be called gradient"):

        @minimand.loss
        def taken(score: Array, target: Array, gradient: float = 1.0) -> Array:
            return score - target

    with pytest.raises(ArgumentError, match="define its function with def"):
        minimand.loss(lambda score, target: score - target)


def test_a_mean_instead_of_values_is_refused() -> None:
    @minimand.loss
    def averaged(score: Array, target: Array) -> Array:
        return ((score - target) ** 2).mean()

    with pytest.raises(ShapeError, match=r"returned shape \(\) for targets of shape \(5,\)"):
        averaged()(SCORE, SCORE)


def test_targets_outside_the_domain_name_their_row() -> None:
    with pytest.raises(TargetError, match=r"Logit: target row 2 is 0.5, neither -1 nor \+1"):
        made("logit")().check_target(np.array([1.0, 0.5]))


# --- check_loss -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["squares", "bounded_huber", "logit", "softmax"])
def test_a_sound_loss_has_no_fault(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_loss(made(name)) == []
    assert capsys.readouterr().out.endswith(": no fault found.\n")


@pytest.mark.parametrize("loss", [Huber(), Logistic(), CrossEntropy(), Poisson()], ids=str)
def test_the_catalogue_has_no_fault(loss: Loss) -> None:
    assert check_loss(loss) == []


def faults(loss: Any) -> str:
    return " | ".join(finding.what for finding in check_loss(loss))


def test_check_loss_finds_overflow() -> None:
    @minimand.loss(target="sign")
    def naive(score: Array, target: Array) -> Array:
        return jnp.log(1 + jnp.exp(-target * score))

    assert "overflows far out" in faults(naive)


def test_check_loss_accepts_growth_that_is_true() -> None:
    """exp(800) is infinite in double precision whatever the spelling."""

    @minimand.loss(target="sign")
    def boosting(score: Array, target: Array) -> Array:
        return jnp.exp(-target * score)

    assert faults(boosting) == ""


def test_check_loss_finds_the_root_at_zero() -> None:
    @minimand.loss
    def root(score: Array, target: Array) -> Array:
        return jnp.sqrt((score - target) ** 2)

    assert "The gradient is NaN" in faults(root)


def test_check_loss_finds_false_claims() -> None:
    @minimand.loss(convex=True, lipschitz=0.5, curvature=0.9)
    def gaussian(score: Array, target: Array) -> Array:
        return 1 - jnp.exp(-((score - target) ** 2) / 2)

    found = faults(gaussian)
    assert "not convex" in found and "lipschitz = 0.5, which is too small" in found


def test_check_loss_finds_examples_that_act_together() -> None:
    @minimand.loss
    def centred(score: Array, target: Array) -> Array:
        return (score - target - jnp.mean(score)) ** 2

    assert "depends on the other examples" in faults(centred)


def test_check_loss_finds_what_jax_cannot_follow() -> None:
    @minimand.loss
    def branching(score: Array, target: Array) -> Array:
        return np.logaddexp(score, target)

    assert "JAX cannot follow it" in faults(branching)


def test_check_loss_finds_a_mask_that_does_not_hold() -> None:
    """log(0) × 0 is NaN: the loss is infinite at the target that stands in for masked rows."""

    @minimand.loss(target="positive")
    def deviance(score: Array, target: Array) -> Array:
        return target * jnp.exp(-score) + score - jnp.log(target)

    assert "A masked row changes the result" in faults(deviance)


def test_check_loss_finds_wrong_closed_forms() -> None:
    class Doubled(Squared):
        def gradient(self, score: Array, target: Array) -> Array:
            return 2.5 * (score - target)

    class Flat(Squared):
        def curvature(self, score: Array, target: Array) -> Array:
            return 0 * score

    assert "The gradient is wrong" in faults(Doubled())
    assert faults(Flat()) == "The curvature is wrong"


def test_check_loss_finds_half_precision_that_is_not_widened() -> None:
    class Halved(Squared):
        def __call__(self, score: Array, target: Array, **options: Any) -> Array:
            narrow = 1000 * score.dtype.type(1) if score.dtype == np.float16 else 0
            return super().__call__(score + narrow - narrow, target, **options)

    assert "Half precision gives another value" in faults(Halved())


def test_check_loss_refuses_what_is_not_a_loss() -> None:
    with pytest.raises(TypeError, match=r"@minimand\.loss makes one of a function"):
        check_loss(lambda score, target: score)  # type: ignore[arg-type]
