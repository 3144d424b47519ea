"""Models of other libraries as networks: Flax NNX, Equinox, Keras 3 on JAX, or plain functions.

A model is taken apart when it is adapted, and is not touched by training: the parameters that it
holds are where every run starts, and its other arrays, such as batch statistics, are the state that
a run carries along. What is random follows from the key that `apply` is given, and nothing else.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable
from functools import lru_cache, reduce
from operator import getitem
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from minimand import randomness
from minimand.arrays import Array
from minimand.constraints import map_kernels
from minimand.errors import ArgumentError, ArgumentTypeError, ShapeError
from minimand.networks.base import Network, Tree, named_leaves, nested


def adapt(model: Any) -> Network:
    """The network that a model of another library is.

    It takes inputs [batch, p] and gives scores [batch, K] or [batch], before any softmax or
    sigmoid. `Recipe(network=model)` adapts by itself.

    Args:
        model: a Flax NNX module; an Equinox module, which takes one example [p] as usual there, or
            the pair (module, state) of `equinox.nn.make_with_state`; a Keras 3 model on the JAX
            backend; or a pair of functions: `init(key, x) -> params`, `apply(params, x) -> scores`.
            If `apply` has an argument `state`, they are `init(key, x) -> (params, state)` and
            `apply(params, state, x) -> (scores, state)`. What else the model takes by the names
            `key`, `train`, `training`, `deterministic` or `inference` it is given.

    Raises:
        ArgumentTypeError: it is none of these.
        ArgumentError: a Keras model that is not built, has regularisers, or is not on JAX.

    >>> def init(key, x):
    ...     return {"output": {"kernel": jnp.zeros((x.shape[-1], 1)), "bias": jnp.zeros(1)}}
    >>> def apply(params, x):
    ...     return x @ params["output"]["kernel"] + params["output"]["bias"]
    >>> adapt((init, apply)).width(np.ones((5, 3)))
    1
    """
    equinox, keras = sys.modules.get("equinox"), sys.modules.get("keras")
    if isinstance(model, Network):
        return model
    if isinstance(model, nnx.Module) and callable(model):
        return FromNNX(model)
    if keras and isinstance(model, keras.Layer):
        return FromKeras(model)
    if equinox and isinstance(model, equinox.Module) and callable(model):
        return FromEquinox(model)
    match model:
        case (module, state) if equinox and isinstance(state, equinox.nn.State):
            return FromEquinox(module, state)
        case (init, apply) if callable(init) and callable(apply):
            return FromFunctions(init, apply)
    raise ArgumentTypeError(
        f"a network must be one of minimand.networks, a Flax NNX or Equinox module, a Keras model "
        f"or a pair (init, apply), not {type(model).__name__}"
    )


class Adapted(Network):
    """A network made of another library's model; it equals itself only."""

    library: ClassVar[str]
    outputs = None

    def __init__(self, model: Any, call: Callable[..., Any], params: Tree, state: Tree):
        self.model, self._asked = model, {*inspect.signature(call).parameters}
        self._start = params, state

    def init(self, key: Array, example: Array) -> tuple[Tree, Tree]:
        """The parameters and the state that the model held when it was adapted."""
        return self._start

    def width(self, example: Array) -> int:
        """How many scores it gives for each row of inputs shaped like `example` [batch, ...].

        Raises:
            ShapeError: it cannot take such inputs, or gives something else than scores.
        """
        return _width(self, jnp.shape(example)[1:])

    def to_json(self) -> dict[str, Any]:
        """Nothing, for code cannot be written as JSON."""
        raise ArgumentError(
            f"{self} cannot be written as JSON; keep what Trained.module() or Trained.params gives "
            f"in the manner of its library"
        )

    def __str__(self) -> str:
        """The library and the model's class."""
        return f"the {self.library} {type(self.model).__name__}"

    def __repr__(self) -> str:
        """The same in every process, if the model is the same and starts from the same numbers."""
        digest = hashlib.blake2b(digest_size=8)
        for path, leaf in named_leaves(self._start).items():
            digest.update(f"{path}{leaf.dtype}{leaf.shape}".encode() + np.asarray(leaf).tobytes())
        return f"<{self}, {digest.hexdigest()}>"

    def _given(self, key: Array, train: bool) -> dict[str, Any]:
        """What the model asks for besides its inputs."""
        known = {"key": key, "train": train, "training": train}
        known |= {"deterministic": not train, "inference": not train}
        return {name: value for name, value in known.items() if name in self._asked}


