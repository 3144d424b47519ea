"""Autoencoders of rows: networks that rebuild their inputs from a code.

Every kind of autoencoder is a recipe, and they combine. One is sparse by a penalty on the
"activity" of the layer "code", contractive by one on its "jacobian" (which convolutions do not
report), denoising by an augmentation that corrupts the inputs: the targets, the inputs as rows
[n, d], stay clean.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from flax import nnx

from minimand.arrays import Array
from minimand.component import Card, Count, component
from minimand.constraints import ACTIVITY, JACOBIAN
from minimand.losses import ELBO, Reconstruction
from minimand.networks.base import Tree
from minimand.networks.coder import Autoencoding
from minimand.networks.layers import ACTIVATIONS, Activation, flat, initial

if TYPE_CHECKING:
    from minimand.losses.base import PointwiseLoss


class _Tied(nnx.Module):
    """What a layer that shares its kernel has for itself."""

    def __init__(self, width: int):
        self.bias = nnx.Param(jnp.zeros(width))


class _Mirror(nnx.Module):
    """Layers of `sizes`, from the inputs to a code (of `parts` times its size), and back."""

    def __init__(
        self,
        sizes: tuple[int, ...],
        activation: str,
        code_activation: str,
        rngs: nnx.Rngs,
        parts: int = 1,
        tied: bool = False,
    ):
        def there(a: int, b: int, activation: str) -> nnx.Module:
            return nnx.Linear(a, b, kernel_init=initial(activation), rngs=rngs)

        def back(a: int, b: int, activation: str) -> nnx.Module:
            return _Tied(b) if tied else there(a, b, activation)

        self.activation, self.code_activation = activation, code_activation
        *hidden, (below, code) = pairwise(sizes)
        self.encoder = nnx.Dict(
            {f"layer{i}": there(*two, activation) for i, two in enumerate(hidden)}
        )
        self.code = there(below, parts * code, code_activation)
        *hidden, last = pairwise(sizes[::-1])
        self.decoder = nnx.Dict(
            {f"layer{i}": back(*two, activation) for i, two in enumerate(hidden)}
        )
        self.output = back(*last, "identity")

    def encode(self, x: Array) -> tuple[Array, Tree]:
        """(code [n, k], activities, with the code's derivatives by the inputs [n, k, d])."""
        x, jacobian, seen = flat(x), None, {}
        for i in range(len(self.encoder)):
            name = f"layer{i}"
            x, jacobian = _onwards(self.encoder[name], self.activation, x, jacobian)
            seen[name] = {ACTIVITY: x}
        code, jacobian = _onwards(self.code, self.code_activation, x, jacobian)
        return code, {"encoder": seen, "code": {ACTIVITY: code, JACOBIAN: jacobian}}

    def decode(self, code: Array) -> Array:
        """The rebuilt inputs [n, d]."""
        x, mirrored = code, [*_numbered(self.encoder), self.code]
        for layer in _numbered(self.decoder):
            x = ACTIVATIONS[self.activation](_backwards(layer, mirrored.pop(), x))
        return _backwards(self.output, mirrored.pop(), x)


@component
class Autoencoder(Autoencoding):
    """Fully connected layers to a code and, in the reverse order, back to the inputs.

    `hidden` are the widths between the inputs and the code. `tied` layers go back by the transposed
    kernel of the way there, so that one parameter serves both.

    >>> Autoencoder(hidden=(128,), code=32, tied=True).code
    32
    """

    hidden: tuple[Count, ...] = ()
    code: Count = 32
    activation: Activation = "relu"
    code_activation: Activation = "sigmoid"
    tied: bool = False
    card = Card(
        formula="h = a(W x + b), x̂ = W' h + b', W' = Wᵀ if tied; more layers each way on request",
        source="Hinton and Salakhutdinov (2006), Reducing the dimensionality of data with neural "
        "networks; Vincent et al. (2010), Stacked denoising autoencoders, section 2.2",
        use="features of rows without labels",
    )

    def layers(self, shape: tuple[int, ...], rngs: nnx.Rngs) -> nnx.Module:
        """The layers there and back."""
        sizes = (math.prod(shape), *self.hidden, self.code)
        return _Mirror(sizes, self.activation, self.code_activation, rngs, tied=self.tied)

    def encoder(self, params: Tree) -> list[Tree]:
        """The layers up to the code, as they can begin another network."""
        return [*(params["encoder"][f"layer{i}"] for i in range(len(self.hidden))), params["code"]]


@component
class VariationalAutoencoder(Autoencoding):
    """An autoencoder whose code is a distribution: a normal one for each input.

    Scores are the rebuilt inputs, the means and the log-variances of the code, [n, d + 2k], as
    `ELBO(latent=k)` takes them. While training, inputs are rebuilt from a draw, mean + deviation ε,
    else from the means. Codes drawn from the standard normal distribution decode to new data.

    >>> VariationalAutoencoder(code=2).width(jnp.ones((1, 64)))
    68
    """

    hidden: tuple[Count, ...] = (64,)
    code: Count = 2
    activation: Activation = "relu"
    card = Card(
        formula="z = (x̂(μ + exp(s / 2) ε), μ, s), (μ, s) = W h + b, ε normal",
        source="Kingma and Welling (2014), Auto-encoding variational Bayes, section 2.4",
        use="codes without gaps, from which new data can be drawn",
    )

    def layers(self, shape: tuple[int, ...], rngs: nnx.Rngs) -> nnx.Module:
        """The layers there and back."""
        sizes = (math.prod(shape), *self.hidden, self.code)
        return _Mirror(sizes, self.activation, "identity", rngs, parts=2)

    def run(self, module: Any, x: Array, *, key: Array, train: bool) -> tuple[Array, Tree]:
        """(rebuilt inputs, means, log-variances [n, d + 2k]; activities, the mean for the code)."""
        both, activities = module.encode(x)
        mean, log_variance = both[:, : self.code], both[:, self.code :]
        activities["code"] = {name: a[:, : self.code] for name, a in activities["code"].items()}
        code = mean
        if train:
            noise = jax.random.normal(key, mean.shape, mean.dtype)
            code = mean + jnp.exp(log_variance / 2) * noise
        return jnp.concatenate([module.decode(code), both], axis=-1), activities

    def reconstruction(self, loss: PointwiseLoss) -> Reconstruction:
        """The evidence lower bound, where `loss` judges one feature."""
        return ELBO(loss, latent=self.code)

    def width(self, example: Array) -> int:
        """The scores of the inputs, and two for each number of the code."""
        return super().width(example) + 2 * self.code


def _numbered(layers: Any) -> list[Any]:
    return [layers[f"layer{i}"] for i in range(len(layers))]


def _onwards(layer: Any, activation: str, x: Array, jacobian: Any) -> tuple[Array, Array]:
    """What a layer makes of x [n, a], and the derivatives by the inputs, [n, b, d]."""
    score = layer(x)
    out, slope = jax.jvp(ACTIVATIONS[activation], (score,), (jnp.ones_like(score),))
    kernel = layer.kernel.T
    return out, slope[..., None] * (kernel if jacobian is None else kernel @ jacobian)


def _backwards(layer: Any, mirrored: Any, x: Array) -> Array:
    """What a layer makes of x, by the kernel of the layer that it mirrors if it has none."""
    return x @ mirrored.kernel.T + layer.bias if isinstance(layer, _Tied) else layer(x)
