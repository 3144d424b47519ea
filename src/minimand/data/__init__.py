"""Data: tables from files and arrays, the task a target asks for, encodings and splits."""

from minimand.data.blocks import Block, Blocks, ParquetBlocks
from minimand.data.encoding import FeatureEncoder, TargetEncoder
from minimand.data.sources import BUNDLED, Table, from_arrays, read_table
from minimand.data.splits import Fold, cross_validation, holdout
from minimand.data.task import Task, infer_task

__all__ = [
    "BUNDLED",
    "Block",
    "Blocks",
    "FeatureEncoder",
    "Fold",
    "ParquetBlocks",
    "Table",
    "TargetEncoder",
    "Task",
    "cross_validation",
    "from_arrays",
    "holdout",
    "infer_task",
    "read_table",
]
