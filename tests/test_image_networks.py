"""Residual networks and the U-shaped network: sizes of the papers, and PyTorch's blocks."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from minimand.budget import Budget
from minimand.data.splits import Fold
from minimand.errors import ArgumentError, ShapeError
from minimand.losses import CrossEntropy, PixelCrossEntropy
from minimand.networks import CNN, MLP, Network, ResNet, ResNet9, UNet
from minimand.networks.base import count
from minimand.networks.residual import Block
from minimand.networks.unet import Doubling
from minimand.training import Recipe, train
from minimand.training.inputs import best_constant, stacked
from minimand.training.program import begin

Array = Any
KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("network", "parameters"),
    [
        (ResNet(depth=20, outputs=10), 0.27e6),
        (ResNet(depth=56, outputs=10), 0.85e6),
        (ResNet9(outputs=10), 6_573_120 + 10),
    ],
    ids=str,
)
def test_sizes_are_those_published(network: Network, parameters: float) -> None:
    """He et al. (2016), table 6, in millions of two digits; Page's net, without a last bias."""
    example = np.zeros((1, 32, 32, 3), np.float32)
    found = count(jax.eval_shape(lambda: network.init(KEY, example))[0])
    assert found == pytest.approx(parameters, abs=5000 if parameters < 1e6 else 0)


@pytest.mark.parametrize(("inputs", "outputs"), [(4, 4), (3, 6)])
def test_a_block_is_pytorchs(inputs: int, outputs: int) -> None:
    """Two convolutions with batch norm in PyTorch, and the shortcut without parameters by hand."""
    block = Block(inputs, outputs, nnx.Rngs(0), "relu")
    x = np.random.default_rng(0).normal(size=(3, 6, 8, inputs)).astype(np.float32)
    stride = 1 if inputs == outputs else 2
    given = torch.tensor(np.moveaxis(x, -1, 1))
    inside = given
    for one, step in ((block.first, stride), (block.second, 1)):
        kernel = np.asarray(one.convolution.kernel[...]).transpose(3, 2, 0, 1)
        inside = torch.nn.functional.conv2d(inside, torch.tensor(kernel), stride=step, padding=1)
        inside = torch.nn.functional.batch_norm(inside, None, None, training=True)
        inside = torch.relu(inside) if one is block.first else inside
    added = outputs - inputs
    around = given[:, :, ::stride, ::stride]
    around = torch.nn.functional.pad(around, (0, 0, 0, 0, added // 2, added - added // 2))
    expected = np.moveaxis(torch.relu(around + inside).numpy(), 1, -1)
    np.testing.assert_allclose(block(jnp.asarray(x), train=True), expected, rtol=1e-4, atol=1e-5)


def test_doubling_is_pytorchs_transposed_convolution() -> None:
    layer = Doubling(3, 2, nnx.Rngs(0))
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 3)).astype(np.float32)
    kernel = np.asarray(layer.spread.kernel[...]).reshape(3, 2, 2, 2).transpose(0, 3, 1, 2)
    given = torch.tensor(np.moveaxis(x, -1, 1))
    expected = torch.nn.functional.conv_transpose2d(given, torch.tensor(kernel), stride=2)
    np.testing.assert_allclose(
        layer(jnp.asarray(x)), np.moveaxis(expected.numpy(), 1, -1), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("shape", [(8, 12), (7, 5), (1, 9)])
def test_a_unet_has_scores_for_every_pixel(shape: tuple[int, int]) -> None:
    network, x = UNet(channels=(2, 3, 4), outputs=3), np.zeros((2, *shape), np.float32)
    params, state = jax.eval_shape(lambda: network.init(KEY, x))
    scores = jax.eval_shape(
        lambda p, s: network.apply(p, s, x, key=KEY, train=True)[0], params, state
    )
    assert scores.shape == (2, *shape, 3)


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(ArgumentError, match="depth is 21; it must be 6 n"):
        ResNet(depth=21)
    with pytest.raises(ShapeError, match="8 × 8 pixels or more; these are 7 × 9"):
        ResNet9().init(KEY, np.zeros((1, 7, 9)))
    for network in (ResNet(), ResNet9(), UNet()):
        with pytest.raises(ShapeError, match="reads images"):
            network.init(KEY, np.zeros((2, 64)))


@pytest.mark.parametrize(
    ("network", "loss"),
    [
        (MLP(hidden=(4,), outputs=3), CrossEntropy()),
        (CNN(channels=(2,), outputs=3), CrossEntropy()),
        (ResNet9(channels=2, outputs=3), CrossEntropy()),
        (UNet(channels=(2, 3), outputs=3), PixelCrossEntropy()),
    ],
    ids=["mlp", "cnn", "resnet9", "unet"],
)
def test_the_output_bias_begins_at_the_log_shares_of_the_classes(network: Any, loss: Any) -> None:
    random = np.random.default_rng(0)
    x = random.random((20, 64) if isinstance(network, MLP) else (20, 8, 8)).astype(np.float32)
    y = random.choice(3, p=(0.5, 0.3, 0.2), size=(20, 8, 8) if isinstance(network, UNet) else 20)
    recipe, weight = Recipe(network, loss, epochs=1), np.ones(20)
    rows = Fold(np.arange(20), np.arange(0))
    bias = np.float32([best_constant(recipe, y, weight, rows)])
    found = [begin(stacked([recipe], [rows], [0], weight), x, bias).params["output"]["bias"][0]]
    if isinstance(network, MLP):
        budget = Budget()
        budget.interrupted = True
        fitted = train(recipe, x, y, validation=0.0, budget=budget)
        found.append(fitted.params["output"]["bias"])
    shares = np.log(np.bincount(y.ravel()) / y.size)
    for bias in found:
        np.testing.assert_allclose(bias, shares - shares.mean(), rtol=1e-4, atol=1e-5)
