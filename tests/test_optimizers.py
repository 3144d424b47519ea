"""Update rules: a hundred steps as PyTorch, Keras or the paper takes them, at two rates at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from minimand.component import Range, catalogue
from minimand.errors import ArgumentError
from minimand.optimizers import (
    LAMB,
    LARS,
    SAM,
    SGD,
    SGLD,
    SOAP,
    AdaDelta,
    Adafactor,
    AdaGrad,
    Adam,
    AdamW,
    AMSGrad,
    GradientDescent,
    Lion,
    Momentum,
    Muon,
    NAdam,
    Nesterov,
    Optimizer,
    Prodigy,
    RAdam,
    RMSProp,
    ScheduleFree,
    Shampoo,
    Sophia,
    Wrapper,
)

STEPS = 100
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(6, 3)), RNG.normal(size=6)
START = {
    "hidden": {"kernel": RNG.normal(size=(3, 4)), "bias": RNG.normal(size=4)},
    "output": {"kernel": RNG.normal(size=4)},
}
Flat = dict[str, np.ndarray]
"""The parameters by path: hidden.kernel, hidden.bias, output.kernel."""


def loss(xp: Any, kernel: Any, bias: Any, output: Any) -> Any:
    """A small network's mean squared error."""
    return ((xp.tanh(xp.asarray(X) @ kernel + bias) @ output - xp.asarray(Y)) ** 2).mean()


def parts(params: Any) -> tuple[Any, Any, Any]:
    return params["hidden"]["kernel"], params["hidden"]["bias"], params["output"]["kernel"]


def flat(params: Any) -> Flat:
    names = ("hidden.kernel", "hidden.bias", "output.kernel")
    return dict(zip(names, map(np.array, parts(params)), strict=True))


def run(rule: Optimizer, cost: Callable[[Any], Any], start: Any, steps: int = STEPS) -> Any:
    """The parameters to judge after each step, as the training engine would take it."""
    transform = optax.with_extra_args_support(rule.transform())

    def gradient_at(params: Any) -> Any:
        return jax.value_and_grad(cost)(params)

    def step(carry: Any, t: jax.Array) -> Any:
        params, state = carry
        value, gradient = rule.gradient(gradient_at, params)
        extra = {"value": value, "key": jax.random.key(t), "gradient_at": gradient_at}
        updates, state = transform.update(gradient, state, params, **extra)
        params = optax.apply_updates(params, updates)
        return (params, state), rule.evaluated(params, state)

    start = jax.tree.map(jnp.asarray, start)
    return jax.lax.scan(step, (start, transform.init(start)), jnp.arange(steps))[1]


def halved(rule: Any) -> Any:
    """The rule at half its learning rate."""
    if isinstance(rule, Wrapper):
        return replace(rule, optimizer=halved(rule.optimizer))
    return replace(rule, learning_rate=rule.learning_rate / 2)


def ours(rule: Optimizer) -> tuple[Flat, Flat]:
    """The trajectories at the learning rate and at half of it, from one program."""
    with jax.enable_x64(True):
        both = jax.tree.map(lambda *leaves: jnp.array(leaves), rule, halved(rule))
        paths = jax.jit(jax.vmap(lambda r: run(r, lambda p: loss(jnp, *parts(p)), START)))(both)
        return tuple(flat(jax.tree.map(lambda path, i=i: path[i], paths)) for i in (0, 1))


# --- PyTorch and Keras ---


def by_torch(make: Callable[[Any, Any], torch.optim.Optimizer]) -> Callable[[Any], Flat]:
    def path(rule: Any) -> Flat:
        torch.set_default_dtype(torch.float64)  # of the products that NAdam keeps
        params = [torch.tensor(p, requires_grad=True) for p in parts(START)]
        peer = make([{"params": params[::2]}, {"params": params[1:2]}], rule)
        steps = []
        for _ in range(STEPS):
            peer.zero_grad()
            loss(torch, *params).backward()
            peer.step()
            steps.append([p.detach().numpy().copy() for p in params])
        torch.set_default_dtype(torch.float32)
        return dict(zip(flat(START), map(np.array, zip(*steps, strict=True)), strict=True))

    return path


