"""Choosing hyper-parameters by cross-validation."""

from minimand.tuning.grid import Searched, grid_search, product_grid

__all__ = ["Searched", "grid_search", "product_grid"]
