"""`@component`: a frozen dataclass whose numbers are leaves and whose structure is static.

Losses, penalties, optimisers, schedules, networks, solvers and recipes are components. A field
annotated `float` (or one of the bounded aliases below) is a **leaf**: under JAX it may be a tracer
or carry a leading member axis. A field annotated with a component class is a **child**; a tuple
such as `tuple[Loss, ...]` holds several. Everything else is **static** and decides which program is
compiled. Every value is checked at construction.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import math
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    Self,
    TypeVar,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

import numpy as np

from minimand.errors import ArgumentError, ArgumentTypeError, unknown


@dataclasses.dataclass(frozen=True)
class Interval:
    """The allowed set of a numeric field; `closed` names the ends that belong to it."""

    low: float = -math.inf
    high: float = math.inf
    closed: Literal["both", "left", "right", "neither"] = "both"

    def contains(self, value: Any) -> bool:
        """Whether every entry of `value` lies inside; NaN never does."""
        left = value >= self.low if self.closed in ("both", "left") else value > self.low
        right = value <= self.high if self.closed in ("both", "right") else value < self.high
        return bool(np.all(left & right))

    def __str__(self) -> str:
        left = "[" if self.closed in ("both", "left") else "("
        right = "]" if self.closed in ("both", "right") else ")"
        return f"{left}{self.low:g}, {self.high:g}{right}"


Real = Annotated[float, Interval(closed="neither")]
Positive = Annotated[float, Interval(0.0, math.inf, "neither")]
NonNegative = Annotated[float, Interval(0.0, math.inf, "left")]
Fraction = Annotated[float, Interval(0.0, 1.0)]
OpenFraction = Annotated[float, Interval(0.0, 1.0, "neither")]
DecayRate = Annotated[float, Interval(0.0, 1.0, "left")]
Count = Annotated[int, Interval(1, math.inf, "left")]


@dataclasses.dataclass(frozen=True)
class Range:
    """A sensible range of one hyper-parameter: the default search space."""

    low: float
    high: float
    log: bool = False

    def grid(self, points: int) -> tuple[float, ...]:
        """`points` values from `low` to `high`, evenly spaced (on a logarithmic scale if `log`).

        >>> Range(1e-3, 1e-1, log=True).grid(3)
        (0.001, 0.01, 0.1)
        """
        space = np.geomspace if self.log else np.linspace
        return tuple(float(f"{v:.6g}") for v in space(self.low, self.high, points))


@dataclasses.dataclass(frozen=True)
class Card:
    """What is known about a component: read by the catalogue, the documentation and the tests.

    A fact that depends on a hyper-parameter is a function of the component (`lambda c: c.delta`);
    `Component.fact` resolves it. `None` means that the fact does not apply.

    `lipschitz` and `curvature` are upper bounds on the slope and the second derivative along a
    direction of Euclidean length 1 in the scores that one value depends on. A loss has
    `bounded_influence` if one bad example can do only so much harm: among many, a target that runs
    away moves the best constant only so far; where targets are classes, a score that runs to the
    wrong side costs only so much. It is `proper` if its expectation is least at the truth, and
    `symmetric` if ρ(-r) = ρ(r), or if its two classes may change places.
    """

    formula: str
    source: str
    use: str
    tasks: tuple[str, ...] = ()
    target: Literal[
        "real",
        "count",
        "positive",
        "fraction",
        "angle",
        "sign",
        "class",
        "soft",
        "image",
        "embedding",
        "relevance",
        "survival",
        "sequence",
        "distribution",
        "features",
        "action",
        "none",
        "",
    ] = ""
    convex: bool | None = None
    lipschitz: Any = None
    curvature: Any = None
    kinks: str = ""
    bounded_influence: bool | None = None
    proper: bool | None = None
    symmetric: Any = None
    zero_is_optimal: bool = False
    search: Mapping[str, Range] = dataclasses.field(default_factory=lambda: MappingProxyType({}))


_registry: dict[str, dict[str, type[Component]]] = {}
_not_yet_pytrees: list[type[Component]] = []
C = TypeVar("C", bound="Component")


class Component:
    """Base of everything that is defined by its fields alone."""

    kind: ClassVar[str] = "component"
    card: ClassVar[Card]
    _hints: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    _dynamic: ClassVar[tuple[str, ...]] = ()
    _static: ClassVar[tuple[str, ...]] = ()
    _derived: ClassVar[tuple[str, ...]] = ()
    """Attributes beside the fields that decide the program, set when a component is made."""

    def __post_init__(self) -> None:
        if _not_yet_pytrees:
            register_pytrees()
        for name, hint in self._hints.items():
            where = f"{type(self).__name__}: {name}"
            object.__setattr__(self, name, _checked(where, hint, getattr(self, name)))

    def fact(self, name: str) -> Any:
        """The card's entry `name`, resolved for this component's hyper-parameters."""
        value = getattr(self.card, name)
        return value(self) if callable(value) else value

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: the type's name and its fields."""
        return {"type": type(self).__name__} | {n: _plain(getattr(self, n)) for n in self._hints}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The component that `to_json` wrote, looked up among the components of this kind."""
        if "type" not in data:
            raise ArgumentError(f"a stored {cls.kind} must name its 'type'; got {dict(data)}")
        fields = dict(data)
        chosen = find(cls.kind, fields.pop("type"))
        for name, value in fields.items():
            hint = _unwrap(chosen._hints.get(name))[0]
            if _is_component(hint):
                fields[name] = hint.from_json(value)
            elif _is_component(several := _entry(hint)):
                fields[name] = tuple(several.from_json(one) for one in value)
        return _made(chosen, fields)  # type: ignore[return-value]

    @classmethod
    def parse(cls, text: str) -> Self:
        """A component of this kind from text such as `"huber"` or `"huber(delta=2)"`."""
        try:
            node = ast.parse(text.strip(), mode="eval").body
            call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
            if not isinstance(call.func, ast.Name) or call.args:
                raise ValueError
            fields = {str(k.arg): _literal(k.value) for k in call.keywords}
        except (SyntaxError, ValueError):
            raise ArgumentError(
                f"cannot read {cls.kind} '{text}'; write a name such as 'huber', "
                f"or a name with fields such as 'huber(delta=2)'"
            ) from None
        return _made(find(cls.kind, call.func.id), fields)  # type: ignore[return-value]

    def __repr__(self) -> str:
        """The name and all fields, less those by keyword alone that have their default."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        shown = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields
            if not field.kw_only or _changed(getattr(self, field.name), field.default)
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    def __str__(self) -> str:
        """The shortest text that `parse` reads back: the name and the fields off their default."""
        shown = []
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if _changed(value, field.default):
                written = value.tolist() if isinstance(value, np.ndarray) else value
                shown.append(f"{field.name}={written}")
        return type(self).__name__ + (f"({', '.join(shown)})" if shown else "")


