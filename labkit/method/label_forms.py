"""Other label channels than class codes: the label's edges alone, and its regions alone."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import label
from torch import Tensor

from labkit.method.noising import LabelNoising


@dataclass(frozen=True, kw_only=True)
class EdgeNoising(LabelNoising):
    """label_channel(p) = label_scale * (edge(p) + e(p)); edge is 1 beside another id, else 0.

    Both sides of an edge are 1; void is an id of its own. There are no class codes.
    """

    def __call__(self, target: Tensor, *, generator: torch.Generator) -> Tensor:
        ids = self._class_index(target)
        edges = torch.zeros_like(ids, dtype=torch.float32)
        below, right = ids[:, 1:] != ids[:, :-1], ids[:, :, 1:] != ids[:, :, :-1]
        for near, differs in (
            (edges[:, 1:], below),
            (edges[:, :-1], below),
            (edges[:, :, 1:], right),
            (edges[:, :, :-1], right),
        ):
            near.masked_fill_(differs, 1)
        return self._add_pixel_noise(edges.unsqueeze(1), generator)


@dataclass(frozen=True, kw_only=True)
class RegionNoising(LabelNoising):
    """label_channel(p) = label_scale * (w[region(p)] + e(p)), one code for each connected region.

    The partition is there and no class: two regions of one class have different codes. Reads the
    target back from the device.
    """

    def __call__(self, target: Tensor, *, generator: torch.Generator) -> Tensor:
        regions = connected_regions(self._class_index(target))
        shape = (len(target), self.label_channels, target[0].numel())  # no more regions than pixels
        codes = torch.randn(shape, generator=generator, device=generator.device)
        index = regions.flatten(1).unsqueeze(1).expand(shape)
        summed = codes.mul_(self.class_std).gather(2, index).unflatten(2, target.shape[1:])
        if self.void_policy == "zero":
            summed = summed.masked_fill((target == self.ignore_index).unsqueeze(1), 0)
        return self._add_pixel_noise(summed, generator)


def connected_regions(ids: Tensor) -> Tensor:
    """Numbers of the regions of equal ids, connected up, down, left and right.

    Computed on the CPU by SciPy, on a grid with a cell between every two neighbours.

    Args:
        ids: (N, H, W) int64.

    Returns:
        (N, H, W) int64 on the same device, from 0 in each image.
    """
    values = ids.cpu().numpy()
    n, height, width = values.shape
    linked = np.zeros((n, 2 * height - 1, 2 * width - 1), dtype=bool)
    linked[:, ::2, ::2] = True
    linked[:, 1::2, ::2] = values[:, 1:] == values[:, :-1]
    linked[:, ::2, 1::2] = values[:, :, 1:] == values[:, :, :-1]
    neighbours = np.zeros((3, 3, 3), dtype=bool)  # of one image alone
    neighbours[1, 1], neighbours[1, :, 1] = True, True
    numbers = label(linked, neighbours)[0][:, ::2, ::2]
    numbers = numbers - numbers.min((1, 2), keepdims=True)
    return torch.from_numpy(numbers.astype(np.int64)).to(ids.device)
