"""Batches for training and scoring.

Order and augmentation are functions of (seed, step, slot), whatever the number of workers.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from labkit.datasets.augment import augment
from labkit.datasets.base import DatasetInfo, Sample, Split
from labkit.method.seeding import stream_generator, stream_seed


class Batch(NamedTuple):
    """Augmented crops for training."""

    images: Tensor  # (N, 3, H, W) float32, normalised
    target: Tensor  # (N, H, W) int64, 255 = void
    index: Tensor  # (N,) int64, positions in the split

    def to(self, device: torch.device) -> "Batch":
        """Return the same batch on a device."""
        return Batch(*(value.to(device, non_blocking=True) for value in self))


class ScoringBatch(NamedTuple):
    """Whole frames of one size; images may be resized, `target` never is."""

    images: Tensor  # (N, 3, h, w) float32, normalised
    target: Tensor  # (N, H, W) int64 at native size, 255 = void
    label: Tensor  # (N, h, w) int64, the target at the images' size (nearest)
    foreign_label: Tensor | None  # (N, h, w) int64, the label of frame (i + n//2) mod n
    index: Tensor  # (N,) int64, positions in the split

    def to(self, device: torch.device) -> "ScoringBatch":
        """Return the same batch on a device."""
        moved = (None if v is None else v.to(device, non_blocking=True) for v in self)
        return ScoringBatch(*moved)


class TrainBatches(Dataset):
    """Item `step` is the batch of that optimiser step. Each epoch is one permutation of the split.

    Args:
        resize: size of an image before the random zoom, see `scoring_size`.
        crop: height, width in pixels.
        scale: range of the random zoom; (1, 1) = none.
        brightness: jitter as a fraction; 0 = none.
    """

    def __init__(
        self,
        split: Split,
        info: DatasetInfo,
        *,
        resize: str = "native",
        crop: tuple[int, int],
        scale: tuple[float, float] = (1, 1),
        brightness: float = 0,
        batch_size: int,
        seed: int,
    ) -> None:
        self.split, self.info = split, info
        self.resize, self.crop, self.scale, self.brightness = resize, crop, scale, brightness
        self.batch_size, self.seed = batch_size, seed
        self.slots = range(batch_size)  # those of a batch that are made here
        self._orders: dict[int, Tensor] = {}  # of the last two epochs

    def __getitem__(self, step: int) -> Batch:
        first = step * self.batch_size
        index = [self._frame(first + slot) for slot in self.slots]
        device = getattr(self.split, "device", "cpu")
        images = torch.empty(len(index), 3, *self.crop, device=device)
        target = torch.empty(len(index), *self.crop, dtype=torch.int64, device=device)
        for n, (i, slot) in enumerate(zip(index, self.slots, strict=True)):
            sample = self._augmented(i, step, slot)
            self.info.normalised(sample.image, out=images[n])
            target[n] = sample.target
        return Batch(images, target, torch.tensor(index))

    def loader(self, *, start: int, steps: int, workers: int = 0) -> DataLoader:
        """Return the batches of the steps start..steps-1, in order."""
        _fill(self.split, workers)
        return DataLoader(
            self,
            batch_size=None,
            sampler=range(start, steps),
            num_workers=workers,
            generator=_loader_generator(self.seed),
        )

    def _frame(self, position: int) -> int:
        epoch, position = divmod(position, len(self.split))
        if epoch not in self._orders:
            generator = stream_generator("order", self.seed, epoch)
            self._orders[epoch] = torch.randperm(len(self.split), generator=generator)
            self._orders.pop(epoch - 2, None)
        return int(self._orders[epoch][position])

    def _augmented(self, index: int, step: int, slot: int) -> Sample:
        sample = _bytes(self.split, index)
        return augment(
            sample,
            size=scoring_size(self.resize, tuple(sample.target.shape)),
            crop=self.crop,
            scale=self.scale,
            brightness=self.brightness,
            fill=tuple(round(255 * value) for value in self.info.mean),
            generator=torch.Generator().manual_seed(stream_seed("augment", self.seed, step, slot)),
        )


def scoring_size(resize: str, size: tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) of an image after resizing.

    Args:
        resize: "native", "short:512" (the short side becomes 512 pixels) or "180x240" (height x
            width).
        size: native (height, width).
    """
    if resize == "native":
        return size
    if resize.startswith("short:"):
        factor = int(resize.removeprefix("short:")) / min(size)
        return int(size[0] * factor + 0.5), int(size[1] * factor + 0.5)
    height, width = resize.split("x")
    return int(height), int(width)


