"""Intra-class feature variation distillation."""

from torch import Tensor

from labkit.distillers.base import (
    FeatureDistiller,
    class_membership,
    mean_of_kept,
    target_at_size,
    unit_vectors,
)
from labkit.method import IGNORE_INDEX, Outputs


class IntraClassVariation(FeatureDistiller):
    """Compares how far pixels are from the centre of their class.

    mu = mean of the features of the same class in the same image; (cos(f, mu_f) - cos(g, mu_g))^2,
    mean over labelled pixels. Labels are nearest on the feature grid. A zero vector has cosine 0.
    Widths may differ.

    Args:
        stage: encoder stage, finest first; -1 is the last.

    Source: Wang et al. 2020, arXiv 2007.07018; weight 20 as CIRKD's code (200 upstream).
    Differs: void pixels are left out of the mean (upstream counts them with value 0). Tap: encoder
    stage.
    """

    def __init__(
        self, student: Outputs, teacher: Outputs, *, weight: float = 20.0, stage: int = -1
    ) -> None:
        super().__init__(student, teacher, weight=weight, stage=stage, same_width=False)

    def loss(self, student: Outputs, teacher: Outputs, target: Tensor) -> Tensor:
        f, g = self.feature_pair(student, teacher)
        ids = target_at_size(target, (f.shape[2], f.shape[3]))
        member = class_membership(ids, student.logits.shape[1], f.dtype)
        difference = (_cosine_to_centre(f, member) - _cosine_to_centre(g, member)).square()
        return mean_of_kept(difference.view_as(ids), ids != IGNORE_INDEX)


def _cosine_to_centre(features: Tensor, member: Tensor) -> Tensor:
    """(N, h*w) cosine of each position to its class's mean; void positions give 0.

    Args:
        features: (N, C, h, w).
        member: (N, K, h*w), 1 where the position is of the class.
    """
    features = features.flatten(2)
    count = member.sum(2).clamp(min=1)  # (N, K)
    centres = features @ member.transpose(1, 2) / count.unsqueeze(1)  # (N, C, K)
    own_centre = centres @ member  # (N, C, h*w)
    return (unit_vectors(features, 1) * unit_vectors(own_centre, 1)).sum(1)
