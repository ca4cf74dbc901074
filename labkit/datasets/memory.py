"""Frames kept in memory, where the whole split fits a budget."""

import torch

from labkit.datasets.base import Sample, Split, SplitOver
from labkit.errors import DataError, SettingsError

BUDGET = 2**30  # bytes; a frame takes 4 per pixel: three of the image, one of the target


class KeptSplit(SplitOver):
    """A split whose frames are read once and kept as uint8 on a device.

    Worker processes share what `fill` has read: they are forked from this process, and the pages
    are never written again.
    """

    def __init__(self, split: Split, device: torch.device | str = "cpu") -> None:
        super().__init__(split)
        self.device = device
        self._kept: dict[int, Sample] = {}

    def read_bytes(self, index: int) -> Sample:
        """Return a frame with its target as uint8."""
        if index not in self._kept:
            image, target = self.split[index]
            frame = Sample(image.contiguous(), target.to(torch.uint8))
            self._kept[index] = Sample(*(values.to(self.device) for values in frame))
        return self._kept[index]

    def fill(self) -> None:
        """Read every frame, before worker processes are forked."""
        for index in range(len(self)):
            self.read_bytes(index)


def resident_split(split: Split, device: torch.device) -> KeptSplit:
    """Return a split that keeps every frame on a device, after its first use.

    Raises:
        SettingsError: the frames take more than 1 GiB, or on CUDA more than half of what is free.
    """
    budget = torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else BUDGET
    if not fits_memory(split, budget):
        raise SettingsError(
            f"setting resident: got yes; {len(split)} frames take more than the "
            f"{budget / 2**30:.1f} GiB that {device.type} has for them. Use resident=no.",
            names=["resident"],
        )
    return KeptSplit(split, device)


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
