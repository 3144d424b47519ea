"""Optax transformations that Optax lacks, or has with other equations; loads JAX and Optax."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from minimand.arrays import Array
from minimand.errors import unknown
from minimand.penalties import map_kernels

Tree = Any


def only_kernels(params: Tree) -> Tree:
    """True for the arrays that decay, False for the others."""
    return map_kernels(lambda _: True, jax.tree.map(lambda _: False, params))


def on_matrices(
    rule: optax.GradientTransformation, rest: optax.GradientTransformation
) -> optax.GradientTransformation:
    """A rule for matrices, and another for arrays of one, three or more axes."""

    def kinds(params: Tree) -> Tree:
        return jax.tree.map(lambda array: "matrix" if array.ndim == 2 else "rest", params)

    return optax.partition({"matrix": rule, "rest": rest}, kinds)


def adam(beta1: Array, beta2: Array, eps: Array) -> optax.GradientTransformation:
    """m̂ / (√v̂ + ε), in the order that Kingma and Ba (2015, section 2) advise.

    One division for each parameter instead of Optax's three: a twentieth of the time that a small
    network takes.
    """

    def init(params: Tree) -> Any:
        return jnp.zeros((), jnp.int32), *[optax.tree.zeros_like(params) for _ in range(2)]

    def update(gradient: Tree, state: Any, params: Tree = None) -> tuple[Tree, Any]:
        step, m, v = state
        step = step + 1
        m = optax.tree.update_moment(gradient, m, beta1, 1)
        v = optax.tree.update_moment(gradient, v, beta2, 2)
        root = jnp.sqrt(1 - beta2**step)
        size = root / (1 - beta1**step)
        scaled = jax.tree.map(lambda m, v: size * (m / (jnp.sqrt(v) + root * eps)), m, v)
        return scaled, (step, m, v)

    return optax.GradientTransformation(init, update)


def amsgrad(beta1: Array, beta2: Array, eps: Array) -> optax.GradientTransformation:
    """m̂ / (√ŝ + ε), where s is the largest v so far.

    Optax takes the largest v̂, in which the first gradients, of little evidence, weigh for ever.
    """

    def init(params: Tree) -> Any:
        return jnp.zeros((), jnp.int32), *[optax.tree.zeros_like(params) for _ in range(3)]

    def update(gradient: Tree, state: Any, params: Tree = None) -> tuple[Tree, Any]:
        step, m, v, top = state
        step = step + 1
        m = optax.tree.update_moment(gradient, m, beta1, 1)
        v = optax.tree.update_moment(gradient, v, beta2, 2)
        top = jax.tree.map(jnp.maximum, top, v)
        mean = optax.tree.bias_correction(m, beta1, step)
        square = optax.tree.bias_correction(top, beta2, step)
        scaled = jax.tree.map(lambda m, s: m / (jnp.sqrt(s) + eps), mean, square)
        return scaled, (step, m, v, top)

    return optax.GradientTransformation(init, update)


def clipped_by_layer(max_norm: Array) -> optax.GradientTransformation:
    """Each layer's gradient shortened to that length; a layer is the arrays of one dictionary."""
    clip = optax.clip_by_global_norm(max_norm)

    def is_layer(tree: Tree) -> bool:
        return isinstance(tree, dict) and not any(isinstance(t, dict) for t in tree.values())

    def shortened(layer: Tree) -> Tree:
        return clip.update(layer, optax.EmptyState())[0]

    return optax.stateless(lambda g, _: jax.tree.map(shortened, g, is_leaf=is_layer))


def noise(spread: Array) -> optax.GradientTransformationExtraArgs:
    """Adds normal numbers of that standard deviation to the updates."""

    def update(updates: Tree, state: Any, params: Tree = None, *, key: Array, **_: Any) -> Any:
        drawn = optax.tree.random_like(_own(key), updates, jax.random.normal)
        return optax.tree.add_scale(updates, spread, drawn), state

    return optax.GradientTransformationExtraArgs(lambda _: optax.EmptyState(), update)


