"""Components: checked at construction, plain JSON and text, and pytrees of numbers."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minimand.metrics
import minimand.schedules
import minimand.solvers  # noqa: F401 (registers the solvers)
from minimand.component import (
    Component,
    Interval,
    Range,
    _registry,
    catalogue,
    find,
)
from minimand.data.augmentation import Chain, MixUp, Rotation
from minimand.errors import ArgumentError, ArgumentTypeError, UnknownNameError, unknown
from minimand.losses import Absolute, CrossEntropy, Huber, Loss, Quantile
from minimand.networks import MLP, Network
from minimand.optimizers import SGD, Adam, Optimizer
from minimand.penalties import L1, ElasticNet, Penalty
from minimand.training import Recipe

RECIPE = Recipe(
    MLP(hidden=(8, 4), activation="tanh"),
    Huber(delta=2.0),
    optimizer=SGD(learning_rate=0.1, nesterov=True),
    penalty=L1(strength=0.5),
    batch_size=7,
)


def every_component() -> Iterator[Component]:
    """Each registered component as it comes, and with every number changed."""
    for kind in _registry:
        for made in catalogue(kind).values():
            required = [
                f.name for f in dataclasses.fields(made) if f.default is dataclasses.MISSING
            ]
            plain = made(**{name: getattr(RECIPE, name) for name in required})
            yield plain
            floats = [n for n in plain._dynamic if isinstance(getattr(plain, n), float)]
            if floats:
                yield dataclasses.replace(plain, **{n: 0.9 * getattr(plain, n) for n in floats})


COMPONENTS = [RECIPE, *every_component()]
each_component = pytest.mark.parametrize("one", COMPONENTS, ids=lambda c: f"{c.kind} {c}"[:60])


# --- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 0.0, -1.0, -1e-300])
def test_numbers_out_of_range_are_refused_with_name_value_and_interval(bad: float) -> None:
    with pytest.raises(ArgumentError) as caught:
        Huber(delta=bad)
    assert str(caught.value) == f"Huber: delta is {bad}; it must lie in (0, inf)"
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("made", "field", "bad", "interval"),
    [
        (Quantile, "level", 0.0, "(0, 1)"),
        (Quantile, "level", 1.0, "(0, 1)"),
        (ElasticNet, "l1_ratio", 1.5, "[0, 1]"),
        (L1, "strength", -1.0, "[0, inf)"),
        (L1, "strength", math.inf, "[0, inf)"),
        (Adam, "beta1", 1.0, "[0, 1)"),
        (MLP, "outputs", 0, "[1, inf)"),
        (MLP, "hidden", (8, 0), "[1, inf)"),
        (Huber, "delta", np.array([1.0, math.nan]), "(0, inf)"),
    ],
)
def test_each_interval_is_held(made: Any, field: str, bad: Any, interval: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        made(**{field: bad})
    assert f"{made.__name__}: {field} is" in str(caught.value) and interval in str(caught.value)


@pytest.mark.parametrize(
    "bad",
    ["1", None, True, np.bool_(True), 1j, np.complex128(1), [1.0], {"a": 1}, Absolute(), object(),
     np.array(["a"]), np.array([True])],
    ids=lambda bad: f"{type(bad).__name__} {bad}".partition(" at 0x")[0],
)  # fmt: skip
def test_what_is_not_a_number_is_refused_by_name(bad: Any) -> None:
    with pytest.raises(ArgumentTypeError, match="Huber: delta must be a number, not") as caught:
        Huber(delta=bad)
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MLP(outputs=2.0), "MLP: outputs must be an integer, not 2.0"),
        (lambda: MLP(outputs=True), "MLP: outputs must be an integer, not True"),
        (lambda: MLP(hidden=64), "MLP: hidden must be a tuple such as (64, 32), not 64"),
        (lambda: SGD(nesterov=1), "SGD: nesterov must be True or False, not 1"),
        (lambda: Recipe(MLP(), Adam()), "Recipe: loss must be a loss, not Adam("),
        (lambda: Recipe(MLP(), None), "Recipe: loss must be a loss, not None"),
    ],
)
def test_wrong_types_are_refused_by_name(make: Any, message: str) -> None:
    with pytest.raises(ArgumentTypeError) as caught:
        make()
    assert message in str(caught.value)


def test_unknown_words_are_refused_with_the_nearest() -> None:
    with pytest.raises(
        UnknownNameError, match="unknown MLP: activation 'tahn'; did you mean 'tanh'"
    ):
        MLP(activation="tahn")


@given(st.floats())
def test_a_component_holds_a_valid_number_or_is_not_made(value: float) -> None:
    if 0 < value < math.inf:
        assert Huber(delta=value).delta == value
    else:
        with pytest.raises(ArgumentError):
            Huber(delta=value)


def test_numbers_are_stored_as_plain_python_numbers() -> None:
    assert type(Huber(delta=np.float32(2)).delta) is float
    assert type(Huber(delta=2).delta) is float
    assert type(MLP(outputs=np.int64(3)).outputs) is int
    assert MLP(hidden=[8, 4]).hidden == (8, 4)


def test_components_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Huber().delta = 3.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("interval", "inside", "outside"),
    [
        (Interval(0, 1, "both"), [0, 1], [-1e-9, 1.1]),
        (Interval(0, 1, "left"), [0, 0.9], [1]),
        (Interval(0, 1, "right"), [0.1, 1], [0]),
        (Interval(0, 1, "neither"), [0.5], [0, 1]),
    ],
    ids=str,
)
def test_intervals(interval: Interval, inside: list[float], outside: list[float]) -> None:
    assert interval.contains(np.array(inside))
    assert not any(interval.contains(v) for v in [*outside, math.nan])


def test_range_grid() -> None:
    assert Range(1.0, 3.0).grid(3) == (1.0, 2.0, 3.0)
    assert Range(1e-4, 1.0, log=True).grid(5) == (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


# --- text and JSON --------------------------------------------------------------------------------


@each_component
def test_json_round_trip(one: Component) -> None:
    text = json.dumps(one.to_json(), allow_nan=False)
    assert type(one).from_json(json.loads(text)) == one


@each_component
def test_text_round_trip(one: Component) -> None:
    assert type(one).parse(str(one)) == one


def test_text_by_hand() -> None:
    assert Loss.parse("huber(delta=2)") == Huber(delta=2.0)
    assert Loss.parse(" HUBER ") == Huber()
    assert Loss.parse("cross_entropy") == CrossEntropy()
    assert Network.parse("mlp(hidden=(32, 16), activation=tanh)") == MLP((32, 16), 1, "tanh")
    assert str(Huber()) == "Huber" and str(Huber(delta=2.0)) == "Huber(delta=2.0)"
    assert str(Recipe(MLP(), Huber(2.0))) == "Recipe(network=MLP, loss=Huber(delta=2.0))"
    assert Recipe("mlp", "huber(delta=2)") == Recipe(MLP(), Huber(delta=2.0))


def test_a_tracer_is_left_out_of_the_text() -> None:
    chain = Chain((Rotation(degrees=5.0, value=1.0), MixUp(alpha=0.4)))

    def said(one: Component) -> int:
        seen.extend((str(one), repr(one)))
        return 0

    seen: list[str] = []
    jax.jit(said)(Recipe(MLP(dropout=0.3), Huber(2.0), augmentation=chain))
    assert seen[0].startswith("Recipe(network=MLP, loss=Huber, augmentation=Chain(")
    assert "degrees" in seen[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hubber", "unknown loss 'hubber'; did you mean 'Huber'?"),
        ("huber(dleta=2)", "unknown field of Huber 'dleta'; did you mean 'delta'?"),
        ("huber(2)", "cannot read loss 'huber(2)'"),
        ("huber(delta=2", "cannot read loss 'huber(delta=2'"),
        ("", "cannot read loss ''"),
        ("a.b(c=1)", "cannot read loss 'a.b(c=1)'"),
        ("huber(delta=0)", "Huber: delta is 0; it must lie in (0, inf)"),
    ],
)
def test_text_that_cannot_be_read(text: str, message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        Loss.parse(text)
    assert message in str(caught.value)


def test_text_is_never_run() -> None:
    with pytest.raises(ArgumentTypeError, match="delta must be a number"):
        Loss.parse("huber(delta=__import__('os').getpid())")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "a stored loss must name its 'type'; got {}"),
        ({"type": "Hubber"}, "did you mean 'Huber'"),
        ({"type": "Huber", "dleta": 1}, "unknown field of Huber 'dleta'"),
        ({"type": "Huber", "delta": -1}, "it must lie in (0, inf)"),
    ],
)
def test_json_that_cannot_be_read(data: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        Loss.from_json(data)
    assert message in str(caught.value)


def test_names_are_found_whatever_their_case_and_kinds_do_not_mix() -> None:
    assert find("loss", "squared-hinge") is find("loss", "squared_hinge")
    assert find("schedule", "exponential") is not find("loss", "exponential")
    with pytest.raises(UnknownNameError, match=r"unknown loss 'adam'"):
        find("loss", "adam")


def test_unknown_lists_at_most_forty_names() -> None:
    text = str(unknown("column", "x", [f"c{i:03}" for i in range(100)]))
    assert "c039" in text and "c040" not in text and text.endswith(", ...")


# --- equality, facts, documentation ---------------------------------------------------------------


@each_component
def test_equal_components_hash_equally(one: Component) -> None:
    twin = dataclasses.replace(one)  # type: ignore[type-var]
    assert twin is not one and twin == one and hash(twin) == hash(one)
    others = [c for c in COMPONENTS if type(c) is type(one) and str(c) != str(one)]
    assert all(other != one for other in others)


def test_facts_follow_the_hyperparameters() -> None:
    assert Huber(delta=3.0).fact("lipschitz") == 3.0
    assert Quantile(level=0.9).fact("lipschitz") == 0.9
    assert Huber().fact("curvature") == 1.0


@each_component
def test_every_component_that_is_not_put_together_says_where_it_comes_from(one: Component) -> None:
    if one.kind not in ("recipe", "objective"):
        card = type(one).card
        assert card.formula and card.source and card.use
        assert card.formula in (type(one).__doc__ or "")
        assert set(card.search) <= set(one._dynamic)


# --- pytrees --------------------------------------------------------------------------------------


def numbers(one: Component) -> list[float]:
    """The leaves by the rule: floats in order of definition, children in their place."""
    found: list[float] = []
    for field in dataclasses.fields(one):  # type: ignore[arg-type]
        value = getattr(one, field.name)
        if isinstance(value, Component):
            found += numbers(value)
        elif isinstance(value, tuple):
            found += [n for part in value if isinstance(part, Component) for n in numbers(part)]
        elif isinstance(value, float):
            found.append(value)
    return found


@each_component
def test_leaves_are_exactly_the_numbers(one: Component) -> None:
    leaves, structure = jax.tree.flatten(one)
    assert leaves == numbers(one)
    assert jax.tree.unflatten(structure, leaves) == one


def test_leaves_know_their_names() -> None:
    paths = [jax.tree_util.keystr(p) for p, _ in jax.tree_util.tree_leaves_with_path(RECIPE)]
    assert ".loss.delta" in paths and ".optimizer.learning_rate" in paths
    assert not any("batch_size" in path or "hidden" in path for path in paths)


def test_tree_map_changes_numbers_and_keeps_the_rest() -> None:
    doubled = jax.tree.map(lambda leaf: 2 * leaf, RECIPE)
    assert doubled.loss == Huber(delta=4.0) and doubled.batch_size == 7
    assert doubled.network == RECIPE.network


def test_jit_compiles_again_only_when_the_structure_changes() -> None:
    traces = []

    @jax.jit
    def f(rule: Optimizer, loss: Loss) -> jax.Array:
        traces.append(rule)
        return rule.learning_rate * loss.value(jnp.ones(2), jnp.zeros(2))

    for delta in (1.0, 2.0, 3.0):
        f(SGD(learning_rate=delta / 10), Huber(delta=delta))
    assert len(traces) == 1
    f(SGD(learning_rate=0.1, nesterov=True), Huber())
    assert len(traces) == 2
    f(SGD(learning_rate=0.1), Absolute())
    assert len(traces) == 3


def test_members_are_components_with_stacked_numbers() -> None:
    members = jax.tree.map(lambda *leaves: np.array(leaves), Huber(delta=1.0), Huber(delta=3.0))
    values = jax.vmap(lambda one: one.value(jnp.array(10.0), jnp.array(0.0)))(members)
    assert values.tolist() == [9.5, 25.5]  # δ (|r| - δ/2)


def test_a_number_may_be_a_tracer_at_construction() -> None:
    slope = jax.grad(lambda delta: Huber(delta=delta)(np.array([10.0]), np.zeros(1)))(2.0)
    assert slope == 8.0  # d/dδ of δ (|r| - δ/2) is |r| - δ


BEFORE_JAX = """
import sys
from minimand.losses import Huber
from minimand.component import register_pytrees
early = Huber(delta=2.0)
assert "jax" not in sys.modules
import jax, jax.numpy as jnp
def value(loss): return loss.value(jnp.array([10.0]), jnp.zeros(1))[0]
assert jax.jit(lambda: value(early))() == 18.0
{register}
assert jax.tree.leaves(early) == [2.0]
print(jax.jit(value)(early))
"""


@pytest.mark.parametrize("register", ["register_pytrees()", "Huber()", "import minimand.networks"])
def test_a_component_made_before_jax_is_imported_works_in_jit(register: str) -> None:
    code = BEFORE_JAX.format(register=register)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "18.0"


def test_a_penalty_of_the_wrong_kind_is_not_found() -> None:
    with pytest.raises(UnknownNameError, match="unknown penalty 'huber'"):
        Penalty.parse("huber")
