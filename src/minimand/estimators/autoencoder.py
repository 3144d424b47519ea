"""Autoencoders as scikit-learn's transformers: from rows to codes and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.metrics import r2_score
from sklearn.utils import check_array, check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from minimand.arrays import Array
from minimand.constraints import REPORTED
from minimand.errors import ArgumentError, ArgumentTypeError, ShapeError
from minimand.estimators.base import row_weights
from minimand.estimators.libraries import answers_in_kind, fits_in_kind, on_host
from minimand.estimators.network import NetworkEstimator
from minimand.losses import Loss, Reconstruction
from minimand.losses.base import PointwiseLoss
from minimand.penalties import Penalty, Sum

if TYPE_CHECKING:
    from minimand.networks.coder import Autoencoding
    from minimand.networks.layers import Activation
    from minimand.training import Recipe


def _draws(estimator: Any) -> bool:
    from minimand.networks import VariationalAutoencoder

    return isinstance(estimator._readable("network"), VariationalAutoencoder)


@dataclass(repr=False, eq=False)
class Autoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, NetworkEstimator):  # type: ignore[misc]
    """A network that rebuilds its inputs from a code, which is what it transforms them to.

    X holds columns [n, p], or images [n, height, width] or [n, height, width, channels], of which
    bytes count as fractions of 255. If the loss is one of any real number, columns (or channels)
    are brought to mean 0 and spread 1 before training.

    Args:
        hidden_layer_sizes: the widths of the layers up to the code, the last being the code's; the
            decoder has them in reverse order.
        activation: of the hidden layers, see `minimand.networks.Autoencoder`.
        code_activation: of the code.
        tied: whether the decoder has the transposed kernels of the encoder.
        network: None for the autoencoder that the arguments above describe; text or object such as
            "variational_autoencoder(code=2)".
        augmentation: None, or text or object such as "masking_noise(share=0.3)": how the inputs are
            corrupted that a denoising autoencoder repairs.
        penalty: None, or text or object such as "sparsity(rate=0.05)", which is on the code if it
            names no layers, or "l2(strength=0.1, kinds=('jacobian',))", which makes it contractive.
        loss: of one column, text or object, such as "half_squared", "huber(delta=1)", or
            "binary_cross_entropy" for values in [0, 1]; or of a whole row, such as
            "elbo(latent=2, beta=4)".

    The other arguments are those of `NetworkRegressor`.

    >>> from sklearn.datasets import load_iris
    >>> X, _ = load_iris(return_X_y=True)
    >>> fitted = Autoencoder((2,), code_activation="identity", random_state=0).fit(X)
    >>> fitted.transform(X).shape, fitted.score(X) > 0.9
    ((150, 2), True)
    """

    hidden_layer_sizes: int | Sequence[int] = (32,)
    _: KW_ONLY
    code_activation: Activation = "sigmoid"
    tied: bool = False
    loss: str | Loss = "half_squared"

    @fits_in_kind
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Train from fresh parameters on X [n, ...] and weights [n]; y is not looked at.

        Raises:
            TargetError: a value outside the domain of the loss; the text names the row.
            SolverError: the loss stopped being finite; the text names the epoch.
        """
        self._train("regression", *self._prepared(X, sample_weight, first=True))
        return self

    @fits_in_kind
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """One epoch over these rows, going on from where the last call ended."""
        self._go_on(*self._prepared(X, sample_weight, first=not hasattr(self, "trained_")))
        return self

    @answers_in_kind
    def transform(self, X: Any) -> Array:
        """The codes of X [n, ...], [n, k]."""
        return self._in_double(self._fitted_network.encode, self._scaled(self._rows(X)))

    @answers_in_kind
    def inverse_transform(self, X: Any) -> Array:
        """The inputs [n, ...] that codes X [n, k] stand for."""
        check_is_fitted(self)
        code = check_array(on_host(X), dtype=np.float64, input_name="X")
        if code.shape[1] != self._n_features_out:
            raise ShapeError(
                f"{type(self).__name__}.inverse_transform: codes have shape {code.shape}; this one "
                f"has {self._n_features_out} numbers a row"
            )
        decode = partial(self._fitted_network.decode, shape=self._shape)
        scores = self._in_double(decode, code)
        rebuilt = self._whole_loss().loss.response(scores).reshape(-1, *self._shape)
        return on_host(self.mean_) + on_host(self.spread_) * rebuilt

    def reconstruction_error(self, X: Any) -> Array:
        """The loss of every rebuilt row [n]: the larger, the less it is like those of the fit."""
        from minimand.training import program

        check_is_fitted(self)
        X, recipe = self._scaled(self._rows(X)), self.trained_.recipe
        scores = self._in_double(partial(program.scores, recipe), X)
        return recipe.loss.value(scores, X.reshape(len(X), -1))

    def score(self, X: Any, y: Any = None) -> float:
        """The share of the variance of X that the rebuilt rows explain, at most 1."""
        rebuilt = on_host(self.inverse_transform(self.transform(X)))
        given = _unit(self._rows(X)).reshape(rebuilt.shape)
        flat = (values.reshape(len(values), -1) for values in (given, rebuilt))
        return float(r2_score(*flat, multioutput="variance_weighted"))

    @available_if(_draws)  # type: ignore[untyped-decorator]
    def sample(self, n_samples: int = 1, random_state: Any = None) -> Array:
        """New rows [n_samples, ...], of codes drawn from the standard normal distribution."""
        check_is_fitted(self)
        size = (n_samples, self._n_features_out)
        return self.inverse_transform(check_random_state(random_state).normal(size=size))

    @property
    def _fitted_network(self) -> Autoencoding:
        check_is_fitted(self)
        return cast("Autoencoding", self.trained_.recipe.network)

    @property
    def _n_features_out(self) -> int:
        return self._fitted_network.code

    def _recipe(self, loss: Loss, outputs: int, rows: int) -> Recipe:
        recipe = super()._recipe(loss, outputs, rows)
        return replace(recipe, penalty=_on_code(recipe.penalty))

    def _architecture(self, outputs: int) -> Autoencoding:
        from minimand.networks import Autoencoder as Mirror
        from minimand.networks.coder import Autoencoding

        sizes = self.hidden_layer_sizes
        *hidden, code = sizes if isinstance(sizes, Iterable) else (sizes,)
        chosen = self._component("network") or Mirror(
            tuple(hidden), code, self.activation, self.code_activation, self.tied
        )
        if not isinstance(chosen, Autoencoding):
            raise ArgumentTypeError(
                f"{type(self).__name__}: {chosen} rebuilds no inputs; use one such as "
                f"'autoencoder' or 'variational_autoencoder'"
            )
        return chosen

    def _whole_loss(self) -> Reconstruction:
        """The loss of a row."""
        loss = self._component("loss")
        if isinstance(loss, PointwiseLoss) and loss.card.target in ("real", "fraction", "count"):
            return self._architecture(0).reconstruction(loss)
        if isinstance(loss, Reconstruction):
            return loss
        raise ArgumentError(
            f"{type(self).__name__}: loss is {self.loss!r}; it takes losses of one number, such as "
            f"'half_squared', 'huber' or 'binary_cross_entropy', or a whole 'reconstruction' or "
            f"'elbo'"
        )

    def _prepared(self, X: Any, sample_weight: Any, first: bool) -> Any:
        """(recipe, rows, targets, weights)."""
        loss = self._whole_loss()
        X = self._rows(X, reset=first)
        weight = row_weights(sample_weight, X)
        if first:
            self._measure(X, weight)
            if loss.loss.card.target != "real":
                self.mean_, self.spread_ = np.zeros_like(self.mean_), np.ones_like(self.spread_)
        target = self._standardised(X).reshape(len(X), -1)
        loss.check_target(target)
        return self._recipe(loss, 0, len(X)), X, target, weight

    def _standardised(self, X: Array) -> Array:
        return self._scaled(X).astype(np.float32)

    def _scaled(self, X: Array) -> Array:
        """Columns, or channels, as the network takes and rebuilds them."""
        return (_unit(X) - on_host(self.mean_)) / on_host(self.spread_)

    def _in_double(self, function: Callable[..., Array], X: Array) -> Array:
        """What a function of parameters, state and rows makes of X, in double precision."""
        import jax

        from minimand.training.scoring import in_blocks

        with jax.enable_x64(True):
            arrays = jax.tree.map(np.float64, (self.trained_.params, self.trained_.network_state))
            return in_blocks(partial(function, *arrays), X)


def _unit(X: Array) -> Array:
    """Bytes as fractions of 255."""
    return X / 255 if X.dtype == np.uint8 else X


def _on_code(penalty: Penalty) -> Penalty:
    """The penalty, on the code alone if it is one of activities that names no layers."""
    if isinstance(penalty, Sum):
        return replace(penalty, penalties=tuple(map(_on_code, penalty.penalties)))
    if penalty.layers or not {*penalty.kinds} <= {*REPORTED}:
        return penalty
    return replace(penalty, layers=("code",))
