"""Types that every data set shares: facts, samples and splits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Sample(NamedTuple):
    """One frame at its native size, before any augmentation."""

    image: Tensor  # (3, H, W) uint8, RGB
    target: Tensor  # (H, W) int64, 255 = void


class Split(Protocol):
    """A sequence of samples in a fixed order."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...

    def frame_name(self, index: int) -> str:
        """Name of a frame, unique within the split."""
        ...

    def size(self, index: int) -> tuple[int, int]:
        """Native (height, width) of a frame in pixels; reads no pixel."""
        ...

    def files(self, index: int) -> tuple[Path, ...]:
        """Files a frame is read from; () for a generated frame."""
        ...

    def check(self, index: int) -> None:
        """Read and validate one frame.

        Raises:
            DataError: the fault, with the file's name.
        """
        ...


class SplitOver:
    """A split that reads the frames of another from memory or from a cache.

    Subclasses define `read_bytes`.
    """

    def __init__(self, split: Split) -> None:
        self.split = split
        self.note: str = getattr(split, "note", "")

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> Sample:
        image, target = self.read_bytes(index)
        return Sample(image, target.long())

    def read_bytes(self, index: int) -> Sample:
        """Return a frame with its target as uint8."""
        raise NotImplementedError

    def target(self, index: int) -> Tensor:
        """Return a frame's target alone, (H, W) int64, 255 = void."""
        return self.read_bytes(index).target.long()

    def frame_name(self, index: int) -> str:
        return self.split.frame_name(index)

    def size(self, index: int) -> tuple[int, int]:
        return self.split.size(index)

    def files(self, index: int) -> tuple[Path, ...]:
        return self.split.files(index)

    def check(self, index: int) -> None:
        self.split.check(index)


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """Facts of a data set. Void is 255 in every target, whatever the files hold.

    Attributes:
        palette: RGB per class, 0-255.
        mean, std: of RGB in 0-1; a network reads (image / 255 - mean) / std.
        recipes: by name; each holds overrides of settings ("teacher.x" for one role alone).
        is_video: neighbouring frames resemble each other.
        splits: names of the splits.
        sizes: published number of frames by split; empty for a set of any size.
        source: where the data comes from.
        terms: under which terms it may be used.
        layout: the files expected below the data folder.
        test_is_scored: False where the labels of the test split are not public.
        contains: data sets whose images are in the training split of this one; a network trained on
            this set must not be scored on them.
        label_table: 256 entries, value in label files -> class (see `id_table`), where the user
            wrote it and it is part of a run's data; else empty.
    """

    name: str
    class_names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    recipes: Mapping[str, Mapping[str, Any]]
    is_video: bool
    splits: tuple[str, ...] = ("train", "val", "test")
    sizes: Mapping[str, int] = field(default_factory=dict)
    source: str = ""
    terms: str = ""
    layout: str = ""
    test_is_scored: bool = True
    contains: frozenset[str] = frozenset()
    label_table: bytes = b""

    @property
    def num_classes(self) -> int:
        """Number of classes, without void."""
        return len(self.class_names)

    def normalised(self, images: Tensor, *, out: Tensor | None = None) -> Tensor:
        """Return uint8 RGB (..., 3, H, W) as a network reads it, float32; written to `out`."""
        mean, std = self._statistics(images.device)
        out = torch.empty(images.shape, device=images.device) if out is None else out
        return out.copy_(images).div_(255).sub_(mean).div_(std)

    def pixels(self, images: Tensor) -> Tensor:
        """Return normalised images (..., 3, H, W) as uint8 RGB."""
        mean, std = self._statistics(images.device)
        return (255 * (images * std + mean)).round().clamp(0, 255).to(torch.uint8)

    def category(self, name: str) -> str:
        """Return the class to look at: the one named, or for "" car, else the first class."""
        return name or ("car" if "car" in self.class_names else self.class_names[0])

    def class_id(self, name: str) -> int:
        """Return the id of a class.

        Raises:
            ValueError: no such class; the message lists what exists.
        """
        if name not in self.class_names:
            raise ValueError(
                f"{self.name}: no class {name!r}; it has {', '.join(self.class_names)}."
            )
        return self.class_names.index(name)

    def _statistics(self, device: torch.device) -> tuple[Tensor, Tensor]:
        return _per_channel(self.mean, device), _per_channel(self.std, device)


@lru_cache(maxsize=64)
def _per_channel(values: tuple[float, float, float], device: torch.device) -> Tensor:
    """(3, 1, 1) on a device; kept, because the copy to it makes the host wait."""
    return torch.tensor(values, device=device).view(3, 1, 1)
