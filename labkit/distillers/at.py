"""Attention transfer."""

from torch import Tensor

from labkit.distillers.base import FeatureDistiller, unit_vectors
from labkit.method import Outputs


class AttentionTransfer(FeatureDistiller):
    """Compares where features are strong.

    a = mean over channels of f^2, as a vector over positions of length 1; |a_f - a_g|^2, mean over
    images: 0 to 2 at any resolution.

    Args:
        stage: encoder stage, finest first; -1 is the last.

    Source: Zagoruyko and Komodakis 2017, arXiv 1612.03928 (its code, squared norm).
    Differs: the code averages over positions too, so its value falls with 1/n. Weight 1e4 (CIRKD's
    code, at n = 64 x 128 = 8192) becomes 1e4 / 8192 = 1.22. Tap: encoder stage.
    """

    def __init__(
        self, student: Outputs, teacher: Outputs, *, weight: float = 1.22, stage: int = -1
    ) -> None:
        super().__init__(student, teacher, weight=weight, stage=stage, same_width=False)

    def loss(self, student: Outputs, teacher: Outputs, target: Tensor) -> Tensor:
        f, g = (attention_map(x) for x in self.feature_pair(student, teacher))
        return (f - g).square().sum(1).mean()


def attention_map(features: Tensor) -> Tensor:
    """(N, C, h, w) -> (N, h*w): mean square over channels, of length 1 over positions."""
    return unit_vectors(features.square().mean(1).flatten(1), 1)
