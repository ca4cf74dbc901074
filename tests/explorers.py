"""What the tests of explorers share: barely trained teachers, and pictures to upload."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from labkit.training.fit import fit
from tests.training import teacher

NAMES = ("noising", "teacher", "contribution", "compare")
SKY, ROAD = (0.5, 0.03), (0.5, 0.85)  # points of the first frame
SIZES = {
    "train_steps": 1, "val_size": 6, "resize": "32x64", "score_size": "32x64", "crop_height": 32,
    "crop_width": 64,
}  # fmt: skip


def train_two_teachers(folder: Path) -> str:
    """Fill a runs folder with an assisted and a plain teacher of one step; return its path."""
    for assisted in (True, False):
        fit(teacher(folder, assisted=assisted, **SIZES))
    return str(folder)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
