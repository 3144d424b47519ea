"""`@minimand.loss`: a plain function becomes a loss, with derivatives by JAX."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from functools import cache, partial
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from minimand.arrays import Array, namespace, to_float
from minimand.component import Card, Real, catalogue, component, register_pytrees
from minimand.errors import ArgumentError, ArgumentTypeError, ShapeError, unknown
from minimand.losses.base import Loss, by_jax, reject


def loss(
    function: Callable[..., Any] | None = None,
    /,
    *,
    target: str = "real",
    response: Callable[[Any], Any] | None = None,
    **facts: Any,
) -> Any:
    """Make a loss of a function f(score, target, ...): a class, called by the function's name.

    The function takes arrays and returns one value per example, never a mean. Written with
    operators and `jax.numpy` it serves NumPy and JAX arrays; with operators and
    `minimand.arrays.namespace` it serves those of every library. Further arguments are the loss's
    hyper-parameters: each needs a default, and a float becomes a leaf, finite or within the bounds
    of its annotation (`delta: Positive = 1.0`). `my_loss` becomes `MyLoss` where losses are listed
    by name. `minimand.check_loss` looks for mistakes.

    Args:
        function: f(score, target, ...), where score and target are [n]; for the target "class" the
            score is [n, K].
        target: "real", "positive", "count", "fraction", "sign" (-1 and +1) or "class" (0, 1, ...).
        response: the inverse link, from scores to what the user reads; None reads the scores.
        facts: other entries of the card: convex, proper, lipschitz, tasks, source ...

    Raises:
        ArgumentError: an argument has no default or a name that is taken, or an unknown target.

    >>> @loss(convex=True)
    ... def asymmetric(score, target, steepness=2.0):
    ...     "Squared, and steeper where the prediction is too low."
    ...     r = score - target
    ...     return r * r * (1 + (steepness - 1) * (r < 0))
    >>> asymmetric(steepness=3.0).gradient(np.array([0.0, 2.0]), np.array([1.0, 1.0])).tolist()
    [-6.0, 2.0]
    """
    if function is None:
        return partial(loss, target=target, response=response, **facts)
    if target not in DOMAINS:
        raise unknown("target", target, DOMAINS)
    known = [field.name for field in dataclasses.fields(Card)]
    for name in facts:
        if name not in known:
            raise unknown("fact of a card", name, known)
    name = _class_name(function)
    doc = inspect.getdoc(function) or f"The loss `{function.__name__}` of its user."
    origin = f"{function.__module__}.{function.__qualname__}"
    given = {
        "formula": f"{function.__name__}(score, target)",
        "source": f"the function {origin}",
        "use": doc.partition("\n")[0],
    }
    hints, defaults = _hyperparameters(function)
    body = defaults | {
        "__annotations__": hints,
        "__doc__": doc,
        "__module__": function.__module__,
        "__qualname__": name,
        "card": Card(**{**given, **facts, "target": target}),
        "_function": staticmethod(function),
        "_link": staticmethod(response) if response else None,
        "score_axes": int(target == "class"),
    }
    return component(type(name, (CustomLoss,), body))


class CustomLoss(Loss):
    """A loss that a function defines; subclasses are made by `minimand.loss`."""

    _function: ClassVar[Callable[..., Any]]
    _link: ClassVar[Any]

    def value(self, score: Array, target: Array) -> Array:
        """The function's values, one for each example."""
        numbers = {name: getattr(self, name) for name in self._hints}
        if not self.score_axes:
            target = to_float(target, score)
        values = self._called(lambda: self._function(score, target, **numbers), score, target)
        if tuple(np.shape(values)) != tuple(target.shape):
            raise ShapeError(
                f"{type(self).__name__}: the function returned shape {tuple(np.shape(values))} for "
                f"targets of shape {tuple(target.shape)}; return one value for each example, "
                f"without a mean or a sum"
            )
        return values

    def gradient(self, score: Array, target: Array) -> Array:
        """∂ℓ/∂score by JAX, with the shape of the score."""
        return self._derivative(0, score, target)

    def curvature(self, score: Array, target: Array) -> Array:
        """∂²ℓ/∂score² by JAX: the score's shape, or a [K, K] block for K scores."""
        return self._derivative(1, score, target)

    def response(self, score: Array) -> Array:
        """What the user reads, by the `response` that was declared."""
        link = self._link
        return score if link is None else self._called(lambda: link(score), score)

    def decide(self, score: Array) -> Array:
        """The index of the class that a score speaks for."""
        xp = namespace(score)
        return xp.argmax(score, axis=-1) if self.score_axes else xp.astype(score > 0, xp.int32)

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The constant score where the weighted mean gradient vanishes."""
        target = np.asarray(target)

        def slope(constant: Array) -> Array:
            score = np.broadcast_to(constant, (len(target), *np.shape(constant)))
            return np.average(self.gradient(score, target), axis=0, weights=weight)

        if not self.score_axes:
            return _sign_change(slope, target)
        from scipy.optimize import minimize

        def cost(constant: Array) -> tuple[float, Array]:
            score = np.broadcast_to(constant, (len(target), len(constant)))
            value = np.average(self.value(score, target), weights=weight)
            return float(value), slope(constant)

        return minimize(cost, np.zeros(int(target.max()) + 1), jac=True, method="BFGS").x

    def check_target(self, target: Array) -> None:
        """Every target must lie in the domain that was declared."""
        target = np.asarray(target)
        inside, what = DOMAINS[self.card.target]
        bad = ~(np.isfinite(target) & inside(target))
        reject(self, target, bad, what, "repair or drop that row, or declare another target")

    def from_classes(self, index: Array) -> Array:
        """Class indices, or -1 and +1 where the target was declared a sign."""
        return 2.0 * index - 1.0 if self.card.target == "sign" else index

    def _derivative(self, order: int, score: Array, target: Array) -> Array:
        def compute() -> Array:
            import jax.numpy as jnp

            register_pytrees()
            return _derivatives()[order](self, jnp.asarray(score), jnp.asarray(target))

        return by_jax(lambda: self._traced(compute), score, target, *self._numbers())

    def _called(self, compute: Callable[[], Array], *arrays: Array) -> Array:
        """compute(): with the precision and type of NumPy if it is all about NumPy's arrays."""
        if namespace(*arrays, *self._numbers()) is np:
            return by_jax(lambda: self._traced(compute), *arrays)
        return self._traced(compute)

    def _numbers(self) -> list[Any]:
        return [getattr(self, name) for name in self._dynamic]

    def _traced(self, compute: Callable[[], Array]) -> Array:
        import jax

        try:
            return compute()
        except jax.errors.JAXTypeError as error:
            reason = str(error).partition("\n")[0]
            raise ArgumentError(
                f"{type(self).__name__}: JAX cannot follow its function ({reason}); write it with "
                f"operators and jax.numpy, and use jax.numpy.where instead of if"
            ) from error


