"""Norms, dropout and activities of networks: PyTorch as the peer, and numbers by hand."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from minimand.errors import ArgumentError, UnknownNameError
from minimand.networks import MLP, Linear, Network, ResNet, ResNet9

KEY = jax.random.key(0)
rng = np.random.default_rng(0)
X = (100 + rng.normal(size=(16, 3))).astype(np.float32)  # far from 0: sums of squares would cancel
NORMS = {
    "batch": lambda: torch.nn.BatchNorm1d(12),
    "layer": lambda: torch.nn.LayerNorm(12),
    "group": lambda: torch.nn.GroupNorm(4, 12),  # gcd(12, 8) = 4
}


def started(norm: Any) -> tuple[MLP, Any, Any, torch.nn.Sequential]:
    """A network with random numbers everywhere, and the same in PyTorch."""
    network = MLP(hidden=(12,), outputs=2, norm=norm)
    params, state = network.init(KEY, X)
    params = jax.tree.map(lambda p: rng.normal(size=p.shape).astype(np.float32), params)
    first, last = torch.nn.Linear(3, 12), torch.nn.Linear(12, 2)
    peer = torch.nn.Sequential(first, NORMS[norm](), torch.nn.ReLU(), last)
    with torch.no_grad():
        for layer, own in ((first, params["hidden"]["layer0"]), (last, params["output"])):
            layer.weight.copy_(torch.tensor(own["kernel"].T))
            layer.bias.copy_(torch.tensor(own["bias"]))
        peer[1].weight.copy_(torch.tensor(params["norms"]["layer0"]["scale"]))
        peer[1].bias.copy_(torch.tensor(params["norms"]["layer0"]["bias"]))
    return network, params, state, peer


@pytest.mark.parametrize("norm", NORMS)
def test_norms_are_those_of_torch(norm: Any) -> None:
    """Three batches of training, then the scores of what was learnt about them.

    PyTorch's running variance is the unbiased one, n / (n - 1) times that which it divides by.
    """
    network, params, state, peer = started(norm)
    for shift in (0.0, 2.0, -1.0):
        x = X * (1 + shift)
        theirs = peer(torch.tensor(x)).detach().numpy()
        ours, state = network.apply(params, state, x, key=KEY, train=True)
        np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-3)
    if norm == "batch":
        kept = state["norms"]["layer0"]
        np.testing.assert_allclose(kept["mean"], peer[1].running_mean.numpy(), rtol=1e-5)
        started_at = 0.9**3
        unbiased = (kept["var"] - started_at) * 16 / 15 + started_at
        np.testing.assert_allclose(unbiased, peer[1].running_var.numpy(), rtol=1e-4)
        peer[1].running_var.copy_(torch.tensor(np.asarray(kept["var"])))
    ours, after = network.apply(params, state, X, key=KEY, train=False)
    theirs = peer.eval()(torch.tensor(X)).detach().numpy()
    np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-3)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, state, after))


def test_only_batch_norm_lets_rows_see_each_other() -> None:
    for norm in NORMS:
        network, params, state, _ = started(norm)
        whole, _ = network.apply(params, state, X, key=KEY, train=True)
        half, _ = network.apply(params, state, X[:8], key=KEY, train=True)
        assert np.allclose(whole[:8], half, rtol=1e-4, atol=1e-4) == (norm != "batch")


def test_norms_have_scales_that_are_no_kernels() -> None:
    params, state = MLP(hidden=(12, 5), norm="batch").init(KEY, X)
    assert set(params["norms"]["layer1"]) == {"scale", "bias"}
    assert state["norms"]["layer1"]["mean"].shape == (5,)
    assert not MLP(norm="layer").init(KEY, X)[1]


# --- dropout --------------------------------------------------------------------------------------


def scores(network: MLP, x: Any, key: Any = KEY, train: bool = True) -> Any:
    params, state = network.init(jax.random.key(7), x)
    return network.apply(params, state, x, key=key, train=train)[0]


def test_dropout_sets_its_share_to_zero_and_keeps_the_mean() -> None:
    """With unit weights out of the hidden layer, the score is the sum of what is left."""
    network = MLP(hidden=(2000,), dropout=0.25)
    params = {
        "hidden": {"layer0": {"kernel": jnp.zeros((3, 2000)), "bias": jnp.ones(2000)}},
        "output": {"kernel": jnp.eye(2000), "bias": jnp.zeros(2000)},
    }
    hidden, _ = MLP(hidden=(2000,), outputs=2000, dropout=0.25).apply(
        params, {}, X, key=KEY, train=True
    )
    assert set(np.unique(hidden).round(5)) == {0.0, np.float32(4 / 3).round(5)}
    assert np.mean(hidden == 0) == pytest.approx(0.25, abs=0.01)
    assert np.mean(hidden) == pytest.approx(1, abs=0.01)
    still = network.apply(params, {}, X, key=KEY, train=False)[0]
    np.testing.assert_array_equal(still, 1.0)


def test_the_key_decides_what_is_dropped() -> None:
    network = MLP(hidden=(20, 20), dropout=0.5)
    first, again, other = (scores(network, X, jax.random.key(k)) for k in (1, 1, 2))
    assert jnp.array_equal(first, again) and not jnp.array_equal(first, other)
    calm = [scores(network, X, jax.random.key(k), train=False) for k in (1, 2)]
    assert jnp.array_equal(*calm) and jnp.array_equal(calm[0], scores(MLP(hidden=(20, 20)), X))


def test_layers_drop_units_of_their_own() -> None:
    """Two layers that pass ones on: if both dropped the same units, the score would be 2 or 0."""
    params = {
        "hidden": {f"layer{i}": {"kernel": jnp.eye(64), "bias": jnp.zeros(64)} for i in range(2)},
        "output": {"kernel": jnp.eye(64), "bias": jnp.zeros(64)},
    }
    network = MLP(hidden=(64, 64), outputs=64, dropout=0.5)
    kept, _ = network.apply(params, {}, jnp.ones((50, 64)), key=KEY, train=True)
    assert np.mean(kept == 4) == pytest.approx(0.25, abs=0.03)


def test_rates_can_be_mapped_and_share_a_program() -> None:
    network = MLP(hidden=(20,), dropout=0.2)
    many = jax.tree.map(lambda _: jnp.array([0.0, 0.2, 0.5]), network)
    together = jax.jit(jax.vmap(lambda one: scores(one, X)))(many)
    for k, rate in enumerate((1e-9, 0.2, 0.5)):
        np.testing.assert_allclose(
            together[k], scores(MLP(hidden=(20,), dropout=rate), X), rtol=1e-4
        )


def test_without_dropout_nothing_is_drawn() -> None:
    def program(network: MLP) -> str:
        params, state = network.init(KEY, X)
        call = jax.make_jaxpr(lambda one: one.apply(params, state, X, key=KEY, train=True))
        return str(call(network))

    assert "random_bits" not in program(MLP()) and "random_bits" in program(MLP(dropout=0.1))
    assert jax.tree.structure(MLP()) != jax.tree.structure(MLP(dropout=0.1))
    assert jax.tree.structure(MLP(dropout=0.2)) == jax.tree.structure(MLP(dropout=0.1))


@pytest.mark.parametrize(
    "network", [MLP(norm="group", dropout=0.3), MLP(norm=None), MLP(hidden=(3,), dropout=0.0)]
)
def test_a_network_survives_json_and_text(network: Network) -> None:
    for again in (Network.from_json(network.to_json()), Network.parse(str(network))):
        assert again == network and jax.tree.structure(again) == jax.tree.structure(network)


def test_bad_fields_are_refused() -> None:
    with pytest.raises(ArgumentError, match="dropout"):
        MLP(dropout=1.0)
    with pytest.raises(UnknownNameError, match="did you mean 'batch'"):
        MLP(norm="bach")  # type: ignore[arg-type]


# --- activities -----------------------------------------------------------------------------------


def test_hidden_layers_report_what_they_put_out() -> None:
    network = MLP(hidden=(4, 5), outputs=2, activation="tanh", dropout=0.5)
    params, state = network.init(KEY, X)
    score, _, seen = network.observed(params, state, X, key=KEY, train=False)
    hidden = X
    for name in ("layer0", "layer1"):
        layer = params["hidden"][name]
        hidden = np.tanh(hidden @ layer["kernel"] + layer["bias"])
        np.testing.assert_allclose(seen["hidden"][name]["activity"], hidden, rtol=1e-4, atol=1e-5)
    again, _ = network.apply(params, state, X, key=KEY, train=False)
    np.testing.assert_array_equal(score, again)
    params, state = Linear().init(KEY, X)
    assert Linear().observed(params, state, X, key=KEY, train=True)[2] == {}


@pytest.mark.parametrize(
    ("network", "last", "pooled", "shapes"),
    [
        (ResNet(depth=8, channels=2), ("blocks", "block2"), np.mean, [2, 2, 4, 8]),
        (ResNet9(channels=2), ("blocks", "layer3"), np.max, [2, 4, 8, 16, 4, 16]),
    ],
    ids=["ResNet", "ResNet9"],
)
def test_residual_networks_report_what_their_blocks_put_out(
    network: Network, last: tuple[str, str], pooled: Any, shapes: list[int]
) -> None:
    images = np.random.default_rng(1).normal(size=(3, 8, 8)).astype(np.float32)
    params, state = network.init(KEY, images)
    score, _, seen = network.observed(params, state, images, key=KEY, train=False)
    assert sorted(leaf.shape[-1] for leaf in jax.tree.leaves(seen)) == sorted(shapes)
    end = pooled(np.asarray(seen[last[0]][last[1]]["activity"]), axis=(1, 2))
    expected = end @ params["output"]["kernel"] + params["output"]["bias"]
    np.testing.assert_allclose(score, expected, rtol=1e-5, atol=1e-6)
    assert all(np.all(np.asarray(leaf) >= 0) for leaf in jax.tree.leaves(seen))
