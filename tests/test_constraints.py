"""Which parameters penalties and constraints touch, activity penalties, and projections."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import optimize

from minimand.component import catalogue
from minimand.constraints import Constraint, MaxNorm, Unconstrained
from minimand.errors import ArgumentError, UnknownNameError
from minimand.losses import Squared
from minimand.networks import MLP
from minimand.optimizers import AdamW, ClipByNorm
from minimand.penalties import L1, L2, ElasticNet, Group, Penalty
from minimand.solvers import Objective, minimise
from minimand.training import Recipe, train


def params() -> dict[str, Any]:
    """Kernels of ones, biases of 2, scales of 3: [2, 3] and [3, 1]."""

    def layer(a: int, b: int) -> dict[str, np.ndarray]:
        return {"kernel": np.ones((a, b)), "bias": np.full(b, 2.0)}

    return {
        "hidden": {"layer0": layer(2, 3)},
        "norms": {"layer0": {"scale": np.full(3, 3.0), "bias": np.full(3, 2.0)}},
        "output": layer(3, 1),
    }


@pytest.mark.parametrize(
    ("chosen", "value"),
    [
        ({}, 6 + 3),
        ({"kinds": ("bias",)}, 2 * (3 + 3 + 1)),
        ({"kinds": ("kernel", "bias", "scale")}, 6 + 3 + 14 + 9),
        ({"layers": ("output",)}, 3),
        ({"layers": ("hidden", "output")}, 9),
        ({"layers": ("layer0",), "kinds": ("bias", "scale")}, 6 + 6 + 9),
    ],
    ids=str,
)
def test_a_penalty_touches_what_it_names(chosen: dict, value: float) -> None:
    penalty = L1(strength=1.0, **chosen)
    assert penalty.value(params()) == value
    far = penalty.prox(params(), 10.0)
    left = sum(np.abs(leaf).sum() for leaf in jax.tree.leaves(far))
    assert left == sum(leaf.sum() for leaf in jax.tree.leaves(params())) - value


@pytest.mark.parametrize(
    "acts",
    [L2(kinds=("bais",)).value, L1(layers=("ouput",)).value, MaxNorm(layers=("ouput",)).projected],
)
def test_a_name_that_is_nowhere_is_an_error(acts: Any) -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean '(bias|output)'"):
        acts(params())


@pytest.mark.parametrize(
    "acts", [L2(layers=("norms",)).value, MaxNorm(layers=("norms",)).projected]
)
def test_what_touches_nothing_is_an_error(acts: Any) -> None:
    with pytest.raises(
        ArgumentError, match=r"none of the parameters, .* called bias, kernel, scale"
    ):
        acts(params())


class Vectors(nnx.Module):
    """The mean of a vector for each code."""

    def __init__(self) -> None:
        self.table = nnx.Embed(3, 1, rngs=nnx.Rngs(0))

    def __call__(self, x: Any) -> Any:
        return jnp.mean(self.table(x.astype(int)), axis=1)


def bare() -> Any:
    def init(key: Any, x: Any) -> Any:
        return {"w": jnp.ones((x.shape[1], 1)), "b": jnp.zeros(1)}

    return init, lambda params, x: x @ params["w"] + params["b"]


CODES = np.random.default_rng(0).integers(0, 3, size=(20, 2)).astype(float)


@pytest.mark.parametrize(("network", "kinds"), [(bare, ["b", "w"]), (Vectors, ["embedding"])])
def test_a_strength_that_reaches_nothing_is_not_silent(network: Any, kinds: list[str]) -> None:
    called = f"called {', '.join(kinds)};"
    recipe = Recipe(network(), Squared(), epochs=1)
    one = partial(train, X=CODES, y=CODES[:, 0], validation=0.0)
    for acts in ({"penalty": L2(strength=1.0)}, {"constraint": MaxNorm()}):
        with pytest.raises(ArgumentError, match=f"which are {called} say which"):
            one(replace(recipe, **acts))
    with pytest.warns(UserWarning, match=f"called kernel alone, and these are {called}"):
        one(replace(recipe, optimizer=ClipByNorm(AdamW(weight_decay=1.0))))
    one(replace(recipe, optimizer=AdamW(weight_decay=0.0)))
    one(replace(recipe, penalty=L2(strength=1.0, kinds=(kinds[-1],))))


def test_a_solver_does_not_take_names_for_granted() -> None:
    X, y = np.eye(4), np.arange(4.0)
    with pytest.raises(ArgumentError, match="chooses parameters by name"):
        minimise(Objective(Squared(), L2(strength=0.1, kinds=("bias",))), X, y)


@pytest.mark.parametrize(
    "one", [L2(0.1, kinds=("bias",)), Group(layers=("a", "b")), MaxNorm(limit=2.0, layers=("a",))]
)
def test_choices_survive_json_and_text(one: Any) -> None:
    kind = Penalty if isinstance(one, Penalty) else Constraint
    assert kind.from_json(one.to_json()) == one
    assert kind.parse(str(one)) == one


# --- activities -----------------------------------------------------------------------------------


def test_a_penalty_of_activities_is_the_mean_over_the_examples() -> None:
    a = jnp.array([[1.0, -2.0], [3.0, 4.0], [9.0, 9.0]])
    seen = {"hidden": {"layer0": {"activity": a}, "layer1": {"activity": 2 * a}}}
    weight = jnp.array([1.0, 3.0, 0.0])
    kinds = ("activity",)
    l1, l2 = L1(strength=0.5, kinds=kinds), L2(strength=0.5, kinds=kinds)
    assert l1.of_activities(seen, weight) == pytest.approx(3 * 0.5 * (3 + 3 * 7) / 4)
    assert l2.of_activities(seen, weight) == pytest.approx(5 * 0.25 * (5 + 3 * 25) / 4)
    first = ElasticNet(strength=0.5, l1_ratio=1.0, kinds=kinds, layers=("layer0",))
    assert first.of_activities(seen, weight) == pytest.approx(0.5 * (3 + 3 * 7) / 4)
    assert l1.of_activities(seen, jnp.zeros(3)) == 0
    assert l1.on_activities and not L1().on_activities
    assert l1.value(params()) == 0


def test_a_penalty_of_activities_makes_hidden_units_silent() -> None:
    network, x = MLP(hidden=(8,)), jax.random.normal(jax.random.key(1), (20, 3))
    tree, state = network.init(jax.random.key(0), x)
    penalty = L1(strength=1.0, kinds=("activity",))

    def active(tree: Any) -> jax.Array:
        _, _, seen = network.observed(tree, state, x, key=jax.random.key(0), train=True)
        return penalty.of_activities(seen, jnp.ones(20))

    before, slope = active(tree), jax.jit(jax.grad(active))
    for _ in range(150):
        tree = jax.tree.map(lambda p, g: p - 0.03 * g, tree, slope(tree))
    assert active(tree) < 0.2 * before


# --- constraints ----------------------------------------------------------------------------------


def test_no_constraint_changes_nothing() -> None:
    held = params()
    assert Unconstrained().projected(held) is held


@pytest.mark.parametrize("shape", [(5, 4), (3, 3, 2, 4), (6,)])
def test_max_norm_by_hand(shape: tuple[int, ...]) -> None:
    """Each unit of the last axis, over all the others (Keras: `MaxNorm(axis=[0, ..., d - 2])`)."""
    w = 2 * np.random.default_rng(0).normal(size=shape)
    found = MaxNorm(limit=1.5).projected({"kernel": w, "bias": 9 * w})
    axes = tuple(range(len(shape) - 1)) or None
    length = np.sqrt(np.sum(w**2, axis=axes, keepdims=True))
    np.testing.assert_allclose(found["kernel"], w * np.minimum(1, 1.5 / length), rtol=1e-14)
    assert np.any(length > 1.5)
    np.testing.assert_array_equal(found["bias"], 9 * w)
    again = MaxNorm(limit=1.5).projected(found["kernel"])
    np.testing.assert_allclose(again, found["kernel"], rtol=1e-15)


def test_max_norm_is_the_nearest_point_of_its_set() -> None:
    w = np.array([2.0, -1.0, 0.5])
    nearest = optimize.minimize(
        lambda v: np.sum((v - w) ** 2),
        np.zeros(3),
        constraints={"type": "ineq", "fun": lambda v: 1 - v @ v},
        options={"ftol": 1e-14},
    ).x
    np.testing.assert_allclose(MaxNorm(limit=1.0).projected(w), nearest, atol=1e-6)


def test_a_smaller_limit_leaves_shorter_weights_and_limits_can_be_mapped() -> None:
    w = jnp.array([[3.0, 0.0], [4.0, 0.0]])
    many = jax.tree.map(lambda _: jnp.array([1.0, 2.0]), MaxNorm())
    found = jax.jit(jax.vmap(lambda one: one.projected({"kernel": w})["kernel"]))(many)
    np.testing.assert_allclose(jnp.linalg.norm(found[:, :, 0], axis=1), [1.0, 2.0], rtol=1e-6)
    assert not jnp.any(found[:, :, 1])  # a unit of zeros stays, and is no NaN


def test_constraints_have_cards() -> None:
    assert set(catalogue("constraint")) == {"Unconstrained", "MaxNorm"}
