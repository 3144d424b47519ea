"""An Optax transformation of the user's own as an optimiser."""

from __future__ import annotations

import re
from functools import partial
from types import FunctionType
from typing import Any

import jax
import optax

from minimand.errors import ArgumentError
from minimand.optimizers.base import Optimizer


@jax.tree_util.register_static
class FromOptax(Optimizer):
    """An Optax transformation as it is; it equals itself only.

    `Recipe(optimizer=optax.adam(1e-3))` adapts by itself. The recipe's schedule multiplies its
    updates, and 1 is the default.

    >>> FromOptax(optax.sgd(0.5)).transform().update({"bias": 4.0}, optax.sgd(0.5).init(0.0))[0]
    {'bias': -2.0}
    """

    hides = True

    def __init__(self, transformation: optax.GradientTransformation):
        self.transformation = transformation

    def transform(self) -> optax.GradientTransformation:
        """The transformation.

        Its `update` raises `ArgumentError` if it asks for more than gradients, parameters, `value`
        (the loss of the batch) and `key`.
        """
        init, update = optax.with_extra_args_support(self.transformation)

        def told(*given: Any, **extra: Any) -> Any:
            try:
                return update(*given, **extra)
            except TypeError as error:
                raise ArgumentError(
                    f"{self} cannot make its update from a gradient ({error}); take a rule "
                    f"without line search"
                ) from error

        return optax.GradientTransformationExtraArgs(init, told)

    def to_json(self) -> dict[str, Any]:
        """Nothing, for code cannot be written as JSON."""
        raise ArgumentError(
            f"{self} cannot be written as JSON; take one of minimand.optimizers instead"
        )

    def __str__(self) -> str:
        """What it is, without its numbers."""
        return "the Optax transformation"

    def __repr__(self) -> str:
        """The same in every process, if the functions and numbers it was made of are the same."""
        return f"FromOptax({_described(self.transformation)})"


def _described(value: Any) -> str:
    """Functions by their names and what they enclose, collections by their entries."""
    match value:
        case partial():
            return _described((value.func, value.args, value.keywords))
        case dict():
            return _described(list(value.items()))
        case tuple() | list():
            return f"({', '.join(map(_described, value))})"
        case FunctionType():
            cells = value.__closure__ or ()
            return value.__qualname__ + _described([cell.cell_contents for cell in cells])
    return re.sub(" at 0x[0-9a-f]+", "", repr(value))
