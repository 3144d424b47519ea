"""Augmentations: what happens to a batch before it is trained on, inside the compiled program."""

from minimand.data.augmentation.base import Augmentation, Batch, Unchanged
from minimand.data.augmentation.boxes import Cutout
from minimand.data.augmentation.chain import Chain
from minimand.data.augmentation.geometry import (
    Flip,
    Geometric,
    RandomCrop,
    Rotation,
    Shear,
    Shift,
    Zoom,
)
from minimand.data.augmentation.mixing import CutMix, MixUp
from minimand.data.augmentation.photometry import Brightness, Contrast, GaussianNoise, MaskingNoise

__all__ = [
    "Augmentation",
    "Batch",
    "Brightness",
    "Chain",
    "Contrast",
    "CutMix",
    "Cutout",
    "Flip",
    "GaussianNoise",
    "Geometric",
    "MaskingNoise",
    "MixUp",
    "RandomCrop",
    "Rotation",
    "Shear",
    "Shift",
    "Unchanged",
    "Zoom",
]