def sophia(
    beta1: Array, beta2: Array, gamma: Array, eps: Array, every: int
) -> optax.GradientTransformationExtraArgs:
    """clip(m / max(γ h, ε), ±1), where h averages Hutchinson's estimates of the curvature.

    Optax's uses h of the step before, and 0 at the first.
    """

    def init(params: Tree) -> Any:
        zeros = optax.tree.zeros_like(params)
        return jnp.zeros((), jnp.int32), zeros, zeros

    def update(
        gradient: Tree, state: Any, params: Tree, *, gradient_at: Any, key: Array, **_: Any
    ) -> tuple[Tree, Any]:
        step, m, h = state
        m = optax.tree.update_moment(gradient, m, beta1, 1)

        def renewed() -> Tree:
            return optax.tree.update_moment(curvature(gradient_at, params, key), h, beta2, 1)

        h = sometimes(step % every == 0, renewed, h)
        ratio = jax.tree.map(lambda m, h: jnp.clip(m / jnp.maximum(gamma * h, eps), -1, 1), m, h)
        return ratio, (step + 1, m, h)

    return optax.GradientTransformationExtraArgs(init, update)


def curvature(gradient_at: Callable[[Tree], tuple[Any, Tree]], params: Tree, key: Array) -> Tree:
    """Hutchinson's estimate of the Hessian's diagonal: s ⊙ H s with random signs s."""
    signs = optax.tree.random_like(_own(key), params, jax.random.rademacher)
    _, turned = jax.jvp(lambda p: gradient_at(p)[1], (params,), (signs,))
    return jax.tree.map(jnp.multiply, signs, turned)


def shampoo(eps: Array, every: int) -> optax.GradientTransformation:
    """L^-¼ G R^-¼ for each matrix, where L and R sum G Gᵀ and Gᵀ G."""

    def init(g: Array) -> Any:
        rows, columns = (jnp.eye(n, dtype=g.dtype) for n in g.shape)
        return jnp.zeros((), jnp.int32), (eps * rows, eps * columns), (rows, columns)

    def update(g: Array, state: Any) -> tuple[Array, Any]:
        step, (left, right), roots = state
        sums = left + g @ g.T, right + g.T @ g
        roots = sometimes(step % every == 0, lambda: tuple(map(root, sums)), roots)
        return roots[0] @ g @ roots[1], (step + 1, sums, roots)

    def root(a: Array) -> Array:
        values, vectors = jnp.linalg.eigh(a)
        return (vectors * jnp.maximum(values, eps) ** -0.25) @ vectors.T

    return each(init, update)


def soap(beta1: Array, beta2: Array, eps: Array, every: int) -> optax.GradientTransformation:
    """Adam in the basis of Shampoo's eigenvectors, which one step of power iteration follows.

    The basis starts as the identity, in which it is Adam.
    """

    def init(g: Array) -> Any:
        zeros, eyes = jnp.zeros_like(g), tuple(jnp.eye(n, dtype=g.dtype) for n in g.shape)
        return jnp.zeros((), jnp.int32), zeros, zeros, jax.tree.map(jnp.zeros_like, eyes), eyes

    def update(g: Array, state: Any) -> tuple[Array, Any]:
        step, m, v, (left, right), (p, q) = state
        step = step + 1
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * (p.T @ g @ q) ** 2
        mean, square = p.T @ m @ q / (1 - beta1**step), v / (1 - beta2**step)
        out = p @ (mean / (jnp.sqrt(square) + eps)) @ q.T
        left, right = (beta2 * a + (1 - beta2) * b for a, b in ((left, g @ g.T), (right, g.T @ g)))
        turned = lambda: (jnp.linalg.qr(left @ p)[0], jnp.linalg.qr(right @ q)[0])  # noqa: E731
        return out, (step, m, v, (left, right), sometimes(step % every == 0, turned, (p, q)))

    return each(init, update)


