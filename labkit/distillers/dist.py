"""DIST: correlation instead of divergence."""

from torch import Tensor

from labkit.distillers.base import (
    Distiller,
    check_at_least,
    check_classes,
    check_logit_settings,
    logit_pair,
    unit_vectors,
)
from labkit.method import Outputs

LEAST_LENGTH = 1e-6  # of a centred probability vector; below it the gradient grows no further


class Dist(Distiller):
    """Correlates probabilities over classes and over pixels.

    inter * [1 - Pearson over the K classes, mean over pixels] + intra * [1 - Pearson over all N*n
    pixels of the batch, mean over classes], on softmax_k(x / T), times T^2. Each bracket is 0 to 2;
    a correlation that does not exist (nothing varies) counts as 0, so its bracket is 1.

    Args:
        inter: weight of the correlation over classes.
        intra: weight of the correlation over pixels.
        temperature: T, 0.001 to 1000.
        stride: finer logits are average-pooled to it, pixels.
        void: whether void pixels enter.

    Source: Huang et al. 2022, arXiv 2205.10536; 1 + 1, T 1 on logits.
    Differs: its segmentation recipe adds .4 of the same on auxiliary logits (a teacher in eval mode
    has none). No batch axis is correlated, as mmrazor and torchdistill do on 4-D tensors. The
    gradient at a student without preference is bounded by a least length of 1e-6.
    """

    def __init__(
        self,
        student: Outputs,
        teacher: Outputs,
        *,
        weight: float = 1.0,
        inter: float = 1.0,
        intra: float = 1.0,
        temperature: float = 1.0,
        stride: int = 1,
        void: bool = True,
    ) -> None:
        super().__init__(weight=weight)
        check_classes(student, teacher)
        check_logit_settings(temperature, stride)
        check_at_least(0, inter=inter, intra=intra)
        self.inter, self.intra = inter, intra
        self.temperature, self.stride, self.void = temperature, stride, void

    def loss(self, student: Outputs, teacher: Outputs, target: Tensor) -> Tensor:
        s, t, keep = logit_pair(student, teacher, target, stride=self.stride, void=self.void)
        s, t = ((x / self.temperature).softmax(1).movedim(1, -1).flatten(0, 2) for x in (s, t))
        taking_part = s.new_ones(len(s), 1) if keep is None else keep.flatten()[:, None].to(s.dtype)
        count = taking_part.sum().clamp(min=1)
        over_classes = (1 - _correlation(s, t, 1)) * taking_part[:, 0]
        s, t = ((p - (p * taking_part).sum(0) / count) * taking_part for p in (s, t))
        over_pixels = (1 - _cosine(s, t, 0)) * (taking_part.sum() > 0)
        value = self.inter * over_classes.sum() / count + self.intra * over_pixels.mean()
        return self.temperature**2 * value


def _correlation(s: Tensor, t: Tensor, dim: int) -> Tensor:
    return _cosine(s - s.mean(dim, keepdim=True), t - t.mean(dim, keepdim=True), dim)


def _cosine(s: Tensor, t: Tensor, dim: int) -> Tensor:
    s, t = (unit_vectors(p, dim, least=LEAST_LENGTH) for p in (s, t))
    return (s * t).sum(dim)
