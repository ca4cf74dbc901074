"""Pixel-wise knowledge distillation."""

from torch import Tensor

from labkit.distillers.base import Distiller, check_classes, check_logit_settings, logit_pair
from labkit.method import Outputs, pixel_wise_kd


class PixelWiseKD(Distiller):
    """Hinton's distillation at every pixel.

    T^2 * KL(softmax_k(t / T) || softmax_k(s / T)), mean over pixels, in nats.

    Args:
        temperature: T, 0.001 to 1000.
        stride: finer logits are average-pooled to it, pixels.
        void: whether void pixels enter.

    Source: Hinton et al. 2015, arXiv 1503.02531; weight 1 and T 1 as CIRKD's and DIST's code.
    Differs: structure_knowledge_distillation's code also divides by K, mmrazor's by N alone.
    """

    def __init__(
        self,
        student: Outputs,
        teacher: Outputs,
        *,
        weight: float = 1.0,
        temperature: float = 1.0,
        stride: int = 1,
        void: bool = True,
    ) -> None:
        super().__init__(weight=weight)
        check_classes(student, teacher)
        check_logit_settings(temperature, stride)
        self.temperature, self.stride, self.void = temperature, stride, void

    def loss(self, student: Outputs, teacher: Outputs, target: Tensor) -> Tensor:
        s, t, keep = logit_pair(student, teacher, target, stride=self.stride, void=self.void)
        return pixel_wise_kd(s, t, temperature=self.temperature, keep=keep)
