"""Channel-wise distillation."""

from torch import Tensor

from labkit.distillers.base import Distiller, check_classes, check_logit_settings, logit_pair
from labkit.method import Outputs, channel_wise_distance


class ChannelWiseDistillation(Distiller):
    """Compares where each class has its mass.

    T^2 * KL(softmax_p(t / T) || softmax_p(s / T)), softmax over positions p, mean over the N*K
    maps, in nats.

    Args:
        temperature: T, 0.001 to 1000.
        stride: finer logits are average-pooled to it, pixels.
        void: whether void positions enter.

    Source: Shu et al. 2021, arXiv 2011.13256; weight 3 and T 4 for logits as its code and LAD's.
    Differs: log-space, finite at logits of 1e4, where its code gives NaN.
    """

    def __init__(
        self,
        student: Outputs,
        teacher: Outputs,
        *,
        weight: float = 3.0,
        temperature: float = 4.0,
        stride: int = 1,
        void: bool = True,
    ) -> None:
        super().__init__(weight=weight)
        check_classes(student, teacher)
        check_logit_settings(temperature, stride)
        self.temperature, self.stride, self.void = temperature, stride, void

    def loss(self, student: Outputs, teacher: Outputs, target: Tensor) -> Tensor:
        s, t, keep = logit_pair(student, teacher, target, stride=self.stride, void=self.void)
        return channel_wise_distance(s, t, temperature=self.temperature, keep=keep)