def accumulated(
    rule: optax.GradientTransformation, steps: int
) -> optax.GradientTransformationExtraArgs:
    """One step of the rule with the mean of that many gradients, no update before.

    Optax's `MultiSteps` runs the rule every time and keeps the mean in single precision.
    """
    rule = optax.with_extra_args_support(rule)

    def init(params: Tree) -> Any:
        return jnp.zeros((), jnp.int32), rule.init(params), optax.tree.zeros_like(params)

    def update(gradient: Tree, state: Any, params: Tree = None, **extra: Any) -> tuple[Tree, Any]:
        step, inner, mean = state
        mean = optax.tree.add_scale(mean, 1 / steps, gradient)
        zeros = optax.tree.zeros_like(mean)

        def taken() -> tuple[Tree, Any, Tree]:
            return *rule.update(mean, inner, params, **extra), zeros

        due = (step + 1) % steps == 0
        updates, inner, mean = sometimes(due, taken, (zeros, inner, mean))
        return updates, (step + 1, inner, mean)

    return optax.GradientTransformationExtraArgs(init, update)


def parted(
    rule: optax.GradientTransformation, other: optax.GradientTransformation, name: str
) -> optax.GradientTransformation:
    """One rule for the parameters in whose path the name is, another for the rest.

    Raises:
        UnknownNameError: no parameter or layer has the name.
    """

    def kinds(params: Tree) -> Tree:
        paths = [_names(path) for path, _ in jax.tree.leaves_with_path(params)]
        if not any(name in path for path in paths):
            raise unknown("parameter or layer", name, set().union(*paths))
        labels = ["other" if name in path else "rest" for path in paths]
        return jax.tree.unflatten(jax.tree.structure(params), labels)

    return optax.partition({"other": other, "rest": rule}, kinds)


def averaged(decay: Array) -> optax.GradientTransformation:
    """Passes updates on and remembers the running mean of the parameters before them."""

    def init(params: Tree) -> Any:
        return optax.tree.zeros_like(params), jnp.zeros((), jnp.int32)

    def update(updates: Tree, state: Any, params: Tree = None) -> tuple[Tree, Any]:
        return updates, (optax.tree.update_moment(params, state[0], decay, 1), state[1] + 1)

    return optax.GradientTransformation(init, update)


def each(
    init: Callable[[Array], Any], update: Callable[[Array, Any], tuple[Array, Any]]
) -> optax.GradientTransformation:
    """A rule for one array, for each array of a tree."""

    def init_all(params: Tree) -> Any:
        return [init(array) for array in jax.tree.leaves(params)]

    def update_all(updates: Tree, state: Any, params: Tree = None) -> tuple[Tree, Any]:
        leaves, tree = jax.tree.flatten(updates)
        pairs = [update(*pair) for pair in zip(leaves, state, strict=True)]
        return jax.tree.unflatten(tree, [u for u, _ in pairs]), [s for _, s in pairs]

    return optax.GradientTransformation(init_all, update_all)


def sometimes(due: Array, renewed: Callable[[], Tree], old: Tree) -> Tree:
    """`renewed()` if it is due, else `old`, without the work; in a `vmap`, if due for none."""

    def chosen() -> Tree:
        return jax.tree.map(lambda new, kept: jnp.where(due, new, kept), renewed(), old)

    return jax.lax.cond(_for_any(due), chosen, lambda: old)


@jax.custom_batching.custom_vmap
def _for_any(condition: Array) -> Array:
    return condition


@_for_any.def_vmap
def _for_any_of_many(size: int, batched: list[bool], condition: Array) -> tuple[Array, bool]:
    return jnp.any(condition), False


def _names(path: Any) -> set[str]:
    """The names of the layers that lead to a parameter, and its own."""
    return {jax.tree_util.keystr((part,), simple=True) for part in path}


def _own(key: Array) -> Array:
    """A key apart from those that the network draws from the same one."""
    return jax.random.fold_in(key, 0x0971)