@jax.tree_util.register_static
class FromNNX(Adapted):
    """A Flax NNX module; its random streams start anew from the key of each call."""

    library = "NNX module"

    def __init__(self, model: Any):
        self._modes = {mode: _split(model, mode) for mode in (None, True, False)}
        _, params, random, state = self._modes[None]
        self._params, self._random, self._state = map(_Names, (params, random, state))
        super().__init__(model, model, self._params.of(params), self._state.of(state))

    def apply(
        self, params: Tree, state: Tree, x: Array, *, key: Array, train: bool
    ) -> tuple[Array, Tree]:
        """(scores [batch, K], new state)."""
        graph, _, random, _ = self._modes[train]
        streams, structure = jax.tree.flatten(random)
        fresh = [_restarted(stream, key, i) for i, stream in enumerate(streams)]
        random = jax.tree.unflatten(structure, fresh)
        module = nnx.merge(graph, self._params.tree(params), random, self._state.tree(state))
        scores = module(x, **self._given(key, train))
        return _matrix(scores), self._state.of(_arrays(module)[3])

    def module(self, params: Tree, state: Tree) -> nnx.Module:
        """A module such as the one given, with these parameters and this state."""
        graph, _, random, _ = self._modes[None]
        params, state = jax.tree.map(jnp.asarray, (params, state))
        made: nnx.Module = nnx.merge(
            graph, self._params.tree(params), random, self._state.tree(state)
        )
        return made


@jax.tree_util.register_static
class FromEquinox(Adapted):
    """An Equinox module of one example, mapped over the batch.

    A `weight` of several axes is the parameter "kernel", its first axis, the outputs, put last as
    everywhere here, so that penalties and constraints find it; one of a single axis is "scale".
    """

    library = "Equinox module"

    def __init__(self, model: Any, state: Any = None):
        import equinox

        params, self._rest = equinox.partition(model, equinox.is_inexact_array)
        self._params, self._state = _Names(params, _as_kernel), _Names(state)
        norms = jax.tree.leaves(model, is_leaf=lambda m: isinstance(m, equinox.nn.BatchNorm))
        axes = {m.axis_name for m in norms if isinstance(m, equinox.nn.BatchNorm)}
        self._axis, self._stateful = (axes or {"batch"}).pop(), state is not None
        start = map_kernels(lambda w: jnp.moveaxis(w, 0, -1), self._params.of(params))
        super().__init__(model, model, start, self._state.of(state))

    def apply(
        self, params: Tree, state: Tree, x: Array, *, key: Array, train: bool
    ) -> tuple[Array, Tree]:
        """(scores [batch, K], new state)."""
        import equinox

        module = equinox.nn.inference_mode(self._joined(params), not train)

        def one(x: Array, key: Array, state: Any) -> tuple[Array, Any]:
            carried = (state,) if self._stateful else ()
            given = module(x, *carried, **self._given(key, train))
            return given if self._stateful else (given, state)

        mapped = jax.vmap(one, in_axes=(0, 0, None), out_axes=(0, None), axis_name=self._axis)
        keys = jax.random.split(key, x.shape[0])
        scores, new = mapped(x, keys, self._state.tree(state))
        return _matrix(scores), self._state.of(new)

    def module(self, params: Tree, state: Tree) -> Any:
        """A module such as the one given, or (module, state) if it came with a state."""
        params, state = jax.tree.map(jnp.asarray, (params, state))
        made = self._joined(params)
        return (made, self._state.tree(state)) if self._stateful else made

    def _joined(self, params: Tree) -> Any:
        import equinox

        params = map_kernels(lambda w: jnp.moveaxis(w, -1, 0), params)
        return equinox.combine(self._params.tree(params), self._rest)


