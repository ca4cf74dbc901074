"""Reading and augmenting files against a plain loop of PIL and torchvision."""

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import ColorJitter
from torchvision.transforms.v2 import functional as F

from labkit.datasets import TrainBatches, dataset_info
from labkit.datasets.files import FileSplit, Frame, LabelFormat, id_table
from labkit.datasets.streets import make_scene
from tests.benchmarks.timing import milliseconds, row

LABELS = LabelFormat(id_table({**{i: i for i in range(8)}, 255: 255}), "ids 0-7, 255 = void")
SCALE, BRIGHTNESS, BATCH, FRAMES, REPEAT = (0.5, 2.0), 0.3, 4, 8, 9


class Files(NamedTuple):
    """A kind of files and the crop that is trained on."""

    suffix: str
    size: tuple[int, int]
    crop: tuple[int, int]


KINDS = (Files(".png", (1024, 2048), (512, 1024)), Files(".jpg", (375, 500), (512, 512)))


def loading_rows() -> Iterator[dict]:
    """Batches with random zoom, crop, flip and brightness, made in this process."""
    info = dataset_info("streets")
    for kind in KINDS:
        with tempfile.TemporaryDirectory(prefix="labkit-bench-") as folder:
            ours = batch_maker(Path(folder), kind)
            frames = ours.split.frames
            loops = [loop(frames, kind.crop, info).batch for loop in (_PlainLoop, _LeanLoop)]
            steps = iter(range(1000))
            times = milliseconds(
                lambda ours=ours, steps=steps: ours[next(steps)], *loops, repeat=REPEAT
            )
        height, width = kind.size
        size = (
            f"{BATCH} x {height} x {width} {kind.suffix[1:].upper()}, "
            f"crop {kind.crop[0]} x {kind.crop[1]}, zoom 0.5 to 2"
        )
        yield row("batch from files vs PIL and torchvision", size, times[0], times[1])
        yield row("batch from files vs the same loop, cropped first", size, times[0], times[2])


def batch_maker(folder: Path, kind: Files) -> TrainBatches:
    """Batches of generated files, with random zoom, crop, flip and brightness."""
    options = {"crop": kind.crop, "scale": SCALE, "brightness": BRIGHTNESS}
    split = FileSplit(_written(folder, kind))
    return TrainBatches(split, dataset_info("streets"), batch_size=BATCH, seed=0, **options)


def _written(folder: Path, kind: Files) -> list[Frame]:
    frames = []
    for number in range(FRAMES):
        image, target = make_scene(number, height=kind.size[0], width=kind.size[1])
        picture, label = folder / f"{number}{kind.suffix}", folder / f"{number}_label.png"
        Image.fromarray(image.transpose(1, 2, 0)).save(picture)
        Image.fromarray(target.astype(np.uint8)).save(label)
        frames.append(Frame(str(number), picture, label, LABELS))
    return frames


class _PlainLoop:
    """Whole frames are opened, zoomed, jittered and normalised, then cropped, one by one."""

    def __init__(self, frames: list[Frame], crop: tuple[int, int], info) -> None:
        self.frames, self.crop, self.info = frames, crop, info
        self.random, self.jitter = random.Random(0), ColorJitter(brightness=BRIGHTNESS)

    def batch(self) -> tuple[Tensor, Tensor]:
        samples = [self._sample(self.random.choice(self.frames)) for _ in range(BATCH)]
        images, targets = zip(*samples, strict=True)
        return torch.stack(images), torch.stack(targets)

    def _sample(self, frame: Frame) -> tuple[Tensor, Tensor]:
        return self._cropped(*self._tensors(*self._zoomed(frame)))

    def _zoomed(self, frame: Frame) -> tuple[Image.Image, Image.Image]:
        image, label = Image.open(frame.image).convert("RGB"), Image.open(frame.label)
        zoom = self.random.uniform(*SCALE)
        size = (round(zoom * image.width), round(zoom * image.height))
        image = image.resize(size, Image.Resampling.BILINEAR)
        return image, label.resize(size, Image.Resampling.NEAREST)

    def _tensors(self, image: Image.Image, label: Image.Image) -> tuple[Tensor, Tensor]:
        if self.random.random() < 0.5:
            image, label = F.hflip(image), F.hflip(label)
        tensor = F.to_dtype(F.to_image(self.jitter(image)), torch.float32, scale=True)
        tensor = F.normalize(tensor, list(self.info.mean), list(self.info.std))
        return tensor, torch.from_numpy(np.array(label, dtype=np.int64))

    def _cropped(self, image: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        missing = [max(0, crop - side) for crop, side in zip(self.crop, target.shape, strict=True)]
        image = F.pad(image, [0, 0, missing[1], missing[0]])
        target = F.pad(target[None], [0, 0, missing[1], missing[0]], fill=255)[0]
        top = self.random.randint(0, target.shape[0] - self.crop[0])
        left = self.random.randint(0, target.shape[1] - self.crop[1])
        rows, columns = slice(top, top + self.crop[0]), slice(left, left + self.crop[1])
        return image[:, rows, columns].contiguous(), target[rows, columns].contiguous()


class _LeanLoop(_PlainLoop):
    """The same, but what is not in the crop is dropped right after the zoom."""

    def _sample(self, frame: Frame) -> tuple[Tensor, Tensor]:
        image, label = self._zoomed(frame)
        left, top = (
            self.random.randint(0, max(0, side - crop))
            for side, crop in zip(image.size, reversed(self.crop), strict=True)
        )
        box = (
            left,
            top,
            min(left + self.crop[1], image.width),
            min(top + self.crop[0], image.height),
        )
        return self._cropped(*self._tensors(image.crop(box), label.crop(box)))