KERAS = """
import json, sys
import keras, numpy as np
keras.config.set_floatx("float64")
X, Y, start, jobs = json.load(sys.stdin)
X, Y = np.array(X), np.array(Y)
paths = []
for name, arguments in jobs:
    p = [keras.Variable(np.array(value), name=key) for key, value in start.items()]
    rule = getattr(keras.optimizers, name)(**arguments)
    rule.exclude_from_weight_decay(var_names=["bias"])
    path = []
    for _ in range(100):
        W, b, v = (np.array(keras.ops.convert_to_numpy(q)) for q in p)
        h = np.tanh(X @ W + b)
        r = 2 * (h @ v - Y) / len(Y)
        back = np.outer(r, v) * (1 - h**2)
        slopes = [X.T @ back, back.sum(axis=0), h.T @ r]
        rule.apply([keras.ops.convert_to_tensor(g) for g in slopes], p)
        path.append([np.array(keras.ops.convert_to_numpy(q)).tolist() for q in p])
    paths.append(path)
json.dump(paths, sys.stdout)
"""
KERAS_RULES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "Adagrad": lambda r: {
        "initial_accumulator_value": r.initial_accumulator_value,
        "epsilon": r.eps,
    },
    "Lion": lambda r: {"beta_1": r.beta1, "beta_2": r.beta2, "weight_decay": r.weight_decay},
    "Lamb": lambda r: {"beta_1": r.beta1, "beta_2": r.beta2, "epsilon": r.eps},
}