@jax.tree_util.register_static
class FromKeras(Adapted):
    """A Keras 3 model on the JAX backend; its seed generators follow from the key of each call.

    Its trainable variables are the parameters, the other ones the state.
    """

    library = "Keras model"
    precise = False

    def __init__(self, model: Any):
        _check_keras(model)
        others = model.non_trainable_variables
        self._kinds = [variable.name == "seed_generator_state" for variable in others]
        kept = [value for value, seed in zip(others, self._kinds, strict=True) if not seed]
        self._held = (list(model.trainable_variables), kept)
        self._paths = [[tuple(v.path.split("/")) for v in held] for held in self._held]
        for path in {p for paths in self._paths for p in paths if paths.count(p) > 1}:
            raise ArgumentError(
                f"two layers of the Keras model are called '{'/'.join(path[:-1])}'; "
                f"give each a name of its own"
            )
        held = [[jnp.array(v.value) for v in variables] for variables in self._held]
        params, state = (
            nested(dict(zip(*two, strict=True))) for two in zip(self._paths, held, strict=True)
        )
        super().__init__(model, model.call, params, state)

    def apply(
        self, params: Tree, state: Tree, x: Array, *, key: Array, train: bool
    ) -> tuple[Array, Tree]:
        """(scores [batch, K], new state)."""
        values = iter(_picked(state, self._paths[1]))
        others = [
            jax.random.key_data(jax.random.fold_in(key, i)) if seed else next(values)
            for i, seed in enumerate(self._kinds)
        ]
        trained = _picked(params, self._paths[0])
        scores, others = self.model.stateless_call(trained, others, x, **self._given(key, train))
        kept = [value for value, seed in zip(others, self._kinds, strict=True) if not seed]
        state = nested(dict(zip(self._paths[1], kept, strict=True)))
        return _matrix(scores).astype("float32"), state

    def module(self, params: Tree, state: Tree) -> Any:
        """The very model that was given: its variables take these values."""
        for tree, variables, paths in zip((params, state), self._held, self._paths, strict=True):
            for variable, value in zip(variables, _picked(tree, paths), strict=True):
                variable.assign(value)
        return self.model


@jax.tree_util.register_static
class FromFunctions(Adapted):
    """A pair of pure functions; parameters may be any tree of arrays, and follow from the seed."""

    library = "function"

    def __init__(self, init: Callable[..., Any], apply: Callable[..., Any]):
        super().__init__(apply, apply, {}, {})
        self._init, self._stateful = init, "state" in self._asked

    def init(self, key: Array, example: Array) -> tuple[Tree, Tree]:
        """Fresh (params, state) for inputs shaped like `example` [batch, ...]."""
        params, state = self._made(key, example)
        return _Names(params).of(params), _Names(state).of(state)

    def apply(
        self, params: Tree, state: Tree, x: Array, *, key: Array, train: bool
    ) -> tuple[Array, Tree]:
        """(scores [batch, K], new state)."""
        like = map(_Names, jax.eval_shape(self._made, key, x[:1]))
        own = [names.tree(tree) for names, tree in zip(like, (params, state), strict=True)]
        given = self.model(*own[: 1 + self._stateful], x, **self._given(key, train))
        scores, new = given if self._stateful else (given, own[1])
        return _matrix(scores), _Names(new).of(new)

    def module(self, params: Tree, state: Tree) -> Any:
        """Nothing: functions hold no parameters."""
        raise ArgumentError(f"{self} holds no parameters; use Trained.function() or Trained.params")

    def __str__(self) -> str:
        """The function's name."""
        return f"the function {getattr(self.model, '__qualname__', type(self.model).__name__)}"

    def _made(self, key: Array, example: Array) -> tuple[Any, Any]:
        made = self._init(key, example)
        return made if self._stateful else (made, {})


