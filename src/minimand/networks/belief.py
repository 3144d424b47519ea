"""Deep belief networks: directed layers below a Boltzmann machine, and their fine-tuning.

Parameters are {"layer0": {"up": ..., "down": ...}, ..., "top": ...}, each those of a Boltzmann
machine, as far as the direction needs them.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from minimand.arrays import Array, sigmoid
from minimand.component import Card, component
from minimand.errors import ArgumentError
from minimand.losses import BinaryCrossEntropy, Reconstruction
from minimand.networks.base import Tree
from minimand.networks.boltzmann import RBM, GaussianRBM, bernoulli, down, up
from minimand.networks.coder import Coder
from minimand.networks.layers import flat

RECOGNITION = Reconstruction(BinaryCrossEntropy())
"""-log q(h | v), of what hidden units hear of v."""


@component
class DeepBeliefNetwork(Coder):
    """A deep belief network: the top two layers are a Boltzmann machine, those below it generate.

    Begin with the machines of a stack, see `untied`, and train with `ContrastiveDivergence`: that
    is the up-down algorithm, a contrastive form of wake-sleep. Awake, the layers are drawn from the
    row up, and the weights down learn to have produced them; asleep, the top machine's Gibbs chain
    is followed down, and the weights up learn to recognise it. The scores of a row are
    -log p(row, layers) below the top plus the top's free energy, and the same of the dream. When
    the network is not training the first score is -log p(row | what the top layer makes of it) by
    the means, and the other is 0.

    >>> network = DeepBeliefNetwork((RBM(hidden=8), RBM(hidden=4)))
    >>> params, state = network.init(jax.random.key(0), jnp.zeros((1, 6)))
    >>> sorted(params), network.encode(params, state, jnp.zeros((3, 6))).shape
    (['layer0', 'top'], (3, 4))
    """

    machines: tuple[RBM, ...] = (RBM(), RBM())
    outputs = 2
    card = Card(
        formula="p(v, h¹, …, hᴸ) = p(v | h¹) … p(hᴸ⁻² | hᴸ⁻¹) p(hᴸ⁻¹, hᴸ)",
        source="Hinton, Osindero and Teh (2006), A fast learning algorithm for deep belief nets, "
        "section 5 and appendix B",
        use="deep features of unlabelled data, and samples like them",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(isinstance(machine, GaussianRBM) for machine in self.machines[1:]):
            raise ArgumentError(
                "DeepBeliefNetwork: machines may have real visible units only at the bottom; those "
                "above see binary ones"
            )
        if not self.machines:
            raise ArgumentError("DeepBeliefNetwork: machines is empty; it needs at least one")

    @property
    def top(self) -> RBM:
        """The undirected machine."""
        return self.machines[-1]

    def init(self, key: Array, example: Array) -> tuple[Tree, Tree]:
        """Fresh machines, untied; the state is the top's."""
        below, params = flat(example), []
        for number, machine in enumerate(self.machines):
            fresh, state = machine.init(jax.random.fold_in(key, number), below)
            params.append(fresh)
            below = jnp.zeros((1, machine.hidden))
        return self.untied(params), state

    def untied(self, stack: Sequence[Tree]) -> Tree:
        """The parameters of machines trained one on the other, lowest first, as this network's.

        From here on, weights up and weights down go their own ways.
        """
        *lower, top = stack
        layers = {
            _name(number): {
                "up": {"hidden": one["hidden"]},
                "down": {
                    "hidden": {"kernel": one["hidden"]["kernel"]},
                    "visible": one["visible"],
                },
            }
            for number, one in enumerate(lower)
        }
        return layers | {"top": top}

    def apply(
        self, params: Tree, state: Tree, x: Array, *, key: Array, train: bool
    ) -> tuple[Array, Tree]:
        """(scores [batch, 2], where the chains are now)."""
        v = flat(x)
        if not train:
            rebuilt = self._heard(params, self.encode(params, state, v))
            first = self.machines[0].likelihood.value(rebuilt, v)
            return jnp.stack([first, jnp.zeros_like(first)], axis=-1), state
        awake, middle, asleep = jax.random.split(key, 3)
        wake, h = self._wake(params, v, awake)
        still = jax.lax.stop_gradient(params["top"])
        ended = self.top.gibbs(still, state.get("chains", h), middle, self.top.steps)
        data = wake + self.top.free_energy(params["top"], h)
        model = self.top.free_energy(params["top"], ended) - self._sleep(params, ended, asleep)
        if self.top.chains:
            state = {"chains": ended}
            model = jnp.broadcast_to(jnp.mean(model), data.shape)
        return jnp.stack([data, model], axis=-1), state

    def _wake(self, params: Tree, v: Array, key: Array) -> tuple[Array, Array]:
        """(-log p(row | layer 1) p(layer 1 | layer 2) ... [n], the layer that the top sees)."""
        total, below = jnp.zeros(len(v)), v
        for layer, machine, own in self._lower(params):
            seen = jax.lax.stop_gradient(machine.hidden_mean(layer["up"], below))
            above = bernoulli(jax.random.fold_in(key, own), seen)
            total += machine.likelihood.value(down(layer["down"], above), below)
            below = above
        return total, below

    def _sleep(self, params: Tree, above: Array, key: Array) -> Array:
        """-log q of the layers of a dream, drawn from the top down, given those below, [n]."""
        total = jnp.zeros(len(above))
        for layer, machine, own in reversed(self._lower(params)):
            mean = jax.lax.stop_gradient(machine.visible_mean(layer["down"], above))
            below = machine.drawn(jax.random.fold_in(key, own), mean)
            total += RECOGNITION.value(up(layer["up"], below), above)
            above = below
        return total

    def encode(self, params: Tree, state: Tree, x: Array) -> Array:
        """What the top layer makes of the rows, by the means of each layer: [n, hidden]."""
        v = flat(x)
        for layer, machine, _ in self._lower(params):
            v = machine.hidden_mean(layer["up"], v)
        return self.top.hidden_mean(params["top"], v)

    def decode(self, params: Tree, state: Tree, code: Array, shape: tuple[int, ...]) -> Array:
        """What the visible units hear of a top layer, by the means of each layer: [n, p]."""
        return self._heard(params, code)

    def encoder(self, params: Tree) -> list[Tree]:
        """The layers up, as they can begin another network."""
        return [layer["up"]["hidden"] for layer, _, _ in self._lower(params)] + [
            params["top"]["hidden"]
        ]

    def target(self, rows: Array) -> Array:
        """One number for each row, at which the loss does not look."""
        return np.zeros(len(rows))

    def _heard(self, params: Tree, h: Array) -> Array:
        heard = down(params["top"], h)
        for layer, _, _ in reversed(self._lower(params)):
            heard = down(layer["down"], sigmoid(heard))
        return heard

    def fantasies(self, params: Tree, key: Array, count: int, steps: int = 1000) -> Array:
        """What the network believes in, [count, p]: the top's chains, followed down by the means.

        The chains begin anywhere; give them `steps` enough to forget where.
        """
        h = self.top.hidden_fantasies(params["top"], key, count, steps)
        return self.machines[0].likelihood.response(self._heard(params, h))

    def _lower(self, params: Tree) -> list[tuple[Tree, RBM, int]]:
        """(parameters, machine, number) of every directed layer, the lowest first."""
        return [(params[_name(i)], one, i) for i, one in enumerate(self.machines[:-1])]


def _name(number: int) -> str:
    return f"layer{number}"
