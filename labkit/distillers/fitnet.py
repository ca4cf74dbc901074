"""FitNet hints."""

from torch import Tensor

from labkit.distillers.base import FeatureDistiller
from labkit.method import Outputs


class FitNet(FeatureDistiller):
    """Mean squared difference of features.

    (A f - g)^2, mean over N, C and positions; A is a 1x1 convolution without bias.

    Args:
        stage: encoder stage, finest first; -1 is the last.

    Source: Romero et al. 2015, arXiv 1412.6550; weight 10 as CIRKD's code.
    Differs: A exists only where the widths differ. Tap: encoder stage.
    """

    def __init__(
        self, student: Outputs, teacher: Outputs, *, weight: float = 10.0, stage: int = -1
    ) -> None:
        super().__init__(student, teacher, weight=weight, stage=stage, same_width=True)

    def loss(self, student: Outputs, teacher: Outputs, target: Tensor) -> Tensor:
        f, g = self.feature_pair(student, teacher)
        return (f - g).square().mean()
