"""What is put around a rule, against the same thing done by hand in NumPy."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from minimand.errors import ArgumentError, UnknownNameError
from minimand.optimizers import (
    SAM,
    SGD,
    Accumulate,
    Adam,
    AdamW,
    Averaged,
    ClipByLayer,
    ClipByNorm,
    ClipByValue,
    Decayed,
    Groups,
    Momentum,
    Optimizer,
    ScheduleFree,
    Sophia,
)

PARAMS = {
    "hidden": {"kernel": np.array([[1.0, -2.0], [3.0, 4.0]]), "bias": np.array([1.0, -1.0])},
    "output": {"kernel": np.array([[2.0], [-1.0]]), "bias": np.array([0.5])},
}
GRADIENT = {
    "hidden": {"kernel": np.array([[3.0, 0.0], [0.0, 0.0]]), "bias": np.array([0.0, -4.0])},
    "output": {"kernel": np.array([[12.0], [0.0]]), "bias": np.array([0.0])},
}


def walk(rule: Optimizer, gradients: list[Any], start: Any = PARAMS) -> tuple[list[Any], Any]:
    """The parameters after each step with these gradients, and those to judge in the end."""
    with jax.enable_x64(True):
        params = jax.tree.map(jnp.asarray, start)
        transform = optax.with_extra_args_support(rule.transform())
        state, path = transform.init(params), []
        for gradient in gradients:
            updates, state = transform.update(jax.tree.map(jnp.asarray, gradient), state, params)
            params = optax.apply_updates(params, updates)
            path.append(jax.tree.map(np.asarray, params))
        return path, jax.tree.map(np.asarray, rule.evaluated(params, state))


def moved(rule: Optimizer) -> Any:
    """What one step of size 1 subtracts."""
    (after,), _ = walk(rule, [GRADIENT])
    return jax.tree.map(lambda a, b: a - b, PARAMS, after)


def assert_equal(found: Any, expected: Any, rtol: float = 1e-12) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=1e-12)


def scaled(hidden: float, output: float) -> Any:
    return {
        "hidden": {name: hidden * g for name, g in GRADIENT["hidden"].items()},
        "output": {name: output * g for name, g in GRADIENT["output"].items()},
    }


def test_clipping_is_by_entry_by_the_whole_length_or_by_the_length_of_a_layer() -> None:
    """‖g‖ = 13; the hidden layer's part has length 5, the output's 12."""
    assert_equal(
        moved(ClipByValue(SGD(1.0), limit=3.5)),
        jax.tree.map(lambda g: np.clip(g, -3.5, 3.5), GRADIENT),
    )
    assert_equal(moved(ClipByNorm(SGD(1.0), max_norm=6.5)), scaled(1 / 2, 1 / 2))
    assert_equal(moved(ClipByNorm(SGD(1.0), max_norm=13.5)), GRADIENT)
    assert_equal(moved(ClipByLayer(SGD(1.0), max_norm=6.0)), scaled(1, 1 / 2))
    assert_equal(moved(ClipByLayer(SGD(1.0), max_norm=1.0)), scaled(1 / 5, 1 / 12))


def batch_gradient(params: Any, x: Any, y: Any) -> Any:
    def cost(p: Any) -> Any:
        h = jnp.tanh(x @ p["hidden"]["kernel"] + p["hidden"]["bias"])
        return jnp.mean((h @ p["output"]["kernel"] + p["output"]["bias"] - y) ** 2)

    return jax.grad(cost)(params)


@pytest.mark.parametrize("rule", [Momentum(0.1), Adam(0.01), ClipByNorm(Adam(), 0.1)], ids=str)
def test_four_batches_of_eight_are_one_of_thirty_two(rule: Optimizer) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(3, 32, 2)), rng.normal(size=(3, 32, 1))
    with jax.enable_x64(True):
        whole = rule.transform()
        parted = optax.with_extra_args_support(Accumulate(rule, steps=4).transform())
        one = other = jax.tree.map(jnp.asarray, PARAMS)
        state, states = whole.init(one), parted.init(other)
        micro = jax.jit(lambda p, s, x, y: parted.update(batch_gradient(p, x, y), s, p))
        for big, target in zip(x, y, strict=True):
            updates, state = whole.update(batch_gradient(one, big, target), state, one)
            one = optax.apply_updates(one, updates)
            for part in range(4):
                rows = slice(8 * part, 8 * part + 8)
                updates, states = micro(other, states, big[rows], target[rows])
                still = all(not np.any(u) for u in jax.tree.leaves(updates))
                assert still == (part < 3)
                other = optax.apply_updates(other, updates)
            assert_equal(other, one)


def test_members_may_take_their_accumulated_steps_at_different_times() -> None:
    """What is due for one member is not done to another."""
    parted = optax.with_extra_args_support(Accumulate(SGD(1.0), steps=2).transform())
    fresh = parted.init(jnp.zeros(1))
    _, begun = parted.update(jnp.ones(1), fresh, jnp.zeros(1))
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), fresh, begun)
    updates, _ = jax.vmap(lambda state: parted.update(3 * jnp.ones(1), state, jnp.zeros(1)))(both)
    assert updates[:, 0].tolist() == [0.0, -2.0]


def test_averaged_judges_by_a_fading_mean_and_trains_as_ever() -> None:
    gradients = [jax.tree.map(lambda g, k=k: k * g, GRADIENT) for k in (1.0, -2.0, 0.5)]
    path, judged = walk(Averaged(SGD(0.1), decay=0.8), gradients)
    assert_equal(path[-1], walk(SGD(0.1), gradients)[0][-1])
    weights = 0.8 ** np.arange(3, -1, -1)
    mean = jax.tree.map(
        lambda *steps: np.tensordot(weights / weights.sum(), np.array(steps), 1), PARAMS, *path
    )
    assert_equal(judged, mean)
    assert_equal(walk(Averaged(SGD(0.1)), [])[1], PARAMS)


def test_what_is_judged_passes_through_wrappers() -> None:
    gradients = [GRADIENT, GRADIENT]
    inner = walk(Averaged(SGD(0.1)), gradients)[1]
    for outer in (Decayed(Averaged(SGD(0.1)), weight_decay=0.0), SAM(Averaged(SGD(0.1)))):
        assert_equal(walk(outer, gradients)[1], inner)
    halves = [half for gradient in gradients for half in (gradient, gradient)]
    assert_equal(walk(Accumulate(Averaged(SGD(0.1)), steps=2), halves)[1], inner)


def test_sam_inside_another_still_looks_uphill() -> None:
    seen = []

    def gradient_at(params: Any) -> Any:
        seen.append(float(params["kernel"][0]))
        return len(seen), {"kernel": 2 * params["kernel"]}

    first, slope = ClipByNorm(SAM(SGD(0.1), rho=0.5)).gradient(
        gradient_at, {"kernel": jnp.array([3.0])}
    )
    assert (first, seen, float(slope["kernel"][0])) == (1, [3.0, 3.5], 7.0)


def test_decay_touches_kernels_alone_and_adamw_is_adam_decayed() -> None:
    still = jax.tree.map(np.zeros_like, GRADIENT)
    (after,), _ = walk(Decayed(SGD(0.5), weight_decay=0.2), [still])
    for layer, before in PARAMS.items():
        np.testing.assert_allclose(after[layer]["kernel"], 0.9 * before["kernel"])
        np.testing.assert_array_equal(after[layer]["bias"], before["bias"])
    gradients = [GRADIENT] * 3
    assert_equal(
        walk(Decayed(Adam(0.1), weight_decay=0.3), gradients)[0][-1],
        walk(AdamW(0.1, weight_decay=0.3), gradients)[0][-1],
    )
    assert Decayed(ClipByNorm(Adam(0.1))).learning_rate == 0.1


def test_groups_go_by_the_name_of_a_parameter_or_of_a_layer() -> None:
    step = moved(Groups(SGD(1.0), name="bias", other=SGD(0.1)))
    assert step["hidden"]["bias"][1] == pytest.approx(-0.4)
    assert step["hidden"]["kernel"][0, 0] == pytest.approx(3.0)
    nested = Groups(Groups(SGD(1.0), name="bias", other=SGD(0.1)), "output", SGD(0.01))
    step = moved(nested)
    assert step["output"]["kernel"][0, 0] == pytest.approx(0.12)
    assert step["hidden"]["bias"][1] == pytest.approx(-0.4)
    assert step["hidden"]["kernel"][0, 0] == pytest.approx(3.0)


def test_decay_and_matrices_are_known_inside_groups() -> None:
    still = jax.tree.map(np.zeros_like, GRADIENT)
    rule = Groups(AdamW(1.0, weight_decay=0.5), name="output", other=SGD(1.0))
    (after,), _ = walk(rule, [still])
    np.testing.assert_allclose(after["hidden"]["kernel"], 0.5 * PARAMS["hidden"]["kernel"])
    np.testing.assert_array_equal(after["hidden"]["bias"], PARAMS["hidden"]["bias"])
    np.testing.assert_array_equal(after["output"]["kernel"], PARAMS["output"]["kernel"])


def test_an_unknown_group_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(
        UnknownNameError,
        match=r"unknown parameter or layer 'biases'; did you mean 'bias'\? "
        "Known: bias, hidden, kernel, output",
    ):
        walk(Groups(name="biases"), [GRADIENT])


@pytest.mark.parametrize(
    "inner", [SAM(), ScheduleFree(), Sophia(), ClipByNorm(Averaged())], ids=str
)
def test_rules_that_need_all_parameters_are_refused_in_groups(inner: Optimizer) -> None:
    for make in (lambda: Groups(inner), lambda: Groups(other=inner)):
        with pytest.raises(ArgumentError, match="acts on all parameters together; put it outside"):
            make()
    assert Groups(Groups(ClipByNorm(Accumulate()))).divisible


def test_an_optax_rule_can_be_wrapped() -> None:
    own, theirs = ClipByNorm(SGD(0.1), max_norm=1.0), ClipByNorm(optax.sgd(0.1), max_norm=1.0)
    gradient = {"kernel": jnp.array([3.0, 4.0])}
    steps = [
        rule.transform().update(gradient, rule.transform().init(gradient), gradient)[0]
        for rule in (own, theirs)
    ]
    np.testing.assert_allclose(steps[0]["kernel"], [-0.06, -0.08], rtol=1e-6)
    np.testing.assert_array_equal(steps[0]["kernel"], steps[1]["kernel"])


def test_a_wrapper_that_needs_the_learning_rate_says_that_optax_hides_it() -> None:
    with pytest.raises(ArgumentError, match="ScheduleFree needs the learning rate"):
        ScheduleFree(optax.sgd(0.1)).transform()
