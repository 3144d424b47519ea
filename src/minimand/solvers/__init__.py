"""Deterministic full-batch solvers, one mechanism a file."""

from minimand.solvers.active_rows import ActiveRows
from minimand.solvers.barrier import Barrier
from minimand.solvers.base import Solution, Solver
from minimand.solvers.certificate import Certificate
from minimand.solvers.convergence import Convergence, convergence
from minimand.solvers.frank_wolfe import FrankWolfe
from minimand.solvers.gauss_newton import GaussNewton, least_squares
from minimand.solvers.gradient_descent import BarzilaiBorwein, FixedStep, GradientDescent
from minimand.solvers.interior_point import InteriorPoint
from minimand.solvers.lbfgs import LBFGS
from minimand.solvers.newton import Newton
from minimand.solvers.newton_cg import NewtonCG
from minimand.solvers.nonlinear_fit import Digits, NonlinearFit, digits
from minimand.solvers.normal_equations import NormalEquations
from minimand.solvers.path import Path, path
from minimand.solvers.problem import Objective, Problem, Shape
from minimand.solvers.proximal_gradient import ProximalGradient
from minimand.solvers.proximal_newton import ProximalNewton
from minimand.solvers.row_space import RowSpace
from minimand.solvers.selection import minimise, select
from minimand.solvers.smoothing import Smoothing
from minimand.solvers.streaming import Stream

__all__ = [
    "LBFGS",
    "ActiveRows",
    "Barrier",
    "BarzilaiBorwein",
    "Certificate",
    "Convergence",
    "Digits",
    "FixedStep",
    "FrankWolfe",
    "GaussNewton",
    "GradientDescent",
    "InteriorPoint",
    "Newton",
    "NewtonCG",
    "NonlinearFit",
    "NormalEquations",
    "Objective",
    "Path",
    "Problem",
    "ProximalGradient",
    "ProximalNewton",
    "RowSpace",
    "Shape",
    "Smoothing",
    "Solution",
    "Solver",
    "Stream",
    "convergence",
    "digits",
    "least_squares",
    "minimise",
    "path",
    "select",
]