@lru_cache
def keras_paths() -> dict[tuple[str, float], Flat]:
    """All trajectories of Keras, from one process: importing it here would settle its backend."""
    jobs = [
        (name, KERAS_RULES[name](rule) | {"learning_rate": rule.learning_rate})
        for name, full in KERAS_ROWS
        for rule in (full, halved(full))
    ]
    start = {name: value.tolist() for name, value in flat(START).items()}
    done = subprocess.run(
        [sys.executable, "-c", KERAS],
        input=json.dumps([X.tolist(), Y.tolist(), start, jobs]),
        env=os.environ | {"KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
        check=True,
    )
    return {
        (name, arguments["learning_rate"]): dict(
            zip(start, map(np.array, zip(*path, strict=True)), strict=True)
        )
        for (name, arguments), path in zip(jobs, json.loads(done.stdout), strict=True)
    }


def by_keras(name: str) -> Callable[[Any], Flat]:
    return lambda rule: keras_paths()[name, rule.learning_rate]


KERAS_ROWS: list[tuple[str, Any]] = [
    ("Adagrad", AdaGrad()),
    ("Lion", Lion()),
    ("Lamb", LAMB(weight_decay=0.0)),
]

# --- The papers, in NumPy ---


def slopes(p: Flat) -> Flat:
    """The gradient of the loss, by hand."""
    h = np.tanh(X @ p["hidden.kernel"] + p["hidden.bias"])
    r = 2 * (h @ p["output.kernel"] - Y) / len(Y)
    back = np.outer(r, p["output.kernel"]) * (1 - h**2)
    return dict(zip(p, (X.T @ back, back.sum(axis=0), h.T @ r), strict=True))


def by_paper(step: Callable[..., Any]) -> Callable[[Any], Flat]:
    """`step(rule, p, s, t)` changes parameters and state in place; what it returns is judged."""

    def path(rule: Any) -> Flat:
        p, s = flat(START), {}
        seen = []
        for t in range(1, STEPS + 1):
            judged = step(rule, p, s, t) or p
            seen.append({name: value.copy() for name, value in judged.items()})
        return {name: np.array([judged[name] for judged in seen]) for name in p}

    return path


def decays(name: str) -> bool:
    return name.endswith("kernel")


def lars(rule: LARS, p: Flat, s: Flat, t: int) -> None:
    for name, g in slopes(p).items():
        rate = rule.learning_rate
        if decays(name):
            g = g + rule.weight_decay * p[name]
            rate *= rule.trust_coefficient * np.linalg.norm(p[name]) / np.linalg.norm(g)
        s[name] = rule.momentum * s.get(name, 0) + rate * g
        p[name] -= s[name]


def adam_ratio(rule: Any, s: Any, name: str, g: np.ndarray, t: int) -> np.ndarray:
    m, v = s.get(name, (0, 0))
    m = rule.beta1 * m + (1 - rule.beta1) * g
    v = rule.beta2 * v + (1 - rule.beta2) * g**2
    s[name] = m, v
    return m / (1 - rule.beta1**t) / (np.sqrt(v / (1 - rule.beta2**t)) + rule.eps)


def lamb(rule: LAMB, p: Flat, s: Any, t: int) -> None:
    for name, g in slopes(p).items():
        u = adam_ratio(rule, s, name, g, t) + rule.weight_decay * p[name] * decays(name)
        p[name] -= rule.learning_rate * np.linalg.norm(p[name]) / np.linalg.norm(u) * u


def prodigy(rule: Prodigy, p: Flat, s: Any, t: int) -> None:
    """Algorithm 4, with γ = η √(1-β₂ᵗ) / (1-β₁ᵗ)."""
    if t == 1:
        s |= {"start": flat(START), "d": rule.d0, "r": 0.0}
        s |= {key: dict.fromkeys(p, 0.0) for key in "mvs"}
    d, fade = s["d"], np.sqrt(rule.beta2)
    gamma = rule.learning_rate * np.sqrt(1 - rule.beta2**t) / (1 - rule.beta1**t)
    slope = slopes(p)
    along = sum(np.sum(slope[n] * (s["start"][n] - p[n])) for n in p)
    s["r"] = fade * s["r"] + (1 - fade) * gamma * d**2 * along
    for n in p:
        s["m"][n] = rule.beta1 * s["m"][n] + (1 - rule.beta1) * d * slope[n]
        s["v"][n] = rule.beta2 * s["v"][n] + (1 - rule.beta2) * d**2 * slope[n] ** 2
        s["s"][n] = fade * s["s"][n] + (1 - fade) * gamma * d**2 * slope[n]
    s["d"] = max(d, s["r"] / sum(np.abs(s["s"][n]).sum() for n in p))
    for n in p:
        p[n] -= gamma * d * s["m"][n] / (np.sqrt(s["v"][n]) + s["d"] * rule.eps)


def schedule_free(rule: ScheduleFree, p: Flat, s: Any, t: int) -> Flat:
    """`p` holds y; z and x are the state. The rule inside is AdamW without momentum."""
    inner: Any = rule.optimizer
    if t == 1:
        s |= {"z": flat(START), "x": flat(START), "adam": {}}
    for n, g in slopes(p).items():
        u = adam_ratio(inner, s["adam"], n, g, t) + inner.weight_decay * p[n] * decays(n)
        s["z"][n] -= inner.learning_rate * u
        s["x"][n] = (1 - 1 / t) * s["x"][n] + s["z"][n] / t
        p[n] = (1 - rule.beta1) * s["z"][n] + rule.beta1 * s["x"][n]
    return s["x"]


def sam(rule: SAM, p: Flat, s: Flat, t: int) -> None:
    first, inner = slopes(p), rule.optimizer
    length = np.sqrt(sum(np.sum(g**2) for g in first.values()))
    for n, g in slopes({n: p[n] + rule.rho * first[n] / length for n in p}).items():
        s[n] = inner.momentum * s.get(n, 0) + g
        p[n] -= inner.learning_rate * s[n]


def muon(rule: Muon, p: Flat, s: Any, t: int) -> None:
    """Jordan's page: five steps of Newton-Schulz on the momentum, looked ahead."""
    for n, g in slopes(p).items():
        if g.ndim < 2:
            u = adam_ratio(rule.rest, s, n, g, t) + rule.rest.weight_decay * p[n] * decays(n)
            p[n] -= rule.rest.learning_rate * u
            continue
        s[n] = rule.momentum * s.get(n, 0) + g
        x = g + rule.momentum * s[n]
        x = x / (np.linalg.norm(x) + 1e-7)
        for _ in range(5):
            a = x @ x.T
            x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
        wide = np.sqrt(max(1, g.shape[1] / g.shape[0]))
        p[n] -= rule.learning_rate * (wide * x + rule.weight_decay * p[n])


def power(a: np.ndarray, exponent: float) -> np.ndarray:
    values, vectors = np.linalg.eigh(a)
    return vectors @ np.diag(values**exponent) @ vectors.T


def shampoo(rule: Shampoo, p: Flat, s: Any, t: int) -> None:
    for n, g in slopes(p).items():
        if g.ndim < 2:
            s[n] = s.get(n, rule.rest.initial_accumulator_value) + g**2
            p[n] -= rule.rest.learning_rate * g / np.sqrt(s[n] + rule.rest.eps)
            continue
        left, right, _, _ = s.get(n, [rule.eps * np.eye(size) for size in g.shape] + [0, 0])
        left, right = left + g @ g.T, right + g.T @ g
        roots = [power(left, -0.25), power(right, -0.25)]
        s[n] = [left, right, *(s[n][2:] if (t - 1) % rule.precondition_frequency else roots)]
        p[n] -= rule.learning_rate * s[n][2] @ g @ s[n][3]


def soap(rule: SOAP, p: Flat, s: Any, t: int) -> None:
    for n, g in slopes(p).items():
        if g.ndim < 2:
            u = adam_ratio(rule.rest, s, n, g, t) + rule.rest.weight_decay * p[n] * decays(n)
            p[n] -= rule.rest.learning_rate * u
            continue
        rows, columns = (np.eye(size) for size in g.shape)
        m, v, left, right, ql, qr = s.get(n, (0, 0, 0, 0, rows, columns))
        m = rule.beta1 * m + (1 - rule.beta1) * g
        v = rule.beta2 * v + (1 - rule.beta2) * (ql.T @ g @ qr) ** 2
        turned = (ql.T @ m @ qr) / (1 - rule.beta1**t)
        ratio = turned / (np.sqrt(v / (1 - rule.beta2**t)) + rule.eps)
        p[n] -= rule.learning_rate * (ql @ ratio @ qr.T + rule.weight_decay * p[n])
        left = rule.beta2 * left + (1 - rule.beta2) * g @ g.T
        right = rule.beta2 * right + (1 - rule.beta2) * g.T @ g
        if t % rule.precondition_frequency == 0:
            ql, qr = np.linalg.qr(left @ ql).Q, np.linalg.qr(right @ qr).Q
        s[n] = m, v, left, right, ql, qr


# --- The table ---

optim = torch.optim
PEERS: list[tuple[Any, Callable[[Any], Flat]]] = [
    (GradientDescent(0.1), by_torch(lambda p, r: optim.SGD(p, r.learning_rate))),
    (
        SGD(0.05, 0.8, True),
        by_torch(lambda p, r: optim.SGD(p, r.learning_rate, 0.8, nesterov=True)),
    ),
    (Momentum(), by_torch(lambda p, r: optim.SGD(p, r.learning_rate, r.momentum))),
    (
        Nesterov(),
        by_torch(lambda p, r: optim.SGD(p, r.learning_rate, r.momentum, nesterov=True)),
    ),
    (RMSProp(), by_torch(lambda p, r: optim.RMSprop(p, r.learning_rate, r.rho, r.eps))),
    (AdaDelta(), by_torch(lambda p, r: optim.Adadelta(p, r.learning_rate, r.rho, r.eps))),
    (
        Adafactor(),
        by_torch(lambda p, r: optim.Adafactor(p, r.learning_rate, -r.decay_rate, (1e-30, 1e-3))),
    ),
    (Adam(), by_torch(lambda p, r: optim.Adam(p, r.learning_rate))),
    (
        Adam(0.1, 0.8, 0.95, 1e-3),
        by_torch(lambda p, r: optim.Adam(p, r.learning_rate, (0.8, 0.95), 1e-3)),
    ),
    (
        AdamW(weight_decay=0.1),
        by_torch(lambda p, r: optim.AdamW(decayed(p, r), r.learning_rate)),
    ),
    (
        AMSGrad(0.03, beta2=0.9),
        by_torch(lambda p, r: optim.Adam(p, r.learning_rate, (0.9, 0.9), amsgrad=True)),
    ),
    (
        NAdam(),  # PyTorch's momentum grows towards beta1, at once if its decay is huge
        by_torch(lambda p, r: optim.NAdam(p, r.learning_rate, momentum_decay=1e9)),
    ),
    (
        RAdam(eps=1e-30),  # PyTorch adds ε before the correction of the bias
        by_torch(lambda p, r: optim.RAdam(p, r.learning_rate, eps=r.eps)),
    ),
    *((rule, by_keras(name)) for name, rule in KERAS_ROWS),
    (LARS(), by_paper(lars)),
    (LAMB(weight_decay=0.1), by_paper(lamb)),
    (Prodigy(d0=1e-4), by_paper(prodigy)),
    (ScheduleFree(), by_paper(schedule_free)),
    (SAM(rho=0.2), by_paper(sam)),
    (Muon(rest=AdamW(weight_decay=0.1)), by_paper(muon)),
    (Shampoo(precondition_frequency=3), by_paper(shampoo)),
    (SOAP(precondition_frequency=3), by_paper(soap)),
]


def decayed(groups: Any, rule: Any) -> Any:
    """Groups for PyTorch in which all but the biases decay."""
    kernels, biases = groups
    return [kernels | {"weight_decay": rule.weight_decay}, biases | {"weight_decay": 0.0}]


@pytest.mark.parametrize(("rule", "peer"), PEERS, ids=[str(rule)[:40] for rule, _ in PEERS])
def test_a_hundred_steps_equal_an_independent_implementation(
    rule: Optimizer, peer: Callable[[Any], Flat]
) -> None:
    for found, made in zip(ours(rule), (rule, halved(rule)), strict=True):
        for name, expected in peer(made).items():
            np.testing.assert_allclose(found[name], expected, rtol=1e-10, atol=1e-12)


WRAPPERS = {name for name, made in catalogue("optimizer").items() if issubclass(made, Wrapper)}


def test_every_rule_has_a_peer() -> None:
    """Wrappers have theirs in test_optimizers_wrappers.py."""
    elsewhere = WRAPPERS | {"SGLD", "Sophia"}
    assert {type(rule).__name__ for rule, _ in PEERS} | elsewhere == set(catalogue("optimizer"))


# --- Rules with random numbers ---


def test_sophia_is_its_paper_where_the_hessian_is_diagonal() -> None:
    """There random signs find the diagonal exactly; algorithm 3, with a decay of the kernel."""
    scale = {"kernel": np.array([[0.3, 1.0], [2.0, 3.0]]), "bias": np.array([0.5, 4.0])}
    start = {"kernel": np.array([[2.0, -1.0], [0.5, 1.0]]), "bias": np.array([1.0, -2.0])}
    rule = Sophia(0.05, gamma=0.5, update_interval=3, weight_decay=0.1)

    def cost(params: Any) -> Any:
        return sum(jnp.log(jnp.cosh(scale[n] * params[n])).sum() for n in params)

    with jax.enable_x64(True):
        found = jax.jit(lambda r: run(r, cost, start))(rule)
    p = {name: value.copy() for name, value in start.items()}
    m, h = dict.fromkeys(p, 0.0), dict.fromkeys(p, 0.0)
    for t in range(STEPS):
        for n, a in scale.items():
            m[n] = rule.beta1 * m[n] + (1 - rule.beta1) * a * np.tanh(a * p[n])
            if t % 3 == 0:
                h[n] = rule.beta2 * h[n] + (1 - rule.beta2) * (a / np.cosh(a * p[n])) ** 2
            u = np.clip(m[n] / np.maximum(rule.gamma * h[n], rule.eps), -1, 1)
            p[n] = p[n] - 0.05 * (u + 0.1 * p[n] * (n == "kernel"))
            np.testing.assert_allclose(found[n][t], p[n], rtol=1e-10, atol=1e-12)


def test_random_signs_find_the_diagonal_of_the_hessian_on_average() -> None:
    from minimand.optimizers.updates import curvature

    a = np.array([[3.0, 1.0, -1.0], [1.0, 1.0, 0.5], [-1.0, 0.5, 2.0]])

    def gradient_at(params: Any) -> Any:
        return None, {"kernel": a @ params["kernel"]}

    params, keys = {"kernel": jnp.zeros(3)}, jax.random.split(jax.random.key(0), 4000)
    drawn = jax.jit(jax.vmap(lambda key: curvature(gradient_at, params, key)["kernel"]))(keys)
    error = np.std(drawn, axis=0) / np.sqrt(len(keys))
    assert np.all(np.abs(np.mean(drawn, axis=0) - np.diag(a)) < 4 * error)


def test_langevin_dynamics_settle_at_the_temperature() -> None:
    """On ½ θ² the variance ends at T / (1 - η / 2); at temperature 0 it is plain descent."""
    rule = SGLD(learning_rate=0.5, temperature=0.04)
    path = jax.jit(lambda r: run(r, lambda p: (p * p).sum() / 2, np.zeros(20_000), 20))(rule)
    assert path[-1].var() == pytest.approx(0.04 / 0.75, rel=0.05)
    cold = replace(rule, temperature=0.0)
    still = run(cold, lambda p: (p * p).sum() / 2, np.ones(3), 4)
    np.testing.assert_allclose(still[:, 0], [0.5, 0.25, 0.125, 0.0625])


# --- What every rule owes ---

RULES = [made() for made in catalogue("optimizer").values()]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_search_ranges_name_fields_and_allowed_values(rule: Optimizer) -> None:
    assert isinstance(rule, Wrapper) or "learning_rate" in rule.card.search
    for name, values in rule.card.search.items():
        assert isinstance(values, Range) and values.low < values.high
        assert values.low <= getattr(rule, name) <= values.high
        for end in values.grid(2):
            assert getattr(type(rule)(**{name: end}), name) == end


@pytest.mark.parametrize("rule", [*RULES, *(halved(rule) for rule in RULES)], ids=str)
def test_json_and_text_hold_the_whole_rule(rule: Optimizer) -> None:
    assert Optimizer.from_json(json.loads(json.dumps(rule.to_json()))) == rule
    assert Optimizer.parse(str(rule)) == rule


def test_momentum_goes_further_along_a_steady_gradient() -> None:
    """After many steps the speed is learning_rate / (1 - momentum), by the geometric series."""
    path = run(Momentum(learning_rate=0.1, momentum=0.9), lambda p: p.sum(), np.zeros(1), 200)
    assert float(path[-1, 0] - path[-2, 0]) == pytest.approx(-1.0, rel=1e-3)


def test_the_rest_of_a_matrix_rule_treats_each_array_by_itself() -> None:
    with pytest.raises(ArgumentError, match=r"Muon: rest is SAM, which acts on all parameters"):
        Muon(rest="sam")


@pytest.mark.parametrize("rule", [Shampoo(), SOAP(), Sophia()], ids=lambda r: type(r).__name__)
def test_many_members_skip_the_work_that_is_due_for_none(rule: Optimizer) -> None:
    """A branch on a member's own count would be computed for all, at every step."""
    members = jax.tree.map(lambda *leaves: jnp.array(leaves), rule, rule)

    def path(rule: Optimizer) -> Any:
        return run(rule, lambda p: loss(jnp, *parts(p)), START)

    assert " cond[" in str(jax.make_jaxpr(jax.vmap(path))(members))