@dataclass_transform(frozen_default=True)
def component(cls: type[C]) -> type[C]:
    """Make `cls` a frozen dataclass, a JAX pytree (once JAX is loaded) and a registry entry."""
    made = dataclasses.dataclass(frozen=True, repr=False)(cls)
    hints = get_type_hints(made, include_extras=True)
    made._hints = {f.name: hints[f.name] for f in dataclasses.fields(made)}  # type: ignore[arg-type]
    made._dynamic = tuple(n for n, h in made._hints.items() if _is_dynamic(h))
    made._static = tuple(n for n in made._hints if n not in made._dynamic) + made._derived
    if "card" in cls.__dict__:
        facts = f"Formula: {made.card.formula}\n\nSource: {made.card.source}."
        made.__doc__ = f"{inspect.cleandoc(cls.__doc__ or '')}\n\n{facts}"
    _registry.setdefault(made.kind, {})[made.__name__] = made
    _not_yet_pytrees.append(made)
    register_pytrees()
    return made


def catalogue(kind: str) -> dict[str, type[Component]]:
    """Every registered component of a kind, by name, in order of definition."""
    return dict(_registry.get(kind, {}))


def find(kind: str, name: str) -> type[Component]:
    """The class called `name`; case and underscores do not matter, near misses are suggested."""
    known = _registry.get(kind, {})
    folded = {n.casefold(): c for n, c in known.items()}
    try:
        return folded[str(name).replace("_", "").replace("-", "").casefold()]
    except KeyError:
        raise unknown(kind, name, known) from None


