"""PKD: mean squared difference of standardised features."""

from torch import Tensor

from labkit.distillers.base import FeatureDistiller
from labkit.method import Outputs

EPSILON = 1e-6


class PearsonKD(FeatureDistiller):
    """Compares features up to each channel's mean and scale.

    z = features standardised per channel over all N*n positions of the batch (unbiased std, plus
    1e-6); (z_f - z_g)^2 / 2, mean over elements. With Pearson's r_c per channel and m = N*n this is
    mean_c (1 - r_c) (m - 1) / m.

    Args:
        stage: encoder stage, finest first; -1 is the last.

    Source: Cao et al. 2022, arXiv 2207.02039; weight 6 is its detection weight: no segmentation
    weight is public.
    Differs: a 1x1 adapter where the widths differ. Tap: encoder stage.
    """

    def __init__(
        self, student: Outputs, teacher: Outputs, *, weight: float = 6.0, stage: int = -1
    ) -> None:
        super().__init__(student, teacher, weight=weight, stage=stage, same_width=True)

    def loss(self, student: Outputs, teacher: Outputs, target: Tensor) -> Tensor:
        f, g = (_standardised(x) for x in self.feature_pair(student, teacher))
        return (f - g).square().mean() / 2


def _standardised(features: Tensor) -> Tensor:
    """(N, C, h, w) -> (C, N*h*w) with mean 0 and standard deviation 1 per channel."""
    values = features.transpose(0, 1).flatten(1)
    deviation = values.std(1, keepdim=True, correction=min(1, values.shape[1] - 1))
    return (values - values.mean(1, keepdim=True)) / (deviation + EPSILON)
