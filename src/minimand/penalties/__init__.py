"""Penalties: what is added to the cost to prefer small or sparse parameters, or quiet layers."""

from minimand.penalties.activity import Sparsity, Sum
from minimand.penalties.norms import (
    L1,
    L2,
    ElasticNet,
    Group,
    Penalty,
    Unpenalised,
    kernels,
    map_kernels,
)

__all__ = [
    "L1",
    "L2",
    "ElasticNet",
    "Group",
    "Penalty",
    "Sparsity",
    "Sum",
    "Unpenalised",
    "kernels",
    "map_kernels",
]
