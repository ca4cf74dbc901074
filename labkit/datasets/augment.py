"""Random zoom, crop, flip and brightness of one frame, image and target together."""

import torch
from torch import Generator, Tensor

from labkit.datasets.base import Sample
from labkit.method.noising import IGNORE_INDEX


def augment(
    sample: Sample,
    *,
    size: tuple[int, int],
    crop: tuple[int, int],
    scale: tuple[float, float],
    brightness: float,
    fill: tuple[int, int, int],
    generator: Generator,
) -> Sample:
    """Return a random crop of the zoomed frame, flipped half of the time.

    Only the window that the crop shows is resized, so that its borders fall on whole pixels of the
    frame: the zoom of a crop differs from the one drawn by less than one pixel per side.

    Args:
        size: (height, width) of the frame at zoom 1.
        crop: (height, width) of the result; a smaller frame is padded at a random position.
        scale: range of the zoom; (1, 1) = none is drawn.
        brightness: the image is multiplied by a factor from 1 - brightness to 1 + brightness.
        fill: RGB of the padding, 0-255; the target's padding is void.

    Returns:
        image (3, crop) uint8, target (crop) of the sample's type.
    """
    from torchvision.transforms.v2 import InterpolationMode, functional

    zoom = _uniform(scale, generator) if tuple(scale) != (1, 1) else 1.0
    zoomed = [max(1, round(side * zoom)) for side in size]
    windows = [
        _window(native, full, wanted, generator)
        for native, full, wanted in zip(sample.target.shape, zoomed, crop, strict=True)
    ]
    (top, height, rows, above), (left, width, columns, before) = windows
    image = sample.image[:, top : top + height, left : left + width]
    target = sample.target[None, top : top + height, left : left + width]
    if (height, width) != (rows, columns):
        nearest = InterpolationMode.NEAREST_EXACT
        image = functional.resize(image, [rows, columns], antialias=True)
        target = functional.resize(target, [rows, columns], interpolation=nearest)
    if (rows, columns) != tuple(crop):
        padding = [before, above, crop[1] - columns - before, crop[0] - rows - above]
        image = functional.pad(image, padding, fill=list(fill))
        target = functional.pad(target, padding, fill=IGNORE_INDEX)
    if torch.rand(1, generator=generator) < 0.5:
        image, target = image.flip(-1), target.flip(-1)
    if brightness:
        image = _brightened(image, brightness, generator)
    return Sample(image, target[0])


def _window(native: int, zoomed: int, crop: int, generator: Generator) -> tuple[int, int, int, int]:
    """Draw the part of one side that the crop shows.

    Returns:
        first pixel and length in the frame, length after the zoom, padding before it.
    """
    if zoomed <= crop:
        return 0, native, zoomed, crop - zoomed - _randint(crop - zoomed, generator)
    length = min(native, max(1, round(crop * native / zoomed)))
    return _randint(native - length, generator), length, crop, 0


def _randint(largest: int, generator: Generator) -> int:
    """A whole number from 0 to `largest`; nothing is drawn where that is 0."""
    return int(torch.randint(0, largest + 1, (), generator=generator)) if largest else 0


def _uniform(limits: tuple[float, float], generator: Generator) -> float:
    return torch.empty(()).uniform_(*limits, generator=generator).item()


def _brightened(image: Tensor, brightness: float, generator: Generator) -> Tensor:
    """The draws of torchvision's ColorJitter, whose order of colour changes is one of them."""
    from torchvision.transforms.v2 import functional

    torch.randperm(4, generator=generator)
    return functional.adjust_brightness(
        image, _uniform((1 - brightness, 1 + brightness), generator)
    )
