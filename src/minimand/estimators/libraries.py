"""Arrays of other libraries go in and come out, while scikit-learn's `array_api_dispatch` is on.

As in scikit-learn, what `fit` leaves and what `predict` returns is then in the library and on the
device of X, and X of `predict` must be where that of `fit` was. Otherwise all of it is NumPy's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
from array_api_compat import is_array_api_obj
from sklearn import get_config
from sklearn.utils._array_api import check_same_namespace, get_namespace_and_device, move_to

Method = Callable[..., Any]


def fits_in_kind(method: Method) -> Method:
    """A method (X, ...) that leaves arrays on the estimator: all but names go to where X is."""

    @wraps(method)
    def called(self: Any, X: Any, *args: Any, **options: Any) -> Any:
        method(self, X, *args, **options)
        if _dispatching():
            for name, value in vars(self).items():
                if isinstance(value, np.ndarray) and name not in ("classes_", "feature_names_in_"):
                    setattr(self, name, _beside(value, X))
        return self

    return called


def answers_in_kind(method: Method) -> Method:
    """A method (X, ...) whose answer goes to where X is, unless it is text."""

    @wraps(method)
    def called(self: Any, X: Any, *args: Any, **options: Any) -> Any:
        if not _dispatching():
            return method(self, X, *args, **options)
        if hasattr(self, self._fitted):
            check_same_namespace(X, self, attribute=self._fitted, method=method.__name__)
        answer = method(self, X, *args, **options)
        return answer if answer.dtype.kind in "OUST" else _beside(answer, X)

    return called


def on_host(values: Any) -> Any:
    """An array of JAX, PyTorch ... as NumPy has it; lists, frames and sparse matrices as given."""
    if isinstance(values, np.ndarray) or not is_array_api_obj(values):
        return values
    return move_to(values, xp=np, device="cpu") if _dispatching() else np.asarray(values)


def _dispatching() -> bool:
    return bool(get_config()["array_api_dispatch"])


def _beside(values: Any, X: Any) -> Any:
    xp, _, device = get_namespace_and_device(X)
    return move_to(values, xp=xp, device=device)
