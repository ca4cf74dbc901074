"""Generated street scenes as files in CamVid's layout, 360 x 480."""

from pathlib import Path

import numpy as np
from PIL import Image

from labkit.datasets.streets import make_scene

HEIGHT, WIDTH, VOID = 360, 480, 11


def write_camvid(root: Path, *, train: int, val: int) -> None:
    """Write a data folder with camvid/{train,val}{,annot}/*.png; ids 0-7, and 11 for void."""
    for split, frames in (("train", train), ("val", val)):
        images, labels = root / "camvid" / split, root / "camvid" / f"{split}annot"
        for folder in (images, labels):
            folder.mkdir(parents=True)
        for number in range(frames):
            seed = number if split == "train" else 10_000 + number
            image, target = make_scene(seed, height=HEIGHT, width=WIDTH)
            ids = np.where(target == 255, VOID, target).astype(np.uint8)
            Image.fromarray(image.transpose(1, 2, 0)).save(images / f"{number:04d}.png")
            Image.fromarray(ids).save(labels / f"{number:04d}.png")
