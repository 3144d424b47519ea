"""Pictures of a loss: value, gradient and curvature, as a chart and as plain text."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np

from minimand.arrays import Array
from minimand.drawing import COLOURS, braille, styled, written
from minimand.errors import ArgumentError
from minimand.losses import Loss
from minimand.losses.base import JointLoss, PointwiseLoss
from minimand.losses.margin import MarginLoss
from minimand.losses.regression import ResidualLoss

POINTS = 241
TARGETS = {
    "count": (0.0, 1.0, 2.0),
    "positive": (0.5, 1.0, 2.0),
    "fraction": (0.0, 0.5, 1.0),
    "action": (-1.0, 1.0),
}
"""The targets for which a loss that is no function of a residual or a margin is drawn."""


@dataclass(frozen=True)
class Curve:
    """One of a loss's functions of the score, at one target."""

    what: str
    target: float
    x: Array
    y: Array


def undrawable(loss: Loss) -> str:
    """The sentence that says why a loss has no picture over one score; empty if it has.

    >>> from minimand.losses import Huber, CrossEntropy
    >>> undrawable(Huber()), undrawable(CrossEntropy())
    ('', 'CrossEntropy takes several scores for each example: no picture over a single score.')
    """
    name, end = type(loss).__name__, "no picture over a single score."
    if isinstance(loss, JointLoss):
        return f"In {name} examples act together: {end}"
    if loss.score_axes:
        return f"{name} takes several scores for each example: {end}"
    if loss.target_axes or not isinstance(loss, PointwiseLoss):
        return f"{name} takes several target columns: {end}"
    return ""


def axis(loss: Loss) -> str:
    """What the horizontal axis of the picture is."""
    if isinstance(loss, ResidualLoss):
        return "residual r = z - y"
    return "margin m = y z" if isinstance(loss, MarginLoss) else "score z"


def curves(loss: Loss) -> list[Curve]:
    """Value, gradient and curvature of a drawable loss, each for a few targets."""
    x = np.linspace(*_reach(loss), POINTS)
    targets = (0.0,) if isinstance(loss, ResidualLoss) else TARGETS.get(loss.card.target, (1.0,))
    functions: dict[str, Callable[[Array, Array], Array]] = {"value": loss.value}
    if _has_slope(loss):
        functions |= {"gradient": loss.gradient, "curvature": loss.curvature}
    return [
        Curve(what, y, x, np.asarray(function(x, np.full(POINTS, y)), dtype=float))
        for what, function in functions.items()
        for y in targets
    ]


def chart(loss: Loss) -> alt.HConcatChart:
    """Value, gradient and curvature side by side, a line for each target.

    Raises `ArgumentError` for a loss that has no picture over a single score.

    >>> from minimand.losses import Huber
    >>> len(chart(Huber()).to_dict()["hconcat"])
    3
    """
    if sentence := undrawable(loss):
        raise ArgumentError(sentence)
    drawn = curves(loss)
    targets = sorted({c.target for c in drawn})
    legend = alt.Legend(title="target y", orient="top") if len(targets) > 1 else None
    colours = [COLOURS["accent"], COLOURS["second"], COLOURS["muted"]][: len(targets)]
    colour = alt.Color(
        "target:N",
        legend=legend,
        scale=alt.Scale(domain=[f"{t:g}" for t in targets], range=colours),
    )
    panels = [
        alt.Chart(alt.Data(values=_rows([c for c in drawn if c.what == what])))
        .mark_line(strokeWidth=2, clip=True)
        .encode(
            x=alt.X("x:Q", title=axis(loss), scale=alt.Scale(nice=False)),
            y=alt.Y("y:Q", title=what, axis=alt.Axis(tickCount=5)),
            color=colour,
        )
        .properties(width=200, height=160)
        for what in dict.fromkeys(c.what for c in drawn)
    ]
    whole: alt.HConcatChart = styled(alt.hconcat(*panels, title=str(loss)))
    return whole


def rendered(loss: Loss, form: str) -> bytes:
    """The chart as the content of a file: "svg", "png", or "html" that opens offline.

    Raises `ArgumentError` for another form and for a loss without a picture.

    >>> from minimand.losses import Huber
    >>> rendered(Huber(), "svg")[:4]
    b'<svg'
    """
    return written(lambda: chart(loss), form)


def plain(loss: Loss, width: int = 22, height: int = 7) -> str:
    """The same picture for a terminal, in Braille dots; of several targets the middle one.

    Raises `ArgumentError` for a loss that has no picture over a single score.

    >>> from minimand.losses import Squared
    >>> print(plain(Squared(), width=8, height=3).splitlines()[0].split()[:4])
    ['value,', '0', 'to', '16']
    """
    if sentence := undrawable(loss):
        raise ArgumentError(sentence)
    drawn = curves(loss)
    targets = sorted({c.target for c in drawn})
    middle = targets[len(targets) // 2]
    panels = []
    for curve in drawn:
        if curve.target == middle:
            low, high = curve.y.min(), curve.y.max()
            head = (
                f"{curve.what}, {low:.3g} to {high:.3g}" if low < high else f"{curve.what} {low:g}"
            )
            foot = f"{curve.x[0]:<.3g}".ljust(width - 5) + f"{curve.x[-1]:>5.3g}"
            panels.append([head.ljust(width), *braille(curve.y, width, height), foot])
    lines = ["   ".join(parts).rstrip() for parts in zip(*panels, strict=True)]
    at = f", at y = {middle:g}" if len(targets) > 1 else ""
    return "\n".join([*lines, f"over the {axis(loss)}{at}"])


def _has_slope(loss: Loss) -> bool:
    try:
        loss.check_minimisable()
    except ArgumentError:
        return False
    return True


def _reach(loss: Loss) -> tuple[float, float]:
    """The ends of the axis: wide enough for the loss's own scale."""
    if loss.card.target == "angle":
        return -math.pi, math.pi
    if isinstance(loss, ResidualLoss):
        numbers = [float(np.max(getattr(loss, name))) for name in loss._dynamic]
        reach = 2 * max(2.0, *numbers, 0.0)
        return -reach, reach
    if isinstance(loss, MarginLoss):
        return -3.0, 3.0
    return (-3.0, 0.0) if loss.card.target == "action" else (-2.0, 2.5)


def _rows(drawn: list[Curve]) -> list[dict[str, Any]]:
    return [
        {"x": float(x), "y": float(y), "target": f"{curve.target:g}"}
        for curve in drawn
        for x, y in zip(curve.x, curve.y, strict=True)
        if np.isfinite(y)
    ]
