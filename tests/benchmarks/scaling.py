"""How cost grows: with pixels linearly, with the size of the data set not at all."""

import statistics
from collections.abc import Iterator
from pathlib import Path

import torch

from labkit.datasets import Sample, TrainBatches, dataset_info
from labkit.method import LabelNoising, channel_wise_distance, teacher_step
from labkit.networks import build_network
from tests.benchmarks.timing import budget_row, milliseconds, peak_megabytes, seconds_of, slope

SIDES = ((128, 256), (256, 256), (256, 512), (512, 512))
LARGE = ((256, 512), (512, 512), (512, 1024))  # for memory, beside which all else is small
FRAMES = (100, 1_000, 10_000, 100_000)
STEPS = 20


def scaling_rows() -> Iterator[dict]:
    """Slopes of log cost over log size."""
    pixels = [height * width for height, width in SIDES]
    steps = [_Step(height, width) for height, width in SIDES]
    size = f"2 images of {pixels[0]} to {pixels[-1]} pixels, small Unet"
    milli = milliseconds(*steps, repeat=3)
    yield budget_row(
        "teacher step, time over pixels", size, slope(pixels, milli), "1.0 +- 0.1", unit="slope"
    )
    pixels = [height * width for height, width in LARGE]
    memory = [peak_megabytes(_Step(height, width)) for height, width in LARGE]
    size = f"2 images of {pixels[0]} to {pixels[-1]} pixels, small Unet"
    name, grown = "teacher step, memory over pixels", slope(pixels, memory)
    yield budget_row(name, size, grown, "1.0 +- 0.1", unit="slope")
    size = f"{FRAMES[0]} to {FRAMES[-1]} frames, {STEPS} batches of 8 x 32 x 32"
    times = [_batch_milliseconds(frames) for frames in FRAMES]
    yield budget_row(
        "batch, time over frames of the data set",
        size,
        slope(FRAMES, times),
        "0.0 +- 0.1",
        unit="slope",
    )
    yield budget_row("batch of 100,000 frames, slowest", size, _slowest(FRAMES[-1]), 50)


class _Step:
    """Forward and backward of a teacher step at one size."""

    def __init__(self, height: int, width: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.network = build_network(
            "unet", "tu-mobilenetv3_small_100", num_classes=8, label_channels=1
        )
        self.network = self.network.train().to(memory_format=torch.channels_last)
        for parameter in self.network.parameters():
            parameter.grad = torch.zeros_like(parameter)  # no part of what grows
        self.images = torch.randn(2, 3, height, width, generator=generator)
        self.target = torch.randint(8, (2, height, width), generator=generator)

    def __call__(self) -> None:
        output = teacher_step(
            self.network,
            self.images,
            self.target,
            LabelNoising(num_classes=8),
            generator=torch.Generator().manual_seed(0),
            consistency_weight=0.1,
            distance=channel_wise_distance,
            temperature=4.0,
        )
        output.loss.backward()
        self.network.zero_grad(set_to_none=False)


class _OneFrame:
    """A split of any length whose frames are all the same small one, in memory."""

    def __init__(self, frames: int) -> None:
        self.frames = frames
        self.sample = Sample(torch.zeros(3, 32, 32, dtype=torch.uint8), torch.zeros(32, 32).long())

    def __len__(self) -> int:
        return self.frames

    def __getitem__(self, index: int) -> Sample:
        return self.sample

    def frame_name(self, index: int) -> str:
        return str(index)

    def size(self, index: int) -> tuple[int, int]:
        return 32, 32

    def files(self, index: int) -> tuple[Path, ...]:
        return ()

    def check(self, index: int) -> None:
        """Nothing to check."""


def _batches(frames: int) -> TrainBatches:
    options = {"crop": (32, 32), "batch_size": 8, "seed": 0}
    return TrainBatches(_OneFrame(frames), dataset_info("streets"), **options)


def _batch_milliseconds(frames: int) -> float:
    """Median time of a batch once the order of the epoch is known."""
    batches = _batches(frames)
    return 1000 * statistics.median(seconds_of(lambda s=s: batches[s]) for s in range(STEPS))


def _slowest(frames: int) -> float:
    """The slowest of the first batches: one of them draws the order of the epoch."""
    batches = _batches(frames)
    return 1000 * max(seconds_of(lambda s=s: batches[s]) for s in range(STEPS))