def foreign_index(index: int, frames: int) -> int:
    """Return the frame whose label is the foreign label of frame `index`."""
    return (index + frames // 2) % frames


def frames_batch(
    split: Split,
    info: DatasetInfo,
    index: Sequence[int],
    *,
    resize: str = "native",
    foreign: bool = True,
) -> ScoringBatch:
    """Return chosen frames of one native size, whole, with their foreign labels.

    A split of one frame has no foreign label.
    """
    index = [int(i) for i in index]
    samples = [split[i] for i in index]
    target = torch.stack([sample.target for sample in samples])
    size = scoring_size(resize, tuple(target.shape[1:]))
    images = torch.stack([resize_image(sample.image, size) for sample in samples])
    foreign_label = None
    if foreign and len(split) > 1:
        others = [_target(split, foreign_index(i, len(split))) for i in index]
        foreign_label = torch.stack([resize_label(other, size) for other in others])
    return ScoringBatch(
        images=info.normalised(images),
        target=target,
        label=resize_label(target, size),
        foreign_label=foreign_label,
        index=torch.tensor(index),
    )


def scoring_batches(
    split: Split,
    info: DatasetInfo,
    *,
    resize: str = "native",
    batch_size: int,
    foreign: bool,
    workers: int = 0,
) -> Iterator[ScoringBatch]:
    """Yield every frame once, in order; consecutive frames of equal size come together.

    Args:
        batch_size: frames together at most.
        foreign: whether foreign labels are read.
        workers: processes that load; cannot change a batch.
    """
    index = equal_size_groups(split, range(len(split)), at_most=batch_size)
    groups = _ScoringGroups(split, info, resize, foreign, index)
    if not workers:
        yield from (groups[i] for i in range(len(groups)))
        return
    _fill(split, workers)
    yield from DataLoader(
        groups, batch_size=None, num_workers=workers, generator=_loader_generator(0)
    )


def equal_size_groups(split: Split, index: Iterable[int], *, at_most: int) -> list[list[int]]:
    """Return positions in order; consecutive frames of equal size together, limited in number."""
    groups: list[list[int]] = []
    previous = None
    for i in index:
        size = split.size(i)
        if size != previous or len(groups[-1]) == at_most:
            groups.append([])
        groups[-1].append(i)
        previous = size
    return groups


def resize_image(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Return uint8 images (..., 3, H, W) at another size, bilinear with antialiasing."""
    if tuple(image.shape[-2:]) == size:
        return image
    from torchvision.transforms.v2 import functional  # a second to load, and not to plan a run

    return functional.resize(image, list(size), antialias=True)


def resize_label(label: Tensor, size: tuple[int, int]) -> Tensor:
    """Return labels (N, H, W) or (H, W) at another size; ids are never interpolated."""
    if tuple(label.shape[-2:]) == size:
        return label
    from torchvision.transforms.v2 import InterpolationMode, functional

    planes = label[None] if label.ndim == 2 else label
    nearest = InterpolationMode.NEAREST_EXACT
    planes = functional.resize(planes, list(size), interpolation=nearest)
    return planes[0] if label.ndim == 2 else planes


class _ScoringGroups(Dataset):
    """Item i is the scoring batch of group i."""

    def __init__(
        self, split: Split, info: DatasetInfo, resize: str, foreign: bool, groups: list[list[int]]
    ) -> None:
        self.split, self.info, self.resize = split, info, resize
        self.foreign, self.groups = foreign, groups

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, group: int) -> ScoringBatch:
        index = self.groups[group]
        return frames_batch(self.split, self.info, index, resize=self.resize, foreign=self.foreign)


def _bytes(split: Split, index: int) -> Sample:
    """A frame whose target is uint8 where the split has it so: cropped first, widened later."""
    read = getattr(split, "read_bytes", None)
    return read(index) if read else split[index]


def _target(split: Split, index: int) -> Tensor:
    """Target of a frame; splits that can read it without the image do."""
    read = getattr(split, "target", None)
    return read(index) if read else split[index].target


def _fill(split: Split, workers: int) -> None:
    """Let worker processes share the frames that are kept in memory."""
    fill = getattr(split, "fill", None)
    if workers and fill:
        fill()


def _loader_generator(seed: int) -> torch.Generator:
    """Generator a DataLoader seeds its workers from, in place of the global one."""
    return stream_generator("loader", seed)
