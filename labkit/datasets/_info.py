"""The shapes every data set shares."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from labkit.config import Recipe


class DataError(ValueError):
    """Data that is missing or not what it should be. The message names file, found, expected and what to do."""


class Sample(NamedTuple):
    """One frame before any augmentation."""

    image: Tensor  # (3, H, W) uint8, RGB
    target: Tensor  # (H, W) int64, 255 = void


class Split(Protocol):
    """A sequence of samples; `frame_name(i)` says which frame it is."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Sample: ...
    def frame_name(self, index: int) -> str: ...


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """Facts of a data set. Void is 255 in every target, whatever the files use."""

    name: str
    class_names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]  # RGB per class
    mean: tuple[float, float, float]  # of RGB in 0-1
    std: tuple[float, float, float]
    recipes: dict[str, Recipe]
    is_video: bool  # neighbouring frames resemble each other
    splits: tuple[str, ...] = ("train", "val", "test")

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def pixels(self, images: Tensor) -> Tensor:
        """Normalised images (..., 3, H, W) back to uint8 RGB."""
        mean, std = (torch.tensor(values, device=images.device).view(3, 1, 1) for values in (self.mean, self.std))
        return (255 * (images * std + mean)).round().clamp(0, 255).to(torch.uint8)

    def normalised(self, image: Tensor) -> Tensor:
        """uint8 RGB (..., 3, H, W) as a network reads it, float32."""
        mean, std = (torch.tensor(values, device=image.device).view(3, 1, 1) for values in (self.mean, self.std))
        return (image.float() / 255 - mean) / std

    def class_id(self, name: str) -> int:
        """Id of a class by name; a ValueError lists what exists."""
        if name not in self.class_names:
            raise ValueError(f"{self.name}: no class {name!r}; it has {', '.join(self.class_names)}.")
        return self.class_names.index(name)
