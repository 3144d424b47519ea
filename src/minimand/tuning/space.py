"""The settings that a search may try: ranges and choices, some of them under a condition.

A setting maps names to values. For a recipe a name is the dotted path of a field, such as
`optimizer.learning_rate` or, in a tuple, `augmentation.augmentations.0.degrees`; for a function of
your own it is one of its arguments.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np

from minimand.component import Component, Range
from minimand.errors import ArgumentError, ArgumentTypeError, unknown

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial

Setting = Mapping[str, Any]
R = TypeVar("R", bound=Component)
SEARCHED = ("network", "optimizer", "penalty", "augmentation")


@dataclasses.dataclass(frozen=True)
class Dimension:
    """One thing to choose; `condition` says when it exists: (name, the values it may have)."""

    condition: tuple[str, tuple[Any, ...]] | None = dataclasses.field(
        default=None, kw_only=True, repr=False
    )

    def when(self, name: str, *values: Any) -> Self:
        """The same, existing only if dimension `name` has one of the values.

        A class stands for all its instances.

        >>> Float(0.0, 0.99).when("optimizer", "sgd").exists({"optimizer": "adam"})
        False
        """
        if not values:
            raise ArgumentError(f"when('{name}') needs the values under which to exist")
        same = copy(self)
        object.__setattr__(same, "condition", (name, values))
        return same

    def exists(self, setting: Setting) -> bool:
        """Whether the dimension is part of a setting whose earlier choices are these."""
        if self.condition is None:
            return True
        name, values = self.condition
        return name in setting and any(_matches(setting[name], v) for v in values)

    @property
    def distribution(self) -> BaseDistribution:
        """What Optuna calls the dimension."""
        raise NotImplementedError

    def at(self, share: float) -> Any:
        """The value at a share in [0, 1) of the way through."""
        raise NotImplementedError

    def grid(self, points: int) -> list[Any]:
        """At most `points` values, evenly spread; all options of a choice."""
        raise NotImplementedError

    def stored(self, value: Any) -> Any:
        """The value as Optuna stores it."""
        return value

    def read(self, stored: Any) -> Any:
        """The value that `stored` wrote."""
        return stored


@dataclasses.dataclass(frozen=True)
class _Numeric(Dimension):
    low: Any
    high: Any
    log: bool = False

    def __post_init__(self) -> None:
        where = f"{type(self).__name__}({self.low}, {self.high})"
        if not (math.isfinite(self.low) and self.low <= self.high and math.isfinite(self.high)):
            raise ArgumentError(f"{where}: low must not be above high, and both must be finite")
        if self.log and not self.low > 0:
            raise ArgumentError(f"{where}: a logarithmic range must begin above 0")


@dataclasses.dataclass(frozen=True)
class Float(_Numeric):
    """A number from `low` to `high`, both included, uniform, or uniform in its logarithm.

    >>> Float(1e-4, 1e-2, log=True).grid(3)
    [0.0001, 0.001, 0.01]
    """

    low: float
    high: float

    @property
    def distribution(self) -> BaseDistribution:
        from optuna.distributions import FloatDistribution

        return FloatDistribution(self.low, self.high, log=self.log)

    def at(self, share: float) -> float:
        if self.log:
            value = math.exp(_between(math.log(self.low), math.log(self.high), share))
        else:
            value = _between(self.low, self.high, share)
        return min(max(value, self.low), self.high)

    def grid(self, points: int) -> list[float]:
        values = Range(self.low, self.high, self.log).grid(points)
        return sorted({min(max(v, self.low), self.high) for v in values})

    def stored(self, value: Any) -> float:
        return float(value)


@dataclasses.dataclass(frozen=True)
class Int(_Numeric):
    """A whole number from `low` to `high`, both included.

    >>> Int(16, 256, log=True).grid(3)
    [16, 64, 256]
    """

    low: int
    high: int

    def __post_init__(self) -> None:
        for value in (self.low, self.high):
            if not isinstance(value, (int, np.integer)):
                raise ArgumentTypeError(f"the ends of Int must be whole numbers, not {value!r}")
        super().__post_init__()

    @property
    def distribution(self) -> BaseDistribution:
        from optuna.distributions import IntDistribution

        return IntDistribution(int(self.low), int(self.high), log=self.log)

    def at(self, share: float) -> int:
        low, high = self.low - 0.5, self.high + 0.5
        if self.log:
            value = math.exp(_between(math.log(low), math.log(high), share))
        else:
            value = _between(low, high, share)
        return min(max(round(value), self.low), self.high)

    def grid(self, points: int) -> list[int]:
        return sorted({round(v) for v in Range(self.low, self.high, self.log).grid(points)})

    def stored(self, value: Any) -> int:
        return int(value)


@dataclasses.dataclass(frozen=True, init=False)
class Choice(Dimension):
    """One of the options: components, tuples, texts, numbers, functions.

    >>> Choice("relu", "tanh").grid(3)
    ['relu', 'tanh']

    Raises:
        ArgumentError: no option, two with the same text, or one whose text differs between runs.
    """

    options: tuple[Any, ...]

    def __init__(self, *options: Any) -> None:
        object.__setattr__(self, "options", options)
        object.__setattr__(self, "condition", None)
        labels = [label(option) for option in options]
        if not labels or len(set(labels)) < len(labels):
            raise ArgumentError(f"a Choice needs options that differ; got {labels}")

    @property
    def distribution(self) -> BaseDistribution:
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution([label(option) for option in self.options])

    def at(self, share: float) -> Any:
        return self.options[int(share * len(self.options))]

    def grid(self, points: int) -> list[Any]:
        return list(self.options)

    def stored(self, value: Any) -> str:
        return label(value)

    def read(self, stored: Any) -> Any:
        return next((o for o in self.options if label(o) == stored), stored)


Space = Mapping[str, Dimension]


def ordered(space: Space) -> dict[str, Dimension]:
    """The space, what a condition asks about before what it governs.

    Raises:
        ArgumentTypeError: something in it is no dimension.
        ArgumentError: it is empty, or a condition asks about nothing in it, or about itself.
    """
    if not space:
        raise ArgumentError("the space is empty; name at least one thing to choose")
    for name, dimension in space.items():
        if not isinstance(dimension, Dimension):
            raise ArgumentTypeError(
                f"'{name}' must be Float(low, high), Int(low, high) or Choice(*options), "
                f"not {dimension!r}"
            )
        if dimension.condition is not None and dimension.condition[0] not in space:
            raise unknown(f"name in the condition of '{name}'", dimension.condition[0], space)
    before = {n: [d.condition[0]] if d.condition else [] for n, d in space.items()}
    try:
        return {name: space[name] for name in TopologicalSorter(before).static_order()}
    except CycleError as error:
        loop = " -> ".join(error.args[1])
        raise ArgumentError(f"conditions that ask about each other: {loop}") from None


def grid(space: Space, points: int = 3) -> list[Setting]:
    """Every combination of `points` values of each range and all options of each choice.

    >>> grid({"a": Choice("x", "y"), "b": Int(1, 2).when("a", "y")})
    [{'a': 'x'}, {'a': 'y', 'b': 1}, {'a': 'y', 'b': 2}]
    """
    settings: list[dict[str, Any]] = [{}]
    for name, dimension in ordered(space).items():
        settings = [
            setting | chosen
            for setting in settings
            for chosen in (
                [{name: value} for value in dimension.grid(points)]
                if dimension.exists(setting)
                else [{}]
            )
        ]
    return list(settings)


def suggested(trial: Trial, space: Space) -> Setting:
    """The setting that an Optuna trial suggests; what its conditions rule out is absent."""
    setting: dict[str, Any] = {}
    for name, dimension in ordered(space).items():
        if dimension.exists(setting):
            setting[name] = dimension.read(_suggest(trial, name, dimension.distribution))
    return setting


def label(option: Any) -> str:
    """The text by which Optuna stores an option; the same in every run.

    >>> label((64, 32)), label("relu"), label(None)
    ('(64, 32)', 'relu', 'None')
    """
    if isinstance(option, (str, Component)):
        return str(option)
    if isinstance(option, np.generic):
        option = option.item()
    if isinstance(option, tuple):
        return f"({', '.join(label(o) for o in option)}{',' * (len(option) == 1)})"
    text = str(getattr(option, "__qualname__", repr(option)))
    if re.search(r" at 0x[0-9a-fA-F]+|<lambda>", text):
        raise ArgumentError(f"{text} has no text that lasts; choose by name, such as 'relu'")
    return text


def value_at(recipe: Component, path: str) -> Any:
    """What stands at a dotted path.

    Raises:
        UnknownNameError: a path that leads nowhere; the nearest field is suggested.
    """
    part: Any = recipe
    for name in path.split("."):
        part = _inside(part, name)[name]
    return part


def applied(recipe: R, setting: Setting) -> R:
    """The recipe with the fields at these dotted paths replaced, outer ones first.

    Raises:
        UnknownNameError: a path that leads nowhere; the nearest field is suggested.
    """
    for path in sorted(setting, key=lambda path: path.count(".")):
        recipe = _replaced(recipe, path, setting[path])
    return recipe


def default_space(recipe: Component) -> Space:
    """The ranges that the cards of a recipe's parts suggest, each stretched to hold its own value.

    A number that is 0 is switched off and stays so. The loss is left as it is, since a search
    that may change it would lower the score instead of the error.
    """
    space: dict[str, Dimension] = {}
    for name in SEARCHED:
        for path, part in _parts(name, getattr(recipe, name, None)):
            card = getattr(part, "card", None)
            for field, found in card.search.items() if card else ():
                value = getattr(part, field, None)
                if isinstance(value, (int, float)) and value > 0:
                    kind = Int if isinstance(value, int) else Float
                    low, high = min(found.low, value), max(found.high, value)
                    space[f"{path}.{field}"] = kind(low, high, found.log)
    return space


def groups(recipes: Sequence[Component]) -> list[list[int]]:
    """The indices of the recipes that one program can run together, by structure and shapes."""
    import jax

    found: list[tuple[Any, list[int]]] = []
    for index, recipe in enumerate(recipes):
        leaves, structure = jax.tree.flatten(recipe)
        key = (structure, [np.shape(leaf) for leaf in leaves])
        for other, indices in found:
            if other == key:
                indices.append(index)
                break
        else:
            found.append((key, [index]))
    return [indices for _, indices in found]


def _between(low: float, high: float, share: float) -> float:
    return low + share * (high - low)


def _matches(value: Any, wanted: Any) -> bool:
    instance = isinstance(wanted, type) and isinstance(value, wanted)
    return instance or label(value) == label(wanted)


def _suggest(trial: Trial, name: str, distribution: Any) -> Any:
    from optuna.distributions import CategoricalDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    low, high, log = distribution.low, distribution.high, distribution.log
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(name, low, high, log=log)
    return trial.suggest_float(name, low, high, log=log)


def _replaced(part: Any, path: str, value: Any) -> Any:
    name, _, rest = path.partition(".")
    inside = _inside(part, name)
    if rest:
        value = _replaced(inside[name], rest, value)
    if isinstance(part, tuple):
        return (*(inside | {name: value}).values(),)
    return dataclasses.replace(part, **{name: value})


def _parts(path: str, part: Any) -> Iterator[tuple[str, Component]]:
    """A component and those inside it, each with its path."""
    if isinstance(part, Component):
        yield path, part
    for name, inner in _inside(part).items():
        yield from _parts(f"{path}.{name}", inner)


def _inside(part: Any, wanted: str | None = None) -> dict[str, Any]:
    """What a component holds by name, or a tuple by number; the name wanted must be there."""
    names = part._hints if isinstance(part, Component) else ()
    inside = {name: getattr(part, name) for name in names}
    if isinstance(part, tuple):
        inside = {str(number): entry for number, entry in enumerate(part)}
    if wanted is not None and wanted not in inside:
        raise unknown(f"field of {type(part).__name__}", wanted, inside)
    return inside
