"""Data: tables, images and text from files and arrays, the task a target asks for, splits."""

from minimand.data.blocks import Block, Blocks, ParquetBlocks
from minimand.data.encoding import FeatureEncoder, TargetEncoder
from minimand.data.images import Images, PixelEncoder, holds_images, images_from_arrays, read_images
from minimand.data.sources import BUNDLED, Table, from_arrays, read_table
from minimand.data.splits import Fold, cross_validation, holdout
from minimand.data.task import Task, infer_task
from minimand.data.text import Text, Vocabulary, read_text

__all__ = [
    "BUNDLED",
    "Block",
    "Blocks",
    "FeatureEncoder",
    "Fold",
    "Images",
    "ParquetBlocks",
    "PixelEncoder",
    "Table",
    "TargetEncoder",
    "Task",
    "Text",
    "Vocabulary",
    "cross_validation",
    "from_arrays",
    "holdout",
    "holds_images",
    "images_from_arrays",
    "infer_task",
    "read_images",
    "read_table",
    "read_text",
]
