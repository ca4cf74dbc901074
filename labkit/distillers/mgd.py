"""Masked generative distillation."""

import torch
from torch import Tensor, nn

from labkit.distillers.base import FeatureDistiller
from labkit.method import Outputs


class MaskedGeneration(FeatureDistiller):
    """The student's features, partly masked, must let a small network rebuild the teacher's.

    (G(M * A f) - g)^2, mean over N, C and positions; G = 3x3 convolution, ReLU, 3x3 convolution;
    M drops whole positions at random; A is a 1x1 convolution where the widths differ. Not 0 at
    equality: G must learn first.

    Args:
        stage: encoder stage, finest first; -1 is the last.
        drop: share of positions that M drops, 0 to 1.

    Source: Yang et al. 2022, arXiv 2205.01529.
    Differs: its code divides the sum by N alone. Weight 2e-5 there, at C = 2048 and n = 64 x 64,
    becomes 2e-5 * 2048 * 4096 = 168. Its segmentation recipe adds CWD on logits: "mgd+cwd:3".
    """

    def __init__(
        self,
        student: Outputs,
        teacher: Outputs,
        *,
        weight: float = 168.0,
        stage: int = -1,
        drop: float = 0.75,
    ) -> None:
        super().__init__(student, teacher, weight=weight, stage=stage, same_width=True)
        self.drop = checked_share(drop=drop)
        self.generation = generation_network(teacher.features[stage].shape[1])

    def loss(self, student: Outputs, teacher: Outputs, target: Tensor) -> Tensor:
        f, g = self.feature_pair(student, teacher)
        mask = position_mask(f, self.drop, self.generator(f.device))
        return (self.generation(mask * f) - g).square().mean()


def generation_network(width: int) -> nn.Sequential:
    """3x3 convolution, ReLU, 3x3 convolution, all of one width."""
    return nn.Sequential(
        nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)
    )


def position_mask(features: Tensor, drop: float, generator: torch.Generator) -> Tensor:
    """(N, 1, h, w) of 0 and 1; a position is dropped with probability `drop`."""
    shape = (len(features), 1, *features.shape[2:])
    kept = torch.rand(shape, generator=generator, device=features.device) >= drop
    return kept.to(features.dtype)


def checked_share(**share: float) -> float:
    """The one value given by name, if it is from 0 to 1.

    Raises:
        ValueError: it is not; the message names it.
    """
    ((name, value),) = share.items()
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value}; expected 0 to 1.")
    return value
