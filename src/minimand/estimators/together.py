"""Networks that many estimators want, trained as the members of a few programs.

`NetworkEstimator.fit` asks for its network with `trained`. Inside `noting` a wish is only noted,
and inside `giving` what has been trained for it since then comes back; everywhere else it is
trained at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.validation import _check_method_params

from minimand.arrays import Array
from minimand.budget import Budget
from minimand.data.splits import Fold
from minimand.errors import MinimandError

if TYPE_CHECKING:
    from minimand.networks.base import Tree
    from minimand.training import Recipe, Trained
    from minimand.training.population import Population

Place = tuple[int, int]
"""The numbers of a setting and of a fold."""


@dataclass(frozen=True, eq=False)
class Wish:
    """A network to train: what `train_members` takes, for one member."""

    recipe: Recipe
    X: Array
    y: Array
    fold: Fold
    seed: int
    weight: Array | None
    past: Trained | Tree | None = None
    progress: bool = False

    def like(self, other: Wish) -> bool:
        """Whether it is the same but for the seed and what the seed decides."""
        return same(self.recipe, other.recipe) and self.same_rows(other)

    def same_rows(self, other: Wish) -> bool:
        """Whether rows, targets and weights are equal."""
        pairs = ((getattr(self, name), getattr(other, name)) for name in ("X", "y", "weight"))
        return all(one is two or np.array_equal(one, two) for one, two in pairs)

    def shares(self, other: Wish) -> bool:
        """Whether one program can train both, each as it would be trained alone."""
        from minimand.tuning.space import groups

        shapes = [
            (len(w.fold.train), len(w.fold.test), w.X.shape[1:], w.y.shape[1:], w.y.dtype)
            for w in (self, other)
        ]
        alike = shapes[0] == shapes[1] and bool(self.past) == bool(other.past)
        return alike and len(groups([self.recipe, other.recipe])) == 1


def same(one: Recipe, other: Recipe) -> bool:
    """Whether two recipes are equal, whose numbers may be arrays."""
    import jax

    alike = len({jax.tree.structure(recipe) for recipe in (one, other)}) == 1
    return alike and all(map(np.array_equal, jax.tree.leaves(one), jax.tree.leaves(other)))


class Noted(Exception):
    """The network is not trained yet."""


def trained(wish: Wish) -> Trained:
    """The network that is wished for."""
    return _grant.get()(wish)


@contextmanager
def noting(wishes: list[Wish]) -> Iterator[None]:
    """Inside, every wish goes into the list and `Noted` is raised; equal rows are kept once."""
    blocks: list[Wish] = []

    def note(wish: Wish) -> Trained:
        block = next((block for block in blocks if wish.same_rows(block)), wish)
        if block is wish:
            blocks.append(wish)
        wishes.append(replace(wish, X=block.X, y=block.y, weight=block.weight))
        raise Noted

    with _granting(note):
        yield


@contextmanager
def giving(pairs: Sequence[tuple[Wish, Trained | None]]) -> Iterator[None]:
    """Inside, these wishes are granted in their order; any other is trained at once."""
    ahead = list(reversed(pairs))

    def give(wish: Wish) -> Trained:
        ready = ahead.pop()[1] if ahead and ahead[-1][0].like(wish) else None
        return ready or alone(wish)

    with _granting(give):
        yield


def alone(wish: Wish) -> Trained:
    """The network, trained by itself."""
    from minimand.training import train_members

    (found,) = train_members(
        [wish.recipe],
        wish.X,
        wish.y,
        [wish.fold],
        [wish.seed],
        weight=wish.weight,
        progress=wish.progress,
        starts=[wish.past] if wish.past else (),
    )
    return found


def wishes(
    estimator: Any,
    settings: Sequence[Mapping[str, Any]],
    X: Any,
    y: Any,
    folds: Sequence[Fold],
    params: Mapping[str, Any],
) -> tuple[list[Place], list[Wish]]:
    """What an estimator wishes for, with every setting on every fold; `params` are those of fit."""
    places: list[Place] = []
    found: list[Wish] = []
    with noting(found):
        for number, setting in enumerate(settings):
            for place, fold in enumerate(folds):
                one = clone(estimator).set_params(**clone(setting, safe=False))
                rows = _safe_split(one, X, y, fold.train)
                own = _check_method_params(X, params=params, indices=fold.train)
                with suppress(Exception):  # it will be raised again where it counts
                    one.fit(*rows, **own)
                places += [(number, place)] * (len(found) - len(places))
    return places, found


def together(wishes: Sequence[Wish], jobs: int | None = None) -> list[Trained | None]:
    """All networks, those that can share a program as members of one; None where that failed.

    The budget is not entered, so that Ctrl-C reaches who searches, and nobody ends half trained.
    """
    from minimand.training import train_members

    found: list[Trained | None] = [None] * len(wishes)
    for group in _groups(wishes):
        with suppress(MinimandError):  # each estimator will hear of it when it trains alone
            own = [wishes[number] for number in group]
            starts = [wish.past for wish in own if wish.past]
            trained = train_members(
                **_members(own), jobs=jobs, starts=starts, budget=Budget(), progress=False
            )
            for number, member in zip(group, trained, strict=True):
                found[number] = member
    return found


def populations(
    wishes: Sequence[Wish], jobs: int | None = None
) -> Iterator[tuple[Population, list[int]]]:
    """Those that can share a program, as a population, and which they are; none if that failed.

    A network that begins from given parameters is left out: it will train alone, to the end.
    """
    from minimand.training.population import Population

    for group in _groups(wishes):
        if wishes[group[0]].past:
            continue
        with suppress(MinimandError):
            members = _members([wishes[number] for number in group])
            yield Population(**members, jobs=jobs), group


def _groups(wishes: Sequence[Wish]) -> list[list[int]]:
    """Which wishes can share a program."""
    groups: list[list[int]] = []
    for number, wish in enumerate(wishes):
        near = (group for group in groups if wishes[group[0]].shares(wish))
        group = next(near, None)
        if group is None:
            groups.append([number])
        else:
            group.append(number)
    return groups


def _members(wishes: Sequence[Wish]) -> dict[str, Any]:
    """Members of one program; rows that several have in common are there once."""
    first: dict[int, int] = {}
    blocks: list[Wish] = []
    for wish in wishes:
        if id(wish.y) not in first:
            first[id(wish.y)] = sum(len(block.y) for block in blocks)
            blocks.append(wish)
    offsets = [first[id(wish.y)] for wish in wishes]
    weights = [np.ones(len(b.y)) if b.weight is None else b.weight for b in blocks]
    return {
        "recipes": [wish.recipe for wish in wishes],
        "X": np.concatenate([block.X for block in blocks]),
        "y": np.concatenate([block.y for block in blocks]),
        "folds": [
            Fold(wish.fold.train + offset, wish.fold.test + offset)
            for wish, offset in zip(wishes, offsets, strict=True)
        ],
        "seeds": [wish.seed for wish in wishes],
        "weight": np.concatenate(weights),
    }


@contextmanager
def _granting(grant: Callable[[Wish], Trained]) -> Iterator[None]:
    token = _grant.set(grant)
    try:
        yield
    finally:
        _grant.reset(token)


_grant: ContextVar[Callable[[Wish], Trained]] = ContextVar("grant", default=alone)
