from __future__ import annotations

import numpy as np

from minimand.tuning.smoothing import features, smoothed


def test_neighbours_find_better_settings_than_luck() -> None:
    by_score, by_neighbours = [], []
    for seed in range(20):
        random = np.random.default_rng(seed)
        rates, kinds = 10 ** random.uniform(-3, 0, 60), random.choice(["a", "b"], 60)
        settings = [{"rate": r, "kind": k} for r, k in zip(rates.tolist(), kinds, strict=True)]
        truth = np.array([-((np.log10(s["rate"]) + 1) ** 2) - (s["kind"] == "b") for s in settings])
        scores = truth + random.standard_normal(60)
        by_score.append(truth[scores.argmax()])
        by_neighbours.append(truth[smoothed(settings, scores).argmax()])
    assert np.mean(by_neighbours) > np.mean(by_score) + 0.1


def test_only_the_order_of_numbers_matters() -> None:
    random = np.random.default_rng(0)
    powers, scores = random.uniform(-5, 5, 40), random.standard_normal(40)
    plain = smoothed([{"a": p} for p in powers], scores)
    assert np.array_equal(plain, smoothed([{"a": float(10**p)} for p in powers], scores))


def test_a_run_that_diverged_does_not_blunt_the_others() -> None:
    settings = [{"a": a} for a in range(40)]
    scores = np.linspace(0.0, 1.0, 40)
    scores[0] = -1e300
    assert np.argmax(smoothed(settings, scores)) >= 36


def test_few_settings_keep_their_scores() -> None:
    scores = np.random.default_rng(0).standard_normal(19)
    assert np.array_equal(smoothed([{"a": a} for a in range(19)], scores), scores)


def test_every_kind_of_value_becomes_numbers() -> None:
    settings = [{"a": (8,), "b": True}, {"a": (8, 8), "b": False, "c": 2}, {"a": None, "b": True}]
    assert features(settings).tolist() == [
        [0.0, 1.0, 0.0, 1.0, -1.0],
        [1.0, 0.0, 1.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 1.0, -1.0],
    ]
    assert features([{}, {}]).shape == (2, 0)
