"""What a fit holds at its peak besides the data, measured by the system in a fresh process."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse

import minimand
from minimand.losses import Loss
from minimand.penalties import Penalty
from minimand.solvers import Objective, minimise
from minimand.solvers.design import Design

ROWS, COLUMNS = 200_000, 50
VECTORS, OF_AN_INTERIOR_POINT = 12, 24
"""Weights, targets, scores, slopes, curvatures ...: numbers in double precision for every row."""

SLACK = 4_000_000
CODE = """
import sys
from pathlib import Path
import numpy as np, scipy.sparse
from minimand.losses import Loss
from minimand.penalties import Penalty
from minimand.solvers import Objective, minimise

def held(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

loss, penalty, form, dtype, n, p = *sys.argv[1:5], *map(int, sys.argv[5:])
random = np.random.default_rng(0)
X = random.standard_normal((n, p), dtype=np.float32)
if form == "csr":
    X[random.random((n, p), dtype=np.float32) > 0.2] = 0
    X = scipy.sparse.csr_array(X.astype(dtype))
    size = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
else:
    X = np.array(X, dtype=dtype, order=form)
    size = X.nbytes
score = X @ np.full(p, 0.1, dtype)
target = Loss.parse(loss).card.target
y = random.poisson(np.exp(score)) if target == "count" else score + random.normal(size=n)
y = np.sign(y) if target == "sign" else y.astype(float)
objective = Objective(Loss.parse(loss), Penalty.parse(penalty))
minimise(objective, X[:300], y[:300])  # loads the libraries
Path("/proc/self/clear_refs").write_text("5")  # the peak is that of now
before = held("VmRSS")
assert minimise(objective, X, y).converged
print(held("VmHWM") - before, size)
"""


LINUX = pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="only Linux lets a peak be reset"
)


@LINUX
@pytest.mark.parametrize(
    ("form", "dtype"), [("C", "float64"), ("F", "float32"), ("csr", "float64"), ("csr", "float32")]
)
@pytest.mark.parametrize(
    ("loss", "strength"),
    [
        ("half_squared", 1e-3),
        ("logistic", 1e-5),
        ("poisson", 1e-5),
        ("huber", 1e-5),
        ("quantile", 0),
        ("hinge", 1e-5),
    ],
)
def test_a_fit_holds_little_besides_the_data(
    loss: str, strength: float, form: str, dtype: str
) -> None:
    """A fifth of the data, a matrix of the columns, and a dozen numbers for each row."""
    held, data = measured(loss, f"l2(strength={strength})", form, dtype, ROWS, COLUMNS)
    vectors = OF_AN_INTERIOR_POINT if loss == "hinge" else VECTORS
    assert held < 0.2 * data + 8 * COLUMNS**2 + 8 * vectors * ROWS + SLACK


@LINUX
@pytest.mark.parametrize("form", ["C", "F"])
@pytest.mark.parametrize("strength", [0.008, 0.0006])
def test_an_l1_penalty_holds_little_besides_the_data(strength: float, form: str) -> None:
    """The same under L1 penalties that leave two fifths of the columns and nine tenths."""
    rows, columns = 5000, 2000
    held, data = measured("logistic", f"l1({strength=})", form, "float64", rows, columns)
    assert held < 0.2 * data + 8 * columns**2 + 8 * VECTORS * rows + SLACK


def measured(loss: str, penalty: str, form: str, dtype: str, *shape: int) -> tuple[int, int]:
    """What a fit holds, and what its data take."""
    given = (loss, penalty, form, dtype, *map(str, shape))
    source = str(Path(minimand.__file__).parents[1])
    ended = subprocess.run(
        [sys.executable, "-c", CODE, *given],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": source, "OMP_NUM_THREADS": "1"},
    )
    held, data = map(int, ended.stdout.split())
    return held, data


@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_array, scipy.sparse.csc_array])
@pytest.mark.parametrize("penalty", ["l2(strength=0.01)", "l1(strength=0.01)"])
@pytest.mark.parametrize(
    "loss", ["half_squared", "logistic", "poisson", "huber_with_scale", "quantile", "squared_hinge"]
)
def test_a_fit_lets_go_of_its_data_at_once(loss: str, penalty: str, form: Any) -> None:
    """And not when the collector looks for cycles."""
    random = np.random.default_rng(0)
    X, y = random.standard_normal((300, 12)), random.choice([-1.0, 1.0], 300)
    y = np.maximum(y, 0) if loss == "poisson" else y
    objective = Objective(Loss.parse(loss), Penalty.parse(penalty))
    minimise(objective, form(X), y)
    gc.collect()
    gc.disable()
    try:
        before = designs()
        minimise(objective, form(X), y)
        assert designs() == before
    finally:
        gc.enable()


def designs() -> int:
    return sum(issubclass(type(kept), Design) for kept in gc.get_objects())
