"""What the tests of explorers share: barely trained teachers, and pictures to upload."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from labkit import explore
from labkit.explore.save import EXPLORERS
from labkit.settings import Settings
from labkit.training.fit import fit
from tests.training import teacher

OF_FRAMES = ("noising", "teacher", "contribution", "compare")
NAMES = (*OF_FRAMES, "distiller")
SKY, ROAD = (0.5, 0.03), (0.5, 0.85)  # points of the first frame, and of the distillers' toy map
SIZES = {
    "train_steps": 1, "val_size": 6, "resize": "32x64", "score_size": "32x64", "crop_height": 32,
    "crop_width": 64,
}  # fmt: skip


def explorer_of(name: str, runs: str) -> explore.Explorer:
    """An explorer at its defaults."""
    return getattr(explore, name)(settings_of(name)(runs=runs))


def settings_of(name: str) -> type[Settings]:
    """The class of the settings that an explorer takes."""
    return EXPLORERS[name][1]


def train_two_teachers(folder: Path) -> str:
    """Fill a runs folder with an assisted and a plain teacher of one step; return its path."""
    for assisted in (True, False):
        fit(teacher(folder, assisted=assisted, **SIZES))
    return str(folder)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
