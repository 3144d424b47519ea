"""The picture of what depth does to gradients: their norm by layer, before and after training."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from minimand.diagnosis.depth import DeepNetwork
from minimand.drawing import COLOURS, written

WHEN = ("before training", "after training")
HEADINGS = (
    "depth", "network", "first layer", "last layer", "first, trained", "last, trained", "loss",
    "accuracy", "training",
)  # fmt: skip


def chart(networks: Sequence[DeepNetwork]) -> alt.FacetChart:
    """A panel for each depth, before and after training; a line for each kind of network.

    A gradient that is 0 or not finite in single precision has no point.

    >>> one = DeepNetwork("plain", 1, (0.1, 1.0), (0.2, 0.5), 0.3, 0.9, "")
    >>> len(chart([one]).to_dict()["data"]["values"])
    4
    """
    kinds = list(dict.fromkeys(one.kind for one in networks))
    rows = [
        {"kind": one.kind, "depth": one.depth, "when": when, "layer": layer, "norm": norm}
        for one in networks
        for when, norms in zip(WHEN, (one.start, one.end), strict=True)
        for layer, norm in enumerate(norms, 1)
        if 0 < norm < float("inf")
    ]
    colours = [COLOURS["ink"], COLOURS["muted"], COLOURS["second"], COLOURS["accent"]]
    drawn: alt.FacetChart = (
        alt.Chart(alt.Data(values=rows))
        .mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=12))
        .encode(
            x=alt.X("layer:Q", title="layer", axis=alt.Axis(tickMinStep=1, grid=False)),
            y=alt.Y("norm:Q", title="norm of the gradient", scale=alt.Scale(type="log"),
                    axis=alt.Axis(format=".0e", tickCount=6)),
            color=alt.Color("kind:N", title=None, scale=alt.Scale(domain=kinds, range=colours),
                            legend=alt.Legend(orient="top")),
        )
        .properties(width=170, height=150)
        .facet(
            column=alt.Column("depth:O", title="hidden layers"),
            row=alt.Row("when:N", title=None, sort=list(WHEN)),
        )
        .resolve_scale(x="independent")
        .configure_axis(domain=False, ticks=False, gridColor=COLOURS["line"])
    )  # fmt: skip
    return drawn


def table(networks: Sequence[DeepNetwork]) -> list[tuple[str, ...]]:
    """A row for each network: gradient norms at both ends, and how it did on the rows set aside."""
    return [
        (
            str(one.depth),
            one.kind,
            *(f"{norm:.1e}" for norms in (one.start, one.end) for norm in (norms[0], norms[-1])),
            f"{one.loss:.3f}",
            f"{one.accuracy:.3f}",
            one.status,
        )
        for one in networks
    ]


def rendered(networks: Sequence[DeepNetwork], form: str) -> bytes:
    """The chart as the content of a file: "svg", "png", or "html" that opens offline.

    Raises `ArgumentError` for another form.
    """
    return written(lambda: chart(networks), form)
