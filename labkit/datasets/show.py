"""Frames of a data set for a contact sheet."""

from dataclasses import dataclass

import torch
from torch import Tensor

from labkit.datasets import dataset_info, open_split


@dataclass(frozen=True)
class SheetFrame:
    """One frame of a contact sheet."""

    name: str
    image: Tensor  # (3, H, W) uint8, RGB
    target: Tensor  # (H, W) int64, 255 = void
    shares: dict[str, float]  # class name -> share of the labelled pixels, largest first


def sheet_frames(
    name: str, root: str = "", *, split: str = "val", count: int = 12
) -> list[SheetFrame]:
    """Return frames spread evenly over a split.

    Raises:
        SettingsError: no such data set.
        DataError: the data set is not there, or a file is malformed.
    """
    info, frames = dataset_info(name, root=root), open_split(name, split, root=root)
    count = min(count, len(frames))
    index = [(2 * i + 1) * len(frames) // (2 * count) for i in range(count)]
    return [_sheet_frame(info.class_names, frames.frame_name(i), *frames[i]) for i in index]


def _sheet_frame(names: tuple[str, ...], name: str, image: Tensor, target: Tensor) -> SheetFrame:
    pixels = torch.bincount(target.flatten(), minlength=256)[: len(names)]
    total = max(1, int(pixels.sum()))
    shares = {n: int(p) / total for n, p in zip(names, pixels, strict=True) if p}
    return SheetFrame(name, image, target, dict(sorted(shares.items(), key=lambda s: -s[1])))
