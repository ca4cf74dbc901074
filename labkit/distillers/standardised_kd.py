"""Logit-standardised knowledge distillation."""

from torch import Tensor

from labkit.distillers.base import Distiller, check_classes, check_logit_settings, logit_pair
from labkit.method import Outputs, pixel_wise_kd

EPSILON = 1e-7  # as the source; pixels whose logits are all equal have a large gradient


class StandardisedKD(Distiller):
    """KD on logits standardised over the classes of each pixel.

    z = (x - mean_k x) / (std_k x + 1e-7), std unbiased (divides by K - 1);
    T^2 * KL(softmax_k(z_t / T) || softmax_k(z_s / T)), mean over pixels, in nats.
    Unchanged by a positive affine map of a pixel's logits.

    Args:
        temperature: T, 0.001 to 1000.
        stride: finer logits are average-pooled to it, pixels.
        void: whether void pixels enter.

    Source: Sun et al. 2024, arXiv 2403.01427; weight 9 and T 2 as its code, for classification: no
    segmentation weight is public.
    Differs: its code standardises the last axis, which on (N, K, h, w) is image columns.
    """

    def __init__(
        self,
        student: Outputs,
        teacher: Outputs,
        *,
        weight: float = 9.0,
        temperature: float = 2.0,
        stride: int = 1,
        void: bool = True,
    ) -> None:
        super().__init__(weight=weight)
        check_classes(student, teacher, least=2)
        check_logit_settings(temperature, stride)
        self.temperature, self.stride, self.void = temperature, stride, void

    def loss(self, student: Outputs, teacher: Outputs, target: Tensor) -> Tensor:
        s, t, keep = logit_pair(student, teacher, target, stride=self.stride, void=self.void)
        s, t = standardised(s), standardised(t)
        return pixel_wise_kd(s, t, temperature=self.temperature, keep=keep)


def standardised(logits: Tensor) -> Tensor:
    """(N, K, h, w) logits with mean 0 and standard deviation 1 over the classes of each pixel."""
    deviation = logits.std(1, keepdim=True)
    return (logits - logits.mean(1, keepdim=True)) / (deviation + EPSILON)
