"""Networks are pure functions of plain parameters."""

from __future__ import annotations

from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from minimand.errors import ArgumentError, UnknownNameError
from minimand.networks import MLP, Linear, Network
from minimand.networks.base import count, output_bias
from minimand.networks.layers import ACTIVATIONS, Activation

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)

BY_HAND = {
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z < 0, 0.01 * z, z),
    "elu": lambda z: np.where(z < 0, np.expm1(z), z),
    "silu": lambda z: z / (1 + np.exp(-z)),
    "softplus": lambda z: np.log1p(np.exp(z)),
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "selu": lambda z: 1.0507009873554805 * np.where(z < 0, 1.6732632423543772 * np.expm1(z), z),
    "identity": lambda z: z,
    "relu6": lambda z: np.clip(z, 0, 6),
    "celu": lambda z: np.where(z < 0, np.expm1(z), z),
    "mish": lambda z: z * np.tanh(np.log1p(np.exp(z))),
    "soft_sign": lambda z: z / (1 + np.abs(z)),
    "hard_tanh": lambda z: np.clip(z, -1, 1),
    "hard_sigmoid": lambda z: np.clip(z / 6 + 0.5, 0, 1),
    "hard_swish": lambda z: z * np.clip(z / 6 + 0.5, 0, 1),
    "gelu": lambda z: 0.5 * z * (1 + erf(z / np.sqrt(2))),
}


def test_linear_scores_are_affine() -> None:
    params, state = Linear(outputs=2).init(KEY, X)
    scores, _ = Linear(outputs=2).apply(params, state, X, key=KEY, train=False)
    layer = params["output"]
    assert layer["kernel"].shape == (3, 2) and layer["bias"].shape == (2,)
    np.testing.assert_allclose(scores, X @ layer["kernel"] + layer["bias"], rtol=1e-5)
    assert set(params) == {"output"} or not jax.tree.leaves(params["hidden"])


def test_every_activation_is_here_by_hand() -> None:
    assert {*BY_HAND} == {*ACTIVATIONS} == {*get_args(Activation)}


@pytest.mark.parametrize("activation", BY_HAND)
def test_an_mlp_is_its_formula(activation: Any) -> None:
    """JAX's gelu is the tanh approximation by default, within 5e-4 of the one with erf."""
    network = MLP(hidden=(4, 6), outputs=2, activation=activation)
    params, state = network.init(KEY, X)
    hidden = X
    for i in range(2):
        layer = params["hidden"][f"layer{i}"]
        hidden = BY_HAND[activation](hidden @ layer["kernel"] + layer["bias"])
    expected = hidden @ params["output"]["kernel"] + params["output"]["bias"]
    scores, _ = network.apply(params, state, X, key=KEY, train=False)
    atol = 3e-3 if activation == "gelu" else 1e-5
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=atol)


def test_a_residual_mlp_is_its_formula() -> None:
    """He et al. (2016), Identity mappings, eq. 3: only layers as wide as the one before add."""
    network = MLP(hidden=(4, 4, 4, 6, 6), outputs=2, activation="tanh", norm="layer", residual=True)
    params, state = network.init(KEY, X)
    u, hidden = 0.0, X
    for i, width in enumerate((4, 4, 4, 6, 6)):
        layer = params["hidden"][f"layer{i}"]
        branch = hidden @ layer["kernel"] + layer["bias"]
        u = u + branch if i and hidden.shape[1] == width else branch
        spread = np.sqrt(np.var(u, axis=1, keepdims=True) + 1e-5)
        hidden = np.tanh((u - np.mean(u, axis=1, keepdims=True)) / spread)
    expected = hidden @ params["output"]["kernel"] + params["output"]["bias"]
    scores, _ = network.apply(params, state, X, key=KEY, train=False)
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)


def test_what_many_layers_add_at_first_is_as_large_as_what_one_adds() -> None:
    """Hayou et al. (2021), Stable ResNet: 1/L of the usual variance in each of L layers."""
    network = MLP(hidden=(100,) * 5, residual=True)
    params = network.init(KEY, np.zeros((1, 100), np.float32))[0]["hidden"]
    variance = [float(params[f"layer{i}"]["kernel"].var()) for i in range(5)]
    np.testing.assert_allclose(variance, [2 / 100, *4 * [2 / 100 / 4]], rtol=0.05)