def register_pytrees() -> None:
    """Tell JAX, if it is loaded, about the components defined so far.

    This happens by itself whenever a component is defined or made, so only a program that makes
    its components, imports JAX later and hands them straight to `jax.jit` has to call it.
    """
    tree_util = getattr(sys.modules.get("jax"), "tree_util", None)
    while tree_util is not None and _not_yet_pytrees:
        cls = _not_yet_pytrees.pop()
        key = tree_util.GetAttrKey

        def flatten(c: Any) -> tuple[list[Any], tuple[Any, ...]]:
            return [getattr(c, n) for n in c._dynamic], tuple(getattr(c, n) for n in c._static)

        def flatten_with_keys(c: Any, key: Any = key) -> tuple[list[Any], tuple[Any, ...]]:
            return [(key(n), getattr(c, n)) for n in c._dynamic], flatten(c)[1]

        def unflatten(static: Any, dynamic: Any, cls: type[Component] = cls) -> Component:
            made = object.__new__(cls)
            for names, values in ((cls._dynamic, dynamic), (cls._static, static)):
                for name, value in zip(names, values, strict=True):
                    object.__setattr__(made, name, value)
            return made

        tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)


def _made(cls: type[Component], fields: Mapping[str, Any]) -> Component:
    for name in fields:
        if name not in cls._hints:
            raise unknown(f"field of {cls.__name__}", name, cls._hints)
    return cls(**{name: _array(cls._hints[name], value) for name, value in fields.items()})


def _array(hint: Any, value: Any) -> Any:
    """A written-out list of numbers as the array that a numeric field may hold."""
    return np.asarray(value) if _unwrap(hint)[0] is float and isinstance(value, list) else value


def _literal(node: ast.expr) -> Any:
    """The value of a literal; the text of anything else, such as a component or a bare word."""
    if isinstance(node, ast.Tuple):
        return tuple(_literal(entry) for entry in node.elts)
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)


def _unwrap(hint: Any) -> tuple[Any, Interval]:
    if get_origin(hint) is Annotated:
        base, bounds = get_args(hint)
        return base, bounds
    return hint, Interval()


def _is_dynamic(hint: Any) -> bool:
    base = _unwrap(hint)[0]
    return base is float or _is_component(base) or _is_component(_entry(base))


def _is_component(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Component)


def _entry(hint: Any) -> Any:
    """What a tuple of any length holds."""
    return get_args(hint)[0] if get_origin(hint) is tuple else None


def _checked(where: str, hint: Any, value: Any) -> Any:
    """`value` as the field stores it, or an error that names the field and the allowed set."""
    base, bounds = _unwrap(hint)
    if get_origin(base) is Literal:
        if value not in get_args(base):
            raise unknown(where, value, map(str, get_args(base)))
        return value
    if get_origin(base) is tuple:
        if not isinstance(value, (tuple, list)):
            such = f"of {_entry(base).kind}s" if _is_component(_entry(base)) else "such as (64, 32)"
            raise ArgumentTypeError(f"{where} must be a tuple {such}, not {value!r}")
        return tuple(_checked(where, _entry(base), v) for v in value)
    if _is_component(base):
        value = base.parse(value) if isinstance(value, str) else value
        if not isinstance(value, base):
            raise ArgumentTypeError(f"{where} must be a {base.kind}, not {value!r}")
        return value
    if base is bool:
        if not isinstance(value, bool):
            raise ArgumentTypeError(f"{where} must be True or False, not {value!r}")
        return value
    if base in (int, float):
        return _checked_number(where, base, bounds, value)
    return value


def _checked_number(where: str, base: type, bounds: Interval, value: Any) -> Any:
    own = isinstance(value, (int, float, np.generic, np.ndarray))
    if base is float and hasattr(value, "dtype") and not own:
        return value  # a tracer or another library's array: its values are not readable here
    kinds, wanted = ("iu", "an integer") if base is int else ("iuf", "a number")
    scalar = not isinstance(value, np.ndarray)
    if not (own and np.asarray(value).dtype.kind in kinds and (scalar or base is float)):
        raise ArgumentTypeError(f"{where} must be {wanted}, not {value!r}")
    if not bounds.contains(value):
        raise ArgumentError(f"{where} is {value}; it must lie in {bounds}")
    return value if isinstance(value, np.ndarray) else base(value)


def _changed(value: Any, default: Any) -> bool:
    """Whether a value is known to be another than the default; that of a tracer is unknown."""
    if value is default:
        return False
    tracer = getattr(getattr(sys.modules.get("jax"), "core", None), "Tracer", ())
    if isinstance(value, tuple) and isinstance(default, tuple):
        return len(value) != len(default) or any(map(_changed, value, default))
    if isinstance(value, Component):
        return str(value) != str(default)
    return not isinstance(value, tracer) and bool(np.any(value != default))


def _plain(value: Any) -> Any:
    if isinstance(value, Component):
        return value.to_json()
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    if isinstance(value, (str, int, float, bool, type(None))):
        return value
    return np.asarray(value).tolist()
