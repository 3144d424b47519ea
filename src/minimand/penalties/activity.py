"""Penalties that only networks can have: on how often units are active, and several at once."""

from __future__ import annotations

from types import MappingProxyType

from minimand.arrays import Array, namespace
from minimand.component import Card, NonNegative, OpenFraction, Range, component
from minimand.constraints import ACTIVITY, Params
from minimand.losses.autoencoder import bernoulli_kl
from minimand.penalties.norms import L2, Penalty

LEAST = 1e-6
"""A rate is kept this far from 0 and 1, where the divergence has no end."""


@component
class Sparsity(Penalty):
    """Units that are active at the wanted `rate`, each on its mean over the rows of a batch.

    It is for activations between 0 and 1, such as the code of an `Autoencoder`. A smaller `rate`
    makes codes sparser; a larger `strength` brings every unit closer to it.

    >>> import jax.numpy as jnp
    >>> code = {"code": {"activity": jnp.array([[0.0, 0.9], [0.2, 0.1]])}}  # rates 0.1 and 0.5
    >>> round(float(Sparsity(rate=0.1).of_activities(code, jnp.ones(2))), 4)  # KL(0.1 ‖ 0.5)
    0.3681
    """

    strength: NonNegative = 1.0
    rate: OpenFraction = 0.05
    kinds: tuple[str, ...] = (ACTIVITY,)
    card = Card(
        formula="λ Σₖ ρ log(ρ / aₖ) + (1 - ρ) log((1 - ρ) / (1 - aₖ)), aₖ the mean activity",
        source="Lee, Ekanadham and Ng (2008), Sparse deep belief net model for visual area V2; "
        "Ng (2011), Sparse autoencoder, CS294A lecture notes, section 3",
        use="sparse autoencoders: codes in which few units are active at a time",
        search=MappingProxyType(
            {"strength": Range(0.01, 10.0, log=True), "rate": Range(0.01, 0.2, log=True)}
        ),
    )

    def of_layer(self, activity: Array, share: Array) -> Array:
        xp = namespace(activity)
        rates = xp.clip(xp.tensordot(share, activity, axes=1), LEAST, 1 - LEAST)
        wanted = self.rate * xp.ones_like(rates)
        return self.strength * xp.sum(bernoulli_kl(wanted, xp.log(rates), xp.log1p(-rates)))


@component
class Sum(Penalty):
    """Several penalties of one network.

    >>> import numpy as np
    >>> float(Sum((L2(strength=1.0), L2(strength=0.5))).value(np.array([2.0])))
    3.0
    """

    penalties: tuple[Penalty, ...] = (L2(), Sparsity())
    card = Card(formula="Σᵢ λᵢ Rᵢ", source="composition", use="sparse and small parameters at once")

    def value(self, params: Params) -> Array:
        return sum(penalty.value(params) for penalty in self.penalties)

    @property
    def on_activities(self) -> bool:
        return any(penalty.on_activities for penalty in self.penalties)

    @property
    def solvable(self) -> bool:
        return False

    def of_activities(self, activities: Params, weight: Array) -> Array:
        chosen = (penalty for penalty in self.penalties if penalty.on_activities)
        return sum(penalty.of_activities(activities, weight) for penalty in chosen)
