"""Deterministic full-batch solvers, one mechanism a file."""

from minimand.solvers.base import Certificate, Objective, Solution, Solver
from minimand.solvers.gradient_descent import GradientDescent
from minimand.solvers.interior_point import InteriorPoint
from minimand.solvers.newton import Newton
from minimand.solvers.normal_equations import NormalEquations
from minimand.solvers.proximal_gradient import ProximalGradient
from minimand.solvers.selection import select

__all__ = [
    "Certificate",
    "GradientDescent",
    "InteriorPoint",
    "Newton",
    "NormalEquations",
    "Objective",
    "ProximalGradient",
    "Solution",
    "Solver",
    "select",
]
