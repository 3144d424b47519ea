"""What a component's card and fields say, in words: for the command line and the documentation."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from minimand.component import Card, Component, Range


def summary(cls: type[Component]) -> str:
    """The docstring without its examples, formula and source.

    >>> from minimand.losses import Squared
    >>> summary(Squared)
    'The squared error, whose constant is the mean.'
    """
    words = inspect.cleandoc(cls.__doc__ or "").partition("\n\nFormula: ")[0]
    return words.partition(">>>")[0].strip()


def facts(component: Component) -> Iterator[str]:
    """What the card claims of this component, without formula, use, tasks and source.

    >>> from minimand.losses import Huber
    >>> list(facts(Huber(delta=2.0)))[:3]
    ['target: real', 'convex', 'lipschitz: 2']
    """
    for field in dataclasses.fields(Card):
        value = component.fact(field.name)
        if field.name not in ("formula", "use", "tasks", "source") and value != field.default:
            yield from _fact(field.name.replace("_", " "), value)


def fields(component: Component) -> Iterator[tuple[str, str, str]]:
    """Name, allowed set and value of every field.

    >>> from minimand.losses import Huber
    >>> list(fields(Huber(delta=2.0)))
    [('delta', 'in (0, inf)', '2.0')]
    """
    for name, hint in component._hints.items():
        yield name, _allowed(hint), str(getattr(component, name))


def _fact(name: str, value: Any) -> Iterator[str]:
    match value:
        case True:
            yield name
        case False:
            yield f"{name}: no"
        case float():
            yield f"{name}: {value:.4g}"
        case Mapping():
            yield from (f"search {field}: {_span(r)}" for field, r in value.items())
        case _:
            yield f"{name}: {value}"


def _span(span: Range) -> str:
    return f"{span.low:g} to {span.high:g}" + (" (logarithmic)" if span.log else "")


def _allowed(hint: Any) -> str:
    """The set that a field's annotation allows."""
    inner = get_args(hint)
    origin = get_origin(hint)
    if origin is Annotated:
        whole = "whole numbers " if inner[0] is int else ""
        return f"{whole}in {inner[1]}"
    if origin is Literal:
        return " or ".join(map(str, inner))
    if origin is tuple:
        return f"several, each {_allowed(inner[0])}"
    if origin in (Union, UnionType):
        return " or ".join(map(_allowed, inner))
    names = {bool: "True or False", int: "a whole number", float: "a number", type(None): "None"}
    return names.get(hint) or f"a {getattr(hint, '__name__', hint)}"
