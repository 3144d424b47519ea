"""The exception tree, and sentences that say what was wrong, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MinimandError(Exception):
    """Root of every error that minimand raises on purpose; its text is one plain sentence."""


class ArgumentError(MinimandError, ValueError):
    """An argument has a value outside its allowed set."""


class UnknownNameError(ArgumentError):
    """A name (loss, metric, column, data set ...) that minimand does not know."""


class ShapeError(ArgumentError):
    """Arrays whose shapes do not fit together."""


class ArgumentTypeError(MinimandError, TypeError):
    """An argument of the wrong type."""


class DataError(MinimandError, ValueError):
    """Data that cannot be used as it is: the message names the row or the column."""


class TargetError(DataError):
    """A target outside the domain of the loss or the task."""


class FileError(MinimandError, OSError):
    """A file or directory that cannot be read or written."""


class SolverError(MinimandError, RuntimeError):
    """A solver or a training run that ended without a usable answer; the text is its status.

    `trained` is what there was before a training run met numbers that are not finite.
    """

    def __init__(self, status: str, trained: object = None):
        super().__init__(status)
        self.trained = trained


def unknown(kind: str, name: object, known: Iterable[str]) -> UnknownNameError:
    """The error for a name that is not in `known`, with the nearest known names first.

    >>> unknown("loss", "hubber", ["Huber", "Hinge", "Squared"])
    UnknownNameError("unknown loss 'hubber'; did you mean 'Huber'? Known: Hinge, Huber, Squared")
    """
    names = sorted(known)
    folded = {n.casefold(): n for n in names}
    near = difflib.get_close_matches(str(name).casefold(), folded, n=1, cutoff=0.6)
    hint = f" did you mean '{folded[near[0]]}'?" if near else ""
    listed = ", ".join(names[:40]) + (", ..." if len(names) > 40 else "")
    return UnknownNameError(f"unknown {kind} '{name}';{hint} Known: {listed}")