def test_dropout_spares_the_skip_connections() -> None:
    """If no activation is left, every layer adds its bias alone: u = W x + b + 1 + 1."""
    network = MLP(hidden=(3, 3, 3), activation="identity", dropout=0.9999999, residual=True)
    params, state = network.init(KEY, X)
    hidden = {name: layer | {"bias": jnp.ones(3)} for name, layer in params["hidden"].items()}
    seen = network.observed(params | {"hidden": hidden}, state, X, key=KEY, train=True)
    u = X @ params["hidden"]["layer0"]["kernel"] + 1 + 1 + 1
    np.testing.assert_allclose(seen[2]["hidden"]["layer2"]["activity"], u, rtol=1e-5, atol=1e-6)


def test_the_key_decides_the_parameters() -> None:
    network = MLP(hidden=(4,))
    first, again, other = (network.init(jax.random.key(s), X)[0] for s in (1, 1, 2))
    assert jax.tree.all(jax.tree.map(jnp.array_equal, first, again))
    assert not jnp.array_equal(first["output"]["kernel"], other["output"]["kernel"])


@pytest.mark.parametrize(
    ("activation", "variance"), [("relu", 2 / 300), ("mish", 2 / 300), ("tanh", 1 / 300)]
)
def test_initial_scores_keep_the_size_of_the_inputs(activation: Any, variance: float) -> None:
    """He et al. (2015) for rectifiers, LeCun et al. (1998) else; biases start at zero."""
    network = MLP(hidden=(400,), activation=activation)
    params, _ = network.init(KEY, np.zeros((1, 300), np.float32))
    layer = params["hidden"]["layer0"]
    assert float(layer["kernel"].var()) == pytest.approx(variance, rel=0.04)
    assert not np.any(layer["bias"])


def test_many_members_are_one_call() -> None:
    network = MLP(hidden=(4,))
    keys = jax.random.split(KEY, 3)
    params, state = jax.vmap(lambda key: network.init(key, X))(keys)
    together, _ = jax.vmap(lambda p: network.apply(p, state, X, key=KEY, train=True))(params)
    for k in range(3):
        alone = network.apply(
            jax.tree.map(lambda leaf, k=k: leaf[k], params), state, X, key=KEY, train=True
        )[0]
        np.testing.assert_allclose(together[k], alone, rtol=1e-5, atol=1e-6)


def test_tracing_leaves_nothing_behind() -> None:
    network = MLP(hidden=(3,))
    params, state = network.init(KEY, X)
    with jax.checking_leaks():
        jax.jit(lambda p: network.apply(p, state, X, key=KEY, train=True)[0])(params)


def test_the_output_bias_can_be_set() -> None:
    params, _ = MLP(hidden=(4,), outputs=2).init(KEY, X)
    changed = output_bias(params, jnp.asarray([1.0, -1.0]))
    assert changed["output"]["bias"].tolist() == [1.0, -1.0]
    assert changed["output"]["kernel"] is params["output"]["kernel"]
    assert params["output"]["bias"].tolist() == [0.0, 0.0]


def test_count_of_parameters() -> None:
    params, _ = MLP(hidden=(128,), outputs=10).init(KEY, np.zeros((1, 64), np.float32))
    assert count(params) == 64 * 128 + 128 + 128 * 10 + 10


@pytest.mark.parametrize(
    "network", [Linear(), Linear(outputs=3), MLP(), MLP(hidden=(5, 4), activation="silu")]
)
def test_a_network_survives_json_and_text(network: Network) -> None:
    assert Network.from_json(network.to_json()) == network
    assert Network.parse(str(network)) == network


def test_bad_fields_are_refused() -> None:
    with pytest.raises(ArgumentError, match="outputs"):
        Linear(outputs=0)
    with pytest.raises(ArgumentError, match="hidden"):
        MLP(hidden=(0,))
    with pytest.raises(UnknownNameError, match="did you mean 'relu'"):
        MLP(activation="rely")  # type: ignore[arg-type]
