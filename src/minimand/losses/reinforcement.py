"""Losses of reinforcement learning: values that predict their own future, and policies.

A target holds what the replay buffer holds, one column each; it is a constant to automatic
differentiation, even where the same network computed it (the semi-gradient of Q-learning).
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from minimand.arrays import Array, arange, namespace, stop_gradient, to_float
from minimand.component import Card, OpenFraction, Range, component
from minimand.errors import ArgumentError
from minimand.losses.base import Loss, PointwiseLoss, reject
from minimand.losses.classification import CrossEntropy
from minimand.losses.regression import Huber, ResidualLoss, Squared


@component
class TDError(Loss):
    """The temporal-difference error of action values [n, A] against one step of the Bellman target.

    `loss` judges the residual Q(s, a) - target: `Squared()` is Q-learning's, `Huber(1.0)` is DQN's.
    The columns of the target [n, 4] are the action taken, the reward, the discount (0 where the
    episode ended) and the value of the next state; make the last one with `greedy_value`, which
    also does double Q-learning. A reward summed over k steps with the discount γᵏ gives the k-step
    error.

    >>> import numpy as np
    >>> q = np.array([[1.0, 5.0], [2.0, 0.0]])
    >>> steps = np.array([[1, 1.0, 0.5, 6.0], [0, 3.0, 0.0, 9.0]])  # targets 1 + 0.5 x 6 and 3
    >>> TDError().value(q, steps).tolist()
    [1.0, 1.0]
    """

    loss: ResidualLoss = Squared()
    score_axes = 1
    target_axes = 1
    targets = ("action", "reward", "discount", "next_value")
    card = Card(
        formula="ρ(Q(s, a) - (reward + γ V(s′)))",
        source="Sutton (1988), Learning to predict by the methods of temporal differences; "
        "Mnih et al. (2015), Human-level control through deep reinforcement learning, eq. 1",
        use="the value of every action (Q-learning, DQN, double DQN)",
        target="action",
    )

    def value(self, score: Array, target: Array) -> Array:
        return self.loss.rho(self._residual(score, target))

    def gradient(self, score: Array, target: Array) -> Array:
        """ρ' for the action taken and 0 for the others, [n, A]; the target counts as constant."""
        slope = self.loss.slope(self._residual(score, target))
        return self._taken(score, target) * slope[..., None]

    def curvature(self, score: Array, target: Array) -> Array:
        """ρ'' on the diagonal at the action taken, [n, A, A]."""
        bend = self.loss.bend(self._residual(score, target))[..., None, None]
        taken = self._taken(score, target)
        return taken[..., :, None] * taken[..., None, :] * bend

    def decide(self, score: Array) -> Array:
        """The greedy action."""
        return namespace(score).argmax(score, axis=-1)

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The best constant value of each action 0 ... max(action), 0 for one never taken."""
        target = np.asarray(target, dtype=float)
        weight = np.ones(len(target)) if weight is None else np.asarray(weight)
        action, wanted = target[:, 0].astype(int), bellman_target(*target[:, 1:].T)
        best = np.zeros(action.max() + 1)
        for a in np.unique(action[weight > 0]):
            rows = (action == a) & (weight > 0)
            best[a] = self.loss.constant(wanted[rows], weight[rows])
        return best

    def check_target(self, target: Array) -> None:
        """Actions must be indices 0, 1, 2, ... and the other columns finite."""
        action = np.asarray(target)[:, 0]
        bad = ~((action >= 0) & (action == np.floor(action)) & np.isfinite(action))
        reject(self, action, bad, "not an action 0, 1, 2, ...", "number the actions from 0")
        _check_finite(self, target, self.targets)

    def _residual(self, score: Array, target: Array) -> Array:
        target = stop_gradient(to_float(target, score))
        wanted = bellman_target(*(target[..., i] for i in (1, 2, 3)))
        return taken(score, target[..., 0]) - wanted

    def _taken(self, score: Array, target: Array) -> Array:
        return to_float(_is_taken(score, target[..., 0]), score)


@component
class QuantileTD(Loss):
    """The temporal-difference error of N quantiles of the return, against M samples of its target.

    The score [n, N] holds the quantiles of the action taken (see `taken`), at the levels
    (2i - 1) / 2N; the target [n, M] their Bellman targets (see `bellman_target`). Summed over the
    quantiles, averaged over the samples. `loss` is the shape that is tilted: `Huber(κ)`, not
    divided by κ, or `Absolute()` for plain quantile regression, or `Squared()` for expectiles.

    >>> import numpy as np
    >>> QuantileTD(loss="absolute").value(np.array([[0.0, 1.0]]), np.array([[2.0]])).tolist()
    [1.25]
    """

    loss: ResidualLoss = Huber(delta=1.0)
    score_axes = 1
    target_axes = 1
    card = Card(
        formula="Σᵢ meanⱼ |τᵢ - [Tⱼ < θᵢ]| ρ(θᵢ - Tⱼ)",
        source="Dabney et al. (2018), Distributional reinforcement learning with quantile "
        "regression, eq. 10 and algorithm 1",
        use="the whole distribution of the return (QR-DQN)",
        target="action",
        kinks="the curvature jumps at θᵢ = Tⱼ (the slope, if that of `loss` does at 0)",
    )

    def value(self, score: Array, target: Array) -> Array:
        r, tilt = self._pairs(score, target)
        xp = namespace(r)
        return xp.sum(xp.mean(tilt * self.loss.rho(r), axis=-1), axis=-1)

    def gradient(self, score: Array, target: Array) -> Array:
        """The tilted ρ', averaged over the samples, [n, N]; the target counts as constant."""
        r, tilt = self._pairs(score, target)
        return namespace(r).mean(tilt * self.loss.slope(r), axis=-1)

    def curvature(self, score: Array, target: Array) -> Array:
        """The tilted ρ'', averaged over the samples, on the diagonal of [n, N, N]."""
        r, tilt = self._pairs(score, target)
        xp = namespace(r)
        bend = xp.mean(tilt * self.loss.bend(r), axis=-1)
        return bend[..., None] * xp.eye(bend.shape[-1], dtype=bend.dtype)

    def response(self, score: Array) -> Array:
        """The mean of the quantiles: the value of the action, [n]."""
        return namespace(score).mean(score, axis=-1)

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The best M constant quantiles, where M is the number of samples, by bisection."""
        target = np.asarray(target, dtype=float)
        low, high = (np.full(target.shape[-1], end(target)) for end in (np.min, np.max))
        for _ in range(200):
            middle = 0.5 * (low + high)
            slopes = self.gradient(np.broadcast_to(middle, target.shape), target)
            above = np.average(slopes, axis=0, weights=weight) > 0
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        return 0.5 * (low + high)

    def check_target(self, target: Array) -> None:
        """Every sample must be finite."""
        _check_finite(self, target, tuple(f"sample {j + 1}" for j in range(target.shape[-1])))

    def _pairs(self, score: Array, target: Array) -> tuple[Array, Array]:
        """Every quantile against every sample, [n, N, M]: the residual, and the tilt τ or 1 - τ."""
        xp = namespace(score, target)
        target = stop_gradient(to_float(target, score))
        r = score[..., :, None] - target[..., None, :]
        count = score.shape[-1]
        level = (2 * to_float(arange(count, score), score) + 1) / (2 * count)
        return r, xp.where(r > 0, 1 - level[:, None], level[:, None])


class PolicySurrogate(PointwiseLoss):
    """A loss of log π(a|s), the log-probability [n] that the policy gives to the action taken.

    Its value means nothing by itself; its gradient is that of the expected return, negated. For
    discrete actions `log_probability` makes the score from logits.
    """

    def response(self, score: Array) -> Array:
        """The probability (density) of the action taken."""
        return namespace(score).exp(score)

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """None exists."""
        raise ArgumentError(
            f"{type(self).__name__} has no best constant: its gradient means something, "
            f"its value does not; start from the policy as it is"
        )


@component
class PolicyGradient(PolicySurrogate):
    """The policy-gradient surrogate (REINFORCE, actor-critic); the target [n] is the advantage.

    Actions better than expected become likelier, the others less likely.

    >>> import numpy as np
    >>> log_p = np.log(np.array([0.5, 0.25]))
    >>> PolicyGradient().gradient(log_p, np.array([2.0, -1.0])).tolist()
    [-2.0, 1.0]
    """

    card = Card(
        formula="-advantage · log π(a|s)",
        source="Williams (1992), Simple statistical gradient-following algorithms; Sutton et al. "
        "(2000), Policy gradient methods, theorem 1",
        use="one step along the gradient of the expected return, on fresh data",
        target="action",
        convex=True,
    )

    def value(self, score: Array, target: Array) -> Array:
        return -stop_gradient(to_float(target, score)) * score

    def gradient(self, score: Array, target: Array) -> Array:
        return -to_float(target, score) * namespace(score).ones_like(score)

    def curvature(self, score: Array, target: Array) -> Array:
        return namespace(score).zeros_like(score)

    def check_target(self, target: Array) -> None:
        """Every advantage must be finite."""
        _check_finite(self, np.asarray(target)[..., None], ("advantage",))


@component
class PPOClip(PolicySurrogate):
    """Proximal policy optimisation: the policy gradient, stopped once the policy has moved enough.

    The columns of the target [n, 2] are the advantage and the log-probability of the action under
    the policy that took it. A larger `clip` lets the probability of an action move further, by the
    factor 1 ± `clip`, before its gradient stops; a move in the wrong direction is never stopped.

    >>> import numpy as np
    >>> ratio, advantage = np.array([1.1, 1.5, 1.5]), np.array([1.0, 1.0, -1.0])
    >>> target = np.stack([advantage, np.zeros(3)], axis=-1)
    >>> PPOClip(clip=0.2).value(np.log(ratio), target).round(9).tolist()
    [-1.1, -1.2, 1.5]
    """

    clip: OpenFraction = 0.2
    target_axes = 1
    targets = ("advantage", "old_log_probability")
    card = Card(
        formula="-min(r A, clip(r, 1 - ε, 1 + ε) A), r = π(a|s) / π_old(a|s)",
        source="Schulman et al. (2017), Proximal policy optimization algorithms, eq. 7",
        use="several epochs of policy steps on the same data",
        target="action",
        convex=False,
        kinks="r = 1 + ε if A > 0, r = 1 - ε if A < 0",
        search=MappingProxyType({"clip": Range(0.1, 0.3)}),
    )

    def value(self, score: Array, target: Array) -> Array:
        advantage, log_ratio, limit, stopped = self._parts(score, target)
        xp = namespace(score, limit)
        return -advantage * xp.exp(xp.where(stopped, limit, log_ratio))

    def gradient(self, score: Array, target: Array) -> Array:
        """-A r, or 0 where the ratio r has passed its limit."""
        advantage, log_ratio, limit, stopped = self._parts(score, target)
        xp = namespace(score, limit)
        moving = xp.exp(xp.where(stopped, limit, log_ratio))
        return xp.where(stopped, xp.zeros_like(moving), -advantage * moving)

    def curvature(self, score: Array, target: Array) -> Array:
        """-A r as well: the ratio is an exponential of the score."""
        return self.gradient(score, target)

    def check_target(self, target: Array) -> None:
        """Both columns must be finite."""
        _check_finite(self, target, self.targets)

    def _parts(self, score: Array, target: Array) -> tuple[Array, Array, Array, Array]:
        """(A, log r, the logarithm of the limit on r's way, whether r has passed it)."""
        xp = namespace(score, self.clip)
        target = stop_gradient(to_float(target, score))
        advantage, old = target[..., 0], target[..., 1]
        log_ratio, ones = score - old, xp.ones_like(score)
        rising = advantage >= 0
        limit = xp.log1p(xp.where(rising, self.clip * ones, -self.clip * ones))
        return advantage, log_ratio, limit, xp.where(rising, log_ratio > limit, log_ratio < limit)


def bellman_target(reward: Array, discount: Array, next_value: Array) -> Array:
    """reward + discount · next_value; where the discount is 0 the next value is never looked at.

    Args:
        reward: [n].
        discount: [n], 0 where the episode ended.
        next_value: [n], or [n, M] for M samples of it.

    >>> bellman_target(np.array([1.0]), np.array([0.5]), np.array([[2.0, 4.0]])).tolist()
    [[2.0, 3.0]]
    """
    xp = namespace(next_value)
    for _ in range(len(next_value.shape) - len(reward.shape)):
        reward, discount = reward[..., None], discount[..., None]
    going_on = xp.where(discount == 0, xp.zeros_like(next_value), next_value)
    return reward + discount * going_on


def greedy_value(q_target: Array, q_online: Array | None = None) -> Array:
    """max Q(s', a) over the actions [n, A]; with `q_online`, double Q-learning's value.

    Double Q-learning lets one network choose the action and another judge it, so that the largest
    of many noisy values is not mistaken for a good one (van Hasselt et al. 2016). Quantiles
    [n, A, N] are judged too, if `q_online` (their mean, say) chooses.

    >>> float(greedy_value(np.array([[1.0, 3.0]]), q_online=np.array([[9.0, 0.0]]))[0])
    1.0
    """
    chooser = q_target if q_online is None else q_online
    return taken(q_target, namespace(chooser).argmax(chooser, axis=-1))


def taken(values: Array, action: Array) -> Array:
    """The entry of `values` [n, A] (or [n, A, N]) that belongs to the action [n] taken.

    >>> taken(np.array([[1.0, 3.0], [5.0, 7.0]]), np.array([1, 0])).tolist()
    [3.0, 5.0]
    """
    xp = namespace(values)
    own = _is_taken(values, action)
    return xp.sum(xp.where(own, values, xp.zeros_like(values)), axis=len(action.shape))


def log_probability(logits: Array, action: Array) -> Array:
    """log softmax(logits)[action] for logits [n, A] and actions [n]: the score of a policy's loss.

    >>> log_probability(np.zeros((1, 4)), np.array([2])).round(4).tolist()
    [-1.3863]
    """
    return -CrossEntropy().value(logits, action)


def _is_taken(values: Array, action: Array) -> Array:
    """Whether the entry belongs to the action; the axes after the actions' have length 1."""
    axis = len(action.shape)
    own = action[..., None] == to_float(arange(values.shape[axis], values), action)
    for _ in range(len(values.shape) - axis - 1):
        own = own[..., None]
    return own


def _check_finite(loss: Loss, target: Array, columns: tuple[str, ...]) -> None:
    """Raise `TargetError` for the first row with a column that is not finite."""
    for i, name in enumerate(columns):
        column = np.asarray(target)[..., i]
        reject(loss, column, ~np.isfinite(column), f"not a finite {name}", "drop that row")
