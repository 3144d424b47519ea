"""One batch on many devices of a machine: each takes its share of the rows.

Inside `on_devices(n)` the rows of every batch are split over n devices. All of them hold the data
and the parameters; JAX adds up the gradients.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from minimand.errors import ArgumentError

AXIS = "rows"


def on_devices(devices: int) -> AbstractContextManager[Any]:
    """Runs inside share their batches among the first `devices` devices.

    Raises:
        ArgumentError: there are not so many.
    """
    found = jax.devices()
    if not 1 <= devices <= len(found):
        raise ArgumentError(f"devices is {devices}; this process sees {len(found)}")
    if devices == 1:
        return nullcontext()
    mesh = jax.make_mesh((devices,), (AXIS,), devices=found[:devices], axis_types=(AxisType.Auto,))
    return jax.set_mesh(mesh)


def everywhere() -> NamedSharding | None:
    """Where the data of a run go: whole, on all of its devices; None for the only one."""
    mesh = jax.sharding.get_mesh()
    return None if mesh.empty else NamedSharding(mesh, PartitionSpec())


def shared(rows: Any) -> Any:
    """The rows [members, batch] of a batch, split over the devices.

    Raises:
        ArgumentError: they cannot be split evenly.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return rows
    size, devices = jax.tree.leaves(rows)[0].shape[-1], mesh.size
    if size % devices:
        raise ArgumentError(
            f"{devices} devices cannot share a batch of {size} rows evenly; "
            f"take a multiple of {devices} as batch_size"
        )
    return jax.lax.with_sharding_constraint(rows, PartitionSpec(None, AXIS))
