"""Convolutions, pooling and the networks made of them, beside PyTorch's with the same weights."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from minimand import randomness
from minimand.errors import ShapeError
from minimand.losses import CrossEntropy
from minimand.networks import CNN, MLP
from minimand.networks.base import count
from minimand.networks.convolution import convolved, max_pooled
from minimand.training import Recipe, train

Array = Any
KEY = randomness.key(0)


def drawn(*shape: int) -> Array:
    return np.random.default_rng(len(shape)).normal(size=shape)


def channels_first(x: Array) -> torch.Tensor:
    return torch.tensor(np.moveaxis(np.asarray(x), -1, 1))


def channels_last(x: torch.Tensor) -> Array:
    return np.moveaxis(x.detach().numpy(), 1, -1)


def kernel_of(kernel: Array) -> torch.Tensor:
    return torch.tensor(np.asarray(kernel).transpose(3, 2, 0, 1))


@pytest.mark.parametrize(
    ("shape", "size", "stride"),
    [
        ((5, 7), 3, 1),
        ((6, 6), 3, 2),
        ((7, 5), 3, 2),
        ((8, 8), 1, 2),
        ((9, 6), 5, 3),
        ((6, 6), 2, 1),
    ],
)
def test_a_convolution_and_its_slopes_are_pytorchs(
    shape: tuple[int, int], size: int, stride: int
) -> None:
    with jax.enable_x64():
        x, kernel = drawn(3, *shape, 2), drawn(size, size, 2, 4)
        before, behind = (size - 1) // 2, size // 2
        inputs, weights = channels_first(x).requires_grad_(), kernel_of(kernel).requires_grad_()
        padded = torch.nn.functional.pad(inputs, (before, behind) * 2)
        expected = torch.nn.functional.conv2d(padded, weights, stride=stride)
        slope = drawn(*channels_last(expected).shape)
        expected.backward(channels_first(slope))
        found, turned = jax.vjp(lambda x, k: convolved(x, k, stride), x, kernel)
        of_x, of_kernel = turned(jnp.asarray(slope))
    np.testing.assert_allclose(found, channels_last(expected), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(of_x, channels_last(inputs.grad), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(kernel_of(of_kernel), weights.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (2, 1), (1, 2)])
def test_an_accelerators_slope_of_a_kernel_is_that_of_the_cores(
    size: int, stride: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with jax.enable_x64():
        x, kernel = drawn(3, 6, 7, 2), drawn(size, size, 2, 4)

        def seen() -> Array:
            found, turned = jax.vjp(lambda x, k: convolved(x, k, stride), x, kernel)
            return found, *turned(jnp.cos(found))

        cores = seen()
        monkeypatch.setattr(
            jax.lax, "platform_dependent", lambda *given, cpu, default: default(*given)
        )
        for one, other in zip(cores, seen(), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def test_half_precision_slopes_are_summed_in_single_precision() -> None:
    """4,096 images whose slopes are all 1: a sum in bfloat16 would stop growing at 256."""
    x, kernel = jnp.ones((4096, 1, 1, 1), jnp.bfloat16), jnp.ones((1, 1, 1, 1), jnp.bfloat16)
    found = jax.grad(lambda kernel: convolved(x, kernel).sum(dtype=jnp.float32))(kernel)
    assert found.dtype == jnp.bfloat16 and float(found[0, 0, 0, 0]) == 4096


@pytest.mark.parametrize(("shape", "size"), [((6, 6), 2), ((7, 5), 2), ((8, 10), 3), ((4, 4), 1)])
def test_pooling_and_its_slope_are_pytorchs(shape: tuple[int, int], size: int) -> None:
    """Whole numbers from 0 to 3 make ties."""
    x = np.random.default_rng(0).integers(0, 4, (2, *shape, 3)).astype(np.float32)
    inputs = channels_first(x).requires_grad_()
    expected = torch.nn.functional.max_pool2d(inputs, size)
    slope = drawn(*channels_last(expected).shape).astype(np.float32)
    expected.backward(channels_first(slope))
    found, turned = jax.vjp(lambda x: max_pooled(x, size), x)
    np.testing.assert_array_equal(found, channels_last(expected))
    np.testing.assert_array_equal(turned(jnp.asarray(slope))[0], channels_last(inputs.grad))


@pytest.mark.parametrize("place", range(4))
def test_pooling_hides_no_nan(place: int) -> None:
    x = np.ones((1, 2, 2, 1), np.float32)
    x[0, place // 2, place % 2] = np.nan
    assert np.isnan(max_pooled(x, 2)).all()


@pytest.mark.parametrize("norm", [None, "batch"])
def test_a_network_with_pytorchs_weights_gives_pytorchs_scores(norm: Any) -> None:
    """The same two convolutions, one hidden layer and scores, when not training and while.

    In this order: PyTorch's running variances are those of samples, ours those of the batch.
    """
    network = CNN(channels=(4, 6), hidden=(5,), outputs=3, norm=norm)
    x = drawn(8, 9, 10, 2).astype(np.float32)
    params, state = network.init(KEY, x)
    layers: list[torch.nn.Module] = []
    for convolution in params["convolutions"].values():
        _, _, inputs, outputs = convolution["kernel"].shape
        made = torch.nn.Conv2d(inputs, outputs, 3, padding=1)
        made.weight.data, made.bias.data = kernel_of(convolution["kernel"]), torch.zeros(outputs)
        norms = [torch.nn.BatchNorm2d(outputs)] if norm else []
        layers += [made, *norms, torch.nn.ReLU(), torch.nn.MaxPool2d(2)]
    norms = [torch.nn.BatchNorm1d(5)] if norm else []
    dense = [torch.nn.Linear(24, 5), torch.nn.Linear(5, 3)]
    for layer, own in zip(dense, (params["hidden"]["layer0"], params["output"]), strict=True):
        layer.weight.data = torch.tensor(np.asarray(own["kernel"]).T)
        torch.nn.init.zeros_(layer.bias)
    body = torch.nn.Sequential(*layers)
    head = torch.nn.Sequential(torch.nn.Flatten(), dense[0], *norms, torch.nn.ReLU(), dense[1])
    for training in (False, True):
        for module in (body, head):
            module.train(training)
        with torch.no_grad():
            expected = head(body(channels_first(x)).permute(0, 2, 3, 1))
        found, state = network.apply(params, state, x, key=KEY, train=training)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_the_usual_network_is_small() -> None:
    """9 · 32 + 32, 9 · 32 · 64 + 64 and 7 · 7 · 64 · 10 + 10."""
    params, _ = CNN(outputs=10).init(KEY, np.zeros((1, 28, 28), np.float32))
    assert count(params) == 320 + 18_496 + 31_370 < 100_000


def test_first_weights_count_all_pixels_under_the_kernel() -> None:
    """He et al. (2015): the variance is 2 / (kernel area times input channels)."""
    params, _ = CNN(channels=(200,), kernel_size=5).init(KEY, np.zeros((1, 8, 8, 3), np.float32))
    kernel = params["convolutions"]["layer0"]["kernel"]
    assert float(kernel.var()) == pytest.approx(2 / 75, rel=0.04)


def test_grey_images_need_no_channel() -> None:
    network, x = CNN(channels=(3,), outputs=2), drawn(4, 6, 6).astype(np.float32)
    params, state = network.init(KEY, x)
    plain, _ = network.apply(params, state, x, key=KEY, train=False)
    with_axis, _ = network.apply(params, state, x[..., None], key=KEY, train=False)
    np.testing.assert_array_equal(plain, with_axis)


def test_without_convolutions_it_is_the_mlp() -> None:
    x = drawn(4, 5, 5).astype(np.float32)
    params, state = MLP(hidden=(6,), outputs=2).init(KEY, x)
    expected, _ = MLP(hidden=(6,), outputs=2).apply(params, state, x, key=KEY, train=False)
    network = CNN(channels=(), hidden=(6,), outputs=2)
    found, _ = network.apply(params, state, x, key=KEY, train=False)
    np.testing.assert_array_equal(found, expected)


def test_dropout_leaves_the_mean_of_what_the_output_takes_in() -> None:
    """The scores are linear in it, so their mean over many keys is the score without dropout."""
    network, x = CNN(channels=(8,), outputs=1, dropout=0.5), drawn(1, 4, 4).astype(np.float32)
    params, state = network.init(KEY, x)
    one = jax.jit(lambda key: network.apply(params, state, x, key=key, train=True)[0][0, 0])
    found = jax.vmap(one)(jax.random.split(KEY, 4000))
    expected = network.apply(params, state, x, key=KEY, train=False)[0][0, 0]
    assert abs(found.mean() - expected) < 4 * found.std() / 4000**0.5
    assert found.std() > 0


def test_inputs_that_are_no_images_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"reads images .* inputs are \['n', 64\]; reshape"):
        CNN().init(KEY, np.zeros((2, 64)))
    with pytest.raises(ShapeError, match="3 × 8 pixels down to nothing"):
        CNN().init(KEY, np.zeros((2, 3, 8)))


@pytest.mark.parametrize(
    ("shape", "message"), [((64,), r"^CNN\(outputs=2\) reads images"), ((3, 3), "down to nothing")]
)
def test_what_is_traced_can_be_named_in_an_error(shape: tuple[int, ...], message: str) -> None:
    X, y = np.zeros((20, *shape)), np.arange(20) % 2
    with pytest.raises(ShapeError, match=message):
        train(Recipe(CNN(outputs=2, dropout=0.3), CrossEntropy()), X, y)
