"""Deterministic full-batch solvers, one mechanism a file."""

from minimand.solvers.base import Solution, Solver
from minimand.solvers.certificate import Certificate
from minimand.solvers.gradient_descent import BarzilaiBorwein, FixedStep, GradientDescent
from minimand.solvers.interior_point import InteriorPoint
from minimand.solvers.newton import Newton
from minimand.solvers.normal_equations import NormalEquations
from minimand.solvers.problem import Objective, Problem, Shape
from minimand.solvers.proximal_gradient import ProximalGradient
from minimand.solvers.selection import minimise, select

__all__ = [
    "BarzilaiBorwein",
    "Certificate",
    "FixedStep",
    "GradientDescent",
    "InteriorPoint",
    "Newton",
    "NormalEquations",
    "Objective",
    "Problem",
    "ProximalGradient",
    "Shape",
    "Solution",
    "Solver",
    "minimise",
    "select",
]