class _Names:
    """The leaves of trees of one structure as nested dictionaries, there and back."""

    def __init__(self, tree: Any, rename: Callable[[tuple[str, ...], Array], str] | None = None):
        self.structure, leaves = jax.tree.structure(tree), named_leaves(tree)
        self.paths = [
            (*path[:-1], rename(path, leaf) if rename else path[-1])
            for path, leaf in leaves.items()
        ]

    def of(self, tree: Any) -> Tree:
        return nested(dict(zip(self.paths, jax.tree.leaves(tree), strict=True)))

    def tree(self, named: Tree) -> Any:
        return jax.tree.unflatten(self.structure, _picked(named, self.paths))


def _picked(tree: Tree, paths: list[tuple[str, ...]]) -> list[Array]:
    """The leaves of nested dictionaries that lie at some paths."""
    return [reduce(getitem, path, tree) for path in paths]


def _as_kernel(path: tuple[str, ...], leaf: Array) -> str:
    """The last name of an Equinox parameter, in the words used here."""
    return ("kernel" if leaf.ndim > 1 else "scale") if path[-1] == "weight" else path[-1]


def _split(model: nnx.Module, train: bool | None) -> tuple[Any, Tree, Tree, Tree]:
    """A module while training, while not, or as it is: see `_arrays`."""
    copy = nnx.clone(model)
    nnx.pop(copy, nnx.Intermediate)
    if train is not None:
        copy.train() if train else copy.eval()
    return _arrays(copy)


def _arrays(module: nnx.Module) -> tuple[Any, Tree, Tree, Tree]:
    """(structure, parameters, random streams, other arrays) of a module; what it sows is left."""
    parts: Any = nnx.split(module, nnx.Param, nnx.RngState, nnx.Intermediate, ...)
    graph, params, random, _, state = parts
    return graph, nnx.to_pure_dict(params), nnx.to_pure_dict(random), nnx.to_pure_dict(state)


def _restarted(stream: Array, key: Array, number: int) -> Array:
    """A stream's key, made of another key; or its count, from 0."""
    if jnp.issubdtype(stream.dtype, jax.dtypes.prng_key):
        words = jax.random.bits(jax.random.fold_in(key, number), jax.random.key_data(stream).shape)
        return jax.random.wrap_key_data(words, impl=jax.random.key_impl(stream))
    return jnp.zeros_like(stream)


def _check_keras(model: Any) -> None:
    import keras

    if keras.backend.backend() != "jax":
        raise ArgumentError(
            f"Keras runs on {keras.backend.backend()} here; set KERAS_BACKEND=jax before it is "
            f"imported"
        )
    if not model.built or not model.trainable_variables:
        raise ArgumentError(
            "the Keras model has no parameters yet; begin it with keras.Input, or call it once"
        )
    if model.losses:
        raise ArgumentError(
            "the Keras model has regularisers of its own, which training here would not see; give "
            "the recipe a penalty instead"
        )


def _matrix(scores: Array) -> Array:
    """[batch] as [batch, 1]."""
    return scores[:, None] if scores.ndim == 1 else scores


@lru_cache(maxsize=32)
def _width(network: Adapted, shape: tuple[int, ...]) -> int:
    """How many scores an adapted network gives for inputs of a shape, without computing them."""
    like = jax.ShapeDtypeStruct((2, *shape), "int32" if network.tokens else "float32")

    def run(key: Array, x: Array) -> Any:
        params, state = network.init(key, x[:1])
        return state, network.apply(params, state, x, key=key, train=True)

    try:
        before, (scores, after) = jax.eval_shape(run, randomness.key(0), like)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise ShapeError(
            f"{network} cannot take inputs of shape {[2, *shape]} "
            f"({type(error).__name__}: {reason}); change the model or the inputs"
        ) from error
    if scores.ndim < 2 or scores.shape[0] != 2:
        raise ShapeError(
            f"{network} gives shape {list(scores.shape)} for 2 rows of {list(shape)}; it must be "
            f"[2, ..., K] or [2]"
        )
    kinds = [jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), s) for s in (before, after)]
    if kinds[0] != kinds[1]:
        raise ShapeError(f"{network} changes the shapes or types of its state while it runs")
    return int(scores.shape[-1])