@cache
def _derivatives() -> tuple[Callable[..., Array], Callable[..., Array]]:
    """(gradient, curvature) of any custom loss, compiled by JAX."""
    import jax
    import jax.numpy as jnp

    def gradient(loss: CustomLoss, score: Array, target: Array) -> Array:
        return jax.grad(lambda z: jnp.sum(loss.value(z, target)))(score)

    def curvature(loss: CustomLoss, score: Array, target: Array) -> Array:
        def along(direction: Array) -> Array:
            tangent = jnp.broadcast_to(direction, score.shape)
            return jax.jvp(lambda z: gradient(loss, z, target), (score,), (tangent,))[1]

        if not loss.score_axes:
            return along(jnp.ones((), score.dtype))
        return jax.vmap(along, out_axes=-1)(jnp.eye(score.shape[-1], dtype=score.dtype))

    return jax.jit(gradient), jax.jit(curvature)


def _sign_change(slope: Callable[[Array], Array], target: Array) -> Array:
    """Where the slope changes sign, by bisection of an interval that grows from the targets'."""
    low, high = float(np.min(target)), float(np.max(target))
    width = max(1.0, high - low)
    for _ in range(30):
        if slope(np.float64(low)) > 0:
            low -= width
        elif slope(np.float64(high)) < 0:
            high += width
        else:
            break
        width *= 2
    for _ in range(100):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if slope(np.float64(middle)) > 0 else (middle, high)
    return 0.5 * (low + high)


def _class_name(function: Callable[..., Any]) -> str:
    words = function.__name__.split("_")
    name = "".join(word[:1].upper() + word[1:] for word in words)
    if not name.isidentifier():
        raise ArgumentError("a loss needs a name: define its function with def")
    taken = {n.casefold(): cls for n, cls in catalogue("loss").items()}.get(name.casefold())
    if taken is not None and not issubclass(taken, CustomLoss):
        raise ArgumentError(
            f"the catalogue has a loss called {taken.__name__}; give the function "
            f"'{function.__name__}' another name"
        )
    return name


def _hyperparameters(function: Callable[..., Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(annotations, defaults) of the arguments after score and target."""
    name = function.__name__
    arguments = list(inspect.signature(function).parameters.values())
    if len(arguments) < 2:
        raise ArgumentTypeError(f"{name} must take (score, target, ...)")
    hints: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    for argument in arguments[2:]:
        if argument.default is argument.empty:
            raise ArgumentError(
                f"{name}: the argument {argument.name} needs a default, such as {argument.name}=1.0"
            )
        if argument.name == "card" or hasattr(CustomLoss, argument.name):
            raise ArgumentError(
                f"{name}: no argument may be called {argument.name}, which every loss has already"
            )
        kind = type(argument.default)
        unsaid = argument.annotation in (argument.empty, float, "float")
        hints[argument.name] = (Real if kind is float else kind) if unsaid else argument.annotation
        defaults[argument.name] = argument.default
    return hints, defaults


DOMAINS: Mapping[str, tuple[Callable[[Array], Array], str]] = MappingProxyType(
    {
        "real": (np.isfinite, "not a finite number"),
        "positive": (lambda y: y > 0, "not a positive number"),
        "count": (lambda y: y >= 0, "not a count (0, 1, 2, ...)"),
        "fraction": (lambda y: (y >= 0) & (y <= 1), "not in [0, 1]"),
        "sign": (lambda y: np.abs(y) == 1, "neither -1 nor +1"),
        "class": (
            lambda y: (y >= 0) & (y == np.floor(y)),
            "not a class index 0, 1, 2, ...",
        ),
    }
)
