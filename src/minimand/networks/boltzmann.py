"""Restricted Boltzmann machines: energies, conditionals, Gibbs chains, and what training descends.

Parameters are {"hidden": {"kernel": [p, hidden], "bias": [hidden]}, "visible": {"bias": [p]}}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from minimand.arrays import Array, arange, log1pexp, namespace, sigmoid
from minimand.component import Card, Count, Interval, component
from minimand.constraints import ACTIVITY
from minimand.errors import DataError
from minimand.losses import BinaryCrossEntropy, HalfSquared, Reconstruction
from minimand.networks.base import Tree
from minimand.networks.coder import Coder
from minimand.networks.layers import flat, rows

SPREAD = 0.01
"""Of the first weights (Hinton 2010, A practical guide to training RBMs, section 8)."""


@component
class RBM(Coder):
    """A restricted Boltzmann machine of binary units, trained by contrastive divergence.

    Its loss is `ContrastiveDivergence`, its target anything. The scores of a row are its free
    energy and that of a sample: of a Gibbs chain of some `steps` from that row (CD-k), or of so
    many `chains` that go on from batch to batch (persistent contrastive divergence, Tieleman 2008),
    over which the free energy is averaged. When it is not training, the first score is minus the
    log-pseudo-likelihood of the row, with one bit drawn for each row, and the other is 0: so a
    validation loss tells how good the machine is. Visible values lie in [0, 1]; fractions count as
    probabilities.

    >>> from minimand.losses import ContrastiveDivergence
    >>> from minimand.optimizers import SGD
    >>> from minimand.training import Recipe, train
    >>> X = np.repeat([[1.0, 1, 0, 0], [0, 0, 1, 1]], 50, axis=0)
    >>> rbm = RBM(hidden=2)
    >>> recipe = Recipe(rbm, ContrastiveDivergence(), SGD(learning_rate=0.5), epochs=100)
    >>> fitted = train(recipe, X, np.zeros(100), validation=0.0, start=rbm.start(X))
    >>> seen, never = rbm.free_energy(fitted.params, np.array([[1.0, 1, 0, 0], [1, 0, 1, 0]]))
    >>> bool(seen < never - 1)
    True
    """

    hidden: Count = 64
    steps: Count = 1
    chains: Annotated[int, Interval(0, np.inf, "left")] = 0
    outputs = 2
    likelihood: ClassVar[Reconstruction] = Reconstruction(BinaryCrossEntropy())
    """-log p(v | h), of what visible units hear of h."""
    card = Card(
        formula="F(v) = -b·v - Σⱼ log(1 + exp(cⱼ + v·wⱼ))",
        source="Smolensky (1986), Harmony theory; Hinton (2002), Training products of experts by "
        "minimizing contrastive divergence",
        use="features of binary data, and samples like them",
    )

    def init(self, key: Array, example: Array) -> tuple[Tree, Tree]:
        """Small random weights, and chains that begin anywhere."""
        weights, begun = jax.random.split(key)
        visible = flat(example).shape[1]
        kernel = SPREAD * jax.random.normal(weights, (visible, self.hidden))
        params = {
            "hidden": {"kernel": kernel, "bias": jnp.zeros(self.hidden)},
            "visible": {"bias": jnp.zeros(visible)},
        }
        if not self.chains:
            return params, {}
        anywhere = self.likelihood.response(jnp.zeros((self.chains, visible)))
        return params, {"chains": self.drawn(begun, anywhere)}

    def apply(
        self, params: Tree, state: Tree, x: Array, *, key: Array, train: bool
    ) -> tuple[Array, Tree]:
        """(free energies of the rows and of samples [batch, 2], where the chains are now)."""
        return self.observed(params, state, x, key=key, train=train)[:2]

    def observed(
        self, params: Tree, state: Tree, x: Array, *, key: Array, train: bool
    ) -> tuple[Array, Tree, Tree]:
        """(scores, state, the activities of the hidden units)."""
        v = flat(x)
        if train:
            first = self.free_energy(params, v)
            ended = self.gibbs(
                jax.lax.stop_gradient(params), state.get("chains", v), key, self.steps
            )
            second = self.free_energy(params, ended)
            if self.chains:
                state = {"chains": ended}
                second = jnp.broadcast_to(jnp.mean(second), first.shape)
        else:
            bit = jax.random.randint(key, (len(v),), 0, v.shape[1])
            first = self.surprise(params, v, bit)
            second = jnp.zeros_like(first)
        activities = {"hidden": {ACTIVITY: self.hidden_mean(params, v)}}
        return jnp.stack([first, second], axis=-1), state, activities

    def encode(self, params: Tree, state: Tree, x: Array) -> Array:
        """The means of the hidden units, [n, hidden]."""
        return self.hidden_mean(params, flat(x))

    def decode(self, params: Tree, state: Tree, code: Array, shape: tuple[int, ...]) -> Array:
        """The means of the visible units before any sigmoid, [n, p]."""
        return down(params, code)

    def encoder(self, params: Tree) -> list[Tree]:
        """The layer of the hidden units, as it can begin another network."""
        return [params["hidden"]]

    def target(self, rows: Array) -> Array:
        """One number for each row, at which the loss does not look."""
        return np.zeros(len(rows))

    def start(self, X: Array) -> Tree:
        """The biases at which independent visible units have the means of the rows of X.

        With them a run should begin. The rule of succession keeps means off 0 and 1.

        Raises:
            DataError: a value outside [0, 1].
        """
        X = rows(X)
        for row, column in np.argwhere(~((X >= 0) & (X <= 1)))[:1]:
            raise DataError(
                f"X holds {X[row, column]} in row {row + 1}, column {column + 1}; binary units "
                f"take values in [0, 1], so scale X or use Gaussian ones"
            )
        mean = (X.sum(axis=0, dtype=float) + 1) / (len(X) + 2)
        return {"visible": {"bias": np.log(mean / (1 - mean))}}

    def free_energy(self, params: Tree, v: Array) -> Array:
        """F(v) = -log Σ exp(-E(v, h)) over all h, for v [n, p]: [n]. Z is Σ exp(-F(v))."""
        xp = namespace(v)
        return self.visible_energy(params, v) - xp.sum(log1pexp(up(params, v)), axis=-1)

    def visible_energy(self, params: Tree, v: Array) -> Array:
        """What visible units cost without hidden ones, [n]."""
        return -(v @ params["visible"]["bias"])

    def hidden_free_energy(self, params: Tree, h: Array) -> Array:
        """-log Σ exp(-E(v, h)) over all v, for h [n, hidden]: [n]."""
        xp = namespace(h)
        alone = h @ params["hidden"]["bias"]
        return -alone - xp.sum(log1pexp(down(params, h)), axis=-1)

    def enumerable(self, params: Tree) -> tuple[int, Callable[[Array], Array]]:
        """(how many binary units it takes to sum over, the free energy of their states)."""
        visible, hidden = params["hidden"]["kernel"].shape
        if visible < hidden:
            return visible, lambda v: self.free_energy(params, v)
        return hidden, lambda h: self.hidden_free_energy(params, h)

    def hidden_mean(self, params: Tree, v: Array) -> Array:
        """The chance of every hidden unit to be on, given v: [n, hidden]."""
        return sigmoid(up(params, v))

    def visible_mean(self, params: Tree, h: Array) -> Array:
        """The mean of every visible unit, given h: [n, p]."""
        return self.likelihood.response(down(params, h))

    def drawn(self, key: Array, mean: Array) -> Array:
        """Visible units of these means."""
        return bernoulli(key, mean)

    def gibbs(self, params: Tree, v: Array, key: Array, steps: int = 1) -> Array:
        """Visible units [n, p] after so many times h | v and v | h."""

        def step(number: Array, v: Array) -> Array:
            first, second = jax.random.split(jax.random.fold_in(key, number))
            h = bernoulli(first, self.hidden_mean(params, v))
            return self.drawn(second, self.visible_mean(params, h))

        return jax.lax.fori_loop(0, steps, step, v)

    def fantasies(self, params: Tree, key: Array, count: int, steps: int = 1000) -> Array:
        """What the machine believes in, [count, p]: the means at the end of as many Gibbs chains.

        The chains begin anywhere; give them `steps` enough to forget where.
        """
        return self.visible_mean(params, self.hidden_fantasies(params, key, count, steps))

    def hidden_fantasies(self, params: Tree, key: Array, count: int, steps: int) -> Array:
        """Hidden units at the end of `count` Gibbs chains, [count, hidden]."""
        begun, chain, last = jax.random.split(key, 3)
        nothing = jnp.zeros((count, len(params["visible"]["bias"])))
        v = self.gibbs(params, self.drawn(begun, self.likelihood.response(nothing)), chain, steps)
        return bernoulli(last, self.hidden_mean(params, v))

    def surprise(self, params: Tree, v: Array, bit: Array) -> Array:
        """Minus the log-pseudo-likelihood of rows v [n, p], by one bit[n] of each: [n]."""
        return -v.shape[1] * self.log_conditional(params, v, bit)

    def log_conditional(self, params: Tree, v: Array, bit: Array) -> Array:
        """log p(vᵢ | the other units), with i = bit[n] a unit of each row: [n].

        Its sum over all p bits is the log-pseudo-likelihood (Besag 1975), of which p times that of
        a bit drawn at random is an unbiased estimate.
        """
        xp = namespace(v)
        flipped = xp.where(arange(v.shape[1], v) == bit[:, None], 1 - v, v)
        return -log1pexp(self.free_energy(params, v) - self.free_energy(params, flipped))


@component
class GaussianRBM(RBM):
    """A restricted Boltzmann machine whose visible units are real, with variance 1 given h.

    Bring the columns to mean 0 and spread 1. As `RBM` otherwise, but for what it is judged by when
    it is not training: Hyvärinen's score, ½ |∂ log p|² + Δ log p, which needs no log Z and is least
    at the truth (Hyvärinen 2005, Estimation of non-normalized statistical models by score
    matching, eq. 4; for this machine, Swersky et al. 2011, On autoencoders and score matching for
    energy based models). It is half the squared error of rebuilding v from the means of the hidden
    units, less p, plus Σⱼ σ'(cⱼ + v·wⱼ) |wⱼ|².

    >>> GaussianRBM(hidden=16).start(np.array([[1.0, 2.0], [3.0, 4.0]]))["visible"]["bias"]
    array([2., 3.])
    """

    likelihood = Reconstruction(HalfSquared())
    card = Card(
        formula="F(v) = ½ |v - b|² - Σⱼ log(1 + exp(cⱼ + v·wⱼ))",
        source="Welling, Rosen-Zvi and Hinton (2004), Exponential family harmoniums",
        use="features of real data",
    )

    def start(self, X: Array) -> Tree:
        """The means of the rows of X as biases, with which a run should begin."""
        return {"visible": {"bias": rows(X).mean(axis=0, dtype=float)}}

    def visible_energy(self, params: Tree, v: Array) -> Array:
        """½ |v - b|², [n]."""
        return 0.5 * namespace(v).sum((v - params["visible"]["bias"]) ** 2, axis=-1)

    def hidden_free_energy(self, params: Tree, h: Array) -> Array:
        """-log ∫ exp(-E(v, h)) dv, for h [n, hidden]: [n]."""
        xp = namespace(h)
        bias = params["visible"]["bias"]
        mean = down(params, h)
        squares = xp.sum(mean**2 - bias**2 + np.log(2 * np.pi), axis=-1)
        return -(h @ params["hidden"]["bias"]) - 0.5 * squares

    def enumerable(self, params: Tree) -> tuple[int, Callable[[Array], Array]]:
        """(the number of hidden units, their free energy)."""
        return self.hidden, lambda h: self.hidden_free_energy(params, h)

    def drawn(self, key: Array, mean: Array) -> Array:
        """Visible units of these means and variance 1."""
        return mean + jax.random.normal(key, mean.shape, mean.dtype)

    def surprise(self, params: Tree, v: Array, bit: Array) -> Array:
        """Hyvärinen's score of rows, [n]; there are no bits."""
        xp = namespace(v)
        kernel, on = params["hidden"]["kernel"], self.hidden_mean(params, v)
        slope = self.visible_mean(params, on) - v
        bend = (on * (1 - on)) @ xp.sum(kernel**2, axis=0) - v.shape[1]
        return 0.5 * xp.sum(slope**2, axis=-1) + bend


def bernoulli(key: Array, mean: Array) -> Array:
    """0 or 1 for every mean, as numbers of its type."""
    return jax.random.bernoulli(key, mean).astype(mean.dtype)


def up(params: Tree, v: Array) -> Array:
    """What hidden units hear of v, [n, hidden]."""
    return v @ params["hidden"]["kernel"] + params["hidden"]["bias"]


def down(params: Tree, h: Array) -> Array:
    """What visible units hear of h, [n, p]."""
    return h @ params["hidden"]["kernel"].T + params["visible"]["bias"]
