"""Augmentation-free dense contrastive distillation."""

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.distillers.base import FeatureDistiller, check_at_least
from labkit.distillers.mgd import checked_share, generation_network, position_mask
from labkit.method import Outputs


class DenseContrast(FeatureDistiller):
    """Masked regeneration, and a contrast between channel groups inside small patches.

    regeneration_weight * R + contrast_weight * C.
    R: as `mgd`: (G(M * A f) - g)^2, mean over N, C and positions.
    C: A f and g are max-pooled 4x4 and cut into patches of 4x4 positions and groups of channels.
    Per anchor (position, group) of the student: cross-entropy of the teacher's same position and
    group against the teacher's other groups at any position of the patch; similarity = -(mean
    absolute difference over the group's channels) / T; mean over anchors, in nats. Neither is 0 at
    equality. With one group (a prime width) C is 0. The largest tensor has N*h*w * groups^2
    elements.

    Args:
        regeneration_weight, contrast_weight: of the two parts.
        stage: encoder stage, finest first; -1 is the last.
        drop: share of positions that M drops, 0 to 1.
        groups: channel groups; the greatest divisor of the width up to it.
        pool, patch: sides in positions; patches are cut from the upper left, a rest of less than a
            patch takes no part (maps smaller than a patch are one patch).
        temperature: T.

    Source: Fan et al. 2023, NeurIPS, Augmentation-free Dense Contrastive Knowledge Distillation.
    Differs: its code sums: R over N alone (weight 1e-5 at C = 2048, n = 64 x 64 becomes 84), C over
    N and positions (.003 times 16 groups becomes .05). Its L1 is not divided by the channels of a
    group.
    """

    def __init__(
        self,
        student: Outputs,
        teacher: Outputs,
        *,
        weight: float = 1.0,
        regeneration_weight: float = 84.0,
        contrast_weight: float = 0.05,
        stage: int = -1,
        drop: float = 0.75,
        groups: int = 16,
        pool: int = 4,
        patch: int = 4,
        temperature: float = 0.07,
    ) -> None:
        super().__init__(student, teacher, weight=weight, stage=stage, same_width=True)
        check_at_least(0, regeneration_weight=regeneration_weight, contrast_weight=contrast_weight)
        check_at_least(1, groups=groups, pool=pool, patch=patch)
        check_at_least(1e-3, temperature=temperature)
        self.regeneration_weight = regeneration_weight
        self.contrast_weight = contrast_weight
        self.drop = checked_share(drop=drop)
        self.pool, self.patch, self.temperature = pool, patch, temperature
        width = teacher.features[stage].shape[1]
        self.groups = max(g for g in range(1, groups + 1) if width % g == 0)
        self.generation = generation_network(width)

    def loss(self, student: Outputs, teacher: Outputs, target: Tensor) -> Tensor:
        f, g = self.feature_pair(student, teacher)
        mask = position_mask(f, self.drop, self.generator(f.device))
        regeneration = (self.generation(mask * f) - g).square().mean()
        contrast = self._contrast(self._vectors(f), self._vectors(g))
        return self.regeneration_weight * regeneration + self.contrast_weight * contrast

    def _vectors(self, features: Tensor) -> Tensor:
        """(patches, positions * groups, C / groups) of the pooled features."""
        pooled = F.max_pool2d(features, self.pool, ceil_mode=True)
        n, channels, height, width = pooled.shape
        side_y, side_x = min(self.patch, height), min(self.patch, width)
        rows, columns = height // side_y, width // side_x
        patches = pooled[..., : rows * side_y, : columns * side_x].reshape(
            n, self.groups, channels // self.groups, rows, side_y, columns, side_x
        )
        patches = patches.permute(0, 3, 5, 4, 6, 1, 2)  # n, rows, columns, y, x, group, channel
        return patches.reshape(n * rows * columns, side_y * side_x * self.groups, -1)

    def _contrast(self, f: Tensor, g: Tensor) -> Tensor:
        distance = torch.cdist(f, g, p=1) / f.shape[2]  # (patches, anchors, candidates)
        index = torch.arange(f.shape[1], device=f.device)
        same_group = (index[:, None] - index) % self.groups == 0
        itself = index[:, None] == index
        similarity = (-distance / self.temperature).masked_fill(same_group & ~itself, -torch.inf)
        return -similarity.log_softmax(2).diagonal(dim1=1, dim2=2).mean()
