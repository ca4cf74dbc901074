"""Channel-wise distillation of what the label changes in the teacher's answer."""

from torch import Tensor

from labkit.distillers.base import Distiller, check_classes, check_logit_settings, logit_pair
from labkit.method import Outputs


class DisagreementDistillation(Distiller):
    """Compares where each class has its mass, most where the label changes the teacher's answer.

    T^2 * sum_p w(p) * (t log(t / s) - t + s) with t, s the softmaxes over positions p as of cwd,
    mean over the N*K maps, in nats. w(p) is the total variation distance between the teacher's
    classes with its label and without, divided by its mean over the image. An image whose answers
    agree everywhere gives 0. Equal weights give cwd, and so does a teacher without an answer under
    `auxiliary["zero_label"]`.

    Args:
        temperature: T, 0.001 to 1000.
        stride: finer logits are average-pooled to it, pixels.

    Differs: -t + s keeps the least value at s = t; a weighted t log(t / s) alone would have it
    where s is w * t.
    """

    def __init__(
        self,
        student: Outputs,
        teacher: Outputs,
        *,
        weight: float = 3.0,
        temperature: float = 4.0,
        stride: int = 1,
    ) -> None:
        super().__init__(weight=weight)
        check_classes(student, teacher)
        check_logit_settings(temperature, stride)
        self.temperature, self.stride = temperature, stride

    def loss(self, student: Outputs, teacher: Outputs, target: Tensor) -> Tensor:
        s, t, _ = logit_pair(student, teacher, target, stride=self.stride, void=True)
        log_s, log_t = ((x.flatten(2) / self.temperature).log_softmax(2) for x in (s, t))
        divergence = log_t.exp() * (log_t - log_s) - log_t.exp() + log_s.exp()  # (N, K, h*w)
        if "zero_label" in teacher.auxiliary:
            without = teacher._replace(logits=teacher.auxiliary["zero_label"])
            _, zero, _ = logit_pair(student, without, target, stride=self.stride, void=True)
            divergence = divergence * _weights(t, zero)
        return self.temperature**2 * divergence.sum() / (s.shape[0] * s.shape[1])


def _weights(logits: Tensor, zero_label: Tensor) -> Tensor:
    """(N, 1, h*w) total variation distance of two answers over its mean; 0 where all agree."""
    difference = logits.softmax(1) - zero_label.softmax(1)
    distance = difference.abs().sum(1, keepdim=True).flatten(2) / 2
    return distance / distance.mean(2, keepdim=True).clamp(min=1e-6)
