"""Nonlinear least squares by damped Gauss-Newton steps."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import lsq_linear

from minimand.arrays import Array
from minimand.budget import Budget
from minimand.component import Card, Component, Count, Positive, component
from minimand.solvers.nonlinear import Point

EPS = float(np.finfo(float).eps)


class Tangent:
    """The linearised problem at a point, over the parameters that no bound holds back.

    Its singular values are those of the Jacobian with columns divided by `scale`.
    """

    def __init__(self, point: Point, low: Array, high: Array, scale: Array, freedom: int):
        self.point, self.low, self.high, self.scale = point, low, high, scale
        r, jacobian, theta = point.residuals, point.jacobian, point.theta
        gradient = jacobian.T @ r
        held = (theta <= low) & (gradient >= 0) | (theta >= high) & (gradient <= 0)
        self.free = ~held
        q, corner = np.linalg.qr(jacobian[:, self.free] / scale[self.free])
        left, s, self.right = np.linalg.svd(corner)
        self.rank = int(np.sum(s > len(r) * EPS * s[:1].sum()))
        self.q, self.left = q, left
        self.s, self.along = s[: self.rank], (left.T @ (q.T @ r))[: self.rank]
        self.right = self.right[: self.rank]
        tangential = np.linalg.norm(self.along)
        across = np.linalg.norm(r - q @ (left[:, : self.rank] @ self.along))
        freedom = max(freedom + int(held.sum()), 1)
        self.noise = EPS * np.linalg.norm(np.abs(jacobian) @ np.abs(theta))
        self.tangential = tangential
        with np.errstate(divide="ignore", invalid="ignore"):
            self.offset = tangential and float(
                tangential / np.sqrt(max(self.rank, 1)) / (across / np.sqrt(freedom))
            )
        lengths = np.linalg.norm(jacobian[:, self.free], axis=0) * np.linalg.norm(r)
        self.gradient_norm = float(
            np.max(np.abs(gradient[self.free]) / np.where(lengths > 0, lengths, 1), initial=0.0)
        )

    def step(self, radius: float) -> tuple[Array, float]:
        damping = 0.0
        for _ in range(30):
            inverse = 1 / (self.s**2 + damping)
            u = -self.s * self.along * inverse
            length = np.linalg.norm(u)
            if length <= 1.1 * radius:
                break
            damping += length**2 / (u @ (u * inverse)) * (length - radius) / radius
        step = np.zeros(len(self.scale))
        step[self.free] = (u @ self.right) / self.scale[self.free]
        theta = self.point.theta
        if np.any((theta + step < self.low) | (theta + step > self.high)):
            step[self.free] = self._within(damping)
        return step, damping

    def _within(self, damping: float) -> Array:
        d = self.scale[self.free]
        theta = self.point.theta[self.free]
        bounds = ((self.low[self.free] - theta) * d, (self.high[self.free] - theta) * d)
        matrix = np.vstack([self.s[:, None] * self.right, np.sqrt(damping + EPS) * np.eye(len(d))])
        target = np.append(-self.along, np.zeros(len(d)))
        return lsq_linear(matrix, target, bounds, method="bvls").x / d


@component
class GaussNewton(Component):
    """x"""

    kind = "solver"
    tolerance: Positive = 1e-9
    max_iterations: Count = 1000
    radius: Positive = 100.0
    monotone: bool = True
    card = Card(formula="", source="", use="")

    def run(self, problem: Any, budget: Budget):
        point = problem.at(problem.start)
        norms = np.linalg.norm(point.jacobian, axis=0)
        scale = np.where(norms > 0, norms, 1.0)
        radius = self.radius * (np.linalg.norm(scale * point.theta) or 1.0)
        freedom = problem.rows - len(point.full)
        tangent = Tangent(point, problem.low, problem.high, scale, freedom)
        evals = 0
        for iteration in range(self.max_iterations + 1):
            if tangent.offset <= self.tolerance:
                return point, f"converged in {iteration} steps {evals} evals", tangent
            if tangent.tangential <= tangent.noise:
                return point, f"noise in {iteration} steps {evals} evals", tangent
            if iteration == self.max_iterations:
                return point, "limit", tangent
            while True:
                step, damping = tangent.step(radius)
                length = float(np.linalg.norm(step * scale))
                import os

                h, alpha = float(os.environ.get("H", "0.1")), float(os.environ.get("AL", "0.75"))
                probe = problem.at(point.theta + h * step)
                if probe.finite and alpha:
                    evals += 1
                    bend = 2 / h * ((probe.residuals - point.residuals) / h - point.jacobian @ step)
                    along = (tangent.left.T @ (tangent.q.T @ bend))[: tangent.rank]
                    acc = np.zeros_like(step)
                    acc[tangent.free] = (
                        -(tangent.s * along / (tangent.s**2 + damping))
                        @ tangent.right
                        / scale[tangent.free]
                    )
                    if 2 * np.linalg.norm(acc * scale) <= alpha * length:
                        accd = acc / 2
                    else:
                        accd = 0 * acc
                else:
                    accd = 0 * step
                if iteration == 0:
                    radius = min(radius, length)
                theta = np.clip(point.theta + step + accd, problem.low, problem.high)
                trial = problem.at(theta)
                evals += 1
                linear = point.jacobian @ step
                promised = -float(linear @ (2 * point.residuals + linear))
                earned = point.value - trial.value if trial.finite else -np.inf
                if promised <= 10 * EPS * point.value:
                    after = trial.finite and Tangent(
                        trial, problem.low, problem.high, scale, freedom
                    )
                    if not after or after.offset > 0.9 * tangent.offset:
                        return point, f"stuck in {iteration} steps {evals} evals", tangent
                    ratio = 1.0
                else:
                    ratio = earned / promised
                if ratio <= 0.25:
                    radius = min(radius, length) * (
                        0.5
                        if ratio >= 0
                        else max(
                            0.1,
                            0.5 * -promised / (-promised + earned) if np.isfinite(earned) else 0.1,
                        )
                    )
                elif ratio >= 0.75 or damping == 0:
                    radius = 2 * length
                if ratio > 1e-4:
                    break
            point = trial
            norms = np.linalg.norm(point.jacobian, axis=0)
            scale = np.maximum(scale, norms) if self.monotone else np.where(norms > 0, norms, 1.0)
            tangent = Tangent(point, problem.low, problem.high, scale, freedom)
