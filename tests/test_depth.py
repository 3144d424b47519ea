"""The experiment on depth: gradients by hand, those that vanish or explode, and the command."""

from __future__ import annotations

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_digits

from minimand import cli
from minimand.diagnosis.depth import DeepNetwork, deep_networks, gradient_norms
from minimand.errors import ArgumentError
from minimand.losses import CrossEntropy
from minimand.networks import MLP
from minimand.report.depth_charts import chart, rendered, table
from minimand.training import Recipe

X, Y = load_digits(n_class=3, return_X_y=True)
X = (X[:200] / 8 - 1).astype(np.float32)
Y = Y[:200]


def test_norms_are_those_of_the_gradient_by_hand() -> None:
    recipe = Recipe(MLP(hidden=(4, 3), outputs=3, activation="tanh"), CrossEntropy())
    params, state = recipe.network.init(jax.random.key(0), X[:1])

    def mean_loss(kernels: list[jax.Array]) -> jax.Array:
        first, second, last = kernels
        scores = jnp.tanh(jnp.tanh(X @ first) @ second) @ last
        return jnp.mean(jax.nn.logsumexp(scores, axis=1) - scores[jnp.arange(len(Y)), Y])

    hidden = params["hidden"]
    kernels = [layer["kernel"] for layer in (*hidden.values(), params["output"])]
    expected = [np.linalg.norm(kernel) for kernel in jax.grad(mean_loss)(kernels)]
    np.testing.assert_allclose(gradient_norms(recipe, params, state, X, Y), expected, rtol=1e-4)


def test_gradients_vanish_in_a_deep_sigmoid_net_and_skip_connections_bring_them_through() -> None:
    """A sigmoid's slope is at most 1/4, and 1/4 to the power of 7 is 6e-5."""
    found = {one.kind: one for one in deep_networks(X, Y, depths=[8], width=8, epochs=1)}
    assert list(found) == ["plain", "clipped", "batch norm", "residual"]
    assert all(one.depth == 8 and len(one.start) == len(one.end) == 9 for one in found.values())
    assert found["plain"].start == found["clipped"].start
    assert found["plain"].start[0] < 1e-4 * found["residual"].start[0]
    assert found["plain"].start[0] < 1e-4 * found["plain"].start[-1]
    assert found["residual"].start[0] > 0.01 * found["residual"].start[-1]


def test_gradients_explode_from_large_weights_and_the_run_says_so() -> None:
    plain, clipped, *_ = deep_networks(
        X, Y, depths=[8], activation="leaky_relu", gain=10.0, width=8, epochs=2, learning_rate=1.0
    )
    assert plain.start[0] > 1e6
    assert "finite" in plain.status and "finite" not in clipped.status
    assert np.all(np.isfinite(clipped.end))


def test_depths_below_one_are_refused() -> None:
    with pytest.raises(ArgumentError, match="each at least 1"):
        deep_networks(X, Y, depths=[4, 0])
    with pytest.raises(ArgumentError, match="give one or more"):
        deep_networks(X, Y, depths=[])


def test_the_chart_leaves_out_what_a_logarithm_cannot_show() -> None:
    one = DeepNetwork("plain", 2, (0.0, 1e-9, 1.0), (np.inf, np.nan, 2.0), 0.5, 0.75, "ended")
    values = chart([one]).to_dict()["data"]["values"]
    assert [(v["when"], v["layer"], v["norm"]) for v in values] == [
        ("before training", 2, 1e-9), ("before training", 3, 1.0), ("after training", 3, 2.0)
    ]  # fmt: skip
    assert rendered([one], "svg").startswith(b"<svg")
    row = ("2", "plain", "0.0e+00", "1.0e+00", "inf", "2.0e+00", "0.500", "0.750", "ended")
    assert table([one]) == [row]


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["minimand", "depth", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(
        monkeypatch, capsys, "--data", "iris", "--depths", "1", "--epochs", "1",
        "--activation", "tanh", "--chart", "depth.png",
    )  # fmt: skip
    assert (status, err) == (0, "")
    for part in ("plain", "clipped", "batch norm", "residual", "Chart: depth.png"):
        assert part in out
    assert Path("depth.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--depths", "2,many"], "cannot read the depths '2,many'"),
        (["--depths", "0"], "each at least 1"),
        (["--data", "diabetes"], "depth trains classifiers"),
        (["--chart", "depth.pdf"], "unknown form of a chart 'pdf'"),
        (["--activation", "rely"], "did you mean 'relu'"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    sentence: str,
) -> None:
    status, out, err = run(monkeypatch, capsys, *arguments)
    assert status == 2 and sentence in err and err.count("\n") == 1
    assert not out and not list(Path().iterdir())
