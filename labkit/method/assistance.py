"""Other ways to assist: label noisings built from a noising, and a teacher with changed answers.

Each is apart from the two steps of the method: a noising is a call (target, *, generator) ->
channels (N, C, H, W), a teacher is a module from images beside channels to Outputs.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy.ndimage import label
from torch import Tensor, nn

from labkit.method.noising import IGNORE_INDEX
from labkit.method.outputs import Outputs, at_least_float32, target_on_grid

Noising = Callable[..., Tensor]
RGB = 3  # channels of the image, before the label's


def repeat_noising(noising: Noising, times: int) -> Noising:
    """A noising that returns `times` independent noisings of one target: (N, times*C, H, W)."""

    def repeated(target: Tensor, *, generator: torch.Generator) -> Tensor:
        return torch.cat([noising(target, generator=generator) for _ in range(times)], dim=1)

    return repeated


def target_as_channel(target: Tensor, *, generator: torch.Generator) -> Tensor:
    """The class ids themselves as one channel, for `RegionMean`; nothing is drawn."""
    return target.unsqueeze(1).float()


class ChangedTeacher(nn.Module):
    """A frozen teacher in eval mode whose inputs or answers are changed.

    Attributes:
        label_channels: of its own inputs.
    """

    def __init__(self, teacher: nn.Module, *, label_channels: int) -> None:
        super().__init__()
        self.teacher, self.label_channels = teacher, label_channels


class MeanOverNoisings(ChangedTeacher):
    """Averages a teacher's answers over noisings that lie side by side in its input.

    Logits are those of the mean probability, see `mean_logits`; features are averaged.
    """

    def __init__(self, teacher: nn.Module, times: int) -> None:
        super().__init__(teacher, label_channels=times * teacher.label_channels)
        self.times = times

    def forward(self, inputs: Tensor) -> Outputs:
        images, channels = inputs[:, :RGB], inputs[:, RGB:]
        answers = [
            self.teacher(torch.cat([images, part], dim=1))
            for part in channels.chunk(self.times, dim=1)
        ]
        logits = mean_logits(torch.stack([answer.logits for answer in answers]))
        stages = zip(*(answer.features for answer in answers), strict=True)
        features = tuple(torch.stack(stage).mean(0) for stage in stages)
        return answers[0]._replace(logits=logits, features=features)


class RegionMean(ChangedTeacher):
    """Averages a plain teacher's answer over each region of the label, which is its channel 4.

    Regions are connected positions of one class on the grid of the logits; void stays as it is.
    Logits are those of the mean probability, as of `mean_logits`. Reads the label back from the
    device.
    """

    def __init__(self, teacher: nn.Module) -> None:
        super().__init__(teacher, label_channels=1)

    def forward(self, inputs: Tensor) -> Outputs:
        outputs = self.teacher(inputs[:, :RGB])
        target = inputs[:, RGB].long()
        ids = target_on_grid(target, outputs.stride, tuple(outputs.logits.shape[2:]))
        return outputs._replace(logits=_mean_over_regions(outputs.logits, ids))


def _mean_over_regions(logits: Tensor, ids: Tensor) -> Tensor:
    """(N, K, h, w) logits of the mean probability in each connected region of (N, h, w) ids."""
    logits = at_least_float32(logits)
    taken_off = logits.logsumexp(1, keepdim=True)
    values = torch.cat([logits.softmax(1), taken_off], dim=1).flatten(2)  # (N, K+1, h*w)
    index = connected_regions(ids).flatten(1).unsqueeze(1)
    sums = torch.zeros_like(values).scatter_add_(2, index.expand_as(values), values)
    counts = torch.zeros_like(values[:, :1]).scatter_add_(2, index, torch.ones_like(values[:, :1]))
    means = (sums / counts.clamp(min=1)).gather(2, index.expand_as(values))
    means = means.unflatten(2, logits.shape[2:])
    averaged = means[:, :-1].clamp(min=1e-30).log() + means[:, -1:]
    return torch.where((ids == IGNORE_INDEX).unsqueeze(1), logits, averaged)


def mean_logits(logits: Tensor) -> Tensor:
    """Logits of the mean of several answers' probabilities.

    Args:
        logits: (M, N, K, h, w), one answer each.

    Returns:
        (N, K, h, w) at least float32: the logarithm of the mean probability, plus the mean of
        what the softmax over classes took off. Equal answers give that answer, also where logits
        are compared over positions.
    """
    logits = at_least_float32(logits)
    taken_off = logits.logsumexp(2, keepdim=True)
    return (logits - taken_off).logsumexp(0) - math.log(len(logits)) + taken_off.mean(0)


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
