"""Batches. Order and augmentation are functions of (seed, step, slot), whatever the number of workers."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from labkit.datasets._info import DatasetInfo, Sample, Split
from labkit.lnm import IGNORE_INDEX
from labkit.streams import stream_generator, stream_seed


class Batch(NamedTuple):
    """Images are normalised; `index` is the position in the split."""

    images: Tensor  # (N, 3, H, W) float32
    target: Tensor  # (N, H, W) int64, 255 = void
    index: Tensor  # (N,) int64
    foreign_target: Tensor | None = None  # (N, H, W), evaluation only: the label of frame (i + n//2) mod n

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        return Batch(*(None if value is None else value.to(device, non_blocking=True) for value in self))


def joint_augmentation(info: DatasetInfo, *, crop: tuple[int, int], scale: tuple[float, float], brightness: float) -> v2.Transform:
    """Random zoom, crop (padded with the mean colour and void), flip and brightness, of image and target together.

    Args:
        crop: height, width in pixels.
        scale: range of the zoom; (1, 1) = none.
        brightness: jitter as a fraction; 0 = none.
    """
    mean_colour = [round(255 * value) for value in info.mean]
    fill = {tv_tensors.Image: mean_colour, tv_tensors.Mask: IGNORE_INDEX}
    zoom = [_RandomZoom(scale)] if scale != (1, 1) else []
    jitter = [v2.ColorJitter(brightness=brightness)] if brightness else []
    cut = v2.RandomCrop(crop, pad_if_needed=True, fill=fill)
    return v2.Compose([*zoom, cut, v2.RandomHorizontalFlip(), *jitter])


class _RandomZoom(v2.Transform):
    """Resize by one random factor (torchvision's ScaleJitter needs the image's size beforehand)."""

    def __init__(self, scale: tuple[float, float]) -> None:
        super().__init__()
        self.scale = scale

    def make_params(self, flat_inputs: list) -> dict:
        height, width = flat_inputs[0].shape[-2:]
        factor = torch.empty(()).uniform_(*self.scale).item()
        return {"size": [max(1, round(height * factor)), max(1, round(width * factor))]}

    def transform(self, inpt, params: dict):
        return v2.functional.resize(inpt, params["size"], antialias=True)


class TrainBatches(Dataset):
    """Item `step` is the whole batch of that optimiser step. Every epoch is one permutation of the split."""

    def __init__(self, split: Split, info: DatasetInfo, augmentation: v2.Transform, *, batch_size: int, seed: int) -> None:
        self.split, self.info, self.augmentation = split, info, augmentation
        self.batch_size, self.seed = batch_size, seed

    def __getitem__(self, step: int) -> Batch:
        places = range(step * self.batch_size, (step + 1) * self.batch_size)
        index = [self._frame(place) for place in places]
        samples = [self._augmented(self.split[i], step, slot) for slot, i in enumerate(index)]
        return _collate(samples, index, self.info)

    def loader(self, *, start: int, steps: int, workers: int) -> DataLoader:
        """Batches of the steps start..steps-1 in order."""
        order = stream_generator("loader", self.seed)  # drawn from by the loader for its workers; else the global one would be
        return DataLoader(self, batch_size=None, sampler=range(start, steps), num_workers=workers, generator=order)

    def _frame(self, place: int) -> int:
        epoch, position = divmod(place, len(self.split))
        order = stream_generator("order", self.seed, epoch)
        return int(torch.randperm(len(self.split), generator=order)[position])

    def _augmented(self, sample: Sample, step: int, slot: int) -> Sample:
        with torch.random.fork_rng(devices=[]):  # v2 transforms take no generator
            torch.default_generator.manual_seed(stream_seed("augment", self.seed, step, slot))
            image, target = self.augmentation(tv_tensors.Image(sample.image), tv_tensors.Mask(sample.target))
        return Sample(image.as_subclass(Tensor), target.as_subclass(Tensor))


def frames_batch(split: Split, info: DatasetInfo, index: Sequence[int]) -> Batch:
    """Chosen frames, whole and unaugmented, with their foreign labels."""
    foreign = [split[(i + len(split) // 2) % len(split)].target for i in index]
    return _collate([split[i] for i in index], index, info)._replace(foreign_target=torch.stack(foreign))


def evaluation_batches(split: Split, info: DatasetInfo, *, batch_size: int) -> Iterator[Batch]:
    """Every frame once, in order."""
    for start in range(0, len(split), batch_size):
        yield frames_batch(split, info, range(start, min(start + batch_size, len(split))))


def _collate(samples: list[Sample], index: Sequence[int], info: DatasetInfo) -> Batch:
    images = torch.stack([info.normalised(sample.image) for sample in samples])
    return Batch(images, torch.stack([sample.target for sample in samples]), torch.tensor(list(index)))
