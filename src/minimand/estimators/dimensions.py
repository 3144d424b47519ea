"""What scikit-learn's users write for a space, as dimensions of a study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from minimand.errors import ArgumentTypeError
from minimand.tuning.space import Choice, Dimension, Float, Int


def dimensions(space: Mapping[str, Any]) -> dict[str, Dimension]:
    """The space with every list as a choice, and every distribution of SciPy as a range.

    >>> from scipy.stats import loguniform, randint
    >>> dimensions({"C": loguniform(1, 10), "depth": randint(1, 4)})
    {'C': Float(low=1.0, high=10.0, log=True), 'depth': Int(low=1, high=3, log=False)}
    >>> dimensions({"solver": ["a", "b"]})
    {'solver': Choice(options=('a', 'b'))}

    Raises:
        ArgumentTypeError: the space is no mapping, or holds something else.
    """
    if not isinstance(space, Mapping):
        raise ArgumentTypeError(
            f"space must map the names of parameters to what may be chosen, not {space!r}"
        )
    return {name: _dimension(name, values) for name, values in space.items()}


def _dimension(name: str, values: Any) -> Dimension:
    if isinstance(values, Dimension):
        return values
    if isinstance(values, np.ndarray):
        values = values.tolist()
    if isinstance(values, list | tuple | range):
        return Choice(*values)
    law = getattr(getattr(values, "dist", None), "name", "")
    if law in ("uniform", "loguniform", "reciprocal"):
        low, high = map(float, values.support())
        return Float(low, high, log=law != "uniform")
    if law == "randint":
        least, most = map(int, values.support())
        return Int(least, most)
    raise ArgumentTypeError(
        f"'{name}' must be Float(low, high), Int(low, high), Choice(*options), a list of values, "
        f"or uniform, loguniform or randint of SciPy, not {law or repr(values)}"
    )
