"""The end of a fit: the winner is refitted on all rows but the test part, and scored on those."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from minimand.arrays import Array
from minimand.budget import Budget
from minimand.data import FeatureEncoder, Images, PixelEncoder
from minimand.diagnosis import findings
from minimand.errors import SolverError
from minimand.fitting.bench import Bench, Constant, truth_of
from minimand.fitting.candidates import Attempt
from minimand.fitting.model import Fitted, Model
from minimand.fitting.results import Fit
from minimand.fitting.study import Say, Studied
from minimand.metrics import Prediction
from minimand.tuning.interval import bootstrap, of_share


def refit(studied: Studied, watch: Budget, say: Say) -> Fit:
    """Refit the winner, score it on the test part, and gather the evidence.

    Raises:
        SolverError: the winner, which did well on every fold, failed on all of the rows.
    """
    bench, source, winner = studied.bench, studied.source, studied.ranked[0]
    assert winner.searched is not None and source.target is not None
    outcome, done = winner.candidate.last(bench, winner.searched.setting)
    if not outcome.usable:
        raise SolverError(f"{winner.candidate.name}: {outcome.status}")
    proof = outcome.certificate
    say(f"{done}: {outcome.status}" + (f"; {proof['sentence']}." if proof else "."))

    rows = studied.split.test
    target = source.target[rows]
    truth = truth_of(target, bench.labels)
    said = outcome.fitted.predict(studied.features.transform(source.rows(rows)))
    baseline = Constant.best(bench, np.arange(len(bench.X))).predict(len(rows))
    run = studied.record | {
        "baseline": studied.record["baseline"] | {"test": _test(bench, truth, baseline)},
        "test": _test(bench, truth, said) | {"rows": len(rows)},
        "certificate": proof,
        "status": outcome.status,
        "recipe": winner.candidate.recipe(bench, winner.searched.setting),
        "coefficients": coefficients(outcome.fitted, studied.features),
        "seconds": round(watch.elapsed(), 3),
        "stopped": watch.reason,
    }
    wrong: dict[str, Array] = {}
    if isinstance(source, Images) and bench.labels.classes:
        from minimand.fitting.pictures import mistakes

        wrong = mistakes(source, rows, truth, said)
    run["findings"] = [asdict(finding) for finding in findings(run)]
    fitted = Fit(run, Model(studied.features, outcome.fitted, target.name), outcome.history,
                 _predictions(outcome, target, said), wrong)  # fmt: skip
    for finding in run["findings"]:
        say(f"Finding: {finding['what']} ({finding['evidence']}); {finding['advice']}.")
    say(fitted.verdict())
    return fitted


def _test(bench: Bench, truth: Array, said: Prediction) -> dict[str, float]:
    """The metric on the test part, with its interval: exact for a share of rows, else bootstrap."""
    metric, rows = bench.metric, len(truth)
    value = metric(truth, said)
    if metric.of_rows:
        low, high = of_share(value, rows)
    else:
        low, high = bootstrap(lambda i: metric(truth[i], said.rows(i)), rows, bench.seed)
    return {"value": value, "low": low, "high": high}


def _predictions(outcome: Attempt, target: Any, said: Prediction) -> dict[str, Array]:
    classes = outcome.fitted.target.classes
    shown = {
        "actual": target.to_numpy(),
        "predicted": np.asarray(classes)[said.value] if classes else said.value,
    }
    return shown | ({} if said.probability is None else {"probability": said.probability})


def coefficients(
    fitted: Fitted, features: FeatureEncoder | PixelEncoder
) -> list[dict[str, Any]] | None:
    """The slopes of an affine score: standardised, and per unit of the column where it has one."""
    if isinstance(features, PixelEncoder) or fitted.recipe or fitted.loss.score_axes:
        return None
    slopes = fitted.params["output"]["kernel"][:, 0]
    listed = []
    for name, slope in zip(features.names, slopes, strict=True):
        scale = features.numeric_scale(name)
        per_unit = None if scale is None else float(slope * fitted.target.scale / scale[1])
        listed.append({"feature": name, "value": float(slope), "per_unit": per_unit})
    return listed
