"""Frames kept in memory, where the whole split fits a budget."""

from pathlib import Path

import torch
from torch import Tensor

from labkit.datasets.base import Sample, Split
from labkit.errors import DataError

BUDGET = 2**30  # bytes; a frame takes 4 per pixel: three of the image, one of the target


class KeptSplit:
    """A split whose frames are read once and kept as uint8.

    Worker processes share what `fill` has read: they are forked from this process, and the pages
    are never written again.
    """

    def __init__(self, split: Split) -> None:
        self.split = split
        self.note: str = getattr(split, "note", "")
        self._kept: dict[int, Sample] = {}

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> Sample:
        image, target = self.read_bytes(index)
        return Sample(image, target.long())

    def read_bytes(self, index: int) -> Sample:
        """Return a frame with its target as uint8."""
        if index not in self._kept:
            image, target = self.split[index]
            self._kept[index] = Sample(image.contiguous(), target.to(torch.uint8))
        return self._kept[index]

    def target(self, index: int) -> Tensor:
        """Return a frame's target alone, (H, W) int64, 255 = void."""
        return self[index].target

    def fill(self) -> None:
        """Read every frame, before worker processes are forked."""
        for index in range(len(self)):
            self.read_bytes(index)

    def frame_name(self, index: int) -> str:
        return self.split.frame_name(index)

    def size(self, index: int) -> tuple[int, int]:
        return self.split.size(index)

    def files(self, index: int) -> tuple[Path, ...]:
        return self.split.files(index)

    def check(self, index: int) -> None:
        self.split.check(index)


def fits_memory(split: Split, budget: int = BUDGET) -> bool:
    """Return whether all frames together take at most `budget` bytes; stops at the first excess."""
    total = 0
    for index in range(len(split)):
        try:
            height, width = split.size(index)
        except DataError:  # reading the frame will report it
            continue
        total += 4 * height * width
        if total > budget:
            return False
    return True
