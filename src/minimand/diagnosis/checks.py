"""Checks of a finished comparison: each looks at the evidence and may report one finding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One diagnosed fact, with its evidence and what to do."""

    what: str
    evidence: str
    advice: str


def findings(run: Mapping[str, Any]) -> list[Finding]:
    """Everything that the record of a run (see run.json) shows."""
    checks = (_baseline, _shift, _edge, _unfinished, _unbounded, _imbalance)
    return [finding for check in checks for finding in check(run)]


def _baseline(run: Mapping[str, Any]) -> Iterator[Finding]:
    test, base = run["test"], run["baseline"]["test"]
    sign = 1 if run["metric"]["greater_is_better"] else -1
    if sign * test["value"] <= sign * base["value"]:
        yield Finding(
            "The model is no better than a constant",
            f"{run['metric']['name']} {test['value']:.4g} on the test rows; the "
            f"{run['baseline']['name']} gives {base['value']:.4g}",
            "the columns may say nothing about the target: check the data before the model",
        )


def _shift(run: Mapping[str, Any]) -> Iterator[Finding]:
    winner = run["candidates"][0]
    test = run["test"]
    if test["high"] < winner["low"] or test["low"] > winner["high"]:
        yield Finding(
            f"Test score and {run['judged']} disagree",
            f"[{test['low']:.4g}, {test['high']:.4g}] on the test rows, "
            f"[{winner['low']:.4g}, {winner['high']:.4g}] by {run['judged']}",
            "look for rows that belong together (time, groups) and were split apart",
        )


def _edge(run: Mapping[str, Any]) -> Iterator[Finding]:
    for name, where in run["candidates"][0]["edges"].items():
        yield Finding(
            f"The best {name} is the {where} that was tried",
            f"{name} = {run['candidates'][0]['settings'][name]}",
            "a wider search may find a better one",
        )


def _unfinished(run: Mapping[str, Any]) -> Iterator[Finding]:
    status = run["status"]
    if status.startswith(("ran all", "ended")):
        yield Finding(
            "The winner's fit was not finished",
            status,
            "allow more epochs, steps or time",
        )


def _unbounded(run: Mapping[str, Any]) -> Iterator[Finding]:
    if "no minimum" in run["status"]:
        yield Finding(
            "No parameters are best: larger ones always fit the training rows better",
            run["status"],
            "do not read the coefficients; penalise them",
        )


def _imbalance(run: Mapping[str, Any]) -> Iterator[Finding]:
    share = run["data"].get("rarest_share", 1.0)
    if share < 0.1 and len(run["data"]["classes"] or ()) == 2 and (
        run["metric"]["name"] in ("accuracy", "error")
    ):  # fmt: skip
        yield Finding(
            "One class is rare, and the metric hardly notices it",
            f"{share:.1%} of the rows",
            "judge by balancedaccuracy, f1 or auc if that class matters",
        )
